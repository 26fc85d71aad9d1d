package chart

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var unit = rect{0, 0, 1, 1}

func aPoint(t *rapid.T) point {
	return point{rapid.Float64Range(-2, 3).Draw(t, "x"), rapid.Float64Range(-2, 3).Draw(t, "y")}
}

func inside(p point) bool {
	const e = 1e-9
	return p.x >= -e && p.x <= 1+e && p.y >= -e && p.y <= 1+e
}

// TestClippingKeepsWhatIsInside checks clipped segments against points sampled
// along the whole one.
func TestClippingKeepsWhatIsInside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := aPoint(t), aPoint(t)
		from, to, ok := clipSegment(a, b, unit)
		if ok && (!inside(from) || !inside(to)) {
			t.Fatalf("%v to %v was clipped to %v, %v", a, b, from, to)
		}
		for k := range 101 {
			s := float64(k) / 100
			p := point{a.x + s*(b.x-a.x), a.y + s*(b.y-a.y)}
			if p.x < 0 || p.x > 1 || p.y < 0 || p.y > 1 {
				continue
			}
			if !ok || distance(nearestOn(from, to, p), p) > 1e-6 {
				t.Fatalf("%v of the segment from %v to %v is inside, but was cut off", p, a, b)
			}
		}
	})
}

func TestClippedPolygonsLoseNoArea(t *testing.T) {
	area := func(p []point) float64 {
		sum := 0.0
		for i := range p {
			j := (i + 1) % len(p)
			sum += p[i].x*p[j].y - p[j].x*p[i].y
		}
		return math.Abs(sum) / 2
	}
	for _, c := range []struct {
		polygon []point
		want    float64
	}{
		{corners(rect{-1, -1, 2, 2}), 1},
		{corners(rect{0.5, 0.5, 3, 3}), 0.25},
		{corners(rect{0.25, 0.25, 0.75, 0.75}), 0.25},
		{[]point{{-1, 0}, {1, 0}, {1, 2}}, 1}, // the square is below y = x+1
		{corners(rect{2, 2, 3, 3}), 0},
	} {
		if got := area(clipPolygon(c.polygon, unit)); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v keeps an area of %v, want %v", c.polygon, got, c.want)
		}
	}
}

// TestDashesCoverTheirShare draws dashes along many short segments, as curves have,
// where go-chart's have gaps only.
func TestDashesCoverTheirShare(t *testing.T) {
	var line []point
	for i := range 1001 {
		line = append(line, point{float64(i) * 0.9, 0})
	}
	for _, dash := range dashes[1:] {
		sum := 0.0
		for _, part := range dashed(line, dash) {
			sum += part[len(part)-1].x - part[0].x
		}
		period, on := 0.0, 0.0
		for i, d := range dash {
			period += d
			if i%2 == 0 {
				on += d
			}
		}
		if want := 900 * on / period; math.Abs(sum-want) > period {
			t.Errorf("dashes %v cover %v of 900, want %v", dash, sum, want)
		}
	}
}

func TestNamesDoNotOverlap(t *testing.T) {
	c, err := newCanvas(100, 100, PNG)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		area := rect{0, 0, 600, 300}
		var names []string
		var lines [][][]point
		for i := range rapid.IntRange(1, 5).Draw(t, "lines") {
			var line []point
			for x := 0.0; x <= 600; x += 100 {
				line = append(line, point{x, rapid.Float64Range(0, 300).Draw(t, "y")})
			}
			names, lines = append(names, "series "+string(rune('a'+i))), append(lines, [][]point{line})
		}
		taken := []rect{{280, 0, 290, 300}}
		labels, ok := placeLabels(c, names, lines, nil, taken, area)
		if !ok {
			return
		}
		if len(labels) != len(names) {
			t.Fatalf("%d of %d names have a place", len(labels), len(names))
		}
		for _, l := range labels {
			box := rect{l.at.x, l.at.y - legendStyle.size + 1, l.at.x + c.measure(l.text, legendStyle), l.at.y + 3}
			if !within(box, area) || hitsAny(box, taken) || hitsLine(box, lines) {
				t.Fatalf("%q at %v is over something or outside", l.text, box)
			}
			taken = append(taken, box)
		}
	})
}

func TestEmpiricalIsExact(t *testing.T) {
	for _, n := range []int{1, 5, 200, 201, 400, 401, 100_000} {
		sample := make([]float64, n)
		for i := range sample {
			sample[i] = float64((i*7919)%n) + 1 // 1 to n, shuffled
		}
		s := Empirical("s", append(sample, math.NaN(), math.Inf(1)))
		if len(s.X) > 700 {
			t.Errorf("%d values became %d points, want at most 700", n, len(s.X))
		}
		if !slices.IsSorted(s.X) || !slices.IsSorted(s.Y) || s.Y[0] != 0 || s.Y[len(s.Y)-1] != 1 || s.X[len(s.X)-1] != float64(n) {
			t.Errorf("the curve of %d values does not ascend from 0 to 1", n)
		}
		tail := false
		for i := range s.X {
			// The share of 1 to n up to x is x/n, or on the lower edge of a step one less.
			if count := s.Y[i] * float64(n); math.Abs(count-s.X[i]) > 1e-6 && math.Abs(count+1-s.X[i]) > 1e-6 {
				t.Errorf("of %d values a share of %v is said to be at most %v", n, s.Y[i], s.X[i])
			}
			tail = tail || s.Y[i] > 0.9989 && s.Y[i] <= 0.9991
		}
		if n > 10_000 && !tail {
			t.Errorf("the curve of %d values has no point near the 99.9th percentile", n)
		}
	}
	if s := Empirical("none", nil); len(s.X) != 0 {
		t.Errorf("no values became %d points", len(s.X))
	}
}
