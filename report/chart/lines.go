package chart

import (
	"io"
	"math"
	"slices"
)

// Lines is a chart of y over x, such as latency over load.
type Lines struct {
	Title, Subtitle string
	X, Y            Axis
	Series          []Series
	XMarks, YMarks  []Mark
	Width, Height   int // in units of 1/96 inch, 720 by 420 if 0
}

// Render implements [Charter].
func (l Lines) Render(w io.Writer, f Format) error {
	if err := checkAll(l.Series); err != nil {
		return err
	}
	x, y := extent{log: l.X.Log}, extent{log: l.Y.Log}
	for i := range l.Series {
		addPoints(&l.Series[i], &x, &y)
	}
	some := x.some
	if some { // marks are worth seeing, but not alone
		addMarks(l.XMarks, &x)
		addMarks(l.YMarks, &y)
	}
	p := plane{
		title: l.Title, subtitle: l.Subtitle, xLabel: l.X.Label, yLabel: l.Y.Label,
		x: newScale(l.X, x, 10), y: newScale(l.Y, y, 5),
		series: slices.Clone(l.Series), xMarks: l.XMarks, yMarks: l.YMarks, some: some,
		width: l.Width, height: l.Height,
	}
	for i := range p.series {
		p.series[i] = seen(p.series[i], p.x)
	}
	return p.render(w, f)
}

func addMarks(marks []Mark, e *extent) {
	for _, m := range marks {
		e.add(m.Value)
	}
}

// CDF is a chart of cumulative distributions, usually of latencies: the Y of a
// series are shares from 0 to 1, of the values up to its X. See [Empirical].
type CDF struct {
	Title, Subtitle string
	X               Axis
	YLabel          string
	Tail            bool // stretch the upper end, so that 90 %, 99 % and 99.9 % can be read
	Series          []Series
	Marks           []Mark // on X
	Width, Height   int    // in units of 1/96 inch, 720 by 420 if 0
}

// Render implements [Charter].
func (d CDF) Render(w io.Writer, f Format) error {
	if err := checkAll(d.Series); err != nil {
		return err
	}
	x, y := extent{log: d.X.Log}, extent{}
	series := make([]Series, len(d.Series))
	for i, s := range d.Series {
		addPoints(&s, &x, &y)
		series[i] = s
	}
	some := x.some
	if some {
		addMarks(d.Marks, &x)
	}
	p := plane{
		title: d.Title, subtitle: d.Subtitle, xLabel: d.X.Label, yLabel: d.YLabel,
		x: newScale(d.X, x, 10), y: scale{unit: Percent, lo: 0, hi: 1},
		series: series, xMarks: d.Marks, some: some,
		width: d.Width, height: d.Height,
	}
	if d.Tail {
		p.y = scale{kind: tail, unit: Percent, lo: 0, hi: 0.999}
	}
	for i := range series {
		if d.X.Log { // shares of values of 0 or less are read off where the axis begins
			series[i].X = raised(series[i].X, p.x.lo)
		}
		if d.Tail { // nor can a line be drawn to 100 %
			series[i].Y = capped(series[i].Y, 1-1e-12)
		}
	}
	return p.render(w, f)
}

func raised(values []float64, least float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = math.Max(v, least)
	}
	return out
}

func capped(values []float64, most float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = math.Min(v, most)
	}
	return out
}

// plane is a chart with two scales, as [Lines] and [CDF] have.
type plane struct {
	title, subtitle, xLabel, yLabel string
	x, y                            scale
	series                          []Series
	xMarks, yMarks                  []Mark
	some                            bool // there is data
	width, height                   int
}

// render draws the chart. Names are written beside their lines if there is room,
// perhaps with a wider right margin, and in a legend if not.
func (a *plane) render(w io.Writer, f Format) error {
	c, err := newCanvas(orDefault(a.width, defaultWidth), orDefault(a.height, defaultHeight), f)
	if err != nil {
		return err
	}
	var names []string
	var legend []entry
	widest := 0.0
	for i, s := range a.series {
		name := c.cut(s.Name, float64(c.width)/3, legendStyle)
		names = append(names, name)
		legend = append(legend, legendEntry(&s, i))
		widest = max(widest, c.measure(name, legendStyle))
	}
	if len(a.series) == 1 && a.series[0].Name == "" || !a.some {
		names, legend = nil, nil
	}

	fr := newFrame(c, a.title, a.subtitle, nil)
	p, ticks := a.layout(c, fr, 24)
	labels, ok := a.labels(c, p, names, 24)
	if !ok && widest < float64(c.width)/4 {
		p, ticks = a.layout(c, fr, widest+12)
		labels, ok = a.labels(c, p, names, widest+12)
	}
	if !ok {
		fr = newFrame(c, a.title, a.subtitle, legend)
		p, ticks = a.layout(c, fr, 24)
	}

	fr.draw(c)
	p.drawY(c, ticks)
	c.text(a.yLabel, point{margin, p.top - 14}, start, tickStyle)
	for i := range a.series {
		p.drawBand(c, &a.series[i], seriesPen(i).colour)
	}
	p.drawX(c, a.xLabel)
	marks := a.placeMarks(c, p)
	for _, m := range marks {
		m.drawLine(c)
	}
	if !a.some {
		p.noData(c)
	}
	for i := range a.series {
		p.drawSeries(c, &a.series[i], seriesPen(i))
	}
	for _, m := range marks {
		m.drawLabel(c)
	}
	for _, l := range labels {
		c.text(l.text, l.at, start, style{size: legendStyle.size, colour: seriesPen(l.series).colour})
	}
	return c.save(w, a.title)
}

// legendEntry returns what the legend says of the i-th series.
func legendEntry(s *Series, i int) entry {
	name := s.Name
	if !slices.ContainsFunc(s.Y, func(v float64) bool { return finite(v) }) {
		name += " (no data)"
	}
	return entry{name: name, pen: seriesPen(i), dot: s.Cloud}
}

// layout returns the plot under a frame with the given margin on its right.
func (a *plane) layout(c *canvas, fr *frame, right float64) (*plot, []tick) {
	p := &plot{x: a.x, y: a.y}
	p.top = fr.bottom + 14
	if a.yLabel != "" {
		p.top += 22
	}
	p.bottom = max(float64(c.height)-axisRoom, p.top+40)
	ticks := yTicks(p.y, p.height())
	p.left = margin + yRoom(c, ticks) + 10
	p.right = max(float64(c.width)-margin-right+12, p.left+40)
	return p, ticks
}

// labels places the names of the series beside their lines.
func (a *plane) labels(c *canvas, p *plot, names []string, right float64) ([]label, bool) {
	if len(names) == 0 {
		return nil, true
	}
	if slices.ContainsFunc(a.series, func(s Series) bool { return s.Cloud }) {
		return nil, false // a cloud has no end to write its name at
	}
	lines := make([][][]point, len(a.series))
	var edges [][]point
	for i := range a.series {
		s := &a.series[i]
		if lines[i] = p.lines(s); len(lines[i]) == 0 {
			return nil, false // the legend says that it has no data
		}
		if s.Low != nil {
			edges = append(edges, p.lines(&Series{X: s.X, Y: s.Low})...)
			edges = append(edges, p.lines(&Series{X: s.X, Y: s.High})...)
		}
	}
	var taken []rect
	for _, m := range a.placeMarks(c, p) {
		taken = append(taken, m.covers()...)
	}
	area := rect{p.left + 2, p.top - 4, min(p.right+right, float64(c.width)-margin/2), p.bottom - 3}
	return placeLabels(c, names, lines, edges, taken, area)
}

// placeMarks returns the marks that are in range.
func (a *plane) placeMarks(c *canvas, p *plot) []placedMark {
	var out []placedMark
	for _, m := range a.xMarks {
		if placed, ok := p.xMark(c, m); ok {
			out = append(out, placed)
		}
	}
	for _, m := range a.yMarks {
		if placed, ok := p.yMark(c, m); ok {
			out = append(out, placed)
		}
	}
	return out
}

func orDefault(v, missing int) int {
	if v <= 0 {
		return missing
	}
	return v
}
