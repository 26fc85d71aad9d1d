package lrsched

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestSignalAndNoiseAreToldApart(t *testing.T) {
	want := Noise{Signal: 0.3, PerSample: 8}
	got, err := SplitNorms(4, want.norm2(4), 64, want.norm2(64))
	if err != nil || math.Abs(got.Signal-0.3) > 1e-12 || math.Abs(got.PerSample-8) > 1e-12 {
		t.Errorf("found %+v (%v), want %+v", got, err, want)
	}
	for _, x := range [][4]float64{{64, 1, 4, 1}, {0, 2, 4, 1}, {4, 1, 8, 2}, {4, 1, 8, 0}, {4, math.NaN(), 8, 1}, {4, math.Inf(1), 8, 1}} {
		if _, err := SplitNorms(x[0], x[1], x[2], x[3]); err == nil {
			t.Errorf("%v is accepted", x)
		}
	}
}

// Without a change it is linear decay; a smaller batch lowers the rates that are left, a larger
// one raises them up to the peak, and the last step is always the smallest.
func TestReplannedRates(t *testing.T) {
	const done, steps = 30, 100
	n := Noise{Signal: 0.1, PerSample: 4}
	plan := func(batch float64) *Replanned {
		r, err := Replan(done, 16, slices.Repeat([]float64{batch}, steps-done), n)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	same, fewer, more := plan(16), plan(2), plan(256)
	for step := range steps {
		linear := 1 - float64(step)/steps
		if got := same.LR(step, steps); math.Abs(got-linear) > 1e-12 {
			t.Errorf("step %d of an unchanged run is %g, want %g", step, got, linear)
		}
		low, high := fewer.LR(step, steps), more.LR(step, steps)
		if step < done && (low != linear || high != linear) {
			t.Errorf("step %d was done at %g and is told to be %g and %g", step, linear, low, high)
		}
		if step >= done && (low >= linear || high <= linear || high > 1) {
			t.Errorf("step %d has rates %g, %g, %g for a smaller, the same and a larger batch", step, low, linear, high)
		}
	}
	if got, want := fewer.LR(65, 2*steps-done), fewer.LR(done+17, steps); got != want {
		t.Errorf("stretched to twice the rest it has %g, want %g", got, want)
	}
}

func TestReplanRefusesNonsense(t *testing.T) {
	n := Noise{1, 1}
	for name, c := range map[string]struct {
		done    int
		planned float64
		left    []float64
		n       Noise
		want    string
	}{
		"nothing left":   {10, 1, nil, n, "want some left"},
		"negative steps": {-1, 1, []float64{1}, n, "want some left"},
		"no gradient":    {1, 1, []float64{1}, Noise{}, "not both 0"},
		"NaN":            {1, 1, []float64{1}, Noise{math.NaN(), 1}, "want numbers"},
		"no batch":       {1, 0, []float64{1}, n, "a planned batch of 0"},
		"batch 0":        {1, 1, []float64{1, 0}, n, "step 2 has a batch of 0"},
	} {
		if _, err := Replan(c.done, c.planned, c.left, c.n); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
