package chart

// clipLine returns the parts of an open line that are within a rectangle.
func clipLine(line []point, r rect) [][]point {
	var out [][]point
	var part []point
	for i := 1; i < len(line); i++ {
		a, b, ok := clipSegment(line[i-1], line[i], r)
		if !ok {
			continue
		}
		if len(part) == 0 || part[len(part)-1] != a {
			if len(part) > 1 {
				out = append(out, part)
			}
			part = []point{a}
		}
		part = append(part, b)
	}
	if len(part) > 1 {
		out = append(out, part)
	}
	return out
}

// clipSegment returns the part of the segment from a to b within r, if any (Liang
// and Barsky, 1984).
func clipSegment(a, b point, r rect) (point, point, bool) {
	dx, dy := b.x-a.x, b.y-a.y
	enter, leave := 0.0, 1.0
	for _, edge := range [4][2]float64{
		{-dx, a.x - r.left}, {dx, r.right - a.x},
		{-dy, a.y - r.top}, {dy, r.bottom - a.y},
	} {
		p, q := edge[0], edge[1]
		switch {
		case p == 0 && q < 0:
			return a, b, false
		case p < 0:
			enter = max(enter, q/p)
		case p > 0:
			leave = min(leave, q/p)
		}
	}
	if enter > leave {
		return a, b, false
	}
	from, to := a, b
	if enter > 0 {
		from = r.nearest(point{a.x + enter*dx, a.y + enter*dy})
	}
	if leave < 1 {
		to = r.nearest(point{a.x + leave*dx, a.y + leave*dy})
	}
	return from, to, true
}

// nearest returns the point of the rectangle that is nearest to p, which undoes what
// rounding has put outside.
func (r rect) nearest(p point) point {
	return point{max(r.left, min(r.right, p.x)), max(r.top, min(r.bottom, p.y))}
}

// clipPolygon returns the part of a polygon within a rectangle (Sutherland and
// Hodgman, 1974).
func clipPolygon(polygon []point, r rect) []point {
	for _, edge := range []struct {
		inside func(point) bool
		cross  func(a, b point) point
	}{
		{func(p point) bool { return p.x >= r.left }, func(a, b point) point { return atX(a, b, r.left) }},
		{func(p point) bool { return p.x <= r.right }, func(a, b point) point { return atX(a, b, r.right) }},
		{func(p point) bool { return p.y >= r.top }, func(a, b point) point { return atY(a, b, r.top) }},
		{func(p point) bool { return p.y <= r.bottom }, func(a, b point) point { return atY(a, b, r.bottom) }},
	} {
		if len(polygon) == 0 {
			return nil
		}
		var kept []point
		previous := polygon[len(polygon)-1]
		for _, p := range polygon {
			if edge.inside(p) != edge.inside(previous) {
				kept = append(kept, edge.cross(previous, p))
			}
			if edge.inside(p) {
				kept = append(kept, p)
			}
			previous = p
		}
		polygon = kept
	}
	return polygon
}

// atX returns the point of the line through a and b at the given x.
func atX(a, b point, x float64) point {
	return point{x, a.y + (b.y-a.y)*(x-a.x)/(b.x-a.x)}
}

// atY returns the point of the line through a and b at the given y.
func atY(a, b point, y float64) point {
	return point{a.x + (b.x-a.x)*(y-a.y)/(b.y-a.y), y}
}
