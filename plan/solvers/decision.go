package solvers

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"orrery/workloads/diffusion/analytic"
	"orrery/workloads/diffusion/solver"
)

// The decisions that a search draws from, after the released search of Unified Sampling
// Framework: times, prediction, order, derivative, relaxation, corrector, and the first answer. Its
// U-net skips have no meaning on an analytic model.
const (
	relaxDeviation = 0.03
	leastGap       = 1e-3 // between the roots of two times
	fieldRate      = 0.3  // of change, at most
)

// orders are drawn with the released search's probabilities.
func drawOrder(r *rand.Rand) int {
	switch u := r.Float64(); {
	case u < 0.2:
		return 1
	case u < 0.6:
		return 2
	case u < 0.9:
		return 3
	}
	return 4
}

func drawStep(r *rand.Rand) solver.Step {
	return solver.Step{
		Prediction: solver.Prediction(r.IntN(2)), Order: drawOrder(r), Points: r.IntN(3), Scaling: solver.Scaling(r.IntN(3)),
		Relax: relaxDeviation * r.NormFloat64(), Corrector: solver.Corrector(r.IntN(2)),
	}
}

func drawFirst(r *rand.Rand) solver.First { return solver.First(r.IntN(3)) }

// stepsOf is the number of steps that make so many evaluations.
func stepsOf(nfe int, first solver.First) int {
	if first != solver.Asked {
		return nfe + 1
	}
	return nfe
}

// drawSchedule returns a random schedule: the roots of its times fall by a power of the way, with
// some noise.
func drawSchedule(r *rand.Rand, nfe int) *solver.Schedule {
	s := &solver.Schedule{First: drawFirst(r)}
	n := stepsOf(nfe, s.First)
	power := math.Exp(r.NormFloat64() / 2)
	s.Times = make([]float64, n+1)
	for i := range s.Times {
		u := 1 - math.Pow(float64(i)/float64(n), power)
		if i > 0 && i < n {
			u += 0.3 / float64(n) * r.NormFloat64()
		}
		s.Times[i] = u * math.Abs(u)
	}
	for range n {
		s.Steps = append(s.Steps, drawStep(r))
	}
	return mend(s)
}

// mend makes a schedule that draws have bent one that can be run.
func mend(s *solver.Schedule) *solver.Schedule {
	n := len(s.Steps)
	slices.SortFunc(s.Times, func(a, b float64) int { return cmp.Compare(b, a) })
	s.Times[0], s.Times[n] = analytic.NoiseTime, analytic.DataTime
	last := 1.0 // room for all that follow, at the least distance
	for i := 1; i < n; i++ {
		low := math.Sqrt(analytic.DataTime) + float64(n-i)*leastGap
		u := min(max(root(s.Times[i]), low), last-leastGap)
		s.Times[i], last = u*u, u
	}
	for i := range s.Steps {
		step := &s.Steps[i]
		step.Order = min(step.Order, i+1)
		step.Points = min(step.Points, step.Order-1)
		if step.Points == step.Order-1 {
			step.Points = 0 // one name for one thing
		}
		if step.Order == 1 && step.Corrector == solver.Uncorrected {
			step.Scaling, step.Relax = solver.Taylor, 0 // there is no derivative
		}
		if i == n-1 {
			step.Corrector = solver.Uncorrected
		}
		step.Relax = min(max(step.Relax, -0.3), 0.3)
	}
	return s
}

func root(t float64) float64 { return math.Sqrt(max(t, 0)) }

// mutate returns a child of a parent, every field of which changes at a rate that is drawn for the
// whole child: some differ in one place, some in a third of them.
func mutate(r *rand.Rand, parent *solver.Schedule, nfe int) *solver.Schedule {
	s := parent.Clone()
	fields := float64(6 * len(s.Steps))
	rate := fieldRate * math.Exp(r.Float64()*math.Log(1/(fieldRate*fields)))
	width := 0.005 * math.Exp(r.Float64()*math.Log(16)) // of the roots of times: 0.005 to 0.08
	changes := func() bool { return r.Float64() < rate }
	if changes() {
		refirst(r, s, nfe)
	}
	for i := 1; i < len(s.Steps); i++ {
		if r.Float64() < max(rate, fieldRate/2) {
			u := root(s.Times[i]) + width*r.NormFloat64()
			s.Times[i] = u * math.Abs(u)
		}
	}
	for i := range s.Steps {
		step, other := &s.Steps[i], drawStep(r)
		if changes() {
			step.Prediction = other.Prediction
		}
		if changes() {
			step.Order = other.Order
		}
		if changes() {
			step.Points = other.Points
		}
		if changes() {
			step.Scaling = other.Scaling
		}
		if changes() {
			step.Relax += other.Relax
		}
		if changes() {
			step.Corrector = other.Corrector
		}
	}
	return mend(s)
}

// refirst changes where the first answer comes from, and the number of steps with it.
func refirst(r *rand.Rand, s *solver.Schedule, nfe int) {
	s.First = drawFirst(r)
	n := stepsOf(nfe, s.First)
	switch {
	case len(s.Steps) < n: // the longest way in the roots of times is halved
		at, longest := 0, 0.0
		for i := range s.Steps {
			if gap := root(s.Times[i]) - root(s.Times[i+1]); gap > longest {
				at, longest = i, gap
			}
		}
		u := (root(s.Times[at]) + root(s.Times[at+1])) / 2
		s.Times = slices.Insert(s.Times, at+1, u*u)
		s.Steps = slices.Insert(s.Steps, at, drawStep(r))
	case len(s.Steps) > n:
		i := r.IntN(len(s.Steps))
		s.Steps = slices.Delete(s.Steps, i, i+1)
		at := min(max(i, 1), len(s.Times)-2)
		s.Times = slices.Delete(s.Times, at, at+1)
	}
}

// cross takes each step, and its end, from either parent. Parents of unlike lengths have no child of
// that kind: the first is returned.
func cross(r *rand.Rand, a, b *solver.Schedule) *solver.Schedule {
	s := a.Clone()
	if len(a.Steps) != len(b.Steps) {
		return s
	}
	for i := range s.Steps {
		if r.IntN(2) == 0 {
			s.Times[i+1], s.Steps[i] = b.Times[i+1], b.Steps[i]
		}
	}
	return mend(s)
}

// key names a schedule exactly.
func key(s *solver.Schedule) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", s.First)
	for i, step := range s.Steps {
		fmt.Fprintf(&b, ";%v %d %d %d %d %v %d %d %d", s.Times[i+1], step.Prediction, step.Order, step.Points, step.Scaling, step.Relax, step.Corrector, step.Back, step.Basis)
	}
	return b.String()
}

// features is a schedule as the predictor sees it: not its names but what it does, which is the
// points at which it evaluates and the weights of the answers in each state. Many decisions make
// nearly the same of a step, and the error is smooth in what they make. The arc tangent holds the
// weights of steps that run away.
func features(s *solver.Schedule) []float64 {
	u := solver.Unroll(s)
	x := slices.Clone(u.LogSNR)
	for i, row := range u.Images {
		for _, w := range row[:min(i, len(row))] {
			x = append(x, math.Atan(w))
		}
	}
	return x
}
