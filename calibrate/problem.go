package calibrate

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"

	"gonum.org/v1/gonum/optimize"

	"orrery/hwmodel"
)

// Row is one measurement of an operator.
type Row struct {
	Shape   string // what was computed, in words; it decides whether the row is held out
	GPU     string // as measurement files name it
	DType   string
	Source  string    // who measured it
	Words   [2]string // what else names the call: a function, a collective and its link, ...
	Seconds float64
	Args    [13]float64 // the shape as numbers, in the order its operator's fit expects
	Weight  float64     // 0 counts as 1

	File string // where it was read
	Line int
}

// Fold returns which of n parts of a cross-validation the row belongs to, by a hash
// of its shape: the same shape is in the same part on every device and from every
// source.
func (r *Row) Fold(n int) int {
	h := fnv.New32a()
	h.Write([]byte(r.Shape))
	v := h.Sum32()
	v ^= v >> 15 // FNV's low bits alone spread short strings badly
	v *= 0x2c1b3c6d
	v ^= v >> 12
	return int(v % uint32(n))
}

// HeldOut tells whether the row is kept out of fits: one shape in four is, chosen
// by a hash of the shape so that the same shape is held out on every device and
// from every source.
func (r *Row) HeldOut() bool {
	h := fnv.New32a()
	h.Write([]byte(r.Shape))
	return h.Sum32()%4 == 0
}

// Parameter is one constant to be found.
type Parameter struct {
	Name       string
	Start      float64
	Low, High  float64 // open interval it stays within
	Logarithms bool    // whether it ranges over orders of magnitude
}

// Problem is a fit: a formula, its parameters and the measurements.
type Problem struct {
	Name       string
	Parameters []Parameter
	// Predict returns the seconds of the operator for r, with parameters p.
	Predict func(p []float64, r *Row) float64
	Rows    []Row
	// Clean names the sources that time the operator alone; the others get an
	// additive overhead of their own.
	Clean []string
	// Hold decides which rows are held out, nil for [Row.HeldOut].
	Hold func(r *Row) bool
	// Budget is the number of evaluations of the whole data allowed, 0 for
	// the default.
	Budget int
}

// Result is a solved [Problem].
type Result struct {
	Values   []float64
	Overhead map[string]float64 // seconds, by source
	Loss     float64            // mean absolute logarithm of predicted over measured, on the fitted rows
	Fit      hwmodel.Fit
}

// Solve finds the parameters. The search is deterministic.
func (p *Problem) Solve() (*Result, error) {
	var fit, held []Row
	hold := p.Hold
	if hold == nil {
		hold = (*Row).HeldOut
	}
	for _, r := range p.Rows {
		if hold(&r) {
			held = append(held, r)
		} else {
			fit = append(fit, r)
		}
	}
	if len(fit) == 0 || len(held) == 0 {
		return nil, fmt.Errorf("calibrate: %s: %d rows to fit and %d held out; both must be there", p.Name, len(fit), len(held))
	}
	params := slices.Clone(p.Parameters)
	sources := p.overheads(fit)
	for _, s := range sources {
		params = append(params, Parameter{Name: "overhead of " + s, Start: 2e-6, Low: 0, High: 2e-3, Logarithms: true})
	}
	n := len(p.Parameters)
	values := make([]float64, len(params))
	loss := func(x []float64) float64 {
		decode(params, x, values)
		var sum, weight float64
		for i := range fit {
			r := &fit[i]
			w := r.Weight
			if w == 0 {
				w = 1
			}
			t := p.Predict(values[:n], r) + overheadOf(r.Source, sources, values[n:])
			sum += w * math.Abs(math.Log(t/r.Seconds))
			weight += w
		}
		return sum / weight
	}
	x := make([]float64, len(params))
	for i, q := range params {
		x[i] = encode(q, q.Start)
	}
	budget := p.Budget
	if budget == 0 {
		budget = 250 * len(params)
	}
	// A simplex can fold up early; starting it anew from where it ended
	// unfolds it.
	var last float64
	for range 3 {
		res, err := optimize.Minimize(optimize.Problem{Func: loss}, x, &optimize.Settings{FuncEvaluations: budget / 3}, &optimize.NelderMead{SimplexSize: 0.6})
		if err != nil && res == nil {
			return nil, fmt.Errorf("calibrate: %s: %w", p.Name, err)
		}
		x, last = res.X, res.F
	}
	decode(params, x, values)
	out := &Result{Loss: last, Values: make([]float64, n), Overhead: map[string]float64{}}
	for i, v := range values[:n] {
		out.Values[i] = Round(v)
	}
	for i, s := range sources {
		out.Overhead[s] = values[n+i]
	}
	errs := make([]float64, len(held))
	for i := range held {
		r := &held[i]
		t := p.Predict(out.Values, r) + out.Overhead[r.Source]
		errs[i] = math.Abs(t/r.Seconds - 1)
	}
	out.Fit = hwmodel.Fit{Rows: len(fit), HeldOutRows: len(held), HeldOutMean: Round(mean(errs)), HeldOutMedian: Round(median(errs))}
	return out, nil
}

// balance gives every source the same weight in all.
func balance(rows []Row) []Row {
	count := map[string]int{}
	for i := range rows {
		count[rows[i].Source]++
	}
	for i := range rows {
		rows[i].Weight = float64(len(rows)) / float64(len(count)*count[rows[i].Source])
	}
	return rows
}

// overheads returns the sources in rows that need an overhead of their own.
func (p *Problem) overheads(rows []Row) []string {
	var out []string
	for i := range rows {
		s := rows[i].Source
		if !slices.Contains(p.Clean, s) && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

func overheadOf(source string, sources []string, values []float64) float64 {
	for i, s := range sources {
		if s == source {
			return values[i]
		}
	}
	return 0
}

// encode maps a parameter's open interval to the whole line, where the search
// walks, and decode maps it back.
func encode(q Parameter, v float64) float64 {
	if q.Logarithms {
		return math.Log(v)
	}
	u := (v - q.Low) / (q.High - q.Low)
	return math.Log(u / (1 - u))
}

func decode(params []Parameter, x, values []float64) {
	for i, q := range params {
		if q.Logarithms {
			values[i] = min(max(math.Exp(x[i]), q.Low), q.High)
		} else {
			values[i] = q.Low + (q.High-q.Low)/(1+math.Exp(-x[i]))
		}
	}
}

// Round keeps four significant digits, which is more than any of the constants
// deserves and makes a profile readable.
func Round(v float64) float64 {
	if v == 0 {
		return 0
	}
	s := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*s) / s
}

func mean(x []float64) float64 {
	var s float64
	for _, v := range x {
		s += v
	}
	return s / float64(len(x))
}

func median(x []float64) float64 {
	s := slices.Clone(x)
	slices.Sort(s)
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
