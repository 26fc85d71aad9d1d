package hwmodel

import (
	"fmt"
	"slices"
	"sort"
)

// Curve is a measured function of one number, linear between its entries. X is
// strictly increasing.
type Curve struct {
	Name string // of the table, for errors
	Unit string // of X, in the plural
	X, Y []float64
}

// NewCurve returns the curve through the given points. Where a point was measured
// several times, the median counts.
func NewCurve(name, unit string, points map[float64][]float64) Curve {
	c := Curve{Name: name, Unit: unit}
	for x := range points {
		c.X = append(c.X, x)
	}
	slices.Sort(c.X)
	for _, x := range c.X {
		c.Y = append(c.Y, median(points[x]))
	}
	return c
}

func (c *Curve) first() float64 {
	if len(c.X) == 0 {
		return 0
	}
	return c.X[0]
}

func (c *Curve) last() float64 {
	if len(c.X) == 0 {
		return 0
	}
	return c.X[len(c.X)-1]
}

// at returns the value at x. Outside the entries inside is false, and the value is
// that of the nearest entry or, if beyond is set, the line through the nearest two,
// never below 0.
func (c *Curve) at(x float64, beyond bool) (y float64, inside bool) {
	n := len(c.X)
	if n == 0 {
		return 0, false
	}
	i := sort.SearchFloat64s(c.X, x)
	if i < n && c.X[i] == x {
		return c.Y[i], true
	}
	inside = i > 0 && i < n
	switch {
	case inside:
	case n == 1 || !beyond:
		return c.Y[min(i, n-1)], false
	default:
		i = min(max(i, 1), n-1)
	}
	share := (x - c.X[i-1]) / (c.X[i] - c.X[i-1])
	y = c.Y[i-1] + float64(share*(c.Y[i]-c.Y[i-1]))
	return max(y, 0), inside
}

// Surface is a measured function of two numbers: a curve over the second for each
// measured value of the first, linear between them.
type Surface struct {
	Name  string
	Units [2]string
	A     []float64 // strictly increasing
	Rows  []Curve   // one for each of A
}

// NewSurface returns the surface through the given points, the median where a
// point was measured several times.
func NewSurface(name string, units [2]string, points map[[2]float64][]float64) Surface {
	s := Surface{Name: name, Units: units}
	rows := map[float64]map[float64][]float64{}
	for p, y := range points {
		if rows[p[0]] == nil {
			rows[p[0]] = map[float64][]float64{}
			s.A = append(s.A, p[0])
		}
		rows[p[0]][p[1]] = y
	}
	slices.Sort(s.A)
	for _, a := range s.A {
		s.Rows = append(s.Rows, NewCurve(name, units[1], rows[a]))
	}
	return s
}

// at returns the value at (a, b), as [Curve.at] does.
func (s *Surface) at(a, b float64, beyond bool) (y float64, inside bool) {
	n := len(s.A)
	if n == 0 {
		return 0, false
	}
	i := sort.SearchFloat64s(s.A, a)
	if i < n && s.A[i] == a {
		return s.Rows[i].at(b, beyond)
	}
	inside = i > 0 && i < n
	switch {
	case inside:
	case n == 1 || !beyond:
		y, _ = s.Rows[min(i, n-1)].at(b, beyond)
		return y, false
	default:
		i = min(max(i, 1), n-1)
	}
	y0, in0 := s.Rows[i-1].at(b, beyond)
	y1, in1 := s.Rows[i].at(b, beyond)
	share := (a - s.A[i-1]) / (s.A[i] - s.A[i-1])
	return max(y0+float64(share*(y1-y0)), 0), inside && in0 && in1
}

// extent says in words what the surface covers.
func (s *Surface) extent() string {
	if len(s.A) == 0 {
		return "nothing"
	}
	low, high := s.Rows[0].first(), s.Rows[0].last()
	for i := range s.Rows {
		low, high = min(low, s.Rows[i].first()), max(high, s.Rows[i].last())
	}
	return fmt.Sprintf("%g to %g %s and at most %g to %g %s", s.A[0], s.A[len(s.A)-1], s.Units[0], low, high, s.Units[1])
}

func median(v []float64) float64 {
	s := slices.Clone(v)
	slices.Sort(s)
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
