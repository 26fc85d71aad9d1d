package chart

// markPen is how marks are drawn.
var markPen = pen{colour: warning, width: 1.2, dash: []float64{4, 3}}

// placedMark is a mark with its place in a plot.
type placedMark struct {
	from, to point
	label    string
	box      rect // of the label
}

// yMark places a mark across the plot, with its label on the left above the line,
// or below it under the upper edge. It returns false if the mark is not in range.
func (p *plot) yMark(c *canvas, m Mark) (placedMark, bool) {
	y := p.at(p.x.lo, m.Value).y
	if !p.shows(p.x.lo, m.Value) || !p.holds(point{p.left, y}) {
		return placedMark{}, false
	}
	out := placedMark{from: point{p.left, y}, to: point{p.right, y}, label: c.cut(m.Label, p.width()/2, markStyle)}
	out.box = rect{p.left + 4, y - textSize - 5, p.left + 4 + c.measure(out.label, markStyle), y - 2}
	if out.box.top < p.top-6 {
		out.box.top, out.box.bottom = y+3, y+textSize+6
	}
	return out, true
}

// xMark places a mark from top to bottom of the plot, with its label at the bottom
// on the right of the line, or on the left before the right edge.
func (p *plot) xMark(c *canvas, m Mark) (placedMark, bool) {
	x := p.at(m.Value, p.y.lo).x
	if !p.shows(m.Value, p.y.hi) || !p.holds(point{x, p.bottom}) {
		return placedMark{}, false
	}
	out := placedMark{from: point{x, p.top}, to: point{x, p.bottom}, label: c.cut(m.Label, p.width()/2, markStyle)}
	width := c.measure(out.label, markStyle)
	out.box = rect{x + 5, p.bottom - textSize - 10, x + 5 + width, p.bottom - 6}
	if out.box.right > p.right {
		out.box.left, out.box.right = x-5-width, x-5
	}
	return out, true
}

func (m placedMark) draw(c *canvas) {
	m.drawLine(c)
	m.drawLabel(c)
}

func (m placedMark) drawLine(c *canvas) { c.stroke([]point{m.from, m.to}, markPen) }

// drawLabel writes the label over whatever is there.
func (m placedMark) drawLabel(c *canvas) {
	if m.label != "" {
		c.halo(m.label, point{m.box.left, m.box.bottom - 2}, markStyle)
	}
	c.text(m.label, point{m.box.left, m.box.bottom - 2}, start, markStyle)
}

// covers returns what names must not be written over.
func (m placedMark) covers() []rect {
	return []rect{m.box, {m.from.x - 5, m.from.y - 3, m.to.x + 5, m.to.y + 3}}
}
