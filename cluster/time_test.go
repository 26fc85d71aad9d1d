package cluster

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"orrery/hwmodel"
	"orrery/policies/batch"
)

const ms = time.Millisecond

// Host time comes before the devices' or beside it.
func TestHostTime(t *testing.T) {
	for _, c := range []struct {
		host       time.Duration
		overlapped bool
		stages     int
		ends       string // of a prompt and two decodes, with devices of 1 s a stage
		second     Span   // of the second iteration on the last stage
	}{
		{300 * ms, false, 1, "[1.3 2.6 3.9]", Span{1.6e9, 2.6e9}},
		{300 * ms, true, 1, "[1 2 3]", Span{1e9, 2e9}},
		{1500 * ms, true, 1, "[1.5 3 4.5]", Span{1.5e9, 2.5e9}},
		{300 * ms, false, 2, "[2.3 4.6 6.9]", Span{3.6e9, 4.6e9}},
		{300 * ms, true, 2, "[2 4 6]", Span{3e9, 4e9}},
		{2500 * ms, true, 2, "[2.5 5 7.5]", Span{3.5e9, 4.5e9}},
	} {
		for _, step := range []bool{false, true} {
			cost := &hostCost{toyCost: toyCost{stages: c.stages, price: unit}, overlapped: c.overlapped, host: func(*hwmodel.Batch) time.Duration { return c.host }}
			w, _ := toy{policy: &batch.Sarathi{MaxSeqs: 4, Budget: 64}, cost: cost, step: step}.run(t, requests{req(0, 10, 3)})
			var ends []float64
			for _, it := range w.iters {
				ends = append(ends, it.End.Seconds())
				if it.Host != c.host {
					t.Errorf("an iteration has %v of host time, want %v", it.Host, c.host)
				}
			}
			if got := fmt.Sprint(ends); got != c.ends {
				t.Errorf("host %v, overlapped %v, %d stages: iterations end at %s, want %s", c.host, c.overlapped, c.stages, got, c.ends)
			}
			if got := w.iters[1].Stages[c.stages-1]; got != c.second {
				t.Errorf("host %v, overlapped %v, %d stages: the second one is on the last stage from %v to %v, want %v to %v",
					c.host, c.overlapped, c.stages, got.Start, got.End, c.second.Start, c.second.End)
			}
		}
	}
}

// A host that works beside the devices still does one iteration at a time.
func TestOverlappedHostIsBusy(t *testing.T) {
	cost := &hostCost{toyCost: toyCost{stages: 2, price: unit}, overlapped: true, host: func(*hwmodel.Batch) time.Duration { return 1500 * ms }}
	w, _ := toy{policy: &batch.VLLMV1{MaxSeqs: 4, Budget: 10}, cost: cost}.run(t, requests{req(0, 30, 1)})
	var starts []float64
	for _, it := range w.iters {
		starts = append(starts, it.Start.Seconds())
	}
	if got := fmt.Sprint(starts); got != "[0 1.5 3]" {
		t.Errorf("micro-batches start at %s, want one every 1.5 s", got)
	}
}

// Activations take their time between stages, not after the last, and the stage that
// sends them is free meanwhile.
func TestPipelineSend(t *testing.T) {
	y := toy{policy: &batch.Orca{MaxSeqs: 1}, cost: &toyCost{stages: 3, price: unit, send: 250 * ms}}
	w, _ := y.run(t, requests{req(0, 10, 1)})
	want := []Span{{0, 1e9}, {1.25e9, 2.25e9}, {2.5e9, 3.5e9}}
	if got := w.iters[0]; !reflect.DeepEqual(got.Stages, want) || got.End != 3.5e9 {
		t.Errorf("stages %v, end %v; want %v and 3.5 s", got.Stages, got.End, want)
	}
	// The second micro-batch follows on the first stage at once.
	y.policy = &batch.VLLMV1{MaxSeqs: 4, Budget: 10}
	w, _ = y.run(t, requests{req(0, 20, 1)})
	want = []Span{{1e9, 2e9}, {2.25e9, 3.25e9}, {3.5e9, 4.5e9}}
	if got := w.iters[1]; !reflect.DeepEqual(got.Stages, want) {
		t.Errorf("stages of the second micro-batch %v, want %v", got.Stages, want)
	}
}

// Late gaps are counted for the request that waited: in vLLM, decodes wait for the
// prompts of others, and a pre-empted sequence for its own.
func TestLateGapsAreTheRequestsOwn(t *testing.T) {
	// A waits 3 s for its third token, while the prompts of B and C run, B 2 s for its
	// second token, while C's does.
	rs := requests{req(0, 10, 6), req(1.5, 10, 2), req(2.5, 10, 2)}
	for _, c := range []struct {
		late time.Duration
		want [3]int32
	}{
		{500 * ms, [3]int32{5, 1, 1}},
		{1000 * ms, [3]int32{1, 1, 0}}, // exactly the limit is not late
		{2500 * ms, [3]int32{1, 0, 0}},
		{3500 * ms, [3]int32{0, 0, 0}},
	} {
		w, _ := toy{policy: &batch.VLLM{MaxSeqs: 64}, late: c.late}.run(t, rs)
		by := w.byID()
		if got := [3]int32{by[0].LateGaps, by[1].LateGaps, by[2].LateGaps}; got != c.want {
			t.Errorf("gaps over %v: %v, want %v", c.late, got, c.want)
		}
	}

	// B is pre-empted at 1 s, with one token, waits for A until 2 s, and has its second
	// token from the recomputation at 3 s: a gap of two seconds.
	y := toy{policy: &batch.VLLM{MaxSeqs: 4}, block: 4, blocks: 8, maxLen: 28, late: 1500 * ms}
	w, _ := y.run(t, requests{req(0, 12, 2), req(0, 13, 2)})
	if a, b := w.byID()[0], w.byID()[1]; a.LateGaps != 0 || b.LateGaps != 1 || b.Preemptions != 1 {
		t.Errorf("late gaps %d and %d after %d pre-emptions, want 0 and 1 after one", a.LateGaps, b.LateGaps, b.Preemptions)
	}
}

// With WithDecode the time from the end of the prefill to the first decode counts as no
// gap at all, however long it is; later gaps count.
func TestFirstDecodeHasNoGap(t *testing.T) {
	// A's prompt ends at 1 s, B's runs until 2 s, both decode until 3 s; C's prompt then
	// holds both up until 5 s.
	y := toy{policy: &batch.VLLM{MaxSeqs: 64}, late: 1500 * ms, mode: WithDecode}
	w, _ := y.run(t, requests{req(0, 10, 3), req(0.5, 10, 3), req(2.5, 10, 1)})
	by := w.byID()
	if got := [3]int32{by[0].LateGaps, by[1].LateGaps, by[2].LateGaps}; got != [3]int32{1, 1, 0} {
		t.Errorf("late gaps %v, want one each of A and B", got)
	}
	var zero int64
	for _, r := range w.records {
		if r.What == Emitted && r.Gap == 0 {
			zero += r.N
		}
	}
	if zero != 3 || by[0].First != 1e9 {
		t.Errorf("%d gaps of zero, first token at %v; want 3, one a request, and 1 s, the end of the prefill", zero, by[0].First)
	}
}
