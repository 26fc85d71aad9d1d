package cluster

import (
	"reflect"
	"slices"
	"testing"

	"orrery/policies/batch"
)

// This file tells what policies plan, one token or chunk at a time: "Ad" is a decode
// of A, "Cp16" a chunk of C.

// plans returns what the policy plans for the requests, in iterations of a second.
func plans(t *testing.T, p batch.Policy, y toy, rs requests) []string {
	t.Helper()
	s := &spy{Policy: p}
	y.policy, y.step = s, true
	y.run(t, rs)
	return s.log
}

func wantPlans(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) > len(want) {
		got = got[:len(want)]
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("plans are\n %q, want\n %q", got, want)
	}
}

// V1 admits nobody in an iteration that had to pre-empt, even where the memory given
// up would do for a first chunk.
func TestV1AdmitsNobodyAfterAPreemption(t *testing.T) {
	p := func() batch.Policy { return &batch.VLLMV1{MaxSeqs: 8, Budget: 64, LongPrefill: 4, AdmitPartial: true} }
	// Both want a fifth block at the fifth second, and eight are all there are.
	y := toy{block: 4, blocks: 8, maxLen: 32}
	wantPlans(t, plans(t, p(), y, requests{req(0, 16, 6), req(0, 16, 6)}),
		[]string{"Ap4 Bp4", "Ap4 Bp4", "Ap4 Bp4", "Ap4 Bp4", "", "Ad Bp4"})

	// The same with B in the middle of its prompt. B's first chunk would fit at once.
	y.blocks = 6
	wantPlans(t, plans(t, p(), y, requests{req(0, 8, 12), req(1.5, 20, 2)}),
		[]string{"Ap4", "Ap4", "Ad Bp4", "Ad Bp4", "Ad Bp4", "Ad"})
}

// V1 starts a prompt only if the whole of it fits, unless told otherwise.
func TestV1WantsRoomForTheWholePrompt(t *testing.T) {
	// A holds 6 of 10 blocks until 4 s. B needs 6, its first chunk 2.
	rs := requests{req(0, 21, 4), req(0.5, 24, 1)}
	y := toy{block: 4, blocks: 10, maxLen: 32}
	for partial, want := range map[bool]string{
		false: "A@0 +A@6 B@6 +B@9",
		true:  "A@0 B@2 -B@4 +A@6 +B@9", // B runs out of memory on the way
	} {
		y.policy = &batch.VLLMV1{MaxSeqs: 8, Budget: 8, AdmitPartial: partial}
		w, _ := y.run(t, rs)
		if got := w.story(); got != want {
			t.Errorf("partial %v: %s, want %s", partial, got, want)
		}
	}
}

// LongPrefill caps each prompt's chunk, not their sum, at admission and after.
func TestV1LongPrefill(t *testing.T) {
	wantPlans(t, plans(t, &batch.VLLMV1{MaxSeqs: 8, Budget: 64, LongPrefill: 40}, toy{maxLen: 256}, requests{req(0, 100, 2), req(0, 50, 2)}),
		[]string{"Ap40 Bp24", "Ap40 Bp24", "Ap20 Bp2", "Ad Bd"})
}

// ChunkedOnly never mixes, and takes turns while there is a prompt to compute.
func TestChunkedOnlyAlternates(t *testing.T) {
	p := &batch.ChunkedOnly{Sarathi: batch.Sarathi{MaxSeqs: 8, Budget: 32}}
	wantPlans(t, plans(t, p, toy{maxLen: 256}, requests{req(0, 16, 8), req(1.5, 80, 3)}),
		[]string{"Ap16", "Ad", "Bp32", "Ad", "Bp32", "Ad", "Bp16", "Ad Bd", "Ad Bd", "Ad", "Ad"})
}

// Dynamic chunks shrink as a prompt advances: four stages of 128 tokens from 256 down
// to 32, 256 - 224 k/3 rounded to a multiple of 32.
func TestDynamicChunksShrink(t *testing.T) {
	d := &batch.DynamicChunks{Low: 32, High: 256, Stages: 4, MaxTokens: 512}
	wantPlans(t, plans(t, &batch.Sarathi{MaxSeqs: 8, Dynamic: d}, toy{maxLen: 1024}, requests{req(0, 500, 2)}),
		[]string{"Ap256", "Ap96", "Ap96", "Ap32", "Ap20", "Ad"})
}

// A cap on tokens below the longest sequence, which real vLLM refuses, does not leave
// a long prompt at the head of the queue for ever.
func TestVLLMTokenCapIsAtLeastTheLongestSequence(t *testing.T) {
	w, _ := toy{policy: &batch.VLLM{MaxSeqs: 8, MaxTokens: 2048}, maxLen: 4096}.run(t, requests{req(0, 3000, 2), req(0, 10, 1)})
	if got, want := w.story(), "A@0 B@0 +B@1 +A@2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	w, _ = toy{policy: &batch.VLLM{MaxSeqs: 8, MaxTokens: 5000}, maxLen: 4096}.run(t, requests{req(0, 3000, 1), req(0, 2000, 1), req(0, 1, 1)})
	if got, want := w.story(), "A@0 B@0 +A@1 +B@1 C@1 +C@2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Every policy fills its batch to the last place, and no further; and who is present is
// either running or waiting.
func TestPlacesAreFilled(t *testing.T) {
	for name, make := range five(5, 200) {
		w, _ := toy{policy: make(), cost: &toyCost{price: tokens}, blocks: 1000, maxLen: 2048, swap: 100}.run(t, mixed(60, 1))
		most := slices.MaxFunc(w.iters, func(a, b Iteration) int { return int(a.Running - b.Running) })
		if most.Running != 5 {
			t.Errorf("%s: at most %d sequences run, want 5", name, most.Running)
		}
		w, _ = toy{policy: make(), cost: &toyCost{price: tokens}, blocks: 135, maxLen: 2048, swap: 100}.run(t, mixed(60, 1))
		present(t, name, w)
	}
}

// present checks that running and waiting add up to those who came and have not gone.
func present(t *testing.T, policy string, w *watcher) {
	t.Helper()
	for _, it := range w.iters {
		n := int32(0)
		for _, r := range w.records {
			switch {
			case r.What == Routed && r.At <= it.Start:
				n++
			case r.What == Finished && r.At <= it.Start:
				n--
			}
		}
		if it.Running+it.Waiting != n {
			t.Fatalf("%s: %d run and %d wait at %v, when %d are present", policy, it.Running, it.Waiting, it.Start, n)
		}
	}
}
