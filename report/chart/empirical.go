package chart

import (
	"math"
	"slices"
)

// evenPoints is the number of points, evenly spread in share, that the curve of a
// large sample is thinned to, apart from those of its tail: more than a chart is
// high in pixels.
const evenPoints = 400

// Empirical returns the cumulative distribution of a sample as a series for a
// [CDF]. Values that are not finite are left out. The curve of a large sample is
// thinned, which moves no point: evenly in share, and in its upper tail evenly in
// the logarithm of what is left, so that high quantiles stay exact.
func Empirical(name string, sample []float64) Series {
	values := make([]float64, 0, len(sample))
	for _, v := range sample {
		if finite(v) {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	n := len(values)
	s := Series{Name: name}
	if n == 0 {
		return s
	}
	add := func(x float64, count int) {
		s.X, s.Y = append(s.X, x), append(s.Y, float64(count)/float64(n))
	}
	add(values[0], 0)
	for _, i := range thinned(n) {
		if n <= evenPoints/2 { // few enough to see the steps
			add(values[i], i)
		}
		add(values[i], i+1)
	}
	return s
}

// thinned returns which of n sorted values a curve needs, in ascending order.
func thinned(n int) []int {
	var keep []int
	if n <= evenPoints {
		for i := range n {
			keep = append(keep, i)
		}
		return keep
	}
	for k := range evenPoints {
		keep = append(keep, k*(n-1)/(evenPoints-1))
	}
	for left := 1.0; left < float64(n)/8; left *= 1.1 {
		keep = append(keep, n-int(math.Floor(left)))
	}
	slices.Sort(keep)
	return slices.Compact(keep)
}
