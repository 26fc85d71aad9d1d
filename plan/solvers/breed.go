package solvers

import (
	"cmp"
	"math"
	"slices"

	"orrery/workloads/diffusion/solver"
)

// child is a mutant of one of the best, crossed with another one at times.
func (r *search) child() *solver.Schedule {
	top := r.best[:min(parents, len(r.best))]
	p := top[r.draw.IntN(len(top))].schedule
	if r.draw.Float64() < crossRate {
		p = cross(r.draw, p, top[r.draw.IntN(len(top))].schedule)
	}
	return mutate(r.draw, p, r.NFE)
}

// round draws the next schedules, and what the predictor says of those that it chose, which come
// first.
func (r *search) round() (batch []*scored, predicted []float64) {
	size := min(round, r.Evaluations-len(r.all))
	if !r.Unguided {
		batch, predicted = r.chosen(min(guided, size))
	}
	for tries := 0; len(batch) < size-freshRandom && tries < 100*round; tries++ {
		batch = r.add(batch, r.child())
	}
	for len(batch) < size {
		batch = r.add(batch, drawSchedule(r.draw, r.NFE))
	}
	return batch, predicted
}

// chosen draws many schedules and keeps n by their lower confidence bound.
func (r *search) chosen(n int) ([]*scored, []float64) {
	top := r.best[:min(history, len(r.best))]
	x, y := make([][]float64, len(top)), make([]float64, len(top))
	for i, t := range top {
		x[i], y[i] = t.x, math.Log(min(t.rmse, 1e6))
	}
	p := fit(x, y)
	if p == nil {
		return nil, nil
	}
	d := &drawing{search: r, predictor: p, names: map[string]bool{}}
	for i := range mutants + randomPool {
		if i < mutants {
			d.add(r.child())
		} else {
			d.add(drawSchedule(r.draw, r.NFE))
		}
	}
	d.rank(0)
	for range generations {
		d.breed()
	}
	var batch []*scored
	var predicted []float64
	for _, c := range d.pool[:min(n, len(d.pool))] {
		batch, predicted = r.add(batch, c.schedule), append(predicted, c.mean)
	}
	return batch, predicted
}

// drawing is what the predictor chooses from.
type drawing struct {
	*search
	predictor *predictor
	names     map[string]bool
	pool      []candidate // by bound, once ranked
}

type candidate struct {
	schedule    *solver.Schedule
	mean, bound float64 // of the log error, as predicted
}

// add takes in a schedule that neither the search nor the pool has.
func (d *drawing) add(s *solver.Schedule) {
	if name := key(s); !d.seen[name] && !d.names[name] {
		d.names[name] = true
		d.pool = append(d.pool, candidate{schedule: s})
	}
}

// rank predicts those from a place on, and sorts all.
func (d *drawing) rank(from int) {
	inParallel(len(d.pool)-from, func(i int) {
		c := &d.pool[from+i]
		mean, deviation := d.predictor.at(features(c.schedule))
		c.mean, c.bound = mean, mean-deviation
	})
	slices.SortStableFunc(d.pool, func(a, b candidate) int { return cmp.Compare(a.bound, b.bound) })
}

// breed adds children of those that are likeliest to be good: evolution goes on under the
// predictor, which costs nothing beside an evaluation.
func (d *drawing) breed() {
	from := len(d.pool)
	if from == 0 {
		return
	}
	top := slices.Clone(d.pool[:min(parents, from)])
	for range brood {
		child := top[d.draw.IntN(len(top))].schedule
		if d.draw.Float64() < crossRate {
			child = cross(d.draw, child, top[d.draw.IntN(len(top))].schedule)
		}
		d.add(mutate(d.draw, child, d.NFE))
	}
	d.rank(from)
}
