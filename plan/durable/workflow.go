package durable

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// progressQuery is the name of the query that a sweep answers with a [Progress].
const progressQuery = "progress"

const (
	// maxActivities are started before a workflow continues as new: each is three events of its
	// history and up to three of the workflow's own tasks, and histories end at 51,200 events.
	maxActivities = 4000
	// maxBatch is the most cells in an activity.
	maxBatch = 4096
	// maxWidth is the most activities under way; the server ends a workflow with 2,000.
	maxWidth = 1000
	// firstWidth is how many are under way before any worker has answered.
	firstWidth = 4
	// attempts is how often an activity is tried whose worker is lost or cannot keep results.
	attempts = 5
	// longest is the most that an activity may take, though its worker is alive.
	longest = 7 * 24 * time.Hour
)

// Span is cells of a plan: N of them, the first at From.
type Span struct{ From, N int }

// Pace says how work is cut.
type Pace struct {
	Batch         time.Duration // what an activity should be worth; default 10 s
	Heartbeat     time.Duration // silence after which a worker is lost; default 10 s
	MaxActivities int           // before the workflow continues as new; default 4000
}

// withDefaults returns the pace with its zeros filled in.
func (p Pace) withDefaults() Pace {
	if p.Batch <= 0 {
		p.Batch = 10 * time.Second
	}
	if p.Heartbeat <= 0 {
		p.Heartbeat = 10 * time.Second
	}
	if p.MaxActivities <= 0 {
		p.MaxActivities = maxActivities
	}
	return p
}

// Input is what a sweep starts with, and continues as new with.
type Input struct {
	ID    string // of the sweep, whose plans are in a folder of that name
	Plan  string // its hash
	Cells int    // of the plan
	Pace  Pace
	State State
}

// State is how far a sweep is.
type State struct {
	Next     int    // first cell that was never handed out
	Again    []Span // what has to be handed out again
	Progress Progress
	Seconds  float64 // a cell takes, lately; 0 if unknown
	Largest  int     // batch that was finished
	Workers  []Seen  // that have answered
}

// Seen is a worker that has answered.
type Seen struct {
	Name  string
	Slots int // activities at a time
}

// Progress says how far a sweep is.
type Progress struct {
	Cells, Done, Failed int // cells; of those done, those whose row has an error
	Activities          int // finished
	Lost                int // spans whose worker was lost again and again, and that were cut in two
	Workers, Slots      int // that have answered so far
}

// Sweep is the workflow that runs the cells of a plan. Its error says why it had to end early:
// results could not be kept. That a run fails is no error.
func Sweep(ctx workflow.Context, in Input) (Progress, error) {
	in.Pace = in.Pace.withDefaults()
	s := &in.State
	s.Progress.Cells = in.Cells
	err := workflow.SetQueryHandler(ctx, progressQuery, func() (Progress, error) { return s.Progress, nil })
	if err != nil {
		return s.Progress, err
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: longest,
		HeartbeatTimeout:    in.Pace.Heartbeat,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute, MaximumAttempts: attempts,
		},
	})
	var failure error
	selector, underWay := workflow.NewSelector(ctx), 0
	for started := 0; ; {
		for underWay < s.width() && started < in.Pace.MaxActivities && failure == nil {
			span, ok := s.take(in.Cells, in.Pace.Batch)
			if !ok {
				break
			}
			started++
			underWay++
			future := workflow.ExecuteActivity(ctx, (*activities).RunSpan, Work{ID: in.ID, Plan: in.Plan, Span: span, Heartbeat: in.Pace.Heartbeat})
			selector.AddFuture(future, func(f workflow.Future) {
				underWay--
				var d Done
				err := f.Get(ctx, &d)
				if err == nil {
					s.finished(span, d)
				} else if err = s.ended(ctx, &in, span, err); failure == nil {
					failure = err
				}
			})
		}
		if underWay == 0 {
			break
		}
		selector.Select(ctx)
	}
	if failure == nil && (s.Next < in.Cells || len(s.Again) > 0) {
		return s.Progress, workflow.NewContinueAsNewError(ctx, Sweep, in)
	}
	return s.Progress, failure
}

// width returns how many activities should be under way: two for each slot of the workers that
// have answered, so that none waits for the next.
func (s *State) width() int { return min(max(firstWidth, 2*s.Progress.Slots), maxWidth) }

// take returns the cells to hand out next.
func (s *State) take(cells int, worth time.Duration) (Span, bool) {
	if n := len(s.Again); n > 0 {
		span := s.Again[n-1]
		s.Again = s.Again[:n-1]
		return span, true
	}
	if s.Next >= cells {
		return Span{}, false
	}
	span := Span{s.Next, s.batch(cells-s.Next, worth)}
	s.Next += span.N
	return span, true
}

// batch returns how many of the cells that are left make a batch: what the measured time of a
// cell makes of the worth, but no more than four times what was ever finished, for a measure of
// few cells says little, and no more than leaves all slots something to do at the end.
func (s *State) batch(left int, worth time.Duration) int {
	if s.Largest == 0 {
		return 1
	}
	n := maxBatch
	if s.Seconds > 0 {
		n = int(min(worth.Seconds()/s.Seconds, maxBatch))
	}
	share := (left + s.width() - 1) / s.width()
	return max(1, min(n, 4*s.Largest, share))
}

// finished counts what an activity has done.
func (s *State) finished(span Span, d Done) {
	p := &s.Progress
	p.Activities++
	p.Done += span.N
	p.Failed += d.Failed
	if each := d.Seconds / float64(span.N); s.Largest == 0 {
		s.Seconds = each
	} else {
		s.Seconds = 0.7*s.Seconds + 0.3*each
	}
	s.Largest = max(s.Largest, span.N)
	for _, w := range s.Workers {
		if w.Name == d.Worker.Name {
			return
		}
	}
	s.Workers = append(s.Workers, d.Worker)
	p.Workers++
	p.Slots += d.Worker.Slots
}

// ended decides what becomes of a span whose activity has failed. A worker that was stopped has
// done no wrong: the span is handed out again. If workers are lost over and over, one of the cells
// may be to blame, say by needing more memory than there is: the span is cut in two until it is
// known which. All else fails the sweep.
func (s *State) ended(ctx workflow.Context, in *Input, span Span, err error) error {
	var app *temporal.ApplicationError
	var timeout *temporal.TimeoutError
	switch {
	case errors.As(err, &app) && app.Type() == stopped:
		s.Again = append(s.Again, span)
	case !errors.As(err, &timeout):
		return err
	case span.N > 1:
		s.Progress.Lost++
		half := span.N / 2
		s.Again = append(s.Again, Span{span.From + half, span.N - half}, Span{span.From, half})
	default:
		s.Progress.Lost++
		var d Done
		err := workflow.ExecuteActivity(ctx, (*activities).GiveUp, Work{ID: in.ID, Plan: in.Plan, Span: span}).Get(ctx, &d)
		if err != nil {
			return err
		}
		s.finished(span, d)
	}
	return nil
}
