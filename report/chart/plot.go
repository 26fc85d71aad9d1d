package chart

import "github.com/wcharczuk/go-chart/v2/drawing"

// plot is the area where data is drawn, with its two scales.
type plot struct {
	rect
	x, y scale
}

// at returns the place of a value.
func (p *plot) at(x, y float64) point {
	return point{p.left + p.x.at(x)*p.width(), p.bottom - p.y.at(y)*p.height()}
}

// yTicks returns the ticks of the left axis of a plot of the given height.
func yTicks(s scale, height float64) []tick { return s.ticks(max(2, int(height/42))) }

// yRoom returns the width of the widest label of the ticks.
func yRoom(c *canvas, ticks []tick) float64 {
	room := 0.0
	for _, t := range ticks {
		room = max(room, c.measure(t.label, tickStyle))
	}
	return room
}

// drawY draws the left axis as labels and horizontal lines through the plot.
func (p *plot) drawY(c *canvas, ticks []tick) {
	for _, t := range ticks {
		y := p.at(p.x.lo, t.value).y
		if t.label == "" {
			c.stroke([]point{{p.left - 3, y}, {p.left, y}}, pen{colour: faint, width: hairline})
			continue
		}
		c.stroke([]point{{p.left, y}, {p.right, y}}, pen{colour: faint, width: hairline})
		c.text(t.label, point{p.left - 7, y + textSize*0.36}, end, tickStyle)
	}
}

// drawX draws the bottom axis: a line, ticks and as many labels as there is room
// for, and its name.
func (p *plot) drawX(c *canvas, label string) {
	var ticks []tick
	for most := max(2, int(p.width()/55)); ; most-- {
		ticks = p.x.ticks(most)
		if most <= 2 || p.labelsFit(c, ticks) {
			break
		}
	}
	c.stroke([]point{{p.left, p.bottom}, {p.right, p.bottom}}, pen{colour: rule, width: hairline})
	free := -margin
	for _, t := range ticks {
		x := p.at(t.value, p.y.lo).x
		length := tickLength
		if t.label == "" {
			length /= 2
		}
		c.stroke([]point{{x, p.bottom}, {x, p.bottom + length}}, pen{colour: rule, width: hairline})
		if half := c.measure(t.label, tickStyle) / 2; t.label != "" && x-half >= free {
			c.text(t.label, point{x, p.bottom + tickLength + textSize + 2}, middle, tickStyle)
			free = x + half + 6
		}
	}
	c.text(label, point{(p.left + p.right) / 2, p.bottom + 2*textSize + 14}, middle, tickStyle)
}

// labelsFit tells whether no two labels of the bottom axis touch.
func (p *plot) labelsFit(c *canvas, ticks []tick) bool {
	free := -margin
	for _, t := range ticks {
		if t.label == "" {
			continue
		}
		x, half := p.at(t.value, p.y.lo).x, c.measure(t.label, tickStyle)/2
		if x-half < free {
			return false
		}
		free = x + half + 10
	}
	return true
}

// noData says in the middle of the plot that there is none.
func (p *plot) noData(c *canvas) {
	c.text("no data", point{(p.left + p.right) / 2, (p.top+p.bottom)/2 + 5}, middle, style{size: 15, colour: grey})
}

// lines returns the visible parts of a series. It is interrupted where a value is
// not finite or its axis cannot show it. A point without neighbours is a part of
// length zero.
func (p *plot) lines(s *Series) [][]point {
	var out [][]point
	var run []point
	flush := func() {
		switch {
		case len(run) == 1 && p.holds(run[0]):
			out = append(out, []point{run[0], run[0]})
		case len(run) > 1:
			out = append(out, clipLine(run, p.rect)...)
		}
		run = nil
	}
	for i := range s.X {
		if !p.shows(s.X[i], s.Y[i]) {
			flush()
			continue
		}
		run = append(run, p.at(s.X[i], s.Y[i]))
	}
	flush()
	return out
}

// shows tells whether a point has a place, if perhaps outside the plot.
func (p *plot) shows(x, y float64) bool {
	return finite(x, y) && (p.x.kind != logarithmic || positive(x)) && (p.y.kind != logarithmic || positive(y))
}

// drawBand shades the confidence band of a series.
func (p *plot) drawBand(c *canvas, s *Series, colour drawing.Color) {
	if s.Low == nil {
		return
	}
	var low, high []point
	flush := func() {
		for i := len(low) - 1; i >= 0; i-- {
			high = append(high, low[i])
		}
		c.fill(clipPolygon(high, p.rect), tint(colour, 46))
		low, high = nil, nil
	}
	for i := range s.X {
		if !p.shows(s.X[i], s.Y[i]) || !finite(s.Low[i], s.High[i]) {
			flush()
			continue
		}
		low = append(low, p.at(s.X[i], s.Low[i]))
		high = append(high, p.at(s.X[i], s.High[i]))
	}
	flush()
}

// drawSeries draws a line, its points if asked for, and those without neighbours.
func (p *plot) drawSeries(c *canvas, s *Series, line pen) {
	if s.Cloud {
		for i := range s.X {
			if at := p.at(s.X[i], s.Y[i]); p.shows(s.X[i], s.Y[i]) && p.holds(at) {
				c.dot(at, 1.7, tint(line.colour, 150))
			}
		}
		return
	}
	for _, part := range p.lines(s) {
		if len(part) == 2 && part[0] == part[1] {
			c.dot(part[0], 3, line.colour)
			continue
		}
		c.stroke(part, line)
	}
	for i := range s.X {
		if at := p.at(s.X[i], s.Y[i]); s.Points && p.shows(s.X[i], s.Y[i]) && p.holds(at) {
			c.dot(at, 4.2, white)
			c.dot(at, 3, line.colour)
		}
	}
}

func (p *plot) holds(at point) bool {
	const slack = 0.5
	return at.x >= p.left-slack && at.x <= p.right+slack && at.y >= p.top-slack && at.y <= p.bottom+slack
}
