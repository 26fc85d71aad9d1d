package cluster

import (
	"fmt"
	"reflect"
	"testing"

	"orrery/policies/batch"
	"orrery/sim"
)

// Jumps over stretches of equal iterations give the same log as single steps.
func TestJumpsEqualSteps(t *testing.T) {
	seeds := uint64(3)
	if testing.Short() {
		seeds = 1
	}
	for name, make := range five(24, 200) {
		for _, blocks := range []int64{100000, 200, 130} {
			for _, mode := range []Emission{WithPrefill, WithDecode} {
				for seed := range seeds {
					rs := mixed(150, seed)
					for i := range rs {
						rs[i].Arrived *= 4 // leave room for jumps
					}
					y := toy{cost: &toyCost{price: tokens}, blocks: blocks, maxLen: 2048, swap: 400, mode: mode}
					y.policy = make()
					a, ao := y.run(t, rs)
					y.policy = make()
					y.step = true
					b, bo := y.run(t, rs)
					ao.Events, bo.Events = 0, 0
					if ao != bo {
						t.Fatalf("%s, %d blocks: jumping gives %+v, stepping %+v", name, blocks, ao, bo)
					}
					sameLog(t, name, a.records, b.records)
				}
			}
		}
	}
}

// iterations returns a log without arrivals, which come before the records of a
// stretch that is under way.
func iterations(rs []Record) (kept []Record) {
	for _, r := range rs {
		if r.What != Arrived && r.What != Routed && r.What != Rejected {
			kept = append(kept, r)
		}
	}
	return kept
}

// sameLog fails unless two logs of one replica are the same, arrivals apart.
func sameLog(t *testing.T, name string, a, b []Record) {
	t.Helper()
	if d := differ(a, b); d != "" {
		t.Fatalf("%s: %s", name, d)
	}
}

// differ returns where two logs of one replica differ, arrivals apart.
func differ(a, b []Record) string {
	a, b = iterations(a), iterations(b)
	for i := range min(len(a), len(b)) {
		if !reflect.DeepEqual(a[i], b[i]) {
			return fmt.Sprintf("record %d is %+v %+v %+v when jumping, %+v %+v %+v when stepping", i, a[i], a[i].Iteration, a[i].Request, b[i], b[i].Iteration, b[i].Request)
		}
	}
	if len(a) != len(b) {
		return fmt.Sprintf("%d records when jumping, %d when stepping", len(a), len(b))
	}
	return ""
}

// A cut run counts what had happened by then, jumping or stepping.
func TestCutRun(t *testing.T) {
	rs := mixed(150, 1)
	for _, until := range []float64{0.3, 0.7, 1.1} {
		y := toy{cost: &toyCost{price: tokens}, maxLen: 2048, until: sim.Seconds(until)}
		y.policy = &batch.Sarathi{MaxSeqs: 24, Budget: 200}
		a, ao := y.run(t, rs)
		y.policy = &batch.Sarathi{MaxSeqs: 24, Budget: 200}
		y.step = true
		b, bo := y.run(t, rs)
		ao.Events, bo.Events = 0, 0
		if ao != bo || ao.Unfinished == 0 {
			t.Fatalf("until %v: jumping %+v, stepping %+v", until, ao, bo)
		}
		sameLog(t, "cut", a.records, b.records)
		var emitted int64
		for _, r := range a.records {
			if r.What == Finished || r.What == Unfinished {
				emitted += int64(r.Request.Emitted)
			}
		}
		if emitted != a.emitted {
			t.Fatalf("requests account for %d tokens, %d were emitted", emitted, a.emitted)
		}
	}
}

// An arrival, and a cut, at the very end of an iteration come after it: the request is
// part of the next iteration, and the tokens count.
func TestEventsAtTheEndOfAnIteration(t *testing.T) {
	for _, step := range []bool{false, true} {
		y := toy{policy: &batch.Sarathi{MaxSeqs: 8, Budget: 64}, step: step}
		w, _ := y.run(t, requests{req(0, 4, 10), req(3, 4, 2)})
		if got, want := w.story(), "A@0 B@3 +B@5 +A@10"; got != want {
			t.Errorf("step %v: %s, want %s", step, got, want)
		}
		y.until = sim.Seconds(3)
		w, out := y.run(t, requests{req(0, 4, 10)})
		if w.emitted != 3 || len(w.iters) != 3 || out.End != y.until {
			t.Errorf("step %v: %d tokens from %d iterations by %v, want 3 from 3 by 3 s", step, w.emitted, len(w.iters), out.End)
		}
	}
}
