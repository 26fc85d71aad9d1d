package cluster

import (
	"reflect"
	"sort"
	"testing"
	"time"

	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/sim"
)

// The tests of this file state the exact semantics of the policies, with iterations
// of one second and arrivals written by hand.

// Figure 7 of the Sarathi-Serve paper: A and B decode (A has three tokens left), C
// and D, two chunks each, arrive during the iteration that both decode in.
func TestFigure7(t *testing.T) {
	story := requests{req(0, 16, 4), req(0, 16, 8), req(1.5, 64, 3), req(1.5, 64, 3)}
	for _, c := range []struct {
		name   string
		policy batch.Policy
		want   []string
	}{
		{"vllm", &batch.VLLM{MaxSeqs: 16}, []string{"Ap16 Bp16", "Ad Bd", "Cp64 Dp64", "Ad Bd Cd Dd"}},
		{"orca", &batch.Orca{MaxSeqs: 16}, []string{"Ap16 Bp16", "Ad Bd", "Ad Bd Cp64 Dp64", "Ad Bd Cd Dd"}},
		{"request-level", &batch.RequestLevel{MaxSeqs: 16}, []string{"Ap16 Bp16", "Ad Bd", "Ad Bd", "Ad Bd", "Bd", "Bd", "Bd", "Bd", "Cp64 Dp64", "Cd Dd"}},
		{"sarathi", &batch.Sarathi{MaxSeqs: 16, Budget: 34}, []string{"Ap16 Bp16", "Ad Bd", "Ad Bd Cp32", "Ad Bd Cp32", "Bd Cd Dp32", "Bd Cd Dp32"}},
		{"vllm-v1", &batch.VLLMV1{MaxSeqs: 16, Budget: 34}, []string{"Ap16 Bp16", "Ad Bd", "Ad Bd Cp32", "Ad Bd Cp32", "Bd Cd Dp32", "Bd Cd Dp32"}},
	} {
		s := &spy{Policy: c.policy}
		toy{policy: s, maxLen: 128, step: true}.run(t, story)
		if got := s.log[:min(len(s.log), len(c.want))]; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s plans\n %q, want\n %q", c.name, got, c.want)
		}
	}
}

// mixed is a workload with arrivals in bursts, prompts and outputs of all sizes.
func mixed(n int, seed uint64) requests {
	rng := sim.Stream(seed, "mixed")
	var rs requests
	at := 0.0
	for range n {
		if rng.IntN(3) > 0 {
			at += rng.ExpFloat64() * 0.02
		}
		r := req(at, 1+rng.Int32N(400), 1+rng.Int32N(120))
		if rng.IntN(8) == 0 {
			r.Prompt = 1 + rng.Int32N(1500)
		}
		if rng.IntN(10) == 0 {
			r.Output = 1
		}
		rs = append(rs, r)
	}
	return rs
}

// E2 and E3: budgets, and decodes in every batch of a stall-free policy.
func TestStallFreeBatches(t *testing.T) {
	const budget = 96
	for _, p := range []batch.Policy{
		&batch.Sarathi{MaxSeqs: 32, Budget: budget, Watermark: 0.01},
		&batch.VLLMV1{MaxSeqs: 32, Budget: budget},
	} {
		s := &spy{Policy: p, seen: func(p *spyPlan) {
			if p.Tokens() > max(budget, len(p.decodable)) {
				t.Fatalf("%d tokens in a batch of %d decodes, the budget is %d", p.Tokens(), len(p.decodable), budget)
			}
			if len(p.decoded) != len(p.decodable) {
				t.Fatalf("%d of %d decodes are in the batch", len(p.decoded), len(p.decodable))
			}
		}}
		w, _ := toy{policy: s, cost: &toyCost{price: tokens}, step: true}.run(t, mixed(300, 2))
		if _, v1 := p.(*batch.VLLMV1); v1 {
			continue
		}
		// Between two tokens of a request lies exactly one iteration.
		lengths := map[time.Duration]bool{}
		for _, it := range w.iters {
			lengths[it.End.Sub(it.Start)] = true
		}
		for _, r := range w.records {
			if r.What == Emitted && !lengths[r.Gap] {
				t.Fatalf("a gap of %v at %v is not one iteration", r.Gap, r.At)
			}
		}
	}
}

// E3 for vLLM: a gap is one decode iteration plus the prompt iterations before it.
func TestPrefillFirstStalls(t *testing.T) {
	w, _ := toy{policy: &batch.VLLM{MaxSeqs: 64}}.run(t, requests{req(0, 10, 6), req(1.5, 10, 2), req(2.5, 10, 2)})
	var gaps []time.Duration
	for _, r := range w.records {
		if r.What == Emitted && r.At <= sim.Seconds(5) {
			for range r.N {
				gaps = append(gaps, r.Gap)
			}
		}
	}
	// A: prompt 0-1, decode 1-2, then B's prompt 2-3 and C's prompt 3-4, then all
	// decode 4-5: A waited three iterations, B two, C one.
	want := []time.Duration{1 * time.Second, 3 * time.Second, 2 * time.Second, 1 * time.Second}
	sort.Slice(gaps[1:], func(i, j int) bool { return gaps[1+i] > gaps[1+j] })
	if !reflect.DeepEqual(gaps, want) {
		t.Errorf("gaps are %v, want %v", gaps, want)
	}
}

// E4, E5, E6, E8, law by law, over all policies, with memory ample and short.
func TestConservation(t *testing.T) {
	for name, make := range five(24, 200) {
		for _, blocks := range []int64{100000, 300, 130} {
			for seed := range uint64(4) {
				y := toy{policy: make(), cost: &toyCost{price: tokens}, blocks: blocks, maxLen: 2048, swap: 400}
				w, out := y.run(t, mixed(150, seed))
				if out.Finished == 0 || out.Rejected > 100 {
					t.Fatalf("%s: %+v", name, out)
				}
				firstCome(t, name, w)
				busyWhileNeeded(t, name, w)
				if n := len(w.iters); w.iters[n-1].KVUsed < 0 {
					t.Fatal("KV in use is negative")
				}
			}
		}
	}
}

// firstCome checks that requests are first scheduled in the order of arrival.
func firstCome(t *testing.T, name string, w *watcher) {
	t.Helper()
	last := int64(-1)
	for _, r := range w.records {
		if r.What == Scheduled {
			if r.Request.ID < last {
				t.Fatalf("%s: request %d is scheduled after %d", name, r.Request.ID, last)
			}
			last = r.Request.ID
		}
	}
}

// busyWhileNeeded checks that the device is idle only when nobody is there.
func busyWhileNeeded(t *testing.T, name string, w *watcher) {
	t.Helper()
	present := 0
	var end sim.Time
	type change struct {
		at sim.Time
		d  int
	}
	var changes []change
	for _, r := range w.records {
		switch r.What {
		case Routed:
			changes = append(changes, change{r.At, 1})
		case Finished:
			changes = append(changes, change{r.At, -1})
		case Iterated:
			if r.Iteration.Start != end {
				// idle from end to Start: nobody may be present in between
				for _, c := range changes {
					if c.at < r.Iteration.Start {
						present += c.d
					}
				}
				if present != 0 {
					t.Fatalf("%s: idle from %v to %v with %d requests present", name, end, r.Iteration.Start, present)
				}
				present = 0
			}
			end = r.Iteration.End
		}
	}
}

// E7: the youngest is pre-empted, its blocks return, it comes back before others,
// and its tokens are not emitted twice.
func TestPreemption(t *testing.T) {
	// Nine blocks of 4 tokens. A and B hold 4 each; both need a fifth block at the
	// same time, and C waits.
	rs := requests{req(0, 15, 8), req(0, 15, 8), req(0.5, 12, 2)}
	w, _ := toy{policy: &batch.VLLM{MaxSeqs: 8}, blocks: 9, block: 4, maxLen: 64}.run(t, rs)
	var order []string
	for _, r := range w.records {
		switch r.What {
		case Preempted:
			order = append(order, "-"+name(r.Request.ID))
		case Finished:
			order = append(order, "+"+name(r.Request.ID))
		case Scheduled:
			order = append(order, name(r.Request.ID))
		}
	}
	if want := []string{"A", "B", "-B", "+A", "C", "+C", "+B"}; !reflect.DeepEqual(order, want) {
		t.Errorf("order is %v, want %v", order, want)
	}
	for _, s := range w.served {
		if s.ID == 1 && (s.Preemptions != 1 || s.Recomputed == 0) {
			t.Errorf("B: %d pre-emptions, %d tokens recomputed", s.Preemptions, s.Recomputed)
		}
	}
}

// E9: at most one micro-batch a stage, a sequence in at most one of them, stages in
// order.
func TestPipeline(t *testing.T) {
	for name, make := range five(16, 128) {
		for _, stages := range []int{2, 4} {
			y := toy{policy: make(), cost: &toyCost{stages: stages, price: tokens, send: 100 * time.Microsecond}, blocks: 400, maxLen: 2048, swap: 100}
			w, _ := y.run(t, mixed(200, 5))
			firstCome(t, name, w)
			for i := range w.iters {
				it := &w.iters[i]
				for s := 1; s < stages; s++ {
					if it.Stages[s].Start < it.Stages[s-1].End {
						t.Fatalf("%s: stage %d starts before stage %d has ended", name, s, s-1)
					}
				}
				if i >= stages && w.iters[i-stages].End > it.Start {
					t.Fatalf("%s: iteration %d starts at %v with %d others in flight", name, it.Number, it.Start, stages)
				}
			}
		}
	}
}

// With a pipeline, Sarathi's chunks of a lone prompt wait for each other; V1's
// follow at once.
func TestChunksInThePipeline(t *testing.T) {
	for _, c := range []struct {
		policy batch.Policy
		ttft   float64
	}{
		{&batch.Sarathi{MaxSeqs: 8, Budget: 64}, 8},
		{&batch.VLLMV1{MaxSeqs: 8, Budget: 64}, 5},
	} {
		w, _ := toy{policy: c.policy, cost: &toyCost{stages: 2, price: unit}}.run(t, requests{req(0, 256, 1)})
		if got := w.served[0].First.Seconds(); got != c.ttft {
			t.Errorf("%T: first token after %v s, want %v", c.policy, got, c.ttft)
		}
	}
}

// E10: a request that arrives after all others have finished changes nothing.
func TestLateRequestChangesNothing(t *testing.T) {
	for name, make := range five(16, 128) {
		y := toy{cost: &toyCost{price: tokens}, blocks: 300, maxLen: 2048}
		rs := mixed(120, 7)
		y.policy = make()
		a, _ := y.run(t, rs)
		y.policy = make()
		b, _ := y.run(t, append(rs, req(1e4, 100, 10)))
		for i := range a.served {
			if !reflect.DeepEqual(a.served[i], b.served[i]) {
				t.Fatalf("%s: request %d differs:\n%+v\n%+v", name, a.served[i].ID, a.served[i], b.served[i])
			}
		}
	}
}

// E11: limits of policies are other policies.
func TestLimits(t *testing.T) {
	rs := mixed(150, 3)
	y := toy{cost: &toyCost{price: tokens}, step: true, maxLen: 4096}
	y.policy = &batch.Sarathi{MaxSeqs: 32, Budget: 1 << 30}
	a, _ := y.run(t, rs)
	y.policy = &batch.Orca{MaxSeqs: 32}
	b, _ := y.run(t, rs)
	for i := range a.iters {
		if a.iters[i].Batch != b.iters[i].Batch {
			t.Fatalf("iteration %d: Sarathi without a budget computes %+v, Orca %+v", i, a.iters[i].Batch, b.iters[i].Batch)
		}
	}

	// Orca with one slot is a single server that takes requests in order.
	y.policy = &batch.Orca{MaxSeqs: 1}
	w, _ := y.run(t, rs)
	var free sim.Time
	for i, s := range w.served {
		start := max(free, rs[i].Arrived)
		if s.ID != int64(i) || s.Scheduled != start {
			t.Fatalf("request %d starts at %v, want request %d at %v", s.ID, s.Scheduled, i, start)
		}
		free = s.Last
	}

	// One request: TTFT is the prompt's time, and decodes add theirs.
	y.policy = &batch.Sarathi{MaxSeqs: 8, Budget: 4096}
	w, _ = y.run(t, requests{req(0, 1000, 5)})
	var b1 hwmodel.Batch
	b1.AddChunk(1000, 0)
	want := tokens(&b1)
	if got := w.served[0].First.Sub(0); got != want {
		t.Errorf("TTFT %v, want %v", got, want)
	}
	for k := range int64(4) {
		want += tokens(&hwmodel.Batch{Decodes: 1, DecodeContext: 1001 + k})
	}
	if got := w.served[0].Last.Sub(0); got != want {
		t.Errorf("E2E %v, want %v", got, want)
	}
}

// E12: a lone prompt takes ceil(P/budget) iterations, the last with the rest.
func TestChunkCount(t *testing.T) {
	for _, prompt := range []int32{1, 511, 512, 513, 1024, 1337} {
		w, _ := toy{policy: &batch.Sarathi{MaxSeqs: 8, Budget: 512}}.run(t, requests{req(0, prompt, 1)})
		if want := int(prompt+511) / 512; len(w.iters) != want {
			t.Errorf("prompt %d: %d iterations, want %d", prompt, len(w.iters), want)
		}
		rest := int(prompt) % 512
		if rest == 0 {
			rest = 512
		}
		if got := w.iters[len(w.iters)-1].Batch.ChunkTokens; got != rest {
			t.Errorf("prompt %d: last chunk %d, want %d", prompt, got, rest)
		}
	}
}

// E13: the artefact's default schedule of dynamic chunks.
func TestDynamicChunks(t *testing.T) {
	d := batch.DefaultDynamicChunks
	var got []int
	for stage := range d.Stages {
		got = append(got, d.Size(stage*d.MaxTokens/d.Stages))
	}
	want := []int{2048, 1920, 1792, 1664, 1536, 1408, 1280, 1152, 1024, 896, 768, 640, 512, 384, 256, 128}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("sizes are %v, want %v", got, want)
	}
	if last := d.Size(10 * d.MaxTokens); last != 128 {
		t.Errorf("beyond the last stage the size is %d, want 128", last)
	}
}
