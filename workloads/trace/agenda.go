package trace

import "orrery/sim"

// agenda is a queue of things by time, first in first out among equals. It is a
// binary heap typed by hand, so that nothing is boxed. The zero agenda is empty.
type agenda[T any] struct {
	items []entry[T]
	seq   uint64
}

type entry[T any] struct {
	at  sim.Time
	seq uint64
	it  T
}

func (e *entry[T]) before(f *entry[T]) bool {
	return e.at < f.at || e.at == f.at && e.seq < f.seq
}

// peek returns the earliest time, or false if the agenda is empty.
func (a *agenda[T]) peek() (sim.Time, bool) {
	if len(a.items) == 0 {
		return 0, false
	}
	return a.items[0].at, true
}

func (a *agenda[T]) push(at sim.Time, it T) {
	a.seq++
	a.items = append(a.items, entry[T]{at, a.seq, it})
	q := a.items
	for i := len(q) - 1; i > 0; {
		p := (i - 1) / 2
		if !q[i].before(&q[p]) {
			break
		}
		q[i], q[p] = q[p], q[i]
		i = p
	}
}

// pop removes and returns the earliest item and its time. The agenda must not be
// empty.
func (a *agenda[T]) pop() (sim.Time, T) {
	q := a.items
	top := q[0]
	n := len(q) - 1
	q[0] = q[n]
	q[n] = entry[T]{} // lets go of what the item points to
	q = q[:n]
	a.items = q
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && q[c+1].before(&q[c]) {
			c++
		}
		if !q[c].before(&q[i]) {
			break
		}
		q[i], q[c] = q[c], q[i]
		i = c
	}
	return top.at, top.it
}
