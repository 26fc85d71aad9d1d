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
	m.it.Waiting = int32(r.queue.n + r.swapped.n)
	m.it.KVUsed = r.mem.ledger.Used()
}

func (p *plan) Now() sim.Time     { return p.m.it.Start }
func (p *plan) Tokens() int       { return p.m.it.Batch.Tokens() }
func (p *plan) Held() int         { return p.r.held.n }
func (p *plan) Waiting() int      { return p.r.queue.n }
func (p *plan) FreeBlocks() int64 { return p.r.mem.free() }
func (p *plan) Steady()           { p.steady = true }

func (p *plan) Blocks(n int) int64 { return p.r.mem.blocks(int64(n)) }

func (p *plan) Head() *batch.Seq {
	r := p.r
	if r.queue.n == 0 {
		return nil
	}
	s := &r.seqs[r.queue.head]
	if r.mem.enabled {
		s.Computed, _, _ = r.hit(s)
	}
	return &s.Seq
}

func (p *plan) Queue() []*batch.Seq {
	r := p.r
	p.queue = p.queue[:0]
	for slot := r.queue.head; slot != none; slot = r.seqs[slot].next {
		p.queue = append(p.queue, &r.seqs[slot].Seq)
	}
	return p.queue
}

func (p *plan) Front(s *batch.Seq) {
	r := p.r
	if r.seqs[s.Slot].place != inQueue {
		panic("cluster: a policy moves a sequence that does not wait")
	}
	r.queue.remove(r.seqs, s.Slot)
	r.queue.pushFront(r.seqs, s.Slot)
}

// shares tells whether the parts of a prompt can be cached: whole blocks only.
func (r *replica) shares(s *sequence) bool {
	size := int64(s.out.PrefixBlock)
	return r.mem.enabled && size > 0 && size%r.mem.block == 0
}

// hit returns what the prefix cache holds for the prompt of s: tokens, parts, and
// how many of their blocks are in use already.
func (r *replica) hit(s *sequence) (tokens int32, parts int, inUse int64) {
	if !r.shares(s) {
		return 0, 0, 0
	}
	return r.mem.hit(s.out.Prefix, s.out.PrefixBlock, s.Seq.Prompt)
}

// reservation returns the blocks that admitting s with a first chunk of n tokens
// takes for itself, and how many free blocks it needs in all.
func (r *replica) reservation(s *sequence, n int64) (own, need int64) {
	tokens, _, inUse := r.hit(s)
	var total int64
	switch r.limits.Reserve {
	case batch.ReserveMax:
		total = r.mem.blocks(int64(r.maxLen))
	case batch.ReserveChunk:
		total = r.mem.blocks(min(int64(tokens)+n, int64(s.Seq.Prompt)))
	default:
		total = r.mem.blocks(int64(s.Seq.Prompt))
	}
	own = total - int64(tokens)/r.mem.block
	return own, total - inUse
}

func (p *plan) CanAdmit(n int) bool {
	r := p.r
	if r.queue.n == 0 {
		return false
	}
	_, need := r.reservation(&r.seqs[r.queue.head], int64(n))
	return r.mem.free()-need >= r.reserve
}

func (p *plan) Admit(n int) bool {
	r := p.r
	if n < 1 || !p.CanAdmit(n) {
		return false
	}
	slot := r.queue.head
	s := &r.seqs[slot]
	own, _ := r.reservation(s, int64(n))
	tokens, parts, _ := r.hit(s)
	r.queue.remove(r.seqs, slot)
	r.hold(slot)
	r.partials = append(r.partials, slot)
	for _, name := range s.out.Prefix[:parts] {
		r.mem.hold(name)
		s.names = append(s.names, name)
	}
	s.checked = parts
	s.shared = int64(tokens) / r.mem.block
	r.mem.take(own)
	s.blocks = own
	s.place = prefilling
	s.Computed = tokens
	if s.out.Scheduled == Never {
		s.out.Scheduled = p.m.it.Start
		s.out.Cached = tokens
		r.c.record(Record{What: Scheduled, At: p.m.it.Start, Replica: r.index, Request: &s.out})
	} else {
		// What was never computed here before it was found is not work saved again.
		again := min(tokens, s.lost)
		s.out.Recomputed -= again
		s.out.Cached += tokens - again
	}
	p.addChunk(slot, min(n, s.Left()))
	return true
}

// hold puts a sequence among those held, which are sorted by age. New ones are
// nearly always the youngest.
func (r *replica) hold(slot int32) {
	after := r.held.tail
	for after != none && r.seqs[after].ID > r.seqs[slot].ID {
		after = r.seqs[after].prev
	}
	r.held.insert(r.seqs, slot, after)
}

func (p *plan) addChunk(slot int32, n int) {
	s := &p.r.seqs[slot]
	p.m.it.Batch.AddChunk(n, int64(s.Computed))
	s.Computed += int32(n)
	last := s.Computed == s.Seq.Prompt
	if last {
		p.m.it.Batch.Logits++
	}
	s.flights++
	s.planned = p.number
	p.m.chunks = append(p.m.chunks, plannedChunk{slot, s.Computed, last})
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

func (p *plan) Victim(q *batch.Seq) *batch.Seq {
	r := p.r
	for slot := r.held.tail; slot != none; slot = r.seqs[slot].prev {
		s := &r.seqs[slot]
		if s.flights == 0 && p.idle(s) && (slot != q.Slot || slot == r.held.tail) {
			r.sync(s)
			return &s.Seq
		}
		if slot == q.Slot {
			break
		}
	}
	return nil
}

func (p *plan) Preempt(q *batch.Seq) {
	r := p.r
	slot := q.Slot
	s := &r.seqs[slot]
	if !p.idle(s) || s.flights > 0 {
		panic("cluster: a policy pre-empts a sequence that is planned, in flight or not admitted")
	}
	if s.place == decoding {
		r.leave(s)
	} else {
		r.removePartial(slot)
	}
	p.preempted++
	s.Restarts++
	s.out.Preemptions++
	tokens := int64(s.Computed)
	r.held.remove(r.seqs, slot)
	if blocks := s.blocks + s.shared; s.place == decoding && r.limits.Swap && blocks <= r.host.Free() {
		r.host.Take(blocks)
		r.release(s)
		s.place = swapped
		r.swapped.pushBack(r.seqs, slot)
		p.swapBytes += blocks * r.kvBytes
		r.c.record(Record{What: Preempted, Swap: true, At: p.m.it.Start, Replica: r.index, N: tokens, Request: &s.out})
		return
	}
	r.release(s)
	s.out.Recomputed += int32(tokens)
	s.lost = int32(tokens)
	s.Seq.Prompt = s.out.Request.Prompt + s.Generated
	s.Computed = 0
	s.place = inQueue
	r.queue.pushFront(r.seqs, slot)
	r.c.record(Record{What: Preempted, At: p.m.it.Start, Replica: r.index, N: tokens, Request: &s.out})
}

func (p *plan) Swapped() *batch.Seq {
	if p.r.swapped.n == 0 {
		return nil
	}
	return &p.r.seqs[p.r.swapped.head].Seq
}

func (p *plan) SwapIn() bool {
	r := p.r
	if r.swapped.n == 0 {
		return false
	}
	slot := r.swapped.head
	s := &r.seqs[slot]
	stored := r.mem.blocks(int64(s.Computed))
	if r.limits.Reserve == batch.ReserveMax {
		stored = r.mem.blocks(int64(r.maxLen))
	}
	// With the block that its next token may need, so that it can decode at once.
	need := max(stored, r.mem.blocks(int64(s.Computed)+1))
	if r.mem.free()-need < r.reserve {
		return false
	}
	r.swapped.remove(r.seqs, slot)
	r.host.Give(stored)
	r.mem.take(stored)
	s.blocks = stored
	r.hold(slot)
	p.swapBytes += stored * r.kvBytes
	p.decodeAlone(slot)
	return true
}
