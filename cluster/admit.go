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

// reservation is what admitting a sequence with a first chunk takes.
type reservation struct {
	tokens int32 // found in the prefix cache
	parts  int   // that hold them
	own    int64 // blocks that the sequence takes for itself
	need   int64 // free blocks needed in all: own and those that its parts bring back into use
}

// reservation returns what admitting s with a first chunk of n tokens takes.
func (r *replica) reservation(s *sequence, n int) reservation {
	tokens, parts, inUse := r.hit(s)
	var total int64
	switch r.limits.Reserve {
	case batch.ReserveMax:
		total = r.mem.blocks(int64(r.maxLen))
	case batch.ReserveChunk:
		total = r.mem.blocks(min(int64(tokens)+int64(n), int64(s.Seq.Prompt)))
	default:
		total = r.mem.blocks(int64(s.Seq.Prompt))
	}
	return reservation{tokens, parts, total - int64(tokens)/r.mem.block, total - inUse}
}

// fits tells whether a reservation leaves the watermark free.
func (r *replica) fits(v reservation) bool { return r.mem.free()-v.need >= r.reserve }

func (p *plan) CanAdmit(n int) bool {
	r := p.r
	return r.queue.n > 0 && r.fits(r.reservation(&r.seqs[r.queue.head], n))
}

func (p *plan) Admit(n int) bool {
	r := p.r
	if n < 1 || r.queue.n == 0 {
		return false
	}
	slot := r.queue.head
	s := &r.seqs[slot]
	v := r.reservation(s, n)
	if !r.fits(v) {
		return false
	}
	r.queue.remove(r.seqs, slot)
	r.hold(slot)
	if r.observer != nil {
		r.observer.Admitted(&s.Seq)
	}
	r.admitted(s)
	r.partials = append(r.partials, slot)
	loaded := r.mem.hold(s.out.Prefix[:v.parts])
	s.names = append(s.names, s.out.Prefix[:v.parts]...)
	s.out.Loaded += int32(loaded * r.mem.block)
	p.swapBytes += loaded * r.kvBytes
	s.checked = v.parts
	s.shared = int64(v.tokens) / r.mem.block
	r.mem.take(v.own)
	s.blocks = v.own
	s.place = prefilling
	s.Computed = v.tokens
	if s.out.Scheduled == Never {
		s.out.Scheduled = p.m.it.Start
		s.out.Cached = v.tokens
		r.c.record(Record{What: Scheduled, At: p.m.it.Start, Replica: r.index, Request: &s.out})
	} else {
		// What was never computed here before it was found is not work saved again.
		again := min(v.tokens, s.lost)
		s.out.Recomputed -= again
		s.out.Cached += v.tokens - again
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
