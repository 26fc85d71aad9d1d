package sweep

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// Local runs cells on the cores of this machine. It is an [Engine].
type Local struct {
	Jobs  int // runs at a time, as many as there are cores if 0
	Store Store
}

// Run implements [Engine]. The first error of the store ends the others.
func (l *Local) Run(ctx context.Context, cells []Cell, sink func(Row)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	jobs := l.Jobs
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	r := newReader(readOwn)
	var next atomic.Int64
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range min(jobs, len(cells)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(cells)); i = next.Add(1) - 1 {
				rows, err := runBatch(ctx, cells[i:i+1], l.Store, r)
				if err != nil {
					cancel(err) // keeps the first
					return
				}
				mu.Lock()
				sink(rows[0])
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}
