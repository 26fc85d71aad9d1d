package quality

import (
	"math"
	"os"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"orrery/policies/lrsched"
)

var raced = []string{"constant", "exponential", "step-50-75", "step-30-60-90", "cosine", "onecycle", "linear", "rex"}

func suite(t testing.TB, optimiser Optimiser, grid []float64, budgets []int, tables ...string) *Suite {
	t.Helper()
	s := &Suite{Optimiser: optimiser, Grid: grid, Budgets: budgets, Hidden: 32, Batch: 32, TrainShare: 0.7, Runs: 3, Seed: 1}
	for _, name := range raced {
		s.Schedules = append(s.Schedules, Contender{name, schedule(t, name)})
	}
	for _, name := range tables {
		d, err := Table(name)
		if err != nil {
			t.Fatal(err)
		}
		s.Tables = append(s.Tables, d)
	}
	return s
}

var (
	sgdRates  = []float64{.03, .1, .3, .9}
	adamRates = []float64{1e-3, 3e-3, 1e-2, 3e-2}
)

// long skips what takes minutes; docs/learning-curves.md has its figures.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("ORRERY_LEARNING") == "" {
		t.Skip("takes minutes; ORRERY_LEARNING=1 runs it")
	}
}

func report(t *testing.T, c *Comparison) {
	t.Helper()
	t.Logf("%v", c.Schedules)
	for b, steps := range c.Budgets {
		ratio, wins := c.Duel(b, "rex", "linear")
		t.Logf("%4d steps: %.2f; rex/linear %.3f, %d wins", steps, c.Ranks(b), ratio, wins)
	}
	t.Logf("all: %.2f", c.MeanRanks())
}

// places returns the mean ranks of the best schedule but rex, of rex and of linear, and which
// schedule is last.
func places(c *Comparison) (next, rex, linear float64, worst string) {
	ranks := c.MeanRanks()
	next = math.Inf(1)
	for i, name := range c.Schedules {
		if name != "rex" {
			next = min(next, ranks[i])
		}
	}
	at := func(name string) float64 { return ranks[slices.Index(c.Schedules, name)] }
	return next, at("rex"), at("linear"), c.Schedules[slices.Index(ranks, slices.Max(ranks))]
}

// On eight tables at six budgets REX ends with the lowest loss on what was trained on. Nothing
// is said of an order in errors on other samples, which lie within their noise.
func TestSchedulesOnRealTables(t *testing.T) {
	long(t)
	for name, s := range map[string]struct {
		optimiser Optimiser
		grid      []float64
	}{"SGD": {SGD(0.9), sgdRates}, "Adam": {Adam(), adamRates}} {
		c, err := suite(t, s.optimiser, s.grid, []int{10, 50, 100, 250, 500, 1000}, "digits", "vehicle", "vowel", "satellite", "letter", "dna", "ionosphere", "glass").Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Log(name)
		report(t, c)
		next, rex, linear, worst := places(c)
		if rex >= next || linear-rex < 0.4 || worst != "step-30-60-90" {
			t.Errorf("%s: rex %.2f, linear %.2f, the best other %.2f, last %s; want rex first, 0.4 before linear, step-30-60-90 last", name, rex, linear, next, worst)
		}
		if d := testError(c, "rex") - testError(c, "linear"); math.Abs(d) > 0.01 {
			t.Errorf("%s: errors on other samples differ by %.2f points; want less than 1", name, 100*d)
		}
	}
}

// testError returns a schedule's mean over everything.
func testError(c *Comparison, name string) float64 {
	sum := 0.0
	for t := range c.Tables {
		for b := range c.Budgets {
			sum += c.Cell(t, b, slices.Index(c.Schedules, name)).Error
		}
	}
	return sum / float64(len(c.Tables)*len(c.Budgets))
}

// A part of it in seconds: the order holds on three small tables.
func TestSchedulesOnSmallTables(t *testing.T) {
	c, err := suite(t, SGD(0.9), sgdRates, []int{50, 200}, "vowel", "vehicle", "glass").Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	report(t, c)
	_, rex, linear, worst := places(c)
	if linear-rex < 0.4 || worst != "step-30-60-90" {
		t.Errorf("rex %.2f, linear %.2f, last %s; want rex 0.4 before linear, step-30-60-90 last", rex, linear, worst)
	}
	if d := testError(c, "rex") - testError(c, "linear"); math.Abs(d) > 0.03 {
		t.Errorf("errors on other samples differ by %.2f points; want less than 3, about two standard errors", 100*d)
	}
}

func TestSuiteIsTheSameOnAnyNumberOfCores(t *testing.T) {
	s := suite(t, Adam(), adamRates[:2], []int{5, 20}, "iris", "wine")
	many, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	one, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(one, many) {
		t.Error("one core gives another comparison than several")
	}
}

// Ranks are as one counts them by hand, and equals share theirs.
func TestRanks(t *testing.T) {
	c := &Comparison{Tables: []string{"a", "b"}, Schedules: []string{"x", "y", "z"}, Budgets: []int{1},
		cells: []Cell{{Loss: 1}, {Loss: 2}, {Loss: 2}, {Loss: 4}, {Loss: 1}, {Loss: 3}}}
	if got, want := c.Ranks(0), []float64{2, 1.75, 2.25}; !reflect.DeepEqual(got, want) {
		t.Errorf("ranks %v; want %v", got, want)
	}
	if ratio, wins := c.Duel(0, "x", "y"); math.Abs(ratio-math.Sqrt2) > 1e-12 || wins != 1 {
		t.Errorf("x over y is %g with %d wins; want the root of 1/2 times 4, and 1", ratio, wins)
	}
}

func TestSuiteRefusesNonsense(t *testing.T) {
	s := suite(t, Adam(), adamRates, []int{5}, "iris")
	s.Tables[0] = s.Tables[0].Subset([]int{0})
	if _, err := s.Run(t.Context()); err == nil {
		t.Error("one sample is split")
	}
	s = suite(t, SGD(0), []float64{1e300}, []int{5}, "iris")
	if _, err := s.Run(t.Context()); err == nil {
		t.Error("a suite that diverges at every rate has an answer")
	}
	s = suite(t, SGD(0), sgdRates, []int{5}, "iris")
	s.Schedules[0].Schedule = &lrsched.Plateau{Factor: 0.5}
	if _, err := s.Run(t.Context()); err == nil {
		t.Error("runs share a schedule that watches one of them")
	}
	s = suite(t, SGD(0), nil, []int{5}, "iris")
	if _, err := s.Run(t.Context()); err == nil {
		t.Error("a suite without rates has an answer")
	}
}
