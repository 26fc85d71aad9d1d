package cluster

import (
	"fmt"
	"testing"
	"time"

	"orrery/hwmodel"
	"orrery/policies/batch"
)

// swapCost makes an iteration last a second, and one more for every byte that it
// moves between device and host.
func swapCost(b *hwmodel.Batch) time.Duration {
	return time.Second * time.Duration(1+b.SwapBytes)
}

// While a sequence is out in host memory no prompt starts, even one that fits.
func TestNoPromptWhileOneIsSwappedOut(t *testing.T) {
	// A and B of 4 blocks each both need a fifth at 2 s, of nine. B leaves 4 to C, which needs 3.
	rs := requests{req(0, 15, 8), req(0, 15, 8), req(0.5, 12, 2)}
	w, _ := toy{policy: &batch.VLLM{MaxSeqs: 8, Swap: true}, blocks: 9, block: 4, maxLen: 32, swap: 100}.run(t, rs)
	// B comes back when A has gone, at 8 s, and C's prompt runs in the next iteration.
	if got, want := w.story(), "A@0 B@0 ~B@2 +A@8 C@9 +C@11 +B@15"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, it := range w.iters {
		if at := it.Start.Seconds(); at >= 2 && at < 8 && (it.Batch.Chunks != 0 || it.Batch.Decodes != 1) {
			t.Errorf("at %v s: %+v, want A alone to decode", at, it.Batch)
		}
	}
}

// Nothing is swapped in by a decision that swaps out, and moved bytes take time.
func TestSwapIsPricedBothWays(t *testing.T) {
	// A takes the last of eight blocks at 1 s; B, which wants one free (StrictAppend),
	// moves its four blocks out, for which there is room at once.
	p := &batch.VLLM{MaxSeqs: 8, Swap: true}
	w, _ := toy{policy: p, cost: &toyCost{price: swapCost}, blocks: 8, block: 4, maxLen: 28, swap: 4}.run(t, requests{req(0, 12, 3), req(0, 13, 3)})
	var got []string
	for _, it := range w.iters {
		got = append(got, fmt.Sprintf("%v: %d bytes, %d decodes", it.Start.Seconds(), it.Batch.SwapBytes, it.Batch.Decodes))
	}
	want := []string{
		"0: 0 bytes, 0 decodes",
		"1: 4 bytes, 1 decodes", // B goes out; A decodes
		"6: 4 bytes, 2 decodes", // B comes back and decodes; A finishes
		"11: 0 bytes, 1 decodes",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("iterations are\n%q, want\n%q", got, want)
	}
	if s := w.byID()[1]; s.Recomputed != 0 || s.Preemptions != 1 {
		t.Errorf("B: %d tokens recomputed, %d pre-emptions; want 0 and 1", s.Recomputed, s.Preemptions)
	}
}

// What does not fit into host memory is dropped and computed again.
func TestHostMemoryIsFinite(t *testing.T) {
	for swap, want := range map[int64]string{
		3: "A@0 B@0 -B@1 -B@3 +A@4 +B@5",
		4: "A@0 B@0 ~B@1 +A@3 +B@4",
	} {
		p := &batch.VLLM{MaxSeqs: 8, Swap: true}
		w, _ := toy{policy: p, blocks: 8, block: 4, maxLen: 28, swap: swap}.run(t, requests{req(0, 12, 3), req(0, 13, 3)})
		if got := w.story(); got != want {
			t.Errorf("host memory of %d blocks: %s, want %s", swap, got, want)
		}
	}
}

// A sequence whose blocks for the longest length are moved to host memory brings all of
// them back.
func TestSwapOfReservedBlocks(t *testing.T) {
	swap := func(p batch.Plan) { p.Preempt(p.Running()[0]) }
	c, err := newCluster(Config{
		Replicas: []ReplicaConfig{{
			Policy: &script{limits: batch.Limits{Reserve: batch.ReserveMax, Swap: true}, steps: []func(batch.Plan){admitAll, swap}},
			Cost:   &toyCost{price: unit}, MaxLen: 64, Blocks: 20, BlockTokens: 4, HostBlocks: 16,
		}},
		Source: &listSource{requests{req(0, 4, 8)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	used := func() [2]int64 { return [2]int64{c.replicas[0].mem.ledger.Used(), c.replicas[0].host.Used()} }
	c.scheduleArrival()
	c.engine.Run(1e9 - 1)
	if got := used(); got != [2]int64{16, 0} {
		t.Errorf("before the swap %v blocks are on device and host, want 16 and none", got)
	}
	c.engine.Run(1e9) // the plan that swaps out computes nothing, so the next, at once, swaps in
	if got := used(); got != [2]int64{16, 0} {
		t.Errorf("after the return %v blocks are on device and host, want 16 and none", got)
	}
	if out, err := c.run(); err != nil || out.Finished != 1 || used() != [2]int64{} {
		t.Errorf("%+v, %v; %v blocks are left on device and host", out, err, used())
	}
}

// A policy that only pre-empts is asked again at once, since who was pre-empted waits.
func TestPreemptingAllAsksAgain(t *testing.T) {
	p := &script{steps: []func(batch.Plan){admitAll, func(p batch.Plan) { p.Preempt(p.Running()[0]) }}}
	w, _ := toy{policy: p, maxLen: 64}.run(t, requests{req(0, 4, 3)})
	if got, want := w.story(), "A@0 -A@1 +A@3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
