package cluster

import (
	"orrery/policies/batch"
	"orrery/sim"
)

// plan is the [batch.Plan] of a replica.
type plan struct {
	r         *replica
	m         *microBatch
	number    uint64 // of the plan; marks the sequences it includes
	preempted int
	swapBytes int64 // moved since the last iteration began
	steady    bool

	scratch             []int32 // these are reused from plan to plan
	prefilling, running []*batch.Seq
	queue               []*batch.Seq
}

var _ batch.Plan = (*plan)(nil)

func (p *plan) begin(now sim.Time, m *microBatch) {
	stages := m.it.Stages
	m.it = Iteration{Start: now, Stages: stages}
	m.chunks = m.chunks[:0]
	m.group = nil
	p.m = m
	p.number++
	p.preempted = 0
	p.steady = false
}

// end closes a plan that computes something.
func (p *plan) end() {
	m, r := p.m, p.r
	if g := m.group; g != nil {
		g.inFlight = true
		m.it.Batch.Decodes = g.n
		m.it.Batch.DecodeContext = g.context
		m.it.Batch.Logits += g.n
	}
	m.it.Batch.SwapBytes, p.swapBytes = p.swapBytes, 0
	m.it.Running = int32(r.held.n)
	m.it.Waiting = int32(r.queue.n + r.parked() + r.swapped.n)
	m.it.KVUsed = r.mem.ledger.Used()
}

func (p *plan) Now() sim.Time     { return p.m.it.Start }
func (p *plan) Tokens() int       { return p.m.it.Batch.Tokens() }
func (p *plan) Held() int         { return p.r.held.n + len(p.r.coming) } // those on their way have their places
func (p *plan) Waiting() int      { return p.r.queue.n }
func (p *plan) FreeBlocks() int64 { return p.r.mem.free() }
func (p *plan) Steady()           { p.steady = true }

func (p *plan) Blocks(n int) int64 { return p.r.mem.blocks(int64(n)) }

func (p *plan) addChunk(slot int32, n int) {
	s := &p.r.seqs[slot]
	p.m.it.Batch.AddChunk(n, int64(s.Computed))
	from := s.Computed
	s.Computed += int32(n)
	last := s.Computed == s.Seq.Prompt
	if last {
		p.m.it.Batch.Logits++
	}
	s.flights++
	s.planned = p.number
	p.m.chunks = append(p.m.chunks, plannedChunk{slot, from, s.Computed, last})
}

// idle tells whether a sequence can be part of this plan.
func (p *plan) idle(s *sequence) bool {
	if s.planned == p.number {
		return false
	}
	switch s.place {
	case decoding:
		return !s.group.inFlight && s.group != p.m.group
	case prefilling:
		return s.flights == 0 || p.r.limits.Pipelined && s.Left() > 0
	}
	return false
}

func (p *plan) Decodes() int {
	n := 0
	for _, g := range p.r.groups {
		if !g.inFlight && g != p.m.group {
			n += g.n
		}
	}
	return n
}

func (p *plan) DecodeAll() int {
	r := p.r
	if p.m.group != nil {
		return p.decodeOthers()
	}
	g := p.mergeIdle()
	if g == nil {
		return 0
	}
	if wanted := r.wanted(g, g.count); !r.short(wanted, r.mem.free()) {
		r.grow(g)
		p.planGroup(g)
		return 0
	}
	return p.decodeInOrder(g)
}

// decodeOthers is DecodeAll after some sequences were planned one by one.
func (p *plan) decodeOthers() int {
	before := p.preempted
	for _, s := range p.Running() {
		for p.r.seqs[s.Slot].place == decoding && !p.Decode(s) {
			y := p.Victim(s)
			if y == nil {
				return p.preempted - before
			}
			p.Preempt(y)
		}
	}
	return p.preempted - before
}

func (p *plan) planGroup(g *group) {
	p.m.group = g
	// Decodes and their context are final only in end; Tokens needs the number now.
	p.m.it.Batch.Decodes = g.n
}

// mergeIdle makes one group of all idle ones and returns it, nil if there is none.
func (p *plan) mergeIdle() *group {
	r := p.r
	var g *group
	for _, h := range r.groups {
		if !h.inFlight && h != p.m.group && (g == nil || h.n > g.n) {
			g = h
		}
	}
	if g == nil || g.n == 0 {
		return nil
	}
	for _, h := range r.groups {
		if h == g || h.inFlight || h == p.m.group || h.n == 0 {
			continue
		}
		p.scratch = p.scratch[:0]
		for _, e := range h.finish {
			if r.seqs[e.slot].epoch == e.epoch {
				p.scratch = append(p.scratch, e.slot)
			}
		}
		for _, slot := range p.scratch {
			r.leave(&r.seqs[slot])
			r.join(slot, g, g.count)
		}
	}
	return g
}

// decodeInOrder is DecodeAll when memory is short: every sequence in turn, oldest
// first, takes what it needs or pre-empts the youngest.
func (p *plan) decodeInOrder(g *group) int {
	r := p.r
	paged := r.limits.Reserve != batch.ReserveMax
	before := p.preempted
	for slot := r.held.head; slot != none; {
		s := &r.seqs[slot]
		if s.place != decoding || s.group != g {
			slot = s.next
			continue
		}
		r.sync(s)
		need := int64(0)
		if paged && int64(s.Computed)%r.mem.block == 0 {
			need = 1
		}
		for !r.canAppend(need) && s.place == decoding {
			y := p.Victim(&s.Seq)
			if y == nil {
				break
			}
			p.Preempt(y)
		}
		if s.place != decoding {
			break // everyone younger has been pre-empted before it
		}
		if !r.canAppend(need) {
			// Somebody younger is in flight and will make room; wait for it.
			r.leave(s)
			h := r.newGroup()
			r.join(slot, h, h.count)
			break
		}
		s.planned = p.number
		r.mem.take(need)
		slot = s.next
	}
	if g.n > 0 {
		g.count++
		g.context += int64(g.n)
		p.planGroup(g)
	}
	return p.preempted - before
}

func (p *plan) Decode(q *batch.Seq) bool {
	r := p.r
	s := &r.seqs[q.Slot]
	if s.place != decoding || !p.idle(s) {
		return false
	}
	r.sync(s)
	if !p.canGrow(s) {
		return false
	}
	r.leave(s)
	p.decodeAlone(q.Slot)
	return true
}

func (p *plan) canGrow(s *sequence) bool {
	need := int64(0)
	if p.r.limits.Reserve != batch.ReserveMax && int64(s.Computed)%p.r.mem.block == 0 {
		need = 1
	}
	return p.r.canAppend(need)
}

// decodeAlone adds one sequence that is in no group to the plan's decodes.
func (p *plan) decodeAlone(slot int32) {
	r := p.r
	g := p.m.group
	if g == nil {
		g = r.newGroup()
		g.count = 1
		p.m.group = g
	}
	// It joins as of the iteration before this one, and then takes part in it.
	s := &r.seqs[slot]
	if r.limits.Reserve != batch.ReserveMax && int64(s.Computed)%r.mem.block == 0 {
		r.mem.take(1)
	}
	r.join(slot, g, g.count-1)
	g.context++
	s.planned = p.number
	p.m.it.Batch.Decodes = g.n
}

func (p *plan) Prefilling() []*batch.Seq {
	p.prefilling = p.prefilling[:0]
	for _, slot := range p.r.partials {
		if s := &p.r.seqs[slot]; s.Left() > 0 && p.idle(s) {
			p.prefilling = append(p.prefilling, &s.Seq)
		}
	}
	return p.prefilling
}

func (p *plan) Running() []*batch.Seq {
	r := p.r
	p.running = p.running[:0]
	for slot := r.held.head; slot != none; slot = r.seqs[slot].next {
		if s := &r.seqs[slot]; p.idle(s) {
			r.sync(s)
			p.running = append(p.running, &s.Seq)
		}
	}
	return p.running
}

func (p *plan) Chunk(q *batch.Seq, n int) bool {
	r := p.r
	s := &r.seqs[q.Slot]
	n = min(n, s.Left())
	if n < 1 || s.place != prefilling || !p.idle(s) {
		return false
	}
	if r.limits.Reserve == batch.ReserveChunk {
		need := r.mem.blocks(int64(s.Computed)+int64(n)) - s.blocks - s.shared
		if need > r.mem.free() {
			return false
		}
		r.mem.take(need)
		s.blocks += need
	}
	p.addChunk(q.Slot, n)
	return true
}
