package calibrate

import (
	"cmp"
	"hash/fnv"
	"math"
	"slices"

	"gonum.org/v1/gonum/optimize"
)

// Search finds the values of parameters that make loss small, starting from where they
// start, by a simplex that is unfolded anew a few times. It is deterministic. A loss
// that is not a number counts as infinite.
func Search(params []Parameter, loss func(values []float64) float64) []float64 {
	return SearchWithin(240*len(params), params, loss)
}

// SearchWithin is [Search] with a bound on how often loss is evaluated.
func SearchWithin(evaluations int, params []Parameter, loss func(values []float64) float64) []float64 {
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
		res, err := optimize.Minimize(optimize.Problem{Func: f}, x, &optimize.Settings{FuncEvaluations: evaluations / 3}, &optimize.NelderMead{SimplexSize: 0.6})
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

// inside moves starts on the rim of their interval, which have no place on the whole
// line, a little in.
func inside(ps []Parameter) {
	for i := range ps {
		// A start on the rim has no place on the whole line.
		q := &ps[i]
		margin := 1e-3 * (q.High - q.Low)
		if q.Logarithms {
			q.Start = min(max(q.Start, q.Low*1.01), q.High/1.01)
		} else {
			q.Start = min(max(q.Start, q.Low+margin), q.High-margin)
		}
	}
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

// sampled returns n of the rows, or all if there are fewer, chosen by a hash of their
// shapes.
func sampled(rows []Row, n int) []Row {
	if len(rows) <= n {
		return rows
	}
	type hashed struct {
		hash uint64
		at   int
	}
	order := make([]hashed, len(rows))
	for i := range rows {
		h := fnv.New64a()
		h.Write([]byte(rows[i].Shape))
		order[i] = hashed{h.Sum64() * 0x9e3779b97f4a7c15, i}
	}
	slices.SortFunc(order, func(a, b hashed) int { return cmp.Or(cmp.Compare(a.hash, b.hash), a.at-b.at) })
	out := make([]Row, n)
	for i := range out {
		out[i] = rows[order[i].at]
	}
	return out
}
