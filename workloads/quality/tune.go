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
// its own, which is what a comparison of schedules must allow them.
func (q *NQM) Tune(s Schedule, steps int, batch func(step int) float64, grid []float64) Tuned {
	shape := make([]float64, steps)
	for t := range shape {
		shape[t] = s.LR(t, steps)
	}
	best, at := math.Inf(1), 0
	for i, peak := range grid {
		l := q.Loss(Run{Steps: steps, LR: func(t int) float64 { return peak * shape[t] }, Batch: batch})
		if l < best {
			best, at = l, i
		}
	}
	return Tuned{Loss: best, Peak: grid[at], Edge: at == 0 || at == len(grid)-1}
}

// StepsToTarget returns the length of the shortest run that ends at or below a loss, the
// schedule stretched to its end and tuned for it, and false if none of up to most steps does.
// The loss at the end falls with the length, so that it is found by bisection.
func (q *NQM) StepsToTarget(s Schedule, target, batch float64, grid []float64, most int) (int, bool) {
	reaches := func(n int) bool { return q.Tune(s, n, Constant(batch), grid).Loss <= target }
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
