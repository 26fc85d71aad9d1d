package solver

import (
	"math"
	"math/rand/v2"
	"testing"

	"orrery/workloads/diffusion/analytic"
)

// gaussian has known flow: each direction keeps its number of deviations.
func gaussian() *analytic.Mixture {
	return &analytic.Mixture{Components: []analytic.Component{{Weight: 1, Mean: []float64{0, 0}, Values: []float64{0.3, 2}, Vectors: [][]float64{{1, 0}, {0, 1}}}}}
}

func exact(m *analytic.Mixture, x []float64) []float64 {
	out := make([]float64, len(x))
	aT, sT := analytic.Noise(analytic.NoiseTime)
	a0, s0 := analytic.Noise(analytic.DataTime)
	for i, v := range x {
		value := m.Components[0].Values[i%2]
		out[i] = v * math.Sqrt((a0*a0*value+s0*s0)/(aT*aT*value+sT*sT))
	}
	return out
}

func draws(n int, seed uint64) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	return x
}

func distance(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += (a[i] - b[i]) * (a[i] - b[i])
	}
	return math.Sqrt(sum / float64(len(a)))
}

func run(t *testing.T, m *analytic.Mixture, s *Schedule, x []float64) []float64 {
	t.Helper()
	r, err := NewSampler(m, s)
	if err != nil {
		t.Fatal(err)
	}
	out := append([]float64{}, x...)
	r.Run(out)
	return out
}

// S1: the error falls with the power of the number of steps that the solver's order says.
func TestOrdersOfConvergence(t *testing.T) {
	m, x := gaussian(), draws(200, 1)
	want := exact(m, x)
	for _, c := range []struct {
		solver    string
		low, high float64 // of the order from 80 to 160 steps
	}{
		{"ddim", 0.85, 1.15}, {"2m", 1.85, 2.15}, {"2m++", 1.85, 2.15}, {"3m", 2.8, 9}, {"3m++", 2.8, 9},
		{"unipc-2", 2.85, 3.15}, {"unipc-3", 2.8, 9}, {"unipc-3-noise", 2.8, 9}, {"deis-2", 2.8, 9}, {"2s", 1.85, 2.15}, {"2s++", 1.85, 2.15}, {"3s", 2.8, 9},
	} {
		f, err := LoadFixed(c.solver)
		if err != nil {
			t.Fatal(err)
		}
		var errors []float64
		for _, n := range []int{20, 40, 80, 160} {
			steps := n
			switch c.solver {
			case "2s", "2s++":
				steps *= 2
			case "3s":
				steps *= 3
			}
			s, err := f.Schedule(steps, grids[0])
			if err != nil {
				t.Fatal(err)
			}
			errors = append(errors, distance(run(t, m, s, x), want))
		}
		var orders []float64
		for i := range 3 {
			orders = append(orders, math.Log2(errors[i]/errors[i+1]))
		}
		t.Logf("%-14s orders %.2f, errors %.2g", c.solver, orders, errors)
		if o := orders[2]; o < c.low || o > c.high {
			t.Errorf("%s: order %.2f, want %g to %g", c.solver, o, c.low, c.high)
		}
	}
}

// Heun's method in sigma/alpha has order two where its steps are short in it.
func TestHeunHasOrderTwo(t *testing.T) {
	m, x := gaussian(), draws(200, 1)
	want := exact(m, x)
	last := 0.0
	for _, n := range []int{79, 159, 319} {
		e := distance(run(t, m, heun(n, grids[0]), x), want)
		if o := math.Log2(last / e); last > 0 && (o < 1.8 || o > 2.3) {
			t.Errorf("order %.2f to %d evaluations, want 2", o, n)
		}
		last = e
	}
}
