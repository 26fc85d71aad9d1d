package cpu

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"orrery/calibrate"
	"orrery/infer"
	"orrery/infer/kernel"
)

// Names of this package in measurement files.
const (
	GPU    = "cpu"
	Source = "orrery-cpu"
	dtype  = "fp32"
)

// Options says what is measured and for how long.
type Options struct {
	ModelName string
	Model     infer.Config // the shape; KV memory is taken as the plan needs it
	BLAS      string       // one of kernel.BLASNames
	Threads   int          // 0 for as many as Go uses
	Quick     bool         // fewer points
	// Length is about how long it takes, 0 for 20 seconds if quick and 2 minutes
	// otherwise. The fewest rounds that say something are made whatever it is.
	Length time.Duration
	// Progress, if not nil, is told now and then how much is done of about how much.
	Progress func(done, total time.Duration)
}

// Rounds that are made at least, beside the first one, which warms up and is not
// counted, and at most.
const (
	minRounds = 3
	maxRounds = 41
)

// Measure measures the plan. If ctx ends before the last round but after the first that
// counts, it returns the medians so far, with a fact "partial", together with the
// context's error.
func Measure(ctx context.Context, o Options) (*calibrate.Measured, error) {
	if o.Length == 0 {
		o.Length = 2 * time.Minute
		if o.Quick {
			o.Length = 20 * time.Second
		}
	}
	b, err := newBench(&o)
	if err != nil {
		return nil, err
	}
	points, err := b.plan()
	if err != nil {
		return nil, err
	}
	c := campaign{points: points, length: o.Length, progress: o.Progress, begun: time.Now()}
	err = c.run(ctx)
	if err != nil && (ctx.Err() == nil || c.rounds == 0) {
		return nil, err
	}
	m := b.result(points, c.rounds)
	if err != nil {
		m.Facts = append(m.Facts, calibrate.Fact{Key: "partial", Value: fmt.Sprintf("interrupted after %d rounds", c.rounds)})
	}
	return m, err
}

// bench is what points are measured with.
type bench struct {
	o       *Options
	k       *kernel.Set
	model   *infer.Model
	host    host
	weights pool
}

func newBench(o *Options) (*bench, error) {
	b := &bench{o: o, host: readHost()}
	var err error
	if b.k, err = kernel.New(o.BLAS, o.Threads); err != nil {
		return nil, err
	}
	c := o.Model
	c.BlockTokens, c.Blocks = blockTokens, kvBlocks(iterationPlan(o.Quick), o.kvTokens())
	c.BLAS, c.Threads = o.BLAS, o.Threads
	if err := c.Check(); err != nil {
		return nil, err
	}
	weights, kv := c.Bytes()
	// The model, weights to rotate, and some room for activations and caches to copy past.
	if err := b.host.fits(2*weights + kv + 1<<30); err != nil {
		return nil, fmt.Errorf("cpu: measuring %s %w; want a smaller model", o.ModelName, err)
	}
	if b.model, err = infer.New(c); err != nil {
		return nil, err
	}
	b.weights = newPool(int(weights/4), 1)
	return b, nil
}

// blockTokens is the size of a KV block, that of vLLM's default.
const blockTokens = 16

// kvTokens is the most tokens of context in a point of the plan.
func (o *Options) kvTokens() int {
	if o.Quick {
		return 8 << 10
	}
	return 16 << 10
}

// pool is memory that is handed out piece after piece, from the beginning again after
// the last, so that a piece has left the caches by the time it comes again.
type pool struct {
	data []float32
	at   int
}

func newPool(n int, stream uint64) pool {
	p := pool{data: make([]float32, n)}
	kernel.Randomize(p.data, 1, 0, stream)
	return p
}

// next returns n numbers of the pool, which grows if it has fewer.
func (p *pool) next(n int) []float32 {
	if n > len(p.data) {
		*p = newPool(n, 1)
	}
	if p.at+n > len(p.data) {
		p.at = 0
	}
	s := p.data[p.at : p.at+n]
	p.at += (n + 15) &^ 15 // pieces begin with a cache line
	return s
}

// result makes measurements of the samples.
func (b *bench) result(points []*point, rounds int) *calibrate.Measured {
	m := &calibrate.Measured{Rows: map[string][]calibrate.Row{}}
	for _, p := range points {
		p.record(m, p.median())
	}
	b.peaks(m, points)
	m.Facts = []calibrate.Fact{
		{Key: "device", Value: b.host.name},
		{Key: "processors", Value: fmt.Sprint(runtime.NumCPU())},
		{Key: "threads", Value: fmt.Sprint(b.k.Threads())},
		{Key: "platform", Value: runtime.GOOS + "/" + runtime.GOARCH + ", " + runtime.Version()},
		{Key: "blas", Value: b.k.BLAS()},
		{Key: "model", Value: b.o.ModelName},
		{Key: "date", Value: time.Now().UTC().Format(time.DateOnly)},
		{Key: "clock", Value: fmt.Sprintf("monotonic, medians of %d interleaved rounds", rounds)},
		{Key: "noise", Value: noise(points)},
	}
	return m
}

// noise says how far apart the medians of even and of odd rounds are, over all points.
func noise(points []*point) string {
	var ratios []float64
	for _, p := range points {
		var half [2][]float64
		for i, s := range p.samples {
			half[i%2] = append(half[i%2], s)
		}
		if len(half[1]) > 0 {
			a, b := median(half[0]), median(half[1])
			ratios = append(ratios, max(a, b)/min(a, b))
		}
	}
	if len(ratios) == 0 {
		return "not known, there was one round only"
	}
	slices.Sort(ratios)
	return fmt.Sprintf("medians of even and odd rounds differ by a factor of %.3f (median), %.3f (p90)", ratios[len(ratios)/2], ratios[len(ratios)*9/10])
}

// median returns the median of x, the mean of the two in the middle of an even number.
func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	n := len(x)
	return (x[(n-1)/2] + x[n/2]) / 2
}
