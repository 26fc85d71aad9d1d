package trace

import (
	"errors"
	"fmt"
	"math"

	"orrery/sim"
)

// Piecewise arrivals follow a rate that changes in steps: a day's curve, a ramp,
// a burst. Time is bent so that Base, an arrival process of rate 1, runs fast
// where the rate is high; with the default base the result is the inhomogeneous
// Poisson process of that rate, and with a bursty base the bursts keep their
// number of requests.
type Piecewise struct {
	Segments []Segment
	Cycle    bool     // start over after the last segment, instead of ending
	Base     Arrivals // process of rate 1; nil means Poisson
}

// Segment is a stretch of constant rate.
type Segment struct {
	Duration float64 // seconds
	Rate     float64 // requests per second, 0 for a pause
}

// Times implements [Arrivals].
func (a Piecewise) Times(seed uint64) (func() (sim.Time, bool), error) {
	base := a.Base
	if base == nil {
		base = Poisson{Rate: 1}
	}
	next, err := base.Times(seed)
	if err := firstError(a.check(), err); err != nil {
		return nil, err
	}
	b := bend{segments: a.Segments, cycle: a.Cycle}
	for _, s := range a.Segments {
		b.period += s.Duration
		b.mass += s.Duration * s.Rate
	}
	return func() (sim.Time, bool) {
		u, ok := next()
		if !ok {
			return 0, false
		}
		return b.at(u.Seconds())
	}, nil
}

func (a Piecewise) check() error {
	var sum float64
	for i, s := range a.Segments {
		if err := firstError(
			between(fmt.Sprintf("Piecewise.Segments[%d].Duration", i), s.Duration, 1e-9, 1e9, "seconds"),
			between(fmt.Sprintf("Piecewise.Segments[%d].Rate", i), s.Rate, 0, maxRate, "requests per second"),
		); err != nil {
			return err
		}
		sum += s.Rate * s.Duration
	}
	if !(sum > 0) {
		return errors.New("Piecewise.Segments offers no requests; want at least one segment with a rate above 0")
	}
	return nil
}

// bend maps the time of a process of rate 1 to the time at which a process that
// follows the segments has seen as many requests. It moves forward only.
type bend struct {
	segments []Segment
	cycle    bool
	period   float64 // duration of all segments in seconds
	mass     float64 // requests expected in all segments
	i        int     // current segment
	start    float64 // its start in seconds
	before   float64 // requests expected before it
}

// at returns the bent time of u, and false beyond the last segment. Calls must
// not go back in u.
func (b *bend) at(u float64) (sim.Time, bool) {
	for b.i < len(b.segments) {
		s := b.segments[b.i]
		if mass := s.Rate * s.Duration; mass == 0 || u >= b.before+mass {
			b.before += mass
			b.start += s.Duration
			if b.i++; b.i == len(b.segments) && b.cycle {
				b.i = 0
				// Skip whole cycles at once, since a low rate may let many pass.
				n := math.Floor((u - b.before) / b.mass)
				b.before += n * b.mass
				b.start += n * b.period
			}
			continue
		}
		// Rounding above may put before past u by a hair.
		t := sim.Seconds(b.start + max(u-b.before, 0)/s.Rate)
		return t, t < sim.Forever
	}
	return 0, false
}
