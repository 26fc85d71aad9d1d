package scenarios

import (
	"io"
	"math/rand/v2"

	"orrery/sim"
	"orrery/workloads"
)

// mixed gives the requests of a source their classes, by independent draws from a stream
// of its own: the times of arrivals stay what they are.
type mixed struct {
	workloads.Source
	rng    *rand.Rand
	shares []float64 // by class
	steps  []int32
	text   bool // what no class takes is text
}

// mix returns the source with the scenario's classes, or as it is if there are none.
func (s *Scenario) mix(src workloads.Source, seed uint64) workloads.Source {
	if len(s.Classes) == 0 {
		return src
	}
	m := mixed{Source: src, rng: sim.Stream(seed, "class"), text: s.text}
	for i := range s.Classes {
		k := &s.Classes[i]
		m.shares = append(m.shares, k.Share)
		m.steps = append(m.steps, int32(k.Steps))
	}
	if r, ok := src.(workloads.Responder); ok {
		return &mixedResponder{m, r}
	}
	return &m
}

// Next implements [workloads.Source].
func (m *mixed) Next() workloads.Request {
	r := m.Source.Next()
	i := m.draw()
	if i < 0 {
		return r
	}
	r.Class, r.Prompt, r.Output = int32(i)+1, 1, m.steps[i]
	r.Prefix = nil
	return r
}

// draw returns the class of the next request, -1 for text.
func (m *mixed) draw() int {
	u := m.rng.Float64()
	last := -1
	for i, share := range m.shares {
		if share == 0 {
			continue
		}
		if u < share {
			return i
		}
		u -= share
		last = i
	}
	if m.text {
		return -1
	}
	return last // what rounding leaves of the shares
}

// Close passes on to the source.
func (m *mixed) Close() error {
	if c, ok := m.Source.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// mixedResponder is a source that waits for answers.
type mixedResponder struct {
	mixed
	responder workloads.Responder
}

// Done implements [workloads.Responder].
func (m *mixedResponder) Done(r *workloads.Request, now sim.Time) { m.responder.Done(r, now) }
