package chart

import "io"

// Panels is a stack of charts over one axis, usually time: queue, running
// sequences, memory and device use of a run in one picture.
type Panels struct {
	Title, Subtitle string
	X               Axis
	Panels          []Panel
	XMarks          []Mark // through all panels, named in the lowest
	Width, Height   int    // in units of 1/96 inch, 720 by 150 a panel and 120 if 0
}

// Panel is one chart of a stack. The area under a single series without a band is
// shaded.
type Panel struct {
	Title  string // what it shows, written above it
	Y      Axis   // its label follows the title in grey
	Series []Series
	Marks  []Mark // on Y
}

// Render implements [Charter].
func (d Panels) Render(w io.Writer, f Format) error {
	x := extent{log: d.X.Log}
	ys := make([]extent, len(d.Panels))
	for i, panel := range d.Panels {
		if err := checkAll(panel.Series); err != nil {
			return err
		}
		ys[i].log = panel.Y.Log
		for j := range panel.Series {
			addPoints(&panel.Series[j], &x, &ys[i])
		}
	}
	c, err := newCanvas(orDefault(d.Width, defaultWidth), orDefault(d.Height, 120+150*max(1, len(d.Panels))), f)
	if err != nil {
		return err
	}
	fr := newFrame(c, d.Title, d.Subtitle, nil)
	fr.draw(c)

	plots, ticks := d.layout(c, fr, newScale(d.X, x, 0), ys)
	if len(plots) == 0 {
		(&plot{rect: rect{margin, fr.bottom, float64(c.width) - margin, float64(c.height) - margin}}).noData(c)
	}
	for i, p := range plots {
		panel := &d.Panels[i]
		panel.drawTitle(c, p)
		p.drawY(c, ticks[i])
		if i == len(plots)-1 {
			p.drawX(c, d.X.Label)
		} else {
			c.stroke([]point{{p.left, p.bottom}, {p.right, p.bottom}}, pen{colour: rule, width: hairline})
		}
		panel.draw(c, p, ys[i].some)
		for _, m := range d.XMarks {
			if i < len(plots)-1 {
				m.Label = ""
			}
			if placed, ok := p.xMark(c, m); ok {
				placed.draw(c)
			}
		}
	}
	return c.save(w, d.Title)
}

// layout returns the plots, one below the other, all with the same x axis.
func (d *Panels) layout(c *canvas, fr *frame, x scale, ys []extent) ([]*plot, [][]tick) {
	const headline = 38.0 // above each panel
	top := fr.bottom + 2
	bottom := float64(c.height) - axisRoom
	each := (bottom - top) / float64(max(1, len(d.Panels)))
	var plots []*plot
	var ticks [][]tick
	room := 0.0
	for i, panel := range d.Panels {
		if ys[i].some {
			addMarks(panel.Marks, &ys[i])
		}
		p := &plot{x: x, y: newScale(panel.Y, ys[i], 4)}
		p.top = top + float64(i)*each + headline
		p.bottom = max(top+float64(i+1)*each-6, p.top+20)
		plots = append(plots, p)
		ticks = append(ticks, p.y.ticks(max(2, int(p.height()/30))))
		room = max(room, yRoom(c, ticks[i]))
	}
	for _, p := range plots {
		p.left = margin + room + 10
		p.right = max(float64(c.width)-margin-12, p.left+40)
	}
	return plots, ticks
}

// drawTitle writes what a panel shows and, if there are several, the names of its
// series on the same line.
func (n *Panel) drawTitle(c *canvas, p *plot) {
	strong := style{size: textSize + 1, colour: ink}
	y := p.top - 15
	c.text(n.Title, point{margin, y}, start, strong)
	x := margin + c.measure(n.Title, strong)
	if n.Y.Label != "" {
		c.text(n.Y.Label, point{x + 8, y}, start, tickStyle)
		x += 8 + c.measure(n.Y.Label, tickStyle)
	}
	if len(n.Series) < 2 {
		return
	}
	right := p.right
	for i := len(n.Series) - 1; i >= 0; i-- {
		e := legendEntry(&n.Series[i], i)
		name := c.cut(e.name, (p.right-x)/float64(len(n.Series))-sampleWidth-20, tickStyle)
		right -= c.measure(name, tickStyle) * 1.04
		c.text(name, point{right, y}, start, tickStyle)
		c.stroke([]point{{right - sampleWidth - 5, y - 4}, {right - 5, y - 4}}, e.pen)
		right -= sampleWidth + 18
	}
}

func (n *Panel) draw(c *canvas, p *plot, some bool) {
	if !some {
		p.noData(c)
		return
	}
	for i := range n.Series {
		p.drawBand(c, &n.Series[i], seriesPen(i).colour)
	}
	if len(n.Series) == 1 && n.Series[0].Low == nil && p.y.kind == linear {
		p.drawArea(c, &n.Series[0], seriesPen(0))
	}
	for _, m := range n.Marks {
		if placed, ok := p.yMark(c, m); ok {
			// The panel's title is on the left, so the label goes on the right.
			width := placed.box.right - placed.box.left
			placed.box.left, placed.box.right = p.right-4-width, p.right-4
			placed.draw(c)
		}
	}
	for i := range n.Series {
		line := seriesPen(i)
		line.width = 1.5
		p.drawSeries(c, &n.Series[i], line)
	}
}

// drawArea shades what is between a line and zero.
func (p *plot) drawArea(c *canvas, s *Series, line pen) {
	zero := min(p.y.hi, max(p.y.lo, 0))
	area := Series{X: s.X, Y: s.Y, High: s.Y, Low: make([]float64, len(s.Y))}
	for i := range area.Low {
		area.Low[i] = zero
	}
	p.drawBand(c, &area, line.colour)
}
