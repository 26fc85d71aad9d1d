package plan

import (
	"slices"
	"testing"
)

func TestFrontierKeepsWhatNothingBeats(t *testing.T) {
	points := []Point{{"a", 10, 2, 17.5}, {"a", 5, 1, 22}, {"b", 5, 1.1, 17.66}, {"b", 6, 1.3, 15.3}, {"b", 7, 1.5, 15.4}, {"a", 9, 1.8, 17.6}}
	sorted, best := Frontier(points, true)
	var got []Point
	for i, p := range sorted {
		if best[i] {
			got = append(got, p)
		}
	}
	if want := []Point{points[1], points[2], points[3]}; !slices.Equal(got, want) {
		t.Errorf("the frontier is %v, want %v", got, want)
	}
	if _, best := Frontier([]Point{{"a", 1, 1, 5}, {"b", 1, 2, 6}}, false); !best[0] || !best[1] {
		t.Error("where more is better, the slower and better point is left out")
	}
	if m, ok := Match(points[2], points, "a", true); !ok || m != points[5] {
		t.Errorf("as good as b at 5 is %v, want a at 9", m)
	}
	if _, ok := Match(points[3], points, "a", true); ok {
		t.Error("something of a is as good as b at 6")
	}
}
