package cpu

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"orrery/calibrate"
	"orrery/infer"
)

// tiny is a model that takes no time worth speaking of.
func tiny() Options {
	return Options{
		ModelName: "tiny", Quick: true, BLAS: "gonum", Threads: 1, Length: time.Nanosecond,
		Model: infer.Config{Layers: 2, Hidden: 32, Heads: 4, KVHeads: 2, HeadDim: 8, Intermediate: 64, Vocab: 100},
	}
}

// What is measured reads back from its file, fits a cost model, and stays below the
// peaks that the file states.
func TestMeasurementsReadBackAndObeyThePeaks(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for some seconds")
	}
	o := tiny()
	var last, total time.Duration
	o.Progress = func(d, of time.Duration) { last, total = d, of }
	m, err := Measure(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if last <= 0 || last > total {
		t.Errorf("progress ended at %v of %v", last, total)
	}
	path := filepath.Join(t.TempDir(), "cpu.orrery")
	if err := m.Write(path); err != nil {
		t.Fatal(err)
	}
	back, err := calibrate.ReadMeasurements(path)
	if err != nil {
		t.Fatal(err)
	}
	for name := range columns {
		o, known := calibrate.FindOperator(name)
		if !known {
			continue
		}
		if len(back.Rows[name]) < 5 {
			t.Errorf("%d rows of %s", len(back.Rows[name]), name)
		}
		checkSizes(t, o)
	}
	if !slices.ContainsFunc(back.Facts, func(f calibrate.Fact) bool { return f.Key == "noise" && strings.Contains(f.Value, "factor of") }) {
		t.Errorf("the file does not say how noisy it is: %v", back.Facts)
	}
	d, err := back.DeviceOf()
	if err != nil {
		t.Fatal(err)
	}
	for i := range back.Rows["gemm"] {
		r := &back.Rows["gemm"][i]
		flops := 2 * r.Args[0] * r.Args[1] * r.Args[2] * r.Args[3]
		if rate := flops / r.Seconds; rate > 1.001*d.FP32FLOPs { // both are rounded to four digits
			t.Errorf("line %d: %g FLOP/s is above the peak of %g", r.Line, rate, d.FP32FLOPs)
		}
	}
	cost, err := calibrate.FitIterations(back.Iterations)
	if err != nil {
		t.Fatal(err)
	}
	if cost.Fit.Rows != len(back.Iterations) {
		t.Errorf("%d of %d iterations were fitted", cost.Fit.Rows, len(back.Iterations))
	}
}

// checkSizes checks that every column of an operator's table is one that is filled.
func checkSizes(t *testing.T, o *calibrate.Operator) {
	t.Helper()
	c := columns[o.Name]
	for _, s := range o.Sizes {
		if !slices.Contains(c.sizes, s) {
			t.Errorf("column %s of %s is never filled", s, o.Name)
		}
	}
	for _, w := range o.Words {
		if !slices.Contains(c.words, w) {
			t.Errorf("column %s of %s is never filled", w, o.Name)
		}
	}
}

// An interrupt keeps finished rounds and says so; before the first one it keeps nothing.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if m, err := Measure(ctx, tiny()); m != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted at once: %v, error %v; want nothing", m, err)
	}
}

// A campaign interrupted in the middle of a round drops what the round has measured.
func TestOnlyWholeRoundsCount(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := campaign{length: time.Hour, begun: time.Now()}
	first := &point{run: func() error { return nil }}
	second := &point{run: func() error {
		if c.rounds == 5 {
			cancel()
		}
		return nil
	}}
	third := &point{run: func() error { return nil }}
	c.points = []*point{first, second, third}
	if err := c.run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	for i, p := range c.points {
		if len(p.samples) != 5 || c.rounds != 5 {
			t.Errorf("point %d has %d samples of %d rounds, want 5 of 5", i, len(p.samples), c.rounds)
		}
	}
}

// Rounds go over all points in turn; the least number of them is made however short the
// time, and a point that fails ends the campaign.
func TestRoundsInterleave(t *testing.T) {
	synctest.Test(t, roundsInterleave) // on a clock of its own: a busy machine sleeps longer
}

func roundsInterleave(t *testing.T) {
	var order strings.Builder
	slow := func(name string) *point {
		return &point{run: func() error {
			order.WriteString(name)
			time.Sleep(minSample)
			return nil
		}}
	}
	c := campaign{points: []*point{slow("a"), slow("b")}, begun: time.Now()}
	if err := c.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	// Two runs to warm up, then one; from the second sample on a short point has
	// one more that is not timed.
	if got, want := order.String(), "aabb"+"ab"+"aabb"+"aabb"; got != want {
		t.Errorf("points ran as %s, want %s", got, want)
	}
	broken := errors.New("broken")
	c = campaign{points: []*point{{run: func() error { return broken }}}, begun: time.Now()}
	if err := c.run(context.Background()); !errors.Is(err, broken) {
		t.Errorf("error is %v, want that of the point", err)
	}
}

// The KV memory of a plan suffices for all its iterations one after another, and each
// leaves its slots with what it says.
func TestIterationsFindTheirContexts(t *testing.T) {
	for _, quick := range []bool{true, false} {
		o := tiny()
		o.Quick = quick
		plan := iterationPlan(quick)
		c := o.Model
		c.BlockTokens, c.Blocks, c.BLAS, c.Threads = blockTokens, kvBlocks(plan, o.kvTokens()), "gonum", 1
		m, err := infer.New(c)
		if err != nil {
			t.Fatal(err)
		}
		measured := 0
		for _, it := range plan {
			if it.tokens() > o.kvTokens() {
				continue
			}
			measured++
			if err := it.hold(m); err != nil {
				t.Fatalf("%+v: %v", it, err)
			}
			parts, b := it.parts(c.Vocab), it.batch()
			tokens, logits := 0, 0
			for i, p := range parts {
				if m.Cached(p.Slot) != it.cached(i) {
					t.Fatalf("%+v: slot %d holds %d tokens, want %d", it, p.Slot, m.Cached(p.Slot), it.cached(i))
				}
				tokens += len(p.Tokens)
				if p.Sample {
					logits++
				}
			}
			if tokens != b.Tokens() || logits != b.Logits {
				t.Errorf("%+v: parts have %d tokens and sample %d, the batch says %d and %d", it, tokens, logits, b.Tokens(), b.Logits)
			}
		}
		if measured < 30 {
			t.Errorf("%d iterations are too few to fit, quick %v", measured, quick)
		}
	}
}

func TestPoolHandsOutAllOfItself(t *testing.T) {
	p := newPool(100, 1)
	first, second, third := p.next(40), p.next(40), p.next(40)
	switch {
	case &first[0] != &p.data[0] || &second[0] != &p.data[48]:
		t.Errorf("pieces do not follow each other a cache line apart")
	case &third[0] != &p.data[0]:
		t.Errorf("a piece that does not fit is not taken from the beginning")
	}
	if big := p.next(1000); len(big) != 1000 || slices.Max(big) == 0 {
		t.Errorf("a piece larger than the pool has %d numbers", len(big))
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"no BLAS named": func(o *Options) { o.BLAS = "mkl" },
		"threads is -2": func(o *Options) { o.Threads = -2 },
		"Heads is 3":    func(o *Options) { o.Model.Heads = 3 },
	} {
		o := tiny()
		change(&o)
		if m, err := Measure(context.Background(), o); m != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, must say %q", err, want)
		}
	}
}

func TestMemoryIsAskedForFirst(t *testing.T) {
	h := host{available: 3 << 30}
	if err := h.fits(3 << 30); err != nil {
		t.Error(err)
	}
	if err := h.fits(4 << 30); err == nil || err.Error() != "takes 4096 MiB of memory, 3072 MiB are free" {
		t.Errorf("error is %v", err)
	}
	if err := (&host{}).fits(1 << 60); err != nil {
		t.Errorf("a machine that says nothing was judged: %v", err)
	}
}
