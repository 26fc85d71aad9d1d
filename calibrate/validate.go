package calibrate

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"orrery/hwmodel"
)

// CrossValidate predicts every row by constants fitted without its shape, in the given
// number of folds, and says how far off the predictions are. fit returns what
// predicts seconds after fitting to train. group names the rows that one model uses
// together, for [hwmodel.Fit].Spread; it may be nil.
func CrossValidate(rows []Row, folds int, fit func(train []Row) (predict func(r *Row) float64, err error), group func(r *Row) string) (hwmodel.Fit, error) {
	var logs []float64
	groups := map[string][]float64{}
	for fold := range folds {
		var train, test []Row
		for _, r := range rows {
			if r.Fold(folds) == fold {
				test = append(test, r)
			} else {
				train = append(train, r)
			}
		}
		if len(test) == 0 {
			continue
		}
		if len(train) == 0 {
			return hwmodel.Fit{}, fmt.Errorf("calibrate: all %d rows have one shape, too few to hold any out", len(rows))
		}
		predict, err := fit(train)
		if err != nil {
			return hwmodel.Fit{}, err
		}
		for i := range test {
			v := math.Log(test[i].Seconds / predict(&test[i]))
			logs = append(logs, v)
			if group != nil {
				g := group(&test[i])
				groups[g] = append(groups[g], v)
			}
		}
	}
	f := errorsOf(logs)
	f.Rows, f.Spread = len(rows), Round(spread(groups))
	return f, nil
}

// errorsOf sums up ln(measured / predicted).
func errorsOf(logs []float64) hwmodel.Fit {
	if len(logs) == 0 {
		return hwmodel.Fit{}
	}
	errs, abs := make([]float64, len(logs)), make([]float64, len(logs))
	for i, v := range logs {
		errs[i], abs[i] = math.Abs(math.Exp(-v)-1), math.Abs(v)
	}
	slices.Sort(errs)
	slices.Sort(abs)
	return hwmodel.Fit{
		HeldOutRows: len(logs), HeldOutMean: Round(mean(errs)), HeldOutMedian: Round(median(errs)),
		HeldOutP90: Round(quantile(errs, 0.9)), Band: Round(quantile(abs, 0.9)),
	}
}

// quantile returns the smallest value that at least a share q of sorted values do
// not exceed.
func quantile(sorted []float64, q float64) float64 {
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// spread returns the standard deviation around 0 of the groups' means, what the
// scatter within a group puts into its mean taken out.
func spread(groups map[string][]float64) float64 {
	var sum, n float64
	for _, k := range sortedKeys(groups) {
		g := groups[k]
		if len(g) < 3 {
			continue
		}
		m := mean(g)
		var v float64
		for _, x := range g {
			v += (x - m) * (x - m)
		}
		sum += m*m - v/float64(len(g)*(len(g)-1))
		n++
	}
	if n == 0 || sum <= 0 {
		return 0
	}
	return math.Sqrt(sum / n)
}

// spreadBy returns the spread of logs over the octaves of a size: what one model asks of
// an operator lies within a few of them, so that their common error does not average
// out over its calls.
func spreadBy(rows []Row, logs []float64, size func(r *Row) float64) float64 {
	groups := map[string][]float64{}
	for i := range rows {
		k := fmt.Sprint(rows[i].Words, math.Floor(math.Log2(max(size(&rows[i]), 1))))
		groups[k] = append(groups[k], logs[i])
	}
	return Round(spread(groups))
}

// sortedKeys returns the keys of m in order.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}

// Roofline is the baseline that every operator is held against: the larger of FLOPs
// over a share of the peak and bytes over a share of the bandwidth, plus an overhead.
type Roofline struct{ Compute, Bandwidth, Overhead float64 }

// Time returns the seconds of r, an operator's row on d.
func (b *Roofline) Time(o *Operator, d *hwmodel.Device, r *Row) float64 {
	flops, bytes := o.Work(r)
	return b.Overhead + max(flops/(d.FLOPs(r.DType)*b.Compute), bytes/(d.DRAMBytes*b.Bandwidth))
}

// FitRoofline finds the three constants by a grid search that minimises the mean
// absolute relative error. Rows are of one device, dtype and source.
func FitRoofline(o *Operator, d *hwmodel.Device, rows []Row) Roofline {
	type work struct{ compute, stream, seconds float64 }
	ws := make([]work, len(rows))
	overheads := []float64{0}
	shortest := math.Inf(1)
	var most, quickest float64 // compute and stream seconds of a row over those measured
	for i := range rows {
		flops, bytes := o.Work(&rows[i])
		w := work{flops / d.FLOPs(rows[i].DType), bytes / d.DRAMBytes, rows[i].Seconds}
		ws[i] = w
		shortest = min(shortest, w.seconds)
		most, quickest = max(most, w.compute/w.seconds), max(quickest, w.stream/w.seconds)
	}
	// A collective has no FLOPs and moves its bytes over links far below the bandwidth
	// of memory: the grid reaches as far down as it takes.
	lowest := min(0.04, 0.2*quickest)
	highest := 1.3
	if most == 0 {
		highest = 0.04
	}
	for s := 0.1; s <= 3; s *= 1.25 {
		overheads = append(overheads, shortest*s)
	}
	best, loss := Roofline{1, 1, 0}, math.Inf(1)
	for c := 0.04; c <= highest; c *= 1.08 {
		for b := lowest; b <= 1.3; b *= 1.08 {
			for _, v := range overheads {
				var sum float64
				for i := range ws {
					w := &ws[i]
					sum += math.Abs((v+max(w.compute/c, w.stream/b))/w.seconds - 1)
				}
				if sum < loss {
					best, loss = Roofline{c, b, v}, sum
				}
			}
		}
	}
	return best
}

// heldOutLogs returns ln(measured / predicted) of every row, predicted by constants
// fitted without its shape, in the order of rows. Rows whose shape is in every other
// fold's training too few to fit are predicted by what fit makes of the rest.
func heldOutLogs(rows []Row, folds int, fit func(train []Row) (predict func(r *Row) float64, err error)) ([]float64, error) {
	logs := make([]float64, len(rows))
	for fold := range folds {
		var train []Row
		var test []int
		for i := range rows {
			if rows[i].Fold(folds) == fold {
				test = append(test, i)
			} else {
				train = append(train, rows[i])
			}
		}
		if len(test) == 0 {
			continue
		}
		if len(train) == 0 {
			return nil, fmt.Errorf("all %d rows have one shape, too few to hold any out", len(rows))
		}
		predict, err := fit(train)
		if err != nil {
			return nil, err
		}
		for _, i := range test {
			logs[i] = math.Log(rows[i].Seconds / predict(&rows[i]))
		}
	}
	return logs, nil
}

// heldOutBaseline returns the absolute relative error of the roofline on every row,
// fitted without the row's shape.
func heldOutBaseline(o *Operator, d *hwmodel.Device, rows []Row, folds int) []float64 {
	logs, err := heldOutLogs(rows, folds, func(train []Row) (func(r *Row) float64, error) {
		b := FitRoofline(o, d, thin(train, 300))
		return func(r *Row) float64 { return b.Time(o, d, r) }, nil
	})
	out := make([]float64, len(rows))
	for i := range out {
		if err == nil {
			out[i] = math.Abs(math.Exp(-logs[i]) - 1)
		}
	}
	return out
}

// derivedBand is the least half-width of the 90 % band of derived constants: where a
// device with measurements is predicted from its donors alone ([Transfer]), nine in
// ten rows lie within a factor of 1.65.
const derivedBand = 0.5

// derivedSpread is the standard deviation that goes with that band if errors are
// normal. Most of it is one bias for each device, which averages out over nothing.
const derivedSpread = 0.3

// derivedFit marks constants as taken over from a donor's device.
func derivedFit(donor *hwmodel.Profile, f hwmodel.Fit) hwmodel.Fit {
	return hwmodel.Fit{Derived: true, Source: "as on " + donor.Device.Name + " (" + f.Source + ")", Band: max(f.Band, derivedBand), Spread: max(f.Spread, derivedSpread)}
}
