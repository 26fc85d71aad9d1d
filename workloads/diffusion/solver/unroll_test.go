package solver

import (
	"math"
	"testing"

	"orrery/workloads/diffusion/analytic"
)

// A schedule that is run by its unrolled weights ends where it does step by step.
func TestUnrolledSchedulesHaveTheSameTrajectories(t *testing.T) {
	ring := analytic.Ring(8, math.Sqrt2, 0.15)
	for _, name := range []string{"ddim", "2m++", "unipc-3", "unipc-3-noise", "deis-3", "heun", "2s++", "3s"} {
		f, err := LoadFixed(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, first := range []First{Asked, Zero, Mean} {
			s, err := f.Schedule(7, grids[2])
			if err != nil {
				t.Fatal(err)
			}
			s.First = first
			x := draws(2, 5)
			want := run(t, ring, s, x)
			got := byWeights(ring, Unroll(s), x)
			for j := range want {
				if d := math.Abs(got[j] - want[j]); d > 1e-9*max(1, math.Abs(want[j])) {
					t.Errorf("%s, first %s: %.12g, want %.12g", name, first, got[j], want[j])
				}
			}
		}
	}
}

// byWeights runs a schedule of which only the weights are known.
func byWeights(m *analytic.Mixture, u *Unrolled, start []float64) []float64 {
	var images [][]float64
	state := func(i int, alpha, sigma float64) []float64 {
		x := make([]float64, len(start))
		for j := range x {
			x[j] = sigma * u.Noise[i] * start[j]
			for k, image := range images {
				x[j] += alpha * u.Images[i][k] * image[j]
			}
		}
		return x
	}
	var scratch analytic.Scratch
	for i, lambda := range u.LogSNR {
		at := analytic.TimeOf(lambda)
		alpha, sigma := analytic.Noise(at)
		x := state(i, alpha, sigma)
		eps := make([]float64, len(x))
		m.Eps(&scratch, eps, x, at)
		for j := range eps {
			eps[j] = (x[j] - sigma*eps[j]) / alpha
		}
		images = append(images, eps)
	}
	alpha, sigma := analytic.Noise(analytic.DataTime)
	return state(len(u.LogSNR), alpha, sigma)
}
