package cluster

import "orrery/policies/batch"

// This file is how sequences lose their memory and get it back.

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
	r.letGo(s, true)
	if r.observer != nil {
		r.observer.Queued(&s.Seq)
	}
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
