// Package chart draws the plots of a report as PNG and SVG: [CDF], [Lines],
// [Panels] over a shared time axis and [Bars]. A chart is a plain struct of
// numbers with a Render method; it knows nothing of simulations.
//
// The drawing itself is go-chart's: its renderers turn paths and text into pixels
// or SVG. Its charts are not used, for reasons that cannot be put right from
// outside: its logarithmic range is wrong, nothing is clipped to the plot area,
// ticks fall on odd numbers, legends lie over the data, and SVG text is not
// escaped. So layout, scales, clipping and labels are ours: [canvas] wraps a
// renderer, [scale] maps values and finds ticks, [frame] is what stands above the
// data, [plot] draws it with its axes, and each kind of chart has a file of its own.
//
// The same chart always renders to the same bytes. Data that is not finite is left
// out (a line is interrupted there), and a chart without any data says so.
package chart

import (
	"fmt"
	"io"
	"math"
)

// Format is the file format of a picture.
type Format int

// The formats of [Charter.Render].
const (
	PNG Format = iota // at three pixels to the unit, for print and dense screens
	SVG
)

// Charter is anything that can be drawn.
type Charter interface {
	// Render writes the picture. Its errors are those of data that does not fit
	// together and those of the writer.
	Render(w io.Writer, f Format) error
}

// Unit says how the numbers of an axis are written.
type Unit int

// The units of an axis.
const (
	Number  Unit = iota // as they are; name what they count in the label
	Seconds             // as 200 ms, 5 s, 10 min
	Percent             // shares of 1, as 50 %
)

// Axis describes an axis. Its zero value suits any data.
type Axis struct {
	Label    string
	Unit     Unit
	Log      bool    // logarithmic; values of 0 or less are then left out
	Min, Max float64 // the range, or found from the data unless Max > Min
}

// Series is a named line.
type Series struct {
	Name      string
	X, Y      []float64 // as many of each
	Low, High []float64 // a confidence band around Y, or both nil
	Points    bool      // mark each point
	Cloud     bool      // points alone, small and without a line, as in a scatter plot
}

// Mark is a line at one value of an axis, such as an SLO.
type Mark struct {
	Value float64
	Label string
}

// check returns an error unless the slices of s fit together.
func (s *Series) check() error {
	if len(s.X) != len(s.Y) {
		return fmt.Errorf("chart: series %q has %d x and %d y; want as many of each", s.Name, len(s.X), len(s.Y))
	}
	if (s.Low != nil || s.High != nil) && (len(s.Low) != len(s.Y) || len(s.High) != len(s.Y)) {
		return fmt.Errorf("chart: series %q has %d low, %d high and %d y; want as many of each, or no low and high", s.Name, len(s.Low), len(s.High), len(s.Y))
	}
	return nil
}

func checkAll(series []Series) error {
	for i := range series {
		if err := series[i].check(); err != nil {
			return err
		}
	}
	return nil
}

// huge bounds what can be drawn: nothing that anyone measures is larger, and the
// arithmetic of scales cannot overflow. Its inverse bounds logarithmic axes.
const huge = 1e100

// finite tells whether all the values can be drawn.
func finite(values ...float64) bool {
	for _, v := range values {
		if !(math.Abs(v) <= huge) {
			return false
		}
	}
	return true
}

// positive tells whether a value has a place on a logarithmic axis.
func positive(v float64) bool { return v >= 1/huge && v <= huge }

// extent is the range of the values it has seen that can be drawn on an axis.
type extent struct {
	lo, hi float64
	log    bool
	some   bool
}

func (e *extent) add(values ...float64) {
	for _, v := range values {
		if !finite(v) || e.log && !positive(v) {
			continue
		}
		if math.Abs(v) < 1/huge {
			v = 0
		}
		if !e.some {
			e.lo, e.hi, e.some = v, v, true
		}
		e.lo, e.hi = math.Min(e.lo, v), math.Max(e.hi, v)
	}
}

// addPoints adds the points of a series that can be drawn on both axes.
func addPoints(s *Series, x, y *extent) {
	for i := range s.X {
		if !finite(s.X[i], s.Y[i]) || x.log && !positive(s.X[i]) || y.log && !positive(s.Y[i]) {
			continue
		}
		x.add(s.X[i])
		y.add(s.Y[i])
		if s.Low != nil {
			y.add(s.Low[i], s.High[i])
		}
	}
}
