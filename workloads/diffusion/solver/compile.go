package solver

import (
	"math"

	"orrery/workloads/diffusion/analytic"
)

// A step of an exponential integrator is linear in what it starts from and in the model's
// answers. With lambda = log(alpha/sigma), h its difference over the step, and F^(k) the k-th
// derivative of the prediction in lambda at the start s (Lu and others, 2022; seen as one in the Unified
// Sampling Framework, 2024):
//
//	noise: x_t = alpha_t/alpha_s x_s - sigma_t sum_k h^(k+1) phi_(k+1)(h)  F^(k)
//	data:  x_t = sigma_t/sigma_s x_s + alpha_t sum_k h^(k+1) phi_(k+1)(-h) F^(k)
//
// and the derivatives are estimated from answers at other points.

// combination is one such step: scale x_from + sum of weights times predictions.
type combination struct {
	from       int
	scale      float64
	prediction Prediction
	at         []int
	weights    []float64
}

// program is a compiled schedule.
type program struct {
	points []point
	moves  []move
}

// point is a time of the schedule.
type point struct{ t, alpha, sigma, lambda float64 }

// move is a compiled step.
type move struct {
	predict, correct combination
	corrector        Corrector
}

// compile returns the program of a checked schedule.
func compile(s *Schedule) *program {
	p := &program{points: make([]point, len(s.Times)), moves: make([]move, len(s.Steps))}
	for i, t := range s.Times {
		alpha, sigma := analytic.Noise(t)
		p.points[i] = point{t, alpha, sigma, analytic.LogSNR(t)}
	}
	for i := range s.Steps {
		step := &s.Steps[i]
		base := i + 1 - max(step.Back, 1)
		others := p.others(i, base, step.Order-1)
		m := &p.moves[i]
		m.corrector = step.Corrector
		if step.Basis == InTime {
			m.predict = p.inTime(step, base, others, i+1)
			continue
		}
		first := step.Points
		if first == 0 {
			first = step.Order - 1
		}
		m.predict = p.inLogSNR(step, step.Scaling, base, others, first, i+1)
		if step.Corrector != Uncorrected {
			scaling := step.Scaling
			if step.Order > 1 {
				scaling = Taylor // two points or more fix both terms, whatever their scaling
			}
			m.correct = p.inLogSNR(step, scaling, base, append([]int{i + 1}, others...), step.Order, i+1)
		}
	}
	return p
}

// others returns the n latest points up to i, base aside, the latest first.
func (p *program) others(i, base, n int) []int {
	var out []int
	for j := i; j >= 0 && len(out) < n; j-- {
		if j != base {
			out = append(out, j)
		}
	}
	return out
}

// inLogSNR returns the step from base to the point end whose derivatives are estimated from the
// answers at others, the first one from the first few of these.
func (p *program) inLogSNR(step *Step, scaling Scaling, base int, others []int, first, end int) combination {
	s, t := p.points[base], p.points[end]
	h := t.lambda - s.lambda
	c := combination{from: base, scale: t.sigma / s.sigma, prediction: step.Prediction, at: append([]int{base}, others...)}
	c.weights = make([]float64, len(c.at))
	z, factor := -h, t.alpha
	if step.Prediction == Noise {
		c.scale, z, factor = t.alpha/s.alpha, h, -t.sigma
	}
	c.weights[0] = factor * h * phi(1, z)
	for k := 1; k <= len(others); k++ {
		weight := h * phi(k+1, z) // of h^k F^(k)
		m := len(others)
		if k == 1 {
			m = first
			switch scaling {
			case Half:
				weight = h * phi(1, z) / 2
			case Plain:
				weight = h / 2
			}
			weight *= 1 + step.Relax*h
		}
		for j, a := range p.difference(base, others[:m], k, h) {
			c.weights[1+j] += factor * weight * a
			c.weights[0] -= factor * weight * a
		}
	}
	return c
}

// difference returns the factors a of the differences to the answer at base that estimate h^k times
// the k-th derivative: sum_j a_j r_j^i / i! is 1 for i = k and 0 for the others, with r the distances
// in units of h.
func (p *program) difference(base int, others []int, k int, h float64) []float64 {
	m := len(others)
	var a [MaxOrder][MaxOrder + 1]float64
	for j, o := range others {
		r := (p.points[o].lambda - p.points[base].lambda) / h
		power := 1.0
		for i := range m {
			power *= r / float64(i+1)
			a[i][j] = power
		}
	}
	a[k-1][m] = 1
	return solve(&a, m)
}

// solve solves m linear equations, whose right sides are in column m, by elimination with pivots.
func solve(a *[MaxOrder][MaxOrder + 1]float64, m int) []float64 {
	for c := range m {
		best := c
		for r := c + 1; r < m; r++ {
			if math.Abs(a[r][c]) > math.Abs(a[best][c]) {
				best = r
			}
		}
		a[c], a[best] = a[best], a[c]
		for r := range m {
			if r == c {
				continue
			}
			f := a[r][c] / a[c][c]
			for j := c; j <= m; j++ {
				a[r][j] -= f * a[c][j]
			}
		}
	}
	x := make([]float64, m)
	for i := range x {
		x[i] = a[i][m] / a[i][i]
	}
	return x
}

// inTime returns the step of DEIS (Zhang and Chen, 2023): the answers are interpolated by a polynomial
// in time, and each Lagrange basis is integrated with the exponential weight.
func (p *program) inTime(step *Step, base int, others []int, end int) combination {
	s, t := p.points[base], p.points[end]
	c := combination{from: base, scale: t.sigma / s.sigma, prediction: step.Prediction, at: append([]int{base}, others...)}
	c.weights = make([]float64, len(c.at))
	if step.Prediction == Noise {
		c.scale = t.alpha / s.alpha
	}
	h := t.lambda - s.lambda
	for q, x := range legendreX {
		lambda := s.lambda + h*(1+x)/2
		weight := legendreW[q] * h / 2
		// d x / d lambda, carried from lambda to the end of the step
		if step.Prediction == Noise {
			weight *= -t.alpha * math.Exp(-lambda)
		} else {
			weight *= t.sigma * math.Exp(lambda)
		}
		tau := analytic.TimeOf(lambda)
		for j, own := range c.at {
			l := 1.0
			for _, other := range c.at {
				if other != own {
					l *= (tau - p.points[other].t) / (p.points[own].t - p.points[other].t)
				}
			}
			c.weights[j] += weight * l
		}
	}
	return c
}

// phi returns phi_k(z): phi_0 is e^z, and phi_(k+1)(z) = (phi_k(z) - 1/k!) / z. The recursion loses
// a digit for each one of z, so small arguments take the series sum_n z^n / (n+k)!.
func phi(k int, z float64) float64 {
	if math.Abs(z) < 2 {
		term := 1.0
		for i := 2; i <= k; i++ {
			term /= float64(i)
		}
		sum := 0.0
		for n := 1; math.Abs(term) > 1e-18*math.Abs(sum); n++ {
			sum += term
			term *= z / float64(n+k)
		}
		return sum
	}
	value := math.Exp(z)
	factorial := 1.0
	for i := range k {
		if i > 1 {
			factorial *= float64(i)
		}
		value = (value - 1/factorial) / z
	}
	return value
}

// legendreX and legendreW are the nodes and weights of Gauss and Legendre's rule on (-1, 1).
var legendreX, legendreW = legendre(32)

// legendre finds the roots of the Legendre polynomial by Newton's method.
func legendre(n int) (x, w []float64) {
	x, w = make([]float64, n), make([]float64, n)
	for i := range n {
		z := math.Cos(math.Pi * (float64(i) + 0.75) / (float64(n) + 0.5))
		slope := 0.0
		for range 100 {
			below, at := 0.0, 1.0
			for j := range n {
				below, at = at, ((2*float64(j)+1)*z*at-float64(j)*below)/float64(j+1)
			}
			slope = float64(n) * (z*at - below) / (z*z - 1)
			step := at / slope
			z -= step
			if math.Abs(step) < 1e-15 {
				break
			}
		}
		x[i], w[i] = z, 2/((1-z*z)*slope*slope)
	}
	return x, w
}
