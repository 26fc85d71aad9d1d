package chart

// frame is what surrounds the data: title, subtitle and legend above, axes around.
type frame struct {
	title, subtitle []string
	legend          [][]entry // rows
	bottom          float64   // of all that
}

// entry names a series in a legend.
type entry struct {
	name string
	pen  pen
	box  bool // filled, as bars are, rather than a line
	dot  bool // a dot, as clouds are
	x    float64
}

// sample returns the width of what stands before the name.
func (e *entry) sample() float64 {
	if e.box || e.dot {
		return 12
	}
	return sampleWidth
}

var (
	titleStyle    = style{size: titleSize, colour: ink}
	subtitleStyle = style{size: subtitleSize, colour: grey}
	tickStyle     = style{size: textSize, colour: grey}
	legendStyle   = style{size: textSize + 0.5, colour: ink}
	markStyle     = style{size: textSize, colour: warning}
)

const (
	titleLine    = titleSize * 1.3
	subtitleLine = subtitleSize * 1.4
	legendLine   = 20.0
	sampleWidth  = 24.0                     // of the line before a name in a legend
	axisRoom     = margin + 2*textSize + 14 // below a plot, for ticks and label of the axis
)

// newFrame finds the lines that title, subtitle and legend take.
func newFrame(c *canvas, title, subtitle string, legend []entry) *frame {
	width := float64(c.width) - 2*margin
	f := &frame{
		title:    c.wrap(title, width, 2, titleStyle),
		subtitle: c.wrap(subtitle, width, 3, subtitleStyle),
	}
	x := 0.0
	for _, e := range legend {
		e.name = c.cut(e.name, width-e.sample()-8, legendStyle)
		room := e.sample() + 6 + c.measure(e.name, legendStyle)
		if len(f.legend) == 0 || x+room > width {
			f.legend = append(f.legend, nil)
			x = 0
		}
		e.x = x
		last := len(f.legend) - 1
		f.legend[last] = append(f.legend[last], e)
		x += room + 18
	}
	f.bottom = margin + titleLine*float64(len(f.title)) + subtitleLine*float64(len(f.subtitle)) + legendLine*float64(len(f.legend))
	if len(f.legend) > 0 {
		f.bottom += 8
	}
	return f
}

// draw draws the frame's title, subtitle and legend.
func (f *frame) draw(c *canvas) {
	y := margin - 4.0
	for _, line := range f.title {
		y += titleLine
		c.text(line, point{margin, y - 4}, start, titleStyle)
	}
	for _, line := range f.subtitle {
		y += subtitleLine
		c.text(line, point{margin, y - 2}, start, subtitleStyle)
	}
	y += 8
	for _, row := range f.legend {
		y += legendLine
		for _, e := range row {
			left := margin + e.x
			switch {
			case e.box:
				c.fill(corners(rect{left, y - 11, left + e.sample(), y + 1}), e.pen.colour)
			case e.dot:
				c.dot(point{left + e.sample()/2, y - 5}, 4, e.pen.colour)
			default:
				c.stroke([]point{{left, y - 5}, {left + sampleWidth, y - 5}}, e.pen)
			}
			c.text(e.name, point{left + e.sample() + 6, y - 1}, start, legendStyle)
		}
	}
}

func corners(r rect) []point {
	return []point{{r.left, r.top}, {r.right, r.top}, {r.right, r.bottom}, {r.left, r.bottom}}
}
