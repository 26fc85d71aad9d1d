package cmd

import (
	"context"

	"orrery/plan"
	"orrery/report"
	"orrery/scenarios"
)

// cheapIterations is how many iterations a run may have for its repetitions at other
// prices to be a matter of seconds.
const cheapIterations = 3_000_000

// calibration repeats the runs of result r at both ends of the band of prices, and returns
// nil where the prices state no error. Long runs are not repeated: their error stands
// alone.
func (a *app) calibration(ctx context.Context, s *scenarios.Scenario, seeds []uint64, r *report.Result) (*plan.Calibration, error) {
	relative, ok := s.TimeError(r)
	if !ok || r.Partial {
		return nil, nil
	}
	if r.Iterations.Count > cheapIterations {
		return &plan.Calibration{Error: relative, Level: plan.CalibrationLevel}, nil
	}
	bar := a.newProgress("calibration")
	defer bar.end()
	low, high := plan.PriceBand(relative)
	var ends [2]*report.Result
	for i, factor := range []float64{low, high} {
		var all *report.Metrics
		for j, seed := range seeds {
			m, err := measure(ctx, s, seed, scenarios.Options{Slower: factor})
			if err != nil {
				return nil, err
			}
			if ctx.Err() != nil {
				return nil, nil // interrupted: the run itself is there
			}
			if all == nil {
				all = m
			} else {
				all.Merge(m)
			}
			bar.set(int64(i*len(seeds)+j+1), int64(2*len(seeds)))
		}
		ends[i] = all.Summary()
	}
	return plan.NewCalibration(relative, r, ends[0], ends[1]), nil
}

// capacityBands searches the capacities that were found once more, with one seed and all
// prices at either end of their band.
func (a *app) capacityBands(ctx context.Context, subjects []subject, found []*plan.Capacity, how func(*scenarios.Scenario) plan.Search) error {
	for i, c := range found {
		if !(c.PerS > 0) || c.Partial || c.Unbounded() || ctx.Err() != nil {
			continue
		}
		s := subjects[i].scenario
		relative, err := timeErrorAt(ctx, s, float64(c.PerS))
		if err != nil || relative == 0 {
			return err
		}
		low, high := plan.PriceBand(relative)
		var ends [2]*plan.Capacity
		for j, factor := range []float64{low, high} {
			search := how(s)
			search.Seeds, search.Start = search.Seeds[:1], float64(c.Seeds[0].Held)/factor
			rates := newRates(s)
			rates.slower = factor
			if ends[j], err = plan.FindCapacity(ctx, rates.probe, search); err != nil {
				return err
			}
		}
		c.Calibration = plan.NewCapacityBand(relative, c, ends[0], ends[1])
	}
	return nil
}

// timeErrorAt returns the relative standard error of the prices of the scenario at a rate,
// 0 if they state none.
func timeErrorAt(ctx context.Context, s *scenarios.Scenario, rate float64) (float64, error) {
	at, err := s.AtRate(rate)
	if err != nil {
		return 0, err
	}
	r, err := simulate(ctx, at, at.Seed, scenarios.Options{})
	if err != nil {
		return 0, err
	}
	relative, _ := at.TimeError(r)
	return relative, nil
}
