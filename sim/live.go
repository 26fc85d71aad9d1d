package sim

import (
	"context"
	"sync"
	"time"
)

// This file lets the events of an engine follow the wall clock, so that a model can
// wait for work that is really done. What a model sees is the same in both worlds:
// events by time, rank and order of scheduling.

// Promise is an event whose time nobody knows yet: the end of work that really runs.
// Among the events of one instant and rank it has the place at which it was
// promised, as if its time had been known and scheduled then.
type Promise struct {
	do  Action
	arg uint32
	seq uint64
}

// mailbox is where other goroutines leave events for an engine.
type mailbox struct {
	mu     sync.Mutex
	origin time.Time // the wall-clock time of Time 0; zero before Live
	posted []Event   // with a zero order of scheduling, if it is theirs to get
	kept   int       // of those, kept promises
	wake   chan struct{}
}

// Promise announces an event, to be delivered by [Engine.Keep]. [Engine.Live] waits
// for every promise.
func (g *Engine) Promise(do Action, arg uint32) Promise {
	g.seq++
	g.promised++
	return Promise{do, arg, g.seq}
}

// Keep delivers a promised event as of the present of the wall clock, from any
// goroutine. Every promise is kept once.
func (g *Engine) Keep(p Promise) {
	g.deliver(Event{key: g.actions[p.do].rank | p.seq, Do: p.do, Arg: p.arg}, 1)
}

// Post schedules an action for the present of the wall clock, from any goroutine.
// What is posted before Live begins happens when it does. Live does not wait for
// posts that are still to come: make a [Promise] for that.
func (g *Engine) Post(do Action, arg uint32) { g.deliver(Event{Do: do, Arg: arg}, 0) }

func (g *Engine) deliver(e Event, kept int) {
	box := &g.mail
	box.mu.Lock()
	defer box.mu.Unlock()
	// The stamp is taken under the lock, so that an engine that has collected the
	// mail knows all that happened before.
	if !box.origin.IsZero() {
		e.At = Time(time.Since(box.origin))
	}
	box.posted = append(box.posted, e)
	box.kept += kept
	select {
	case box.wake <- struct{}{}:
	default: // it is awake or will be, or is not live yet
	}
}

// Wall returns the wall-clock time of t, in an engine that is live.
func (g *Engine) Wall(t Time) time.Time { return g.mail.origin.Add(time.Duration(t)) }

// FromWall returns the time of the engine at wall-clock time w.
func (g *Engine) FromWall(w time.Time) Time { return Time(w.Sub(g.mail.origin)) }

// Live fires events as the wall clock reaches them, beginning now. It returns when
// nothing is left to wait for: no event up to until and no promise, or when until
// has passed, [Engine.Stop] is called or ctx ends. Handlers run on the
// caller's goroutine and are told the time that an event was due, or posted; the clock
// may be a little later by then.
//
// An instant is over when the clock has gone beyond it. Only then do its events
// fire, so that what other goroutines post for that instant takes its place among
// them by rank. On a real clock this delays nothing; on the fake clock of
// testing/synctest, where many things happen in one instant, it makes the order
// the same as that of [Engine.Run].
func (g *Engine) Live(ctx context.Context, until Time) {
	g.stopped = false
	g.mail.open(g.now)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !g.stopped && ctx.Err() == nil {
		clock := g.collect()
		next := Forever
		if len(g.queue) > 0 {
			next = g.queue[0].At
		}
		switch {
		case next < clock && next <= until:
			e := g.queue.pop()
			g.now = e.At
			g.fired++
			g.actions[e.Do].do(e.At, e.Arg)
			continue
		case clock > until, g.promised == 0 && (len(g.queue) == 0 || next > until):
			return
		}
		if due := min(next, until); due < Forever {
			timer.Reset(g.Wall(due + 1).Sub(g.Wall(clock)))
		}
		select {
		case <-timer.C:
		case <-g.mail.wake:
		case <-ctx.Done():
		}
	}
}

// open lets the clock run, from now.
func (box *mailbox) open(now Time) {
	box.mu.Lock()
	defer box.mu.Unlock()
	box.origin = time.Now().Add(-time.Duration(now))
	box.wake = make(chan struct{}, 1)
	for i := range box.posted {
		box.posted[i].At = now
	}
}

// collect schedules what was posted and returns the time up to which it is all.
func (g *Engine) collect() Time {
	box := &g.mail
	box.mu.Lock()
	defer box.mu.Unlock()
	for _, e := range box.posted {
		if e.key == 0 {
			g.seq++
			e.key = g.actions[e.Do].rank | g.seq
		}
		g.queue.push(e)
	}
	box.posted = box.posted[:0]
	g.promised -= box.kept
	box.kept = 0
	return Time(time.Since(box.origin))
}
