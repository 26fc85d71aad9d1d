package plan

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"
)

// BudgetOption is one way to run a training job: so many devices of a kind.
type BudgetOption struct {
	Device  string
	Width   int     // devices
	Batch   int     // samples of one optimiser step, over all devices
	StepS   float64 // seconds of one optimiser step
	PerHour float64 // price of one device for an hour, 0 if not known
	Refused string  // why it cannot run, empty if it can
}

// BudgetGoal is what a job shall reach and what it may take. At least one is stated.
type BudgetGoal struct {
	Loss        float64       // to reach, 0 for the best that the limits allow
	Deadline    time.Duration // wall time, 0 for no limit
	DeviceHours float64       // 0 for no limit
	Cost        float64       // 0 for no limit
}

// Learner predicts what training makes of steps. Schedules are counted from 0.
type Learner interface {
	// Loss is that at the end of a run of so many steps under a schedule that is stretched to
	// its end.
	Loss(schedule, batch, steps int) float64
	// Steps is the length of the shortest such run that reaches a loss, and false if none does
	// within the most that the learner answers for.
	Steps(schedule, batch int, loss float64) (int, bool)
	// Most is the longest run that the learner answers for.
	Most(batch int) int
}

// BudgetRow is a job under a schedule, on one option.
type BudgetRow struct {
	Option      int     `json:"option"`
	Schedule    int     `json:"schedule"`
	Steps       int     `json:"steps"`
	WallS       float64 `json:"wall_s"`
	DeviceHours float64 `json:"device_hours"`
	Cost        float64 `json:"cost"`
	Loss        float64 `json:"loss"`
	Met         bool    `json:"met"`
	Front       bool    `json:"front"`         // none is both quicker and cheaper
	Why         string  `json:"why,omitempty"` // what binds, or why it is not met
}

// Budget prices every option under every schedule: with a loss to reach, the shortest run
// that reaches it; without, the longest that the limits allow. Rows that meet the goal come
// first: by cost, or by GPU-hours where prices are not all known, or by loss where none is
// asked for.
func Budget(ctx context.Context, options []BudgetOption, schedules int, goal BudgetGoal, l Learner) ([]BudgetRow, error) {
	priced := !slices.ContainsFunc(options, func(o BudgetOption) bool { return o.PerHour == 0 && o.Refused == "" })
	var rows []BudgetRow
	for i := range options {
		for s := range schedules {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if o := &options[i]; o.Refused != "" {
				rows = append(rows, BudgetRow{Option: i, Schedule: s, Loss: math.NaN(), Why: o.Refused})
			} else {
				rows = append(rows, goal.row(i, s, o, l))
			}
		}
	}
	// Which of two rows is dearer: its price, or without prices its device-hours.
	dear := func(r *BudgetRow) float64 {
		if priced {
			return r.Cost
		}
		return r.DeviceHours
	}
	for i := range rows {
		r := &rows[i]
		r.Front = r.Met && !slices.ContainsFunc(rows, func(o BudgetRow) bool {
			return o.Met && o.WallS <= r.WallS && dear(&o) <= dear(r) && o.Loss <= max(r.Loss, goal.Loss) && (o.WallS < r.WallS || dear(&o) < dear(r))
		})
	}
	slices.SortStableFunc(rows, func(a, b BudgetRow) int {
		if a.Met != b.Met {
			if a.Met {
				return -1
			}
			return 1
		}
		if goal.Loss == 0 {
			if c := cmp.Compare(a.Loss, b.Loss); c != 0 {
				return c
			}
		}
		return cmp.Or(cmp.Compare(dear(&a), dear(&b)), cmp.Compare(a.WallS, b.WallS))
	})
	return rows, nil
}

// row prices one option under one schedule.
func (g *BudgetGoal) row(option, schedule int, o *BudgetOption, l Learner) BudgetRow {
	r := BudgetRow{Option: option, Schedule: schedule}
	allowed, binds := g.allowed(o)
	if most := l.Most(o.Batch); most < allowed {
		allowed, binds = most, "the quality model answers for no longer run"
	}
	if g.Loss == 0 {
		r.Steps, r.Why, r.Met = allowed, binds, allowed > 0
	} else {
		steps, ok := l.Steps(schedule, o.Batch, g.Loss)
		r.Steps, r.Met = steps, ok && steps <= allowed
		switch {
		case !ok:
			r.Steps, r.Why = 0, "does not reach the loss in a run that the quality model answers for"
		case !r.Met:
			r.Why = binds
		}
	}
	r.WallS = float64(r.Steps) * o.StepS
	r.DeviceHours = r.WallS / 3600 * float64(o.Width)
	r.Cost = r.DeviceHours * o.PerHour
	r.Loss = math.NaN()
	if r.Steps > 0 {
		r.Loss = l.Loss(schedule, o.Batch, r.Steps)
	}
	return r
}

// allowed returns the most steps within the limits, and which of them it is.
func (g *BudgetGoal) allowed(o *BudgetOption) (steps int, binds string) {
	longest, binds := math.Inf(1), ""
	limit := func(wall float64, why string) {
		if wall < longest {
			longest, binds = wall, why
		}
	}
	if g.Deadline > 0 {
		limit(g.Deadline.Seconds(), "the deadline")
	}
	if g.DeviceHours > 0 {
		limit(g.DeviceHours*3600/float64(o.Width), "the GPU-hours")
	}
	if g.Cost > 0 && o.PerHour > 0 {
		limit(g.Cost/o.PerHour*3600/float64(o.Width), "the money")
	}
	return int(min(longest/o.StepS, 1<<40)), binds
}
