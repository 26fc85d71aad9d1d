package sim

import (
	"fmt"
	"time"
)

// Rank orders the events of one instant. Work that ends frees what it held
// before anything arrives, arrivals are known before policies decide, and
// observers see the outcome of all of it.
type Rank uint8

// The ranks of one instant, in the order in which they fire.
const (
	Finish Rank = iota
	Arrive
	Decide
	Watch
	numRanks
)

// Action is a slot in an engine's table of callbacks. See [Engine.On].
type Action uint32

// Event is one entry of the event queue. Events of one instant fire by rank,
// events of one instant and rank in the order in which they were scheduled.
type Event struct {
	At  Time
	key uint64 // rank in the top byte, then the order of scheduling
	Do  Action
	Arg uint32
}

const seqBits = 56

func (e *Event) before(f *Event) bool {
	return e.At < f.At || e.At == f.At && e.key < f.key
}

// Engine fires events in order, of simulated time ([Engine.Run]) or of the wall clock
// ([Engine.Live]). The zero Engine is ready to use. An engine belongs to one
// goroutine; run several engines to use several cores.
type Engine struct {
	now     Time
	seq     uint64
	fired   uint64
	queue   eventHeap
	actions []action
	stopped bool

	promised int // events that will come by the mail, see live.go
	mail     mailbox
}

type action struct {
	do   func(now Time, arg uint32)
	rank uint64 // already shifted into the top byte of Event.key
	name string
}

// On adds an action to the engine and returns its slot. The name is for logs
// and messages.
func (g *Engine) On(r Rank, name string, do func(now Time, arg uint32)) Action {
	if r >= numRanks {
		panic(fmt.Sprintf("sim: action %q has rank %d, want less than %d", name, r, numRanks))
	}
	g.actions = append(g.actions, action{do, uint64(r) << seqBits, name})
	return Action(len(g.actions) - 1)
}

// At schedules an action for time t with an argument of the caller's choice,
// usually an index. It panics if t has passed: a model that writes to the past
// is broken.
func (g *Engine) At(t Time, do Action, arg uint32) {
	if t < g.now {
		panic(fmt.Sprintf("sim: %s scheduled for %v, but it is already %v", g.actions[do].name, t, g.now))
	}
	g.seq++
	g.queue.push(Event{At: t, key: g.actions[do].rank | g.seq, Do: do, Arg: arg})
}

// After schedules an action d after the present.
func (g *Engine) After(d time.Duration, do Action, arg uint32) { g.At(g.now.Add(d), do, arg) }

// Now returns the present simulated time.
func (g *Engine) Now() Time { return g.now }

// Fired returns the number of events fired so far.
func (g *Engine) Fired() uint64 { return g.fired }

// Pending returns the number of events that wait to be fired, promised ones included.
func (g *Engine) Pending() int { return len(g.queue) + g.promised }

// Stop makes [Engine.Run] or [Engine.Live] return after the event that is being fired.
func (g *Engine) Stop() { g.stopped = true }

// Run fires events in order until the queue is empty, [Engine.Stop] is called,
// or the next event lies beyond until; that event stays in the queue. Time
// stands at the last event fired.
func (g *Engine) Run(until Time) {
	g.stopped = false
	for len(g.queue) > 0 && !g.stopped && g.queue[0].At <= until {
		e := g.queue.pop()
		g.now = e.At
		g.fired++
		g.actions[e.Do].do(e.At, e.Arg)
	}
}
