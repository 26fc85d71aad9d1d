package kernel

import "math"

// rowsTask is an operator on each row of a matrix for itself.
type rowsTask struct {
	y, x, gain []float32
	rows, cols int
	size       int // rows of an item
	of         func(t *rowsTask, row int)
}

func (t *rowsTask) do(_ *worker, item int) {
	for r := item * t.size; r < min((item+1)*t.size, t.rows); r++ {
		t.of(t, r)
	}
}

func (s *Set) eachRow(t rowsTask, cost int) {
	items, size := pieces(t.rows, cost*t.cols)
	t.size = size
	s.rows = t
	s.each(items, &s.rows)
}

// normEpsilon keeps a row of zeros from dividing by zero (Llama's rms_norm_eps).
const normEpsilon = 1e-5

// RMSNorm computes y = gain * x / rms(x) for each row of x (B. Zhang and R. Sennrich,
// arXiv:1910.07467): x and y are rows×cols, gain has cols numbers.
func (s *Set) RMSNorm(y, x, gain []float32, rows, cols int) {
	s.eachRow(rowsTask{y: y, x: x, gain: gain, rows: rows, cols: cols, of: rmsNorm}, 2)
}

func rmsNorm(t *rowsTask, r int) {
	x, y := t.x[r*t.cols:(r+1)*t.cols], t.y[r*t.cols:(r+1)*t.cols]
	var s0, s1, s2, s3 float32 // four sums, so that an addition need not wait for the last
	i := 0
	for ; i+4 <= len(x); i += 4 {
		s0 += float32(x[i] * x[i])
		s1 += float32(x[i+1] * x[i+1])
		s2 += float32(x[i+2] * x[i+2])
		s3 += float32(x[i+3] * x[i+3])
	}
	for ; i < len(x); i++ {
		s0 += float32(x[i] * x[i])
	}
	mean := float64((s0+s1)+(s2+s3)) / float64(len(x))
	scale := float32(1 / math.Sqrt(mean+normEpsilon))
	for i, v := range x {
		y[i] = v * scale * t.gain[i]
	}
}

// SiLUMul computes y = silu(gate) * up, the activation of a gated MLP: a row of x is the
// gate's cols numbers, then up's (N. Shazeer, arXiv:2002.05202, SwiGLU); y is rows×cols.
func (s *Set) SiLUMul(y, x []float32, rows, cols int) {
	s.eachRow(rowsTask{y: y, x: x, rows: rows, cols: cols, of: siluMul}, 8)
}

func siluMul(t *rowsTask, r int) {
	gate, up := t.x[2*r*t.cols:(2*r+1)*t.cols], t.x[(2*r+1)*t.cols:(2*r+2)*t.cols]
	y := t.y[r*t.cols : (r+1)*t.cols]
	for i, g := range gate {
		y[i] = g / (1 + exp32(min(-g, 80))) * up[i]
	}
}

// Softmax replaces each row of x, rows×cols, by its softmax.
func (s *Set) Softmax(x []float32, rows, cols int) {
	s.eachRow(rowsTask{x: x, rows: rows, cols: cols, of: softmaxRow}, 8)
}

func softmaxRow(t *rowsTask, r int) { softmax(t.x[r*t.cols:(r+1)*t.cols], 1) }

// softmax replaces x by softmax(scale * x).
func softmax(x []float32, scale float32) {
	top := x[0]
	for _, v := range x {
		top = max(top, v)
	}
	var sum float32
	for i, v := range x {
		e := exp32(scale * (v - top))
		x[i] = e
		sum += e
	}
	inverse := 1 / sum
	for i := range x {
		x[i] *= inverse
	}
}

// elementsTask is an operator on each number for itself.
type elementsTask struct {
	y, x []float32
	size int
	of   func(y, x []float32)
}

// Add computes y += x.
func (s *Set) Add(y, x []float32) { s.eachElement(y, x, add) }

// Copy copies x to y, which is as long. No model needs it; it shows how fast memory is.
func (s *Set) Copy(y, x []float32) { s.eachElement(y, x, func(y, x []float32) { copy(y, x) }) }

func (s *Set) eachElement(y, x []float32, of func(y, x []float32)) {
	items, size := pieces(len(y), 1)
	s.elements = elementsTask{y, x, size, of}
	s.each(items, &s.elements)
}

func (t *elementsTask) do(_ *worker, item int) {
	lo, hi := item*t.size, min((item+1)*t.size, len(t.y))
	t.of(t.y[lo:hi], t.x[lo:hi])
}

func add(y, x []float32) {
	for i, v := range x {
		y[i] += v
	}
}
