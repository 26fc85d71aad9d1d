package chart

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func labels(ticks []tick) string {
	var all []string
	for _, t := range ticks {
		if t.label != "" {
			all = append(all, t.label)
		}
	}
	return strings.Join(all, "|")
}

func TestTicksReadWell(t *testing.T) {
	for _, c := range []struct {
		s    scale
		most int
		want string
	}{
		{scale{lo: 0, hi: 10}, 5, "0|2|4|6|8|10"},
		{scale{lo: 0, hi: 0.3}, 3, "0|0.1|0.2|0.3"},
		{scale{lo: -1, hi: 1}, 4, "-1|-0.5|0|0.5|1"},
		{scale{lo: 0, hi: 20000}, 4, "0|5,000|10,000|15,000|20,000"},
		{scale{lo: 0, hi: 4e6}, 4, "0|1 M|2 M|3 M|4 M"},
		{scale{lo: 0, hi: 1, unit: Percent}, 4, "0 %|50 %|100 %"},
		{scale{lo: 0, hi: 1, unit: Percent}, 5, "0 %|20 %|40 %|60 %|80 %|100 %"},
		{scale{lo: 0, hi: 2400, unit: Seconds}, 5, "0|10 min|20 min|30 min|40 min"},
		{scale{lo: 0, hi: 7200, unit: Seconds}, 3, "0|1 h|2 h"},
		{scale{lo: 0, hi: 5400, unit: Seconds}, 3, "0|30 min|60 min|90 min"},
		{scale{lo: 0, hi: 100, unit: Seconds}, 5, "0|20 s|40 s|60 s|80 s|100 s"},
		{scale{lo: 0, hi: 1, unit: Seconds}, 5, "0|0.2 s|0.4 s|0.6 s|0.8 s|1 s"},
		{scale{lo: 0, hi: 0.2, unit: Seconds}, 4, "0|50 ms|100 ms|150 ms|200 ms"},
		{scale{kind: logarithmic, lo: 0.01, hi: 1, unit: Seconds}, 9, "10 ms|20 ms|50 ms|100 ms|200 ms|500 ms|1 s"},
		{scale{kind: logarithmic, lo: 1e-4, hi: 100, unit: Seconds}, 8, "100 µs|1 ms|10 ms|100 ms|1 s|10 s|100 s"},
		{scale{kind: logarithmic, lo: 1, hi: 1e12}, 5, "1|1,000|1 M|1 G|1,000 G"},
		{scale{kind: logarithmic, lo: 30, hi: 40}, 5, "30|32|34|36|38|40"},
		{scale{kind: tail, hi: 0.999, unit: Percent}, 5, "0 %|50 %|90 %|99 %|99.9 %"},
	} {
		if got := labels(c.s.ticks(c.most)); got != c.want {
			t.Errorf("%+v, at most %d:\ngot  %s\nwant %s", c.s, c.most, got, c.want)
		}
	}
}

func TestSignificantHasThreeDigits(t *testing.T) {
	for _, c := range []struct {
		v    float64
		u    Unit
		want string
	}{
		{0, Number, "0"}, {1.2345, Number, "1.23"}, {12345, Number, "12,345"}, {0.0012345, Number, "0.00123"}, {-2, Number, "-2"},
		{0.987654, Percent, "98.8 %"}, {1, Percent, "100 %"},
		{0.0234567, Seconds, "23.5 ms"}, {1.5, Seconds, "1.5 s"}, {123.4, Seconds, "123 s"}, {4.2e-6, Seconds, "4.2 µs"},
	} {
		if got := significant(c.v, c.u); got != c.want {
			t.Errorf("%v is written %q, want %q", c.v, got, c.want)
		}
	}
}

// TestLogScaleIsLogarithmic states what go-chart's gets wrong: equal ratios are
// equal distances, whatever the range.
func TestLogScaleIsLogarithmic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lo := math.Exp(rapid.Float64Range(-20, 10).Draw(t, "log lo"))
		s := scale{kind: logarithmic, lo: lo, hi: lo * math.Exp(rapid.Float64Range(0.1, 20).Draw(t, "span"))}
		v := lo * math.Exp(rapid.Float64Range(0, 10).Draw(t, "v"))
		ratio := math.Exp(rapid.Float64Range(-1, 1).Draw(t, "ratio"))
		if d, e := s.at(v*ratio)-s.at(v), s.at(lo*ratio)-s.at(lo); math.Abs(d-e) > 1e-9 {
			t.Fatalf("a ratio of %v is %v at %v and %v at the low end", ratio, d, v, e)
		}
		if s.at(s.lo) != 0 || math.Abs(s.at(s.hi)-1) > 1e-12 {
			t.Fatalf("the ends of %+v are at %v and %v, want 0 and 1", s, s.at(s.lo), s.at(s.hi))
		}
	})
}

// TestScalesHoldTheirData checks that ranges found from data contain it, and ticks
// are in range, ascending and not too many.
func TestScalesHoldTheirData(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := Axis{Log: rapid.Bool().Draw(t, "log"), Unit: rapid.SampledFrom([]Unit{Number, Seconds, Percent}).Draw(t, "unit")}
		e := extent{log: a.Log}
		for range 3 {
			v := math.Exp(rapid.Float64Range(-12, 12).Draw(t, "size"))
			if !a.Log && rapid.Bool().Draw(t, "negative") {
				v = -v
			}
			e.add(v)
		}
		s := newScale(a, e, rapid.IntRange(0, 10).Draw(t, "steps"))
		low := e.lo
		if a.Log {
			low = max(low, e.hi/1e9)
		}
		slack := 1e-6 * (s.hi - s.lo)
		if !(s.lo <= low+slack && s.hi >= e.hi-slack && s.lo < s.hi) {
			t.Fatalf("%+v for data from %v to %v", s, e.lo, e.hi)
		}
		most := rapid.IntRange(2, 12).Draw(t, "most")
		ticks := s.ticks(most)
		named := 0
		for i, tk := range ticks {
			if at := s.at(tk.value); at < -1e-6 || at > 1+1e-6 {
				t.Fatalf("tick %v is at %v of %+v", tk.value, at, s)
			}
			if i > 0 && tk.value <= ticks[i-1].value {
				t.Fatalf("tick %v follows %v", tk.value, ticks[i-1].value)
			}
			if tk.label != "" {
				named++
			}
		}
		if named > most+2 {
			t.Fatalf("%d labels (%s) where there is room for %d", named, labels(ticks), most)
		}
	})
}
