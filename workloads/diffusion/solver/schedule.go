package solver

import (
	"fmt"
	"math"
	"slices"
)

// Prediction is what a step's Taylor expansion is of.
type Prediction int

// What the model's answers are turned into.
const (
	Data  Prediction = iota // the image, as DPM-Solver++ has it
	Noise                   // the noise, as DDIM, DPM-Solver and DEIS have it
)

// Scaling is the factor of a step's first derivative.
type Scaling int

// With h the step in log SNR, and phi the functions of exponential integrators:
const (
	Taylor Scaling = iota // h^2 phi_2, exact for a straight line
	Half                  // h^2 phi_1 / 2: DPM-Solver-2's, and UniPC's B2(h)
	Plain                 // h^2 / 2: UniPC's B1(h)
)

// Corrector says what becomes of a step once its end has been evaluated.
type Corrector int

// Correctors.
const (
	Uncorrected Corrector = iota
	Pseudo                // the step is taken again with the answer at its end; the answer stays (UniPC)
	Evaluated             // the answer is asked for once more at the corrected point (Heun)
)

// Basis is the variable in which the derivatives of a step are estimated.
type Basis int

// Bases.
const (
	InLogSNR Basis = iota // by Taylor differences in log SNR
	InTime                // by a polynomial in time, integrated with the exponential weight (DEIS)
)

// First says where the answer at pure noise comes from.
type First int

// An analytical first step saves an evaluation: at pure noise the best prediction is nearly known.
const (
	Asked First = iota // from the model
	Zero               // the noise is the point itself, so the image is nearly nothing
	Mean               // the image is the mean of the data
)

// MaxOrder is the highest order of a step.
const MaxOrder = 4

// Step goes from one time to the next.
type Step struct {
	Prediction Prediction
	Order      int // 1 to 4, at most one more than the steps before
	// Points is the number of answers beside the step's own that the first derivative is
	// estimated from, at most Order-1; 0 is Order-1.
	Points    int
	Scaling   Scaling
	Relax     float64 // the first derivative's factor is multiplied by 1 + Relax h
	Corrector Corrector
	// Back is how many points before its end the step starts: 0 and 1 at the last one; 2 and
	// 3 are the later stages of single-step solvers.
	Back  int
	Basis Basis
}

// Schedule is a solver's plan for a whole trajectory.
type Schedule struct {
	// Times has one more than Steps: from noise (1) down to data, where nothing is evaluated.
	Times []float64
	Steps []Step
	First First
}

// NFE is the number of the model's evaluations.
func (s *Schedule) NFE() int {
	n := len(s.Steps)
	if s.First != Asked {
		n--
	}
	for _, step := range s.Steps {
		if step.Corrector == Evaluated {
			n++
		}
	}
	return n
}

// maxSteps bounds a schedule.
const maxSteps = 10000

// Check returns an error unless the schedule can be run.
func (s *Schedule) Check() error {
	if len(s.Steps) == 0 || len(s.Steps) > maxSteps || len(s.Times) != len(s.Steps)+1 {
		return fmt.Errorf("%d steps and %d times; want 1 to %d steps and one time more", len(s.Steps), len(s.Times), maxSteps)
	}
	for i, t := range s.Times {
		if !(t > 0 && t <= 1) {
			return fmt.Errorf("time %g; want times above 0, from 1 down", t)
		}
		if i > 0 && t >= s.Times[i-1] {
			return fmt.Errorf("step %d: time %g is not below the %g of the step before: want times that fall", i+1, t, s.Times[i-1])
		}
	}
	if s.First < Asked || s.First > Mean {
		return fmt.Errorf("unknown way %d of the first answer", s.First)
	}
	for i := range s.Steps {
		if err := s.checkStep(i); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	if s.NFE() < 1 {
		return fmt.Errorf("no evaluations (NFE 0); want one at least")
	}
	return nil
}

func (s *Schedule) checkStep(i int) error {
	step := &s.Steps[i]
	switch {
	case step.Prediction < Data || step.Prediction > Noise || step.Scaling < Taylor || step.Scaling > Plain || step.Basis < InLogSNR || step.Basis > InTime:
		return fmt.Errorf("unknown prediction, scaling or basis")
	case step.Order < 1 || step.Order > MaxOrder:
		return fmt.Errorf("order is %d; want from 1 to %d", step.Order, MaxOrder)
	case step.Order > i+1:
		return fmt.Errorf("order is %d with %d steps before; want at most %d", step.Order, i, i+1)
	case step.Points < 0 || step.Points > 0 && step.Points > step.Order-1:
		return fmt.Errorf("a derivative from %d points at order %d; want at most %d", step.Points, step.Order, step.Order-1)
	case step.Back < 0 || step.Back > 3 || step.Back > i+1:
		return fmt.Errorf("starts %d points back with %d steps before; want 1 to 3, and at most %d", step.Back, i, i+1)
	case !(math.Abs(step.Relax) <= 1):
		return fmt.Errorf("relaxation is %g; want from -1 to 1", step.Relax)
	case step.Corrector < Uncorrected || step.Corrector > Evaluated:
		return fmt.Errorf("unknown corrector")
	case step.Corrector != Uncorrected && i == len(s.Steps)-1:
		return fmt.Errorf("a corrector at the last step, whose end is not evaluated; want none")
	case step.Corrector != Uncorrected && step.Basis == InTime:
		return fmt.Errorf("a corrector in time; want none, or a basis in log SNR")
	}
	return nil
}

// Clone returns a copy that shares nothing.
func (s *Schedule) Clone() *Schedule {
	return &Schedule{slices.Clone(s.Times), slices.Clone(s.Steps), s.First}
}

// From returns the schedule with its times pressed, in their roots, into the way down from a
// level of noise, for what begins as something better than noise.
func (s *Schedule) From(level float64) *Schedule {
	out := s.Clone()
	first, end := math.Sqrt(s.Times[0]), math.Sqrt(s.Times[len(s.Times)-1])
	scale := (math.Sqrt(level) - end) / (first - end)
	for i, t := range s.Times[:len(s.Times)-1] {
		u := end + (math.Sqrt(t)-end)*scale
		out.Times[i] = u * u
	}
	return out
}
