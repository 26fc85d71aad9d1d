package cluster

import (
	"math/rand/v2"
	"time"

	"orrery/sim"
)

// Fault is something that goes wrong at a time.
type Fault struct {
	At   sim.Time
	Kind FaultKind
	// Target is a replica; for NodeLoss and LinkLoss a node. Faults of replicas
	// that have no devices at the time change nothing.
	Target int32
	// For is how long it lasts: until the repair of what crashed begins, the pace is
	// normal again. 0 is for good.
	For    time.Duration
	Factor float64       // of Slow: everything takes so many times as long
	Notice time.Duration // of Reclaim: from the warning to the loss
}

// FaultKind is a kind of fault.
type FaultKind uint8

const (
	Crash    FaultKind = iota // a replica loses all it holds
	NodeLoss                  // all replicas with a device on the node do
	Slow                      // a replica is slow: a hot GPU, a noisy neighbour
	Reclaim                   // a spot replica gets notice, drains, and is lost
	LinkLoss                  // nothing leaves or reaches a node, and what is on its way waits; for good it is the loss of the node
	numFaults
)

// String returns the kind's name as it stands in scenarios.
func (k FaultKind) String() string {
	return [numFaults]string{"crash", "node", "slow", "reclaim", "link"}[k]
}

// Faults yields faults in order of time. There may be no end of them: they do not keep a
// run going.
type Faults interface {
	// Next returns the next fault, and false if there is none any more.
	Next() (Fault, bool)
}

// Script is a list of faults, in order of time.
type Script []Fault

// Next implements [Faults].
func (s *Script) Next() (Fault, bool) {
	if len(*s) == 0 {
		return Fault{}, false
	}
	f := (*s)[0]
	*s = (*s)[1:]
	return f, true
}

// Hazard is one kind of random fault: it strikes each of N targets at exponential
// intervals. A target that cannot be struck at the time is spared, so that the mean
// interval counts the time in which it can.
type Hazard struct {
	Kind   FaultKind
	First  int32 // number of the first target
	N      int32
	Mean   time.Duration // between two faults of one target
	For    time.Duration // mean of their lengths, exponential; 0 for good
	Factor float64
	Notice time.Duration
	Rand   *rand.Rand

	at sim.Time
}

// next draws the next fault of the hazard.
func (h *Hazard) next() Fault {
	f := Fault{At: h.at, Kind: h.Kind, Target: h.First + h.Rand.Int32N(h.N), Factor: h.Factor, Notice: h.Notice}
	if h.For > 0 {
		f.For = max(1, time.Duration(float64(h.For)*h.Rand.ExpFloat64()))
	}
	h.wait()
	return f
}

// wait moves on to the time of the next fault of any target.
func (h *Hazard) wait() {
	gap := h.Rand.ExpFloat64() * float64(h.Mean) / float64(h.N)
	h.at = h.at.Add(time.Duration(min(gap, 1e18)) + 1)
}

// Chance is several hazards together, without end.
type Chance struct {
	hazards []Hazard
}

// NewChance returns the faults of hazards, from time zero on. Each needs a stream of
// random numbers of its own.
func NewChance(hazards ...Hazard) *Chance {
	for i := range hazards {
		hazards[i].wait()
	}
	return &Chance{hazards}
}

// Next implements [Faults].
func (c *Chance) Next() (Fault, bool) {
	first := -1
	for i := range c.hazards {
		if first < 0 || c.hazards[i].at < c.hazards[first].at {
			first = i
		}
	}
	if first < 0 || c.hazards[first].at >= sim.Forever/2 {
		return Fault{}, false
	}
	return c.hazards[first].next(), true
}

// Together merges two sources of faults.
type Together struct {
	A, B   Faults
	a, b   Fault
	hasA   bool
	hasB   bool
	primed bool
}

// Next implements [Faults].
func (t *Together) Next() (Fault, bool) {
	if !t.primed {
		t.a, t.hasA = t.A.Next()
		t.b, t.hasB = t.B.Next()
		t.primed = true
	}
	switch {
	case t.hasA && (!t.hasB || t.a.At <= t.b.At):
		f := t.a
		t.a, t.hasA = t.A.Next()
		return f, true
	case t.hasB:
		f := t.b
		t.b, t.hasB = t.B.Next()
		return f, true
	}
	return Fault{}, false
}

// nextFault schedules the next fault.
func (c *Cluster) nextFault() {
	if c.cfg.Faults == nil {
		return
	}
	f, ok := c.cfg.Faults.Next()
	if !ok {
		return
	}
	c.coming = f
	c.engine.At(max(f.At, c.engine.Now()), c.strike, 0)
}

// onStrike lets a fault happen. With nothing left to serve none does, so that faults do
// not keep a run going; nor do the other events of the life of replicas.
func (c *Cluster) onStrike(now sim.Time, _ uint32) {
	if c.done() {
		return // nobody is left to mind
	}
	f := c.coming
	c.nextFault()
	if f.Kind == LinkLoss && f.For == 0 {
		f.Kind = NodeLoss // what nothing will ever reach again is lost
	}
	switch f.Kind {
	case NodeLoss:
		for i := range c.replicas {
			if r := &c.replicas[i]; r.on(f.Target) {
				c.crash(now, r, f.For)
			}
		}
	case LinkLoss:
		c.cutOff(now, &f)
	default:
		if int(f.Target) < len(c.replicas) {
			c.hit(now, &c.replicas[f.Target], &f)
		}
	}
	c.giveUp(now)
}

// cutOff takes the network away from a node.
func (c *Cluster) cutOff(now sim.Time, f *Fault) {
	if int(f.Target) >= len(c.cfg.Nodes) {
		return
	}
	c.net.lose(now, linksOfNode*f.Target+linkOut)
	c.net.lose(now, linksOfNode*f.Target+linkIn)
	c.engine.At(now.Add(f.For), c.relink, uint32(f.Target))
}

// onRelink gives a node its network back. (Of two losses that overlap the first to end
// ends both.)
func (c *Cluster) onRelink(now sim.Time, node uint32) {
	c.net.restore(now, linksOfNode*int32(node)+linkOut)
	c.net.restore(now, linksOfNode*int32(node)+linkIn)
}

// hit lets a fault of one replica happen.
func (c *Cluster) hit(now sim.Time, r *replica, f *Fault) {
	switch {
	case !r.state.Provisioned():
	case f.Kind == Crash:
		c.crash(now, r, f.For)
	case f.Kind == Slow:
		c.slow(now, r, f.Factor)
		if f.For > 0 {
			r.paceAt = now.Add(f.For)
			c.engine.At(r.paceAt, c.recover, uint32(r.index))
		}
	case f.Kind == Reclaim:
		if r.state == Up {
			c.move(now, r, Draining)
		}
		r.lostAt, r.lostFor = now.Add(f.Notice), f.For
		c.engine.At(r.lostAt, c.reclaim, uint32(r.index))
		r.rest(now)
	}
}

// onRecover ends a slow time, unless another one has begun.
func (c *Cluster) onRecover(now sim.Time, i uint32) {
	if r := &c.replicas[i]; r.paceAt == now && r.slowness != 1 && !c.done() {
		c.slow(now, r, 1)
	}
}

// onReclaim takes a spot replica away whose notice has run out. If it has come to rest
// before, it is given back and comes again likewise.
func (c *Cluster) onReclaim(now sim.Time, i uint32) {
	r := &c.replicas[i]
	if r.lostAt != now || c.done() {
		return
	}
	if r.state.Provisioned() {
		c.crash(now, r, r.lostFor)
	} else if r.state == Off && r.lostFor > 0 {
		r.upAt = now.Add(r.lostFor)
		c.move(now, r, Down)
		c.engine.At(r.upAt, c.repair, i)
	}
	c.giveUp(now)
}

// on tells whether a replica has a device on a node.
func (r *replica) on(node int32) bool {
	for _, n := range r.c.cfg.Replicas[r.index].Nodes {
		if n == node {
			return true
		}
	}
	return false
}
