package cluster

import (
	"fmt"
	"math"
	"slices"
	"time"

	"orrery/sim"
)

// This file is the life of replicas: they start, serve, are drained and stop; they fail,
// and what they held is lost; they may be slow for a while.

// State is how far a replica has come in its life.
type State uint8

// The states of a replica.
const (
	Up       State = iota // serves
	Starting              // has its devices, and loads its model
	Draining              // ends what it has begun, and takes nothing new
	Off                   // has no devices
	Down                  // has failed, and has no devices until it is repaired
)

// String returns the state's name as it stands in logs.
func (s State) String() string {
	return [...]string{"up", "starting", "draining", "off", "down"}[s]
}

// Provisioned tells whether a replica in this state has its devices, which are paid for.
func (s State) Provisioned() bool { return s == Up || s == Starting || s == Draining }

// Retry says what becomes of a request that has lost its replica.
type Retry uint8

const (
	// Resume sends the request to another replica with the tokens that it has got so far
	// behind its prompt, so that the answer goes on.
	Resume Retry = iota
	// Unstarted sends it to another replica if it has no token yet. Otherwise its stream
	// has broken off, and it fails: a proxy that cannot take back what it has passed on
	// does so.
	Unstarted
	// Fail lets it fail.
	Fail
)

// move puts a replica into another state.
func (c *Cluster) move(now sim.Time, r *replica, to State) {
	r.state = to
	c.out.End = max(c.out.End, now)
	c.record(Record{What: Moved, At: now, Replica: r.index, State: to})
	r.view.ready(r.index, to == Up)
	if to == Up && len(c.unplaced) > 0 {
		c.handSoon(now)
	}
}

// start gives a replica its devices. It serves when its model is loaded.
func (c *Cluster) start(now sim.Time, r *replica) {
	r.mem = r.mem.empty() // what was cached before it stopped went with its devices
	c.move(now, r, Starting)
	r.upAt = now.Add(r.startUp)
	c.engine.At(r.upAt, c.serve, uint32(r.index))
}

// onServe lets a replica serve whose model is loaded, unless it was stopped meanwhile.
func (c *Cluster) onServe(now sim.Time, i uint32) {
	if r := &c.replicas[i]; r.state == Starting && r.upAt == now && !c.done() {
		r.stageFree[0] = max(r.stageFree[0], now)
		c.move(now, r, Up)
	}
}

// drain lets a replica end what it has begun, and then stop.
func (c *Cluster) drain(now sim.Time, r *replica) {
	switch {
	case r.state == Starting:
		c.move(now, r, Off)
	case r.state == Up:
		c.move(now, r, Draining)
		r.rest(now)
	}
}

// rest stops a replica that drains when it has ended all it had begun.
func (r *replica) rest(now sim.Time) {
	if r.state == Draining && r.idle() {
		r.c.move(now, r, Off)
	}
}

// idle tells whether a replica has nothing to do.
func (r *replica) idle() bool {
	return r.flying == 0 && r.queue.n+r.parked()+r.held.n+r.swapped.n+r.leaving+len(r.inbox)+len(r.coming) == 0
}

// crash takes a replica down with all it holds. It starts again after the repair; without
// one (0) it never does.
func (c *Cluster) crash(now sim.Time, r *replica, repair time.Duration) {
	if !r.state.Provisioned() {
		return
	}
	r.lose(now)
	c.breakHandovers(now, r)
	c.move(now, r, Down)
	if repair > 0 {
		r.upAt = now.Add(repair)
		c.engine.At(r.upAt, c.repair, uint32(r.index))
	} else {
		r.gone = true
	}
	c.sendAgain(now)
}

// onRepair starts a replica that has been repaired.
func (c *Cluster) onRepair(now sim.Time, i uint32) {
	if r := &c.replicas[i]; r.state == Down && r.upAt == now && !c.done() {
		c.start(now, r)
	}
}

// lose voids what a replica has in flight and takes its memory. Its requests go to
// Cluster.strays, oldest first.
func (r *replica) lose(now sim.Time) {
	r.settle(now)
	for k := r.flying - 1; k >= 0; k-- { // chunks that were being computed are not there
		m := &r.flights[(r.first+k)%len(r.flights)]
		for _, chunk := range m.chunks {
			s := &r.seqs[chunk.slot]
			s.Computed = min(s.Computed, chunk.from)
		}
		m.chunks, m.group, m.steps = m.chunks[:0], nil, m.steps[:0]
	}
	r.unparkAll()
	for _, l := range []list{r.held, r.swapped, r.queue} {
		for slot := l.head; slot != none; {
			s := &r.seqs[slot]
			next := s.next
			if g := s.group; g != nil {
				planned := int32(g.count - g.emitted) // but not there
				r.leave(s)
				s.Computed -= planned
				s.Generated -= planned
				s.out.Emitted -= planned
			}
			r.stray(now, s)
			slot = next
		}
	}
	for _, g := range r.groups {
		g.inFlight = false
	}
	r.tidyGroups()
	r.queue, r.held, r.swapped = newList(), newList(), newList()
	r.partials = r.partials[:0]
	r.mem = r.mem.empty()
	r.lora = newLora(&r.c.cfg.Replicas[r.index].Adapters)
	r.host = sim.NewLedger(r.host.Capacity())
	r.plan.swapBytes = 0
	r.first, r.flying = 0, 0
	for i := range r.stageFree {
		r.stageFree[i] = now
	}
	r.view.report(now, r)
}

// stray records that a sequence has lost its replica, and keeps its request.
func (r *replica) stray(now sim.Time, s *sequence) {
	c := r.c
	tokens := s.Computed
	if s.place == inQueue { // what a waiting one shows is what the prefix cache would give it
		tokens = 0
	} else {
		s.lost = tokens
	}
	s.out.Retries++
	s.out.Recomputed += tokens
	s.out.lost = s.lost
	c.record(Record{What: Lost, At: now, Replica: r.index, N: int64(tokens), Request: &s.out})
	if s.place != leaving { // its router counts those no more
		r.view.ended(now, r.index, &s.out, false)
	}
	c.gate.lost(now, &s.out, r.index)
	c.strays = append(c.strays, s.out)
	if r.observer != nil {
		r.observer.Left(&s.Seq)
	}
	s.out.Prefix, s.names, s.group = nil, s.names[:0], nil
	s.place = gone
	s.epoch++
	r.freeSlot = append(r.freeSlot, s.Slot)
}

// sendAgain gives requests that have lost their replicas back to the gateway, ahead of
// those that wait there, or lets them fail.
func (c *Cluster) sendAgain(now sim.Time) {
	slices.SortFunc(c.strays, func(a, b Served) int { return int(a.ID - b.ID) })
	again := c.strays[:0]
	for i := range c.strays {
		s := &c.strays[i]
		switch {
		case c.cfg.MaxRetries > 0 && int(s.Retries) > c.cfg.MaxRetries:
			c.fail(now, s, "its replica failed, too often")
		case c.cfg.Retry == Fail:
			c.fail(now, s, "its replica failed")
		case c.cfg.Retry == Unstarted && s.Emitted > 0:
			c.fail(now, s, "its replica failed in the middle of the answer")
		default:
			s.Replica = none
			again = append(again, *s)
		}
	}
	if len(again) > 0 {
		c.gateway = append(append(make([]Served, 0, len(again)+len(c.gateway)), again...), c.gateway...)
		c.sortGateway()
	}
	clear(c.strays)
	c.strays = c.strays[:0]
	c.askAgain()
}

// fail ends a request without success.
func (c *Cluster) fail(now sim.Time, s *Served, reason string) {
	c.out.Failed++
	c.out.End = max(c.out.End, now)
	c.record(Record{What: Failed, At: now, Replica: none, Request: s, Reason: reason})
	c.gate.ended(now, s)
	c.ended(&s.Request, now)
}

// giveUp lets the requests at the gateway fail if no replica will ever serve again.
func (c *Cluster) giveUp(now sim.Time) {
	c.dropHandovers(now)
	if len(c.gateway) == 0 || !c.hopeless(0, c.decoders.first) {
		return
	}
	for i := range c.gateway {
		c.fail(now, &c.gateway[i], "no replica is left")
	}
	clear(c.gateway)
	c.gateway = c.gateway[:0]
}

// hopeless tells whether none of the replicas from first to last serves, and none will.
func (c *Cluster) hopeless(first, last int32) bool {
	for i := first; i < last; i++ {
		r := &c.replicas[i]
		switch r.state {
		case Up, Starting:
			return false
		case Down:
			if !r.gone {
				return false
			}
		default:
			if c.scaled(c.cfg.Replicas[i].Group) || r.lostAt > c.engine.Now() && r.lostFor > 0 {
				return false
			}
		}
	}
	return true
}

// scaled tells whether a policy decides how many replicas of a group there are.
func (c *Cluster) scaled(group int32) bool {
	return slices.ContainsFunc(c.cfg.Scalers, func(s Scaler) bool { return s.Group == group })
}

// slow lets a replica run at another pace from now on: everything takes factor times as
// long. The iteration under way ends as it would have.
func (c *Cluster) slow(now sim.Time, r *replica, factor float64) {
	if r.flying > 0 && len(r.flights) == 1 {
		r.cut(now)
	}
	r.slowness = factor
	c.record(Record{What: Moved, At: now, Replica: r.index, State: r.state, N: int64(math.Round(1000 * factor))})
}

// paced returns how long something takes on a replica that may be slow.
func (r *replica) paced(d time.Duration) time.Duration {
	if r.slowness == 1 {
		return d
	}
	return time.Duration(float64(d)*r.slowness + 0.5)
}

// inSystem returns the number of requests that have arrived and not ended.
func (c *Cluster) inSystem() int64 {
	return c.out.Arrived - c.out.Finished - c.out.Rejected - c.out.Failed
}

// done tells whether all requests have ended and none will come.
func (c *Cluster) done() bool { return c.inSystem() == 0 && !c.more(c.until()) }

// checkLife refuses what cannot be done.
func (c *Cluster) checkLife() error {
	living := c.cfg.Faults != nil || len(c.cfg.Scalers) > 0
	for i := range c.cfg.Replicas {
		r := &c.cfg.Replicas[i]
		if living && r.Executor != nil {
			return fmt.Errorf("cluster: replica %d has an executor, which neither fails nor stops as told; want no faults and no scalers", i)
		}
		if r.StartUp < 0 {
			return fmt.Errorf("cluster: replica %d starts in %v; want at least 0", i, r.StartUp)
		}
		for _, n := range r.Nodes {
			if n < 0 {
				return fmt.Errorf("cluster: replica %d is on node %d; want at least 0", i, n)
			}
		}
	}
	for i, s := range c.cfg.Scalers {
		if err := s.check(c.cfg.Replicas); err != nil {
			return fmt.Errorf("cluster: scaler %d: %w", i, err)
		}
	}
	return nil
}

// initLife brings replicas that do not serve from the start into their state.
func (c *Cluster) initLife() {
	for i := range c.replicas {
		if c.cfg.Replicas[i].Off {
			c.move(0, &c.replicas[i], Off)
		}
	}
	c.nextFault()
	for i := range c.cfg.Scalers {
		c.engine.At(0, c.scale, uint32(i))
	}
}
