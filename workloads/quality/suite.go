package quality

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"orrery/sim"
)

// Contender is a schedule in a comparison: one that does not watch the run, as many runs
// share it.
type Contender struct {
	Name     string
	Schedule Schedule
}

// Suite compares schedules by training for real: every one on every table at every budget,
// each at the best of the peak rates of a grid.
type Suite struct {
	Tables     []*Dataset
	Schedules  []Contender
	Optimiser  Optimiser
	Grid       []float64 // peak rates
	Budgets    []int     // steps
	Hidden     int       // units of the classifier, 0 for a linear one
	Batch      int
	TrainShare float64 // of the samples, the rest being for the test
	Runs       int     // of each, which differ in the split, the first weights and the batches
	Seed       uint64
}

// Cell is one schedule on one table at one budget, at its best peak rate: the one with the
// least mean loss on the samples trained on.
type Cell struct {
	Loss    float64 // mean over runs of the final loss on the samples trained on, in nats
	Error   float64 // mean share of errors on the others
	ErrorSE float64 // standard error of that
	Peak    float64
	Edge    bool // the peak rate is the lowest or the highest of the grid
}

// Comparison is what a suite found.
type Comparison struct {
	Tables, Schedules []string
	Budgets           []int
	cells             []Cell // tables x budgets x schedules
}

// Edges returns at how many of the cells of a schedule at a budget the best peak rate is at an
// edge of the grid, where a better one may lie beyond.
func (c *Comparison) Edges(budget, schedule int) int {
	n := 0
	for t := range c.Tables {
		if c.Cell(t, budget, schedule).Edge {
			n++
		}
	}
	return n
}

// Cell returns one cell by its indices.
func (c *Comparison) Cell(table, budget, schedule int) Cell {
	return c.cells[(table*len(c.Budgets)+budget)*len(c.Schedules)+schedule]
}

// Run trains everything, on as many cores as there are. The result does not depend on their
// number. A context that ends ends it with the context's error.
func (s *Suite) Run(ctx context.Context) (*Comparison, error) {
	if len(s.Tables) == 0 || len(s.Schedules) == 0 || len(s.Grid) == 0 || len(s.Budgets) == 0 || s.Runs < 1 {
		return nil, fmt.Errorf("a comparison of %d tables, %d schedules, %d peak rates, %d budgets and %d runs; want at least one of each", len(s.Tables), len(s.Schedules), len(s.Grid), len(s.Budgets), s.Runs)
	}
	out := &Comparison{Budgets: s.Budgets}
	for _, c := range s.Schedules {
		if _, watches := c.Schedule.(observer); watches {
			return nil, fmt.Errorf("%s watches its run; want schedules that do not, as many runs share one", c.Name)
		}
		out.Schedules = append(out.Schedules, c.Name)
	}
	for _, d := range s.Tables {
		out.Tables = append(out.Tables, d.Name)
	}
	perTable := len(s.Budgets) * len(s.Schedules)
	out.cells = make([]Cell, len(s.Tables)*perTable)
	parts, err := s.split()
	if err != nil {
		return nil, err
	}
	err = inParallel(len(out.cells), func(i int) error {
		budget, contender := s.Budgets[i%perTable/len(s.Schedules)], s.Schedules[i%len(s.Schedules)]
		cell, err := s.tune(ctx, parts[i/perTable], budget, contender)
		out.cells[i] = cell
		return err
	})
	return out, err
}

// parts are the two halves of a table in one run.
type parts struct{ train, test *Dataset }

// split returns the parts by table and run.
func (s *Suite) split() ([][]parts, error) {
	var out [][]parts
	for _, d := range s.Tables {
		var runs []parts
		for r := range s.Runs {
			train, test := d.Split(s.TrainShare, sim.Stream(s.Seed, fmt.Sprintf("%s/split/%d", d.Name, r)))
			if train.Len() == 0 || test.Len() == 0 {
				return nil, fmt.Errorf("%s: %d samples to train on and %d to test with; want some of both", d.Name, train.Len(), test.Len())
			}
			scaling := train.Scaling()
			runs = append(runs, parts{train.Scale(scaling), test.Scale(scaling)})
		}
		out = append(out, runs)
	}
	return out, nil
}

// tune runs a schedule at every peak rate of the grid.
func (s *Suite) tune(ctx context.Context, runs []parts, budget int, c Contender) (Cell, error) {
	best := Cell{Loss: math.Inf(1), Error: 1}
	for g, peak := range s.Grid {
		loss, errs := 0.0, make([]float64, len(runs))
		for r, p := range runs {
			if err := ctx.Err(); err != nil {
				return best, err
			}
			training := Training{Model: For(p.train, s.Hidden), Optimiser: s.Optimiser, Steps: budget,
				Batch: func(int) int { return s.Batch }, Peak: peak, Schedule: c.Schedule, Seed: s.Seed + uint64(r)}
			trained, err := training.Run(p.train)
			if err != nil {
				return best, err
			}
			l, _ := trained.Evaluate(p.train)
			_, errs[r] = trained.Evaluate(p.test)
			loss += l / float64(len(runs))
		}
		if loss < best.Loss {
			mean, se := meanSE(errs)
			best = Cell{Loss: loss, Error: mean, ErrorSE: se, Peak: peak, Edge: g == 0 || g == len(s.Grid)-1}
		}
	}
	if math.IsInf(best.Loss, 1) {
		return best, errDiverged(runs[0].train.Name, c.Name, s.Grid)
	}
	return best, nil
}

func errDiverged(table, schedule string, grid []float64) error {
	return fmt.Errorf("%s: %s diverges at every one of %d peak rates; want smaller ones", table, schedule, len(grid))
}

func meanSE(x []float64) (mean, se float64) {
	n := float64(len(x))
	for _, v := range x {
		mean += v / n
	}
	if len(x) < 2 {
		return mean, math.NaN()
	}
	for _, v := range x {
		se += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(se / (n - 1) / n)
}

// inParallel calls work for 0 to n-1 on every core and returns the first error by number.
func inParallel(n int, work func(i int) error) error {
	errs := make([]error, n)
	next := make(chan int)
	var group sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		group.Go(func() {
			for i := range next {
				errs[i] = work(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Ranks returns the rank by loss of each schedule at a budget, averaged over tables: 1 is
// best, and equals share theirs.
func (c *Comparison) Ranks(budget int) []float64 {
	out := make([]float64, len(c.Schedules))
	for t := range c.Tables {
		for i := range out {
			mine := c.Cell(t, budget, i).Loss
			rank := 1.0
			for j := range out {
				switch other := c.Cell(t, budget, j).Loss; {
				case other < mine:
					rank++
				case j != i && other == mine:
					rank += 0.5
				}
			}
			out[i] += rank / float64(len(c.Tables))
		}
	}
	return out
}

// MeanRanks returns the ranks averaged over budgets too.
func (c *Comparison) MeanRanks() []float64 {
	out := make([]float64, len(c.Schedules))
	for b := range c.Budgets {
		for i, r := range c.Ranks(b) {
			out[i] += r / float64(len(c.Budgets))
		}
	}
	return out
}

// Duel returns the geometric mean over tables of the loss of schedule a over that of b at
// a budget, and on how many tables a's is smaller.
func (c *Comparison) Duel(budget int, a, b string) (ratio float64, wins int) {
	i, j := slices.Index(c.Schedules, a), slices.Index(c.Schedules, b)
	sum := 0.0
	for t := range c.Tables {
		x, y := c.Cell(t, budget, i).Loss, c.Cell(t, budget, j).Loss
		sum += math.Log(x / y)
		if x < y {
			wins++
		}
	}
	return math.Exp(sum / float64(len(c.Tables))), wins
}
