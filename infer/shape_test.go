package infer_test

import (
	"testing"

	"orrery/infer"
	"orrery/workloads/llm"
)

// What the simulator prices under the name orrery-25m is what really runs.
func TestModelFileHasTheShapeThatRuns(t *testing.T) {
	m, err := llm.Load("orrery-25m")
	if err != nil {
		t.Fatal(err)
	}
	priced := infer.Config{Layers: m.Layers, Hidden: m.Hidden, Heads: m.Heads, KVHeads: m.KVHeads, HeadDim: m.HeadDim, Intermediate: m.Intermediate, Vocab: m.Vocab}
	if priced != infer.Orrery25M() {
		t.Errorf("the model file has %+v, the executor %+v", priced, infer.Orrery25M())
	}
	if m.WeightBytes != 4 || m.KVBytes != 4 || !m.TiedEmbedding || !m.Gated {
		t.Errorf("%d and %d bytes, tied %v, gated %v; the executor computes in float32, tied and gated", m.WeightBytes, m.KVBytes, m.TiedEmbedding, m.Gated)
	}
}
