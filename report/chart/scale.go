package chart

import (
	"math"
	"strconv"
	"strings"
)

// scale maps the values of an axis to the range from 0 to 1.
type scale struct {
	kind   scaleKind
	unit   Unit
	lo, hi float64
}

type scaleKind int

const (
	linear scaleKind = iota
	logarithmic
	tail // of a cumulative share p: -log10(1-p), so that 90 %, 99 % and 99.9 % are as far apart
)

// far is as many lengths of an axis as a place can be away from it: out of sight,
// yet near enough that lines to it can be clipped without loss.
const far = 1e3

// at returns the place of v: 0 at the low end of the axis, 1 at the high end.
func (s scale) at(v float64) float64 {
	place := 0.0
	switch {
	case s.kind == linear:
		place = (v - s.lo) / (s.hi - s.lo)
	case s.kind == logarithmic && v <= 0:
		return -far
	case s.kind == logarithmic:
		place = math.Log(v/s.lo) / math.Log(s.hi/s.lo)
	case s.kind == tail && v >= 1:
		return far
	case s.kind == tail:
		place = math.Log1p(-v) / math.Log1p(-s.hi)
	}
	return max(-far, min(far, place))
}

// newScale returns the scale of an axis whose data has the given extent. The range
// is widened to whole ones of the given number of steps, unless that is 0, and
// contains zero if the data comes near it.
func newScale(a Axis, e extent, steps int) scale {
	s := scale{unit: a.Unit, lo: e.lo, hi: e.hi}
	if a.Log {
		s.kind = logarithmic
	}
	if finite(a.Min, a.Max) && a.Max > a.Min && (!a.Log || positive(a.Min)) {
		s.lo, s.hi = a.Min, a.Max
		return s
	}
	if a.Log {
		if !e.some {
			s.lo, s.hi = 1, 10
		}
		s.lo = math.Max(s.lo, s.hi/1e9) // an outlier near zero would squeeze the rest
		s.lo, s.hi = step125(s.lo, -1), step125(s.hi, +1)
		if s.lo >= s.hi {
			s.lo, s.hi = step125(s.lo*0.99, -1), step125(s.hi*1.01, +1)
		}
		return s
	}
	if !e.some {
		s.lo, s.hi = 0, 1
	}
	if s.lo > 0 && s.lo < 0.5*s.hi {
		s.lo = 0
	}
	if s.hi < 0 && s.hi > 0.5*s.lo {
		s.hi = 0
	}
	if span := s.hi - s.lo; !(span > 1e-9*math.Max(math.Abs(s.lo), math.Abs(s.hi))) { // one value
		switch {
		case s.hi > 0:
			s.lo, s.hi = 0, 1.25*s.hi
		case s.hi < 0:
			s.lo, s.hi = 1.25*s.lo, 0
		default:
			s.hi = 1
		}
	}
	if steps > 0 {
		step := niceStep((s.hi-s.lo)/float64(steps), s.unit)
		s.lo, s.hi = math.Floor(s.lo/step+1e-9)*step, math.Ceil(s.hi/step-1e-9)*step
	}
	return s
}

// step125 returns the nearest of 1, 2 and 5 times a power of ten that is at most v
// (direction -1) or at least v (direction +1), for v > 0.
func step125(v float64, direction int) float64 {
	exp := math.Floor(math.Log10(v))
	best := math.NaN()
	for _, e := range []float64{exp - 1, exp, exp + 1} {
		for _, m := range []float64{1, 2, 5} {
			c := m * math.Pow(10, e)
			if direction < 0 && c <= v*(1+1e-9) && !(c <= best) {
				best = c
			}
			if direction > 0 && c >= v*(1-1e-9) && !(c >= best) {
				best = c
			}
		}
	}
	return best
}

// niceStep returns the step between ticks: at least the given one, and 1, 2 or 5
// times a power of ten, or as clocks have it.
func niceStep(least float64, u Unit) float64 {
	if u == Seconds && least > 1 {
		for _, s := range []float64{2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400} {
			if s >= least*(1-1e-9) {
				return s
			}
		}
		return 86400 * step125(least/86400, +1)
	}
	return step125(least, +1)
}

// tick is a value that an axis is marked at. A tick without a label is a minor
// one.
type tick struct {
	value float64
	label string
}

// ticks returns the ticks of a scale, about most of them or fewer with labels.
func (s scale) ticks(most int) []tick {
	switch s.kind {
	case logarithmic:
		if t := s.logTicks(most); len(t) > 0 {
			return t
		}
	case tail:
		var out []tick
		for _, p := range []float64{0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999} {
			if p <= s.hi*(1+1e-9) {
				out = append(out, tick{p, trim(100*p, 3) + " %"})
			}
		}
		return out
	}
	least := (s.hi - s.lo) / float64(max(1, most))
	if s.unit == Percent {
		least *= 100
	}
	step := niceStep(least, s.unit)
	if s.unit == Percent {
		step /= 100
	}
	var out []tick
	for i := math.Ceil(s.lo/step - 1e-9); i*step <= s.hi+1e-9*step && len(out) < 100; i++ {
		label := format(i*step, step, s.unit)
		if s.unit == Seconds && step < 1 && step >= 0.01 && s.hi >= 1 && i != 0 {
			label = withStep(i*step, step) + " s" // rather than 1,000 ms
		}
		out = append(out, tick{i * step, label})
	}
	return out
}

// logTicks returns ticks at 1, 2 and 5 times powers of ten, of which those are
// labelled that there is room for: all, the powers of ten or some of them. It
// returns none if fewer than two would be in range.
func (s scale) logTicks(most int) []tick {
	var all []tick
	powers := 0
	first, last := math.Floor(math.Log10(s.lo)), math.Ceil(math.Log10(s.hi))
	for e := first; e <= last; e++ {
		for _, m := range []float64{1, 2, 5} {
			v := m * math.Pow(10, e)
			if v < s.lo*(1-1e-9) || v > s.hi*(1+1e-9) {
				continue
			}
			all = append(all, tick{value: v, label: format(v, v, s.unit)})
			if m == 1 {
				powers++
			}
		}
	}
	if len(all) < 2 {
		return nil
	}
	if len(all) <= most {
		return all
	}
	every := (powers + most - 1) / max(1, most)
	for i := range all {
		e := math.Round(math.Log10(all[i].value))
		isPower := math.Abs(all[i].value/math.Pow(10, e)-1) < 1e-9
		if !isPower || int(e-first)%max(1, every) != 0 {
			all[i].label = ""
		}
	}
	return all
}

// format writes a value of an axis whose ticks are step apart.
func format(v, step float64, u Unit) string {
	if math.Abs(v) < 1e-9*step {
		v = 0
	}
	switch u {
	case Percent:
		return withStep(100*v, 100*step) + " %"
	case Seconds:
		if v == 0 {
			return "0"
		}
		for _, unit := range []struct {
			size float64
			name string
		}{{3600, "h"}, {60, "min"}, {1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}, {1e-9, "ns"}} {
			if step >= unit.size*(1-1e-9) || unit.size == 1e-9 {
				// A step such as 90 min is not a whole number of hours.
				if unit.size > 1 && math.Abs(math.Mod(step/unit.size+1e-9, 1)) > 1e-6 {
					continue
				}
				return withStep(v/unit.size, step/unit.size) + " " + unit.name
			}
		}
	}
	return withStep(v, step)
}

// withStep writes a number with the digits that tell it from its neighbours.
func withStep(v, step float64) string {
	switch {
	case v == 0:
		return "0"
	case step >= 1e13 || step < 1e-9:
		return strconv.FormatFloat(v, 'g', 3, 64)
	case step >= 1e9:
		return trim(v/1e9, 3) + " G"
	case step >= 1e6:
		return trim(v/1e6, 3) + " M"
	}
	return trim(v, max(0, int(math.Ceil(-math.Log10(step)-1e-9))+1))
}

// trim writes a number with at most the given decimals, without trailing zeros.
func trim(v float64, decimals int) string {
	s := withCommas(v, decimals)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

// withCommas writes a number with the given decimals and commas between thousands.
func withCommas(v float64, decimals int) string {
	whole, part, decimal := strings.Cut(strconv.FormatFloat(v, 'f', min(decimals, 12), 64), ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if decimal {
		whole += "." + part
	}
	return sign + whole
}

// significant writes a value with three significant digits and its unit.
func significant(v float64, u Unit) string {
	size := math.Abs(v)
	switch {
	case u == Percent:
		return trim(100*v, decimalsOf(100*v)) + " %"
	case u == Seconds && size >= 1:
		return trim(v, decimalsOf(v)) + " s"
	case u == Seconds && size >= 1e-3:
		return trim(1e3*v, decimalsOf(1e3*v)) + " ms"
	case u == Seconds && size > 0:
		return trim(1e6*v, decimalsOf(1e6*v)) + " µs"
	}
	return trim(v, decimalsOf(v))
}
