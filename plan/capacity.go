package plan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"orrery/report"
)

// Rule tells whether an observation satisfies what capacity is judged by.
type Rule func(*Observation) bool

// Met is the rule that the run met its service-level objective.
func Met(o *Observation) bool { return o.Met }

// MetAndSteady is [Met] and that the queue did not grow all through the run. The
// median delay of a short run looks harmless long after the load has outgrown the
// system, so an objective alone can let through a rate that no longer run bears.
func MetAndSteady(o *Observation) bool { return o.Met && !o.Growing }

// Search says how a capacity is searched. The zero value, with Seeds set, is
// sensible.
type Search struct {
	Seeds []uint64 // replications, one search each; five or more for an interval worth stating
	// Start is the first rate probed, requests per second, 1 if zero. It need not be
	// near; each factor of two that it is off costs one probe a seed.
	Start float64
	// Tolerance is the width of the final bracket over its lower end, 0.025 if zero.
	// Rates are probed on the grid Start*(1+Tolerance)^k.
	Tolerance float64
	Rule      Rule     // Met if nil
	Workers   *Workers // as many as there are cores if nil
	// Progress, if set, is told after each probe how many have run and about how many
	// there will be. It may be called from several goroutines.
	Progress func(done, expected int)
}

// Capacity is the highest rate within the objective, over all seeds.
type Capacity struct {
	// PerS is the result: the median over the seeds of the highest rate that was held,
	// requests per second. It is 0 if the rule holds at no rate, and null if no seed's
	// search came to its end.
	PerS report.Number `json:"per_s"`
	// Interval is the 95 % interval of the mean over seeds, Student t. Its upper end
	// is one search step higher than that of the rates held, since the threshold of
	// each seed lies somewhere within the step.
	Interval Interval `json:"interval"`
	// Tolerance is the relative width of one search step.
	Tolerance float64      `json:"tolerance"`
	Probes    int          `json:"probes"` // runs that decided the result
	Seeds     []SeedSearch `json:"seeds"`
	// Growing counts the seeds whose queue had no steady state at the rate that was
	// held: the objective was met only because the run was short.
	Growing int `json:"growing"`
	// SeedsAlike tells that runs with different seeds gave the same figures wherever
	// they can be compared, as those of a replayed trace do. The interval then says
	// nothing about other traffic.
	SeedsAlike bool `json:"seeds_alike"`
	// Partial marks a search that was cancelled.
	Partial bool `json:"partial"`
	// Calibration says how far it may be off because prices are, null if that is not known.
	Calibration *CapacityBand `json:"calibration,omitempty"`
}

// SeedSearch is the search of one seed.
type SeedSearch struct {
	Seed uint64 `json:"seed"`
	// Held is the highest rate that was held, 0 if none was, and Failed the next
	// rate of the search that was not, null if none was probed.
	Held   report.Number `json:"held_per_s"`
	Failed report.Number `json:"failed_per_s"`
	Probes int           `json:"probes"`
	// Contradictions counts the probes on the wrong side: failed below Held or held
	// above Failed. A quantile is noisy, so there may be some near the threshold.
	Contradictions int `json:"contradictions"`
	// Growing tells that the queue had no steady state at Held.
	Growing bool `json:"growing"`
	// Unbounded tells that the rule still held at the highest rate that was tried.
	Unbounded bool `json:"unbounded"`
	Complete  bool `json:"complete"`
}

// FindCapacity searches for the highest rate at which the rule holds. Each seed is
// searched on its own: the rate doubles or halves until the rule changes its answer,
// the bracket is then halved down to one step of the grid, and the rates around the
// threshold are probed as well, so that a lucky or unlucky run at one rate does not
// decide. The error is that of a probe, or says what is wrong with s.
func FindCapacity(ctx context.Context, p Probe, s Search) (*Capacity, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	w := s.Workers
	if w == nil {
		w = NewWorkers(0)
	}
	inner, cancel := context.WithCancel(ctx)
	m := newMemo(p, w, len(s.Seeds))
	defer m.guesses.Wait()
	defer cancel() // first, so that guesses end

	c := &Capacity{Tolerance: s.Tolerance, Seeds: make([]SeedSearch, len(s.Seeds))}
	brackets := make([]*bracket, len(s.Seeds))
	errs := make([]error, len(s.Seeds))
	var done atomic.Int64
	var wg sync.WaitGroup
	for i, seed := range s.Seeds {
		wg.Go(func() {
			b := &bracket{search: &s, memo: m, seed: seed, seen: make(map[int]Observation), probed: func() {
				if n := int(done.Add(1)); s.Progress != nil {
					s.Progress(n, max(n, s.Expected()))
				}
			}}
			brackets[i] = b
			errs[i] = b.find(inner)
			c.Seeds[i] = b.result(errs[i] == nil)
			if errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	if err := firstError(errs); err != nil && !isCancelled(err) {
		return nil, err
	}
	c.summarise()
	c.SeedsAlike = alike(brackets)
	return c, nil
}

// summarise fills in what rests on all seeds.
func (c *Capacity) summarise() {
	var held []float64
	for _, s := range c.Seeds {
		c.Probes += s.Probes
		if !s.Complete {
			c.Partial = true
			continue
		}
		held = append(held, float64(s.Held))
		if s.Growing {
			c.Growing++
		}
	}
	c.Interval = NewInterval(held)
	c.PerS = c.Interval.Median
	c.Interval.High = report.Number(float64(c.Interval.High) * (1 + c.Tolerance))
	c.Interval.Low = max(c.Interval.Low, 0)
}

// Unbounded tells whether the rule held at every rate tried for some seed, so that
// the capacity is only a lower bound.
func (c *Capacity) Unbounded() bool {
	return slices.ContainsFunc(c.Seeds, func(s SeedSearch) bool { return s.Unbounded })
}

func (s *Search) check() error {
	if s.Start == 0 {
		s.Start = 1
	}
	if s.Tolerance == 0 {
		s.Tolerance = 0.025
	}
	if s.Rule == nil {
		s.Rule = Met
	}
	switch {
	case len(s.Seeds) == 0:
		return errors.New("capacity: no seeds; want at least one, and five for an interval")
	case !(s.Start > 0) || math.IsInf(s.Start, 0):
		return fmt.Errorf("capacity: the search starts at %g requests/s; want a positive rate", s.Start)
	case !(s.Tolerance >= 1e-4 && s.Tolerance <= 1):
		return fmt.Errorf("capacity: the tolerance is %g; want a share from 0.0001 to 1", s.Tolerance)
	}
	return nil
}

// octave returns the number of grid steps in about a factor of two.
func (s *Search) octave() int { return int(math.Ceil(math.Ln2 / math.Log1p(s.Tolerance))) }

// Expected returns about how many probes a search takes: some to find the octave,
// one for each bit of it, and the neighbours.
func (s Search) Expected() int {
	if s.check() != nil {
		return 0
	}
	return len(s.Seeds) * (3 + int(math.Ceil(math.Log2(float64(s.octave())))) + 2*near)
}
