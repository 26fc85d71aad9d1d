package analytic

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/mat"
)

// FitClasses fits a mixture to labelled rows: reduced to so many dimensions by principal
// components, all scores divided by the deviation of the first, one Gaussian for each class with
// its share of the rows, and the covariance shrunk to 0.9 of its own and 0.02 of its mean
// eigenvalue on the diagonal. Rows are numbers of one length.
func FitClasses(rows [][]float64, labels []int, classes, dim int) (*Mixture, error) {
	if len(rows) < 2 || len(rows) != len(labels) || dim < 1 || dim > len(rows[0]) {
		return nil, errors.New("analytic: want rows with labels, and no more dimensions than they have")
	}
	scores, err := principal(rows, dim)
	if err != nil {
		return nil, err
	}
	m := &Mixture{}
	for k := range classes {
		var own [][]float64
		for i, l := range labels {
			if l == k {
				own = append(own, scores[i])
			}
		}
		if len(own) < 2 {
			continue
		}
		c, err := gaussian(own)
		if err != nil {
			return nil, err
		}
		c.Weight = float64(len(own)) / float64(len(rows))
		m.Components = append(m.Components, c)
	}
	return m, nil
}

// principal returns the scores of rows on their first principal components, in units of the
// deviation of the first. The sign of a component is that of its largest entry, so that it
// does not depend on the solver.
func principal(rows [][]float64, dim int) ([][]float64, error) {
	n, d := len(rows), len(rows[0])
	mean := make([]float64, d)
	for _, r := range rows {
		for j, x := range r {
			mean[j] += x / float64(n)
		}
	}
	cov := mat.NewSymDense(d, nil)
	for _, r := range rows {
		for i := range d {
			for j := i; j < d; j++ {
				cov.SetSym(i, j, cov.At(i, j)+(r[i]-mean[i])*(r[j]-mean[j])/float64(n))
			}
		}
	}
	var e mat.EigenSym
	if !e.Factorize(cov, true) {
		return nil, errors.New("analytic: no principal components")
	}
	values := e.Values(nil) // rising
	var vectors mat.Dense
	e.VectorsTo(&vectors)
	scale := math.Sqrt(values[d-1])
	out := make([][]float64, n)
	for i := range out {
		out[i] = make([]float64, dim)
	}
	for k := range dim {
		column, sign := d-1-k, 1.0
		largest := 0.0
		for j := range d {
			if v := vectors.At(j, column); math.Abs(v) > math.Abs(largest)+1e-12 {
				largest = v
			}
		}
		if largest < 0 {
			sign = -1
		}
		for i, r := range rows {
			for j := range d {
				out[i][k] += sign * (r[j] - mean[j]) * vectors.At(j, column) / scale
			}
		}
	}
	return out, nil
}

// gaussian fits one component.
func gaussian(rows [][]float64) (Component, error) {
	n, d := float64(len(rows)), len(rows[0])
	c := Component{Mean: make([]float64, d)}
	for _, r := range rows {
		for j, x := range r {
			c.Mean[j] += x / n
		}
	}
	cov, trace := mat.NewSymDense(d, nil), 0.0
	for _, r := range rows {
		for i := range d {
			for j := i; j < d; j++ {
				cov.SetSym(i, j, cov.At(i, j)+(r[i]-c.Mean[i])*(r[j]-c.Mean[j])/n)
			}
		}
	}
	for i := range d {
		trace += cov.At(i, i)
	}
	for i := range d {
		for j := i; j < d; j++ {
			v := 0.9 * cov.At(i, j)
			if i == j {
				v += 0.02 * trace / float64(d)
			}
			cov.SetSym(i, j, v)
		}
	}
	var e mat.EigenSym
	if !e.Factorize(cov, true) {
		return c, errors.New("analytic: a class without a covariance")
	}
	c.Values = e.Values(nil)
	var vectors mat.Dense
	e.VectorsTo(&vectors)
	for k := range d {
		c.Values[k] = max(c.Values[k], 1e-8)
		v := make([]float64, d)
		for j := range v {
			v[j] = vectors.At(j, k)
		}
		c.Vectors = append(c.Vectors, v)
	}
	return c, nil
}
