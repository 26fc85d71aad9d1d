package cluster

import (
	"context"
	"testing"
	"time"

	"orrery/hwmodel"
	"orrery/policies/admit"
	"orrery/policies/batch"
	"orrery/sim"
	"orrery/workloads"
)

// gated runs requests of one token through a replica that takes 10 ms for each, behind a
// gate.
func gated(t *testing.T, policy admit.Policy, order batch.Ranking, tiers []Tier, src workloads.Source, n int64) *watcher {
	t.Helper()
	w := newWatcher(t, 1<<20, time.Hour)
	ten := func(b *hwmodel.Batch) time.Duration { return 10 * time.Millisecond }
	out, err := Run(context.Background(), Config{Source: src, Requests: n, Admit: policy, Order: order, Tiers: tiers, Record: []Recorder{w},
		Replicas: []ReplicaConfig{{Policy: &batch.Orca{MaxSeqs: 1}, Cost: &toyCost{price: ten}, MaxLen: 64, Blocks: 1 << 20, BlockTokens: 16}}})
	if err != nil {
		t.Fatal(err)
	}
	w.conserved(out, WithPrefill)
	return w
}

// Requests that the bucket holds are let in at the very time at which it has a token for
// each: the k-th at the larger of its arrival and the one a bucket's depth before plus
// that many tokens' time.
func TestHeldRequestsLeaveOnTime(t *testing.T) {
	rng := sim.Stream(1, "gate")
	var rs requests
	at := 0.0
	for range 500 {
		at += rng.ExpFloat64() * 0.1 // ten a second, of which eight are let in
		rs = append(rs, req(at, 1, 1))
	}
	const tick = 125 * time.Millisecond
	w := gated(t, &admit.TokenBucket{Rate: 8, Burst: 3, Wait: time.Hour}, nil, nil, &listSource{append(requests(nil), rs...)}, 0)
	full, held := sim.Time(0), 0
	for i, s := range w.served {
		full = max(full, rs[i].Arrived).Add(tick)
		want := max(rs[i].Arrived, full.Add(-3*tick))
		full = max(full, want)
		if s.Routed != want {
			t.Fatalf("request %d, which came at %v, is let in at %v, want %v", i, rs[i].Arrived, s.Routed, want)
		}
		if want > rs[i].Arrived {
			held++
		}
	}
	if len(w.served) != 500 || held < 200 {
		t.Errorf("%d served, %d held; want 500, and many", len(w.served), held)
	}
}

// Held requests leave in the order of the queue, not in that in which they came.
func TestHeldRequestsObeyTheOrder(t *testing.T) {
	tiers := []Tier{{}, {Priority: 1}}
	rs := requests{req(0, 1, 1), req(0.01, 1, 1), req(0.02, 1, 1), req(0.03, 1, 1)}
	rs[3].Tier = 1
	w := gated(t, &admit.TokenBucket{Rate: 1, Burst: 1, Wait: time.Hour}, batch.Priority{}, tiers, &listSource{rs}, 0)
	if got, want := w.story(), "A@0 +A@0.01 D@1 +D@1.01 B@2 +B@2.01 C@3 +C@3.01"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A replica that gets twice what it can do is late with nearly everything; refusing
// early what would be late keeps it busy with what is not.
func TestEarlyRejectionKeepsGoodput(t *testing.T) {
	const n, target = 5_000, 100 * time.Millisecond
	met := func(policy admit.Policy) int {
		src := &queueSource{arrivals: sim.Stream(1, "arrivals"), services: sim.Stream(1, "services"), rate: 200, mean: 10}
		src.draw()
		met := 0
		for _, s := range gated(t, policy, nil, nil, src, n).served {
			if s.First.Sub(s.Arrived) <= target {
				met++
			}
		}
		return met
	}
	late, early := met(nil), met(&admit.Early{Target: target, Slack: 1})
	if most := n / 2; late > n/50 || early < most*9/10 {
		t.Errorf("%d requests are in time without and %d with early rejection; want few, and nearly all %d that the replica can do", late, early, most)
	}
}
