package quality

import "math"

// NQM is the noisy quadratic model of Zhang and others ("Which algorithmic choices matter at
// which batch sizes?", NeurIPS 2019): a loss 1/2 sum h_i x_i^2 over independent coordinates,
// whose gradients h_i x_i + e_i carry noise of variance Noise h_i / batch. The noise is aligned
// with the curvature, as it is near the optimum of a network.
type NQM struct {
	H    []float64 // curvatures
	Mult []float64 // how many coordinates have each
	// Start is E x_i^2 before the first step, Noise the variance of a gradient of one sample in
	// units of h_i, Scale what a unit of the model's loss is worth in that of the job, and
	// Floor what the job's loss does not fall below. The standard model has 1, 1, 1, 0.
	Start, Noise, Scale, Floor float64
	Momentum                   float64 // of SGD, 0 for none
}

// Run is what is decided of one run.
type Run struct {
	Steps int
	LR    func(step int) float64 // absolute
	Batch func(step int) float64 // samples of a step, nil for 1
}

// Standard returns the model with h_i = 1/i for i = 1 to d, grouped into bins of like
// curvature: the mean of each bin stands for it. With d = 1000 and 70 bins losses agree
// with those of the single coordinates to four digits.
func Standard(d, bins int) *NQM {
	q := &NQM{Start: 1, Noise: 1, Scale: 1}
	edge := func(k int) float64 { return math.Pow(float64(d), float64(k)/float64(bins)) }
	from := 1
	for k := 1; k <= bins; k++ {
		to := int(math.Round(edge(k)))
		if k == bins {
			to = d
		}
		if to < from {
			continue
		}
		sum := 0.0
		for i := from; i <= to; i++ {
			sum += 1 / float64(i)
		}
		n := float64(to - from + 1)
		q.H, q.Mult = append(q.H, sum/n), append(q.Mult, n)
		from = to + 1
	}
	return q
}

// diverged is a loss at which a run is given up, times that of coordinates of variance 1.
const diverged = 1e6

// Loss returns the expected loss at the end of a run, +Inf if it diverges.
func (q *NQM) Loss(r Run) float64 {
	loss := math.NaN()
	q.run(r, r.Steps, func(_ int, l float64) { loss = l })
	return loss
}

// Curve calls visit with the expected loss before the first step and after every so many.
func (q *NQM) Curve(r Run, every int, visit func(step int, loss float64)) {
	visit(0, q.Floor+q.Scale*q.loss(q.moments()))
	q.run(r, max(every, 1), visit)
}

// run carries the second moments forward.
func (q *NQM) run(r Run, every int, visit func(step int, loss float64)) {
	m := q.moments()
	limit := diverged * max(q.Start, 1) * q.curvature() / 2
	for t := range r.Steps {
		noise := q.Noise
		if r.Batch != nil {
			noise /= r.Batch(t)
		}
		q.step(m, r.LR(t), noise)
		if (t+1)%every != 0 && t+1 != r.Steps {
			continue
		}
		l := q.loss(m)
		if !(l < limit) {
			visit(t+1, math.Inf(1))
			return
		}
		visit(t+1, q.Floor+q.Scale*l)
	}
}

// Norms returns the root of the expected squared norm of the gradient at every step of a
// run, noise included: what a job would log.
func (q *NQM) Norms(r Run) []float64 {
	m, out := q.moments(), make([]float64, r.Steps)
	for t := range out {
		noise := q.Noise
		if r.Batch != nil {
			noise /= r.Batch(t)
		}
		sum := 0.0
		for i, h := range q.H {
			sum += q.Mult[i] * h * (h*m.a[i] + noise)
		}
		out[t] = math.Sqrt(sum)
		q.step(m, r.LR(t), noise)
	}
	return out
}

// moments are expectations by curvature: A = E x^2, B = E x v, C = E v^2.
type moments struct{ a, b, c []float64 }

func (q *NQM) moments() *moments {
	m := &moments{a: make([]float64, len(q.H))}
	for i := range m.a {
		m.a[i] = q.Start
	}
	if q.Momentum != 0 {
		m.b, m.c = make([]float64, len(q.H)), make([]float64, len(q.H))
	}
	return m
}

// curvature is the sum of all.
func (q *NQM) curvature() float64 {
	sum := 0.0
	for i, h := range q.H {
		sum += q.Mult[i] * h
	}
	return sum
}

func (q *NQM) loss(m *moments) float64 {
	sum := 0.0
	for i, h := range q.H {
		sum += q.Mult[i] * h * m.a[i]
	}
	return sum / 2
}

func (q *NQM) step(m *moments, lr, noise float64) {
	if q.Momentum == 0 {
		m.sgd(q.H, lr, noise)
	} else {
		m.momentum(q.H, lr, noise, q.Momentum)
	}
}

// sgd is a step x' = x - lr g.
func (m *moments) sgd(h []float64, lr, noise float64) {
	for i, h := range h {
		keep := 1 - lr*h
		m.a[i] = keep*keep*m.a[i] + lr*lr*h*noise
	}
}

// momentum is a step v' = b v + g, x' = x - lr v'.
func (m *moments) momentum(h []float64, lr, noise, b float64) {
	for i, h := range h {
		c := b*b*m.c[i] + 2*b*h*m.b[i] + h*h*m.a[i] + h*noise
		x := b*m.b[i] + h*m.a[i]
		m.a[i] += -2*lr*x + lr*lr*c
		m.b[i] = x - lr*c
		m.c[i] = c
	}
}
