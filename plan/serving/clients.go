package serving

import (
	"math/rand/v2"

	"orrery/calibrate"
	"orrery/cluster"
	"orrery/sim"
	"orrery/workloads"
)

// clients are a closed loop of clients without time to think. Unlike [trace.ClosedLoop]
// they may begin one after the other, as in a run that has gone on for long: clients that
// ask for equal lengths and began together would stay together.
type clients struct {
	waiting []sim.Time // when idle clients send their next request, earliest first
	left    int        // requests still to come
	next    int64
	draw    func() (prompt, output int32)
}

// protocol is how a publisher drove the engine.
type protocol struct {
	rounds  int     // requests of each client
	least   float64 // of the stated lengths, the shortest that is drawn
	spread  bool    // clients begin evenly over the time of an answer rather than at once
	settled bool    // only requests between the first and the last of each client count
}

// protocolOf returns how the run was driven. InferenceX draws lengths evenly between 0.8
// and 1 times what it states and sends ten requests for each of its clients, all of which
// count (benchmark_serving.py with random-range-ratio 0.8). NVIDIA's runs have equal
// lengths; four rounds do for their steady state. Those of SGLang are a single round.
func protocolOf(w *calibrate.ServingRow) protocol {
	switch {
	case w.Origin == "inferencex":
		return protocol{rounds: 10, least: 0.8}
	case w.Together():
		return protocol{rounds: 1, least: 1}
	}
	return protocol{rounds: 4, least: 1, spread: true, settled: true}
}

// seed of the lengths. One run is enough: means are over hundreds of requests.
const seed = 1

// newClients returns the clients of a run, an answer of which takes about so long.
func newClients(w *calibrate.ServingRow, p protocol, answer sim.Time) *clients {
	c := &clients{left: w.Clients * p.rounds, waiting: make([]sim.Time, w.Clients)}
	rng := sim.Stream(seed, "lengths")
	c.draw = func() (int32, int32) {
		return between(rng, p.least, w.Prompt), max(2, between(rng, p.least, w.Output))
	}
	if p.spread {
		for i := range c.waiting {
			c.waiting[i] = answer / sim.Time(w.Clients) * sim.Time(i)
		}
	}
	return c
}

// between draws a whole number from share*most to most.
func between(rng *rand.Rand, share float64, most int) int32 {
	least := int(share * float64(most))
	return int32(least + rng.IntN(most-least+1))
}

// Peek implements [workloads.Source].
func (c *clients) Peek() (sim.Time, bool) {
	if c.left == 0 || len(c.waiting) == 0 {
		return 0, false
	}
	return c.waiting[0], true
}

// Next implements [workloads.Source].
func (c *clients) Next() workloads.Request {
	r := workloads.Request{ID: c.next, Arrived: c.waiting[0]}
	r.Prompt, r.Output = c.draw()
	c.waiting = c.waiting[1:]
	c.next++
	c.left--
	return r
}

// Done implements [workloads.Responder]. Clients that have not begun yet come in their
// turn, those that have an answer go behind them in order of time.
func (c *clients) Done(_ *workloads.Request, now sim.Time) {
	i := len(c.waiting)
	for i > 0 && c.waiting[i-1] > now {
		i--
	}
	c.waiting = append(c.waiting, 0)
	copy(c.waiting[i+1:], c.waiting[i:])
	c.waiting[i] = now
}

// times adds up what the requests of a run saw.
type times struct {
	clients, total int64 // requests of a round and of the run
	settled        bool  // the first and the last round do not count
	failed         int64
	count          float64
	ttft, tpot     float64 // seconds
}

// Record implements [cluster.Recorder].
func (t *times) Record(r *cluster.Record) {
	switch r.What {
	case cluster.Rejected:
		t.failed++
	case cluster.Finished:
		s := r.Request
		if t.settled && (s.ID < t.clients || s.ID >= t.total-t.clients) {
			return
		}
		t.count++
		t.ttft += (s.First - s.Arrived).Seconds()
		t.tpot += (s.Last - s.First).Seconds() / float64(s.Output-1)
	}
}
