package chart

import (
	"fmt"
	"io"
	"math"
)

// Bars is a chart of groups of bars, one bar a series, with the value written above
// each.
type Bars struct {
	Title, Subtitle string
	Groups          []string // names below the axis
	Y               Axis     // bars begin at zero, so Log is not used
	Series          []BarSeries
	Marks           []Mark // on Y
	Width, Height   int    // in units of 1/96 inch, 720 by 420 if 0
}

// BarSeries is a named set of bars, one for each group.
type BarSeries struct {
	Name      string
	Y         []float64
	Low, High []float64 // ends of the error bars, or both nil
}

// Render implements [Charter].
func (b Bars) Render(w io.Writer, f Format) error {
	y := extent{}
	for _, s := range b.Series {
		if len(s.Y) != len(b.Groups) {
			return fmt.Errorf("chart: series %q has %d bars for %d groups; want as many", s.Name, len(s.Y), len(b.Groups))
		}
		if (s.Low != nil || s.High != nil) && (len(s.Low) != len(s.Y) || len(s.High) != len(s.Y)) {
			return fmt.Errorf("chart: series %q has %d low and %d high ends for %d bars; want as many, or none", s.Name, len(s.Low), len(s.High), len(s.Y))
		}
		for i, v := range s.Y {
			y.add(v)
			if s.Low != nil && finite(v) {
				y.add(s.Low[i], s.High[i])
			}
		}
	}
	some := y.some
	if some {
		y.add(0, 1.04*y.hi) // room for the values above the bars
		addMarks(b.Marks, &y)
	}
	c, err := newCanvas(orDefault(b.Width, defaultWidth), orDefault(b.Height, defaultHeight), f)
	if err != nil {
		return err
	}
	var legend []entry
	for i, s := range b.Series {
		if len(b.Series) > 1 {
			e := legendEntry(&Series{Name: s.Name, Y: s.Y}, i)
			e.box = true
			legend = append(legend, e)
		}
	}
	fr := newFrame(c, b.Title, b.Subtitle, legend)
	fr.draw(c)

	axis := b.Y
	axis.Log = false
	p := &plot{x: scale{lo: 0, hi: float64(max(1, len(b.Groups)))}, y: newScale(axis, y, 6)}
	p.top = fr.bottom + 14
	if b.Y.Label != "" {
		p.top += 22
	}
	p.bottom = max(float64(c.height)-axisRoom, p.top+40)
	ticks := yTicks(p.y, p.height())
	p.left = margin + yRoom(c, ticks) + 10
	p.right = max(float64(c.width)-margin, p.left+40)

	p.drawY(c, ticks)
	c.text(b.Y.Label, point{margin, p.top - 14}, start, tickStyle)
	for _, m := range b.Marks {
		if placed, ok := p.yMark(c, m); ok {
			placed.draw(c)
		}
	}
	if !some {
		p.noData(c)
	}
	decimals := decimalsOf(y.hi)
	for i, name := range b.Groups {
		b.drawGroup(c, p, i, some, decimals)
		each := p.width()/float64(len(b.Groups)) - 8
		for j, line := range c.wrap(name, each, 2, tickStyle) {
			c.text(line, point{p.at(float64(i)+0.5, 0).x, p.bottom + tickLength + float64(j+1)*(textSize+2)}, middle, tickStyle)
		}
	}
	zero := p.at(0, min(p.y.hi, max(p.y.lo, 0))).y
	c.stroke([]point{{p.left, zero}, {p.right, zero}}, pen{colour: rule, width: hairline})
	return c.save(w, b.Title)
}

// drawGroup draws the bars of one group, which share four fifths of its width.
func (b *Bars) drawGroup(c *canvas, p *plot, group int, some bool, decimals int) {
	if !some {
		return
	}
	centre := p.at(float64(group)+0.5, 0).x
	each := min(0.8*p.width()/float64(len(b.Groups)*len(b.Series)), 64)
	for i, s := range b.Series {
		x := centre + (float64(i)-float64(len(b.Series)-1)/2)*each
		zero := p.at(0, 0).y
		v := s.Y[group]
		if !finite(v) {
			c.text("n/a", point{x, min(zero, p.bottom) - 5}, middle, tickStyle)
			continue
		}
		bar := rect{x - each*0.44, p.at(0, v).y, x + each*0.44, zero}
		c.fill(clipPolygon(corners(bar), p.rect), seriesPen(i).colour)
		top := min(bar.top, zero)
		if s.Low != nil && finite(s.Low[group], s.High[group]) {
			top = min(top, b.drawError(c, p, x, each, s.Low[group], s.High[group]))
		}
		b.drawValue(c, point{x, min(max(top, p.top), p.bottom) - 5}, each, v, decimals)
	}
}

// drawValue writes a bar's value above it if there is room, all with the same
// number of decimals.
func (b *Bars) drawValue(c *canvas, at point, each, v float64, decimals int) {
	text := significant(v, b.Y.Unit)
	if b.Y.Unit == Number {
		text = withCommas(v, decimals)
	}
	st := style{size: textSize, colour: ink}
	if w := c.measure(text, st); w <= each+6 {
		c.halo(text, point{at.x - w/2, at.y}, st)
		c.text(text, at, middle, st)
	}
}

// decimalsOf returns the decimals with which a number has three significant digits.
func decimalsOf(v float64) int {
	if v == 0 || !finite(v) {
		return 0
	}
	return min(12, max(0, 2-int(math.Floor(math.Log10(math.Abs(v))))))
}

// drawError draws an error bar and returns where its upper end is.
func (b *Bars) drawError(c *canvas, p *plot, x, each, low, high float64) float64 {
	line := pen{colour: ink, width: 1.3}
	from, to := p.at(0, low).y, p.at(0, high).y
	for _, part := range [][]point{
		{{x, from}, {x, to}},
		{{x - each*0.12, from}, {x + each*0.12, from}},
		{{x - each*0.12, to}, {x + each*0.12, to}},
	} {
		for _, visible := range clipLine(part, p.rect) {
			c.stroke(visible, line)
		}
	}
	return to
}
