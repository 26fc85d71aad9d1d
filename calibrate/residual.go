package calibrate

import (
	"math"

	"orrery/hwmodel"
)

// Sample is one point that a residual is fitted to.
type Sample struct {
	At  []float64 // sizes, one for each axis
	Log float64   // ln(measured / formula)
}

// FitResidual fits a correction on the grid of axes to samples. Among corrections
// that explain the samples it prefers smooth ones, the more so the larger smooth is
// (about 1; it stands for as many samples at every node), and small ones, so that it
// fades to none away from the data. Outliers count by their size, not its square.
// It returns nil if there are no samples.
func FitResidual(axes []hwmodel.Axis, samples []Sample, smooth float64) *hwmodel.Residual {
	if len(samples) == 0 {
		return nil
	}
	g := newGrid(axes)
	rows := make([][]corner, len(samples))
	for i := range samples {
		rows[i] = g.corners(samples[i].At)
	}
	x := make([]float64, g.size)
	weight := make([]float64, len(samples))
	// Least absolute deviations by reweighted least squares.
	for round := range 6 {
		for i := range samples {
			weight[i] = 1
			if round > 0 {
				weight[i] = 1 / math.Max(math.Abs(at(rows[i], x)-samples[i].Log), 0.02)
			}
		}
		scale := mean(weight)
		g.solve(x, rows, samples, weight, smooth*scale, 0.01*scale)
	}
	out := &hwmodel.Residual{Axes: axes, Factor: make([]float64, g.size)}
	for i, v := range x {
		out.Factor[i] = min(max(Round(math.Exp(v)), 0.1), 10)
	}
	return out
}

// grid is the lattice of a residual.
type grid struct {
	axes   []hwmodel.Axis
	stride []int
	size   int
}

// corner is one node that a sample depends on and by how much.
type corner struct {
	node   int
	weight float64
}

func newGrid(axes []hwmodel.Axis) *grid {
	g := &grid{axes: axes, stride: make([]int, len(axes)), size: 1}
	for i := len(axes) - 1; i >= 0; i-- {
		g.stride[i] = g.size
		g.size *= len(axes[i].Nodes)
	}
	return g
}

// corners returns the nodes around a point and their weights.
func (g *grid) corners(x []float64) []corner {
	out := []corner{{0, 1}}
	for i := range g.axes {
		below, w := g.axes[i].Place(x[i])
		var next []corner
		for _, c := range out {
			if w < 1 {
				next = append(next, corner{c.node + below*g.stride[i], c.weight * (1 - w)})
			}
			if w > 0 {
				next = append(next, corner{c.node + (below+1)*g.stride[i], c.weight * w})
			}
		}
		out = next
	}
	return out
}

func at(cs []corner, x []float64) float64 {
	var s float64
	for _, c := range cs {
		s += c.weight * x[c.node]
	}
	return s
}

// solve minimises the weighted squares of the samples' errors, plus smooth times the
// squared steps between neighbours, plus small times the squared values, by
// conjugate gradients.
func (g *grid) solve(x []float64, rows [][]corner, samples []Sample, weight []float64, smooth, small float64) {
	n := g.size
	r, p, q := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range rows {
		for _, c := range rows[i] {
			r[c.node] += weight[i] * c.weight * samples[i].Log
		}
	}
	g.apply(q, x, rows, weight, smooth, small)
	var rr float64
	for i := range r {
		r[i] -= q[i]
		p[i] = r[i]
		rr += r[i] * r[i]
	}
	stop := 1e-12 * (1 + rr)
	for range 4 * n {
		if rr <= stop {
			return
		}
		g.apply(q, p, rows, weight, smooth, small)
		var pq float64
		for i := range p {
			pq += p[i] * q[i]
		}
		a, old := rr/pq, rr
		rr = 0
		for i := range x {
			x[i] += a * p[i]
			r[i] -= a * q[i]
			rr += r[i] * r[i]
		}
		for i := range p {
			p[i] = r[i] + rr/old*p[i]
		}
	}
}

// apply sets q to the matrix of [grid.solve] times p.
func (g *grid) apply(q, p []float64, rows [][]corner, weight []float64, smooth, small float64) {
	for i := range q {
		q[i] = small * p[i]
	}
	for i := range rows {
		v := weight[i] * at(rows[i], p)
		for _, c := range rows[i] {
			q[c.node] += v * c.weight
		}
	}
	for a := range g.axes {
		st, m := g.stride[a], len(g.axes[a].Nodes)
		for i := range q {
			if (i/st)%m+1 < m {
				d := smooth * (p[i] - p[i+st])
				q[i] += d
				q[i+st] -= d
			}
		}
	}
}
