package solvers

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// errMoments is what no decomposition can be made of.
var errMoments = errors.New("the ends of the trajectories have no finite moments")

// frechet returns the squared distance of Frechet between the Gaussians with the moments of two
// sets of rows: |m1-m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2), which is how FID is defined.
func frechet(a, b []float64, dim int) (float64, error) {
	for _, x := range a {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return math.Inf(1), nil
		}
	}
	ma, sa := moments(a, dim)
	mb, sb := moments(b, dim)
	root, err := squareRoot(sa)
	if err != nil {
		return 0, err
	}
	var inner mat.Dense
	inner.Mul(root, sb)
	inner.Mul(&inner, root)
	sym := mat.NewSymDense(dim, nil)
	for i := range dim {
		for j := i; j < dim; j++ {
			sym.SetSym(i, j, (inner.At(i, j)+inner.At(j, i))/2)
		}
	}
	cross, err := squareRoot(sym)
	if err != nil {
		return 0, err
	}
	d := 0.0
	for j := range dim {
		d += (ma[j]-mb[j])*(ma[j]-mb[j]) + sa.At(j, j) + sb.At(j, j) - 2*cross.At(j, j)
	}
	return max(d, 0), nil
}

func moments(rows []float64, dim int) ([]float64, *mat.SymDense) {
	x := mat.NewDense(len(rows)/dim, dim, rows)
	mean := make([]float64, dim)
	for j := range mean {
		mean[j] = stat.Mean(mat.Col(nil, j, x), nil)
	}
	var cov mat.SymDense
	stat.CovarianceMatrix(&cov, x, nil)
	return mean, &cov
}

// squareRoot returns the symmetric root of a positive semidefinite matrix.
func squareRoot(s *mat.SymDense) (*mat.SymDense, error) {
	var e mat.EigenSym
	if !e.Factorize(s, true) {
		return nil, errMoments
	}
	n := s.SymmetricDim()
	var v mat.Dense
	e.VectorsTo(&v)
	root := mat.NewSymDense(n, nil)
	for k, value := range e.Values(nil) {
		r := math.Sqrt(max(value, 0))
		for i := range n {
			for j := i; j < n; j++ {
				root.SetSym(i, j, root.At(i, j)+r*v.At(i, k)*v.At(j, k))
			}
		}
	}
	return root, nil
}
