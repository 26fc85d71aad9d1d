package quality

import "math"

// Schedule is a learning rate over a run as a share of its peak, as orrery/policies/lrsched
// has them.
type Schedule interface {
	LR(step, total int) float64
}

// Grid returns the peak rates that a schedule is tuned over: 2^-7 to 2^1 in steps of an
// eighth of an octave.
func Grid() []float64 {
	var out []float64
	for k := -56; k <= 8; k++ {
		out = append(out, math.Pow(2, float64(k)/8))
	}
	return out
}

// Tuned is a schedule at its best peak rate.
type Tuned struct {
	Loss, Peak float64
	Edge       bool // the best rate is the lowest or the highest of the grid
}

// Constant is a batch that does not change.
func Constant(batch float64) func(step int) float64 {
	return func(int) float64 { return batch }
}

// Tune finds the best peak rate for a schedule at a budget and a batch. Each schedule has
// its own, which is what a comparison of schedules must allow them. Every so many rates of the grid
// are tried, then those around the best of them.
func (q *NQM) Tune(s Schedule, steps int, batch func(step int) float64, grid []float64) Tuned {
	loss := q.peaks(s, steps, batch, grid)
	low, from := math.Inf(1), 0
	for i := 0; i < len(grid); i += coarse {
		if l := loss(i); l < low {
			low, from = l, i
		}
	}
	best, at := descend(loss, len(grid), from)
	return Tuned{Loss: best, Peak: grid[at], Edge: at == 0 || at == len(grid)-1}
}

// coarse is how far apart the rates are, in places of the grid, that [NQM.Tune] tries before it descends.
const coarse = 8

// peaks returns the loss at the end of a run as a function of the peak rate's place in the
// grid.
func (q *NQM) peaks(s Schedule, steps int, batch func(step int) float64, grid []float64) func(i int) float64 {
	shape := make([]float64, steps)
	for t := range shape {
		shape[t] = s.LR(t, steps)
	}
	return func(i int) float64 {
		return q.Loss(Run{Steps: steps, LR: func(t int) float64 { return grid[i] * shape[t] }, Batch: batch})
	}
}

// descend returns the lowest loss and its place, out of so many, going down from one of
// them. The loss has one valley over the rate: a lower one learns less, a higher one is
// noisier, until the run diverges.
func descend(loss func(i int) float64, places, from int) (best float64, at int) {
	best, at = loss(from), from
	for _, way := range []int{-1, 1} {
		for i := at + way; i >= 0 && i < places; i += way {
			l := loss(i)
			if l > best || l == best && !math.IsInf(l, 1) { // where all diverge, go on
				break
			}
			best, at = l, i
		}
	}
	return best, at
}

// StepsToTarget returns the length of the shortest run that ends at or below a loss, the
// schedule stretched to its end and tuned for it, and false if none of up to most steps does.
// The loss at the end falls with the length, so that it is found by bisection.
func (q *NQM) StepsToTarget(s Schedule, target, batch float64, grid []float64, most int) (int, bool) {
	at := len(grid) / 2 // lengths that follow each other have like rates
	reaches := func(n int) bool {
		var loss float64
		loss, at = descend(q.peaks(s, n, Constant(batch), grid), len(grid), at)
		return loss <= target
	}
	low, high := 0, 1 // low does not, high may
	for !reaches(high) {
		if high >= most {
			return 0, false
		}
		low, high = high, min(2*high, most)
	}
	for high-low > 1 {
		if mid := low + (high-low)/2; reaches(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return high, true
}
