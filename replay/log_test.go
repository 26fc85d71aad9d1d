package replay

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"orrery/cluster"
	"orrery/sim"
	"orrery/workloads"
)

// answers draws what clients may have seen: anything that comes in order of time.
func answers(t *rapid.T) *Outcome {
	o := &Outcome{}
	var at sim.Time
	for id := range rapid.Int64Range(1, 20).Draw(t, "requests") {
		at += sim.Time(rapid.Int64Range(0, 1000).Draw(t, "gap"))
		a := &Answer{Request: workloads.Request{ID: id, Arrived: at, Prompt: 10, Output: 20}, Sent: at}
		now := at
		for range rapid.IntRange(0, 12).Draw(t, "chunks") {
			now += sim.Time(rapid.Int64Range(0, 500).Draw(t, "wait"))
			a.Chunks = append(a.Chunks, now)
		}
		a.Usage = rapid.Bool().Draw(t, "usage")
		a.AnswerTokens = rapid.Int32Range(0, 40).Draw(t, "tokens")
		a.Failure = rapid.SampledFrom([]Failure{None, None, TimedOut, Torn, Reset, CutByEnd, "HTTP 500"}).Draw(t, "failure")
		if len(a.Chunks) == 0 && a.Failure == None {
			a.Failure = Empty
		}
		a.Ended = now + sim.Time(rapid.Int64Range(0, 300).Draw(t, "end"))
		o.End = max(o.End, a.Ended)
		o.Answers = append(o.Answers, a)
	}
	return o
}

// checker holds the records to what a log must obey.
type checker struct {
	t       *rapid.T
	at      sim.Time
	tokens  map[int64]int64
	gaps    map[int64]time.Duration
	first   map[int64]sim.Time
	ended   map[int64]cluster.What
	arrived int
}

func (c *checker) Record(r *cluster.Record) {
	if r.At < c.at {
		c.t.Fatalf("%v at %v, after %v", r.What, r.At, c.at)
	}
	c.at = r.At
	id := r.Request.ID
	if _, over := c.ended[id]; over {
		c.t.Fatalf("%v of request %d, which has ended", r.What, id)
	}
	switch r.What {
	case cluster.Arrived:
		c.arrived++
	case cluster.FirstToken:
		c.tokens[id]++
		c.first[id] = r.At
	case cluster.Emitted:
		c.tokens[id] += r.N
		c.gaps[id] += time.Duration(r.N) * r.Gap
	default:
		c.ended[id] = r.What
		if int64(r.Request.Emitted) != c.tokens[id] {
			c.t.Fatalf("request %d ends with %d tokens, and %d appeared", id, r.Request.Emitted, c.tokens[id])
		}
	}
}

// The log of any answers is in order of time, every request ends once, its tokens are those
// that were counted, and its gaps add up to the time between its first token and its last.
func TestLogObeysTheLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := answers(t)
		c := &checker{t: t, tokens: map[int64]int64{}, gaps: map[int64]time.Duration{}, first: map[int64]sim.Time{}, ended: map[int64]cluster.What{}}
		o.Log(0, c)
		if c.arrived != len(o.Answers) || len(c.ended) != len(o.Answers) {
			t.Fatalf("%d requests: %d arrived, %d ended", len(o.Answers), c.arrived, len(c.ended))
		}
		for _, a := range o.Answers {
			if c.tokens[a.ID] != a.Tokens() {
				t.Fatalf("request %d has %d tokens, %d were logged", a.ID, a.Tokens(), c.tokens[a.ID])
			}
			if n := len(a.Chunks); n > 0 && a.Tokens() >= int64(n) {
				if got, want := c.gaps[a.ID], a.Chunks[n-1].Sub(a.Chunks[0]); got != want {
					t.Fatalf("gaps of request %d add up to %v, its chunks to %v", a.ID, got, want)
				}
			}
			refused := len(a.Chunks) == 0 && a.Failure != TimedOut && a.Failure != CutByEnd
			want := cluster.Unfinished
			switch {
			case a.Failure == None:
				want = cluster.Finished
			case refused:
				want = cluster.Rejected
			}
			if c.ended[a.ID] != want {
				t.Fatalf("request %d with %d chunks and failure %q is %v, want %v", a.ID, len(a.Chunks), a.Failure, c.ended[a.ID], want)
			}
		}
		o.Result(Frame{}) // must take it in
	})
}
