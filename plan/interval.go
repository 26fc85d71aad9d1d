package plan

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"orrery/report"
)

// Confidence is the level of every interval of this package.
const Confidence = 0.95

// Interval is a mean over independent replications (seeds) with a confidence
// interval. It assumes that replications are about normally distributed, and
// nothing about the samples within one, which are correlated: an interval over
// requests would be far too narrow. Figures that do not exist are null: the ends of
// an interval of one replication, everything of none.
type Interval struct {
	N      int           `json:"n"` // replications that have the figure
	Mean   report.Number `json:"mean"`
	Low    report.Number `json:"low"` // ends of the 95 % interval of the mean, Student t
	High   report.Number `json:"high"`
	Median report.Number `json:"median"`
	Min    report.Number `json:"min"`
	Max    report.Number `json:"max"`
}

// NewInterval returns the interval of replications. Values that are not finite are
// left out.
func NewInterval(values []float64) Interval {
	v := make([]float64, 0, len(values))
	for _, x := range values {
		if report.Number(x).Exists() {
			v = append(v, x)
		}
	}
	none := report.None
	in := Interval{N: len(v), Mean: none, Low: none, High: none, Median: none, Min: none, Max: none}
	if len(v) == 0 {
		return in
	}
	slices.Sort(v)
	in.Min, in.Max, in.Median = report.Number(v[0]), report.Number(v[len(v)-1]), report.Number(median(v))
	mean, sd := stat.MeanStdDev(v, nil)
	in.Mean = report.Number(mean)
	if len(v) > 1 {
		half := studentT(len(v)-1) * sd / math.Sqrt(float64(len(v)))
		in.Low, in.High = report.Number(mean-half), report.Number(mean+half)
	}
	return in
}

// studentT returns the factor of a two-sided interval with the given degrees of
// freedom.
func studentT(freedom int) float64 {
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(freedom)}.Quantile(0.5 + Confidence/2)
}

// median returns the middle of sorted values, the mean of the two middle ones if
// their number is even.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// differences returns the interval of b[i]-a[i] over the replications that have
// both. Pairing takes away what the replications have in common, such as a seed
// with long prompts.
func differences(a, b []float64) Interval {
	d := make([]float64, 0, len(a))
	for i := range a {
		d = append(d, b[i]-a[i])
	}
	return NewInterval(d)
}

// ratios returns the interval of b[i]/a[i], and false unless all of them are above
// zero. It is the interval of the logarithms, turned back: ratios are skewed, and a
// half is as far from one as a double. Its mean is the geometric one.
func ratios(a, b []float64) (Interval, bool) {
	logs := make([]float64, len(a))
	for i := range a {
		logs[i] = math.Log(b[i] / a[i])
		if !(a[i] > 0 && b[i] > 0) || math.IsInf(logs[i], 0) {
			return Interval{}, false
		}
	}
	in := NewInterval(logs)
	for _, n := range []*report.Number{&in.Mean, &in.Low, &in.High, &in.Median, &in.Min, &in.Max} {
		*n = report.Number(math.Exp(float64(*n)))
	}
	return in, in.N > 0
}
