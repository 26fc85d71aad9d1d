package analytic

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The predicted noise is -sigma times the gradient of the log density, here by differences.
func TestNoiseIsTheGradientOfTheDensity(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	c, s := math.Cos(0.7), math.Sin(0.7)
	m := &Mixture{Components: []Component{
		{0.3, []float64{1, -1}, []float64{0.2, 1.5}, [][]float64{{c, s}, {-s, c}}},
		{0.7, []float64{-2, 0.5}, []float64{0.6, 0.1}, [][]float64{{1, 0}, {0, 1}}},
	}}
	density := func(x []float64, t float64) float64 {
		alpha, sigma := Noise(t)
		sum := 0.0
		for _, k := range m.Components {
			e, det := 0.0, 1.0
			for i, v := range k.Vectors {
				p := v[0]*(x[0]-alpha*k.Mean[0]) + v[1]*(x[1]-alpha*k.Mean[1])
				variance := alpha*alpha*k.Values[i] + sigma*sigma
				e += p * p / variance
				det *= variance
			}
			sum += k.Weight * math.Exp(-e/2) / math.Sqrt(det)
		}
		return math.Log(sum)
	}
	var scratch Scratch
	for range 200 {
		x, at := []float64{3 * r.NormFloat64(), 3 * r.NormFloat64()}, 0.02+0.98*r.Float64()
		got := make([]float64, 2)
		m.Eps(&scratch, got, x, at)
		_, sigma := Noise(at)
		for j := range x {
			const h = 1e-5
			up, down := append([]float64{}, x...), append([]float64{}, x...)
			up[j] += h
			down[j] -= h
			if want := -sigma * (density(up, at) - density(down, at)) / (2 * h); math.Abs(got[j]-want) > 1e-5*max(1, math.Abs(want)) {
				t.Fatalf("at %v, t %g: %g, want %g", x, at, got[j], want)
			}
		}
	}
}

// A single Gaussian sampled backwards in many ancestral steps has its own moments again.
func TestAncestralSamplingHasTheRightMoments(t *testing.T) {
	m := &Mixture{Components: []Component{{1, []float64{2}, []float64{0.25}, [][]float64{{1}}}}}
	r := rand.New(rand.NewPCG(3, 4))
	var scratch Scratch
	mean, square := 0.0, 0.0
	const n, steps = 4000, 200
	eps := make([]float64, 1)
	for range n {
		x := []float64{r.NormFloat64()}
		for i := range steps {
			t, u := 1-float64(i)/steps, max(1-float64(i+1)/steps, 1e-3)
			m.Eps(&scratch, eps, x, t)
			m.Ancestral(&scratch, x, eps, t, u, r.NormFloat64)
		}
		mean += x[0] / n
		square += x[0] * x[0] / n
	}
	if v := square - mean*mean; math.Abs(mean-2) > 0.04 || math.Abs(v-0.25) > 0.03 {
		t.Errorf("mean %.3f and variance %.3f, want 2 and 0.25", mean, v)
	}
}

func TestFitFindsClasses(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var rows [][]float64
	var labels []int
	for i := range 600 {
		k := i % 3
		rows = append(rows, []float64{10*float64(k) + r.NormFloat64(), r.NormFloat64(), 0.1 * r.NormFloat64()})
		labels = append(labels, k)
	}
	m, err := FitClasses(rows, labels, 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	var s Scratch
	for k := range m.Components {
		if p := m.Shares(&s, m.Components[k].Mean, 1e-3)[k]; p < 0.999 {
			t.Errorf("class %d has %.3f of its own mean", k, p)
		}
	}
	if _, err := FitClasses(rows, labels[:3], 3, 2); err == nil {
		t.Error("rows without labels are fitted")
	}
	if _, err := FitClasses(rows, labels, 3, 9); err == nil {
		t.Error("more dimensions than there are")
	}
}
