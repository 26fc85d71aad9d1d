package kernel

import (
	"fmt"
	"testing"
)

// Attention of eight decodes by orrery-25m's heads at some contexts, on one thread, per
// token of context.
func BenchmarkDecodeAttention(b *testing.B) {
	for _, context := range []int{32, 256, 2048} {
		b.Run(fmt.Sprint(context), func(b *testing.B) {
			const batch, heads, kvHeads, d, size = 8, 8, 4, 64, 16
			s, err := New("gonum", 1)
			if err != nil {
				b.Fatal(err)
			}
			perSeq := context / size
			kv := NewKV(kvHeads, d, size, batch*perSeq)
			spans := make([]Span, batch)
			for i := range spans {
				spans[i] = Span{Row: i, Tokens: 1, Before: context - 1}
				for j := range perSeq {
					block := int32(j*batch + i)
					kv.Randomize(block, 1)
					spans[i].Table = append(spans[i].Table, block)
				}
			}
			qkv, out := make([]float32, batch*(heads+2*kvHeads)*d), make([]float32, batch*heads*d)
			Randomize(qkv, 1, 1, 1)
			for b.Loop() {
				s.Attend(out, qkv, heads, &kv, spans)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(batch*context), "ns/token")
		})
	}
}

func BenchmarkLinear(b *testing.B) {
	const n, k = 1024, 512
	for _, blas := range []string{"gonum", "openblas"} {
		s, err := New(blas, 1)
		if err != nil {
			b.Log(err)
			continue
		}
		weights := make([]float32, 16*n*k) // 32 MiB, read in turn
		Randomize(weights, 1, 1, 1)
		for _, m := range []int{1, 2, 4, 8, 16, 64, 256} {
			b.Run(fmt.Sprintf("%s/m=%d", blas, m), func(b *testing.B) {
				x, y := make([]float32, m*k), make([]float32, m*n)
				Randomize(x, 1, 1, 2)
				i := 0
				for b.Loop() {
					s.Linear(y, x, weights[i%16*n*k:], m, n, k)
					i++
				}
				b.ReportMetric(2*float64(m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
