package cluster

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"orrery/sim"
)

// This file is how replicas serve LoRA adapters (Sheng et al., S-LoRA, MLSys 2024; vLLM): a
// request whose adapter is not in memory waits beside the queue until it has been loaded
// over the host link, one load after the other, while others go on.

// Adapters says how a replica serves LoRA adapters. The memory that they take is not part
// of ReplicaConfig.Blocks.
type Adapters struct {
	Max int // that memory holds, 0 if the replica serves none
	// Batch is the number of different ones among the requests that are admitted at a time,
	// 0 for Max.
	Batch int
	Load  time.Duration // of one
}

func (a *Adapters) check(role Role) error {
	switch {
	case a.Max < 0 || a.Batch < 0 || a.Batch > a.Max || a.Load < 0:
		return fmt.Errorf("%d adapters in memory, %d in a batch, %v to load one; want at least 0, and no more in a batch than in memory", a.Max, a.Batch, a.Load)
	case a.Max > 0 && role != Both:
		return errors.New("adapters are not handed over with the KV cache; want them on replicas that serve both prompts and answers")
	}
	return nil
}

// lora is the state of a replica's adapters.
type lora struct {
	max, batch int
	load       time.Duration
	known      map[int32]*adapter // in memory or on their way, by number
	slots      []*adapter         // the same, in the order in which they came
	parked     []int32            // slots of requests that wait for an adapter, oldest first
	active     int                // adapters of requests that are held
	link       sim.Time           // when the host link is free
	clock      int64              // counts uses
	stirred    bool               // parked requests may be able to go on
}

// adapter is one LoRA adapter.
type adapter struct {
	number int32
	ready  bool
	at     sim.Time // when it is, or was, loaded
	queued int32    // requests in the queue
	held   int32    // requests that are held, or swapped out
	used   int64    // clock of its last use
}

func newLora(a *Adapters) *lora {
	if a.Max == 0 {
		return nil
	}
	l := &lora{max: a.Max, batch: a.Batch, load: a.Load, known: map[int32]*adapter{}}
	if l.batch == 0 {
		l.batch = l.max
	}
	return l
}

// parked returns the number of requests that wait for an adapter.
func (r *replica) parked() int {
	if r.lora == nil {
		return 0
	}
	return len(r.lora.parked)
}

// adapterOf returns the adapter of a sequence, nil for none.
func (r *replica) adapterOf(s *sequence) *adapter {
	if r.lora == nil || s.out.Adapter == 0 {
		return nil
	}
	return r.lora.known[s.out.Adapter]
}

// enqueue puts a sequence at the end of the queue, or beside it if its adapter is not
// there.
func (r *replica) enqueue(now sim.Time, slot int32) {
	s := &r.seqs[slot]
	if r.lora != nil && s.out.Adapter != 0 {
		if !r.mayQueue(now, s) {
			r.park(slot)
			return
		}
		r.adapterOf(s).queued++
	}
	r.queue.pushBack(r.seqs, slot)
	if r.observer != nil {
		r.observer.Queued(&s.Seq)
	}
}

// park lets a sequence wait beside the queue.
func (r *replica) park(slot int32) {
	l := r.lora
	r.seqs[slot].place = beside
	i := len(l.parked)
	for i > 0 && r.seqs[l.parked[i-1]].ID > r.seqs[slot].ID {
		i--
	}
	l.parked = slices.Insert(l.parked, i, slot)
}

// mayQueue tells whether the adapter of a sequence is there, and one more may be active. It
// begins to load one that is not there, if there is room.
func (r *replica) mayQueue(now sim.Time, s *sequence) bool {
	l := r.lora
	a := l.known[s.out.Adapter]
	if (a == nil || a.held == 0) && l.active >= l.batch {
		return false
	}
	if a != nil {
		return a.ready
	}
	if len(l.slots) >= l.max && !l.evict() {
		return false
	}
	l.link = max(l.link, now).Add(l.load)
	a = &adapter{number: s.out.Adapter, at: l.link}
	l.known[a.number] = a
	l.slots = append(l.slots, a)
	r.c.engine.At(a.at, r.c.loaded, uint32(r.index))
	return false
}

// evict drops the adapter that has not been used for the longest time, of those that no
// request is queued or held for. It reports false if there is none.
func (l *lora) evict() bool {
	oldest := -1
	for i, a := range l.slots {
		if a.ready && a.queued+a.held == 0 && (oldest < 0 || a.used < l.slots[oldest].used) {
			oldest = i
		}
	}
	if oldest < 0 {
		return false
	}
	delete(l.known, l.slots[oldest].number)
	l.slots = slices.Delete(l.slots, oldest, oldest+1)
	return true
}

// onLoaded lets requests go on whose adapter has arrived.
func (c *Cluster) onLoaded(now sim.Time, i uint32) {
	r := &c.replicas[i]
	for _, a := range r.lora.slots {
		if a.ready || a.at != now {
			continue
		}
		r.catchUp(now)
		a.ready = true
		r.lora.clock++
		a.used = r.lora.clock
		c.record(Record{What: Loaded, At: now, Replica: r.index, N: int64(a.number), Gap: r.lora.load})
	}
	if r.unpark(now) {
		if r.flying > 0 && len(r.flights) == 1 {
			r.cut(now)
		}
		r.wake(now)
	}
}

// unpark queues requests whose adapters are there, oldest first, and reports whether there
// were any.
func (r *replica) unpark(now sim.Time) (any bool) {
	l := r.lora
	l.stirred = false
	kept := l.parked[:0]
	for _, slot := range l.parked {
		s := &r.seqs[slot]
		if !r.mayQueue(now, s) {
			kept = append(kept, slot)
			continue
		}
		any = true
		s.place = inQueue
		r.adapterOf(s).queued++
		after := r.queue.tail
		for after != none && r.seqs[after].ID > s.ID {
			after = r.seqs[after].prev
		}
		r.queue.insert(r.seqs, slot, after)
		if r.observer != nil {
			r.observer.Queued(&s.Seq)
		}
	}
	l.parked = kept
	return any
}

// unparkAll puts the requests that wait for adapters into the queue, to be lost or
// abandoned with the others.
func (r *replica) unparkAll() {
	if r.lora == nil {
		return
	}
	for _, slot := range r.lora.parked {
		r.queue.pushBack(r.seqs, slot)
	}
	r.lora.parked = nil
}

// admitted counts a sequence that leaves the queue to be computed. If its adapter is the
// last that may be active, requests for others must wait.
func (r *replica) admitted(s *sequence) {
	a := r.adapterOf(s)
	if a == nil {
		return
	}
	l := r.lora
	l.clock++
	a.used = l.clock
	a.queued--
	if a.held++; a.held > 1 {
		return
	}
	if l.active++; l.active < l.batch {
		return
	}
	for slot := r.queue.head; slot != none; {
		q := &r.seqs[slot]
		next := q.next
		if b := r.adapterOf(q); b != nil && b.held == 0 {
			r.queue.remove(r.seqs, slot)
			b.queued--
			if r.observer != nil {
				r.observer.Left(&q.Seq)
			}
			r.park(slot)
		}
		slot = next
	}
}

// letGo counts a sequence that is held no more: it has ended, or is queued again.
func (r *replica) letGo(s *sequence, again bool) {
	a := r.adapterOf(s)
	if a == nil {
		return
	}
	if again {
		a.queued++
	}
	if a.held--; a.held == 0 {
		r.lora.active--
	}
	r.lora.stirred = true
}
