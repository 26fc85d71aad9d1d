package calibrate

import "math"

// nonNegative is a linear least-squares problem whose unknowns are 0 or more, kept as
// normal equations. They are solved one unknown at a time, over and over, which
// converges for any such problem (Franc, Hlaváč and Navara, 2005) and is enough for
// a few dozen unknowns.
type nonNegative struct {
	n int
	a []float64 // n by n: sums of products of columns
	b []float64 // sums of products with the right-hand side
}

func newNonNegative(n int) *nonNegative {
	return &nonNegative{n, make([]float64, n*n), make([]float64, n)}
}

func (p *nonNegative) clear() {
	clear(p.a)
	clear(p.b)
}

// add adds the equation row*x = y with a weight.
func (p *nonNegative) add(row []float64, y, weight float64) {
	for i, u := range row {
		if u == 0 {
			continue
		}
		w := weight * u
		p.b[i] += float64(w * y)
		for j, v := range row {
			p.a[i*p.n+j] += float64(w * v)
		}
	}
}

// solve returns the unknowns. Those that no equation touches are 0.
func (p *nonNegative) solve() []float64 {
	// Unknowns are scaled so that all columns weigh the same.
	scale := make([]float64, p.n)
	for i := range scale {
		if d := p.a[i*p.n+i]; d > 0 {
			scale[i] = 1 / math.Sqrt(d)
		}
	}
	a := make([]float64, len(p.a))
	for i := range scale {
		for j := range scale {
			a[i*p.n+j] = float64(p.a[i*p.n+j] * scale[i] * scale[j])
		}
	}
	x := make([]float64, p.n) // in units of scale
	for range 20000 {
		moved := 0.0
		for i := range x {
			if scale[i] == 0 {
				continue
			}
			v := max(x[i]+float64(p.b[i]*scale[i])-dot(a[i*p.n:(i+1)*p.n], x), 0)
			moved = max(moved, math.Abs(v-x[i]))
			x[i] = v
		}
		if moved < 1e-9 {
			break
		}
	}
	for i := range x {
		x[i] *= scale[i]
	}
	return x
}
