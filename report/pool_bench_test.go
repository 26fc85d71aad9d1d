package report_test

import (
	"testing"
	"time"

	"orrery/policies/denoise"
)

// BenchmarkPool runs a million images on 64 devices at 80 % load. On one core of a
// shared EPYC server (2026): 0.8 s for batches that run as a whole, 3.4 s step by step.
func BenchmarkPool(b *testing.B) {
	program := affine{steps: 20, fixed: 40 * time.Millisecond, each: 20 * time.Millisecond, encode: time.Millisecond, decode: 50 * time.Millisecond, perItem: 1}
	full := 8 / (20*(0.04+8*0.02) + 8*0.051) // images per second of one device
	for _, c := range []struct {
		name   string
		policy func() denoise.Policy
	}{
		{"whole", func() denoise.Policy { return &denoise.BatchTimeout{Batch: 8, Timeout: time.Second} }},
		{"steps", func() denoise.Policy { return &denoise.Continuous{Batch: 8} }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := one(c.policy(), 64, program, 0.8*64*full, 1_000_000, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
