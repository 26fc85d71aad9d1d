package solvers

import (
	"context"

	"orrery/workloads/diffusion/solver"
)

// Equal returns the fewest evaluations at which a fixed solver is as good as rmse on the noises of
// a result's report, and which one on which grid; 0 if none is with most evaluations or fewer.
func (b *Bed) Equal(ctx context.Context, rmse float64, seed uint64, from, most int) (nfe int, name string, err error) {
	test, err := b.trial(testRows, seed, streamTest)
	if err != nil {
		return 0, "", err
	}
	type fixed struct {
		name string
		s    *solver.Schedule
		rmse float64
		err  error
	}
	for nfe := from; nfe <= most; nfe++ {
		var list []*fixed
		for _, g := range solver.Grids() {
			for _, f := range solver.Solvers() {
				if s, err := f.Schedule(nfe, g); err == nil {
					list = append(list, &fixed{name: f.Name + " on " + g.Name, s: s})
				}
			}
		}
		inParallel(len(list), func(i int) {
			f := list[i]
			if f.err = ctx.Err(); f.err != nil {
				return
			}
			var r *solver.Sampler
			if r, f.err = solver.NewSampler(b.Model, f.s); f.err == nil {
				x := append([]float64(nil), test.noise...)
				r.Run(x)
				f.rmse = test.rmse(x, b.Model.Dim())
			}
		})
		best := list[0]
		for _, f := range list {
			if f.err != nil {
				return 0, "", f.err
			}
			if f.rmse < best.rmse {
				best = f
			}
		}
		if best.rmse <= rmse {
			return nfe, best.name, nil
		}
	}
	return 0, "", nil
}
