// Package analytic has diffusion models whose score is known in closed form: Gaussian
// mixtures under the variance-preserving process. What is said of samplers and of preferences
// along a trajectory can be computed on them rather than believed.
//
// Start reading at Mixture.
package analytic

import "math"

// Schedule of the noise: alpha scales the data, sigma the noise, alpha^2 + sigma^2 = 1. It is
// the linear one of score-based models (Song and others, 2021): log alpha = -t^2 (b1-b0)/4 - t b0/2
// with b0 = 0.1 and b1 = 20, t from 0 (data) to 1 (noise).
const (
	beta0 = 0.1
	beta1 = 20
)

// Noise returns alpha and sigma at t.
func Noise(t float64) (alpha, sigma float64) {
	l := -t*t*(beta1-beta0)/4 - t*beta0/2
	return math.Exp(l), math.Sqrt(-math.Expm1(2 * l))
}

// Ends of the trajectories that are sampled: noise at 1, data at 1e-3, below which the log of the
// signal-to-noise ratio runs away.
const (
	NoiseTime = 1
	DataTime  = 1e-3
)

// LogSNR returns log(alpha/sigma) at t, half the log of the signal-to-noise ratio. It falls with t.
func LogSNR(t float64) float64 {
	l := -t*t*(beta1-beta0)/4 - t*beta0/2
	return l - math.Log(-math.Expm1(2*l))/2
}

// TimeOf is the inverse of LogSNR: the root of the quadratic log alpha(t), where log alpha is
// -log(1+exp(-2 lambda))/2.
func TimeOf(lambda float64) float64 {
	l := math.Log1p(math.Exp(-2*lambda)) / 2 // -log alpha
	if -2*lambda > 700 {
		l = -lambda // the exponential would overflow
	}
	const a, b = (beta1 - beta0) / 4, beta0 / 2.0
	return 2 * l / (b + math.Sqrt(b*b+4*a*l))
}

// Component is one Gaussian of a mixture. Its covariance is Vectors diag(Values) Vectors'.
type Component struct {
	Weight  float64
	Mean    []float64
	Values  []float64   // eigenvalues of the covariance
	Vectors [][]float64 // eigenvectors, one a row
}

// Mixture is a Gaussian mixture. At time t it is the mixture with means alpha m and
// covariances alpha^2 S + sigma^2 I.
type Mixture struct{ Components []Component }

// Dim is the number of dimensions.
func (m *Mixture) Dim() int { return len(m.Components[0].Mean) }

// Scratch is what an evaluation works with; one for each goroutine.
type Scratch struct{ logs, shares, local []float64 }

func (s *Scratch) fit(m *Mixture) {
	if len(s.logs) != len(m.Components) || len(s.local) != m.Dim() {
		*s = Scratch{make([]float64, len(m.Components)), make([]float64, len(m.Components)), make([]float64, m.Dim())}
	}
}

// Shares returns the posterior probabilities of the components at x and t. The slice is the
// scratch's.
func (m *Mixture) Shares(s *Scratch, x []float64, t float64) []float64 {
	s.fit(m)
	alpha, sigma := Noise(t)
	most := math.Inf(-1)
	for k := range m.Components {
		c := &m.Components[k]
		l := 2 * math.Log(c.Weight)
		for i, v := range c.Vectors {
			p := 0.0
			for j := range v {
				p += v[j] * (x[j] - alpha*c.Mean[j])
			}
			variance := alpha*alpha*c.Values[i] + sigma*sigma
			l -= p*p/variance + math.Log(variance)
		}
		s.logs[k] = l / 2
		most = max(most, s.logs[k])
	}
	sum := 0.0
	for k, l := range s.logs {
		s.shares[k] = math.Exp(l - most)
		sum += s.shares[k]
	}
	for k := range s.shares {
		s.shares[k] /= sum
	}
	return s.shares
}

// LogDensity returns the log of the density at x and t.
func (m *Mixture) LogDensity(x []float64, t float64) float64 {
	alpha, sigma := Noise(t)
	most, logs := math.Inf(-1), make([]float64, len(m.Components))
	for k := range m.Components {
		c := &m.Components[k]
		l := math.Log(c.Weight) - float64(m.Dim())/2*math.Log(2*math.Pi)
		for i, v := range c.Vectors {
			p := 0.0
			for j := range v {
				p += v[j] * (x[j] - alpha*c.Mean[j])
			}
			variance := alpha*alpha*c.Values[i] + sigma*sigma
			l -= p*p/variance/2 + math.Log(variance)/2
		}
		logs[k] = l
		most = max(most, l)
	}
	sum := 0.0
	for _, l := range logs {
		sum += math.Exp(l - most)
	}
	return most + math.Log(sum)
}

// Eps writes the noise that a perfect network predicts at x and t: -sigma times the score.
func (m *Mixture) Eps(s *Scratch, dst, x []float64, t float64) {
	shares := m.Shares(s, x, t)
	alpha, sigma := Noise(t)
	clear(dst)
	for k := range m.Components {
		c := &m.Components[k]
		if shares[k] < 1e-12 {
			continue
		}
		for i, v := range c.Vectors {
			p := 0.0
			for j := range v {
				p += v[j] * (x[j] - alpha*c.Mean[j])
			}
			p *= shares[k] * sigma / (alpha*alpha*c.Values[i] + sigma*sigma)
			for j := range v {
				dst[j] += p * v[j]
			}
		}
	}
}

// Ancestral takes x from time t to the earlier time u by a step of DDIM with eta 1: the mean
// that the predicted noise says, and noise of the posterior's width, from draws.
func (m *Mixture) Ancestral(s *Scratch, x, eps []float64, t, u float64, draw func() float64) {
	at, st := Noise(t)
	au, su := Noise(u)
	width := su / st * math.Sqrt(max(1-at*at/(au*au), 0))
	keep := math.Sqrt(max(su*su-width*width, 0))
	for j := range x {
		clean := (x[j] - st*eps[j]) / at
		x[j] = au*clean + keep*eps[j] + width*draw()
	}
}
