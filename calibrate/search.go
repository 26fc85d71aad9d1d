package calibrate

import (
	"math"

	"gonum.org/v1/gonum/optimize"
)

// Search finds the values of parameters that make loss small, starting from where they
// start, by a simplex that is unfolded anew a few times. It is deterministic. A loss
// that is not a number counts as infinite.
func Search(params []Parameter, loss func(values []float64) float64) []float64 {
	values := make([]float64, len(params))
	if len(params) == 0 {
		return values
	}
	f := func(x []float64) float64 {
		decode(params, x, values)
		if v := loss(values); !math.IsNaN(v) {
			return v
		}
		return math.MaxFloat64
	}
	x := make([]float64, len(params))
	for i, q := range params {
		x[i] = encode(q, q.Start)
	}
	for range 3 {
		res, err := optimize.Minimize(optimize.Problem{Func: f}, x, &optimize.Settings{FuncEvaluations: 80 * len(params)}, &optimize.NelderMead{SimplexSize: 0.6})
		if res == nil {
			panic(err) // only a problem without a function or dimensions has no result
		}
		x = res.X
	}
	decode(params, x, values)
	for i, v := range values {
		values[i] = Round(v)
	}
	return values
}

// Strayed returns how far values lie from where the parameters start, squared and
// summed, on the scale on which they are searched: what a fit to few rows pays for
// leaving its prior.
func Strayed(params []Parameter, values []float64) float64 {
	var sum float64
	for i, q := range params {
		v := encode(q, values[i]) - encode(q, q.Start)
		sum += v * v
	}
	return sum
}
