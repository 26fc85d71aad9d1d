package scenarios

import (
	"math"
	"testing"

	"orrery/cluster/jobs"
)

// A run of the planned width learns what was planned, re-planned or not; one that loses
// devices late learns less on its old schedule, and most of that comes back when the rest of
// it is planned anew.
func TestLossFollowsTheDevicesOfARun(t *testing.T) {
	k := &TrainingJob{Name: "a", Batch: 64, Widths: []int{1, 8}, Samples: 1e6, Critical: 512, Schedule: "linear"}
	l, err := newLearning(k)
	if err != nil {
		t.Fatal(err)
	}
	loss := func(replan bool, segments ...jobs.Segment) float64 {
		t.Helper()
		x, err := l.loss(segments, replan)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	whole := jobs.Segment{Width: 8, From: 0, To: 1e6}
	for _, replan := range []bool{false, true} {
		if got := loss(replan, whole); math.Abs(got/l.planned-1) > 1e-3 {
			t.Errorf("re-planned %v: %g as planned, %g as it ran", replan, l.planned, got)
		}
		halves := loss(replan, jobs.Segment{Width: 8, From: 0, To: 5e5}, jobs.Segment{Width: 8, From: 5e5, To: 1e6})
		if math.Abs(halves/l.planned-1) > 0.01 {
			t.Errorf("re-planned %v: in two halves %g, in one %g", replan, halves, l.planned)
		}
	}
	early, late := jobs.Segment{Width: 8, From: 0, To: 6e5}, jobs.Segment{Width: 1, From: 6e5, To: 1e6}
	on, again := loss(false, early, late), loss(true, early, late)
	if on < 1.2*l.planned || again > l.planned+0.75*(on-l.planned) {
		t.Errorf("planned %g; with an eighth of the devices for the last two fifths %g, re-planned %g", l.planned, on, again)
	}
}
