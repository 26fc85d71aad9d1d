package plan

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"
)

// powerLaw learns as batch^-a steps^-b, schedule s a factor slower.
type powerLaw struct{ most int }

func (p powerLaw) Loss(schedule, batch, steps int) float64 {
	return float64(1+schedule) / math.Sqrt(float64(batch)*float64(steps))
}

func (p powerLaw) Steps(schedule, batch int, loss float64) (int, bool) {
	n := int(math.Ceil(math.Pow(float64(1+schedule)/loss, 2) / float64(batch)))
	return n, n <= p.most
}

func (p powerLaw) Most(int) int { return p.most }

func TestBudgetFindsTheCheapestRunThatReachesALoss(t *testing.T) {
	options := []BudgetOption{
		{Device: "slow", Width: 1, Batch: 10, StepS: 2, PerHour: 1},
		{Device: "quick", Width: 1, Batch: 10, StepS: 1, PerHour: 3},
		{Device: "quick", Width: 4, Batch: 40, StepS: 1.25, PerHour: 3},
		{Device: "small", Width: 1, Refused: "does not fit"},
	}
	rows, err := Budget(t.Context(), options, 2, BudgetGoal{Loss: 0.01, Deadline: 90 * time.Minute}, powerLaw{most: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	// By hand: schedule 0 takes 1000 steps at batch 10 and 250 at 40, schedule 1 four times as many.
	want := []BudgetRow{
		{Option: 0, Schedule: 0, Steps: 1000, WallS: 2000, DeviceHours: 2000.0 / 3600, Cost: 2000.0 / 3600, Met: true, Front: true},
		{Option: 1, Schedule: 0, Steps: 1000, WallS: 1000, DeviceHours: 1000.0 / 3600, Cost: 3000.0 / 3600, Met: true, Front: true},
		{Option: 2, Schedule: 0, Steps: 250, WallS: 312.5, DeviceHours: 1250.0 / 3600, Cost: 3750.0 / 3600, Met: true, Front: true},
		{Option: 1, Schedule: 1, Steps: 4000, WallS: 4000, DeviceHours: 4000.0 / 3600, Cost: 12000.0 / 3600, Met: true},
		{Option: 2, Schedule: 1, Steps: 1000, WallS: 1250, DeviceHours: 5000.0 / 3600, Cost: 15000.0 / 3600, Met: true},
		{Option: 3, Schedule: 0, Why: "does not fit"},
		{Option: 3, Schedule: 1, Why: "does not fit"},
		{Option: 0, Schedule: 1, Steps: 4000, WallS: 8000, DeviceHours: 8000.0 / 3600, Cost: 8000.0 / 3600, Why: "the deadline"},
	}
	for i := range want {
		got, w := rows[i], want[i]
		if math.Abs(got.DeviceHours-w.DeviceHours) > 1e-9 || math.Abs(got.Cost-w.Cost) > 1e-9 {
			t.Errorf("row %d costs %g for %g hours, want %g for %g", i, got.Cost, got.DeviceHours, w.Cost, w.DeviceHours)
		}
		got.DeviceHours, got.Cost, got.Loss = w.DeviceHours, w.Cost, 0
		if got != w {
			t.Errorf("row %d is %+v, want %+v", i, got, w)
		}
	}
}

func TestBudgetSpendsWhatTheLimitsAllow(t *testing.T) {
	options := []BudgetOption{
		{Device: "a", Width: 2, Batch: 20, StepS: 1, PerHour: 2},
		{Device: "b", Width: 1, Batch: 10, StepS: 0.4, PerHour: 1},
	}
	for _, c := range []struct {
		goal  BudgetGoal
		most  int
		steps [2]int
		why   [2]string
	}{
		{BudgetGoal{DeviceHours: 1}, 1 << 20, [2]int{1800, 9000}, [2]string{"the GPU-hours", "the GPU-hours"}},
		{BudgetGoal{DeviceHours: 1, Cost: 0.5}, 1 << 20, [2]int{450, 4500}, [2]string{"the money", "the money"}},
		{BudgetGoal{DeviceHours: 1, Deadline: time.Minute}, 1 << 20, [2]int{60, 150}, [2]string{"the deadline", "the deadline"}},
		{BudgetGoal{DeviceHours: 1}, 5000, [2]int{1800, 5000}, [2]string{"the GPU-hours", "the quality model answers for no longer run"}},
	} {
		rows, err := Budget(t.Context(), options, 1, c.goal, powerLaw{most: c.most})
		if err != nil {
			t.Fatal(err)
		}
		last := 0.0
		for _, r := range rows {
			if r.Steps != c.steps[r.Option] || r.Why != c.why[r.Option] || !r.Met {
				t.Errorf("%+v: option %d takes %d steps (%s), want %d (%s)", c.goal, r.Option, r.Steps, r.Why, c.steps[r.Option], c.why[r.Option])
			}
			if r.Loss < last {
				t.Errorf("%+v: rows are not in the order of their losses", c.goal)
			}
			last = r.Loss
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Budget(ctx, options, 1, BudgetGoal{DeviceHours: 1}, powerLaw{most: 10}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
