package serving

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"orrery/calibrate"
	"orrery/hwmodel"
)

// Priced is a published run and what the simulation says of it.
type Priced struct {
	*calibrate.ServingRow
	Simulated Times
}

// Errors returns simulated/measured - 1 of TTFT, TPOT and throughput.
func (p *Priced) Errors() (ttft, tpot, throughput float64) {
	m := Measured(p.ServingRow)
	return p.Simulated.TTFT/m.TTFT - 1, p.Simulated.TPOT/m.TPOT - 1, p.Simulated.Throughput/m.Throughput - 1
}

// Skipped is a published run that cannot be simulated, and why.
type Skipped struct {
	*calibrate.ServingRow
	Reason string
}

// Score simulates every run whose GPU has a profile and whose model is known, in order.
func Score(ctx context.Context, rows []calibrate.ServingRow, profiles []*hwmodel.Profile) ([]Priced, []Skipped, error) {
	engines := map[string]*hwmodel.Engine{}
	var priced []Priced
	var skipped []Skipped
	for i := range rows {
		w := &rows[i]
		p, reason := usable(w, profiles)
		if reason != "" {
			skipped = append(skipped, Skipped{w, reason})
			continue
		}
		e := engines[w.Engine()]
		if e == nil {
			var err error
			if e, err = hwmodel.LoadEngine(w.Engine()); err != nil {
				return nil, nil, fmt.Errorf("%s:%d: %w", w.File, w.Line, err)
			}
			engines[w.Engine()] = e
		}
		got, err := Simulate(ctx, w, p, e)
		switch {
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case err != nil:
			skipped = append(skipped, Skipped{w, err.Error()})
		default:
			priced = append(priced, Priced{w, got})
		}
	}
	return priced, skipped, nil
}

// usable returns the profile of a run's device, or why the run cannot be simulated.
func usable(w *calibrate.ServingRow, profiles []*hwmodel.Profile) (*hwmodel.Profile, string) {
	i := slices.IndexFunc(profiles, func(p *hwmodel.Profile) bool { return p.Device.Name == w.Device })
	switch {
	case i < 0:
		return nil, "no profile of " + w.GPU
	case w.Model == nil:
		return nil, fmt.Sprintf("%s in %s is not modelled", w.Name, precision(w.Precision))
	case w.Apart:
		return nil, "prompts and answers on workers of their own"
	case w.Clients == 0:
		return nil, "the number of clients was not published"
	case w.Decode.Devices() > profiles[i].Device.Node:
		return nil, "a group larger than a node"
	}
	return profiles[i], ""
}

func precision(p string) string {
	if p == "" {
		return "bf16"
	}
	return p
}

// Summary says how far simulations are off: of |simulated/measured - 1|, and bias, the
// median of simulated/measured - 1.
type Summary struct {
	Runs         int     `json:"runs"`
	TPOT         float64 `json:"tpot_median_ape"`
	TPOT90       float64 `json:"tpot_p90_ape"`
	TPOTBias     float64 `json:"tpot_bias"`
	Throughput   float64 `json:"throughput_median_ape"`
	Throughput90 float64 `json:"throughput_p90_ape"`
	TTFT         float64 `json:"ttft_median_ape"`
	TTFTBias     float64 `json:"ttft_bias"`
}

// Summarise returns the errors of runs.
func Summarise(runs []Priced) Summary {
	var ttft, tpot, rate []float64
	for i := range runs {
		a, b, c := runs[i].Errors()
		ttft, tpot, rate = append(ttft, a), append(tpot, b), append(rate, c)
	}
	s := Summary{Runs: len(runs), TPOTBias: quantile(tpot, 0.5), TTFTBias: quantile(ttft, 0.5)}
	for _, v := range [][]float64{ttft, tpot, rate} {
		for i := range v {
			v[i] = math.Abs(v[i])
		}
	}
	s.TTFT, s.TPOT, s.TPOT90 = quantile(ttft, 0.5), quantile(tpot, 0.5), quantile(tpot, 0.9)
	s.Throughput, s.Throughput90 = quantile(rate, 0.5), quantile(rate, 0.9)
	return s
}

// quantile returns the q-quantile of v, which it sorts; 0 of nothing.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[int(math.Ceil(q*float64(len(v))))-1]
}

// Worst returns the n runs whose time between tokens is farthest off, worst first.
func Worst(runs []Priced, n int) []Priced {
	out := slices.Clone(runs)
	off := func(p *Priced) float64 { _, e, _ := p.Errors(); return math.Abs(e) }
	slices.SortStableFunc(out, func(a, b Priced) int { return cmp.Compare(off(&b), off(&a)) })
	return out[:min(max(0, n), len(out))]
}
