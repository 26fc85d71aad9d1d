package solver

import (
	"math/rand/v2"
	"testing"

	"orrery/workloads/diffusion/analytic"
)

// classes is a mixture of ten Gaussians in twelve dimensions, the size of the digits.
func classes() *analytic.Mixture {
	r := rand.New(rand.NewPCG(1, 2))
	var rows [][]float64
	var labels []int
	for i := range 1000 {
		row := make([]float64, 12)
		for j := range row {
			row[j] = r.NormFloat64() + float64((i%10)*(j%3))
		}
		rows, labels = append(rows, row), append(labels, i%10)
	}
	m, err := analytic.FitClasses(rows, labels, 10, 12)
	if err != nil {
		panic(err)
	}
	return m
}

// 10,000 points in 12 dimensions at NFE 10, on one core.
func BenchmarkSample(b *testing.B) {
	f, err := LoadFixed("unipc-3")
	if err != nil {
		b.Fatal(err)
	}
	s, err := f.Schedule(10, grids[2])
	if err != nil {
		b.Fatal(err)
	}
	r, err := NewSampler(classes(), s)
	if err != nil {
		b.Fatal(err)
	}
	noise := draws(10_000*12, 1)
	x := make([]float64, len(noise))
	for b.Loop() {
		copy(x, noise)
		r.Run(x)
	}
}
