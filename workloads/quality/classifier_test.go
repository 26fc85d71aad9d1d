package quality

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"orrery/policies/lrsched"
	"orrery/sim"
)

// scaled is a table with its features scaled.
func scaled(t testing.TB, name string) *Dataset {
	t.Helper()
	d, err := Table(name)
	if err != nil {
		t.Fatal(err)
	}
	return d.Scale(d.Scaling())
}

func TestGradientIsTheSlopeOfTheLoss(t *testing.T) {
	d := scaled(t, "wine")
	rows := []int{0, 70, 140, 7, 99}
	for _, hidden := range []int{0, 5} {
		c := For(d, hidden)
		c.Decay = 0.01
		draws := sim.Stream(1, "weights")
		w := c.Init(draws)
		for i := range w {
			w[i] += 0.1 * draws.NormFloat64()
		}
		s, grad, other := c.scratch(), make([]float64, len(w)), make([]float64, len(w))
		s.Gradient(w, grad, d, rows)
		for i := range w {
			const h = 1e-5
			was := w[i]
			w[i] = was + h
			up := s.Gradient(w, other, d, rows)
			w[i] = was - h
			down := s.Gradient(w, other, d, rows)
			w[i] = was
			if slope := (up - down) / (2 * h); math.Abs(slope-grad[i]) > 1e-7 {
				t.Errorf("%d hidden units, weight %d: gradient %g, slope %g", hidden, i, grad[i], slope)
			}
		}
	}
}

// A linear classifier that starts from zeros is undecided.
func TestAnUndecidedClassifier(t *testing.T) {
	d := scaled(t, "vowel")
	c := For(d, 0)
	loss, _ := Trained{Model: c, W: make([]float64, c.Weights())}.Evaluate(d)
	if want := math.Log(11); math.Abs(loss-want) > 1e-12 {
		t.Errorf("loss %g; want ln 11 = %g", loss, want)
	}
}

// Long training of a strongly convex problem ends at the optimum that L-BFGS finds.
func TestTrainingReachesTheOptimum(t *testing.T) {
	d := scaled(t, "heart")
	c := For(d, 0)
	c.Decay = 0.01
	least, err := Optimum(c, d)
	if err != nil {
		t.Fatal(err)
	}
	for name, optimiser := range map[string]Optimiser{"SGD": SGD(0.9), "Adam": Adam()} {
		run := Training{Model: c, Optimiser: optimiser, Steps: 2000, Batch: func(int) int { return d.Len() },
			Peak: 0.05, Schedule: schedule(t, "linear")}
		trained, err := run.Run(d)
		if err != nil {
			t.Fatal(err)
		}
		if loss, _ := trained.Evaluate(d); loss < least-1e-12 || loss > least+1e-6 {
			t.Errorf("%s ends at %.10f; the least is %.10f", name, loss, least)
		}
	}
}

func TestASeedRepeatsARun(t *testing.T) {
	d := scaled(t, "iris")
	run := func(seed uint64) []float64 {
		r := Training{Model: For(d, 8), Optimiser: Adam(), Steps: 50, Batch: func(int) int { return 16 },
			Peak: 0.01, Schedule: schedule(t, "rex"), Seed: seed}
		trained, err := r.Run(d)
		if err != nil {
			t.Fatal(err)
		}
		return trained.W
	}
	a, b, other := run(1), run(1), run(2)
	same := true
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("weight %d is %g and, again, %g", i, a[i], b[i])
		}
		same = same && a[i] == other[i]
	}
	if same {
		t.Error("another seed gives the same weights")
	}
}

// watched notes the rates that a plateau schedule gives.
type watched struct {
	*lrsched.Plateau
	rates []float64
}

func (w *watched) LR(step, total int) float64 {
	w.rates = append(w.rates, w.Plateau.LR(step, total))
	return w.rates[len(w.rates)-1]
}

// A schedule that watches the run lowers the rate when the measured loss stays, and in the same
// steps when the run is repeated.
func TestDecayOnPlateauWatchesARealRun(t *testing.T) {
	d := scaled(t, "glass")
	rates := func() []float64 {
		w := &watched{Plateau: &lrsched.Plateau{Factor: 0.5, Patience: 3, Every: 10, Epsilon: 0.01}}
		r := Training{Model: For(d, 0), Optimiser: SGD(0.9), Steps: 600, Batch: func(int) int { return 16 }, Peak: 0.3, Schedule: w, Seed: 1}
		if _, err := r.Run(d); err != nil {
			t.Fatal(err)
		}
		return w.rates
	}
	a := rates()
	if falls := slices.IsSortedFunc(a, func(x, y float64) int { return cmp.Compare(y, x) }); !falls || a[0] != 1 || a[len(a)-1] > 0.5 {
		t.Errorf("rates from %g to %g, falling: %v; want from 1 to 0.5 or less, never rising", a[0], a[len(a)-1], falls)
	}
	if !slices.Equal(a, rates()) {
		t.Error("the same run has other rates the second time")
	}
}

func TestTrainingRefusesNonsense(t *testing.T) {
	d := scaled(t, "iris")
	good := Training{Model: For(d, 0), Optimiser: SGD(0), Steps: 1, Batch: func(int) int { return 1 }, Schedule: schedule(t, "linear")}
	for what, spoil := range map[string]func(*Training){
		"no steps":      func(r *Training) { r.Steps = 0 },
		"empty batch":   func(r *Training) { r.Batch = func(int) int { return 0 } },
		"another table": func(r *Training) { r.Model.In = 5 },
	} {
		r := good
		spoil(&r)
		if _, err := r.Run(d); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

// BenchmarkStep trains on the table of middling width, at the batch of the comparisons.
func BenchmarkStep(b *testing.B) {
	d := scaled(b, "digits")
	r := Training{Model: For(d, 32), Optimiser: SGD(0.9), Steps: b.N, Batch: func(int) int { return 32 },
		Peak: 0.01, Schedule: schedule(b, "linear")}
	if _, err := r.Run(d); err != nil {
		b.Fatal(err)
	}
}
