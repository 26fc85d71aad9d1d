package lrsched

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Norm says which norm of gradients was observed, and so how a step is weighted.
type Norm int

// The norms. SGD goes with L2, Adam with L1 (Defazio and others, "Optimal linear decay
// learning rate schedules and further refinements", 2023).
const (
	L2 Norm = iota // weights norm^-2
	L1             // weights norm^-1
)

// Refined is a schedule refined from the norms of the gradients of an earlier run: large
// where they are small and where much of the run is still to come.
type Refined struct {
	rates []float64 // by step of the earlier run, the largest 1
	// Bound and LinearBound are what theory bounds the suboptimality by, for steps of
	// the refined schedule and of a linear one, both in units of the distance to the optimum.
	Bound, LinearBound float64
	// WarmUp is the share of the run up to the peak.
	WarmUp float64
	// Spread is the largest weight over the median one, of the norms as observed and clipped
	// from below.
	Spread float64
}

// Limits of a refinement that is worth something.
const (
	// degenerate is the spread of weights from which on a few steps decide everything: norms
	// that vanish at the end of a run on a problem that can be solved exactly.
	degenerate = 20 // of one run; norms averaged over several have a smaller one
	// dropped is how many points at either end of a log are left out, as the authors do.
	dropped    = 2
	leastNorms = 2*dropped + 4
	// clipped is the share of the smallest norms that do not count in the spread.
	clipped = 0.05
)

// ErrDegenerate says that the weights of a refinement pile up on a few steps. Linear decay
// is then the safer choice.
var ErrDegenerate = errors.New("the norms vanish in a part of the run, so that a few steps have all the weight; want a linear schedule")

// Refine returns the schedule that follows from observed norms, evenly spaced over the run.
// They are smoothed by a median over the share tau of the run (the authors take 0.1; 0 for none). It
// refuses norms that are not positive and finite, and with [ErrDegenerate] those that leave
// the weight to a few steps; the schedule is returned with that error too.
func Refine(norms []float64, tau float64, of Norm) (*Refined, error) {
	switch {
	case len(norms) < leastNorms:
		return nil, fmt.Errorf("%d norms of gradients; want at least %d", len(norms), leastNorms)
	case !(tau >= 0 && tau < 1):
		return nil, fmt.Errorf("smoothing over %g of the run; want a share, 0 to 1", tau)
	}
	for i, g := range norms {
		if !(g > 0 && g <= math.MaxFloat64) {
			return nil, fmt.Errorf("norm %d is %g; want a positive number", i+1, g)
		}
	}
	g := smooth(norms[dropped:len(norms)-dropped], tau)
	r := &Refined{rates: Optimal(g, of)}
	peak := slices.Max(r.rates)
	for i := range r.rates {
		r.rates[i] /= peak
	}
	r.Bound, r.LinearBound = bounds(g)
	r.WarmUp = float64(slices.Index(r.rates, 1)) / float64(len(r.rates))
	r.Spread = spread(norms, of)
	if r.Spread > degenerate {
		return r, ErrDegenerate
	}
	return r, nil
}

// LR implements [Schedule].
func (r *Refined) LR(step, total int) float64 {
	// Step t of T is the end of its share of the run, as in the closed form: the last is 0.
	x := float64(step+1)/float64(total)*float64(len(r.rates)) - 1
	i := int(math.Floor(x))
	switch {
	case i < 0:
		return r.rates[0]
	case i >= len(r.rates)-1:
		return r.rates[len(r.rates)-1]
	}
	f := x - float64(i)
	return (1-f)*r.rates[i] + f*r.rates[i+1]
}

func weights(norms []float64, of Norm) []float64 {
	w := make([]float64, len(norms))
	for i, g := range norms {
		w[i] = 1 / g
		if of == L2 {
			w[i] /= g
		}
	}
	return w
}

// spread returns the largest weight over the median one. It looks at norms before they are
// smoothed: on problems that can be solved exactly most batches of a run teach nothing more
// and a few still do, which a running median hides.
func spread(norms []float64, of Norm) float64 {
	sorted := slices.Sorted(slices.Values(norms))
	ends := []float64{sorted[int(clipped*float64(len(sorted)))], sorted[(len(sorted)-1)/2]}
	w := weights(ends, of)
	return w[0] / w[1]
}

// Optimal returns the steps that minimise the bound on the last iterate for given norms:
// w_t w_{t+1:T} / w_{1:T}, in units of the largest weight. For equal norms they are 1 - t/T,
// t from 1 to T.
func Optimal(norms []float64, of Norm) []float64 {
	w := weights(norms, of)
	out := make([]float64, len(w))
	tail := 0.0
	for t := len(w) - 1; t >= 0; t-- {
		out[t] = w[t] * tail
		tail += w[t]
	}
	top := slices.Max(w)
	for t := range out {
		out[t] /= tail * top
	}
	return out
}

// bounds returns 1/sqrt(sum G^-2), the refined bound, and sqrt(sum G^2)/T, that of linear
// decay.
func bounds(norms []float64) (refined, linear float64) {
	inverse, squares := 0.0, 0.0
	for _, g := range norms {
		inverse += 1 / (g * g)
		squares += g * g
	}
	return 1 / math.Sqrt(inverse), math.Sqrt(squares) / float64(len(norms))
}

// smooth takes a running median of 2 floor(tau n/2) + 1 points. Beyond the right end the
// points are mirrored, beyond the left one the first is repeated.
func smooth(x []float64, tau float64) []float64 {
	n := len(x)
	half := int(tau * float64(n) / 2)
	if half == 0 {
		return slices.Clone(x)
	}
	at := func(i int) float64 {
		if i < 0 {
			return x[0]
		}
		// Mirrored about the last point, which is not repeated.
		if period := 2 * (n - 1); i >= n {
			i %= period
			if i >= n {
				i = period - i
			}
		}
		return x[i]
	}
	window := make([]float64, 0, 2*half+1) // sorted
	for i := -half; i <= half; i++ {
		window = insert(window, at(i))
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = window[half]
		window = remove(window, at(i-half))
		window = insert(window, at(i+half+1))
	}
	return out
}

func insert(sorted []float64, v float64) []float64 {
	i, _ := slices.BinarySearch(sorted, v)
	return slices.Insert(sorted, i, v)
}

func remove(sorted []float64, v float64) []float64 {
	i, _ := slices.BinarySearch(sorted, v)
	return slices.Delete(sorted, i, i+1)
}
