package net

// conv is a convolution over maps of h x w.
type conv struct {
	cin, cout, h, w, k, stride, pad int
	bias                            bool
	first                           bool // its input needs no gradient
}

func (c conv) out() (h, w int) {
	return (c.h+2*c.pad-c.k)/c.stride + 1, (c.w+2*c.pad-c.k)/c.stride + 1
}

func (c conv) params() int64 {
	n := int64(c.cout) * int64(c.cin) * int64(c.k*c.k)
	if c.bias {
		n += int64(c.cout)
	}
	return n
}

func (c conv) pass(l *list, name string) {
	f := func(v int) float64 { return float64(v) }
	l.add("conv2d", name, l.batch, f(c.cin), f(c.h), f(c.w), f(c.cout), f(c.k), f(c.k), f(c.stride), f(c.stride), f(c.pad), f(c.pad), 1)
}

func (c conv) forward(l *list) {
	c.pass(l, "fwd")
	if c.bias {
		h, w := c.out()
		l.stream("add", l.batch*float64(c.cout*h*w), 1, 1)
	}
}

func (c conv) backward(l *list) {
	c.pass(l, "bwd_filter")
	if !c.first {
		c.pass(l, "bwd_data")
	}
}

// batchNorm normalises by channel over the batch. Its kernels stream: for inference
// once; in training a pass for the statistics and one that applies them, and backward
// two passes over input and gradient.
type batchNorm struct{ channels, elems int }

func (b batchNorm) params() int64 { return 2 * int64(b.channels) }

func (b batchNorm) forward(l *list) {
	reads := 1.0
	if l.training {
		reads = 2
	}
	l.stream("mul", l.batch*float64(b.elems), reads, 1)
}

func (b batchNorm) backward(l *list) { l.stream("mul", l.batch*float64(b.elems), 4, 1) }

// pointwise is an activation, an addition, a concatenation, a dropout, a pooling: fn
// on elems elements with the given traffic forward and backward, 0 for none.
type pointwise struct {
	fn                    string
	elems                 int
	reads, writes         float64
	backReads, backWrites float64
}

func (p pointwise) params() int64 { return 0 }

func (p pointwise) forward(l *list) { l.stream(p.fn, l.batch*float64(p.elems), p.reads, p.writes) }

func (p pointwise) backward(l *list) {
	if p.backReads > 0 {
		l.stream(p.fn, l.batch*float64(p.elems), p.backReads, p.backWrites)
	}
}

func relu(elems int) pointwise { return pointwise{"relu", elems, 1, 1, 2, 1} }

// add is a residual connection; its gradients meet in an addition as well.
func add(elems int) pointwise { return pointwise{"add", elems, 2, 1, 2, 1} }

// bias is an addition of a vector to every row; its gradient is a sum over rows.
func bias(elems int) pointwise { return pointwise{"add", elems, 1, 1, 1, 0} }

// pool takes maps of elems elements to a share of them.
func pool(elems int, share float64) pointwise {
	return pointwise{"pool", elems, 1, share, share, 1}
}

// linear maps rows of a sample from in to out features.
type linear struct{ rows, in, out int }

func (p linear) params() int64 { return int64(p.in+1) * int64(p.out) }

func (p linear) sizes(l *list) (m, n, k float64) {
	return l.batch * float64(p.rows), float64(p.out), float64(p.in)
}

func (p linear) forward(l *list) {
	m, n, k := p.sizes(l)
	l.add("gemm", "", 1, m, n, k)
}

func (p linear) backward(l *list) {
	m, n, k := p.sizes(l)
	l.add("gemm", "", 1, m, k, n)
	l.add("gemm", "", 1, k, n, m)
}

// layerNorm normalises rows of a sample.
type layerNorm struct{ rows, cols int }

func (p layerNorm) params() int64 { return 2 * int64(p.cols) }

func (p layerNorm) forward(l *list) {
	l.add("rownorm", "layernorm", l.batch*float64(p.rows), float64(p.cols))
}

// backward reads input and gradient once for the input's and once for the weights'.
func (p layerNorm) backward(l *list) { l.stream("mul", l.batch*float64(p.rows*p.cols), 4, 1) }

// attention is self-attention as frameworks ran it before fused kernels: scores,
// softmax, dropout and values are products and streams of their own.
type attention struct{ heads, dim, length int }

func (a attention) params() int64 { return 0 }

func (a attention) sizes(l *list) (b, n, d float64) {
	return l.batch * float64(a.heads), float64(a.length), float64(a.dim)
}

func (a attention) forward(l *list) {
	b, n, d := a.sizes(l)
	l.add("gemm", "", b, n, n, d)
	l.stream("add", b*n*n, 1, 1) // scaling and mask
	l.add("rownorm", "softmax", b*n, n)
	if l.training {
		l.stream("dropout", b*n*n, 1, 1.5)
	}
	l.add("gemm", "", b, n, d, n)
}

func (a attention) backward(l *list) {
	b, n, d := a.sizes(l)
	l.add("gemm", "", b, n, n, d)
	l.add("gemm", "", b, n, d, n)
	l.stream("dropout", b*n*n, 1.5, 1)
	l.stream("mul", b*n*n, 2, 1)
	l.stream("add", b*n*n, 1, 1)
	l.add("gemm", "", b, n, d, n)
	l.add("gemm", "", b, n, d, n)
}

// embedding looks rows of a table up and adds their gradients back to it.
type embedding struct{ vocabulary, length, width int }

func (e embedding) params() int64 { return int64(e.vocabulary) * int64(e.width) }

func (e embedding) forward(l *list)  { l.stream("add", l.batch*float64(e.length*e.width), 3, 1) }
func (e embedding) backward(l *list) { l.stream("add", l.batch*float64(e.length*e.width), 1, 3) }
