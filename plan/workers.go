package plan

import (
	"context"
	"runtime"
	"sync"
)

// Workers bounds how many probes run at the same time. One value can be shared by
// several questions, so that together they keep every core busy and no more.
type Workers struct{ slots chan struct{} }

// NewWorkers returns n workers, one for each core if n is 0.
func NewWorkers(n int) *Workers {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	return &Workers{slots: make(chan struct{}, n)}
}

// enter waits for a free worker, and returns false if the context ends first.
func (w *Workers) enter(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case w.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// tryEnter takes a worker if one is free at once.
func (w *Workers) tryEnter() bool {
	select {
	case w.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (w *Workers) leave() { <-w.slots }

// each calls do for 0 to n-1, each call in a goroutine of its own that waits for a
// worker. The first error ends the others; the one returned is that of the lowest
// number, context errors apart.
func (w *Workers) each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if !w.enter(ctx) {
				return
			}
			defer w.leave()
			if errs[i] = do(ctx, i); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	return firstError(errs)
}

// firstError returns the first error, preferring those that are not the echo of
// another one's cancellation.
func firstError(errs []error) error {
	var echo error
	for _, err := range errs {
		if err == nil {
			continue
		}
		if !isCancelled(err) {
			return err
		}
		if echo == nil {
			echo = err
		}
	}
	return echo
}
