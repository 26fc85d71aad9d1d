package refine

import (
	"math"
	"math/rand/v2"
	"testing"

	"orrery/workloads/diffusion/analytic"
)

// P3: what is lost by five steps from a guess is less than by five steps, and by twenty, from noise;
// and refining mends guesses that go through the obstacle.
func TestRefinedGuessesLoseLess(t *testing.T) {
	for _, seed := range []uint64{1, 2} {
		s := Usual
		s.Seed = seed
		ways, err := Compare(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range ways {
			t.Logf("%-20s %2d passes %2d steps RMSE %.4f surprise %+.3f hits %.4f spread %.2f", w.Name, w.Passes, w.Steps, w.RMSE, w.Surprise, w.Hits, w.Spread)
		}
		guess, refined, few, many := ways[0], ways[1], ways[2], ways[3]
		if !(refined.RMSE < few.RMSE && refined.RMSE < many.RMSE) {
			t.Errorf("refined guesses are %.4f off, %d steps from noise %.4f, %d steps %.4f", refined.RMSE, few.Steps, few.RMSE, many.Steps, many.RMSE)
		}
		if refined.Hits > guess.Hits || refined.Surprise > guess.Surprise {
			t.Errorf("refined: hits %.4f and surprise %.3f, guesses %.4f and %.3f", refined.Hits, refined.Surprise, guess.Hits, guess.Surprise)
		}
	}
}

// The mixture of walks from a point has the moments of walks that are drawn whole and begin near it.
func TestWalksFromAPoint(t *testing.T) {
	r, err := NewRoutes(8)
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.From(-1, 0.3)
	if err != nil {
		t.Fatal(err)
	}
	// The chance of the upper routes, by Bayes' rule with the density of the start alone.
	up, all := 0.0, 0.0
	for k, w := range r.weights {
		_, y := r.mean(k, 0)
		p := w * math.Exp(-(0.3-y)*(0.3-y)/(2*r.kernel.At(0, 0)))
		all += p
		if r.bends[k] > 0 {
			up += p
		}
	}
	draw := rand.New(rand.NewPCG(5, 1))
	const n = 20000
	x, got, first := make([]float64, m.Dim()), 0.0, 0.0
	for range n {
		m.Draw(draw, x)
		if x[7+3] > 0 { // y half-way
			got++
		}
		first += x[0] / n
	}
	if math.Abs(got/n-up/all) > 0.02 {
		t.Errorf("%.3f of the walks go above, want %.3f", got/n, up/all)
	}
	// The first point's mean: its route's, and the start's deviation times the correlation.
	mx, _ := r.mean(0, 1)
	if want := mx + r.kernel.At(0, 1)/r.kernel.At(0, 0)*(-1-(-1)); math.Abs(first-want) > 0.01 {
		t.Errorf("the first x is %.3f in the mean, want %.3f", first, want)
	}
}

// With all of the past in view and one route, the guess is the conditional mean of the whole walk.
func TestAGuessOfOneRouteIsItsMean(t *testing.T) {
	r, err := NewRoutes(10)
	if err != nil {
		t.Fatal(err)
	}
	r.bends, r.weights = []float64{1.2}, []float64{1}
	guess, err := r.Guess(-1.1, 0.2, 9)
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.From(-1.1, 0.2)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range m.Components[0].Mean {
		if math.Abs(guess[i]-want) > 1e-9 {
			t.Errorf("number %d is %.6f, want %.6f", i, guess[i], want)
		}
	}
}

func TestHits(t *testing.T) {
	for _, c := range []struct {
		walk []float64
		want bool
	}{
		{[]float64{-1, 1, 0, 0}, true}, // straight through, both ends outside
		{[]float64{-1, 1, 0.5, 0.5}, false},
		{[]float64{0.1, 0.1, 0.1, 0.1}, true},
	} {
		if got := Hits(c.walk); got != c.want {
			t.Errorf("%v: %v", c.walk, got)
		}
	}
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, change := range []func(*Setting){
		func(s *Setting) { s.Horizon = 3 }, func(s *Setting) { s.Horizon = 65 }, func(s *Setting) { s.Starts = 0 },
		func(s *Setting) { s.Memory = 0 }, func(s *Setting) { s.Memory = 16 }, func(s *Setting) { s.Few = 0 },
		func(s *Setting) { s.Many = 5000 }, func(s *Setting) { s.Level = 0 }, func(s *Setting) { s.Level = 1.5 },
		func(s *Setting) { s.Level = math.NaN() }, func(s *Setting) { s.Level = analytic.DataTime },
	} {
		s := Usual
		change(&s)
		if _, err := Compare(t.Context(), s); err == nil {
			t.Errorf("%+v is compared", s)
		}
	}
}
