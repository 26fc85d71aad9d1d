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

// The kernel's own cost of pairs follows the sums: with masked tiles skipped, blocks of
// one query that walk key by key, and bandwidth to spare, chunks cost what the uncut
// prompt costs, apart from the launches.
func TestIdealPrefillDoesNotCareForChunks(t *testing.T) {
	d := &Device{SMs: 1, FP16FLOPs: 1e12, DRAMBytes: 1e15, L2Bytes: 1e15}
	k := PrefillKernel{AttentionKey: AttentionKey{Key: Key{DType: "fp16"}}, Causal: true, Launch: 1e-6, Compute: 1, Own: 1, Alone: 1, Rows: 1, Span: 1, Bandwidth: 1}
	cost := k.On(d, Heads{Query: 8, KV: 8, Dim: 128, KVBytes: 2})
	var whole Batch
	whole.AddChunk(4096, 0)
	var sum float64
	for h := int64(0); h < 4096; h += 512 {
		var b Batch
		b.AddChunk(512, h)
		sum += cost.Time(&b) - k.Launch
	}
	want := cost.Time(&whole) - k.Launch
	if math.Abs(sum/want-1) > 1e-9 {
		t.Errorf("chunks compute for %g s, uncut %g s", sum, want)
	}
	if pairs := float64(whole.ChunkPairs) * 4 * 128 * 8 / 1e12; math.Abs(want/pairs-1) > 1e-9 {
		t.Errorf("the prompt computes for %g s, its pairs at the peak rate take %g s", want, pairs)
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
		h := Heads{Query: query, KV: 4, Dim: 128, KVBytes: 2}
		k, _ := p.Decode(AttentionKey{Key: Key{backend, "fp16"}, KV: "fp16", Dim: 128}, h)
		if k == nil || k.Engine != backend {
			t.Fatalf("no decode kernel of %s", backend)
		}
		cost := k.On(&p.Device, h)
		return cost.Time(64, 64*4096) - cost.Time(64, 64*2048)
	}
	if r := slope("fa2-gqa", 32) / slope("fa2-gqa", 16); r != 1 {
		t.Errorf("shared tiles: twice the query heads cost %.3f times", r)
	}
	if r := slope("fa2", 32) / slope("fa2", 16); r < 1.9 || r > 2.1 {
		t.Errorf("own tiles: twice the query heads cost %.3f times, want about 2", r)
	}
}

// In one call with a chunk, a decode is a chunk of one token: the kernel prices both
// alike, the mask apart, which a single query does not meet.
func TestADecodeInAMixedCallIsAChunkOfOneToken(t *testing.T) {
	d := &Device{SMs: 1, L2Size: 1 << 40, FP16FLOPs: 1e12, DRAMBytes: 1e12, L2Bytes: 1e13}
	k := MixedKernel{PrefillKernel: PrefillKernel{
		AttentionKey: AttentionKey{Key: Key{DType: "fp16"}, KV: "fp16", Dim: 128}, Causal: true,
		Launch: 1e-6, Compute: 1, Own: 1, Alone: 1, Rows: 64, Span: 64, Block: 1e-6, Tail: 0.5, Bandwidth: 1, Norm: 1,
	}}
	h := Heads{Query: 8, KV: 2, Dim: 128, KVBytes: 2}
	cost := k.On(d, h)
	var chunk, split Batch
	chunk.AddChunk(64, 4032)
	split = chunk
	chunk.AddChunk(64, 4032)
	cut := cost.Time(&chunk, 0)
	split.Decodes = 1
	if got := cost.Time(&split, 4096); got >= cut || got < 0.9*cut {
		t.Errorf("a chunk and a decode take %g s, two chunks %g s: both are blocks that walk over 4096 keys", got, cut)
	}
}

// Decodes of a group whose heads run one after the other read their keys again, unless L2
// holds them.
func TestManyDecodesReadTheKeysOfAGroupAgain(t *testing.T) {
	p, err := Load("rtx-4090-24gb")
	if err != nil {
		t.Fatal(err)
	}
	h := Heads{Query: 32, KV: 8, Dim: 128, KVBytes: 2}
	k, exact := p.Mixed(AttentionKey{Key: Key{"vllm", "bf16"}, KV: "bf16", Dim: 128})
	if !exact || k.Derived {
		t.Fatal("no measured kernel")
	}
	cost := k.On(&p.Device, h)
	for _, c := range []struct {
		decodes, context, want float64
	}{{16, 16384, 1}, {128, 16384, 4}, {128, 16, 1}} {
		if got := cost.reread(c.decodes, c.decodes*c.context); math.Abs(got-c.want) > 0.01 {
			t.Errorf("%g decodes of %g tokens read their keys %.2f times, want %g", c.decodes, c.context, got, c.want)
		}
	}
}
