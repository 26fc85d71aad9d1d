package solvers

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/mat"
)

// predictor is a Gaussian process with a squared-exponential kernel: what the logarithm of
// the error of an untried schedule may be, and how sure that is.
type predictor struct {
	x       [][]float64 // in units
	centre  []float64   // of the features
	units   []float64   // their deviations
	mean    float64     // of the targets
	spread  float64
	scale   float64 // length of the kernel
	chol    mat.Cholesky
	lower   mat.TriDense // its factor
	weights mat.VecDense
}

// ridge is the noise that targets are taken to have, as a share of their variance.
const ridge = 0.02

// fit returns the predictor of rows x with targets y, or nil where none can be made. The kernel's
// length is that of the likeliest of a few multiples of the median distance.
func fit(x [][]float64, y []float64) *predictor {
	if len(x) == 0 {
		return nil
	}
	p := &predictor{}
	p.standardise(x)
	for _, v := range y {
		p.mean += v / float64(len(y))
	}
	for _, v := range y {
		p.spread += (v - p.mean) * (v - p.mean) / float64(len(y))
	}
	p.spread = math.Sqrt(p.spread)
	if !(p.spread > 0) || math.IsInf(p.spread, 0) {
		return nil
	}
	target := mat.NewVecDense(len(y), nil)
	for i, v := range y {
		target.SetVec(i, (v-p.mean)/p.spread)
	}
	squares, median := distances(p.x)
	if !(median > 0) {
		return nil
	}
	best := math.Inf(-1)
	var bestScale float64
	for _, multiple := range []float64{0.35, 0.7, 1.4} {
		p.scale = multiple * median
		if l := p.solve(squares, target); l > best {
			best, bestScale = l, p.scale
		}
	}
	if math.IsInf(best, -1) {
		return nil
	}
	p.scale = bestScale
	p.solve(squares, target)
	p.chol.LTo(&p.lower)
	return p
}

// leastUnit keeps a feature that hardly varies from being all that counts.
const leastUnit = 1e-3

// standardise finds the features' means and deviations, and keeps the rows in them.
func (p *predictor) standardise(x [][]float64) {
	for j := range x[0] {
		mean, deviation := 0.0, 0.0
		for _, row := range x {
			mean += row[j] / float64(len(x))
		}
		for _, row := range x {
			deviation += (row[j] - mean) * (row[j] - mean) / float64(len(x))
		}
		p.centre, p.units = append(p.centre, mean), append(p.units, math.Sqrt(deviation)+leastUnit)
	}
	for _, row := range x {
		p.x = append(p.x, p.inUnits(row))
	}
}

func (p *predictor) inUnits(x []float64) []float64 {
	out := make([]float64, len(x))
	for j, v := range x {
		out[j] = (v - p.centre[j]) / p.units[j]
	}
	return out
}

// solve factorises the kernel's matrix and returns the log likelihood of the targets, but for a
// constant.
func (p *predictor) solve(squares *mat.SymDense, target *mat.VecDense) float64 {
	n := squares.SymmetricDim()
	k := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			v := math.Exp(-squares.At(i, j) / (2 * p.scale * p.scale))
			if i == j {
				v += ridge
			}
			k.SetSym(i, j, v)
		}
	}
	if !p.chol.Factorize(k) || p.chol.SolveVecTo(&p.weights, target) != nil {
		return math.Inf(-1)
	}
	return -mat.Dot(target, &p.weights)/2 - p.chol.LogDet()/2
}

// distances returns the squared distances between rows and the median distance.
func distances(x [][]float64) (*mat.SymDense, float64) {
	d := mat.NewSymDense(len(x), nil)
	var all []float64
	for i := range x {
		for j := i + 1; j < len(x); j++ {
			s := square(x[i], x[j])
			d.SetSym(i, j, s)
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return d, 0
	}
	slices.Sort(all)
	return d, math.Sqrt(all[len(all)/2])
}

func square(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += (v - b[i]) * (v - b[i])
	}
	return sum
}

// at returns the mean and the deviation of the target at x.
func (p *predictor) at(x []float64) (mean, deviation float64) {
	k := make([]float64, len(p.x))
	x = p.inUnits(x)
	mean = p.mean
	for i, row := range p.x {
		k[i] = math.Exp(-square(row, x) / (2 * p.scale * p.scale))
		mean += p.spread * k[i] * p.weights.AtVec(i)
	}
	// The variance is 1 + ridge - k' K^-1 k, and K = L L'.
	v := blas64.Vector{N: len(k), Data: k, Inc: 1}
	blas64.Trsv(blas.NoTrans, p.lower.RawTriangular(), v)
	return mean, p.spread * math.Sqrt(max(1+ridge-blas64.Dot(v, v), 0))
}
