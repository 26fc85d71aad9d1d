package cluster

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"orrery/policies/batch"
	"orrery/policies/route"
	"orrery/sim"
	"orrery/workloads"
)

// This file is how requests go from replicas that compute prompts to replicas that decode
// (prefill-decode disaggregation: Splitwise, Patel et al., ISCA 2024; DistServe, Zhong et
// al., OSDI 2024).
//
// A prompt that is complete has emitted its first token and keeps its KV blocks until
// they are pulled. A router picks the replica that goes on; that one takes requests in
// the order in which they came to it, each as soon as its blocks fit, reserves these, and
// pulls. When decoding falls behind, the memory of those that compute prompts fills up,
// which holds them back.

// handover is one request between two replicas.
type handover struct {
	active bool
	slot   int32 // of the sequence on from
	from   int32
	to     int32 // none while no replica has been found
	blocks int64 // reserved on to, 0 before
	flow   int32 // of the network, none before and without one
}

// front returns the number of replicas that take requests; those that only decode follow.
func (cfg *Config) front() (int32, error) {
	prefill, decode := 0, 0
	for i := range cfg.Replicas {
		switch cfg.role(i) {
		case Prefill:
			prefill++
		case Decode:
			decode++
		}
		if cfg.role(i) != Decode && decode > 0 {
			return 0, fmt.Errorf("cluster: replica %d takes requests, but comes after some that only decode; want those last", i)
		}
		if cfg.role(i) != Both && cfg.Replicas[i].Executor != nil {
			return 0, fmt.Errorf("cluster: replica %d has an executor, which does not hand over its KV cache; want it to serve both prompts and answers", i)
		}
	}
	switch {
	case (prefill > 0) != (decode > 0):
		return 0, errors.New("cluster: of replicas that compute prompts and replicas that decode one kind is missing")
	case decode > 0 && cfg.FirstToken != WithPrefill:
		return 0, errors.New("cluster: with replicas that only decode the first token comes with the prompt; want WithPrefill")
	case !(cfg.Overlap >= 0 && cfg.Overlap <= 1):
		return 0, fmt.Errorf("cluster: the share %g of KV blocks is sent during the prompt; want 0 to 1", cfg.Overlap)
	}
	if len(cfg.Nodes) > 0 && decode > 0 {
		for i := range cfg.Replicas {
			if n := cfg.Replicas[i].Nodes; len(n) == 0 || int(n[0]) >= len(cfg.Nodes) {
				return 0, fmt.Errorf("cluster: replica %d is on nodes %v, but the network has %d; want one of them first", i, n, len(cfg.Nodes))
			}
		}
	}
	return int32(len(cfg.Replicas) - decode), nil
}

// role returns the role of replica i.
func (cfg *Config) role(i int) Role {
	if g := int(cfg.Replicas[i].Group); g < len(cfg.Groups) {
		return cfg.Groups[g].Role
	}
	return Both
}

func (c *Cluster) initHandover() error {
	if c.cfg.DecodeRouter == nil {
		c.cfg.DecodeRouter = route.LeastOutstanding{}
	}
	c.hand = c.engine.On(sim.Arrive, "hand", c.onHand)
	c.flowing = map[int32]int32{}
	group := int32(-1)
	for i := range c.cfg.Replicas {
		if g := c.cfg.Replicas[i].Group; c.cfg.role(i) == Decode && g != group {
			group = g
			c.samples = append(c.samples, int32(i))
		}
	}
	return c.net.init(&c.engine, c.cfg.Nodes, c.pulled)
}

// offer keeps a sequence whose prompt is complete for a replica that decodes.
func (r *replica) offer(slot int32, now sim.Time) {
	c := r.c
	s := &r.seqs[slot]
	r.held.remove(r.seqs, slot)
	s.place = leaving
	r.leaving++
	if r.observer != nil {
		r.observer.Left(&s.Seq)
	}
	r.view.ended(now, r.index, &s.out, false)
	h := handover{active: true, slot: slot, from: r.index, to: none, flow: none}
	id := int32(-1)
	if k := len(c.freeHand); k > 0 {
		id = c.freeHand[k-1]
		c.freeHand = c.freeHand[:k-1]
		c.handovers[id] = h
	} else {
		id = int32(len(c.handovers))
		c.handovers = append(c.handovers, h)
	}
	s.hand = id
	c.unplaced = append(c.unplaced, id)
	c.handSoon(now)
}

// refuseAnswer returns why a replica that decodes could never go on with a request, or
// nothing. Any of them may be asked to; those of one group are alike.
func (c *Cluster) refuseAnswer(q *workloads.Request) string {
	for _, i := range c.samples {
		if reason := c.replicas[i].refuse(q); reason != "" {
			return reason
		}
	}
	return ""
}

// handSoon has handovers looked at when all work that ends at this instant has ended.
func (c *Cluster) handSoon(now sim.Time) {
	if !c.handing {
		c.handing = true
		c.engine.At(now, c.hand, 0)
	}
}

// onHand finds replicas for requests that have none, and lets those pull what they can.
func (c *Cluster) onHand(now sim.Time, _ uint32) {
	c.handing = false
	n := 0
	for ; n < len(c.unplaced); n++ {
		h := &c.handovers[c.unplaced[n]]
		s := &c.replicas[h.from].seqs[h.slot].out
		to := c.decoders.choose(now, &s.Request)
		if to < 0 {
			break
		}
		h.to = to
		c.decoders.sent(to, s)
		c.decoders.prefilled(now, to, s)
		d := &c.replicas[to]
		d.inbox = append(d.inbox, c.unplaced[n])
		c.look(d)
	}
	c.unplaced = c.unplaced[n:]
	c.dropHandovers(now)
	slices.Sort(c.looking)
	for _, i := range c.looking {
		c.replicas[i].looked = false
		c.replicas[i].pull(now)
	}
	c.looking = c.looking[:0]
}

// look has the inbox of a replica looked at when handovers next are. Only what comes into
// it, and memory that is freed, can let something out.
func (c *Cluster) look(r *replica) {
	if !r.looked {
		r.looked = true
		c.looking = append(c.looking, r.index)
	}
}

// pull takes in requests from the inbox as long as their blocks fit.
func (r *replica) pull(now sim.Time) {
	c := r.c
	for len(r.inbox) > 0 {
		r.catchUp(now)
		h := &c.handovers[r.inbox[0]]
		from := &c.replicas[h.from]
		s := &from.seqs[h.slot]
		need := r.mem.blocks(int64(s.Computed))
		if r.limits.Reserve == batch.ReserveMax {
			need = r.mem.blocks(int64(r.maxLen))
		}
		if r.mem.free()-need < r.reserve || r.limits.MaxSeqs > 0 && r.held.n+len(r.coming) >= r.limits.MaxSeqs {
			return
		}
		id := r.inbox[0]
		r.inbox = r.inbox[1:]
		r.coming = append(r.coming, id)
		r.mem.take(need)
		h.blocks = need
		bytes := from.mem.blocks(int64(s.Computed)) * from.kvBytes
		c.record(Record{What: Sent, At: now, Replica: h.from, N: bytes, Request: &s.out})
		c.transfer(now, id, bytes)
	}
}

// makeRoom has the inbox looked at if memory has been freed. It must not be looked at for
// any other reason: a stretch that is crossed in one jump would not be one.
func (r *replica) makeRoom(now sim.Time) {
	if r.freed && len(r.inbox) > 0 {
		r.c.look(r)
		r.c.handSoon(now)
	}
	r.freed = false
}

// transfer sends the KV blocks of a handover.
func (c *Cluster) transfer(now sim.Time, id int32, bytes int64) {
	left := bytes - int64(float64(bytes)*c.cfg.Overlap)
	h := &c.handovers[id]
	if len(c.cfg.Nodes) == 0 || bytes == 0 {
		c.receive(now, id)
		return
	}
	a, b := c.cfg.Replicas[h.from].Nodes[0], c.cfg.Replicas[h.to].Nodes[0]
	var latency time.Duration
	if a == b {
		latency = c.cfg.Nodes[a].InsideLatency
	} else {
		latency = c.cfg.Nodes[a].Latency + c.cfg.Nodes[b].Latency
	}
	h.flow = c.net.send(now, path(a, b), left, latency)
	c.flowing[h.flow] = id
}

// pulled is told by the network that a flow has arrived.
func (c *Cluster) pulled(now sim.Time, flow int32) {
	id := c.flowing[flow]
	delete(c.flowing, flow)
	c.receive(now, id)
}

// receive lets a replica go on with a request whose KV blocks it has.
func (c *Cluster) receive(now sim.Time, id int32) {
	h := c.handovers[id]
	from, to := &c.replicas[h.from], &c.replicas[h.to]
	from.catchUp(now)
	to.catchUp(now)
	s := &from.seqs[h.slot]
	slot := to.slot()
	q := &to.seqs[slot]
	epoch, names := q.epoch, q.names
	*q = sequence{out: s.out, epoch: epoch, names: names[:0], Seq: s.Seq, blocks: h.blocks}
	q.Slot, q.out.Replica, q.out.Routed = slot, h.to, now
	from.depart(h.slot)
	to.coming = slices.DeleteFunc(to.coming, func(x int32) bool { return x == id })
	c.closeHandover(id)
	to.hold(slot)
	c.record(Record{What: Received, At: now, Replica: h.to, Request: &q.out})
	g := to.idleGroup()
	to.join(slot, g, g.count)
	if to.observer != nil {
		to.observer.Admitted(&q.Seq)
	}
	from.view.report(now, from)
	to.view.report(now, to)
	from.wake(now)
	from.rest(now)
	to.wake(now)
}

// slot returns a place for a sequence.
func (r *replica) slot() int32 {
	if k := len(r.freeSlot); k > 0 {
		i := r.freeSlot[k-1]
		r.freeSlot = r.freeSlot[:k-1]
		return i
	}
	r.seqs = append(r.seqs, sequence{})
	return int32(len(r.seqs) - 1)
}

// depart frees what a sequence held that has left for another replica.
func (r *replica) depart(slot int32) {
	s := &r.seqs[slot]
	r.release(s)
	s.place, s.out.Prefix = gone, nil
	s.epoch++
	r.freeSlot = append(r.freeSlot, slot)
	r.leaving--
}

func (c *Cluster) closeHandover(id int32) {
	c.handovers[id] = handover{}
	c.freeHand = append(c.freeHand, id)
}

// catchUp brings the memory of a replica up to date that is in the middle of a stretch,
// so that it can be changed from outside: iterations that have ended take effect, and
// the one under way is the last of the stretch.
func (r *replica) catchUp(now sim.Time) {
	if r.flying != 1 || len(r.flights) > 1 || r.worker != nil {
		return
	}
	m := &r.flights[r.first]
	if len(m.steps) == 1 {
		return
	}
	r.cut(now)
	n := len(m.steps)
	last := m.steps[n-1]
	if last.end == now {
		r.complete(now)
		return
	}
	if n == 1 {
		return
	}
	for i := range n - 1 {
		r.apply(m, i)
	}
	m.it.Start = m.steps[n-2].end
	r.grow(m.group)
	m.it.Batch.DecodeContext = m.group.context
	m.it.KVUsed = r.mem.ledger.Used()
	m.steps = append(m.steps[:0], last)
}

// breakHandovers ends the handovers of a replica that has failed. What it was sending is
// lost with it; what it was about to get is still where it was, and goes elsewhere.
func (c *Cluster) breakHandovers(now sim.Time, r *replica) {
	if r.leaving == 0 && len(r.inbox)+len(r.coming) == 0 {
		return
	}
	var again []int32
	for id := range c.handovers {
		h := &c.handovers[id]
		if !h.active || h.from != r.index && h.to != r.index {
			continue
		}
		if h.flow != none {
			c.net.cancel(now, h.flow)
			delete(c.flowing, h.flow)
			h.flow = none
		}
		s := &c.replicas[h.from].seqs[h.slot]
		if h.to != none {
			c.decoders.ended(now, h.to, &s.out, false)
		}
		if h.to == r.index {
			h.to, h.blocks = none, 0 // its memory is gone with it
			again = append(again, int32(id))
			continue
		}
		c.unreserve(now, int32(id))
		r.leaving--
		c.closeHandover(int32(id))
		r.stray(now, s)
	}
	r.inbox, r.coming = nil, nil
	if len(again) > 0 {
		slices.SortFunc(again, func(a, b int32) int { return int(c.requestOf(a) - c.requestOf(b)) })
		c.unplaced = append(again, c.unplaced...)
	}
	c.handSoon(now)
}

func (c *Cluster) requestOf(id int32) int64 {
	h := &c.handovers[id]
	return c.replicas[h.from].seqs[h.slot].out.ID
}

// unreserve takes a handover out of wherever it waits.
func (c *Cluster) unreserve(now sim.Time, id int32) {
	h := &c.handovers[id]
	is := func(x int32) bool { return x == id }
	if h.to == none {
		c.unplaced = slices.DeleteFunc(c.unplaced, is)
		return
	}
	to := &c.replicas[h.to]
	to.inbox, to.coming = slices.DeleteFunc(to.inbox, is), slices.DeleteFunc(to.coming, is)
	if h.blocks > 0 {
		to.catchUp(now)
		to.mem.give(h.blocks)
		to.view.report(now, to)
	}
	c.look(to)
	to.rest(now)
}

// abandonHandovers records what the end of the run leaves between replicas.
func (c *Cluster) abandonHandovers(now sim.Time) (some bool) {
	for id := range c.handovers {
		h := &c.handovers[id]
		if !h.active {
			continue
		}
		some = true
		c.out.Unfinished++
		c.record(Record{What: Unfinished, At: now, Replica: h.from, Request: &c.replicas[h.from].seqs[h.slot].out})
	}
	return some
}

// dropHandovers lets requests fail whose answers no replica will ever go on with.
func (c *Cluster) dropHandovers(now sim.Time) {
	if len(c.unplaced) == 0 || !c.hopeless(c.decoders.first, int32(len(c.replicas))) {
		return
	}
	for _, id := range slices.Clone(c.unplaced) {
		h := c.handovers[id]
		from := &c.replicas[h.from]
		from.catchUp(now)
		s := &from.seqs[h.slot]
		from.release(s)
		from.leaving--
		c.closeHandover(id)
		from.stray(now, s)
		from.wake(now)
		from.rest(now)
	}
	c.unplaced = c.unplaced[:0]
	for i := range c.strays {
		c.fail(now, &c.strays[i], "no replica that decodes is left")
	}
	clear(c.strays)
	c.strays = c.strays[:0]
}
