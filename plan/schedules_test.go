package plan

import (
	"context"
	"errors"
	"math"
	"testing"

	"orrery/policies/lrsched"
	"orrery/workloads/quality"
)

func schedulesQuestion(t testing.TB, names ...string) *SchedulesQuestion {
	q := &SchedulesQuestion{
		Model: quality.Standard(1000, 80), Grid: quality.Grid(), Batch: 16, Budgets: []int{20, 200}, Batches: []float64{1, 16, 256},
		Points: []int{10, 2}, Most: 4000, Against: 1,
	}
	for _, name := range names {
		p, err := lrsched.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		q.Schedules = append(q.Schedules, NamedSchedule{name, lrsched.Of(p), func(points int) quality.Schedule { return lrsched.Of(lrsched.Sampled(points, p)) }})
	}
	return q
}

// The tables agree where they say the same: a target that is a loss at a budget takes that
// budget, the map's row at the batch is the quotient of the losses, and a schedule that never changes
// does not care how often it is read.
func TestTablesOfSchedulesAgree(t *testing.T) {
	q := schedulesQuestion(t, "linear", "rex", "constant")
	x, err := CompareSchedules(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	for i := range q.Budgets {
		if got, want := x.Map[1][i], x.Final[1][i].Loss/x.Final[0][i].Loss; got != want {
			t.Errorf("budget %d: the map has %g, the losses %g", q.Budgets[i], got, want)
		}
		for j := range q.Points {
			if got := x.Sampled[2][i][j]; got != 1 {
				t.Errorf("a constant schedule read at %d points ends at %g of itself", q.Points[j], got)
			}
		}
		if r := x.Targets[i] / x.Final[0][i].Loss; math.Abs(r-1) > 0.005 {
			t.Errorf("the target is %g times the loss at its budget", r)
		}
	}
	if got := x.Spent[1][1]; got != x.Final[1][1].Loss {
		t.Errorf("the samples of the longest budget at its own batch buy %g, want %g", got, x.Final[1][1].Loss)
	}
	// A loss that a schedule ends with takes as many steps as it had.
	q.Targets = []float64{x.Final[1][1].Loss * (1 + 1e-9)}
	if x, err = CompareSchedules(context.Background(), q); err != nil || x.Steps[0][1] != 200 || x.Steps[0][0] <= 200 {
		t.Errorf("REX's loss after 200 steps takes linear, REX, constant %v steps (%v)", x.Steps, err)
	}
	q.Targets = []float64{1e-9}
	if x, err = CompareSchedules(context.Background(), q); err != nil || x.Steps[0][0] != 0 {
		t.Errorf("a loss that none reaches takes %v steps (%v)", x.Steps, err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := CompareSchedules(gone, q); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Every table of docs/schedules.md.
func BenchmarkSchedules(b *testing.B) {
	q := schedulesQuestion(b, "linear", "constant", "exponential", "step-50-75", "step-30-60-90", "cosine", "onecycle", "rex", "rex-0.9")
	q.Against, q.Budgets, q.Most = 7, []int{20, 100, 200, 500, 1000, 2000}, 32000
	q.Batches = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512}
	q.Points = []int{100, 20, 10, 4, 3, 2}
	q.Targets = []float64{.4025, .1548, .0609, .0286}
	for b.Loop() {
		if _, err := CompareSchedules(context.Background(), q); err != nil {
			b.Fatal(err)
		}
	}
}
