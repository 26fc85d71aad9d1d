package hwmodel

import (
	"math"
	"testing"
	"time"

	"orrery/sim"
)

// The yield is that of drafting and accepting token by token until the first refusal.
func TestSpeculativeYield(t *testing.T) {
	rng := sim.Stream(1, "yield")
	for _, k := range []int{1, 4, 8} {
		for _, a := range []float64{0, 0.5, 0.8, 1} {
			sum := 0
			const n = 200_000
			for range n {
				sum++ // of the target itself
				for i := 0; i < k && rng.Float64() < a; i++ {
					sum++
				}
			}
			s := Speculative{Tokens: k, Acceptance: a}
			if got, want := s.Yield(), float64(sum)/n; math.Abs(got/want-1) > 0.01 {
				t.Errorf("k %d, a %g: yield %.3f, drawn %.3f", k, a, got, want)
			}
		}
	}
}

// Where passes cost the same whatever they compute, time falls by the factor that Leviathan
// et al. give (Theorem 3.8): (1 - a^(k+1)) / ((1 - a) (k c + 1)).
func TestSpeculativeSpeedsUpAsPublished(t *testing.T) {
	target := &Affine{Iteration: 0.040}
	b := &Batch{Decodes: 1, DecodeContext: 500, Logits: 1}
	plain := target.Stage(0, b)
	for _, c := range []struct {
		k           int
		a, share, x float64
	}{{2, 0.6, 0.02, 1.96 / 1.04}, {3, 0.7, 0.02, 2.533 / 1.06}, {2, 0.8, 0.02, 2.44 / 1.04}, {5, 0.8, 0.02, 3.68928 / 1.1}} {
		s := &Speculative{CostModel: target, Tokens: c.k, Acceptance: c.a, Share: c.share}
		if got := float64(plain) / float64(s.Stage(0, b)); math.Abs(got/c.x-1) > 1e-6 {
			t.Errorf("k %d, a %g: %.4f times as fast, want %.4f", c.k, c.a, got, c.x)
		}
		draft := &Speculative{CostModel: target, Draft: &Affine{Iteration: 0.040 * c.share}, Tokens: c.k, Acceptance: c.a}
		if got := draft.Stage(0, b); got != s.Stage(0, b) {
			t.Errorf("a draft model of that share takes %v, the share %v", got, s.Stage(0, b))
		}
	}
}

// Where a verification takes as long as decoding its tokens one by one, nothing that may be
// refused is worth drafting; and prompts cost what they cost without.
func TestSpeculativeCostsWhatItComputes(t *testing.T) {
	target := &Affine{PrefillToken: 1e-4, Sequence: 1e-3, ChunkContext: 1e-9}
	s := &Speculative{CostModel: target, Tokens: 4, Acceptance: 0.7, Share: 0}
	decodes := &Batch{Decodes: 8, DecodeContext: 800, Logits: 8}
	if got, plain := s.Stage(0, decodes), target.Stage(0, decodes); got < plain {
		t.Errorf("an iteration takes %v, %v without drafts", got, plain)
	}
	prompt := &Batch{}
	prompt.AddChunk(100, 50)
	if got, want := s.Stage(0, prompt), target.Stage(0, prompt); got != want {
		t.Errorf("a prompt takes %v, want %v as without drafts", got, want)
	}
	mixed := *decodes
	mixed.AddChunk(100, 50)
	if got, want := s.Stage(0, &mixed), s.Stage(0, decodes)+target.Stage(0, prompt); got-want > time.Microsecond || want-got > time.Microsecond {
		t.Errorf("a mixed iteration takes %v, want %v, that of its parts", got, want)
	}
}
