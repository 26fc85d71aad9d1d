package posttrain

import (
	"cmp"
	"math"
	"slices"
	"time"

	"orrery/sim"
)

// Span is a stretch of one device in a phase, or idle at a barrier.
type Span struct {
	Device   int
	Phase    string // empty for idle
	From, To sim.Time
}

// Timeline returns so many rounds of the recipe on its devices: each phase that comes round
// does its share of the work, what devices do between two barriers differs where it does, and
// at a barrier all wait for the last. Phases that come round unlike often are not woven
// together: each run of phases with the same number of rounds alternates by itself.
func (r *Recipe) Timeline(c *Cost, rounds int, seed uint64) []Span {
	var out []Span
	at := make([]sim.Time, r.Devices)
	draws := sim.Stream(seed, "posttrain."+r.Name)
	for from := 0; from < len(r.Phases); {
		to := from + 1
		for to < len(r.Phases) && r.Phases[to].Rounds == r.Phases[from].Rounds {
			to++
		}
		for range min(rounds, max(r.Phases[from].Rounds, 1)) {
			for i := from; i < to; i++ {
				p := &r.Phases[i]
				mean := c.Phases[i].GPUHours * 3600 / float64(max(p.Rounds, 1)) / float64(r.Devices)
				for d := range at {
					s := mean
					if p.Uneven > 0 {
						s *= math.Max(1+p.Uneven*draws.NormFloat64(), 0.1)
					}
					end := at[d].Add(time.Duration(s * 1e9))
					out = append(out, Span{d, p.Name, at[d], end})
					at[d] = end
				}
				if p.Barrier {
					out = wait(out, at)
				}
			}
		}
		from = to
	}
	slices.SortStableFunc(out, func(a, b Span) int { return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.From, b.From)) })
	return out
}

// wait lets all devices wait for the last.
func wait(out []Span, at []sim.Time) []Span {
	last := slices.Max(at)
	for d := range at {
		if at[d] < last {
			out = append(out, Span{d, "", at[d], last})
			at[d] = last
		}
	}
	return out
}

// Idle is the share of the devices' time that they wait at barriers.
func Idle(spans []Span) float64 {
	var idle, all time.Duration
	for _, s := range spans {
		all += s.To.Sub(s.From)
		if s.Phase == "" {
			idle += s.To.Sub(s.From)
		}
	}
	if all == 0 {
		return 0
	}
	return float64(idle) / float64(all)
}
