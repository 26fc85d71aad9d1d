package lrsched

import (
	"fmt"
	"math"
)

// Noise is what the squared norm of a batch's gradient is made of: Signal + PerSample / batch.
type Noise struct {
	Signal    float64 // squared norm of the mean gradient
	PerSample float64 // variance of the gradient of one sample, over all parameters
}

// norm2 is the expected squared norm at a batch.
func (n Noise) norm2(batch float64) float64 { return n.Signal + n.PerSample/batch }

// SplitNorms tells signal from noise by the mean squared norms at two batches (McCandlish and others, "An
// empirical model of large-batch training", 2018, appendix A.1): those of the batches of
// single devices and of all of them together are there in any data-parallel job.
func SplitNorms(small, smallNorm2, large, largeNorm2 float64) (Noise, error) {
	if !(small > 0 && large > small && largeNorm2 > 0 && smallNorm2 >= largeNorm2 && smallNorm2 <= math.MaxFloat64) {
		return Noise{}, fmt.Errorf("squared norms %g at batch %g and %g at batch %g; want the smaller batch first, with the larger norm", smallNorm2, small, largeNorm2, large)
	}
	per := (smallNorm2 - largeNorm2) / (1/small - 1/large)
	return Noise{Signal: max(0, largeNorm2-per/large), PerSample: per}, nil
}

// Replanned is linear decay that was re-planned in the middle of a run whose batch changed,
// by norms that are predicted for the rest of it.
type Replanned struct {
	done  int
	rates []float64 // from step done on
}

// Replan returns what is to follow linear decay from step done on, when the batch that was
// planned with gives way to the others, one for every step that is left. It is the closed
// form of the refined schedule with weights (planned norm / predicted norm)^2 for what is left and 1 for
// what is done: with no change of the batch it is linear decay. No rate is above the peak, which is
// tuned for stability.
func Replan(done int, planned float64, left []float64, n Noise) (*Replanned, error) {
	switch {
	case done < 0 || len(left) == 0:
		return nil, fmt.Errorf("%d steps done and %d left; want some left", done, len(left))
	case !(n.Signal >= 0 && n.PerSample >= 0 && n.Signal+n.PerSample > 0 && n.Signal+n.PerSample <= math.MaxFloat64):
		return nil, fmt.Errorf("signal %g and noise %g of gradients; want numbers from 0 on, not both 0", n.Signal, n.PerSample)
	case !(planned > 0):
		return nil, fmt.Errorf("a planned batch of %g; want a positive number", planned)
	}
	r := &Replanned{done: done, rates: make([]float64, len(left))}
	tail := 0.0
	for t := len(left) - 1; t >= 0; t-- {
		if !(left[t] > 0) {
			return nil, fmt.Errorf("step %d has a batch of %g; want a positive number", done+t, left[t])
		}
		w := n.norm2(planned) / n.norm2(left[t])
		tail += w
		r.rates[t] = w * tail
	}
	for t := range r.rates {
		r.rates[t] = min(r.rates[t]/(float64(done)+tail), 1)
	}
	return r, nil
}

// LR implements [Schedule]. Of another length than the run's, it is stretched over what
// follows the steps that are done.
func (r *Replanned) LR(step, total int) float64 {
	if step < r.done {
		return 1 - float64(step)/float64(total)
	}
	if left := total - r.done; left > 0 && left != len(r.rates) {
		step = r.done + (step-r.done)*len(r.rates)/left
	}
	return r.rates[min(step-r.done, len(r.rates)-1)]
}
