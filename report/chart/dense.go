package chart

import "slices"

// denseColumns is how many columns a dense line is seen in: more than a chart is units wide.
const denseColumns = 1000

// seen returns a line of many points as it is seen: of all that fall into one column, the first, the
// least, the greatest and the last, in their order. Drawing, and placing names clear of lines, takes time
// by the point. Lines that go back, bands, clouds and marked points stay as they are.
func seen(s Series, x scale) Series {
	if len(s.X) <= 4*denseColumns || s.Cloud || s.Points || s.Low != nil || !slices.IsSorted(s.X) {
		return s
	}
	out := Series{Name: s.Name}
	keep := func(i int) { out.X, out.Y = append(out.X, s.X[i]), append(out.Y, s.Y[i]) }
	for from := 0; from < len(s.X); {
		column := int(x.at(s.X[from]) * denseColumns)
		least, most, to := from, from, from+1
		for ; to < len(s.X) && int(x.at(s.X[to])*denseColumns) == column; to++ {
			if s.Y[to] < s.Y[least] {
				least = to
			}
			if s.Y[to] > s.Y[most] {
				most = to
			}
		}
		last := -1
		for _, i := range [4]int{from, min(least, most), max(least, most), to - 1} {
			if i != last {
				keep(i)
				last = i
			}
		}
		from = to
	}
	return out
}
