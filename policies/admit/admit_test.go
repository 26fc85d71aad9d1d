package admit

import (
	"testing"
	"time"

	"orrery/policies/route"
	"orrery/sim"
	"orrery/workloads"
)

func ask(p Policy, at sim.Time, tenant, prompt, priority int32) Verdict {
	r := workloads.Request{Arrived: at, Tenant: tenant, Prompt: prompt, Output: 1}
	return p.Admit(at, &Request{Request: &r, Priority: priority, Deadline: sim.Forever}, nil)
}

// The bucket lets in exactly what one does that is kept as a level in whole units: eight
// tokens a second are one for each 125 ms.
func TestTokenBucketIsExact(t *testing.T) {
	const tick = int64(125 * time.Millisecond)
	for seed := range uint64(20) {
		rng := sim.Stream(seed, "bucket")
		burst := 1 + rng.Int64N(12)
		b := &TokenBucket{Rate: 8, Burst: float64(burst), Tokens: true, PerTenant: true}
		level, last := [3]int64{burst * tick, burst * tick, burst * tick}, [3]sim.Time{}
		at, refused := sim.Time(0), 0
		for range 2_000 {
			if rng.IntN(3) > 0 {
				at += sim.Time(rng.Int64N(5) * tick / 2) // often to the nanosecond
			}
			tenant, prompt := rng.Int32N(3), 1+rng.Int32N(4)
			level[tenant] = min(burst*tick, level[tenant]+int64(at-last[tenant]))
			last[tenant] = at
			want := int64(prompt)*tick <= level[tenant]
			if want {
				level[tenant] -= int64(prompt) * tick
			}
			if got := ask(b, at, tenant, prompt, 0).Reject == ""; got != want {
				t.Fatalf("seed %d: at %v a prompt of %d is let in: %v, want %v", seed, at, prompt, got, want)
			}
			if !want {
				refused++
			}
		}
		if refused < 100 {
			t.Errorf("seed %d: %d of 2,000 refused; the bucket is hardly used", seed, refused)
		}
	}
}

// Answers count when they have ended: the bucket goes into debt, which the next request
// waits for.
func TestTokenBucketAnswersAreOwed(t *testing.T) {
	b := &TokenBucket{Rate: 10, Burst: 20, Tokens: true, Wait: time.Minute}
	r := workloads.Request{Prompt: 20, Output: 30}
	if v := b.Admit(0, &Request{Request: &r}, nil); v != (Verdict{}) {
		t.Fatalf("got %+v, want it let in", v)
	}
	b.Ended(sim.Seconds(1), &r, 0, 30) // 20 taken, 10 back, 30 more taken: 40 short of full
	if v, want := ask(b, sim.Seconds(1), 0, 10, 0), sim.Seconds(4); v.Until != want {
		t.Errorf("held until %v, want %v: 20 below nothing, and 10 to have", v.Until, want)
	}
}

// Lower priorities meet their limits first: 10, 5 and 2.5 requests.
func TestShedByPriority(t *testing.T) {
	s := &Shed{QueueCap: QueueCap{Max: 10}, Share: 0.5, Top: 2}
	in := map[int32]int{}
	for _, priority := range []int32{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2} {
		if ask(s, 0, 0, 1, priority).Reject == "" {
			in[priority]++
		}
	}
	if in[0] != 3 || in[1] != 2 || in[2] != 5 {
		t.Errorf("let in %v, want 3, then 2 up to 5, then 5 up to 10", in)
	}
	s.Ended(0, &workloads.Request{}, 0, 1)
	if ask(s, 0, 0, 1, 1).Reject == "" || ask(s, 0, 0, 1, 2).Reject != "" {
		t.Error("one has ended: there is room for the highest priority, and no other")
	}
}

// The pace is learned from first tokens; what is ahead of a request counts, on the
// replica with the least of it.
func TestEarlyPredicts(t *testing.T) {
	e := &Early{Target: time.Second, Slack: 1, Prior: time.Millisecond}
	views := []route.Replica{{Ready: true}, {Ready: true}, {}}
	admit := func(prompt int32) bool {
		r := workloads.Request{Prompt: prompt}
		return e.Admit(0, &Request{Request: &r, Deadline: sim.Forever}, views).Reject == ""
	}
	if !admit(1000) || admit(1001) {
		t.Error("1 ms a token: want prompts of up to 1,000 let in")
	}
	a, b := workloads.Request{ID: 1, Prompt: 600}, workloads.Request{ID: 2, Prompt: 300}
	e.Routed(0, &a, 0)
	e.Routed(0, &b, 1)
	if !admit(700) || admit(701) {
		t.Error("300 tokens ahead: want prompts of up to 700 let in")
	}
	e.Lost(0, &b, 1)
	if !admit(1000) {
		t.Error("what is lost is not ahead of anybody")
	}
	for range 1000 { // half as fast as was thought
		e.Routed(0, &b, 1)
		e.Prefilled(sim.Seconds(0.6), &b, 1, 0)
	}
	if !admit(499) || admit(501) {
		t.Error("2 ms a token: want prompts of up to 500 let in")
	}
}
