package plan

import (
	"context"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"orrery/report"
	"orrery/sim"
)

// Student's t by the table: 2.776 for four degrees of freedom.
func TestIntervalOfFiveValues(t *testing.T) {
	in := NewInterval([]float64{5, 1, 4, 2, 3, math.NaN()})
	half := 2.7764451 * math.Sqrt(2.5) / math.Sqrt(5)
	if in.N != 5 || in.Mean != 3 || in.Median != 3 || in.Min != 1 || in.Max != 5 {
		t.Errorf("%+v", in)
	}
	if math.Abs(float64(in.Low)-(3-half)) > 1e-6 || math.Abs(float64(in.High)-(3+half)) > 1e-6 {
		t.Errorf("interval %v to %v, want 3 +- %v", in.Low, in.High, half)
	}
	if one := NewInterval([]float64{7}); one.Mean != 7 || one.Low.Exists() || one.High.Exists() {
		t.Errorf("one replication has the interval %+v, want none", one)
	}
	if none := NewInterval(nil); none.Mean.Exists() || none.Median.Exists() {
		t.Errorf("no replications give %+v", none)
	}
}

// The interval of five replications encloses the truth 95 times in a hundred.
func TestIntervalCoversTheTruthAsOftenAsItSays(t *testing.T) {
	r := sim.Stream(1, "coverage")
	const trials = 20_000
	hits := 0
	for range trials {
		v := make([]float64, 5)
		for i := range v {
			v[i] = 10 + r.NormFloat64()
		}
		if in := NewInterval(v); in.Low <= 10 && 10 <= in.High {
			hits++
		}
	}
	// The standard error of the share is 0.15 %.
	if got := float64(hits) / trials; math.Abs(got-0.95) > 0.006 {
		t.Errorf("covered %.2f %% of %d trials, want 95 %%", 100*got, trials)
	}
}

// luck is what a seed does to every variant alike, and is much larger than the
// difference between variants.
func luck(seed uint64) float64 { return 10 * sim.Stream(seed, "luck").Float64() }

func lucky(shift float64) func(context.Context, uint64) (Observation, error) {
	return func(_ context.Context, seed uint64) (Observation, error) {
		o := Observe(&report.Result{})
		o.Values[0] = luck(seed) + shift + 0.01*sim.Stream(seed+uint64(100*shift), "own").NormFloat64()
		return o, nil
	}
}

func TestPairingTakesAwayWhatSeedsShare(t *testing.T) {
	c, err := Compare(t.Context(), []Variant{{"a", lucky(0)}, {"b", lucky(0.5)}, {"same", lucky(0)}}, Replication{Seeds: seeds(8)})
	if err != nil {
		t.Fatal(err)
	}
	a, b, same := c.Rows[0].Cells[0], c.Rows[0].Cells[1], c.Rows[0].Cells[2]
	if width := a.High - a.Low; width < 1 {
		t.Errorf("the means are known to %v, so the test proves nothing", width)
	}
	if d := b.Change; d.Low > 0.5 || d.High < 0.5 || d.High-d.Low > 0.05 {
		t.Errorf("difference %v to %v, want 0.5 known to 0.05", d.Low, d.High)
	}
	if d := same.Change; d.Mean != 0 || d.Low != 0 || d.High != 0 {
		t.Errorf("a variant differs from itself by %+v", d)
	}
	if a.Change != nil {
		t.Error("the first variant has a difference from itself")
	}
	wide, err := Compare(t.Context(), []Variant{{"a", lucky(0)}, {"b", lucky(1)}, {"c", lucky(2)}, {"d", lucky(3)}}, Replication{Seeds: seeds(3)})
	if err != nil {
		t.Fatal(err)
	}
	if heads := strings.Count(wide.Text(), "TTFT p50"); heads != 2 {
		t.Errorf("four variants stand in %d tables, want 2:\n%s", heads, wide.Text())
	}
	text := c.Text()
	if !strings.Contains(text, "TTFT p50") || strings.Count(text, "*") != 1 {
		t.Errorf("want one row with one significant change:\n%s", text)
	}
}

// Ratios of 1/2 and 2 cancel out; a figure of zero has none.
func TestRatiosAreGeometric(t *testing.T) {
	in, ok := ratios([]float64{1, 4, 3}, []float64{2, 2, 3})
	if !ok || math.Abs(float64(in.Mean)-1) > 1e-12 || math.Abs(float64(in.Low*in.High)-1) > 1e-12 || in.Min != 0.5 || in.Max != 2 {
		t.Errorf("%+v, %v; want a mean of 1 in an interval that is symmetric in logarithms", in, ok)
	}
	for _, bad := range [][]float64{{0, 1}, {-1, 1}, {math.NaN(), 1}} {
		if in, ok := ratios(bad, []float64{1, 1}); ok {
			t.Errorf("ratios to %v: %+v", bad, in)
		}
	}
}

// A replayed trace has no chance in it, and intervals over its seeds would claim a
// certainty that nobody has.
func TestSeedsThatChangeNothingAreNoticed(t *testing.T) {
	for _, chance := range []float64{0, 1} {
		p := func(_ context.Context, rate float64, seed uint64) (Observation, error) {
			o := Observe(&report.Result{})
			o.Values[0] = rate + chance*luck(seed)
			o.Met = rate < 3
			return o, nil
		}
		run := func(ctx context.Context, seed uint64) (Observation, error) { return p(ctx, 1, seed) }
		c, err := Compare(t.Context(), []Variant{{"a", run}, {"b", run}}, Replication{Seeds: seeds(3)})
		if err != nil {
			t.Fatal(err)
		}
		found, err := FindCapacity(t.Context(), p, Search{Seeds: seeds(3)})
		if err != nil {
			t.Fatal(err)
		}
		want := chance == 0
		if c.SeedsAlike != want || found.SeedsAlike != want || strings.Contains(c.Text(), seedsAlike) != want || strings.Contains(found.Text(), seedsAlike) != want {
			t.Errorf("chance %g: comparison %v, capacity %v", chance, c.SeedsAlike, found.SeedsAlike)
		}
	}
}

func TestCancelledComparisonKeepsWholeSeeds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var runs atomic.Int64
	run := func(context.Context, uint64) (Observation, error) {
		if runs.Add(1) == 6 {
			cancel()
		}
		return Observation{Met: true}, nil
	}
	c, err := Compare(ctx, []Variant{{"a", run}, {"b", run}}, Replication{Seeds: seeds(8), Workers: NewWorkers(1)})
	if err != nil {
		t.Fatal(err)
	}
	if !c.Partial || len(c.Seeds) == 0 || len(c.Seeds) > 2 || c.Met[0] != len(c.Seeds) || c.Met[1] != len(c.Seeds) {
		t.Errorf("partial %v, seeds %v, met %v; want one or two whole seeds", c.Partial, c.Seeds, c.Met)
	}
}

func TestCurveFollowsTheRates(t *testing.T) {
	p := func(_ context.Context, rate float64, seed uint64) (Observation, error) {
		o := Observe(&report.Result{})
		o.Values[0] = rate * float64(seed)
		o.Met = rate < 3
		return o, nil
	}
	points, partial, err := Curve(t.Context(), p, Rates(1, 8, 4), Replication{Seeds: []uint64{1, 3}})
	if err != nil || partial {
		t.Fatal(err, partial)
	}
	rates, mean, low, high := Line(points, Metrics()[0].Key)
	for i, want := range []float64{1, 2, 4, 8} {
		if math.Abs(rates[i]-want) > 1e-9 || math.Abs(mean[i]-2*want) > 1e-9 || !(low[i] < mean[i] && mean[i] < high[i]) {
			t.Errorf("point %d: rate %g, mean %g in %g to %g", i, rates[i], mean[i], low[i], high[i])
		}
		if (points[i].Met == 2) != (want < 3) || points[i].N != 2 {
			t.Errorf("point %d: met with %d of %d seeds", i, points[i].Met, points[i].N)
		}
	}
	for _, bad := range [][]float64{nil, {0}, {-1}, {math.Inf(1)}, {math.NaN()}} {
		if _, _, err := Curve(t.Context(), p, bad, Replication{Seeds: seeds(1)}); err == nil {
			t.Errorf("rates %v are accepted", bad)
		}
	}
}

func TestFiguresAreWrittenWithTheirUnits(t *testing.T) {
	for _, c := range []struct {
		u    Unit
		v    float64
		want string
	}{
		{Seconds, 0.01234, "12.3 ms"}, {Seconds, 1234.5, "1234 s"}, {Seconds, 0, "0 s"}, {Seconds, 45e-6, "45.0 us"}, {Seconds, 9.996, "10.0 s"},
		{PerSecond, 2.034, "2.03/s"}, {Share, 0.4567, "45.7 %"}, {Count, 12, "12"}, {Count, 1.5, "1.50"}, {Count, math.NaN(), "-"},
	} {
		if got := c.u.Text(c.v); got != c.want {
			t.Errorf("%v: %q, want %q", c.v, got, c.want)
		}
	}
}
