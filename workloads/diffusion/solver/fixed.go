package solver

import (
	"fmt"
	"math"

	"orrery/internal/names"
	"orrery/workloads/diffusion/analytic"
)

// Fixed is a published solver: a fixed point of the framework.
type Fixed struct {
	Name string
	What string
	make func(nfe int, g Grid) *Schedule // nil where it cannot take so many evaluations
}

// Solvers returns the published solvers.
func Solvers() []Fixed { return fixed[:] }

var fixed = [...]Fixed{
	{"ddim", "DDIM, first order", multistep(Step{Prediction: Noise, Order: 1})},
	{"2m", "DPM-Solver, multistep, second order", multistep(Step{Prediction: Noise, Order: 2, Scaling: Half})},
	{"2m++", "DPM-Solver++ 2M", multistep(Step{Order: 2, Scaling: Half})},
	{"3m", "DPM-Solver, multistep, third order", multistep(Step{Prediction: Noise, Order: 3})},
	{"3m++", "DPM-Solver++ 3M", multistep(Step{Order: 3})},
	{"unipc-2", "UniPC, second order, of the data, B2", multistep(Step{Order: 2, Scaling: Half, Corrector: Pseudo})},
	{"unipc-3", "UniPC, third order, of the data, B2", multistep(Step{Order: 3, Scaling: Half, Corrector: Pseudo})},
	{"unipc-3-noise", "UniPC, third order, of the noise, B2", multistep(Step{Prediction: Noise, Order: 3, Scaling: Half, Corrector: Pseudo})},
	{"deis-2", "DEIS, tAB2: three answers interpolated in time", multistep(Step{Prediction: Noise, Order: 3, Basis: InTime})},
	{"deis-3", "DEIS, tAB3: four answers interpolated in time", multistep(Step{Prediction: Noise, Order: 4, Basis: InTime})},
	{"2m-full", "DPM-Solver 2M at full order to the end", fullOrder(Step{Prediction: Noise, Order: 2, Scaling: Half})},
	{"2m++-full", "DPM-Solver++ 2M at full order to the end", fullOrder(Step{Order: 2, Scaling: Half})},
	{"3m-full", "DPM-Solver 3M at full order to the end", fullOrder(Step{Prediction: Noise, Order: 3})},
	{"unipc-2-full", "UniPC-2 at full order to the end", fullOrder(Step{Order: 2, Scaling: Half, Corrector: Pseudo})},
	{"unipc-3-noise-full", "UniPC-3 of the noise at full order to the end", fullOrder(Step{Prediction: Noise, Order: 3, Scaling: Half, Corrector: Pseudo})},
	{"deis-3-full", "DEIS tAB3 at full order to the end", fullOrder(Step{Prediction: Noise, Order: 4, Basis: InTime})},
	{"heun", "Heun's method, EDM's: two evaluations a step but the last", heun},
	{"2s", "DPM-Solver-2, single steps of two evaluations", singlestep(2, Noise)},
	{"2s++", "DPM-Solver++ 2S", singlestep(2, Data)},
	{"3s", "DPM-Solver-3, single steps of three evaluations", singlestep(3, Noise)},
}

// LoadFixed returns the solver of that name.
func LoadFixed(name string) (Fixed, error) {
	list := make([]string, len(fixed))
	for i := range fixed {
		if fixed[i].Name == name {
			return fixed[i], nil
		}
		list[i] = fixed[i].Name
	}
	return Fixed{}, names.Unknown("solver", name, list)
}

// Schedule returns the solver's schedule of so many evaluations on a grid.
func (f Fixed) Schedule(nfe int, g Grid) (*Schedule, error) {
	if nfe < 1 || nfe > maxSteps {
		return nil, fmt.Errorf("NFE %d; want 1 to %d", nfe, maxSteps)
	}
	s := f.make(nfe, g)
	if s == nil {
		return nil, fmt.Errorf("NFE %d: %s cannot take so many evaluations", nfe, f.Name)
	}
	return s, nil
}

// shortRun is the number of evaluations below which multistep solvers lower their order towards the
// end, as UniPC's authors and diffusers' schedulers (lower_order_final) have it: the last steps of
// a short run are so long that an extrapolation of high order runs away.
const shortRun = 15

// multistep takes a step everywhere, its order capped by the answers that there are and, in a
// short run, by the steps that are left; the last one is uncorrected.
func multistep(step Step) func(int, Grid) *Schedule { return multi(step, shortRun) }

// fullOrder is multistep that never lowers its order at the end (lower_order_final = false).
func fullOrder(step Step) func(int, Grid) *Schedule { return multi(step, 0) }

func multi(step Step, short int) func(int, Grid) *Schedule {
	return func(nfe int, g Grid) *Schedule {
		s := &Schedule{Times: g.Times(nfe), Steps: make([]Step, nfe)}
		for i := range s.Steps {
			own := step
			own.Order = min(step.Order, i+1)
			if nfe < short {
				own.Order = min(own.Order, nfe-i)
			}
			if own.Order > 2 {
				own.Scaling = Taylor // both terms are fixed, and UniPC's B(h) cancels
			}
			if i == nfe-1 {
				own.Corrector = Uncorrected
			}
			s.Steps[i] = own
		}
		return s
	}
}

// heun is Euler's step in sigma/alpha, taken again with the mean of both ends' noise.
func heun(nfe int, g Grid) *Schedule {
	if nfe%2 == 0 {
		return nil
	}
	n := (nfe + 1) / 2
	s := &Schedule{Times: g.Times(n), Steps: make([]Step, n)}
	for i := range s.Steps {
		s.Steps[i] = Step{Prediction: Noise, Order: 1, Scaling: Half}
		if i < n-1 {
			s.Steps[i].Corrector = Evaluated
		}
	}
	return s
}

// singlestep divides steps of the grid into stages at equal distances in log SNR (Lu and others,
// 2022: r = 1/2; 1/3 and 2/3). Evaluations that are left over make a shorter last step.
func singlestep(stages int, prediction Prediction) func(int, Grid) *Schedule {
	return func(nfe int, g Grid) *Schedule {
		if nfe < stages {
			return nil
		}
		n := (nfe + stages - 1) / stages
		ends := g.Times(n)
		s := &Schedule{Times: []float64{ends[0]}}
		for i := range n {
			own := min(stages, nfe-i*stages)
			from, to := analytic.LogSNR(ends[i]), analytic.LogSNR(ends[i+1])
			for k := 1; k <= own; k++ {
				t := ends[i+1]
				if k < own {
					t = analytic.TimeOf(from + float64(k)/float64(own)*(to-from))
				}
				step := Step{Prediction: prediction, Order: min(k, 2), Back: k}
				if own == 2 {
					step.Scaling = Half
				}
				s.Times, s.Steps = append(s.Times, t), append(s.Steps, step)
			}
		}
		return s
	}
}

// Reference is the schedule of the flow that others are measured against: UniPC-3 in so many
// steps of log SNR.
func Reference(steps int) *Schedule {
	return multistep(Step{Order: 3, Scaling: Half, Corrector: Pseudo})(steps, grids[0])
}

// Discrete returns the time of a schedule of a thousand noise levels, 999 to 0, as pipelines count.
func Discrete(t float64) float64 { return 1000*t - 1 }

// Continuous is the inverse of Discrete.
func Continuous(level float64) float64 { return math.FMA(level, 1e-3, 1e-3) }
