package solvers

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"gonum.org/v1/gonum/stat"

	"orrery/workloads/diffusion/solver"
)

// Search looks for the schedule of NFE evaluations whose trajectories end nearest to the exact
// flow: by evolution from fixed and random schedules, most children of a round being picked from
// many by a predictor's lower confidence bound, and the best scored again on noises that the search
// has not seen.
type Search struct {
	Bed         *Bed
	NFE         int
	Evaluations int // of schedules, fixed and random ones of the start among them
	Unguided    bool
	Seed        uint64
	// Known keeps what schedules scored, so that a search that was cut off is taken up
	// again: it draws the same schedules and finds their scores. May be nil.
	Known Store
	// Progress is called after each round. May be nil.
	Progress func(Progress)
}

// Store keeps scores by the exact name of a schedule. Only one goroutine calls it.
type Store interface {
	Get(name string) (rmse float64, ok bool)
	Put(name string, rmse float64) error
}

// Progress says how far a search is.
type Progress struct {
	NFE, Done, Of int
	Best, Fixed   float64 // least RMSE on the search's noises, of all and of fixed schedules
}

// The recipe: 20 evaluations a round, 10 of children that the predictor chose out of 420, 8 of
// children as they came, 2 random.
const (
	parents     = 20
	randomStart = 100
	round       = 20
	guided      = 10
	freshRandom = 2
	mutants     = 120
	randomPool  = 60
	generations = 3  // of children's children, under the predictor alone
	brood       = 80 // of each
	crossRate   = 0.4
	history     = 400 // best schedules that the predictor learns from
	rescored    = 30

	// Noises that schedules are scored on: in the search, again at its end, and for the report.
	trainRows, checkRows, testRows = 512, 1024, 2048
)

// Check returns an error unless the search can be run.
func (s *Search) Check() error {
	switch {
	case s.NFE < 1 || s.NFE > 50:
		return fmt.Errorf("NFE %d; want 1 to 50", s.NFE)
	case s.Evaluations < 1 || s.Evaluations > 1_000_000:
		return fmt.Errorf("%d evaluations; want 1 to 1000000", s.Evaluations)
	}
	return nil
}

// Result is what a search found.
type Result struct {
	NFE      int
	Winner   *solver.Schedule
	FellBack string // the fixed schedule that nothing found was better than, or ""
	Test     Score  // of the winner, on noises of the report
	Fixed    []FixedScore
	Naive    Score     // of DPM-Solver++ 2M on equal steps in log SNR
	Trace    []float64 // least RMSE on the search's noises after so many evaluations
	Train    float64   // the winner's on the search's noises
	// Tau is Kendall's rank correlation between prediction and score among the children that the
	// predictor chose, averaged over rounds; 0 without one.
	Tau float64
}

// FixedScore is a fixed schedule's score on noises of the report, the best first.
type FixedScore struct {
	Solver, Grid string
	Score        Score
}

// scored is a schedule and what it scored.
type scored struct {
	schedule *solver.Schedule
	name     string
	rmse     float64
	x        []float64
}

// search is a Search under way.
type search struct {
	*Search
	draw   *rand.Rand
	train  *trial
	seen   map[string]bool
	all    []*scored // in the order of evaluation
	best   []*scored // by score
	fixed  float64
	result Result
	taus   []float64
	pools  sync.Pool // of *solver.Times
}

// Streams of randomness, so that more draws of one do not shift another.
const (
	streamDecisions = iota + 1
	streamTrain
	streamCheck
	streamTest
)

// Run searches. The same search has the same result on any number of cores. A context that ends
// ends it with the context's error; what was scored is in Known.
func (s *Search) Run(ctx context.Context) (*Result, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	r := &search{Search: s, draw: rand.New(rand.NewPCG(s.Seed, streamDecisions<<32+uint64(s.NFE))), seen: map[string]bool{}, fixed: math.Inf(1)}
	r.pools.New = func() any { return solver.NewTimes(s.Bed.Model) }
	r.result.NFE = s.NFE
	var err error
	if r.train, err = s.Bed.trial(trainRows, s.Seed, streamTrain); err != nil {
		return nil, err
	}
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	for len(r.all) < s.Evaluations {
		batch, predicted := r.round()
		if err := r.evaluate(ctx, batch); err != nil {
			return nil, err
		}
		r.correlate(batch, predicted)
	}
	return r.finish(ctx)
}

// seedSolvers are the fixed solvers that a search starts from, on every grid.
var seedSolvers = []string{"ddim", "2m", "2m++", "3m", "3m++", "unipc-2", "unipc-3", "unipc-3-noise"}

// start evaluates fixed and random schedules.
func (r *search) start(ctx context.Context) error {
	var batch []*scored
	for _, g := range solver.Grids() {
		for _, name := range seedSolvers {
			f, err := solver.LoadFixed(name)
			if err != nil {
				return err
			}
			s, err := f.Schedule(r.NFE, g)
			if err != nil {
				return err
			}
			batch = r.add(batch, s)
		}
	}
	batch = batch[:min(len(batch), r.Evaluations)]
	if err := r.evaluate(ctx, batch); err != nil {
		return err
	}
	for _, b := range batch {
		r.fixed = min(r.fixed, b.rmse)
	}
	batch = nil
	for range 10 * randomStart {
		if len(batch) == min(randomStart, r.Evaluations-len(r.all)) {
			break
		}
		batch = r.add(batch, drawSchedule(r.draw, r.NFE))
	}
	return r.evaluate(ctx, batch)
}

// add appends a schedule that was not seen before.
func (r *search) add(batch []*scored, s *solver.Schedule) []*scored {
	name := key(s)
	if r.seen[name] {
		return batch
	}
	r.seen[name] = true
	return append(batch, &scored{schedule: s, name: name, x: features(s)})
}

// evaluate scores schedules, on all cores, and ranks them.
func (r *search) evaluate(ctx context.Context, batch []*scored) error {
	var todo []*scored
	for _, b := range batch {
		if rmse, ok := r.known(b.name); ok {
			b.rmse = rmse
			continue
		}
		todo = append(todo, b)
	}
	errs := make([]error, len(todo))
	inParallel(len(todo), func(i int) {
		if errs[i] = ctx.Err(); errs[i] == nil {
			todo[i].rmse, errs[i] = r.rmse(todo[i].schedule, r.train)
		}
	})
	for i, b := range todo {
		if errs[i] != nil {
			return errs[i]
		}
		if r.Known != nil {
			if err := r.Known.Put(b.name, b.rmse); err != nil {
				return err
			}
		}
	}
	for _, b := range batch {
		r.all, r.best = append(r.all, b), append(r.best, b)
		least := b.rmse
		if n := len(r.result.Trace); n > 0 {
			least = min(least, r.result.Trace[n-1])
		}
		r.result.Trace = append(r.result.Trace, least)
	}
	slices.SortStableFunc(r.best, func(a, b *scored) int { return cmp.Compare(a.rmse, b.rmse) })
	if r.Progress != nil {
		r.Progress(Progress{r.NFE, len(r.all), r.Evaluations, r.best[0].rmse, r.fixed})
	}
	return nil
}

func (r *search) known(name string) (float64, bool) {
	if r.Known == nil {
		return 0, false
	}
	return r.Known.Get(name)
}

// ends runs a schedule on a trial's noises.
func (r *search) ends(s *solver.Schedule, t *trial) ([]float64, error) {
	times := r.pools.Get().(*solver.Times)
	defer r.pools.Put(times)
	sampler, err := times.Sampler(s)
	if err != nil {
		return nil, err
	}
	x := slices.Clone(t.noise)
	sampler.Run(x)
	return x, nil
}

func (r *search) rmse(s *solver.Schedule, t *trial) (float64, error) {
	x, err := r.ends(s, t)
	if err != nil {
		return 0, err
	}
	return t.rmse(x, r.Bed.Model.Dim()), nil
}

// correlate notes how the predictor ranked what it chose.
func (r *search) correlate(batch []*scored, predicted []float64) {
	if len(predicted) < 3 {
		return
	}
	y := make([]float64, len(predicted))
	for i := range y {
		y[i] = batch[i].rmse
	}
	if tau := stat.Kendall(predicted, y, nil); !math.IsNaN(tau) {
		r.taus = append(r.taus, tau)
	}
}
