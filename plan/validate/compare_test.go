package validate

import (
	"math"
	"slices"
	"testing"
	"time"

	"orrery/hwmodel"
)

// A figure within its limit is ok however noisy; one beyond is off unless the machine
// differs from itself by more than the limit.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		ran, said    []float64
		drift, limit float64
		want         Verdict
		err, noise   float64
	}{
		{[]float64{10, 10}, []float64{10.5, 10.5}, 0, 0.1, OK, 0.05, 0},
		{[]float64{8, 12}, []float64{10, 10.4}, 0, 0.1, OK, 0.02, 0.4},
		{[]float64{10, 10}, []float64{12, 12}, 0, 0.1, Off, 0.2, 0},
		{[]float64{10, 10}, []float64{8, 8}, 0.05, 0.1, Off, -0.2, 0.05},
		{[]float64{9, 11}, []float64{12, 12}, 0, 0.1, Noisy, 0.2, 0.2},
		{[]float64{10, 10}, []float64{12, 12}, 0.15, 0.1, Noisy, 0.2, 0.15},
		{[]float64{10, 10}, []float64{20, 20}, 0, 0, Unjudged, 1, 0},
		{[]float64{math.NaN(), 10}, []float64{10, 10}, 0, 0.1, Off, math.NaN(), math.NaN()},
	} {
		l := judge("figure", c.ran, c.said, c.drift, c.limit)
		same := func(a, b float64) bool { return math.Abs(a-b) < 1e-12 || math.IsNaN(a) && math.IsNaN(b) }
		if l.Verdict != c.want || !same(float64(l.Error), c.err) || !same(float64(l.Noise), c.noise) {
			t.Errorf("real %v, simulated %v: %+v; want %q, error %g, noise %g", c.ran, c.said, l, c.want, c.err, c.noise)
		}
	}
}

// Policies may change places only where the real runs do not tell them apart.
func TestOrder(t *testing.T) {
	lines := func(real, simulated, noise float64) []Line {
		out := make([]Line, len(metrics))
		out[0] = judge(metrics[0].name, []float64{real * (1 - noise/2), real * (1 + noise/2)}, []float64{simulated, simulated}, 0, 0.15)
		return out
	}
	for _, c := range []struct {
		simulated float64 // of b; a has 1.0 in both worlds
		real      float64
		noise     float64
		agrees    bool
	}{
		{1.5, 1.5, 0, true},
		{0.9, 1.5, 0, false},
		{0.9, 1.1, 0, true}, // nearer than the limit
		{0.9, 1.5, 0.6, true},
		{1.1, 0.5, 0, false},
	} {
		o := order(0, []Policy{{Name: "a", Lines: lines(1, 1, 0)}, {Name: "b", Lines: lines(c.real, c.simulated, c.noise)}})
		if o.Agrees != c.agrees {
			t.Errorf("b is %g really and %g simulated, noise %g: agrees %v", c.real, c.simulated, c.noise, o.Agrees)
		}
		want := []string{"a", "b"}
		if c.real < 1 {
			want = []string{"b", "a"}
		}
		if !slices.Equal(o.Real, want) {
			t.Errorf("real order %v, want %v", o.Real, want)
		}
	}
}

// Iterations are sorted into decodes alone and with prompts, by octaves of tokens, and
// compared by sums.
func TestShapes(t *testing.T) {
	run := func(decodes, chunk int, real, priceMS float64) priced {
		b := hwmodel.Batch{Decodes: decodes}
		if chunk > 0 {
			b.AddChunk(chunk, 0)
		}
		return priced{iteration{b, time.Duration(real * 1e6), 1000}, priceMS * 1e-3}
	}
	got := shapes([]priced{run(0, 40, 10, 12), run(1, 0, 2, 2), run(5, 0, 4, 3), run(7, 0, 6, 5), run(3, 30, 10, 10)})
	want := []struct {
		name  string
		count int
		err   float64
	}{
		{"decodes alone, 1 token", 1, 0}, {"decodes alone, 5-7 tokens", 2, -0.2}, {"with prompts, 33-40 tokens", 2, 0.1},
	}
	if len(got) != len(want) {
		t.Fatalf("%d shapes, want %d: %+v", len(got), len(want), got)
	}
	for i, w := range want {
		if g := got[i]; g.Name() != w.name || g.Count != w.count || math.Abs(float64(g.Error)-w.err) > 1e-9 {
			t.Errorf("%s: %d iterations, error %g; want %s, %d, %g", g.Name(), g.Count, float64(g.Error), w.name, w.count, w.err)
		}
	}
}

// The host's time is a mean without the stretches in which it did not run.
func TestHostTimes(t *testing.T) {
	h := hostTimes{100, 110, 90, 100, 50000}
	if got := h.seconds(); math.Abs(got-100e-9) > 1e-15 {
		t.Errorf("host time %g s, want 100 ns", got)
	}
	if got := (hostTimes{}).seconds(); got != 0 {
		t.Errorf("host time of nothing is %g", got)
	}
}
