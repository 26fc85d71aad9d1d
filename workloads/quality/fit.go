package quality

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
)

// LossCurve is what a job logged.
type LossCurve struct {
	Step  []int     // steps done, increasing
	Loss  []float64 // by then
	LR    func(step int) float64
	Batch func(step int) float64
}

// reach is how far beyond the longest curve of a fit its model answers for, in times of
// its length.
const reach = 4

// Fit is a noisy quadratic model of a job.
type Fit struct {
	Model *NQM
	// Residual is the root mean square of the relative errors of the losses.
	Residual float64
	// Curvature is the largest one: the rates at which the job diverges are beyond 2 over it.
	Curvature float64
	Points    int
	Longest   int // steps of the longest curve
}

// Most is the longest run that the model answers for, in steps.
func (f *Fit) Most() int { return reach * f.Longest }

// Grid returns the peak rates to tune a schedule over: those of the standard model, in the
// job's units.
func (f *Fit) Grid() []float64 {
	out := Grid()
	for i := range out {
		out[i] /= f.Curvature
	}
	return out
}

// Forecast returns the expected loss at the end of a run, and refuses runs that are much
// longer than what was fitted.
func (f *Fit) Forecast(r Run) (float64, error) {
	if r.Steps > f.Most() {
		return math.NaN(), fmt.Errorf("%d steps, where the fitted curves have %d; want at most %d: what lies beyond is not in them", r.Steps, f.Longest, f.Most())
	}
	return f.Model.Loss(r), nil
}

// FitCurves fits the standard spectrum to loss curves: its largest curvature, the variance at the
// start, the noise, and the floor. Of these the last three enter the loss linearly, so that
// only the first is searched for. All errors are relative ones. The curves should differ in
// rate or batch: one of them alone says little of the noise.
func FitCurves(curves []LossCurve, momentum float64) (*Fit, error) {
	f := &Fit{}
	for i := range curves {
		if err := curves[i].check(); err != nil {
			return nil, fmt.Errorf("curve %d: %w", i+1, err)
		}
		f.Points += len(curves[i].Step)
		f.Longest = max(f.Longest, curves[i].Step[len(curves[i].Step)-1])
	}
	const parameters = 4
	if f.Points < 2*parameters {
		return nil, fmt.Errorf("%d points of loss curves; want at least %d", f.Points, 2*parameters)
	}
	base := Standard(1000, 70)
	base.Momentum = momentum
	best := math.Inf(1)
	try := func(log2 float64) float64 {
		k := math.Exp2(log2)
		x, err := linearFit(base.times(k), curves)
		residual := math.Sqrt(err / float64(f.Points))
		if residual < best {
			best = residual
			m := base.times(k)
			// Start and noise are known up to the scale, which takes the start to be 1.
			m.Scale, m.Start, m.Noise, m.Floor = x[0], 1, 1, x[2]
			switch {
			case x[0] > 0:
				m.Noise = x[1] / x[0]
			default:
				m.Scale, m.Start = x[1], 0
			}
			f.Model, f.Residual, f.Curvature = m, residual, k*base.H[0]
		}
		return residual
	}
	// Coarse first, for there may be several valleys, then a golden section around the best.
	at, low := 0.0, math.Inf(1)
	for log2 := -16.0; log2 <= 16; log2 += 0.5 {
		if r := try(log2); r < low {
			at, low = log2, r
		}
	}
	if math.IsInf(low, 1) {
		return nil, errors.New("no quadratic model follows the loss curves: all diverge at these learning rates")
	}
	golden(at-0.5, at+0.5, 24, try)
	return f, nil
}

func (c *LossCurve) check() error {
	switch {
	case len(c.Step) == 0 || len(c.Step) != len(c.Loss):
		return fmt.Errorf("%d steps and %d losses; want as many of each, and some", len(c.Step), len(c.Loss))
	case c.LR == nil:
		return errors.New("no learning rate; want that of every step")
	}
	for i, l := range c.Loss {
		if !(l > 0 && l <= math.MaxFloat64) {
			return fmt.Errorf("loss %d is %g; want a positive number", i+1, l)
		}
		if c.Step[i] < 0 || i > 0 && c.Step[i] <= c.Step[i-1] {
			return fmt.Errorf("step %d follows %d; want them increasing, from 0 on", c.Step[i], c.Step[max(i-1, 0)])
		}
	}
	return nil
}

// times returns the model with all curvatures times k.
func (q *NQM) times(k float64) *NQM {
	m := *q
	m.H = make([]float64, len(q.H))
	for i, h := range q.H {
		m.H[i] = k * h
	}
	return &m
}

// linearFit returns the factors, none negative, of what the start, the noise and a
// constant contribute to the losses that come nearest to them, and the sum of squares of the
// relative errors.
func linearFit(q *NQM, curves []LossCurve) (x [3]float64, err float64) {
	var rows [][4]float64 // contributions of the three, and the loss, each over the loss
	for i := range curves {
		c := &curves[i]
		start, noise := *q, *q
		start.Start, start.Noise, start.Scale, start.Floor = 1, 0, 1, 0
		noise.Start, noise.Noise, noise.Scale, noise.Floor = 0, 1, 1, 0
		p, n := start.at(c), noise.at(c)
		for k, l := range c.Loss {
			if math.IsInf(p[k], 1) || math.IsInf(n[k], 1) {
				return x, math.Inf(1)
			}
			rows = append(rows, [4]float64{p[k] / l, n[k] / l, 1 / l, 1})
		}
	}
	err = math.Inf(1)
	// Three factors: of all subsets of those above zero the best feasible one.
	for set := 1; set < 8; set++ {
		y, ok := solve(rows, set)
		if !ok {
			continue
		}
		sum := 0.0
		for _, r := range rows {
			d := y[0]*r[0] + y[1]*r[1] + y[2]*r[2] - r[3]
			sum += d * d
		}
		if sum < err {
			x, err = y, sum
		}
	}
	return x, err
}

// at returns the model's losses at the steps of a curve.
func (q *NQM) at(c *LossCurve) []float64 {
	out, next := make([]float64, len(c.Step)), 0
	last := c.Step[len(c.Step)-1]
	q.Curve(Run{Steps: last, LR: c.LR, Batch: c.Batch}, 1, func(step int, loss float64) {
		for next < len(out) && (c.Step[next] == step || math.IsInf(loss, 1)) {
			out[next] = loss
			next++
		}
	})
	return out
}

// solve solves the normal equations for the factors in a set of bits, and returns false if
// they are singular or a factor is negative.
func solve(rows [][4]float64, set int) (x [3]float64, ok bool) {
	var in []int
	for k := range 3 {
		if set>>k&1 == 1 {
			in = append(in, k)
		}
	}
	n := len(in)
	var a [3][4]float64
	for _, r := range rows {
		for i, k := range in {
			for j, l := range in {
				a[i][j] += r[k] * r[l]
			}
			a[i][3] += r[k] * r[3]
		}
	}
	for i := range n {
		pivot := i
		for j := i + 1; j < n; j++ {
			if math.Abs(a[j][i]) > math.Abs(a[pivot][i]) {
				pivot = j
			}
		}
		a[i], a[pivot] = a[pivot], a[i]
		if math.Abs(a[i][i]) < 1e-14 {
			return x, false
		}
		for j := range n {
			if j == i {
				continue
			}
			f := a[j][i] / a[i][i]
			for k := i; k < 4; k++ {
				a[j][k] -= f * a[i][k]
			}
		}
	}
	for i, k := range in {
		x[k] = a[i][3] / a[i][i]
		if !(x[k] >= 0) {
			return x, false
		}
	}
	return x, true
}

// golden narrows an interval around a minimum of f, so many times.
func golden(low, high float64, times int, f func(float64) float64) {
	const g = 0.6180339887498949
	a, b := high-g*(high-low), low+g*(high-low)
	fa, fb := f(a), f(b)
	for range times {
		if fa < fb {
			high, b, fb = b, a, fa
			a = high - g*(high-low)
			fa = f(a)
		} else {
			low, a, fa = a, b, fb
			b = low + g*(high-low)
			fb = f(b)
		}
	}
}

// ReadLossCurve reads a loss curve from CSV with columns step and loss, lr and batch if they
// are not the same throughout, in any order, named in the first line. Errors name the file
// and the line.
func ReadLossCurve(name string, r io.Reader, lr func(step int) float64, batch func(step int) float64) (*LossCurve, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = -1
	head, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("%s:1: no header; want columns step and loss", name)
	}
	column := map[string]int{}
	for i, h := range head {
		column[h] = i
	}
	for _, want := range []string{"step", "loss"} {
		if _, ok := column[want]; !ok {
			return nil, fmt.Errorf("%s:1: no column %q; want step and loss, and lr and batch if they change", name, want)
		}
	}
	c := &LossCurve{LR: lr, Batch: batch}
	var rates, batches []float64
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, csvError(name, err)
		}
		line, _ := in.FieldPos(0)
		if len(row) != len(head) {
			return nil, fmt.Errorf("%s:%d: %d fields where the header has %d", name, line, len(row), len(head))
		}
		field := func(key string) (float64, error) {
			x, err := strconv.ParseFloat(row[column[key]], 64)
			if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
				return 0, fmt.Errorf("%s:%d: %s is %q; want a number", name, line, key, row[column[key]])
			}
			return x, nil
		}
		step, err := field("step")
		if err == nil && (step != math.Trunc(step) || step < 0 || step > 1<<40 || len(c.Step) > 0 && int(step) <= c.Step[len(c.Step)-1]) {
			err = fmt.Errorf("%s:%d: step is %g; want whole numbers that increase", name, line, step)
		}
		if err != nil {
			return nil, err
		}
		loss, err := field("loss")
		if err == nil && loss <= 0 {
			err = fmt.Errorf("%s:%d: loss is %g; want a positive number", name, line, loss)
		}
		if err != nil {
			return nil, err
		}
		c.Step, c.Loss = append(c.Step, int(step)), append(c.Loss, loss)
		for _, x := range []struct {
			key  string
			list *[]float64
		}{{"lr", &rates}, {"batch", &batches}} {
			if _, ok := column[x.key]; !ok {
				continue
			}
			v, err := field(x.key)
			if err == nil && (v < 0 || v == 0 && x.key == "batch") {
				err = fmt.Errorf("%s:%d: %s is %g; want a positive number", name, line, x.key, v)
			}
			if err != nil {
				return nil, err
			}
			*x.list = append(*x.list, v)
		}
	}
	if len(c.Step) == 0 {
		return nil, fmt.Errorf("%s:2: no points; want at least one", name)
	}
	if rates != nil {
		c.LR = between(c.Step, rates)
	}
	if batches != nil {
		c.Batch = between(c.Step, batches)
	}
	if c.LR == nil {
		return nil, fmt.Errorf("%s:1: no column lr, and no rate is given otherwise", name)
	}
	return c, nil
}

// between returns the value logged last by a step, the first one before it.
func between(steps []int, values []float64) func(int) float64 {
	return func(step int) float64 {
		low, high := 0, len(steps)
		for high-low > 1 {
			if mid := (low + high) / 2; steps[mid] <= step {
				low = mid
			} else {
				high = mid
			}
		}
		return values[low]
	}
}
