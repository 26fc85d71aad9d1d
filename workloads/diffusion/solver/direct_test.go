package solver

import (
	"math"
	"testing"

	"orrery/workloads/diffusion/analytic"
)

// direct runs solvers as their papers write them, a point at a time, without the framework.
type direct struct {
	m     *analytic.Mixture
	times []float64
}

func (d *direct) eps(x []float64, i int) []float64 {
	out := make([]float64, len(x))
	var s analytic.Scratch
	d.m.Eps(&s, out, x, d.times[i])
	return out
}

func (d *direct) data(x []float64, i int) []float64 {
	a, s := analytic.Noise(d.times[i])
	out := d.eps(x, i)
	for j := range out {
		out[j] = (x[j] - s*out[j]) / a
	}
	return out
}

func (d *direct) levels(i int) (alpha, sigma, lambda float64) {
	alpha, sigma = analytic.Noise(d.times[i])
	return alpha, sigma, analytic.LogSNR(d.times[i])
}

// ddim: x_t = alpha_t x0 + sigma_t eps (Song and others, 2021, eq. 12 with eta 0).
func (d *direct) ddim(x []float64) []float64 {
	for i := range len(d.times) - 1 {
		eps, x0 := d.eps(x, i), d.data(x, i)
		a, s, _ := d.levels(i + 1)
		for j := range x {
			x[j] = a*x0[j] + s*eps[j]
		}
	}
	return x
}

// dpm2m is DPM-Solver++ 2M (Lu and others, 2022, algorithm 2), first order first and, in a short
// run, last.
func (d *direct) dpm2m(x []float64) []float64 {
	n := len(d.times) - 1
	var before []float64
	var last float64
	for i := range n {
		_, s0, l0 := d.levels(i)
		a1, s1, l1 := d.levels(i + 1)
		h := l1 - l0
		now := d.data(x, i)
		mix := append([]float64{}, now...)
		if i > 0 && (i < n-1 || n >= shortRun) {
			r := last / h
			for j := range mix {
				mix[j] = (1+1/(2*r))*now[j] - before[j]/(2*r)
			}
		}
		for j := range x {
			x[j] = s1/s0*x[j] - a1*math.Expm1(-h)*mix[j]
		}
		before, last = now, h
	}
	return x
}

// unipc2 is UniPC-2 with B2(h) of the data (Zhao and others, 2023): the predictor's coefficient is
// 1/2, the corrector's is 1/2 where it has one difference and solves two equations where it has two.
func (d *direct) unipc2(x []float64) []float64 {
	n := len(d.times) - 1
	now := d.data(x, 0)
	var before []float64
	for i := range n {
		_, s0, l0 := d.levels(i)
		a1, s1, l1 := d.levels(i + 1)
		h := l1 - l0
		b := math.Expm1(-h)
		base := make([]float64, len(x))
		for j := range x {
			base[j] = s1/s0*x[j] - a1*b*now[j]
		}
		second := i > 0 && (i < n-1 || n >= shortRun)
		r := 0.0
		if i > 0 {
			_, _, lp := d.levels(i - 1)
			r = (lp - l0) / h
		}
		next := append([]float64{}, base...)
		if second {
			for j := range next {
				next[j] -= a1 * b * 0.5 * (before[j] - now[j]) / r
			}
		}
		if i == n-1 {
			return next
		}
		answer := d.data(next, i+1)
		// rho solves R rho = b with rows 1 and r, in units of B(h).
		z := -h
		phi1 := math.Expm1(z)/z - 1
		b1 := phi1 / b
		phi2 := phi1/z - 0.5
		b2 := 2 * phi2 / b
		for j := range x {
			d1 := answer[j] - now[j]
			if !second {
				x[j] = base[j] - a1*b*0.5*d1
				continue
			}
			// rows: rho0 + rho1 = b1; r rho0 + rho1 = b2
			rho0 := (b1 - b2) / (1 - r)
			rho1 := b1 - rho0
			x[j] = base[j] - a1*b*(rho0*(before[j]-now[j])/r+rho1*d1)
		}
		before, now = now, answer
	}
	return x
}

// heun is Heun's method on dx/dsigma = eps in EDM's coordinates x/alpha, sigma/alpha.
func (d *direct) heun(x []float64) []float64 {
	n := len(d.times) - 1
	for i := range n {
		a0, s0, _ := d.levels(i)
		a1, s1, _ := d.levels(i + 1)
		eps := d.eps(x, i)
		next := make([]float64, len(x))
		for j := range x {
			next[j] = a1 * (x[j]/a0 + (s1/a1-s0/a0)*eps[j])
		}
		if i < n-1 {
			other := d.eps(next, i+1)
			for j := range x {
				next[j] = a1 * (x[j]/a0 + (s1/a1-s0/a0)*(eps[j]+other[j])/2)
			}
		}
		x = next
	}
	return x
}

// S1b: the framework is, at its fixed points, what papers write.
func TestFixedPointsAreThePublishedFormulas(t *testing.T) {
	ring := analytic.Ring(8, math.Sqrt2, 0.15)
	for _, c := range []struct {
		solver string
		run    func(d *direct, x []float64) []float64
		counts []int
	}{
		{"ddim", (*direct).ddim, []int{3, 6, 20}},
		{"2m++", (*direct).dpm2m, []int{3, 6, 20}},
		{"unipc-2", (*direct).unipc2, []int{3, 6, 20}},
		{"heun", (*direct).heun, []int{3, 7, 21}},
	} {
		f, err := LoadFixed(c.solver)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range Grids() {
			for _, nfe := range c.counts {
				s, err := f.Schedule(nfe, g)
				if err != nil {
					t.Fatal(err)
				}
				x := draws(20, 3)
				got := run(t, ring, s, x)
				for at := 0; at < len(x); at += 2 {
					want := c.run(&direct{ring, s.Times}, append([]float64{}, x[at:at+2]...))
					for j := range want {
						if diff := math.Abs(got[at+j] - want[j]); diff > 1e-10*max(1, math.Abs(want[j])) {
							t.Fatalf("%s on %s, NFE %d: %.15g, want %.15g", c.solver, g.Name, nfe, got[at+j], want[j])
						}
					}
				}
			}
		}
	}
}

// The coefficients of DEIS are integrals, found here with Simpson's rule in log SNR.
func TestDEISIntegratesItsPolynomials(t *testing.T) {
	f, err := LoadFixed("deis-2")
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Schedule(20, grids[2])
	if err != nil {
		t.Fatal(err)
	}
	p := compile(s)
	c := p.moves[7].predict
	from, to := p.points[7], p.points[8]
	for own := range c.at {
		const n = 20000
		sum := 0.0
		for q := range n + 1 {
			lambda := from.lambda + (to.lambda-from.lambda)*float64(q)/n
			tau, l := analytic.TimeOf(lambda), 1.0
			for other := range c.at {
				if other != own {
					l *= (tau - s.Times[c.at[other]]) / (s.Times[c.at[own]] - s.Times[c.at[other]])
				}
			}
			w := 2.0 + 2*float64(q%2)
			if q == 0 || q == n {
				w = 1
			}
			sum += w * -to.alpha * math.Exp(-lambda) * l
		}
		sum *= (to.lambda - from.lambda) / n / 3
		if math.Abs(sum-c.weights[own]) > 1e-9*math.Abs(sum) {
			t.Errorf("weight %d is %.12g, want %.12g", own, c.weights[own], sum)
		}
	}
}

// phi by its series and by its recursion, where both are good.
func TestPhi(t *testing.T) {
	for _, z := range []float64{-6, -2.5, -2, 2, 2.5, 6} {
		for k := 1; k <= 5; k++ {
			sum, term := 0.0, 1.0
			for i := 2; i <= k; i++ {
				term /= float64(i)
			}
			for n := 1; n < 200; n++ {
				sum += term
				term *= z / float64(n+k)
			}
			if got := phi(k, z); math.Abs(got-sum) > 1e-11*math.Abs(sum) {
				t.Errorf("phi_%d(%g) = %.15g, want %.15g", k, z, got, sum)
			}
		}
	}
	if got := phi(3, 0); math.Abs(got-1.0/6) > 1e-15 {
		t.Errorf("phi_3(0) = %g, want 1/6", got)
	}
}
