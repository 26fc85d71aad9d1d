package hwmodel

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// Residual is a smooth correction on top of a formula, for operators that are densely
// measured: factors on the time at the nodes of a grid over the logarithms of a few
// sizes, multilinear in between and constant outside. A nil Residual corrects nothing.
type Residual struct {
	Axes   []Axis    `toml:"axis"`
	Factor []float64 `toml:"factor"` // measured over formula at each node, the last axis running fastest
}

// Axis is one dimension of a [Residual].
type Axis struct {
	Name  string    `toml:"name"`
	Nodes []float64 `toml:"nodes"` // increasing, above 0, at least 1 of them

	log []float64
}

// maxAxes bounds the dimensions of a residual, so that looking one up needs no memory.
const maxAxes = 5

// Place finds x on the axis: the node below it and the weight of the node above, on
// a logarithmic scale.
func (a *Axis) Place(x float64) (below int, weight float64) {
	n := len(a.Nodes)
	if n == 1 || x <= a.Nodes[0] {
		return 0, 0
	}
	if x >= a.Nodes[n-1] {
		return n - 2, 1
	}
	i := sort.SearchFloat64s(a.Nodes, x)
	if a.Nodes[i] == x {
		if i == n-1 {
			return n - 2, 1
		}
		return i, 0
	}
	if len(a.log) != n {
		low, high := math.Log(a.Nodes[i-1]), math.Log(a.Nodes[i])
		return i - 1, (math.Log(x) - low) / (high - low)
	}
	return i - 1, (math.Log(x) - a.log[i-1]) / (a.log[i] - a.log[i-1])
}

// prepare computes what looking up needs.
func (r *Residual) prepare() {
	for i := range r.Axes {
		a := &r.Axes[i]
		a.log = make([]float64, len(a.Nodes))
		for j, v := range a.Nodes {
			a.log[j] = math.Log(v)
		}
	}
}

// At returns the factor at the given sizes, one for each axis in order.
func (r *Residual) At(x ...float64) float64 {
	if r == nil {
		return 1
	}
	var below [maxAxes]int
	var weight [maxAxes]float64
	for i := range r.Axes {
		below[i], weight[i] = r.Axes[i].Place(x[i])
	}
	sum := 0.0
	for corner := range 1 << len(r.Axes) {
		w, index := 1.0, 0
		for i := range r.Axes {
			j, v := below[i], weight[i]
			if corner>>i&1 == 1 {
				j++
			} else {
				v = 1 - v
			}
			if w *= v; w == 0 {
				break
			}
			index = index*len(r.Axes[i].Nodes) + j
		}
		if w > 0 {
			sum += float64(w * r.Factor[index])
		}
	}
	return sum
}

// correction is a [Residual] with some of its axes held, ready to be looked up by the
// others, in the order in which they were named.
type correction struct {
	r  *Residual
	of [maxAxes]int // for each axis left, which of the values looked up it takes
}

// held is an axis whose value does not change.
type held struct {
	name  string
	value float64
}

// bind returns the correction by the values named live, with the others held.
func (r *Residual) bind(live []string, fixed ...held) correction {
	if r == nil {
		return correction{}
	}
	for _, h := range fixed {
		if i := slices.IndexFunc(r.Axes, func(a Axis) bool { return a.Name == h.name }); i >= 0 {
			r = r.fix(i, h.value)
		}
	}
	c := correction{r: r}
	for i := range r.Axes {
		c.of[i] = slices.Index(live, r.Axes[i].Name)
	}
	return c
}

// at returns the factor at the live values.
func (c *correction) at(live ...float64) float64 {
	if c.r == nil {
		return 1
	}
	var x [maxAxes]float64
	for i := range c.r.Axes {
		x[i] = live[c.of[i]]
	}
	return c.r.At(x[:len(c.r.Axes)]...)
}

// fix returns the residual with one of its axes held at x, so that only the others are
// looked up.
func (r *Residual) fix(axis int, x float64) *Residual {
	a := &r.Axes[axis]
	below, w := a.Place(x)
	out := &Residual{Axes: slices.Delete(slices.Clone(r.Axes), axis, axis+1)}
	inner := 1 // factors from one node of the axis to the next
	for _, b := range r.Axes[axis+1:] {
		inner *= len(b.Nodes)
	}
	for outer := range len(r.Factor) / (inner * len(a.Nodes)) {
		for i := range inner {
			at := (outer*len(a.Nodes)+below)*inner + i
			v := r.Factor[at]
			if w > 0 {
				v = float64(v*(1-w)) + float64(r.Factor[at+inner]*w)
			}
			out.Factor = append(out.Factor, v)
		}
	}
	out.prepare()
	return out
}

// check refuses a residual that does not hold together, and readies it for use.
func (r *Residual) check(name string) error {
	if r == nil {
		return nil
	}
	if len(r.Axes) == 0 || len(r.Axes) > maxAxes {
		return fmt.Errorf("%s has %d axes, must have 1 to %d", name, len(r.Axes), maxAxes)
	}
	size := 1
	for _, a := range r.Axes {
		size *= len(a.Nodes)
		for j, v := range a.Nodes {
			if !(v > 0) || math.IsInf(v, 0) || j > 0 && v <= a.Nodes[j-1] {
				return fmt.Errorf("%s: nodes of axis %q must be above 0 and increase", name, a.Name)
			}
		}
	}
	if size != len(r.Factor) {
		return fmt.Errorf("%s has %d factors, its axes need %d", name, len(r.Factor), size)
	}
	for _, f := range r.Factor {
		if !(f >= 0.05 && f <= 20) {
			return fmt.Errorf("%s: factor %g, must lie between 0.05 and 20", name, f)
		}
	}
	r.prepare()
	return nil
}
