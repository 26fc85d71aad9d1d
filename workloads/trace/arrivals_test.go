package trace

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"orrery/sim"
)

// gaps returns the first n gaps of a process in seconds.
func gaps(t testing.TB, a Arrivals, seed uint64, n int) []float64 {
	t.Helper()
	next, err := a.Times(seed)
	if err != nil {
		t.Fatal(err)
	}
	out, last := make([]float64, n), sim.Time(0)
	for i := range out {
		at, ok := next()
		if !ok || at < last {
			t.Fatalf("arrival %d is at %v (%v), after one at %v", i, at, ok, last)
		}
		out[i] = at.Sub(last).Seconds()
		last = at
	}
	return out
}

// estimate returns the mean of a statistic over 100 batches of x and its
// standard error, taken from the scatter of the batches: no assumption about the
// distribution is needed.
func estimate(x []float64, statistic func([]float64) float64) (mean, stdErr float64) {
	const batches = 100
	var values []float64
	for b := range slices.Chunk(x, len(x)/batches) {
		values = append(values, statistic(b))
	}
	mean, std := stat.MeanStdDev(values, nil)
	return mean, std / math.Sqrt(float64(len(values)))
}

// within fails unless the statistic of x is want, give or take 4.5 standard
// errors (a chance of 1 in 100,000 for a right program, but the seed is fixed),
// and unless the standard error is small enough for that to mean something.
func within(t *testing.T, what string, x []float64, statistic func([]float64) float64, want float64) {
	t.Helper()
	got, stdErr := estimate(x, statistic)
	if stdErr > 0.02*want {
		t.Fatalf("%s: standard error %.3g is too large to test for %.3g", what, stdErr, want)
	}
	if slack := 4.5*stdErr + 1e-6*want; math.Abs(got-want) > slack {
		t.Errorf("%s is %.5g, want %.5g +- %.2g", what, got, want, slack)
	}
}

func mean(x []float64) float64 { return stat.Mean(x, nil) }
func cv(x []float64) float64   { m, s := stat.MeanStdDev(x, nil); return s / m }

func TestGapsHaveTheirMomentsAndDistribution(t *testing.T) {
	const seed, n = 7, 400_000
	clippedMean := 1 - math.Exp(-3)
	clippedSquare := 2 * (1 - 4*math.Exp(-3)) // E[min(X,3)^2] of a unit exponential
	for _, c := range []struct {
		of       Arrivals
		mean, cv float64
		cdf      func(gap float64) float64 // nil where there is nothing to compare
	}{
		{Poisson{5}, 0.2, 1, distuv.Exponential{Rate: 5}.CDF},
		{Gamma{5, 0.5}, 0.2, 0.5, distuv.Gamma{Alpha: 4, Beta: 20}.CDF},
		{Gamma{5, 1}, 0.2, 1, distuv.Exponential{Rate: 5}.CDF},
		{Gamma{5, 4}, 0.2, 4, distuv.Gamma{Alpha: 1. / 16, Beta: 5. / 16}.CDF},
		{Weibull{5, 2}, 0.2, math.Sqrt(4/math.Pi - 1), distuv.Weibull{K: 2, Lambda: 0.2 / math.Gamma(1.5)}.CDF},
		{Weibull{5, 0.5}, 0.2, math.Sqrt(5), distuv.Weibull{K: 0.5, Lambda: 0.1}.CDF},
		{ClippedExponential{5}, 0.2 * clippedMean, math.Sqrt(clippedSquare/(clippedMean*clippedMean) - 1), func(x float64) float64 {
			if x >= 0.6-1e-9 {
				return 1
			}
			return distuv.Exponential{Rate: 5}.CDF(x)
		}},
		{Constant{5}, 0.2, 0, nil},
	} {
		t.Run(fmt.Sprintf("%T%v", c.of, c.of), func(t *testing.T) {
			t.Logf("seed %d", seed)
			x := gaps(t, c.of, seed, n)
			if c.cv == 0 {
				for i, gap := range x {
					if math.Abs(gap-c.mean) > 1e-9 {
						t.Fatalf("gap %d is %v, want %v", i, gap, c.mean)
					}
				}
				return
			}
			within(t, "mean gap", x, mean, c.mean)
			within(t, "CV of the gaps", x, cv, c.cv)
			slices.Sort(x)
			// Kolmogorov's statistic exceeds 2.3/sqrt(n) with a probability of 5e-5. Times
			// are whole nanoseconds, so tiny gaps are compared as such.
			worst := 0.0
			for i, gap := range x {
				if gap < 1e-8 {
					continue
				}
				p := c.cdf(gap)
				if gap >= 0.6-1e-8 && c.cdf(0.6) == 1 { // the clipped gaps are an atom
					continue
				}
				worst = max(worst, math.Abs(p-float64(i)/n), math.Abs(p-float64(i+1)/n))
			}
			if most := 2.3 / math.Sqrt(n); worst > most {
				t.Errorf("the distribution of the gaps is off by %.5f, want at most %.5f", worst, most)
			}
		})
	}
}

// The artefact of Sarathi-Serve offers 5.2 % more than its nominal rate, with a
// CV of 0.880.
func TestClippedExponentialOffersMoreThanNominal(t *testing.T) {
	x := gaps(t, ClippedExponential{Rate: 2}, 3, 400_000)
	rate := 1 / mean(x) / 2
	if math.Abs(rate-1.052) > 0.007 { // 4.5 standard errors of 0.88/sqrt(400,000)
		t.Errorf("seed 3: offered rate is %.4f of the nominal, want 1.052", rate)
	}
	if c := cv(x); math.Abs(c-0.880) > 0.005 {
		t.Errorf("seed 3: CV is %.4f, want 0.880", c)
	}
	if top := slices.Max(x); math.Abs(top-1.5) > 2e-9 {
		t.Errorf("seed 3: longest gap is %v s, want 3/Rate = 1.5 s", top)
	}
}

// atRate returns every arrival process at the given rate.
func atRate(rate float64) []Arrivals {
	return []Arrivals{Poisson{rate}, Gamma{rate, 2.5}, Gamma{rate, 0.3}, Weibull{rate, 0.7}, ClippedExponential{rate}, Constant{rate}}
}

func TestRatesShareTheirRandomness(t *testing.T) {
	const seed = 11
	for i, slow := range atRate(2) {
		fast := atRate(6)[i]
		a, _ := slow.Times(seed)
		b, _ := fast.Times(seed)
		for k := range 1000 {
			s, _ := a()
			f, _ := b()
			if d := s - 3*f; d < -2 || d > 2 { // each is rounded to the nanosecond, one of them tripled
				t.Fatalf("%T, seed %d: arrival %d is at %v at 2/s and at %v at 6/s; want a third", slow, seed, k, s, f)
			}
		}
	}
}

func TestArrivalsDoNotDependOnLengths(t *testing.T) {
	a := open(t, Synthetic{Arrivals: Gamma{3, 2}, Lengths: Table{"chat"}, Seed: 5})
	b := open(t, Synthetic{Arrivals: Gamma{3, 2}, Lengths: normal512, Shared: SharedPrefix{Groups: 3, Tokens: 99}, Seed: 5})
	for range 1000 {
		if x, y := a.Next().Arrived, b.Next().Arrived; x != y {
			t.Fatalf("seed 5: arrivals at %v and %v; want the same whatever the lengths", x, y)
		}
	}
}

func TestPiecewiseFollowsItsRates(t *testing.T) {
	const seed, cycles = 13, 4000
	p := Piecewise{Segments: []Segment{{10, 2}, {5, 0}, {10, 8}}, Cycle: true}
	next, err := p.Times(seed)
	if err != nil {
		t.Fatal(err)
	}
	var counts [3]float64
	for {
		at, _ := next()
		if at >= sim.Seconds(25*cycles) {
			break
		}
		switch s := math.Mod(at.Seconds(), 25); {
		case s < 10:
			counts[0]++
		case s < 15:
			counts[1]++
		default:
			counts[2]++
		}
	}
	for i, want := range []float64{20 * cycles, 0, 80 * cycles} {
		if math.Abs(counts[i]-want) > 4.5*math.Sqrt(want) { // a Poisson count varies by its root
			t.Errorf("seed %d: segment %d saw %v requests, want %v +- %.0f", seed, i, counts[i], want, 4.5*math.Sqrt(want))
		}
	}
}

func TestPiecewiseWithConstantBaseIsExact(t *testing.T) {
	p := Piecewise{Segments: []Segment{{2, 1}, {1, 0}, {1, 4}}, Base: Constant{1}}
	next, err := p.Times(1)
	if err != nil {
		t.Fatal(err)
	}
	// Requests 1 and 2 are expected by 1 and 2 s, the second just as the pause
	// begins, so it comes when the pause has ended; then four a second.
	for i, want := range []float64{1, 3, 3.25, 3.5, 3.75} {
		at, ok := next()
		if !ok || at != sim.Seconds(want) {
			t.Errorf("arrival %d at %v (%v), want %v s", i, at, ok, want)
		}
	}
	if at, ok := next(); ok {
		t.Errorf("another arrival at %v, want none after the last segment", at)
	}
	if _, ok := next(); ok {
		t.Error("the process began again after its end")
	}
}

// A low rate lets many cycles pass between two requests; that must not take
// time in proportion.
func TestPiecewiseSkipsCycles(t *testing.T) {
	next, err := Piecewise{Segments: []Segment{{1, 0}, {1, 1e-8}}, Cycle: true, Base: Constant{1}}.Times(1)
	if err != nil {
		t.Fatal(err)
	}
	at, ok := next()
	if want := 2e8; !ok || math.Abs(at.Seconds()-want) > 2 {
		t.Errorf("first arrival at %v (%v), want about %v s", at, ok, want)
	}
}
