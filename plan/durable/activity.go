package durable

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"orrery/plan/sweep"
)

// Types of errors that are not tried again by the server.
const (
	stopped = "stopped" // the worker was asked to end
	refused = "refused" // the work makes no sense
)

// Work is what an activity is asked to do.
type Work struct {
	ID, Plan  string // the sweep's, and the hash of its plan
	Span      Span
	Heartbeat time.Duration // by when the server wants to hear of it
}

// Done is what an activity has done.
type Done struct {
	Failed  int     // cells whose row has an error
	Seconds float64 // that it took
	Worker  Seen
}

// activities is what a worker can do.
type activities struct {
	store *sweep.Dir
	plans *planReader
	self  Seen

	busy  atomic.Int64 // spans under way
	ended atomic.Int64 // when the last one ended, Unix nanoseconds
}

// RunSpan runs cells, and returns when their results are in the store.
func (a *activities) RunSpan(ctx context.Context, w Work) (Done, error) {
	begun := time.Now()
	a.busy.Add(1)
	defer func() {
		a.ended.Store(time.Now().UnixNano())
		a.busy.Add(-1)
	}()
	cells, err := a.plans.cells(w.ID, w.Plan, w.Span)
	if err != nil {
		return Done{}, temporal.NewNonRetryableApplicationError(err.Error(), refused, nil)
	}
	ctx, end := alive(ctx, w.Heartbeat)
	defer end()
	rows, err := sweep.RunClosedBatch(ctx, cells, a.store)
	switch {
	case errors.Is(context.Cause(ctx), errStopped):
		return Done{}, temporal.NewNonRetryableApplicationError(errStopped.Error(), stopped, nil)
	case err != nil:
		return Done{}, err
	}
	failed, err := a.keepFailed(rows)
	return Done{Failed: failed, Seconds: time.Since(begun).Seconds(), Worker: a.self}, err
}

// keepFailed keeps the errors of rows, also of those that were refused before they ran, and
// returns how many there are.
func (a *activities) keepFailed(rows []sweep.Row) (failed int, err error) {
	for i := range rows {
		if rows[i].Error == "" {
			continue
		}
		failed++
		if err := a.store.Put(rows[i].Key, rows[i].Result); err != nil {
			return failed, err
		}
	}
	return failed, nil
}

// GiveUp keeps as the result of a cell that it has none.
func (a *activities) GiveUp(_ context.Context, w Work) (Done, error) {
	cells, err := a.plans.cells(w.ID, w.Plan, w.Span)
	if err != nil {
		return Done{}, temporal.NewNonRetryableApplicationError(err.Error(), refused, nil)
	}
	for i := range cells {
		lost := sweep.Result{Error: fmt.Sprintf("its worker was lost %d times while it ran; it may need more memory than there is", attempts)}
		if err := a.store.Put(cells[i].Key, lost); err != nil {
			return Done{}, err
		}
	}
	return Done{Failed: len(cells), Worker: a.self}, nil
}

var errStopped = errors.New("the worker was stopped")

// alive returns a context that ends when the worker is asked to, and tells the server until the end
// that the activity is alive. A simulation knows nothing of servers, so it is told beside it.
func alive(ctx context.Context, heartbeat time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(max(heartbeat/3, 100*time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				activity.RecordHeartbeat(ctx)
			case <-activity.GetWorkerStopChannel(ctx):
				cancel(errStopped)
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
	}
}
