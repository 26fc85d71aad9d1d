package hwmodel

import (
	"math"
	"testing"
	"time"
)

func TestAffineIsItsFormula(t *testing.T) {
	a := Affine{
		Iteration: 10e-3, PrefillToken: 100e-6, Sequence: 50e-6, ContextToken: 0.5e-6, ChunkContext: 1e-9, SwapByte: 1e-9,
		PipelineStages: 2, SendToken: 1e-6, HostIteration: 2e-3, HostSequence: 10e-6,
	}
	if err := a.Check(); err != nil {
		t.Fatal(err)
	}
	b := Batch{Decodes: 4, DecodeContext: 8000, SwapBytes: 2_000_000}
	b.AddChunk(500, 1000) // 500*1000 + 500*501/2 = 625250 pairs
	// 10 + 50 + 0.25 + 4 + 0.62525 + 1 ms
	if got, want := a.Stage(0, &b), 65_875_250*time.Nanosecond; got != want {
		t.Errorf("stage takes %v, want %v", got, want)
	}
	if got, want := a.Send(&b), 504*time.Microsecond; got != want {
		t.Errorf("send takes %v, want %v", got, want)
	}
	if got, overlapped := a.Host(&b); got != 2050*time.Microsecond || overlapped {
		t.Errorf("host takes %v, overlapped %v", got, overlapped)
	}
}

// Cutting a prompt into chunks computes the same pairs: only the iterations are
// paid more often.
func TestAffinePairsDoNotDependOnChunks(t *testing.T) {
	a := Affine{Iteration: 1e-3, ChunkContext: 1e-7}
	var whole Batch
	whole.AddChunk(4096, 0)
	var sum time.Duration
	for h := int64(0); h < 4096; h += 512 {
		var b Batch
		b.AddChunk(512, h)
		sum += a.Stage(0, &b)
	}
	if got, want := sum-7*time.Millisecond, a.Stage(0, &whole); got != want {
		t.Errorf("eight chunks take %v beside their iterations, the whole %v", got, want)
	}
}

func TestAffineRefusesTimeThatStandsStill(t *testing.T) {
	for _, a := range []Affine{{}, {Iteration: -1}, {Iteration: math.NaN()}, {Iteration: math.Inf(1)}, {PrefillToken: 1e-3}, {Iteration: 1, PipelineStages: -1}} {
		if a.Check() == nil {
			t.Errorf("%+v is accepted", a)
		}
	}
	if err := (&Affine{PrefillToken: 1e-4, Sequence: 1e-3}).Check(); err != nil {
		t.Error(err)
	}
}
