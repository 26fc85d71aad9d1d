package hwmodel

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// Test C7: a prompt of n equal chunks reads n(n-1)/2 chunks of cached keys and
// computes exactly the pairs of the uncut prompt.
func TestChunksReadEarlierChunksAndComputeTheSamePairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 64).Draw(t, "chunks")
		c := rapid.IntRange(1, 2048).Draw(t, "chunk")
		var whole, cut Batch
		whole.AddChunk(n*c, 0)
		for i := range n {
			cut.AddChunk(c, int64(i*c))
		}
		if want := int64(n*(n-1)/2) * int64(c); cut.ChunkContext != want {
			t.Fatalf("%d chunks of %d read %d cached tokens, want %d", n, c, cut.ChunkContext, want)
		}
		if cut.ChunkPairs != whole.ChunkPairs {
			t.Fatalf("%d chunks of %d compute %d pairs, uncut %d", n, c, cut.ChunkPairs, whole.ChunkPairs)
		}
	})
}

// The kernel's own cost of pairs follows the sums: with masked tiles skipped, full
// blocks, no waves and bandwidth to spare, chunks cost exactly what the uncut prompt
// costs, apart from the launches.
func TestIdealPrefillDoesNotCareForChunks(t *testing.T) {
	d := &Device{SMs: 1, FP16FLOPs: 1e12, DRAMBytes: 1e15}
	k := PrefillKernel{Launch: 1e-6, Compute: 1, Own: 1, Rows: 64, Resident: 1, Fill: 1, Bandwidth: 1}
	cost := k.On(d, Heads{Query: 8, KV: 8, Dim: 128, KVBytes: 2})
	var whole Batch
	whole.AddChunk(4096, 0)
	var sum float64
	for h := int64(0); h < 4096; h += 512 {
		var b Batch
		b.AddChunk(512, h)
		sum += cost.Time(&b) - k.Launch
	}
	if want := cost.Time(&whole) - k.Launch; math.Abs(sum/want-1) > 1e-12 {
		t.Errorf("chunks compute for %g s, uncut %g s", sum, want)
	}
}

// A tile a query head makes decode time grow with query heads, where shared tiles
// make it grow with key/value heads.
func TestOwnTilesPayForQueryHeads(t *testing.T) {
	p, err := Load("a100-sxm-80gb")
	if err != nil {
		t.Fatal(err)
	}
	slope := func(backend string, query int) float64 {
		a, err := p.Backend(backend)
		if err != nil {
			t.Fatal(err)
		}
		cost := a.Decode.On(&p.Device, Heads{Query: query, KV: 4, Dim: 128, KVBytes: 2})
		return cost.Time(64, 64*4096) - cost.Time(64, 64*2048)
	}
	if r := slope("fa2-gqa", 32) / slope("fa2-gqa", 16); r != 1 {
		t.Errorf("shared tiles: twice the query heads cost %.3f times", r)
	}
	if r := slope("fa2", 32) / slope("fa2", 16); r < 1.9 || r > 2.1 {
		t.Errorf("own tiles: twice the query heads cost %.3f times, want about 2", r)
	}
}
