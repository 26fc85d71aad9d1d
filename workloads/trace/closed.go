package trace

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"orrery/sim"
	"orrery/workloads"
)

// Think is the time a user takes between an answer and the next question: gamma
// distributed, constant for a CV of 0, exponential for 1. The zero value is no
// time at all.
type Think struct {
	Mean float64 // seconds
	CV   float64 // standard deviation over mean
}

// later returns now plus d, or [sim.Forever] if that is beyond the clock.
func later(now, d sim.Time) sim.Time {
	if d >= sim.Forever-now {
		return sim.Forever
	}
	return now + d
}

// open returns a function that draws think times.
func (t Think) open(field string) (func(*rand.Rand) sim.Time, error) {
	if err := notNegative(field+".Mean", t.Mean, "seconds"); err != nil {
		return nil, err
	}
	if t.CV == 0 {
		return func(*rand.Rand) sim.Time { return sim.Seconds(t.Mean) }, nil
	}
	if err := between(field+".CV", t.CV, 0.001, 1000, "standard deviation over mean, 0: constant"); err != nil {
		return nil, err
	}
	gap := gammaGaps(t.CV)
	return func(rng *rand.Rand) sim.Time { return sim.Seconds(t.Mean * gap(rng)) }, nil
}

// ClosedLoop is a fixed number of clients, each of which sends a request, waits
// for its answer, thinks and sends the next. Its load adapts to the server: an
// overload shows in the throughput, never in a growing queue, so it says little
// about an open system.
//
// A client whose request ends in the instant in which it came was refused; it
// waits a second at least before its next one, so that a server that refuses
// everything cannot stop the clock.
//
// All clients begin by thinking, except that with Think zero all of them send at
// once. Each client's think times have a stream of their own; lengths are drawn
// in order of arrival. Requests carry their client's number, from 1, as Tenant.
type ClosedLoop struct {
	Clients int
	Think   Think
	Lengths Lengths
	N       int64 // number of requests in all, 0 for no limit
	Seed    uint64
}

// refusedPause is the least time between a refusal and the next attempt.
const refusedPause = sim.Time(1e9)

// Open implements [Traffic]. The source is a [workloads.Responder].
func (c ClosedLoop) Open() (workloads.Source, error) {
	if c.Lengths == nil {
		return nil, errors.New("ClosedLoop.Lengths is missing; want a distribution of lengths")
	}
	if c.Clients < 1 || c.Clients > 1<<20 {
		return nil, fmt.Errorf("ClosedLoop.Clients is %d; want 1 to %d", c.Clients, 1<<20)
	}
	if err := notNegativeCount("ClosedLoop.N", c.N, "no limit"); err != nil {
		return nil, err
	}
	think, err := c.Think.open("ClosedLoop.Think")
	if err != nil {
		return nil, err
	}
	lengths, err := c.Lengths.Draws(c.Seed)
	if err != nil {
		return nil, err
	}
	s := &closedLoop{think: think, lengths: lengths, left: c.N, clients: make([]*rand.Rand, c.Clients)}
	if c.N == 0 {
		s.left = -1
	}
	for i := range s.clients {
		s.clients[i] = sim.Stream(c.Seed, fmt.Sprintf("think %d", i))
		s.waiting.push(think(s.clients[i]), int32(i))
	}
	return s, nil
}

// closedLoop is the source behind [ClosedLoop].
type closedLoop struct {
	think   func(*rand.Rand) sim.Time
	lengths func() (prompt, output int32)
	clients []*rand.Rand  // the stream of each client
	waiting agenda[int32] // clients by the time of their next request
	left    int64         // requests still to come, negative for no limit
	id      int64
}

// Peek implements [workloads.Source].
func (s *closedLoop) Peek() (sim.Time, bool) {
	if s.left == 0 {
		return 0, false
	}
	return s.waiting.peek()
}

// Next implements [workloads.Source].
func (s *closedLoop) Next() workloads.Request {
	at, client := s.waiting.pop()
	r := workloads.Request{ID: s.id, Arrived: at, Tenant: client + 1}
	r.Prompt, r.Output = s.lengths()
	s.id++
	s.left--
	return r
}

// Done implements [workloads.Responder].
func (s *closedLoop) Done(r *workloads.Request, now sim.Time) {
	client := r.Tenant - 1
	pause := s.think(s.clients[client])
	if now == r.Arrived {
		pause = max(pause, refusedPause)
	}
	s.waiting.push(later(now, pause), client)
}
