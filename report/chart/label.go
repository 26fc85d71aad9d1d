package chart

import "math"

// label is a name written beside its line.
type label struct {
	series int
	text   string
	at     point // start of the baseline
}

// placeLabels finds a place beside each line for its name: within the area, not
// over any line, edge of a band, mark or other name. It looks from the end of each line backwards,
// and returns false if there is no place for one of them.
func placeLabels(c *canvas, names []string, lines [][][]point, edges [][]point, taken []rect, area rect) ([]label, bool) {
	const gap = 6.0
	var out []label
	for i, name := range names {
		if name == "" || len(lines[i]) == 0 {
			continue
		}
		w, h := c.measure(name, legendStyle), legendStyle.size+2
		placed := false
		for _, p := range alongBackwards(lines[i]) {
			for _, corner := range []point{
				{p.x + gap, p.y - h/2}, // right of it
				{p.x - w, p.y - h - gap}, {p.x - w/2, p.y - h - gap},
				{p.x + gap, p.y - h - gap/2}, {p.x + gap, p.y + gap/2}, // above and below to the right
				{p.x - w - gap, p.y - h - gap/2}, {p.x - w - gap, p.y + gap/2}, // to the left
				{p.x - w/2, p.y + gap},
			} {
				box := rect{corner.x, corner.y, corner.x + w, corner.y + h}
				if !within(box, area) || hitsAny(box, taken) || hitsLine(box, lines) || hitsParts(box, edges) || !nearestIs(i, box, lines) {
					continue
				}
				out = append(out, label{i, name, point{box.left, box.bottom - 3}})
				taken = append(taken, box)
				placed = true
				break
			}
			if placed {
				break
			}
		}
		if !placed {
			return nil, false
		}
	}
	return out, true
}

// alongBackwards returns points along the parts of a line, the last first, every
// 12 units, and no more than a plain line has: where a jagged one of great length has had no
// place so far, it has none.
func alongBackwards(parts [][]point) []point {
	const every, most = 12.0, 250
	last := parts[len(parts)-1]
	out := []point{last[len(last)-1]}
	due := every
	for i := len(parts) - 1; i >= 0; i-- {
		part := parts[i]
		for j := len(part) - 1; j > 0; j-- {
			a, b := part[j], part[j-1]
			length := distance(a, b)
			for length > 0 && due <= length && len(out) < most {
				t := due / length
				out = append(out, point{a.x + t*(b.x-a.x), a.y + t*(b.y-a.y)})
				due += every
			}
			if len(out) == most {
				return out
			}
			due -= length
		}
	}
	return out
}

func distance(a, b point) float64 { return math.Hypot(a.x-b.x, a.y-b.y) }

func within(r, area rect) bool {
	return r.left >= area.left && r.right <= area.right && r.top >= area.top && r.bottom <= area.bottom
}

func hitsAny(r rect, others []rect) bool {
	for _, o := range others {
		if r.left < o.right && o.left < r.right && r.top < o.bottom && o.top < r.bottom {
			return true
		}
	}
	return false
}

func hitsLine(r rect, lines [][][]point) bool {
	for _, parts := range lines {
		if hitsParts(r, parts) {
			return true
		}
	}
	return false
}

func hitsParts(r rect, parts [][]point) bool {
	for _, part := range parts {
		for i := 1; i < len(part); i++ {
			if _, _, hit := clipSegment(part[i-1], part[i], r); hit {
				return true
			}
		}
	}
	return false
}

// nearestIs tells whether the i-th line is clearly nearer to a box than the others,
// so that nobody takes the name for theirs.
func nearestIs(i int, box rect, lines [][][]point) bool {
	own := gapTo(box, lines[i])
	for j := range lines {
		if j != i && gapTo(box, lines[j]) < 1.8*own+2 {
			return false
		}
	}
	return true
}

// gapTo returns the least distance from the ends and middle of a box's long sides
// and its short sides' middles to a line.
func gapTo(box rect, parts [][]point) float64 {
	x, y := (box.left+box.right)/2, (box.top+box.bottom)/2
	least := math.Inf(1)
	for _, from := range []point{
		{box.left, box.top}, {x, box.top}, {box.right, box.top},
		{box.left, y}, {box.right, y},
		{box.left, box.bottom}, {x, box.bottom}, {box.right, box.bottom},
	} {
		for _, part := range parts {
			for k := 1; k < len(part); k++ {
				least = min(least, distance(from, nearestOn(part[k-1], part[k], from)))
			}
		}
	}
	return least
}

// nearestOn returns the point of the segment from a to b that is nearest to p.
func nearestOn(a, b, p point) point {
	dx, dy := b.x-a.x, b.y-a.y
	squared := dx*dx + dy*dy
	if squared == 0 {
		return a
	}
	t := min(1, max(0, ((p.x-a.x)*dx+(p.y-a.y)*dy)/squared))
	return point{a.x + t*dx, a.y + t*dy}
}
