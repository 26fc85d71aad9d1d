package solvers

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// inParallel does work on 0 to n-1, on every core. Each piece writes what is its own, so that the
// result does not depend on who did it.
func inParallel(n int, work func(i int)) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				work(i)
			}
		})
	}
	group.Wait()
}
