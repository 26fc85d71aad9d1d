package sweep

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Range is an interval of values. Make one with [ParseAxis].
type Range struct {
	Low, High float64 // in nanoseconds if of durations
	Log       bool    // equal ratios count alike, not equal differences
	kind      rangeKind
}

// rangeKind says what a range consists of.
type rangeKind uint8

const (
	wholes rangeKind = iota
	numbers
	durations
)

// mostWhole is the largest whole number whose neighbours a float64 can tell from it.
const mostWhole = 1 << 53

// ends sets the ends of the range.
func (r *Range) ends(low, high string) error {
	a, errA := strconv.ParseInt(low, 10, 64)
	b, errB := strconv.ParseInt(high, 10, 64)
	x, errX := strconv.ParseFloat(low, 64)
	y, errY := strconv.ParseFloat(high, 64)
	d, errD := time.ParseDuration(low)
	e, errE := time.ParseDuration(high)
	switch {
	case errA == nil && errB == nil:
		r.kind, r.Low, r.High = wholes, float64(a), float64(b)
	case errX == nil && errY == nil:
		r.kind, r.Low, r.High = numbers, x, y
	case errD == nil && errE == nil:
		r.kind, r.Low, r.High = durations, float64(d), float64(e)
	default:
		return errors.New("the ends are not two numbers or two durations; want 1..8, 0.5..2.5 or 100ms..2s, say")
	}
	finite := !math.IsInf(r.High-r.Low, 0) && !math.IsNaN(r.High-r.Low)
	switch {
	case !finite || !(r.Low < r.High):
		return errors.New("the ends are not finite with the lower one first; want 1..8, say")
	case r.kind != numbers && max(-r.Low, r.High) > mostWhole:
		return fmt.Errorf("an end is too far from zero; want at most %d (for durations, nanoseconds)", int64(mostWhole))
	case r.Log && !(r.Low > 0):
		return errors.New("equal ratios (log) ask for ends above zero")
	}
	return nil
}

// grid returns n values from end to end.
func (r *Range) grid(n int) ([]string, error) {
	values := make([]string, n)
	for i := range values {
		values[i] = r.text(r.point(float64(i) / float64(n-1)))
		if i > 0 && values[i] == values[i-1] {
			return nil, fmt.Errorf("%s has no %d different values; want fewer, or ends that are no whole numbers", r, n)
		}
	}
	return values, nil
}

// at returns the value at u, from 0 to below 1, of the way through the range, so that all whole
// numbers are equally likely for a u drawn evenly.
func (r *Range) at(u float64) string {
	if r.kind == wholes && !r.Log {
		return r.text(min(math.Floor(r.Low+u*(r.High-r.Low+1)), r.High))
	}
	return r.text(r.point(u))
}

// point returns the number at u, from 0 to 1, of the way through the range. The ends are exact.
func (r *Range) point(u float64) float64 {
	var x float64
	switch {
	case u == 0:
		return r.Low
	case u == 1:
		return r.High
	case r.Log:
		x = r.Low * math.Exp(u*math.Log(r.High/r.Low))
	default:
		x = float64(r.Low*(1-u)) + float64(r.High*u)
	}
	return min(max(x, r.Low), r.High)
}

// text returns a number as a value in TOML. Between the ends nine digits are kept: more would
// be digits of rounding, which nobody asked for.
func (r *Range) text(x float64) string {
	if x != r.Low && x != r.High {
		short, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 9, 64), 64)
		if err == nil {
			x = short
		}
	}
	switch r.kind {
	case wholes:
		return strconv.FormatInt(int64(math.Round(x)), 10)
	case durations:
		return strconv.Quote(time.Duration(math.Round(x)).String())
	}
	text := strconv.FormatFloat(x, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

// String returns the range as [ParseAxis] reads it.
func (r *Range) String() string {
	text := strings.ReplaceAll(r.text(r.Low)+".."+r.text(r.High), `"`, "")
	if r.Log {
		text += ":log"
	}
	return text
}
