package plan

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
)

// Variant is one of several settings to compare.
type Variant struct {
	Name string
	// Run runs the variant with a seed. Equal seeds must mean equal traffic, whatever
	// the variant.
	Run func(ctx context.Context, seed uint64) (Observation, error)
}

// Replication says how often each variant is run.
type Replication struct {
	Seeds    []uint64
	Workers  *Workers // as many as there are cores if nil
	Progress func(done, expected int)
}

// Comparison puts variants beside each other.
type Comparison struct {
	Variants []string `json:"variants"`
	Seeds    []uint64 `json:"seeds"` // those that all variants have run with
	Rows     []Row    `json:"rows"`
	// Met counts for each variant the seeds with which it met its objective, and
	// Growing those with which its queue had no steady state.
	Met     []int `json:"met"`
	Growing []int `json:"growing"`
	// SeedsAlike tells that all seeds gave the same figures, as those of a replayed
	// trace do. The intervals then say nothing about other traffic.
	SeedsAlike bool `json:"seeds_alike"`
	Partial    bool `json:"partial"` // cancelled before all runs had ended
}

// Row compares one metric.
type Row struct {
	Metric string `json:"metric"`
	Label  string `json:"-"`
	Unit   Unit   `json:"-"`
	Cells  []Cell `json:"cells"` // one for each variant
}

// Cell is a metric of one variant.
type Cell struct {
	Interval
	// Change is the paired difference from the first variant, seed by seed, in the
	// metric's own unit; null for the first variant.
	Change *Interval `json:"change"`
	// Ratio is the paired ratio to the first variant, seed by seed; null for the first
	// variant and for metrics that are not above zero with every seed.
	Ratio *Interval `json:"ratio"`
}

// Compare runs every variant with every seed. A single variant is not compared with
// anything, but has its intervals. The error is that of a run, or says
// what is wrong with the question.
func Compare(ctx context.Context, variants []Variant, how Replication) (*Comparison, error) {
	if len(variants) == 0 {
		return nil, errors.New("compare: want at least one variant, and two for a difference")
	}
	if len(how.Seeds) == 0 {
		return nil, errors.New("compare: want at least one seed, and five for an interval")
	}
	seen, err := how.run(ctx, len(variants), func(ctx context.Context, v int, seed uint64) (Observation, error) {
		return variants[v].Run(ctx, seed)
	})
	if err != nil {
		return nil, err
	}
	c := &Comparison{Met: make([]int, len(variants)), Growing: make([]int, len(variants))}
	for _, v := range variants {
		c.Variants = append(c.Variants, v.Name)
	}
	// Seeds that not all variants have run with are left out, for means over
	// different traffic cannot be compared.
	var full []int
	for s, seed := range how.Seeds {
		if seen.complete(s) {
			full = append(full, s)
			c.Seeds = append(c.Seeds, seed)
		} else {
			c.Partial = true
		}
	}
	for v := range variants {
		for _, s := range full {
			o := seen[v][s]
			if o.Met {
				c.Met[v]++
			}
			if o.Growing {
				c.Growing[v]++
			}
		}
	}
	for m := range metrics {
		c.Rows = append(c.Rows, seen.row(m, full))
	}
	c.SeedsAlike = len(full) > 1
	for v := range variants {
		for _, s := range full {
			c.SeedsAlike = c.SeedsAlike && seen[v][full[0]].same(seen[v][s])
		}
	}
	return c, nil
}

// grid has the observations of settings by seeds, nil for runs that did not end.
type grid [][]*Observation

// run runs n settings with every seed on all workers.
func (how *Replication) run(ctx context.Context, n int, probe func(ctx context.Context, i int, seed uint64) (Observation, error)) (grid, error) {
	w := how.Workers
	if w == nil {
		w = NewWorkers(0)
	}
	g := make(grid, n)
	for i := range g {
		g[i] = make([]*Observation, len(how.Seeds))
	}
	var done atomic.Int64
	total := n * len(how.Seeds)
	// Seeds outside, settings inside: a cancelled comparison then has whole seeds.
	err := w.each(ctx, total, func(ctx context.Context, job int) error {
		i, s := job%n, job/n
		o, err := probe(ctx, i, how.Seeds[s])
		if err == nil {
			err = ctx.Err() // a run that was cut short proves nothing
		}
		if err != nil {
			return err
		}
		g[i][s] = &o
		if k := int(done.Add(1)); how.Progress != nil {
			how.Progress(k, total)
		}
		return nil
	})
	if err != nil && !isCancelled(err) {
		return nil, err
	}
	return g, nil
}

// complete tells whether every setting has run with seed number s.
func (g grid) complete(s int) bool {
	for i := range g {
		if g[i][s] == nil {
			return false
		}
	}
	return true
}

// values returns metric m of setting i for the given seeds.
func (g grid) values(i, m int, seeds []int) []float64 {
	v := make([]float64, len(seeds))
	for k, s := range seeds {
		v[k] = math.NaN()
		if o := g[i][s]; o != nil && m < len(o.Values) {
			v[k] = o.Values[m]
		}
	}
	return v
}

func (g grid) row(m int, seeds []int) Row {
	row := Row{Metric: metrics[m].Key, Label: metrics[m].Label, Unit: metrics[m].Unit}
	base := g.values(0, m, seeds)
	for i := range g {
		v := g.values(i, m, seeds)
		cell := Cell{Interval: NewInterval(v)}
		if i > 0 {
			d := differences(base, v)
			cell.Change = &d
			if r, ok := ratios(base, v); ok {
				cell.Ratio = &r
			}
		}
		row.Cells = append(row.Cells, cell)
	}
	return row
}
