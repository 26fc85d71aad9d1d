package solvers

import (
	"cmp"
	"context"
	"slices"

	"gonum.org/v1/gonum/stat"

	"orrery/workloads/diffusion/solver"
)

// finalist is a schedule that is scored again.
type finalist struct {
	schedule     *solver.Schedule
	solver, grid string  // of fixed ones
	train        float64 // RMSE
	check        float64
	trimmed      float64 // of check, without the worst hundredth
	test         Score
}

func (f *finalist) String() string { return f.solver + " on " + f.grid }

// finish scores the best again on fresh noises, against all fixed schedules, and reports on others.
func (r *search) finish(ctx context.Context) (*Result, error) {
	var found []*finalist
	for _, b := range r.best[:min(rescored, len(r.best))] {
		found = append(found, &finalist{schedule: b.schedule, train: b.rmse})
	}
	var fixed []*finalist
	for _, g := range solver.Grids() {
		for _, f := range solver.Solvers() {
			if s, err := f.Schedule(r.NFE, g); err == nil {
				fixed = append(fixed, &finalist{schedule: s, solver: f.Name, grid: g.Name})
			}
		}
	}
	all := slices.Concat(found, fixed)
	err := r.again(ctx, streamCheck, checkRows, all, func(f *finalist, t *trial, ends []float64) error {
		f.check, f.trimmed = t.rmse(ends, r.Bed.Model.Dim()), t.trimmed(ends, r.Bed.Model.Dim())
		return nil
	})
	if err != nil {
		return nil, err
	}
	byCheck := func(a, b *finalist) int { return cmp.Compare(a.check, b.check) }
	winner, rival := slices.MinFunc(found, byCheck), slices.MinFunc(fixed, byCheck)
	steady := slices.MinFunc(fixed, func(a, b *finalist) int { return cmp.Compare(a.trimmed, b.trimmed) })
	out := &r.result
	// One point that goes to another class can decide an RMSE, so that must be won without such too.
	if rival.check <= winner.check || steady.trimmed <= winner.trimmed {
		winner, out.FellBack = rival, rival.String()
		winner.train, err = r.rmse(rival.schedule, r.train)
		if err != nil {
			return nil, err
		}
	}
	all = slices.Clone(fixed)
	if out.FellBack == "" {
		all = append(all, winner)
	}
	err = r.again(ctx, streamTest, testRows, all, func(f *finalist, t *trial, ends []float64) (err error) {
		f.test, err = t.score(r.Bed.Model, ends)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, f := range fixed {
		out.Fixed = append(out.Fixed, FixedScore{f.solver, f.grid, f.test})
		if f.solver == "2m++" && f.grid == "logsnr" {
			out.Naive = f.test
		}
	}
	slices.SortStableFunc(out.Fixed, func(a, b FixedScore) int { return cmp.Compare(a.Score.RMSE, b.Score.RMSE) })
	out.Winner, out.Test, out.Train = winner.schedule, winner.test, winner.train
	if len(r.taus) > 0 {
		out.Tau = stat.Mean(r.taus, nil)
	}
	return out, nil
}

// again runs schedules on noises of another stream and has them judged.
func (r *search) again(ctx context.Context, stream uint64, rows int, list []*finalist, judge func(*finalist, *trial, []float64) error) error {
	t, err := r.Bed.trial(rows, r.Seed, stream)
	if err != nil {
		return err
	}
	errs := make([]error, len(list))
	inParallel(len(list), func(i int) {
		if errs[i] = ctx.Err(); errs[i] != nil {
			return
		}
		var ends []float64
		if ends, errs[i] = r.ends(list[i].schedule, t); errs[i] == nil {
			errs[i] = judge(list[i], t, ends)
		}
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
