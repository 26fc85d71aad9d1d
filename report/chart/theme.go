package chart

import (
	"github.com/wcharczuk/go-chart/v2/drawing"
)

// The sizes of the theme, in units of 1/96 inch (a CSS pixel).
const (
	defaultWidth  = 720
	defaultHeight = 420

	margin       = 20.0 // around the picture
	titleSize    = 18.0
	subtitleSize = 13.0
	textSize     = 12.0
	lineWidth    = 2.0
	hairline     = 1.0
	tickLength   = 4.0
)

// The palette of Okabe and Ito (2008), which people with any of the common kinds
// of colour blindness can tell apart; its yellow is left out, being too light for
// lines on white.
var palette = []drawing.Color{
	rgb(0x0072B2), // blue
	rgb(0xD55E00), // vermilion
	rgb(0x009E73), // bluish green
	rgb(0xCC79A7), // reddish purple
	rgb(0xE69F00), // orange
	rgb(0x56B4E9), // sky blue
	rgb(0x000000),
}

// Dashes tell lines apart without any colour.
var dashes = [][]float64{nil, {7, 4}, {2, 3.5}, {9, 3.5, 2, 3.5}}

var (
	ink     = rgb(0x222222) // titles
	grey    = rgb(0x5F6368) // subtitles, ticks
	faint   = rgb(0xE3E5E8) // grid
	rule    = rgb(0x80868B) // axis
	warning = rgb(0xA50E0E) // marks: SLOs
	white   = rgb(0xFFFFFF)
)

func rgb(hex uint32) drawing.Color {
	return drawing.Color{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 255}
}

// pen is how a line is drawn.
type pen struct {
	colour drawing.Color
	width  float64
	dash   []float64
}

// seriesPen returns the pen of the i-th series.
func seriesPen(i int) pen {
	return pen{palette[i%len(palette)], lineWidth, dashes[i%len(dashes)]}
}

// tint returns the colour made as transparent as alpha says, from 0 to 255.
func tint(c drawing.Color, alpha uint8) drawing.Color { return c.WithAlpha(alpha) }
