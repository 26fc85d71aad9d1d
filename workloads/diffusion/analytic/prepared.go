package analytic

import (
	"math"
	"math/rand/v2"
)

// At prepares the mixture for many evaluations at one time: each component's precision matrix is
// formed once, and a row then takes one product with it instead of two with the eigenvectors.
func (m *Mixture) At(t float64) *Prepared {
	alpha, sigma := Noise(t)
	d, n := m.Dim(), len(m.Components)
	p := &Prepared{dim: d, sigma: sigma, means: make([]float64, n*d), precisions: make([]float64, n*d*d), logs: make([]float64, n)}
	for k := range m.Components {
		c := &m.Components[k]
		p.logs[k] = math.Log(c.Weight)
		for j := range d {
			p.means[k*d+j] = alpha * c.Mean[j]
		}
		for _, value := range c.Values {
			p.logs[k] -= math.Log(alpha*alpha*value+sigma*sigma) / 2
		}
		own := p.precisions[k*d*d : (k+1)*d*d]
		if k > 0 && &c.Vectors[0] == &m.Components[k-1].Vectors[0] && &c.Values[0] == &m.Components[k-1].Values[0] {
			copy(own, p.precisions[(k-1)*d*d:k*d*d]) // they share a covariance
			continue
		}
		c.precision(own, alpha, sigma)
	}
	return p
}

// precision writes the inverse of the covariance at a time, an array [dim][dim].
func (c *Component) precision(dst []float64, alpha, sigma float64) {
	d := len(c.Mean)
	for i, v := range c.Vectors {
		f := 1 / (alpha*alpha*c.Values[i] + sigma*sigma)
		for a, va := range v {
			if va == 0 {
				continue
			}
			for b, vb := range v[:a+1] {
				dst[a*d+b] += f * va * vb
			}
		}
	}
	for a := range d {
		for b := range a {
			dst[b*d+a] = dst[a*d+b]
		}
	}
}

// Prepared is a mixture at one time. It may be used by several goroutines at once.
type Prepared struct {
	dim        int
	sigma      float64
	means      []float64 // [component][dim], times alpha
	precisions []float64 // [component][dim][dim]
	logs       []float64 // of weight over the root of the determinant
}

// Eps writes the noise that a perfect network predicts for each row of x, an array [rows][dim],
// into dst, of the same shape.
func (p *Prepared) Eps(dst, x []float64) {
	d, n := p.dim, len(p.logs)
	scratch := make([]float64, n*d+n+d)
	scores, logs, diff := scratch[:n*d], scratch[n*d:n*d+n], scratch[n*d+n:]
	for at := 0; at < len(x); at += d {
		most := p.densities(logs, scores, diff, x[at:at+d])
		out, sum := dst[at:at+d], 0.0
		clear(out)
		for k, l := range logs {
			if l < most-40 {
				continue // less than 1e-17 of the rest
			}
			share := math.Exp(l - most)
			sum += share
			for j, s := range scores[k*d : (k+1)*d] {
				out[j] += share * s
			}
		}
		for j := range out {
			out[j] *= p.sigma / sum
		}
	}
}

// densities writes the log densities of the weighted components at x, and minus their gradients,
// and returns the largest.
func (p *Prepared) densities(logs, scores, diff, x []float64) float64 {
	d, most := p.dim, math.Inf(-1)
	for k := range logs {
		mean := p.means[k*d : (k+1)*d]
		for j, v := range x {
			diff[j] = v - mean[j]
		}
		logs[k] = p.logs[k] - product(scores[k*d:(k+1)*d], p.precisions[k*d*d:(k+1)*d*d], diff)/2
		most = max(most, logs[k])
	}
	return most
}

// Occupancy returns the posterior probabilities of the components, averaged over the rows of x.
func (p *Prepared) Occupancy(x []float64) []float64 {
	d, n := p.dim, len(p.logs)
	scores, logs, diff := make([]float64, n*d), make([]float64, n), make([]float64, d)
	out := make([]float64, n)
	for at := 0; at < len(x); at += d {
		most, sum := p.densities(logs, scores, diff, x[at:at+d]), 0.0
		for k, l := range logs {
			logs[k] = math.Exp(l - most)
			sum += logs[k]
		}
		for k, share := range logs {
			out[k] += share / sum * float64(d) / float64(len(x))
		}
	}
	return out
}

// product writes the symmetric matrix a times v into dst and returns v'av. Four sums go on at a
// time, for a processor starts a multiplication before the one before is added.
func product(dst, a, v []float64) (square float64) {
	d := len(v)
	i := 0
	for ; i+4 <= d; i += 4 {
		r0, r1, r2, r3 := a[i*d:i*d+d], a[(i+1)*d:(i+1)*d+d], a[(i+2)*d:(i+2)*d+d], a[(i+3)*d:(i+3)*d+d]
		r0, r1, r2, r3 = r0[:d], r1[:d], r2[:d], r3[:d]
		var s0, s1, s2, s3 float64
		for j, x := range v {
			s0 += r0[j] * x
			s1 += r1[j] * x
			s2 += r2[j] * x
			s3 += r3[j] * x
		}
		dst[i], dst[i+1], dst[i+2], dst[i+3] = s0, s1, s2, s3
		square += s0*v[i] + s1*v[i+1] + s2*v[i+2] + s3*v[i+3]
	}
	for ; i < d; i++ {
		s := 0.0
		for j, x := range v {
			s += a[i*d+j] * x
		}
		dst[i] = s
		square += s * v[i]
	}
	return square
}

// Mean returns the mean of the data.
func (m *Mixture) Mean() []float64 {
	mean := make([]float64, m.Dim())
	for _, c := range m.Components {
		for j, v := range c.Mean {
			mean[j] += c.Weight * v
		}
	}
	return mean
}

// Draw writes a point of the data into dst and returns its component.
func (m *Mixture) Draw(r *rand.Rand, dst []float64) int {
	u, k := r.Float64(), 0
	for ; k < len(m.Components)-1 && u >= m.Components[k].Weight; k++ {
		u -= m.Components[k].Weight
	}
	c := &m.Components[k]
	copy(dst, c.Mean)
	for i, v := range c.Vectors {
		z := math.Sqrt(c.Values[i]) * r.NormFloat64()
		for j := range v {
			dst[j] += z * v[j]
		}
	}
	return k
}

// Ring is a mixture of n equal round Gaussians on a circle in the plane.
func Ring(n int, radius, deviation float64) *Mixture {
	m := &Mixture{}
	for k := range n {
		s, c := math.Sincos(2 * math.Pi * float64(k) / float64(n))
		m.Components = append(m.Components, Component{
			Weight: 1 / float64(n), Mean: []float64{radius * c, radius * s},
			Values: []float64{deviation * deviation, deviation * deviation}, Vectors: [][]float64{{1, 0}, {0, 1}},
		})
	}
	return m
}
