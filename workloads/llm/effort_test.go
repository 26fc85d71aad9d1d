package llm

import (
	"math"
	"testing"

	"orrery/hwmodel"
)

func effortOf(t *testing.T, name string) (*Model, *hwmodel.Device, *Effort) {
	t.Helper()
	m, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := hwmodel.Load("h100-sxm-80gb")
	if err != nil {
		t.Fatal(err)
	}
	return m, &p.Device, NewEffort(m, &p.Device)
}

// One token of a dense model multiplies with every parameter but the embedding's, and reads
// them.
func TestEffortOfOneToken(t *testing.T) {
	m, d, e := effortOf(t, "llama-3.1-8b")
	params := float64(m.Params() - int64(m.Vocab)*int64(m.Hidden))
	c, b := e.Exert(&hwmodel.Batch{Decodes: 1, DecodeContext: 1, Logits: 1})
	if got := c * d.FP16FLOPs; math.Abs(got/(2*params)-1) > 1e-3 {
		t.Errorf("%g FLOPs, want twice %g parameters", got, params)
	}
	if got := b * d.DRAMBytes; math.Abs(got/(2*params)-1) > 1e-3 {
		t.Errorf("%g bytes, want two for each of %g parameters", got, params)
	}
}

// A token of context is a key and a value in every layer; a chunk on top of it reads it.
func TestEffortOfContext(t *testing.T) {
	m, d, e := effortOf(t, "llama-3.1-8b")
	_, near := e.Exert(&hwmodel.Batch{Decodes: 1, DecodeContext: 1, Logits: 1})
	_, far := e.Exert(&hwmodel.Batch{Decodes: 1, DecodeContext: 1001, Logits: 1})
	kv := float64(m.Layers * 2 * m.KVWidth() * 2)
	if got := (far - near) * d.DRAMBytes; math.Abs(got/(1000*kv)-1) > 1e-6 {
		t.Errorf("1000 tokens are %g bytes, want %g", got, 1000*kv)
	}
	var chunk hwmodel.Batch
	chunk.AddChunk(1, 1000)
	_, first := e.Exert(&chunk)
	if got := (first + e.head) - far; math.Abs(got) > 1e-3*far {
		t.Errorf("a chunk of one token on 1000 reads %g device-seconds, a decode %g", first+e.head, far)
	}
}

// Experts of few bits are read as they are packed.
func TestEffortOfPackedExperts(t *testing.T) {
	m, d, e := effortOf(t, "gpt-oss-20b")
	if m.ExpertBits == 0 {
		t.Fatal("its experts are not packed")
	}
	table := float64(m.Vocab) * float64(m.Hidden) * 2 // of the embedding, of which a token reads a row
	want := float64(m.Weights(Parallel{1, 1}, 0)) - table
	if got := (e.weights + e.head + e.experts) * d.DRAMBytes; math.Abs(got/want-1) > 0.01 {
		t.Errorf("all weights are %g bytes, want %g", got, want)
	}
}

// Few tokens read few experts, many read all: eight tokens of 8 of 128 experts touch 40 % of
// them.
func TestEffortOfExperts(t *testing.T) {
	m, d, e := effortOf(t, "qwen3-30b-a3b")
	if m.Experts != 128 || m.ExpertsPerToken != 8 {
		t.Fatalf("%d of %d experts", m.ExpertsPerToken, m.Experts)
	}
	read := func(n int) float64 {
		_, b := e.Exert(&hwmodel.Batch{Decodes: n, DecodeContext: int64(n), Logits: n})
		return (b - e.weights - e.head - float64(2*n)*e.context) / e.experts
	}
	for n, want := range map[int]float64{1: 8.0 / 128, 8: 1 - math.Pow(120.0/128, 8), 4096: 1} {
		if got := read(n); math.Abs(got-want) > 1e-6 {
			t.Errorf("%d tokens read %.4f of the experts, want %.4f", n, got, want)
		}
	}
	all := (e.weights + e.head + e.experts) * d.DRAMBytes
	if want := 2 * float64(m.Params()-int64(m.Vocab)*int64(m.Hidden)); math.Abs(all/want-1) > 1e-3 {
		t.Errorf("all weights are %g bytes, want %g", all, want)
	}
	if c, b := e.Exert(&hwmodel.Batch{}); c != 0 || b != 0 {
		t.Errorf("nothing to do takes %g and %g", c, b)
	}
}
