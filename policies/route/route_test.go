package route

import (
	"testing"

	"orrery/sim"
	"orrery/workloads"
)

var (
	_ Policy = (*RoundRobin)(nil)
	_ Policy = (*Random)(nil)
	_ Policy = LeastOutstanding{}
	_ Policy = (*PowerOfTwo)(nil)
	_ Policy = SharedQueue{}
)

// balls routes n requests that never finish and returns the loads.
func balls(p Policy, n, replicas int) []Replica {
	rs := make([]Replica, replicas)
	for i := range rs {
		rs[i].Ready = true
	}
	for range n {
		rs[p.Route(0, &workloads.Request{}, rs)].Outstanding++
	}
	return rs
}

func spread(rs []Replica) (lo, hi int32) {
	lo, hi = rs[0].Outstanding, rs[0].Outstanding
	for _, r := range rs {
		lo, hi = min(lo, r.Outstanding), max(hi, r.Outstanding)
	}
	return lo, hi
}

func TestRoundRobinAndLeastOutstandingBalance(t *testing.T) {
	for _, p := range []Policy{&RoundRobin{}, LeastOutstanding{}} {
		if lo, hi := spread(balls(p, 1003, 10)); hi-lo > 1 {
			t.Errorf("%T: loads from %d to %d", p, lo, hi)
		}
	}
}

// Two choices: with n balls in n bins the fullest holds about log2(log2 n) + 1
// instead of log n / log log n (Azar et al., 1999).
func TestTwoChoicesBeatOne(t *testing.T) {
	const n = 10_000
	_, one := spread(balls(&Random{Rand: sim.Stream(1, "route")}, n, n))
	_, two := spread(balls(&PowerOfTwo{Rand: sim.Stream(1, "route")}, n, n))
	if one < 6 || two > 4 {
		t.Errorf("fullest replica: %d with one choice, %d with two; want at least 6, at most 4", one, two)
	}
	if got := (&PowerOfTwo{}).Route(0, nil, []Replica{{Ready: true}}); got != 0 {
		t.Errorf("the only replica is %d", got)
	}
}

func TestSharedQueueHoldsWhenAllAreBusy(t *testing.T) {
	p := SharedQueue{Slots: 2}
	rs := []Replica{{Outstanding: 2, Ready: true}, {Outstanding: 1, Ready: true}}
	if got := p.Route(0, nil, rs); got != 1 {
		t.Errorf("routed to %d, want 1", got)
	}
	rs[1].Outstanding = 2
	if got := p.Route(0, nil, rs); got != -1 {
		t.Errorf("routed to %d, want -1", got)
	}
}
