package share

import "math"

// EDF runs the jobs with the earliest deadline first, those without one behind them in
// order of arrival. It looks neither at what a job still needs nor at what it costs.
type EDF struct{ order queue }

// Share implements [Policy].
func (e *EDF) Share(v *View, p *Plan) {
	e.order.fill(len(v.Jobs), func(j int) float64 {
		if d := v.Jobs[j].Deadline; d > 0 {
			return float64(d)
		}
		return math.Inf(1)
	})
	e.order.serve(v, p)
}
