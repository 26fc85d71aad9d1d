package trace

import (
	"errors"

	"orrery/sim"
	"orrery/workloads"
)

// Synthetic is open-loop traffic: requests come as the arrival process says,
// whether or not earlier ones have been answered, which is the only way to see
// an overload.
type Synthetic struct {
	Arrivals Arrivals
	Lengths  Lengths
	N        int64        // number of requests, 0 for no limit
	Duration float64      // seconds after which no request comes, 0 for no limit
	Shared   SharedPrefix // system prompts in front of the drawn prompts; zero for none
	Seed     uint64
}

// Open implements [Traffic].
func (c Synthetic) Open() (workloads.Source, error) {
	if c.Arrivals == nil || c.Lengths == nil {
		return nil, errors.New("Synthetic lacks a part; want both Arrivals and Lengths")
	}
	if err := firstError(
		notNegativeCount("Synthetic.N", c.N, "no limit"),
		notNegative("Synthetic.Duration", c.Duration, "seconds, 0: no limit"),
	); err != nil {
		return nil, err
	}
	times, err := c.Arrivals.Times(c.Seed)
	if err != nil {
		return nil, err
	}
	lengths, err := c.Lengths.Draws(c.Seed)
	if err != nil {
		return nil, err
	}
	shared, err := c.Shared.open(c.Seed)
	if err != nil {
		return nil, err
	}
	s := &synthetic{times: times, lengths: lengths, shared: shared, left: c.N, end: sim.Forever}
	if c.N == 0 {
		s.left = -1
	}
	if c.Duration > 0 {
		s.end = sim.Seconds(c.Duration)
	}
	s.advance()
	return s, nil
}

// synthetic is the source behind [Synthetic].
type synthetic struct {
	times   func() (sim.Time, bool)
	lengths func() (prompt, output int32)
	shared  *groups // nil if there are none
	id      int64
	left    int64 // requests still to come beyond the next, negative for no limit
	end     sim.Time
	at      sim.Time // arrival of the next request, if more
	more    bool
}

func (s *synthetic) advance() {
	if s.more = s.left != 0; !s.more {
		return
	}
	s.left--
	s.at, s.more = s.times()
	s.more = s.more && s.at < s.end
	if !s.more {
		s.left = 0
	}
}

// Peek implements [workloads.Source].
func (s *synthetic) Peek() (sim.Time, bool) { return s.at, s.more }

// Next implements [workloads.Source].
func (s *synthetic) Next() workloads.Request {
	r := workloads.Request{ID: s.id, Arrived: s.at}
	r.Prompt, r.Output = s.lengths()
	if s.shared != nil {
		s.shared.prepend(&r)
	}
	s.id++
	s.advance()
	return r
}
