package hwmodel

import (
	"fmt"
	"math"
	"time"
)

// Speculative prices iterations with speculative decoding (Leviathan et al., "Fast
// Inference from Transformers via Speculative Decoding", ICML 2023) by the share of drafted
// tokens that the target model accepts: Tokens are drafted one after the other, and one
// pass of the target verifies them all and adds one, so that a pass yields
//
//	E = (1 - a^(k+1)) / (1 - a)
//
// tokens in the mean (their equation 1, each token accepted by itself with chance a). It
// is a model of the mean: an iteration still emits one token for each sequence, and takes
// one E-th of k draft passes and a verification. Tokens come evenly, where in reality up to
// k+1 come at once. Prompts are computed once by the target and, if there is one, once by
// the draft model.
//
// A verification is priced as a decode of k+1 times as many sequences, whose KV cache is
// read once for each of the sequences that there really are.
type Speculative struct {
	CostModel           // of the target
	Draft     CostModel // of the draft model, nil if Share says what a draft pass takes
	// Share is a draft pass's time over that of the target for the same decodes; 0 for
	// drafts that cost nothing, such as those looked up in the prompt.
	Share      float64
	Tokens     int     // drafted for each verification, k
	Acceptance float64 // chance that the target accepts a drafted token, a

	decodes, verify, all Batch // reused
}

// Yield returns the tokens of a verification in the mean.
func (s *Speculative) Yield() float64 {
	if s.Acceptance == 1 {
		return float64(s.Tokens + 1)
	}
	return (1 - math.Pow(s.Acceptance, float64(s.Tokens+1))) / (1 - s.Acceptance)
}

// Stage implements [CostModel].
func (s *Speculative) Stage(stage int, b *Batch) time.Duration {
	return s.price(b, func(m CostModel, b *Batch) time.Duration { return m.Stage(min(stage, m.Stages()-1), b) })
}

// Send implements [CostModel].
func (s *Speculative) Send(b *Batch) time.Duration {
	return s.price(b, func(m CostModel, b *Batch) time.Duration { return m.Send(b) })
}

// Host implements [CostModel].
func (s *Speculative) Host(b *Batch) (time.Duration, bool) {
	_, overlapped := s.CostModel.Host(b)
	return s.price(b, func(m CostModel, b *Batch) time.Duration { d, _ := m.Host(b); return d }), overlapped
}

// price returns what the prompts of b take, and their share of drafts and a verification
// what the decodes take.
func (s *Speculative) price(b *Batch, of func(CostModel, *Batch) time.Duration) time.Duration {
	s.all = *b
	s.all.Decodes, s.all.DecodeContext, s.all.Logits = 0, 0, b.Logits-b.Decodes
	prompts := s.all
	if b.Decodes == 0 {
		return of(s.CostModel, b) + s.drafting(&prompts, of)
	}
	s.decodes = Batch{Decodes: b.Decodes, DecodeContext: b.DecodeContext, Logits: b.Decodes}
	n := b.Decodes * (s.Tokens + 1)
	s.verify = Batch{Decodes: n, DecodeContext: b.DecodeContext + int64(b.Decodes*s.Tokens), Logits: n}
	pass := of(s.CostModel, &s.verify)
	round := float64(pass)
	if s.Draft != nil {
		round += float64(s.Tokens) * float64(of(s.Draft, &s.decodes))
	} else {
		round += float64(s.Tokens) * s.Share * float64(of(s.CostModel, &s.decodes))
	}
	total := time.Duration(math.Round(round / s.Yield()))
	if b.Chunks > 0 || b.SwapBytes > 0 {
		s.all.Decodes, s.all.DecodeContext, s.all.Logits = n, s.verify.DecodeContext, s.all.Logits+n
		total += max(0, of(s.CostModel, &s.all)-pass) + s.drafting(&prompts, of)
	}
	return total
}

// drafting returns what the draft model takes for the prompts of an iteration.
func (s *Speculative) drafting(prompts *Batch, of func(CostModel, *Batch) time.Duration) time.Duration {
	if s.Draft == nil || prompts.Chunks == 0 {
		return 0
	}
	return of(s.Draft, prompts)
}

// Err returns what went wrong in either cost model.
func (s *Speculative) Err() error {
	for _, m := range []CostModel{s.CostModel, s.Draft} {
		if f, ok := m.(interface{ Err() error }); ok && f.Err() != nil {
			return f.Err()
		}
	}
	return nil
}

// Extrapolated returns how often the target's tables did not reach far enough.
func (s *Speculative) Extrapolated() int64 {
	if t, ok := s.CostModel.(interface{ Extrapolated() int64 }); ok {
		return t.Extrapolated()
	}
	return 0
}

// Check returns an error unless there is something to draft.
func (s *Speculative) Check() error {
	switch {
	case s.Tokens < 1 || s.Tokens > 64:
		return fmt.Errorf("tokens is %d; want 1 to 64 drafted for each verification", s.Tokens)
	case !(s.Acceptance >= 0 && s.Acceptance <= 1):
		return fmt.Errorf("acceptance is %v; want a share, 0 to 1", s.Acceptance)
	case !(s.Share >= 0 && s.Share <= 1):
		return fmt.Errorf("share is %v; want what a draft pass takes over the target's, 0 to 1", s.Share)
	}
	return nil
}
