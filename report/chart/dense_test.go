package chart

import (
	"bytes"
	"math"
	"testing"
)

// A line of a million points is drawn with those that can be told apart, its peaks among them.
func TestDenseLinesAreDrawnAsTheyAreSeen(t *testing.T) {
	const n = 1_000_000
	s := Series{Name: "dense"}
	for i := range n {
		y := math.Sin(float64(i) / 1e4)
		if i == 777_777 {
			y = 3 // alone in its column
		}
		s.X, s.Y = append(s.X, float64(i)), append(s.Y, y)
	}
	x := newScale(Axis{}, extent{lo: 0, hi: n, some: true}, 10)
	got := seen(s, x)
	if len(got.X) > 5*denseColumns || len(got.X) < denseColumns {
		t.Errorf("%d points are left", len(got.X))
	}
	peak := math.Inf(-1)
	for i, y := range got.Y {
		peak = max(peak, y)
		if i > 0 && got.X[i] < got.X[i-1] {
			t.Fatal("points out of order")
		}
	}
	if peak != 3 || got.X[0] != 0 || got.X[len(got.X)-1] != n-1 {
		t.Errorf("peak %g, ends %g and %g; want 3, 0 and %d", peak, got.X[0], got.X[len(got.X)-1], n-1)
	}
	var b bytes.Buffer
	if err := (Lines{Title: "dense", Series: []Series{s}}).Render(&b, SVG); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 1<<20 {
		t.Errorf("a picture of %d bytes", b.Len())
	}
	short := Series{X: s.X[:100], Y: s.Y[:100]}
	if len(seen(short, x).X) != 100 {
		t.Error("a short line loses points")
	}
}
