package cluster

import (
	"testing"

	"orrery/policies/batch"
	"orrery/sim"
	"orrery/workloads"
)

// Stories that once went wrong: livelocks, stalls and wrong victims where memory is
// short. The stress test found them.

// parts gives a request a prefix of parts of size tokens.
func parts(r workloads.Request, size int32, names ...uint64) workloads.Request {
	r.Prefix, r.PrefixBlock = names, size
	return r
}

// upTo returns the names 1 to n.
func upTo(n uint64) (names []uint64) {
	for k := uint64(1); k <= n; k++ {
		names = append(names, k)
	}
	return names
}

// A request that could only run if it had more than all the memory is refused when it
// comes, rather than pre-empting itself for ever.
func TestLoneRequestMakesProgress(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy batch.Policy
		blocks int64 // the request needs 3
		story  string
	}{
		{"no block for StrictAppend", &batch.Sarathi{MaxSeqs: 4, Budget: 64}, 3, "!A@0"},
		{"a block for StrictAppend", &batch.Sarathi{MaxSeqs: 4, Budget: 64}, 4, "A@0 +A@5"},
		{"the same, with swap", &batch.VLLM{MaxSeqs: 4, Swap: true}, 3, "!A@0"},
		{"no block but the watermark's", &batch.VLLM{MaxSeqs: 4, Watermark: 0.6}, 5, "!A@0"},
		{"blocks besides the watermark's", &batch.VLLM{MaxSeqs: 4, Watermark: 0.4}, 5, "A@0 +A@5"},
		{"V1 needs no spare block", &batch.VLLMV1{MaxSeqs: 4, Budget: 64}, 3, "A@0 +A@5"},
	} {
		w, _, err := toy{policy: c.policy, block: 4, blocks: c.blocks, maxLen: 64, swap: 100, mode: WithDecode, until: sim.Seconds(1e4)}.try(t, requests{req(0, 8, 4)})
		if got := w.story(); got != c.story || err != nil {
			t.Errorf("%s: %s, %v; want %s", c.name, got, err, c.story)
		}
	}
}

// Two sequences in two micro-batches of a pipeline, with too little memory for both:
// the older must go on, whoever asks first.
func TestPipelinedSequencesDoNotEvictEachOther(t *testing.T) {
	for name, policy := range map[string]func() batch.Policy{
		"vllm":    func() batch.Policy { return &batch.VLLM{MaxSeqs: 4} },
		"sarathi": func() batch.Policy { return &batch.Sarathi{MaxSeqs: 4, Budget: 16} },
		"v1":      func() batch.Policy { return &batch.VLLMV1{MaxSeqs: 4, Budget: 16} },
	} {
		for _, blocks := range []int64{4, 5, 6} {
			for a := int32(1); a < 12; a += 2 {
				for b := int32(1); b < 12; b++ {
					y := toy{policy: policy(), cost: &toyCost{stages: 2, price: unit}, block: 4, blocks: blocks, maxLen: 64, mode: WithDecode, until: sim.Seconds(1e4)}
					w, out, err := y.try(t, requests{req(0, a, 8), req(0.5, b, 8)})
					if err != nil || out.Unfinished > 0 {
						t.Fatalf("%s, prompts of %d and %d in %d blocks: %+v, %v", name, a, b, blocks, out, err)
					}
					if first, ok := w.byID()[0]; ok && first.Preemptions > 0 {
						t.Fatalf("%s, prompts of %d and %d in %d blocks: the older was pre-empted", name, a, b, blocks)
					}
				}
			}
		}
	}
}

// With capped chunks a young decode, which is planned after an older prompt has had
// its turn, must not evict that prompt.
func TestV1EvictsTheLastAdmitted(t *testing.T) {
	for blocks := int64(11); blocks < 18; blocks++ {
		w, _ := toy{policy: &batch.VLLMV1{MaxSeqs: 4, Budget: 64, LongPrefill: 4}, block: 4, blocks: blocks, maxLen: 64}.run(t, requests{req(0, 40, 2), req(0, 4, 20)})
		if old := w.byID()[0]; old.Preemptions != 0 || old.First != sim.Seconds(10) {
			t.Errorf("%d blocks: the older request was pre-empted %d times and had its first token at %v, want never and at 10 s", blocks, old.Preemptions, old.First)
		}
	}
}

// A swapped sequence that with its next token would take all memory but the watermark
// comes back, if only when it is alone.
func TestSwappedSequencesComeBack(t *testing.T) {
	for _, c := range []struct {
		watermark float64
		blocks    int64
		maxLen    int
		rs        requests
	}{
		{0.01, 100, 400, requests{req(0, 1, 40), req(0, 390, 6)}},
		{0.1, 10, 64, requests{req(0, 2, 3), req(0, 31, 5)}},
	} {
		y := toy{policy: &batch.VLLM{MaxSeqs: 4, Swap: true, Watermark: c.watermark}, block: 4, blocks: c.blocks, maxLen: c.maxLen, swap: 1000}
		w, out := y.run(t, c.rs)
		if out.Finished != 2 {
			t.Errorf("%d blocks: %s", c.blocks, w.story())
		}
	}
}

// A stretch of decodes that evicts cached parts must end there: the head of the queue
// waits for fewer or more blocks from then on.
func TestStretchEndsWhereTheCacheShrinks(t *testing.T) {
	rs := requests{parts(req(0, 64, 1), 32, 1, 2), req(100, 17, 30), parts(req(108, 80, 2), 32, 1, 2)}
	y := toy{policy: &batch.VLLMV1{MaxSeqs: 4, Budget: 4, AdmitPartial: true}, prefix: true, blocks: 6, maxLen: 128}
	jumped, a := y.run(t, rs)
	y.step = true
	stepped, b := y.run(t, rs)
	if jumped.story() != stepped.story() || a.End != b.End {
		t.Errorf("jumping: %s, stepping: %s", jumped.story(), stepped.story())
	}
}

// The test that the whole prompt fits counts cached parts that nobody uses as memory
// to be taken, not as memory had for nothing.
func TestWholePromptCountsIdleCachedParts(t *testing.T) {
	rs := requests{parts(req(0, 129, 1), 16, upTo(8)...), req(100, 96, 40), parts(req(110, 256, 2), 16, upTo(8)...)}
	w, _ := toy{policy: &batch.VLLMV1{MaxSeqs: 4, Budget: 33}, prefix: true, blocks: 20, maxLen: 512}.run(t, rs)
	b, c := w.byID()[1], w.byID()[2]
	if c.Scheduled < b.Last || c.Preemptions+b.Preemptions != 0 {
		t.Errorf("C starts at %v in 20 blocks, of which B holds some until %v: %s", c.Scheduled, b.Last, w.story())
	}
}

// A part found in the cache on the way back from a pre-emption, computed meanwhile by
// another, is no recomputation undone.
func TestRecomputedIsNeverNegative(t *testing.T) {
	rs := requests{parts(req(0, 40, 2), 4, upTo(10)...), parts(req(0, 40, 2), 4, upTo(10)...)}
	w, _ := toy{policy: &batch.VLLMV1{MaxSeqs: 4, Budget: 64, LongPrefill: 4, AdmitPartial: true}, prefix: true, block: 4, blocks: 12, maxLen: 64}.run(t, rs)
	again := 0
	for _, s := range w.served {
		again += int(s.Preemptions)
		if s.Recomputed < 0 || s.Cached < 0 || s.Cached >= s.Prompt {
			t.Errorf("request %d: %d tokens recomputed, %d of %d cached", s.ID, s.Recomputed, s.Cached, s.Prompt)
		}
	}
	if again == 0 {
		t.Error("nobody was pre-empted, the story is void")
	}
}

// picky decodes only B in its third plan, and all sequences otherwise.
type picky struct {
	batch.Orca
	n int
}

func (y *picky) Plan(p batch.Plan) {
	if y.n++; y.n == 3 {
		p.Decode(p.Running()[1])
		return
	}
	y.Orca.Plan(p)
}

// A sequence that leaves its group, and comes back before the group has emitted,
// still gets each token once (as conservation, checked by run, has it).
func TestSelectiveDecodesLoseNoTokens(t *testing.T) {
	w, _ := toy{policy: &picky{Orca: batch.Orca{MaxSeqs: 8}}, maxLen: 64}.run(t, requests{req(0, 4, 8), req(0.5, 4, 8)})
	// A misses one iteration: B's prompt runs in its second, and B alone in the third.
	if got, want := w.story(), "A@0 B@1 +A@9 +B@9"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
