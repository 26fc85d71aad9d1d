package scale

import (
	"testing"
	"time"

	"orrery/sim"
)

// The rule of Kubernetes by its own example: at twice the target twice as many.
func TestTargetIsProportional(t *testing.T) {
	p := &Target{Requests: 10, Tolerance: 0.1}
	for _, c := range []struct{ up, requests, want int }{
		{3, 60, 6}, {3, 32, 3}, {3, 34, 4}, {4, 20, 2}, {4, 37, 4}, {1, 0, 0},
	} {
		p.steady = steady{}
		if got := p.Scale(&View{Up: c.up, Running: c.requests}); got != c.want {
			t.Errorf("%d replicas with %d requests: want %d, got %d", c.up, c.requests, c.want, got)
		}
	}
}

// Going down waits until nothing more was wanted for the whole of Hold.
func TestTargetHolds(t *testing.T) {
	p := &Target{Requests: 10, Hold: time.Minute}
	ask := func(at int, requests int) int {
		return p.Scale(&View{Now: sim.Time(at) * sim.Time(time.Second), Up: 4, Running: requests})
	}
	if got := ask(0, 80); got != 8 {
		t.Errorf("want 8, got %d", got)
	}
	if got := ask(60, 20); got != 8 {
		t.Errorf("a minute later: want still 8, got %d", got)
	}
	if got := ask(61, 20); got != 2 {
		t.Errorf("after it: want 2, got %d", got)
	}
}

// A rate that rises steadily is foreseen as far ahead as asked.
func TestPredictiveFollowsATrend(t *testing.T) {
	p := &Predictive{PerReplica: 1, Ahead: 60 * time.Second, Smooth: 1, Trend: 1}
	arrived, got := 0.0, 0
	for k := 1; k <= 20; k++ {
		rate := float64(k) // per second, over the last ten seconds
		arrived += 10 * rate
		got = p.Scale(&View{Now: sim.Seconds(10 * float64(k)), Arrived: int64(arrived)})
	}
	if got != 26 { // 20/s now, rising by 0.1/s each second
		t.Errorf("want 26 replicas, got %d", got)
	}
}

func TestReactiveWaitsForWhatItAskedFor(t *testing.T) {
	p := &Reactive{High: 5, Low: 2, Step: 2}
	for _, c := range []struct {
		v    View
		want int
	}{
		{View{Up: 2, Waiting: 11}, 4},
		{View{Up: 2, Starting: 2, Waiting: 11}, 4},
		{View{Up: 2, Waiting: 10, Running: 50}, 2},
		{View{Up: 3, Running: 3}, 2},
		{View{Up: 1}, 1},
	} {
		if got := p.Scale(&c.v); got != c.want {
			t.Errorf("%+v: want %d, got %d", c.v, c.want, got)
		}
	}
}
