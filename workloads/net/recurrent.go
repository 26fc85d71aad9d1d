package net

// recurrent is a layer of LSTM (4 gates) or GRU (3) cells over the steps of a sample, in one or
// two directions. Libraries take the products with the inputs of all steps in one go; those
// with the state before it each step by itself, and a kernel for the gates beside.
type recurrent struct{ steps, in, hidden, gates, directions int }

func (r recurrent) params() int64 {
	return int64(r.directions) * int64(r.gates*r.hidden) * int64(r.in+r.hidden+2)
}

func (r recurrent) forward(l *list) {
	n, k, h := float64(r.gates*r.hidden), float64(r.in), float64(r.hidden)
	for range r.directions {
		l.add("gemm", "", 1, l.batch*float64(r.steps), n, k)
		l.repeat(r.steps, "gemm", "", 1, l.batch, n, h)
		l.repeat(r.steps, "elementwise", "tanh", l.batch*h, float64(r.gates)+1, 2)
	}
}

func (r recurrent) backward(l *list) {
	m, n, k, h := l.batch*float64(r.steps), float64(r.gates*r.hidden), float64(r.in), float64(r.hidden)
	for range r.directions {
		l.repeat(r.steps, "gemm", "", 1, l.batch, h, n)
		l.repeat(r.steps, "elementwise", "tanh", l.batch*h, 2*float64(r.gates), float64(r.gates)+1)
		l.add("gemm", "", 1, m, k, n)
		l.add("gemm", "", 1, k, n, m) // weights of the input
		l.add("gemm", "", 1, h, n, m) // and of the state
	}
}
