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
	"orrery/workloads"
)

// Queueing theory: a replica that takes one prompt at a time is a single server,
// and several behind one queue are a multi-server. Mean waits must match the
// textbook.

// queueSource is a Poisson stream of one-token requests whose service time is a
// prompt of so many microseconds.
type queueSource struct {
	arrivals, services *rand.Rand
	rate, mean         float64 // per second; microseconds
	exponential        bool
	at                 float64
	next               workloads.Request
	// work and gaps are what the source has drawn, for control variates.
	n          int64
	work, gaps float64
}

func (s *queueSource) draw() {
	gap := s.arrivals.ExpFloat64() / s.rate
	s.at += gap
	service := s.mean
	if s.exponential {
		service *= s.services.ExpFloat64()
	}
	s.next = workloads.Request{Arrived: sim.Seconds(s.at), Prompt: max(1, int32(math.Round(service))), Output: 1}
	s.n++
	s.work += service
	s.gaps += gap
}

func (s *queueSource) Peek() (sim.Time, bool) { return s.next.Arrived, true }

func (s *queueSource) Next() workloads.Request {
	r := s.next
	s.draw()
	return r
}

// waits sums scheduling delays, and the area under the number in the system.
type waits struct {
	n             int64
	wait, sojourn float64
	area          float64
	last          sim.Time
	present       int64
}

func (w *waits) Record(r *Record) {
	switch r.What {
	case Arrived:
		w.step(r.At)
		w.present++
	case Finished:
		w.step(r.At)
		w.present--
		w.n++
		w.wait += r.Request.Scheduled.Sub(r.Request.Arrived).Seconds()
		w.sojourn += r.Request.Last.Sub(r.Request.Arrived).Seconds()
	}
}

func (w *waits) step(now sim.Time) {
	w.area += float64(w.present) * now.Sub(w.last).Seconds()
	w.last = now
}

func serviceTime(b *hwmodel.Batch) time.Duration {
	return time.Duration(b.ChunkTokens) * time.Microsecond
}

// queue runs n requests through servers at load rho with mean service of 100 ms
// and returns the mean wait in units of the mean service.
func queue(t *testing.T, servers int, rho float64, exponential bool, n int64, seed uint64) (wait float64, src *queueSource) {
	t.Helper()
	const mean = 100_000
	src = &queueSource{
		arrivals: sim.Stream(seed, "arrivals"), services: sim.Stream(seed, "services"),
		rate: rho * float64(servers) / (mean * 1e-6), mean: mean, exponential: exponential,
	}
	src.draw()
	w := &waits{}
	cfg := Config{Source: src, Requests: n, Record: []Recorder{w}}
	if servers > 1 {
		cfg.Router = route.SharedQueue{Slots: 1}
	}
	for range servers {
		cfg.Replicas = append(cfg.Replicas, ReplicaConfig{
			Policy: &batch.Orca{MaxSeqs: 1}, Cost: &toyCost{price: serviceTime}, MaxLen: 1 << 30, Blocks: 1 << 31, BlockTokens: 1 << 30,
		})
	}
	out, err := Run(context.Background(), cfg)
	if err != nil || out.Finished != n {
		t.Fatal(out, err)
	}
	if little := w.area / out.End.Seconds(); math.Abs(little/(w.sojourn/out.End.Seconds())-1) > 0.01 {
		t.Errorf("Little's law: %v in the system on average, arrival rate times time in system is %v", little, w.sojourn/out.End.Seconds())
	}
	return w.wait / float64(n) / (mean * 1e-6), src
}

// erlangC is the probability that an arrival waits in M/M/c at the given load.
func erlangC(c int, rho float64) float64 {
	a := rho * float64(c)
	term, sum := 1.0, 0.0
	for k := range c {
		sum += term
		term *= a / float64(k+1)
	}
	last := term / (1 - rho)
	return last / (sum + last)
}

func TestQueueingTheory(t *testing.T) {
	if testing.Short() {
		t.Skip("millions of requests")
	}
	for _, c := range []struct {
		name        string
		servers     int
		exponential bool
		wait        func(rho float64) float64 // in units of the mean service
	}{
		{"M/D/1", 1, false, func(rho float64) float64 { return rho / (2 * (1 - rho)) }},
		{"M/M/1", 1, true, func(rho float64) float64 { return rho / (1 - rho) }},
		{"M/M/3", 3, true, func(rho float64) float64 { return erlangC(3, rho) / (3 * (1 - rho)) }},
	} {
		for _, load := range []struct {
			rho   float64
			n     int64
			seeds int
		}{{0.5, 200_000, 5}, {0.8, 500_000, 5}, {0.95, 1_000_000, 8}} {
			t.Run(fmt.Sprintf("%s/%v", c.name, load.rho), func(t *testing.T) {
				t.Parallel()
				want := c.wait(load.rho)
				got, half := controlled(t, c.servers, load.rho, c.exponential, load.n, load.seeds)
				t.Logf("mean wait %.4f, theory %.4f (%+.2f %%), 95 %% interval +-%.2f %%", got, want, 100*(got/want-1), 100*half/want)
				if math.Abs(got/want-1) > 0.02 {
					t.Errorf("mean wait %.4f service times, theory says %.4f", got, want)
				}
			})
		}
	}
}

// controlled estimates the mean wait over seeds. The load that a seed really drew
// is known exactly, and explains most of the spread: it serves as control variate,
// with the slope that theory gives for single servers.
func controlled(t *testing.T, servers int, rho float64, exponential bool, n int64, seeds int) (mean, half float64) {
	var xs, ys []float64
	for seed := range seeds {
		wait, src := queue(t, servers, rho, exponential, n, uint64(seed))
		drawn := src.work * 1e-6 / src.gaps / float64(servers)
		xs = append(xs, drawn-rho)
		ys = append(ys, wait)
	}
	// The derivative of 1/(1-rho) shapes: d wait / d rho = wait / (rho (1-rho)) nearly.
	m := 0.0
	for _, y := range ys {
		m += y / float64(seeds)
	}
	slope := m / (rho * (1 - rho))
	var sum, sq float64
	for i := range ys {
		v := ys[i] - slope*xs[i]
		sum += v
		sq += v * v
	}
	mean = sum / float64(seeds)
	return mean, 2.36 * math.Sqrt((sq/float64(seeds)-mean*mean)/float64(seeds-1))
}

// A lone server that gets eleven times what it can do falls behind without bound;
// a simulator that lets iterations overlap would show no queue at all.
func TestOverloadDiverges(t *testing.T) {
	a, _ := queue(t, 1, 11, false, 2_000, 1)
	b, _ := queue(t, 1, 11, false, 20_000, 1)
	if want := 1000 * (1 - 1/11.0); math.Abs(a/want-1) > 0.1 {
		t.Errorf("mean wait of 2,000 requests is %v service times, want about %v", a, want)
	}
	if math.Abs(b/a-10) > 1 {
		t.Errorf("ten times the requests wait %v times as long, want 10", b/a)
	}
}
