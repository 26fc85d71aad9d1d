package hwmodel

import (
	"fmt"
	"math"
	"time"
)

// Affine is a cost model with one coefficient for each thing that an iteration
// grows with. People bring such formulas from their own engines, and exact tests
// need times that can be worked out by hand. Coefficients are seconds and may be
// fractions of a nanosecond; the sum is rounded once.
//
//	stage = Iteration + PrefillToken*(chunk tokens) + Sequence*(decodes + chunks)
//	      + ContextToken*(sum of decode contexts)
//	      + ChunkContext*(sum over chunks of c*h + c*(c+1)/2)
//	      + SwapByte*(bytes swapped)/Stages
//	      + PrefillIteration, if there is any prompt chunk
//
// where a chunk of c tokens lies on top of h cached ones: the last product counts
// query-key pairs, so that cutting a prompt into chunks leaves its sum unchanged.
// Each of Stages pipeline stages takes that time.
type Affine struct {
	Iteration    float64 `toml:"iteration"`     // seconds of every iteration
	PrefillToken float64 `toml:"prefill_token"` // seconds a prompt token
	Sequence     float64 `toml:"sequence"`      // seconds a sequence in the batch
	ContextToken float64 `toml:"context_token"` // seconds a token of context of the decodes
	ChunkContext float64 `toml:"chunk_context"` // seconds a query-key pair of the prompt chunks
	SwapByte     float64 `toml:"swap_byte"`     // seconds a byte of KV cache swapped
	// PrefillIteration is what an iteration with prompt chunks takes more, whatever their
	// length: engines replay recorded graphs for decodes and launch the rest one by one.
	PrefillIteration float64 `toml:"prefill_iteration"`

	PipelineStages int     `toml:"stages"`        // pipeline stages, 0 counts as 1
	SendToken      float64 `toml:"send_token"`    // seconds a token handed from stage to stage
	HostIteration  float64 `toml:"host"`          // seconds of host time an iteration
	HostSequence   float64 `toml:"host_sequence"` // seconds of host time a sequence
	HostOverlaps   bool    `toml:"host_overlaps"` // host and devices work at the same time
}

// Check refuses coefficients with which time could stand still or run backwards.
func (a *Affine) Check() error {
	for _, c := range []struct {
		name string
		v    float64
	}{
		{"iteration", a.Iteration}, {"prefill_token", a.PrefillToken}, {"sequence", a.Sequence}, {"context_token", a.ContextToken},
		{"chunk_context", a.ChunkContext}, {"swap_byte", a.SwapByte}, {"prefill_iteration", a.PrefillIteration}, {"send_token", a.SendToken}, {"host", a.HostIteration}, {"host_sequence", a.HostSequence},
	} {
		if !(c.v >= 0) || math.IsInf(c.v, 0) {
			return fmt.Errorf("affine: %s is %g seconds, must be 0 or more", c.name, c.v)
		}
	}
	if a.PipelineStages < 0 {
		return fmt.Errorf("affine: stages is %d, must be 1 or more", a.PipelineStages)
	}
	if a.Iteration == 0 && (a.PrefillToken == 0 || a.Sequence == 0 && a.ContextToken == 0) {
		return fmt.Errorf("affine: an iteration would take no time; set iteration, or prefill_token and sequence")
	}
	return nil
}

// Stages returns the number of pipeline stages.
func (a *Affine) Stages() int { return max(1, a.PipelineStages) }

// Stage returns how long any of the stages computes b.
func (a *Affine) Stage(_ int, b *Batch) time.Duration {
	s := a.Iteration + float64(a.PrefillToken*float64(b.ChunkTokens)) + float64(a.Sequence*float64(b.Decodes+b.Chunks))
	s += float64(a.ContextToken*float64(b.DecodeContext)) + float64(a.ChunkContext*float64(b.ChunkPairs))
	if b.Chunks > 0 {
		s += a.PrefillIteration
	}
	if b.SwapBytes > 0 {
		s += float64(a.SwapByte*float64(b.SwapBytes)) / float64(a.Stages())
	}
	return nanoseconds(s)
}

// Send returns how long it takes to hand b to the next stage.
func (a *Affine) Send(b *Batch) time.Duration { return nanoseconds(a.SendToken * float64(b.Tokens())) }

// Host returns how long the host is busy with b.
func (a *Affine) Host(b *Batch) (time.Duration, bool) {
	return nanoseconds(a.HostIteration + float64(a.HostSequence*float64(b.Decodes+b.Chunks))), a.HostOverlaps
}

// nanoseconds rounds seconds to the clock's unit.
func nanoseconds(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }
