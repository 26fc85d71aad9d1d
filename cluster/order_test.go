package cluster

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/sim"
	"orrery/workloads"
)

// tierQueue is a queueSource whose requests belong to one of two tiers.
type tierQueue struct {
	queueSource
	rng   *rand.Rand
	first float64 // share of tier 0
}

func (s *tierQueue) Next() workloads.Request {
	r := s.queueSource.Next()
	if s.rng.Float64() >= s.first {
		r.Tier = 1
	}
	return r
}

// tierWaits sums scheduling delays by tier.
type tierWaits struct {
	n    [2]int64
	wait [2]float64
}

func (w *tierWaits) Record(r *Record) {
	if r.What == Finished {
		w.n[r.Request.Tier]++
		w.wait[r.Request.Tier] += r.Request.Scheduled.Sub(r.Request.Arrived).Seconds()
	}
}

// ordered runs M/M/1 at load rho with an order of the queue, four seeds of n requests,
// and returns the mean waits by tier and of all, in units of the mean service.
func ordered(t *testing.T, order func() batch.Order, rho, first float64, n int64) (tier [2]float64, all float64) {
	t.Helper()
	const mean, seeds = 100_000, 4
	for seed := range uint64(seeds) {
		src := &tierQueue{queueSource: queueSource{
			arrivals: sim.Stream(seed, "arrivals"), services: sim.Stream(seed, "services"),
			rate: rho / (mean * 1e-6), mean: mean, exponential: true,
		}, rng: sim.Stream(seed, "tier"), first: first}
		src.draw()
		w := &tierWaits{}
		out, err := Run(context.Background(), Config{Source: src, Requests: n, Record: []Recorder{w}, Tiers: []Tier{{Priority: 1}, {}},
			Replicas: []ReplicaConfig{{
				Policy: &batch.Ordered{Policy: &batch.Orca{MaxSeqs: 1}, Order: order()}, Cost: &toyCost{price: serviceTime},
				MaxLen: 1 << 30, Blocks: 1 << 31, BlockTokens: 1 << 30,
			}}})
		if err != nil || out.Finished != n {
			t.Fatal(out, err)
		}
		for k := range tier {
			tier[k] += w.wait[k] / float64(w.n[k]) / (mean * 1e-6) / seeds
		}
		all += (w.wait[0] + w.wait[1]) / float64(n) / (mean * 1e-6) / seeds
	}
	return tier, all
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	t.Logf("%s: mean wait %.4f service times, theory %.4f (%+.2f %%)", what, got, want, 100*(got/want-1))
	if math.Abs(got/want-1) > 0.03 {
		t.Errorf("%s: mean wait %.4f service times, theory says %.4f", what, got, want)
	}
}

// Non-preemptive priorities (Cobham, 1954): with R = rho for the rest of the service under
// way and s1, s2 the loads up to each class, class k waits R / ((1 - s(k-1)) (1 - s(k))).
func TestPriorityMatchesCobham(t *testing.T) {
	if testing.Short() {
		t.Skip("a million requests")
	}
	const rho, first = 0.7, 0.4
	s1, s2 := rho*first, rho
	tier, _ := ordered(t, func() batch.Order { return &batch.ByKey{Ranking: batch.Priority{}} }, rho, first, 300_000)
	near(t, "high priority", tier[0], rho/(1-s1))
	near(t, "low priority", tier[1], rho/((1-s1)*(1-s2)))
}

// With aging that lets nobody go before those who came earlier, priorities are the order
// of arrival; both classes wait as in M/M/1.
func TestShortAgingIsArrival(t *testing.T) {
	if testing.Short() {
		t.Skip("a million requests")
	}
	tier, _ := ordered(t, func() batch.Order { return &batch.ByKey{Ranking: batch.Priority{Aging: 1}} }, 0.7, 0.4, 300_000)
	near(t, "high priority", tier[0], 0.7/0.3)
	near(t, "low priority", tier[1], 0.7/0.3)
}

// Shortest job first without pre-emption (Miller and Schrage, 1966): a job of length x
// waits R / (1 - rho(x))^2, rho(x) being the load of the jobs that are shorter. For
// exponential lengths of mean 1 that load is rho (1 - (1+x) exp(-x)).
func TestShortestJobMatchesTheory(t *testing.T) {
	if testing.Short() {
		t.Skip("a million requests")
	}
	const rho, h = 0.8, 1e-3
	want := 0.0
	for x := h / 2; x < 40; x += h {
		shorter := rho * (1 - (1+x)*math.Exp(-x))
		want += rho / ((1 - shorter) * (1 - shorter)) * math.Exp(-x) * h
	}
	_, all := ordered(t, func() batch.Order { return &batch.ByKey{Ranking: batch.ShortestJob{PromptOnly: true}} }, rho, 1, 300_000)
	near(t, "shortest job first", all, want)
}

// EDF never does worse than the best of all orders in how late the latest job is (Jackson's
// rule, for jobs that are there from the start), where that of arrival often does.
func TestEDFIsOptimal(t *testing.T) {
	seconds := func(b *hwmodel.Batch) time.Duration { return time.Duration(b.ChunkTokens) * time.Second }
	worse := 0
	for seed := range uint64(40) {
		rng := sim.Stream(seed, "jobs")
		const n = 6
		var rs requests
		var tiers []Tier
		for i := range int32(n) {
			r := req(0, 1+rng.Int32N(9), 1)
			r.Tier = i
			rs = append(rs, r)
			tiers = append(tiers, Tier{Deadline: time.Duration(1+rng.IntN(40)) * time.Second})
		}
		latest := func(policy batch.Policy) time.Duration {
			w := newWatcher(t, 1<<20, time.Hour)
			_, err := Run(context.Background(), Config{Source: &listSource{append(requests(nil), rs...)}, Tiers: tiers, Record: []Recorder{w},
				Replicas: []ReplicaConfig{{Policy: policy, Cost: &toyCost{price: seconds}, MaxLen: 64, Blocks: 1 << 20, BlockTokens: 16}}})
			if err != nil {
				t.Fatal(err)
			}
			late := -time.Hour
			for _, s := range w.served {
				late = max(late, s.First.Sub(s.Arrived)-tiers[s.Tier].Deadline)
			}
			return late
		}
		edf := latest(&batch.Ordered{Policy: &batch.Orca{MaxSeqs: 1}, Order: &batch.ByKey{Ranking: batch.EDF{}}})
		best := bestLateness(rs, tiers)
		if edf != best {
			t.Errorf("seed %d: EDF is %v late, the best order %v", seed, edf, best)
		}
		if latest(&batch.Orca{MaxSeqs: 1}) > best {
			worse++
		}
	}
	if worse < 20 {
		t.Errorf("the order of arrival is worse in %d of 40 cases; the cases are too easy", worse)
	}
}

// bestLateness tries all orders of jobs of so many seconds.
func bestLateness(rs requests, tiers []Tier) time.Duration {
	best := time.Duration(math.MaxInt64)
	var try func(done uint, now, late time.Duration)
	try = func(done uint, now, late time.Duration) {
		if done == 1<<len(rs)-1 {
			best = min(best, late)
		}
		for i := range rs {
			if done>>i&1 == 0 {
				end := now + time.Duration(rs[i].Prompt)*time.Second
				try(done|1<<i, end, max(late, end-tiers[i].Deadline))
			}
		}
	}
	try(0, 0, -time.Hour)
	return best
}

// service is a policy that keeps account of the service of two tenants, and of how far
// the difference has ranged while both had requests waiting.
type service struct {
	batch.Policy
	observer  batch.Observer // the policy, if it is one
	prompt, w float64        // weights
	waiting   [2]int
	gone      [2]float64 // of prompts admitted and of sequences that have left
	low, high float64
	seen      int
	charged   map[int64]bool
}

func (s *service) Queued(q *batch.Seq) {
	s.waiting[q.Tenant]++
	if s.observer != nil {
		s.observer.Queued(q)
	}
}

func (s *service) Admitted(q *batch.Seq) {
	s.waiting[q.Tenant]--
	if !s.charged[q.ID] {
		s.charged[q.ID] = true
		s.gone[q.Tenant] += s.prompt * float64(q.Prompt)
	}
	if s.observer != nil {
		s.observer.Admitted(q)
	}
}

func (s *service) Left(q *batch.Seq) {
	s.gone[q.Tenant] += s.w * float64(q.Generated)
	if s.observer != nil {
		s.observer.Left(q)
	}
}

// Plan notes the difference before each decision that both tenants wait for.
func (s *service) Plan(p batch.Plan) {
	if s.waiting[0] > 0 && s.waiting[1] > 0 {
		d := s.gone[0] - s.gone[1]
		for _, q := range p.Running() {
			d += s.w * float64(q.Generated) * float64(1-2*q.Tenant)
		}
		for _, q := range p.Queue() { // those pre-empted
			d += s.w * float64(q.Generated) * float64(1-2*q.Tenant)
		}
		if s.seen++; s.seen == 1 {
			s.low, s.high = d, d
		}
		s.low, s.high = min(s.low, d), max(s.high, d)
	}
	s.Policy.Plan(p)
}

// Two tenants that wait all the time get the same service, up to twice the larger of the
// longest prompt and what a full batch holds, each by its weight (Sheng et al., OSDI 2024,
// Theorem 4.4), in any stretch of time; the order of arrival knows no such bound.
func TestVTCBound(t *testing.T) {
	const longest, blocks, block = 60, 60, 8
	for _, name := range []string{"orca", "sarathi", "vllm", "vllm-v1"} {
		unfair := 0
		for seed := range uint64(25) {
			rng := sim.Stream(seed, "vtc")
			prompt, token := 1.0, []float64{1, 2, 4}[rng.IntN(3)]
			var rs requests
			for i := range 400 {
				r := req(0, 1+rng.Int32N(longest), 1+rng.Int32N(longest))
				if r.Tenant = int32(i & 1); r.Tenant == 1 { // the light one: short, and later
					r.Prompt, r.Output = 1+r.Prompt/4, 1+r.Output/4
					r.Arrived = sim.Time(i) * sim.Time(time.Millisecond)
				}
				rs = append(rs, r)
			}
			slices.SortStableFunc(rs, func(a, b workloads.Request) int { return cmp.Compare(a.Arrived, b.Arrived) })
			bound := 2 * max(prompt*longest, token*blocks*block)
			spread := func(order batch.Order) float64 {
				s := &service{Policy: five(6, 64)[name](), prompt: prompt, w: token, charged: map[int64]bool{}}
				if order != nil {
					o := &batch.Ordered{Policy: s.Policy, Order: order}
					s.Policy, s.observer = o, o
				}
				toy{policy: s, cost: &toyCost{price: tokens}, blocks: blocks, block: block, maxLen: 2 * longest}.run(t, rs)
				if s.seen < 100 {
					t.Fatalf("%s, seed %d: both wait for %d decisions only", name, seed, s.seen)
				}
				return s.high - s.low
			}
			if d := spread(&batch.VTC{PromptWeight: prompt, TokenWeight: token}); d > bound {
				t.Errorf("%s, seed %d: services differ by %v, the bound is %v", name, seed, d, bound)
			}
			if spread(nil) > bound {
				unfair++
			}
		}
		if unfair < 20 {
			t.Errorf("%s: the order of arrival is within the bound in %d of 25 cases; the cases are too easy", name, 25-unfair)
		}
	}
}

// A tenant that comes late has no credit for the time before: it is served alternately
// with the other from then on, one request at a time.
func TestVTCLiftsNewcomers(t *testing.T) {
	var rs requests
	for range 8 {
		rs = append(rs, req(0, 10, 1))
	}
	for range 3 {
		r := req(2.5, 10, 1)
		r.Tenant = 1
		rs = append(rs, r)
	}
	w, _ := toy{policy: &batch.Ordered{Policy: &batch.Orca{MaxSeqs: 1}, Order: &batch.VTC{PromptWeight: 1, TokenWeight: 2}}}.run(t, rs)
	order := ""
	for _, r := range w.records {
		if r.What == Scheduled {
			order += fmt.Sprint(r.Request.Tenant)
		}
	}
	if want := "00001010100"; order != want {
		t.Errorf("served in the order %s, want %s", order, want)
	}
}
