package denoise

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"orrery/sim"
)

// NVIDIA's batcher in a story: batches of three, or what waits every two seconds.
func TestBatchTimeoutEmitsWhenFullOrDue(t *testing.T) {
	b := &BatchTimeout{Batch: 3, Timeout: 2 * time.Second}
	var queue []Job
	come := func(at float64, ids ...int64) sim.Time {
		for _, id := range ids {
			queue = append(queue, Job{ID: id, Arrived: sim.Seconds(at), Rung: NoRung})
		}
		return b.Gather(sim.Seconds(at), queue)
	}
	if at := come(0.5, 0); at != sim.Seconds(2) {
		t.Errorf("one waits: woken at %v, want two seconds after the start", at)
	}
	if at := come(1, 1, 2); at != sim.Forever {
		t.Errorf("a full batch was emitted: woken at %v", at)
	}
	if at := come(1.5, 3); at != sim.Seconds(3) {
		t.Errorf("one waits: woken at %v, want two seconds after the batch at 1 s", at)
	}
	if at := come(3); at != sim.Forever {
		t.Errorf("what waited was emitted when due: woken at %v", at)
	}
	if at := come(9, 4); at != sim.Forever {
		t.Errorf("two seconds have long passed: the next goes at once, woken at %v", at)
	}
	var marks []int64
	for _, j := range queue {
		marks = append(marks, j.Batch)
	}
	if want := []int64{1, 1, 1, 2, 3}; !slices.Equal(marks, want) {
		t.Errorf("jobs went in batches %v, want %v", marks, want)
	}
}

// sheet is a plan on paper: a device without jobs, in seconds by class, alternative and
// image, with room for so many.
type sheet struct {
	now     sim.Time
	queue   []Job
	seconds [][]float64
	room    int
	shut    []int64 // jobs that cannot join
	started []string
	whole   bool
}

func (s *sheet) Now() sim.Time         { return s.now }
func (s *sheet) Queue() []Job          { return s.queue }
func (s *sheet) Running() []Job        { return nil }
func (s *sheet) Rungs(class int32) int { return len(s.seconds[class]) }
func (s *sheet) Whole()                { s.whole = true }
func (s *sheet) Estimate(class, rung int32, n int) time.Duration {
	return time.Duration(s.seconds[class][rung] * float64(n) * 1e9)
}
func (s *sheet) Start(i int, rung int32) bool {
	if len(s.started) == s.room || slices.Contains(s.shut, s.queue[i].ID) {
		return false
	}
	s.started = append(s.started, fmt.Sprintf("%d:%d", s.queue[i].ID, rung))
	return true
}

func TestPoliciesStart(t *testing.T) {
	soon := sim.Seconds(10)
	queue := []Job{
		{ID: 0, Class: 0, Rung: NoRung, Deadline: soon}, {ID: 1, Class: 1, Rung: NoRung, Deadline: soon, Arrived: sim.Seconds(4)},
		{ID: 2, Class: 0, Rung: NoRung, Deadline: soon}, {ID: 3, Class: 0, Rung: 1, Deadline: soon, Arrived: sim.Seconds(4)},
	}
	for _, c := range []struct {
		name   string
		policy Policy
		now    float64
		room   int
		want   []string
		whole  bool
	}{
		{"fifo keeps classes and alternatives apart", &FIFO{Batch: 4}, 4, 4, []string{"0:0", "2:0"}, true},
		{"what memory refuses waits", &FIFO{Batch: 4}, 4, 1, []string{"0:0"}, true},
		{"continuous takes all in order", &Continuous{Batch: 4}, 4, 3, []string{"0:0", "1:0", "2:0"}, false},
		{"the short one first", &Shortest{Batch: 1}, 4, 1, []string{"1:0"}, false},
		{"unless the long one has waited", &Shortest{Batch: 1, Aging: 1}, 4, 1, []string{"0:0"}, false},
		{"best quality in time: 2 of 3 s from 4 s", &Ladder{Batch: 4}, 4, 4, []string{"0:0", "2:0"}, true},
		{"less from 5 s", &Ladder{Batch: 4}, 5, 4, []string{"0:1", "2:1"}, true},
		{"the fastest when late", &Ladder{Batch: 4}, 11, 4, []string{"0:1", "2:1"}, true},
	} {
		s := &sheet{now: sim.Seconds(c.now), queue: queue, seconds: [][]float64{{3, 1}, {1}}, room: c.room}
		c.policy.Plan(s)
		if !slices.Equal(s.started, c.want) || s.whole != c.whole {
			t.Errorf("%s: starts %v, whole %v; want %v, %v", c.name, s.started, s.whole, c.want, c.whole)
		}
	}
}

// A job that cannot join lets others overtake it until it has waited its work off.
func TestShortestIsOvertakenForSoLong(t *testing.T) {
	queue := []Job{{ID: 0, Class: 0, Rung: NoRung}, {ID: 1, Class: 1, Rung: NoRung, Arrived: sim.Seconds(2)}, {ID: 2, Class: 0, Rung: NoRung, Arrived: sim.Seconds(2)}}
	for _, c := range []struct {
		now   float64
		aging float64
		want  []string
	}{
		{2.5, 1, []string{"1:0"}}, // the long one has half a second left; its like cannot join either
		{4, 1, nil},
		{4, 0, []string{"1:0"}},
	} {
		s := &sheet{now: sim.Seconds(c.now), queue: queue, seconds: [][]float64{{3}, {1}}, room: 3, shut: []int64{0, 2}}
		(&Shortest{Batch: 3, Aging: c.aging}).Plan(s)
		if !slices.Equal(s.started, c.want) {
			t.Errorf("at %g s with aging %g: starts %v, want %v", c.now, c.aging, s.started, c.want)
		}
	}
}

func TestCascadeSendsTheShareOnce(t *testing.T) {
	c := &Cascade{Share: 0.3, Rand: sim.Stream(1, "judge")}
	again := 0
	const n = 20_000
	for range n {
		if _, ok := c.Escalate(&Job{Rung: 0}); ok {
			again++
		}
	}
	if share := float64(again) / n; share < 0.285 || share > 0.315 { // 4.6 standard deviations
		t.Errorf("%.3f go again, want 0.3", share)
	}
	if _, ok := c.Escalate(&Job{Rung: 1}); ok {
		t.Error("an image of the second model goes again")
	}
}
