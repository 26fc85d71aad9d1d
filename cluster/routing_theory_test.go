package cluster

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/policies/route"
	"orrery/sim"
)

// Routing theory: servers that take one request at a time, exponential work, Poisson
// arrivals. What a router makes of the mean wait is known: in closed form for some, by
// the equilibrium of a Markov chain for a few servers, and by a differential equation's
// fixed point for very many.

// steady averages the waits of requests that arrive when the servers have settled.
type steady struct {
	from sim.Time
	n    int64
	wait float64
}

func (s *steady) Record(r *Record) {
	if r.What == Scheduled && r.Request.Arrived >= s.from {
		s.n++
		s.wait += r.At.Sub(r.Request.Arrived).Seconds()
	}
}

// routedQueue runs n requests through so many servers at load rho with mean service
// of 100 ms, and returns the mean wait in units of the mean service, the first tenth
// of the requests left out, and the load that was really drawn.
func routedQueue(t *testing.T, router route.Policy, stale time.Duration, servers int, rho float64, n int64, seed uint64) (wait, drawn float64) {
	t.Helper()
	return routedTo(t, make([]float64, servers), router, stale, rho, n, seed)
}

// routedTo is routedQueue for servers of these speeds, 0 for 1, each a group of its own. The
// load is what each would have at speed 1.
func routedTo(t *testing.T, speeds []float64, router route.Policy, stale time.Duration, rho float64, n int64, seed uint64) (wait, drawn float64) {
	t.Helper()
	const mean = 100_000
	servers := len(speeds)
	rate := rho * float64(servers) / (mean * 1e-6)
	src := &queueSource{
		arrivals: sim.Stream(seed, "arrivals"), services: sim.Stream(seed, "services"),
		rate: rate, mean: mean, exponential: true,
	}
	src.draw()
	w := &steady{from: sim.Seconds(float64(n) / 10 / rate)}
	cfg := Config{Source: src, Requests: n, Router: router, ViewDelay: stale, Record: []Recorder{w}}
	for i, speed := range speeds {
		r := ReplicaConfig{Policy: &batch.Orca{MaxSeqs: 1}, Cost: &toyCost{price: serviceTime}, MaxLen: 1 << 30, Blocks: 1 << 31, BlockTokens: 1 << 30}
		if speed > 0 {
			r.Group = int32(i)
			r.Cost = &toyCost{price: func(b *hwmodel.Batch) time.Duration {
				return time.Duration(float64(b.ChunkTokens) * 1000 / speed)
			}}
		}
		cfg.Replicas = append(cfg.Replicas, r)
	}
	out, err := Run(context.Background(), cfg)
	if err != nil || out.Finished != n {
		t.Fatal(out, err)
	}
	return w.wait / float64(w.n) / (mean * 1e-6), src.work * 1e-6 / src.gaps / float64(servers)
}

// supermarket is the mean wait of servers without number when each request joins the
// shortest of d queues, in units of the mean service: the sum over i >= 1 of
// rho^((d^i-d)/(d-1)), less the service itself (Vvedenskaya, Dobrushin and Karpelevich,
// 1996; Mitzenmacher, 2001).
func supermarket(d int, rho float64) float64 {
	sum, exponent, power := 0.0, 0.0, 1.0 // (d^i-d)/(d-1) is d + d^2 + ... + d^(i-1)
	for range 64 {
		sum += math.Pow(rho, exponent)
		power *= float64(d)
		exponent += power
	}
	return sum - 1
}

// roundRobin is the mean wait when n servers are taken in turn: each sees the n-th
// arrivals only, and is an E_n/M/1 queue, whose wait is sigma/(1-sigma) with sigma the
// root of sigma = A(1-sigma), A the transform of the gaps (Kleinrock, Queueing Systems I,
// section 6.4).
func roundRobin(n int, rho float64) float64 {
	sigma, k := rho, float64(n)
	for range 10_000 {
		sigma = math.Pow(k*rho/(k*rho+1-sigma), k)
	}
	return sigma / (1 - sigma)
}

func TestRoutingTheory(t *testing.T) {
	if testing.Short() {
		t.Skip("millions of requests")
	}
	stream := func(seed uint64) *rand.Rand { return sim.Stream(seed, "route") }
	shortest := func(uint64) route.Policy { return route.LeastOutstanding{} }
	two := func(seed uint64) route.Policy { return &route.PowerOfTwo{Rand: stream(seed)} }
	three := func(seed uint64) route.Policy { return &route.PowerOf{Choices: 3, Rand: stream(seed)} }
	chain := func(longest int, choose chooser) func(n int, rho float64) float64 {
		return func(n int, rho float64) float64 { return joinShortest(n, longest, rho, choose) }
	}
	limit := func(d int) func(n int, rho float64) float64 {
		return func(_ int, rho float64) float64 { return supermarket(d, rho) }
	}
	for _, c := range []struct {
		name    string
		router  func(seed uint64) route.Policy
		servers int
		rho     float64
		n       int64
		wait    func(n int, rho float64) float64
	}{
		{"random", func(seed uint64) route.Policy { return &route.Random{Rand: stream(seed)} }, 20, 0.7, 1_000_000,
			func(_ int, rho float64) float64 { return rho / (1 - rho) }},
		{"round robin", func(uint64) route.Policy { return &route.RoundRobin{} }, 10, 0.8, 1_000_000, roundRobin},
		{"shared queue", func(uint64) route.Policy { return route.SharedQueue{Slots: 1} }, 10, 0.8, 1_000_000,
			func(n int, rho float64) float64 { return erlangC(n, rho) / (float64(n) * (1 - rho)) }},
		{"shortest of all", shortest, 2, 0.8, 1_000_000, chain(40, chooseShortest)},
		{"shortest of all", shortest, 2, 0.9, 2_000_000, chain(80, chooseShortest)},
		{"shortest of all", shortest, 10, 0.8, 1_000_000, chain(7, chooseShortest)},
		{"two choices", two, 10, 0.7, 1_000_000, chain(7, chooseOfTwo)},
		{"two choices", two, 1000, 0.7, 1_000_000, limit(2)},
		{"two choices", two, 1000, 0.9, 2_000_000, limit(2)},
		{"three choices", three, 1000, 0.9, 2_000_000, limit(3)},
	} {
		t.Run(fmt.Sprintf("%s of %d at %v", c.name, c.servers, c.rho), func(t *testing.T) {
			const seeds = 2
			got, rho := 0.0, 0.0
			for seed := range uint64(seeds) {
				wait, drawn := routedQueue(t, c.router(seed), 0, c.servers, c.rho, c.n, seed)
				got += wait / seeds
				rho += drawn / seeds
			}
			want := c.wait(c.servers, rho) // at the load drawn, which explains most of the spread
			t.Logf("mean wait %.4f, theory %.4f (%+.2f %%) at the load drawn, %.4f", got, want, 100*(got/want-1), rho)
			if !(math.Abs(got/want-1) <= 0.03) {
				t.Errorf("mean wait %.4f service times, theory says %.4f", got, want)
			}
		})
	}
}

// Of two servers, one three times as fast, requests join the one with the shortest expected
// delay, the first of equals. The fast one gets the first request, and the wait is that of
// the Markov chain of the two lengths.
func TestShortestExpectedDelay(t *testing.T) {
	if testing.Short() {
		t.Skip("millions of requests")
	}
	speeds := []float64{1, 3}
	const load, n = 1.7, 1_000_000 // at speed 1; the two can serve 2
	got, rho := 0.0, 0.0
	for seed := range uint64(2) {
		wait, drawn := routedTo(t, speeds, route.Least{Speeds: speeds}, 0, load, n, seed)
		got += wait / 2
		rho += drawn / 2
	}
	want := shortestDelay(speeds, 2*rho, 120)
	t.Logf("mean wait %.4f, theory %.4f (%+.2f %%) at the load drawn, %.4f", got, want, 100*(got/want-1), rho)
	if !(math.Abs(got/want-1) <= 0.03) {
		t.Errorf("mean wait %.4f service times, theory says %.4f", got, want)
	}
	if blind, _ := routedTo(t, speeds, route.LeastOutstanding{}, 0, load, n, 0); blind < got {
		t.Errorf("mean wait %.4f without regard to speed, %.4f with; want less with", blind, got)
	}
}

// shortestDelay returns the mean wait, in units of the mean service at speed 1, of two
// servers that requests join by the shortest expected delay, by the equilibrium of the
// Markov chain of their lengths, each at most longest. rate is that of arrivals.
func shortestDelay(speeds []float64, rate float64, longest int) float64 {
	size := longest + 1
	p := make([]float64, size*size)
	at := func(i, j int) *float64 { return &p[i*size+j] }
	first := func(i, j int) bool { return float64(i+1)/speeds[0] <= float64(j+1)/speeds[1] }
	for k := range p {
		p[k] = 1
	}
	wait, last := 0.0, -1.0
	for math.Abs(wait-last) > 1e-9 || wait == 0 {
		last = wait
		total, waiting := 0.0, 0.0
		for i := range size {
			for j := range size {
				in, out := 0.0, 0.0
				if i > 0 {
					out += speeds[0]
					if first(i-1, j) {
						in += rate * *at(i-1, j)
					}
				}
				if j > 0 {
					out += speeds[1]
					if !first(i, j-1) {
						in += rate * *at(i, j-1)
					}
				}
				if i < longest {
					in += speeds[0] * *at(i+1, j)
				}
				if j < longest {
					in += speeds[1] * *at(i, j+1)
				}
				if first(i, j) && i < longest || !first(i, j) && j < longest {
					out += rate
				}
				*at(i, j) = in / out
				total += *at(i, j)
				waiting += *at(i, j) * float64(max(0, i-1)+max(0, j-1))
			}
		}
		for k := range p {
			p[k] /= total
		}
		wait = waiting / total / rate
	}
	return wait
}

// The older the view, the longer the waits, and the less is gained by looking at all
// queues instead of two. What is very old misleads: taking the servers in turn is better,
// though not drawing them. (Mitzenmacher, "How Useful Is Old Information?", 2000, finds the
// same; there the router does not know what it has sent itself, and fares worse.) Of
// servers that are never heard of the shortest queue is the one whose turn it is.
func TestStaleViews(t *testing.T) {
	if testing.Short() {
		t.Skip("millions of requests")
	}
	const servers, rho, n = 100, 0.9, 500_000
	shortest := func(stale float64) float64 { // in mean services
		wait, _ := routedQueue(t, route.LeastOutstanding{}, time.Duration(stale*100e6), servers, rho, n, 1)
		return wait
	}
	last, lastTwo := 0.0, 0.0
	for _, stale := range []float64{0, 0.1, 1, 10, 100} {
		all := shortest(stale)
		two, _ := routedQueue(t, &route.PowerOfTwo{Rand: sim.Stream(1, "route")}, time.Duration(stale*100e6), servers, rho, n, 1)
		t.Logf("view %5v services old: mean wait %.3f by the shortest of all, %.3f by the shorter of two", stale, all, two)
		if all <= last || two <= lastTwo || all >= two || stale > 0 && two/all >= lastTwo/last {
			t.Errorf("view %v services old: mean wait %.3f by the shortest of all, %.3f of two; want both longer than %.3f and %.3f, and nearer to each other", stale, all, two, last, lastTwo)
		}
		last, lastTwo = all, two
	}
	inTurn, random := roundRobin(servers, rho), rho/(1-rho)
	if last < 1.1*inTurn || lastTwo > 0.9*random {
		t.Errorf("mean wait %.3f and %.3f by the oldest view; want more than in turn, %.3f, and less than drawn, %.3f", last, lastTwo, inTurn, random)
	}
	turn, _ := routedQueue(t, &route.RoundRobin{}, 0, servers, rho, n, 1)
	if never := shortest(1e6); never != turn {
		t.Errorf("mean wait %v by what was never heard, %v in turn; want the same", never, turn)
	}
	t.Logf("in turn: mean wait %.3f, theory %.3f; drawn: %.3f", turn, inTurn, random)
}

// chooser returns with which probability an arrival joins the k-th shortest of n queues.
type chooser func(k, n int) float64

func chooseShortest(k, _ int) float64 {
	if k == 0 {
		return 1
	}
	return 0
}

// chooseOfTwo: the k-th shortest is the shorter of two drawn if it is one of them and the
// other is longer, n-1-k cases of the n(n-1)/2.
func chooseOfTwo(k, n int) float64 {
	return float64(n-1-k) / (float64(n) * float64(n-1) / 2)
}

// joinShortest returns the mean wait, in units of the mean service, of n servers with
// queues of at most longest requests each, those in service included, from the
// equilibrium of the Markov chain of the queue lengths in order of length: which
// server has which length is of no account. The bound is of no account either if such
// queues are rare. By Little's law the wait is that of the requests who wait over the
// rate of arrivals.
func joinShortest(n, longest int, rho float64, choose chooser) float64 {
	m := newLengths(n, longest, rho, choose)
	wait := 0.0
	for {
		for range 20 {
			m.sweep()
		}
		now := m.waiting() / (rho * float64(n))
		if math.Abs(now-wait) < 1e-6*now {
			return now
		}
		wait = now
	}
}

// lengths is the Markov chain of sorted queue lengths.
type lengths struct {
	n, longest int
	states     [][]int
	index      map[string]int
	p          []float64
	out        []float64 // total rate out of a state
	into       [][]flow  // where a state is entered from, and at which rate
}

type flow struct {
	from int
	rate float64
}

func newLengths(n, longest int, rho float64, choose chooser) *lengths {
	m := &lengths{n: n, longest: longest, index: map[string]int{}}
	m.enumerate(make([]int, 0, n))
	m.p = make([]float64, len(m.states))
	m.out = make([]float64, len(m.states))
	m.into = make([][]flow, len(m.states))
	for i, s := range m.states {
		m.p[i] = 1 / float64(len(m.states))
		for k := range s {
			m.step(i, k, +1, rho*float64(n)*choose(k, n))
			if s[k] > 0 {
				m.step(i, k, -1, 1)
			}
		}
	}
	return m
}

// enumerate lists the ascending vectors that begin with head.
func (m *lengths) enumerate(head []int) {
	if len(head) == m.n {
		m.index[fmt.Sprint(head)] = len(m.states)
		m.states = append(m.states, append([]int(nil), head...))
		return
	}
	low := 0
	if len(head) > 0 {
		low = head[len(head)-1]
	}
	for k := low; k <= m.longest; k++ {
		m.enumerate(append(head, k))
	}
}

// step adds the transition in which the k-th shortest queue of a state changes by d.
func (m *lengths) step(from, k, d int, rate float64) {
	s := append([]int(nil), m.states[from]...)
	for d > 0 && k+1 < m.n && s[k+1] == s[k] {
		k++ // the last of equals grows, so that the order holds
	}
	for d < 0 && k > 0 && s[k-1] == s[k] {
		k-- // and the first of equals shrinks
	}
	s[k] += d
	to, ok := m.index[fmt.Sprint(s)]
	if !ok || rate == 0 {
		return // beyond the bound
	}
	m.out[from] += rate
	m.into[to] = append(m.into[to], flow{from, rate})
}

// sweep is one step of Gauss and Seidel towards the equilibrium, there and back.
func (m *lengths) sweep() {
	balance := func(i int) {
		sum := 0.0
		for _, f := range m.into[i] {
			sum += m.p[f.from] * f.rate
		}
		m.p[i] = sum / m.out[i]
	}
	for i := range m.p {
		balance(i)
	}
	for i := len(m.p) - 1; i >= 0; i-- {
		balance(i)
	}
	total := 0.0
	for _, x := range m.p {
		total += x
	}
	for i := range m.p {
		m.p[i] /= total
	}
}

// waiting returns the mean number of requests that wait.
func (m *lengths) waiting() float64 {
	sum := 0.0
	for i, s := range m.states {
		for _, k := range s {
			sum += m.p[i] * float64(max(0, k-1))
		}
	}
	return sum
}

// The chain itself agrees with what is known: one server is M/M/1, and drawing one of n
// queues makes n of them.
func TestChainOfQueueLengths(t *testing.T) {
	alike := func(_, n int) float64 { return 1 / float64(n) }
	for _, c := range []struct {
		n, longest int
		rho, want  float64
	}{{1, 80, 0.7, 0.7 / 0.3}, {2, 60, 0.6, 1.5}, {3, 24, 0.4, 0.4 / 0.6}} {
		if got := joinShortest(c.n, c.longest, c.rho, alike); math.Abs(got/c.want-1) > 1e-3 {
			t.Errorf("%d servers at %v: mean wait %v, want %v", c.n, c.rho, got, c.want)
		}
	}
}
