package plan

import (
	"context"
	"math"

	"orrery/workloads/quality"
)

// NamedSchedule is a schedule and how it is read at fewer points than it has steps.
type NamedSchedule struct {
	Name     string
	Schedule quality.Schedule
	Sampled  func(points int) quality.Schedule
}

// SchedulesQuestion asks what schedules of the learning rate are worth under a noisy
// quadratic model. Every table is of expected losses, each schedule tuned for its run.
type SchedulesQuestion struct {
	Schedules []NamedSchedule
	Base      int          // of Schedules, what the others are compared with
	Against   int          // of Schedules, what the map compares with it
	Model     *quality.NQM //
	Grid      []float64    // peak rates to tune over
	Batch     float64      // samples a step
	Budgets   []int        // steps, increasing
	Batches   []float64    // of the map
	Targets   []float64    // losses to reach; nil for those that the base has at the budgets
	Points    []int        // sampling rates
	Most      int          // longest run that is looked for
}

// Schedules are the answers.
type Schedules struct {
	Final   [][]quality.Tuned // by schedule and budget
	Map     [][]float64       // by batch and budget, the loss of Against over that of Base
	Targets []float64
	Steps   [][]int       // by target and schedule, 0 if none up to the most reaches it
	Spent   [][2]float64  // by batch, losses of Base and Against for the samples of the longest budget
	Sampled [][][]float64 // by schedule, budget and points, over the loss with every step
}

// CompareSchedules computes the tables.
func CompareSchedules(ctx context.Context, q *SchedulesQuestion) (*Schedules, error) {
	x := &Schedules{Targets: q.Targets}
	for _, s := range q.Schedules {
		x.Final = append(x.Final, q.row(s.Schedule, q.Batch))
	}
	if x.Targets == nil {
		for _, t := range x.Final[q.Base] {
			x.Targets = append(x.Targets, rounded(t.Loss))
		}
	}
	for _, part := range []func(*Schedules){q.batches, q.targets, q.sampled} {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		part(x)
	}
	return x, nil
}

// row returns what a schedule makes of every budget.
func (q *SchedulesQuestion) row(s quality.Schedule, batch float64) []quality.Tuned {
	out := make([]quality.Tuned, len(q.Budgets))
	for i, steps := range q.Budgets {
		out[i] = q.Model.Tune(s, steps, quality.Constant(batch), q.Grid)
	}
	return out
}

// batches fills the map, and what the same samples buy at every batch.
func (q *SchedulesQuestion) batches(x *Schedules) {
	base, against := q.Schedules[q.Base].Schedule, q.Schedules[q.Against].Schedule
	samples := q.Batch * float64(q.Budgets[len(q.Budgets)-1])
	for _, batch := range q.Batches {
		b, a := q.row(base, batch), q.row(against, batch)
		ratios := make([]float64, len(b))
		for i := range b {
			ratios[i] = a[i].Loss / b[i].Loss
		}
		x.Map = append(x.Map, ratios)
		spent := [2]float64{math.NaN(), math.NaN()}
		if steps := int(samples / batch); steps >= 1 && steps <= q.Most {
			spent[0] = q.Model.Tune(base, steps, quality.Constant(batch), q.Grid).Loss
			spent[1] = q.Model.Tune(against, steps, quality.Constant(batch), q.Grid).Loss
		}
		x.Spent = append(x.Spent, spent)
	}
}

// targets finds the shortest runs.
func (q *SchedulesQuestion) targets(x *Schedules) {
	for _, target := range x.Targets {
		row := make([]int, len(q.Schedules))
		for i, s := range q.Schedules {
			if n, ok := q.Model.StepsToTarget(s.Schedule, target, q.Batch, q.Grid, q.Most); ok {
				row[i] = n
			}
		}
		x.Steps = append(x.Steps, row)
	}
}

// sampled reads the schedules at fewer points.
func (q *SchedulesQuestion) sampled(x *Schedules) {
	for i, s := range q.Schedules {
		rows := make([][]float64, len(q.Budgets))
		for j, steps := range q.Budgets {
			for _, points := range q.Points {
				t := q.Model.Tune(s.Sampled(points), steps, quality.Constant(q.Batch), q.Grid)
				rows[j] = append(rows[j], t.Loss/x.Final[i][j].Loss)
			}
		}
		x.Sampled = append(x.Sampled, rows)
	}
}

// rounded keeps three digits, so that a target can be typed.
func rounded(x float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(x))-2)
	return math.Round(x/unit) * unit
}
