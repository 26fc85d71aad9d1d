package plan

import (
	"cmp"
	"slices"
)

// Point is an operating point: what it takes and how good it is.
type Point struct {
	Name    string  // of a sampler, or of a method
	NFE     int     // evaluations of the network
	Seconds float64 // of one image
	Value   float64 // of the metric
}

// Frontier sorts points by time and tells which of them no other beats in both time and
// quality. Lower values are better if lower is set.
func Frontier(points []Point, lower bool) (sorted []Point, best []bool) {
	sorted = slices.Clone(points)
	slices.SortStableFunc(sorted, func(a, b Point) int {
		return cmp.Or(cmp.Compare(a.Seconds, b.Seconds), worse(a.Value, b.Value, lower))
	})
	best = make([]bool, len(sorted))
	for i, p := range sorted {
		best[i] = !slices.ContainsFunc(sorted[:i], func(q Point) bool { return worse(p.Value, q.Value, lower) >= 0 })
	}
	return sorted, best
}

// worse compares two values of a metric: negative if a is the better one.
func worse(a, b float64, lower bool) int {
	if lower {
		return cmp.Compare(a, b)
	}
	return cmp.Compare(b, a)
}

// Match returns the quickest point of those of another name that is as good as p, and false
// if there is none.
func Match(p Point, points []Point, name string, lower bool) (Point, bool) {
	found, ok := Point{}, false
	for _, q := range points {
		if q.Name == name && worse(q.Value, p.Value, lower) <= 0 && (!ok || q.Seconds < found.Seconds) {
			found, ok = q, true
		}
	}
	return found, ok
}
