package calibrate

import (
	"fmt"
	"math"
	"slices"

	"orrery/hwmodel"
)

// EngineFit finds what an engine's host adds to iterations, from published times of whole
// iterations on devices whose operators were fitted before.
type EngineFit struct {
	Engine     hwmodel.Engine // what is known beforehand; its kernels decide the devices' part
	Parameters []Parameter
	// Set writes parameters into a copy of Engine.
	Set  func(e *hwmodel.Engine, v []float64)
	Rows []EngineRow
}

// Solve returns the parameters found. Parts count alike, whatever their
// number of rows. The errors are of rows whose part had no say: each part is
// predicted by constants found without it.
func (f *EngineFit) Solve(p *Pricer) ([]float64, hwmodel.Fit, error) {
	parts := map[string][]int{}
	for i := range f.Rows {
		parts[f.Rows[i].Part] = append(parts[f.Rows[i].Part], i)
	}
	names := sortedKeys(parts)
	if len(names) < 2 {
		return nil, hwmodel.Fit{}, fmt.Errorf("calibrate: engine %s: its %d rows are of %d parts; want 2 or more, so that each can be predicted from the others", f.Engine.Name, len(f.Rows), len(names))
	}
	for i := range f.Rows { // prices every row once, which finds what cannot be priced
		if _, err := p.Price(&f.Rows[i], &f.Engine); err != nil {
			return nil, hwmodel.Fit{}, err
		}
	}
	fit := hwmodel.Fit{Rows: len(f.Rows)}
	var errs, logs, means []float64
	for _, held := range names {
		e := f.with(f.search(p, parts, held))
		var sum float64
		for _, i := range parts[held] {
			r := f.ratio(p, i, e)
			sum += math.Log(r)
			logs = append(logs, math.Abs(math.Log(r)))
			errs = append(errs, math.Abs(r-1))
		}
		means = append(means, sum/float64(len(parts[held])))
	}
	slices.Sort(errs)
	slices.Sort(logs)
	fit.HeldOutRows, fit.HeldOutMean, fit.HeldOutMedian, fit.HeldOutP90 = len(errs), Round(mean(errs)), Round(median(errs)), Round(quantile(errs, 0.9))
	fit.Band, fit.Spread = Round(quantile(logs, 0.9)), Round(rootMeanSquare(means))
	return f.search(p, parts, ""), fit, nil
}

// search finds the parameters without the rows of one part.
func (f *EngineFit) search(p *Pricer, parts map[string][]int, without string) []float64 {
	names := sortedKeys(parts)
	return Search(f.Parameters, func(v []float64) float64 {
		e := f.with(v)
		var loss float64
		for _, n := range names {
			if n == without {
				continue
			}
			var sum float64
			for _, i := range parts[n] {
				sum += math.Abs(math.Log(f.ratio(p, i, e)))
			}
			loss += sum / float64(len(parts[n]))
		}
		return loss
	})
}

// with returns the engine with parameters v.
func (f *EngineFit) with(v []float64) *hwmodel.Engine {
	e := f.Engine
	e.Hosts, e.Machines = slices.Clone(e.Hosts), slices.Clone(e.Machines)
	f.Set(&e, v)
	return &e
}

// ratio returns the predicted time of row i over the measured one.
func (f *EngineFit) ratio(p *Pricer, i int, e *hwmodel.Engine) float64 {
	v, err := p.Price(&f.Rows[i], e)
	if err != nil {
		panic(err) // every row was priced once before
	}
	return v / f.Rows[i].Seconds
}

func rootMeanSquare(x []float64) float64 {
	var s float64
	for _, v := range x {
		s += float64(v * v)
	}
	return math.Sqrt(s / float64(len(x)))
}
