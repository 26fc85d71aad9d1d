package plan

import (
	"context"
	"errors"
	"sync"
)

// memo runs each probe once. Several goroutines may ask; those that come while it
// runs wait for it.
type memo struct {
	probe   Probe
	workers *Workers
	spare   chan struct{} // as many as workers may guess at a time
	mu      sync.Mutex
	known   map[point]*answer
	guesses sync.WaitGroup // runs that nobody has asked for yet
}

// point is where a probe runs.
type point struct {
	rate float64
	seed uint64
}

type answer struct {
	ready chan struct{} // closed when the two below are set
	obs   Observation
	err   error
}

// newMemo returns a memo for the given number of goroutines that ask. Workers that
// are not needed for their questions may guess.
func newMemo(p Probe, w *Workers, askers int) *memo {
	spare := max(0, cap(w.slots)-askers)
	return &memo{probe: p, workers: w, spare: make(chan struct{}, spare), known: make(map[point]*answer)}
}

// get returns the observation at pt. The error is the probe's, or the context's.
func (m *memo) get(ctx context.Context, pt point) (Observation, error) {
	m.mu.Lock()
	a, ok := m.known[pt]
	if !ok {
		a = &answer{ready: make(chan struct{})}
		m.known[pt] = a
	}
	m.mu.Unlock()
	if !ok {
		if m.workers.enter(ctx) {
			m.run(ctx, pt, a)
		} else {
			a.err = context.Cause(ctx)
			close(a.ready)
		}
	}
	select {
	case <-a.ready:
		return a.obs, a.err
	case <-ctx.Done():
		return Observation{}, ctx.Err()
	}
}

// guess runs the probe at pt in the background if there are workers to spare, since
// the search may ask for it next. Answers are functions of the point, so guessing
// changes how soon they are known and nothing else.
func (m *memo) guess(ctx context.Context, pt point) {
	select {
	case m.spare <- struct{}{}:
	default:
		return
	}
	back := func() { <-m.spare }
	if !m.workers.tryEnter() {
		back()
		return
	}
	m.mu.Lock()
	_, ok := m.known[pt]
	a := &answer{ready: make(chan struct{})}
	if !ok {
		m.known[pt] = a
	}
	m.mu.Unlock()
	if ok {
		m.workers.leave()
		back()
		return
	}
	m.guesses.Go(func() {
		defer back()
		m.run(ctx, pt, a)
	})
}

// run runs the probe and gives its worker back.
func (m *memo) run(ctx context.Context, pt point, a *answer) {
	defer m.workers.leave()
	defer close(a.ready)
	a.obs, a.err = m.probe(ctx, pt.rate, pt.seed)
	if a.err == nil {
		a.err = ctx.Err() // a run that was cut short proves nothing
	}
}

func isCancelled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
