package kernel

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// Set is the operators on one BLAS and a number of threads. It belongs to one
// goroutine: operators run one after another.
type Set struct {
	description string
	workers     []worker

	// The operator that runs. Tasks are fields, so that starting one allocates nothing.
	task     task
	items    int64
	next     atomic.Int64
	done     sync.WaitGroup
	linear   linearTask
	rows     rowsTask
	attend   attendTask
	rope     ropeTask
	elements elementsTask
}

// task is an operator cut into items that can be computed in any order, each by any
// worker: which worker takes an item never shows in the result.
type task interface{ do(w *worker, item int) }

// worker is what one thread needs for itself.
type worker struct {
	blas BLAS
	run  func() // works on items until none is left
	scratch
}

// New returns the operators on the named BLAS, one of [BLASNames], with the given
// number of threads; 0 means as many as Go uses.
func New(blas string, threads int) (*Set, error) {
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	if threads < 1 || threads > maxThreads {
		return nil, fmt.Errorf("kernel: threads is %d; want a number from 1 to %d, or 0 for all processors", threads, maxThreads)
	}
	make1, description, err := openBLAS(blas)
	if err != nil {
		return nil, err
	}
	s := &Set{description: description, workers: make([]worker, threads)}
	for i := range s.workers {
		w := &s.workers[i]
		w.blas = make1()
		w.run = func() {
			defer s.done.Done()
			s.work(w)
		}
	}
	return s, nil
}

const maxThreads = 1024

// BLAS returns the name of the BLAS, with its version if it has one.
func (s *Set) BLAS() string { return s.description }

// Threads returns the number of threads.
func (s *Set) Threads() int { return len(s.workers) }

// each runs the items of a task, on all workers. Goroutines begin with each task, since
// those that wait for one would have to be stopped when the Set is dropped; it costs
// a microsecond.
func (s *Set) each(items int, t task) {
	s.task, s.items = t, int64(items)
	s.next.Store(0)
	for i := 1; i < min(len(s.workers), items); i++ {
		s.done.Add(1)
		go s.workers[i].run()
	}
	s.work(&s.workers[0])
	s.done.Wait()
}

func (s *Set) work(w *worker) {
	for {
		i := s.next.Add(1) - 1
		if i >= s.items {
			return
		}
		s.task.do(w, int(i))
	}
}

// pieces returns into how many items n pieces of work should be cut, if one of them is
// about cost operations: small work is not worth a second goroutine.
func pieces(n, cost int) (items, size int) {
	size = max(1, minOperations/max(cost, 1))
	return (n + size - 1) / size, size
}

// minOperations is the least work of an item: some 10 microseconds, against the
// few that it takes to wake another processor.
const minOperations = 16 << 10

// Grow returns s with room for n values; what it held is lost if it was too small. Memory
// begins at a multiple of 16 bytes, the width of gonum's vectors, which the allocator
// grants to anything but a few numbers: a sum over unaligned ones has another order.
func Grow[T any](s []T, n int) []T {
	const fewest = 16
	if cap(s) < n {
		s = make([]T, max(n+n/4, fewest))
	}
	return s[:n]
}
