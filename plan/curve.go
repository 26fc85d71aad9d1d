package plan

import (
	"context"
	"errors"
	"fmt"
	"math"

	"orrery/report"
)

// RatePoint is what a system does at one rate.
type RatePoint struct {
	Rate   float64             `json:"rate_per_s"`
	Values map[string]Interval `json:"values"` // by the keys of [Metrics]
	// Met and Growing count seeds, of the N that were run.
	Met     int `json:"met"`
	Growing int `json:"growing"`
	N       int `json:"n"`
}

// Rates returns n rates from lo to hi with equal ratios between neighbours.
func Rates(lo, hi float64, n int) []float64 {
	rates := make([]float64, n)
	for i := range rates {
		if n == 1 {
			rates[i] = lo
			continue
		}
		rates[i] = lo * math.Pow(hi/lo, float64(i)/float64(n-1))
	}
	return rates
}

// Curve probes a list of rates: the throughput-latency curve of one setting.
// Rates with no completed run are left out, which happens only if the context ends;
// partial says so. The error is that of a probe, or says what is wrong with the
// rates.
func Curve(ctx context.Context, p Probe, rates []float64, how Replication) (points []RatePoint, partial bool, err error) {
	if len(rates) == 0 || len(how.Seeds) == 0 {
		return nil, false, errors.New("curve: want at least one rate and one seed")
	}
	for _, r := range rates {
		if !(r > 0) || math.IsInf(r, 0) {
			return nil, false, fmt.Errorf("curve: rate %g; want positive rates in requests per second", r)
		}
	}
	g, err := how.run(ctx, len(rates), func(ctx context.Context, i int, seed uint64) (Observation, error) {
		return p(ctx, rates[i], seed)
	})
	if err != nil {
		return nil, false, err
	}
	all := make([]int, len(how.Seeds))
	for s := range all {
		all[s] = s
	}
	for i, rate := range rates {
		pt := RatePoint{Rate: rate, Values: make(map[string]Interval, len(metrics))}
		for _, o := range g[i] {
			if o == nil {
				partial = true
				continue
			}
			pt.N++
			if o.Met {
				pt.Met++
			}
			if o.Growing {
				pt.Growing++
			}
		}
		if pt.N == 0 {
			continue
		}
		for m := range metrics {
			pt.Values[metrics[m].Key] = NewInterval(g.values(i, m, all))
		}
		points = append(points, pt)
	}
	return points, partial, nil
}

// Line returns one metric along a curve, for a plot: the mean and its interval, which
// is the mean itself where a single seed was run.
func Line(points []RatePoint, key string) (rates, mean, low, high []float64) {
	or := func(n, other report.Number) float64 {
		if n.Exists() {
			return float64(n)
		}
		return float64(other)
	}
	for i := range points {
		in := points[i].Values[key]
		rates = append(rates, points[i].Rate)
		mean = append(mean, float64(in.Mean))
		low, high = append(low, or(in.Low, in.Mean)), append(high, or(in.High, in.Mean))
	}
	return rates, mean, low, high
}
