package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/golang/freetype/truetype"
	gochart "github.com/wcharczuk/go-chart/v2"
	"github.com/wcharczuk/go-chart/v2/drawing"
	"golang.org/x/image/font"
)

// point is a place in the picture, in units from its top left corner.
type point struct{ x, y float64 }

// rect is a part of the picture.
type rect struct{ left, top, right, bottom float64 }

func (r rect) width() float64  { return r.right - r.left }
func (r rect) height() float64 { return r.bottom - r.top }

// anchor says which end of a text its place is.
type anchor int

const (
	start anchor = iota
	middle
	end
)

// canvas draws on a renderer of go-chart, which has whole pixels only, in units of
// 1/96 inch as floating-point numbers.
type canvas struct {
	r             gochart.Renderer
	format        Format
	width, height int     // in units
	scale         float64 // pixels of the renderer per unit
	font          *truetype.Font
	faces         map[float64]font.Face // for measuring, by size
}

// newCanvas returns a white canvas. The font is the Roboto Medium that comes with
// go-chart. An SVG only names it, and its viewer may have to choose another.
func newCanvas(width, height int, f Format) (*canvas, error) {
	c := &canvas{format: f, width: width, height: height, faces: map[float64]font.Face{}}
	var err error
	if c.font, err = gochart.GetDefaultFont(); err != nil {
		return nil, fmt.Errorf("chart: %w", err)
	}
	switch f {
	case PNG:
		c.scale = 3
		c.r, err = gochart.PNG(3*width, 3*height)
	case SVG:
		c.scale = 10
		c.r, err = gochart.SVG(10*width, 10*height)
	default:
		return nil, fmt.Errorf("chart: format %d is unknown; want PNG or SVG", f)
	}
	if err != nil {
		return nil, fmt.Errorf("chart: %w", err)
	}
	c.r.SetDPI(72) // so that a point is a pixel
	if f == PNG {
		c.r.SetDPI(64) // its text comes out an eighth too large: it takes 1/64 inch for a point
	}
	w, h := float64(width), float64(height)
	c.fill([]point{{0, 0}, {w, 0}, {w, h}, {0, h}}, white)
	return c, nil
}

// px returns a length or place in the renderer's pixels.
func (c *canvas) px(v float64) int { return int(math.Round(v * c.scale)) }

func (c *canvas) path(points []point) {
	for i, p := range points {
		if i == 0 {
			c.r.MoveTo(c.px(p.x), c.px(p.y))
		} else {
			c.r.LineTo(c.px(p.x), c.px(p.y))
		}
	}
}

// fill fills a polygon.
func (c *canvas) fill(points []point, colour drawing.Color) {
	if len(points) < 3 {
		return
	}
	c.r.ResetStyle()
	c.r.SetFillColor(colour)
	c.path(points)
	c.r.Close()
	c.r.Fill()
}

// strokePoints is how much is stroked at a time in pixels: the rasteriser looks through all that
// a stroke covers in a row, again for each crossing.
const strokePoints = 200

// stroke draws an open line.
func (c *canvas) stroke(points []point, p pen) {
	if len(points) < 2 {
		return
	}
	c.r.ResetStyle()
	c.r.SetStrokeColor(p.colour)
	c.r.SetStrokeWidth(math.Round(p.width * c.scale))
	switch {
	case p.dash == nil && c.format == SVG:
		c.path(points)
	case p.dash == nil:
		for ; len(points) > strokePoints; points = points[strokePoints-1:] {
			c.path(points[:strokePoints])
			c.r.Stroke()
		}
		c.path(points)
	case c.format == SVG:
		dash := make([]float64, len(p.dash))
		for i, d := range p.dash {
			dash[i] = d * c.scale
		}
		c.r.SetStrokeDashArray(dash)
		c.path(points)
	default:
		// go-chart's own dashes begin anew with each segment, so that a line of
		// short ones has none.
		for i, part := range dashed(points, p.dash) {
			if i%strokePoints == strokePoints-1 {
				c.r.Stroke()
			}
			c.path(part)
		}
	}
	c.r.Stroke()
}

// dashed cuts a line into its dashes.
func dashed(line []point, dash []float64) [][]point {
	var out [][]point
	part := []point{line[0]}
	k, left := 0, dash[0] // the element of the pattern, dashes being even, and what is left of it
	for i := 1; i < len(line); i++ {
		a, b := line[i-1], line[i]
		length, done := distance(a, b), 0.0
		for length-done > left {
			done += left
			p := point{a.x + (b.x-a.x)*done/length, a.y + (b.y-a.y)*done/length}
			if k%2 == 0 {
				out = append(out, append(part, p))
				part = nil
			} else {
				part = []point{p}
			}
			k = (k + 1) % len(dash)
			left = dash[k]
		}
		left -= length - done
		if k%2 == 0 {
			part = append(part, b)
		}
	}
	if k%2 == 0 && len(part) > 1 {
		out = append(out, part)
	}
	return out
}

// dot draws a disc as a polygon, since the renderers' circles differ.
func (c *canvas) dot(at point, radius float64, colour drawing.Color) {
	const corners = 24
	points := make([]point, corners)
	for i := range points {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / corners)
		points[i] = point{at.x + radius*cos, at.y + radius*sin}
	}
	c.fill(points, colour)
}

// style is how a text is written.
type style struct {
	size   float64
	colour drawing.Color
}

// text writes one line with its baseline at the given height.
func (c *canvas) text(s string, at point, a anchor, st style) {
	if s == "" {
		return
	}
	x := at.x
	if c.format == PNG {
		x -= float64(a) / 2 * c.measure(s, st)
	} else {
		// The viewer's font may be wider or narrower than ours, so it has to do
		// the anchoring. go-chart writes text as it is into the document.
		var escaped bytes.Buffer
		_ = xml.EscapeText(&escaped, []byte(s)) // a buffer does not fail
		s = fmt.Sprintf(`<tspan x="%d" text-anchor="%s">%s</tspan>`, c.px(x), [...]string{"start", "middle", "end"}[a], escaped.Bytes())
	}
	c.r.ResetStyle()
	c.r.SetFont(c.font)
	c.r.SetFontSize(st.size * c.scale)
	c.r.SetFontColor(st.colour)
	c.r.Text(s, c.px(x), c.px(at.y))
}

// halo clears what is behind a text that begins at the given place, so that it can
// be read over lines.
func (c *canvas) halo(s string, at point, st style) {
	w := c.measure(s, st)
	c.fill(corners(rect{at.x - 2, at.y - st.size + 1, at.x + w + 2, at.y + 3}), tint(white, 215))
}

// fallback is how much wider than ours the font is that a viewer may have to choose
// for an SVG: DejaVu Sans, the widest of the usual ones, by an eighth.
const fallback = 1.125

// measure returns the width of a text, in an SVG that which it may have.
func (c *canvas) measure(s string, st style) float64 {
	f, ok := c.faces[st.size]
	if !ok {
		f = truetype.NewFace(c.font, &truetype.Options{Size: 10 * st.size, DPI: 72})
		c.faces[st.size] = f
	}
	width := float64(font.MeasureString(f, s)) / 64 / 10
	if c.format == SVG {
		width *= fallback
	}
	return width
}

// wrap breaks a text into at most the given number of lines of at most the given
// width; what is left over is cut off and ends in dots.
func (c *canvas) wrap(s string, width float64, lines int, st style) []string {
	var out []string
	line := ""
	words := strings.Fields(strings.ToValidUTF8(s, "?"))
	for i, word := range words {
		longer := strings.TrimSpace(line + " " + word)
		switch {
		case c.measure(longer, st) <= width:
			line = longer
		case len(out) == lines-1:
			return append(out, c.cut(line+" "+strings.Join(words[i:], " "), width, st))
		default:
			if line != "" {
				out = append(out, line)
			}
			line = word
		}
	}
	if line != "" {
		out = append(out, c.cut(line, width, st))
	}
	return out
}

// cut shortens a text to a width.
func (c *canvas) cut(s string, width float64, st style) string {
	s = strings.TrimSpace(s)
	if c.measure(s, st) <= width {
		return s
	}
	for s != "" {
		_, n := utf8.DecodeLastRuneInString(s)
		s = strings.TrimSpace(s[:len(s)-n])
		if c.measure(s+"…", st) <= width {
			return s + "…"
		}
	}
	return ""
}

// save writes the picture.
func (c *canvas) save(w io.Writer, title string) error {
	if c.format == PNG {
		var picture collector
		if err := c.r.Save(&picture); err != nil {
			return fmt.Errorf("chart: %w", err)
		}
		if err := png.Encode(w, picture.rgba); err != nil {
			return fmt.Errorf("chart: writing the picture: %w", err)
		}
		return nil
	}
	var b bytes.Buffer
	if err := c.r.Save(&b); err != nil {
		return fmt.Errorf("chart: %w", err)
	}
	// go-chart gives the picture no size of its own, only a viewBox, and no name.
	tag, rest, _ := bytes.Cut(b.Bytes(), []byte(">"))
	var name bytes.Buffer
	_ = xml.EscapeText(&name, []byte(title)) // a buffer does not fail
	_, err := fmt.Fprintf(w, "%s width=\"%d\" height=\"%d\" role=\"img\"><title>%s</title>%s\n", tag, c.width, c.height, name.Bytes(), rest)
	if err != nil {
		return fmt.Errorf("chart: writing the picture: %w", err)
	}
	return nil
}

// collector takes the picture from the renderer before it is encoded.
type collector struct{ rgba *image.RGBA }

func (p *collector) SetRGBA(i *image.RGBA)     { p.rgba = i }
func (p *collector) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
