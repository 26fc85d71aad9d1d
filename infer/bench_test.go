package infer

import (
	"context"
	"fmt"
	"testing"
)

// Iterations of orrery-25m: decodes at context 256 by batch size, chunks of a prompt, and
// a mix as Sarathi forms it. The figures of package comments come from here:
//
//	go test ./infer -run '^$' -bench Step
func BenchmarkStep(b *testing.B) {
	for _, blas := range []string{"gonum", "openblas"} {
		for _, threads := range []int{1, 2} {
			c := Orrery25M()
			c.BlockTokens, c.Blocks, c.BLAS, c.Threads = 16, 1024, blas, threads
			m, err := New(c)
			if err != nil {
				b.Log(err)
				continue
			}
			for _, n := range []int{1, 2, 4, 8, 16, 32} {
				b.Run(fmt.Sprintf("%s/threads=%d/decode=%d", blas, threads, n), func(b *testing.B) { benchmarkStep(b, m, n, 0) })
			}
			for _, n := range []int{128, 512} {
				b.Run(fmt.Sprintf("%s/threads=%d/prefill=%d", blas, threads, n), func(b *testing.B) { benchmarkStep(b, m, 0, n) })
			}
			b.Run(fmt.Sprintf("%s/threads=%d/decode=8,prefill=248", blas, threads), func(b *testing.B) { benchmarkStep(b, m, 8, 248) })
		}
	}
}

// benchmarkStep times steps of some decodes, at contexts that grow from 256, and a chunk.
func benchmarkStep(b *testing.B, m *Model, decodes, chunk int) {
	b.ReportAllocs()
	ctx := context.Background()
	const context = 256
	tokens := make([]int32, max(context, chunk))
	for i := range tokens {
		tokens[i] = int32(i)
	}
	var parts []Part
	step := func(parts ...Part) {
		if _, err := m.Step(ctx, parts); err != nil {
			b.Fatal(err)
		}
	}
	for slot := range decodes {
		m.Free(slot)
		step(Part{Slot: slot, Tokens: tokens[:context]})
		parts = append(parts, Part{Slot: slot, Tokens: tokens[:1], Sample: true})
	}
	if chunk > 0 {
		m.Free(decodes)
		parts = append(parts, Part{Slot: decodes, Tokens: tokens[:chunk], Sample: true})
	}
	for b.Loop() {
		step(parts...)
		if chunk > 0 {
			m.Free(decodes)
		}
		if decodes > 0 && m.Cached(0) >= context+64 {
			b.StopTimer()
			for slot := range decodes {
				m.Free(slot)
				step(Part{Slot: slot, Tokens: tokens[:context]})
			}
			b.StartTimer()
		}
	}
	for slot := range decodes + 1 {
		m.Free(slot)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "it/s")
}
