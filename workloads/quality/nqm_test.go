package quality

import (
	"math"
	"slices"
	"testing"

	"orrery/policies/lrsched"
)

func schedule(t testing.TB, name string) Schedule {
	t.Helper()
	p, err := lrsched.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return lrsched.Of(p)
}

var compared = []string{"constant", "exponential", "step-50-75", "step-30-60-90", "cosine", "onecycle", "rex", "rex-0.9"}

// Final losses of tuned schedules over that of linear decay at batch 16, from an
// independent program, at 1, 5, 10, 25, 50 and 100 % of 2,000 steps.
func TestSchedulesAtSixBudgets(t *testing.T) {
	want := map[int][]float64{ // linear's loss first
		20:   {1.36894, .986, 1.136, 1.082, 1.218, 1.004, 1.024, .943, .877},
		100:  {.66253, 1.034, 1.261, 1.034, 1.297, 1.007, 1.022, .898, .787},
		200:  {.40250, 1.136, 1.366, 1.051, 1.417, 1.010, 1.031, .869, .748},
		500:  {.15478, 1.582, 1.582, 1.142, 1.705, 1.016, 1.069, .848, .817},
		1000: {.06091, 2.413, 1.633, 1.354, 1.932, 1.017, 1.150, .954, 1.173},
		2000: {.02859, 3.026, 1.204, 1.529, 1.697, .990, 1.223, 1.095, 1.400},
	}
	q, grid := Standard(1000, 80), Grid()
	for steps, row := range want {
		linear := q.Tune(schedule(t, "linear"), steps, Constant(16), grid).Loss
		if math.Abs(linear/row[0]-1) > 0.005 {
			t.Errorf("%d steps: linear ends at %.5f, want %.5f", steps, linear, row[0])
		}
		best, who := 1.0, "linear"
		for i, name := range compared {
			ratio := q.Tune(schedule(t, name), steps, Constant(16), grid).Loss / linear
			if math.Abs(ratio/row[i+1]-1) > 0.005 {
				t.Errorf("%d steps: %s ends at %.4f times linear, want %.3f", steps, name, ratio, row[i+1])
			}
			if name == "rex" && steps == 2000 && ratio > 1.12*row[5] {
				t.Errorf("with the whole budget REX is %.3f of linear, want within 12 %% of cosine", ratio)
			}
			if ratio < best && name != "rex-0.9" {
				best, who = ratio, name
			}
		}
		if steps < 2000 && who != "rex" || steps == 2000 && who != "cosine" {
			t.Errorf("%d steps: %s is best", steps, who)
		}
	}
}

// With noise that no batch averages out, REX does not win: ratios at batch 1.
func TestREXLosesWhereNoiseRules(t *testing.T) {
	q, grid := Standard(1000, 80), Grid()
	for i, want := range []float64{.998, 1.002, 1.005, 1.013, 1.023, 1.036} {
		steps := []int{20, 100, 200, 500, 1000, 2000}[i]
		linear := q.Tune(schedule(t, "linear"), steps, Constant(1), grid).Loss
		if got := q.Tune(schedule(t, "rex"), steps, Constant(1), grid).Loss / linear; math.Abs(got/want-1) > 0.005 {
			t.Errorf("%d steps at batch 1: REX ends at %.4f times linear, want %.3f", steps, got, want)
		}
	}
}

// The shortest runs that reach a loss, each schedule tuned for its own length.
func TestStepsToALoss(t *testing.T) {
	names := []string{"constant", "exponential", "step-50-75", "step-30-60-90", "cosine", "onecycle", "linear", "rex"}
	q, grid := Standard(1000, 80), Grid()
	for target, row := range map[float64][]int{
		.4025: {245, 300, 213, 317, 203, 208, 201, 170},
		.1548: {932, 731, 563, 804, 507, 529, 500, 437},
		.0609: {3146, 1374, 1375, 1661, 1013, 1127, 1001, 956},
		.0286: {8102, 2304, 3203, 3312, 1978, 2506, 1999, 2216},
	} {
		for i, name := range names {
			if testing.Short() && row[i] > 1500 {
				continue
			}
			got, ok := q.StepsToTarget(schedule(t, name), target, 16, grid, 1<<14)
			if !ok || got < row[i]-1 || got > row[i]+1 {
				t.Errorf("%s reaches %g in %d steps, want %d", name, target, got, row[i])
			}
		}
	}
	if _, ok := q.StepsToTarget(schedule(t, "linear"), 1e-9, 16, grid, 100); ok {
		t.Error("a hundred steps reach anything")
	}
}

// Descent from anywhere finds what trying the whole grid does, for every schedule.
func TestDescentFindsTheBestRate(t *testing.T) {
	q, grid := Standard(1000, 80), Grid()
	for _, name := range append([]string{"linear"}, compared...) {
		for _, steps := range []int{1, 7, 60, 400} {
			for _, batch := range []float64{1, 16, 256} {
				loss := q.peaks(schedule(t, name), steps, Constant(batch), grid)
				all := make([]float64, len(grid))
				for i := range all {
					all[i] = loss(i)
				}
				want := slices.Min(all)
				got := q.Tune(schedule(t, name), steps, Constant(batch), grid)
				if got.Loss != want || grid[slices.Index(all, want)] != got.Peak {
					t.Errorf("%s, %d steps, batch %g: tuned to %g at %g, the lowest is %g", name, steps, batch, got.Loss, got.Peak, want)
				}
				for _, from := range []int{0, len(grid) / 2, len(grid) - 1} {
					if got, _ := descend(loss, len(grid), from); got != want {
						t.Errorf("%s, %d steps, batch %g, from %d: %g, the lowest is %g", name, steps, batch, from, got, want)
					}
				}
			}
		}
	}
}

// 32,000 samples spent as batch and steps: flat up to 16, then the steps are too few.
func TestCriticalBatch(t *testing.T) {
	q, grid := Standard(1000, 80), Grid()
	for name, row := range map[string][]float64{
		"linear": {.02857, .02858, .02859, .04263, .12059, .28479},
		"rex":    {.03128, .03129, .03131, .03562, .08945, .22781},
	} {
		for i, want := range row {
			batch := 4 << i
			if testing.Short() && batch < 16 {
				continue
			}
			if got := q.Tune(schedule(t, name), 32000/batch, Constant(float64(batch)), grid).Loss; math.Abs(got/want-1) > 0.005 {
				t.Errorf("%s at batch %d ends at %.5f, want %.5f", name, batch, got, want)
			}
		}
	}
}

// Reading a schedule at few points helps the ones that fall too fast while the budget is
// small, and hurts all when it is large.
func TestSamplingRates(t *testing.T) {
	q, grid := Standard(1000, 80), Grid()
	points := []int{100, 20, 10, 4, 3, 2}
	for _, c := range []struct {
		name  string
		steps int
		want  []float64
	}{
		{"linear", 100, []float64{1.00, .98, .96, .91, .89, .89}},
		{"linear", 2000, []float64{1.00, 1.07, 1.21, 1.67, 1.89, 2.27}},
		{"rex", 100, []float64{1.00, .98, .97, .97, .98, 1.03}},
		{"rex", 2000, []float64{1.00, 1.12, 1.32, 1.84, 2.05, 2.35}},
		{"exponential", 500, []float64{.99, .93, .87, .73, .67, .63}},
	} {
		p, err := lrsched.Load(c.name)
		if err != nil {
			t.Fatal(err)
		}
		all := q.Tune(lrsched.Of(p), c.steps, Constant(16), grid).Loss
		for i, k := range points {
			if got := q.Tune(lrsched.Of(lrsched.Sampled(k, p)), c.steps, Constant(16), grid).Loss / all; math.Abs(got-c.want[i]) > 0.0051 {
				t.Errorf("%s read at %d points over %d steps ends at %.4f of every step, want %.2f", c.name, k, c.steps, got, c.want[i])
			}
		}
	}
}

// Second moments against runs that are really drawn, with and without momentum.
func TestMomentsAgreeWithSampledRuns(t *testing.T) {
	for _, momentum := range []float64{0, 0.9} {
		q := &NQM{H: []float64{1, 0.2, 0.05}, Mult: []float64{1, 2, 1}, Start: 1, Noise: 1, Scale: 1, Momentum: momentum}
		r := Run{Steps: 40, LR: func(int) float64 { return 0.05 }, Batch: Constant(4)}
		got, mean, square := q.Loss(r), 0.0, 0.0
		const runs = 20000
		draws := normals(11)
		for range runs {
			l := 0.0
			for i, h := range q.H {
				for range int(q.Mult[i]) {
					x, v := draws(), 0.0
					for range r.Steps {
						v = momentum*v + h*x + draws()*math.Sqrt(h/4)
						x -= 0.05 * v
					}
					l += h * x * x / 2
				}
			}
			mean += l / runs
			square += l * l / runs
		}
		if e := math.Sqrt((square - mean*mean) / runs); math.Abs(got-mean) > 4*e {
			t.Errorf("momentum %g: the model expects %.5f, %d runs give %.5f +- %.5f", momentum, got, runs, mean, e)
		}
	}
}

// refineCases are profiles of the noise's standard deviation, and the losses of cosine, REX, the refined
// schedule and one refined again over that of linear decay, 2,000 steps.
var refineCases = []struct {
	name       string
	x, y       []float64
	batch      float64
	cosine     float64
	rex        float64
	first      float64
	second     float64
	helps      bool
	peakAt     float64
	peakWithin float64
}{
	{"flat", []float64{0, 1}, []float64{1, 1}, 1, 1.037, 1.036, 1.006, 1.006, false, 0, 0.01},
	{"early spike", knots, []float64{15, 6, 4, 2, 1, 1}, 1, 1.033, .950, .800, .799, true, .10, .01},
	{"early spike, rising end", knots, []float64{15, 6, 4, 2, 1, 2}, 1, .973, 1.014, .799, .801, true, .10, .01},
	{"early spike, falling end", knots, []float64{15, 6, 4, 2, 1, .7}, 1, 1.081, .951, .825, .810, true, .35, .01},
	{"early fall", []float64{0, .1, .3, 1}, []float64{10, 6, 1, 1}, 1, 1.098, .869, .481, .471, true, .31, .01},
	{"late rise", []float64{0, .5, 1}, []float64{1, 1, 4}, 1, .809, 1.129, .581, .583, true, 0, .02},
	// Norms fall because the run converges, not because the noise does: refinement misreads them.
	{"early spike, batch 16", knots, []float64{15, 6, 4, 2, 1, 1}, 16, .985, 1.080, 1.142, 1.064, false, .30, .01},
}

var knots = []float64{0, .003, .02, .03, .1, 1}

// profile interpolates between knots.
func profile(x, y []float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		z, k := float64(i)/float64(n-1), 0
		for k < len(x)-2 && z > x[k+1] {
			k++
		}
		f := (z - x[k]) / (x[k+1] - x[k])
		out[i] = y[k] + f*(y[k+1]-y[k])
	}
	return out
}

func TestRefinedScheduleWhereNoiseChanges(t *testing.T) {
	q, grid := Standard(1000, 80), Grid()
	const steps = 2000
	for _, c := range refineCases {
		noise := profile(c.x, c.y, steps)
		batch := func(t int) float64 { return c.batch / (noise[t] * noise[t]) }
		linear := q.Tune(schedule(t, "linear"), steps, batch, grid)
		ratio := func(s Schedule) (float64, float64) {
			x := q.Tune(s, steps, batch, grid)
			return x.Loss / linear.Loss, x.Peak
		}
		refine := func(s Schedule, peak float64) *lrsched.Refined {
			norms := q.Norms(Run{Steps: steps, LR: func(t int) float64 { return peak * s.LR(t, steps) }, Batch: batch})
			r, err := lrsched.Refine(norms, 0.1, lrsched.L2)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			return r
		}
		once := refine(schedule(t, "linear"), linear.Peak)
		first, peak := ratio(once)
		second, _ := ratio(refine(once, peak))
		cosine, _ := ratio(schedule(t, "cosine"))
		rex, _ := ratio(schedule(t, "rex"))
		for _, x := range []struct {
			what      string
			got, want float64
		}{{"cosine", cosine, c.cosine}, {"REX", rex, c.rex}, {"refined", first, c.first}, {"refined again", second, c.second}} {
			if math.Abs(x.got-x.want) > 0.01 {
				t.Errorf("%s: %s ends at %.3f times linear, want %.3f", c.name, x.what, x.got, x.want)
			}
		}
		if c.helps != (first < 0.99) {
			t.Errorf("%s: the refined schedule ends at %.3f times linear", c.name, first)
		}
		if math.Abs(once.WarmUp-c.peakAt) > c.peakWithin {
			t.Errorf("%s: the refined schedule peaks at %.3f of the run, want %.2f", c.name, once.WarmUp, c.peakAt)
		}
	}
}

// The whole set of tables: six budgets, nine schedules.
func BenchmarkTables(b *testing.B) {
	q, grid := Standard(1000, 70), Grid()
	for b.Loop() {
		for _, steps := range []int{20, 100, 200, 500, 1000, 2000} {
			for _, name := range append([]string{"linear"}, compared...) {
				q.Tune(schedule(b, name), steps, Constant(16), grid)
			}
		}
	}
}
