package plan

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"orrery/report"
)

// abreast is how many variants stand beside the first in one table, so that it is
// not much wider than a screen.
const abreast = 2

// Text returns the comparison as tables: for each metric the mean over seeds of
// every variant, and below it the change from the first variant with its 95 %
// interval. A star marks changes whose interval leaves out zero. A single variant
// has the interval of its mean instead. Rows whose figures exist for no variant are
// left out.
func (c *Comparison) Text() string {
	var parts []string
	for from := 1; from == 1 || from < len(c.Variants); from += abreast {
		columns := []int{0}
		for v := from; v < min(from+abreast, len(c.Variants)); v++ {
			columns = append(columns, v)
		}
		parts = append(parts, c.table(columns).String())
	}
	if c.SeedsAlike {
		parts = append(parts, seedsAlike+"\n")
	}
	return strings.Join(parts, "\n")
}

// table returns the table of some of the variants.
func (c *Comparison) table(variants []int) table {
	t := table{{""}}
	for _, v := range variants {
		t[0] = append(t[0], c.Variants[v])
	}
	for _, r := range c.Rows {
		line, below, some, more := []string{r.Label}, []string{""}, false, false
		for _, v := range variants {
			cell := &r.Cells[v]
			text := cell.change(r)
			if len(c.Variants) == 1 {
				text = cell.between(r.Unit)
			}
			line = append(line, r.Unit.Text(float64(cell.Mean)))
			below = append(below, text)
			some = some || cell.N > 0
			more = more || text != ""
		}
		if !some {
			continue
		}
		t = append(t, line)
		if more {
			t = append(t, below)
		}
	}
	n := len(c.Seeds)
	met := []string{"SLO met"}
	grown := []string{"queue growing"}
	for _, v := range variants {
		met = append(met, fmt.Sprintf("%d of %d seeds", c.Met[v], n))
		grown = append(grown, fmt.Sprintf("%d of %d seeds", c.Growing[v], n))
	}
	return append(t, met, grown)
}

// seedsAlike warns of intervals that mean nothing.
const seedsAlike = "all seeds gave the same figures, as a replayed trace does: the intervals say nothing about other traffic"

// between writes the interval of the mean.
func (c *Cell) between(u Unit) string {
	if !c.Low.Exists() || c.Low == c.High {
		return ""
	}
	return "[" + u.Text(float64(c.Low)) + ", " + u.Text(float64(c.High)) + "]"
}

// change writes how a variant differs from the first: as a ratio, in per cent, where
// that makes sense, else as a difference.
func (c *Cell) change(r Row) string {
	in, text, end := c.Change, signed, ""
	var same report.Number
	switch {
	case in == nil || in.N == 0 || in.Min == 0 && in.Max == 0:
		return ""
	case r.Unit == Share:
		text, end = func(v float64) string { return signed(100 * v) }, " pts"
	case c.Ratio != nil && r.Unit != Count:
		in, same = c.Ratio, 1
		text, end = func(v float64) string { return signed(100 * (v - 1)) }, " %"
	}
	if !in.Low.Exists() {
		return text(float64(in.Mean)) + end
	}
	star := ""
	if in.Low > same || in.High < same {
		star = "*"
	}
	return fmt.Sprintf("%s%s [%s, %s]%s", text(float64(in.Mean)), end, text(float64(in.Low)), text(float64(in.High)), star)
}

// signed writes a number with its sign and two or three digits, none beyond the second
// decimal.
func signed(v float64) string {
	abs := max(v, -v)
	var s string
	switch {
	case abs < 0.005:
		return "0.00"
	case abs < 0.1:
		s = fmt.Sprintf("%.2f", v)
	case abs < 100:
		s = significant(v, 2)
	default:
		s = significant(v, 3)
	}
	if v > 0 {
		s = "+" + s
	}
	return s
}

// table is text in columns, the first on the left and the others on the right.
type table [][]string

func (t table) String() string {
	var width []int
	for _, line := range t {
		for i, cell := range line {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, line := range t {
		var text strings.Builder
		for i, cell := range line {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				text.WriteString(cell + pad)
			} else {
				text.WriteString("  " + pad + cell)
			}
		}
		b.WriteString(strings.TrimRight(text.String(), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// plusMinus writes half the width of the band by calibration and seeds together, with the
// digits of the capacity itself.
func (c *Capacity) plusMinus() string {
	low, high, ok := c.Within()
	if !ok {
		return ""
	}
	decimals := 0
	if _, after, found := strings.Cut(significant(float64(c.PerS), 3), "."); found {
		decimals = len(after)
	}
	return fmt.Sprintf(" ± %.*f", decimals, (high-low)/2)
}

// Text returns the capacity in one line.
func (c *Capacity) Text() string {
	var b strings.Builder
	switch {
	case !c.PerS.Exists():
		b.WriteString("unknown: no search came to its end")
		if lo, hi := c.sofar(); hi.Exists() {
			fmt.Fprintf(&b, ", but it is about %s to %s requests/s", significant(float64(lo), 3), significant(float64(hi), 3))
		}
	case c.PerS == 0:
		b.WriteString("0: the objective holds at no rate that was tried")
	default:
		fmt.Fprintf(&b, "%s%s requests/s", significant(float64(c.PerS), 3), c.plusMinus())
		if c.Interval.Low.Exists() {
			fmt.Fprintf(&b, "  95 %% interval %s to %s", significant(float64(c.Interval.Low), 3), significant(float64(c.Interval.High), 3))
		}
		fmt.Fprintf(&b, ", seeds %s to %s", significant(float64(c.Interval.Min), 3), significant(float64(c.Interval.Max), 3))
	}
	fmt.Fprintf(&b, " (%s, %s)", plural(c.Interval.N, "seed"), plural(c.Probes, "run"))
	if c.Unbounded() {
		b.WriteString("; it held at every rate tried")
	}
	if c.Growing > 0 {
		fmt.Fprintf(&b, "; the queue had no steady state with %d seeds", c.Growing)
	}
	if c.SeedsAlike {
		b.WriteString("; " + seedsAlike)
	}
	if c.Partial {
		b.WriteString("; PARTIAL")
	}
	return b.String()
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// sofar returns the bracket that holds those of all seeds, complete or not; the upper
// end does not exist unless every seed that was probed has one.
func (c *Capacity) sofar() (lo, hi report.Number) {
	lo, hi = report.None, report.None
	for _, s := range c.Seeds {
		if s.Probes == 0 {
			continue
		}
		if !lo.Exists() {
			lo, hi = s.Held, s.Failed
		}
		lo, hi = min(lo, s.Held), max(hi, s.Failed) // both are NaN if one is
	}
	return lo, hi
}
