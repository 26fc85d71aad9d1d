package cluster

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"

	"orrery/policies/admit"
	"orrery/sim"
)

// gate is where texts are taken in, held for a while or refused. What it holds is asked
// about again at a time that the policy names; what it has let in comes back only as news
// for the policy.
type gate struct {
	policy  admit.Policy
	watcher admit.Watcher // the policy, if it wants to know what becomes of requests
	held    heldHeap
	opens   sim.Time // when an event is due for the first of them, Never for none
	open    sim.Action
	request admit.Request // reused
}

func (c *Cluster) initGate() {
	c.gate = gate{policy: c.cfg.Admit, opens: Never}
	c.gate.watcher, _ = c.cfg.Admit.(admit.Watcher)
	c.gate.open = c.engine.On(sim.Arrive, "open", c.onOpen)
}

// enter asks the policy about a text that has arrived, or has been held. It reports
// whether the text may go on to the router.
func (c *Cluster) enter(now sim.Time, s *Served, held bool) bool {
	g := &c.gate
	if g.policy == nil {
		return true
	}
	g.request = admit.Request{Request: &s.Request, Held: held}
	g.request.Priority, g.request.Deadline = c.urgency(s)
	v := g.policy.Admit(now, &g.request, c.view.seen)
	switch {
	case v.Reject != "":
		c.out.End = max(c.out.End, now)
		c.reject(now, s, v.Reject)
		return false
	case v.Until <= now:
		return true
	case v.Until == sim.Forever:
		c.fault = fmt.Errorf("cluster: the admission policy holds request %d for ever; want a time, or a rejection", s.ID)
		c.engine.Stop()
		return false
	}
	heap.Push(&g.held, holding{v.Until, *s})
	if g.opens == Never || v.Until < g.opens {
		g.opens = v.Until
		c.engine.At(v.Until, g.open, 0)
	}
	return false
}

// onOpen asks again about the texts whose time has come, in the order of the queue.
func (c *Cluster) onOpen(now sim.Time, _ uint32) {
	g := &c.gate
	if g.opens != now {
		return // an earlier time was named after this one
	}
	g.opens = Never
	for len(g.held) > 0 && g.held[0].until <= now {
		h := heap.Pop(&g.held).(holding)
		if c.enter(now, &h.served, true) {
			c.take(now, &h.served)
		}
	}
	if len(g.held) > 0 && g.opens == Never {
		g.opens = g.held[0].until
		c.engine.At(g.opens, g.open, 0)
	}
}

// take gives a text to a replica, or to those that the router keeps at the gateway.
func (c *Cluster) take(now sim.Time, s *Served) {
	if len(c.gateway) > 0 || !c.route(now, s) {
		i := len(c.gateway)
		for c.cfg.Order != nil && i > 0 && s.before(&c.gateway[i-1]) {
			i--
		}
		c.gateway = slices.Insert(c.gateway, i, *s)
		c.giveUp(now)
	}
}

// rank gives a text that has arrived its place in the order of those at the gateway.
func (c *Cluster) rank(s *Served) {
	if c.cfg.Order != nil {
		q := c.seq(s)
		s.key = c.cfg.Order.Key(&q)
	}
}

// before tells whether a request goes before another at the gateway.
func (s *Served) before(t *Served) bool {
	if c := s.key.Compare(t.key); c != 0 {
		return c < 0
	}
	return s.ID < t.ID
}

// sortGateway puts requests that are back at the gateway in their places.
func (c *Cluster) sortGateway() {
	if c.cfg.Order == nil {
		return
	}
	slices.SortFunc(c.gateway, func(a, b Served) int {
		return cmp.Or(a.key.Compare(b.key), cmp.Compare(a.ID, b.ID))
	})
}

// urgency returns the priority of a text, and when its first token should be there.
func (c *Cluster) urgency(s *Served) (priority int32, deadline sim.Time) {
	deadline = sim.Forever
	if t := int(s.Tier); t < len(c.cfg.Tiers) {
		tier := &c.cfg.Tiers[t]
		priority = tier.Priority
		if tier.Deadline > 0 {
			deadline = s.Arrived.Add(tier.Deadline)
		}
	}
	return priority, deadline
}

// The methods below pass on to the policy what becomes of the texts that it let in.

func (g *gate) routed(now sim.Time, s *Served, replica int32) {
	if g.watcher != nil {
		g.watcher.Routed(now, &s.Request, int(replica))
	}
}

func (g *gate) prefilled(now sim.Time, s *Served, replica int32) {
	if g.watcher != nil {
		g.watcher.Prefilled(now, &s.Request, int(replica), s.Routed)
	}
}

func (g *gate) lost(now sim.Time, s *Served, replica int32) {
	if g.watcher != nil {
		g.watcher.Lost(now, &s.Request, int(replica))
	}
}

func (g *gate) ended(now sim.Time, s *Served) {
	if g.watcher != nil {
		g.watcher.Ended(now, &s.Request, int(s.Replica), s.Emitted)
	}
}

// holding is a text held until a time.
type holding struct {
	until  sim.Time
	served Served
}

// heldHeap has the texts whose time comes first at the front, then those that go first.
type heldHeap []holding

func (h heldHeap) Len() int      { return len(h) }
func (h heldHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h heldHeap) Less(i, j int) bool {
	if h[i].until != h[j].until {
		return h[i].until < h[j].until
	}
	return h[i].served.before(&h[j].served)
}

// Push implements [heap.Interface].
func (h *heldHeap) Push(x any) { *h = append(*h, x.(holding)) }

// Pop implements [heap.Interface].
func (h *heldHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = holding{} // lets go of its prefix
	*h = (*h)[:last]
	return x
}
