package cluster

import "orrery/policies/batch"

// This file is how requests get from the queue to a place among those held.

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
