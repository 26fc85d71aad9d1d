package calibrate

import "orrery/hwmodel"

// Stated sums up what a profile says of its own errors with an operator: its measured
// sets of constants, each weighed by its rows. General sets
// beside special ones do not count.
func Stated(o *Operator, p *hwmodel.Profile) hwmodel.Fit {
	var sum hwmodel.Fit
	var weight float64
	fits := o.Fits
	if o.Distinct != nil {
		fits = o.Distinct
	}
	for _, f := range fits(p) {
		if f.Fit.Derived {
			continue
		}
		n := float64(f.Fit.HeldOutRows)
		sum.Rows += f.Fit.Rows
		sum.HeldOutRows += f.Fit.HeldOutRows
		sum.HeldOutMean += n * f.Fit.HeldOutMean
		sum.HeldOutMedian += n * f.Fit.HeldOutMedian
		sum.HeldOutP90 += n * f.Fit.HeldOutP90
		sum.Baseline += n * f.Fit.Baseline
		sum.Band += n * f.Fit.Band
		weight += n
	}
	if weight > 0 {
		sum.HeldOutMean /= weight
		sum.HeldOutMedian /= weight
		sum.HeldOutP90 /= weight
		sum.Baseline /= weight
		sum.Band /= weight
	}
	return sum
}
