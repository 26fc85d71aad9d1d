package cluster

import (
	"slices"

	"orrery/policies/batch"
	"orrery/sim"
)

// This file is what happens to sequences when iterations end: tokens appear,
// sequences join and leave groups, requests finish and their memory is freed.

// apply takes the effects of the i-th iteration of m, up to its last token.
func (r *replica) apply(m *microBatch, i int) {
	st := &m.steps[i]
	it := &m.it
	if i > 0 {
		it.Start = m.steps[i-1].end
		r.grow(m.group)
		it.Batch.DecodeContext = m.group.context
		it.KVUsed = r.mem.ledger.Used()
	}
	if len(r.flights) == 1 {
		it.Host = st.host
		it.Stages = append(it.Stages[:0], Span{st.device, st.done})
	}
	it.End = st.end
	it.Number = r.iteration
	r.iteration++
	r.c.record(Record{What: Iterated, At: st.end, Replica: r.index, Iteration: it})
	if m.group != nil {
		r.emit(m.group, st.end)
	}
}

// emit gives every member of g its next token.
func (r *replica) emit(g *group, now sim.Time) {
	late := r.c.cfg.LateGap
	if n := g.n - len(g.joiners); n > 0 {
		gap := now.Sub(g.last)
		if late > 0 && gap > late {
			g.late++
		}
		r.c.record(Record{What: Emitted, At: now, Replica: r.index, N: int64(n), Gap: gap})
	}
	g.last = now
	g.emitted = g.count
	for _, slot := range g.joiners {
		s := &r.seqs[slot]
		s.own = false
		s.lateBase = g.late
		gap := now.Sub(s.out.Last)
		if r.c.cfg.FirstToken == WithDecode && s.out.Emitted == 0 {
			gap = 0 // the first token: its gap is not measured
		}
		if late > 0 && gap > late {
			s.out.LateGaps++
		}
		r.c.record(Record{What: Emitted, At: now, Replica: r.index, N: 1, Gap: gap})
	}
	g.joiners = g.joiners[:0]
}

// land ends m: members of its group that have emitted everything finish, and
// prompts that are complete begin to decode.
func (r *replica) land(m *microBatch, now sim.Time) {
	r.c.out.End = now
	g := m.group
	if g != nil {
		g.inFlight = false
		for len(g.finish) > 0 && r.nextFinish(g) == g.count {
			slot := g.finish[0].slot
			r.leave(&r.seqs[slot])
			r.retire(slot, now)
		}
	}
	for _, c := range m.chunks {
		s := &r.seqs[c.slot]
		s.flights--
		r.publish(s, int64(c.upTo))
		if c.last {
			g = r.prompted(c.slot, g, now)
		}
	}
	m.group = nil
	r.tidyGroups()
	r.view.report(now, r)
}

// prompted moves a sequence whose prompt is complete on to decoding, in group g if
// there is one, and returns the group it joined, or g.
func (r *replica) prompted(slot int32, g *group, now sim.Time) *group {
	s := &r.seqs[slot]
	r.removePartial(slot)
	if s.out.First == Never {
		s.out.First = now
		if r.c.cfg.FirstToken == WithPrefill {
			s.Generated, s.out.Emitted, s.out.Last = 1, 1, now
		} else {
			s.out.Last = now
		}
		r.c.record(Record{What: FirstToken, At: now, Replica: r.index, Request: &s.out})
		r.view.prefilled(now, r.index, &s.out)
		r.c.gate.prefilled(now, &s.out, r.index)
	} else if r.c.cfg.FirstToken == WithPrefill {
		// Back from a recomputation: its last chunk emits the next token.
		gap := now.Sub(s.out.Last)
		if late := r.c.cfg.LateGap; late > 0 && gap > late {
			s.out.LateGaps++
		}
		s.Generated++
		s.out.Emitted++
		s.out.Last = now
		r.c.record(Record{What: Emitted, At: now, Replica: r.index, N: 1, Gap: gap})
	}
	if s.out.Emitted == s.out.Output {
		r.retire(slot, now)
		return g
	}
	if r.role == Prefill {
		r.offer(slot, now)
		return g
	}
	if g == nil {
		g = r.idleGroup()
	}
	r.join(slot, g, g.count)
	return g
}

// join makes a sequence a member of g as of the given count.
func (r *replica) join(slot int32, g *group, count int64) {
	s := &r.seqs[slot]
	s.place = decoding
	s.group = g
	s.joined = count
	s.own = true
	s.lateBase = g.late
	g.n++
	g.context += int64(s.Computed)
	g.needs[g.phase(int64(s.Computed), count)]++
	g.joiners = append(g.joiners, slot)
	g.pushFinish(finishAt{at: count + int64(s.out.Output-s.out.Emitted), id: s.ID, slot: slot, epoch: s.epoch})
}

// leave takes a sequence out of its group, with everything about it up to date.
func (r *replica) leave(s *sequence) {
	r.sync(s)
	g := s.group
	g.n--
	g.context -= int64(s.Computed)
	g.needs[g.phase(int64(s.Computed), g.count)]--
	if s.own {
		i := slices.Index(g.joiners, s.Slot)
		g.joiners = slices.Delete(g.joiners, i, i+1)
	} else {
		s.out.Last = g.last
	}
	s.own = false
	s.group = nil
	s.epoch++
}

// sync brings the fields of a member of a group up to date.
func (r *replica) sync(s *sequence) {
	g := s.group
	if g == nil {
		return
	}
	k := int32(g.count - s.joined)
	s.joined = g.count
	s.Computed += k
	s.Generated += k
	s.out.Emitted += k
	if !s.own {
		s.out.LateGaps += int32(g.late - s.lateBase)
		s.lateBase = g.late
		s.out.Last = g.last
	}
	if r.limits.Reserve != batch.ReserveMax {
		s.blocks = r.mem.blocks(int64(s.Computed)) - s.shared
	}
}

// nextFinish returns the count of g at which its next member finishes.
func (r *replica) nextFinish(g *group) int64 {
	for len(g.finish) > 0 {
		top := &g.finish[0]
		if r.seqs[top.slot].epoch == top.epoch {
			return top.at
		}
		g.popFinish()
	}
	return -1
}

// wanted returns how many blocks members of g take in the iteration that follows
// count iterations.
func (r *replica) wanted(g *group, count int64) int64 {
	if r.limits.Reserve == batch.ReserveMax {
		return 0
	}
	return g.wanted(count)
}

// canAppend tells whether one sequence can decode if that takes need blocks.
func (r *replica) canAppend(need int64) bool {
	free := r.mem.free()
	return free >= need && (free > 0 || !r.limits.StrictAppend)
}

// short tells whether an iteration that takes the wanted blocks could run out of
// free ones for one of its sequences. Whether it does depends on their order.
func (r *replica) short(wanted, free int64) bool {
	return wanted > free || r.limits.StrictAppend && wanted == free
}

// grow plans one more token for every member of g. Memory must suffice.
func (r *replica) grow(g *group) {
	if n := r.wanted(g, g.count); n > 0 {
		r.mem.take(n)
	}
	g.count++
	g.context += int64(g.n)
}

// retire ends a request that has emitted everything.
func (r *replica) retire(slot int32, now sim.Time) {
	s := &r.seqs[slot]
	s.out.Last = now
	r.publish(s, int64(s.Computed))
	r.release(s)
	r.held.remove(r.seqs, slot)
	s.place = gone
	s.epoch++
	r.letGo(s, false)
	if r.observer != nil {
		r.observer.Left(&s.Seq)
	}
	r.c.finished(&s.out, now)
	s.out.Prefix = nil
	r.freeSlot = append(r.freeSlot, slot)
}

// release gives back all KV memory of a sequence. Parts of the prefix cache go
// last part first, so that the beginning of a prompt is evicted last.
func (r *replica) release(s *sequence) {
	r.mem.give(s.blocks)
	r.freed = true
	s.blocks = 0
	for i := len(s.names) - 1; i >= 0; i-- {
		r.mem.drop(s.names[i])
	}
	s.names = s.names[:0]
	s.shared, s.checked = 0, 0
	if r.worker != nil {
		r.worker.freed = append(r.worker.freed, s.Slot)
	}
}

// publish offers the parts of a sequence's prefix that its first n tokens complete
// to the prefix cache.
func (r *replica) publish(s *sequence, n int64) {
	if !r.shares(s) {
		return
	}
	size := int64(s.out.PrefixBlock)
	for s.checked < len(s.out.Prefix) && int64(s.checked+1)*size <= n {
		name := s.out.Prefix[s.checked]
		if blocks := size / r.mem.block; r.mem.publish(name, blocks) {
			s.names = append(s.names, name)
			s.blocks -= blocks
			s.shared += blocks
		}
		s.checked++
	}
}

func (r *replica) removePartial(slot int32) {
	for i, p := range r.partials {
		if p == slot {
			r.partials = append(r.partials[:i], r.partials[i+1:]...)
			return
		}
	}
}

// idleGroup returns a group that is not in flight, a new one if need be.
func (r *replica) idleGroup() *group {
	for _, g := range r.groups {
		if !g.inFlight {
			return g
		}
	}
	return r.newGroup()
}

func (r *replica) newGroup() *group {
	var g *group
	if k := len(r.spare); k > 0 {
		g = r.spare[k-1]
		r.spare = r.spare[:k-1]
	} else {
		g = &group{needs: make([]int32, r.mem.block)}
	}
	r.groups = append(r.groups, g)
	return g
}

// tidyGroups puts empty groups aside.
func (r *replica) tidyGroups() {
	kept := r.groups[:0]
	for _, g := range r.groups {
		if g.n > 0 || g.inFlight {
			kept = append(kept, g)
		} else {
			g.reset()
			r.spare = append(r.spare, g)
		}
	}
	r.groups = kept
}
