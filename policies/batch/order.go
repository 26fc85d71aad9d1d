package batch

import (
	"container/heap"
	"slices"
)

// This file lets requests overtake each other in a replica's queue. A batch policy
// decides how many are admitted; an [Order] says who is next. The two are put together
// by [Ordered], so that any policy works with any order.

// Observer is a [Policy] that is told of the sequences that come and go, so that it can
// keep an index of them. What it is told of is valid during the call only.
type Observer interface {
	Policy
	// Queued tells that s waits: it has been routed here, was pre-empted, or may be
	// scheduled again after something kept it back.
	Queued(s *Seq)
	// Admitted tells that s has left the queue to be computed, or has come from another
	// replica to go on.
	Admitted(s *Seq)
	// Left tells that s is no longer here, or waits elsewhere than in the queue.
	Left(s *Seq)
}

// Order says which sequence of a queue goes first. Queued, Admitted and Left are as for
// an [Observer].
type Order interface {
	Queued(s *Seq)
	Admitted(s *Seq)
	Left(s *Seq)
	// First returns the slot of the sequence that goes first, -1 if none waits.
	First(p Plan) int32
	// Fixed tells whether First would return the same after any number of decodes, as
	// long as no sequence comes or goes.
	Fixed() bool
	// Compare orders two waiting sequences, the one that goes first before the other.
	Compare(a, b *Seq) int
}

// Ordered is a batch policy that admits in another order than that of arrival. Those that
// are pre-empted wait in that order too. Who is pre-empted does not depend on it: it is
// the last of those running to have arrived, as ever.
type Ordered struct {
	Policy
	Order Order

	limits Limits
	plan   orderedPlan
	front  Seq // reused
}

var _ Observer = (*Ordered)(nil)

// Limits implements [Policy].
func (o *Ordered) Limits(maxLen int) Limits {
	o.limits = o.Policy.Limits(maxLen)
	return o.limits
}

// Plan implements [Policy].
func (o *Ordered) Plan(p Plan) {
	o.plan = orderedPlan{Plan: p, o: o}
	o.Policy.Plan(&o.plan)
}

// Queued implements [Observer].
func (o *Ordered) Queued(s *Seq) { o.Order.Queued(s) }

// Admitted implements [Observer].
func (o *Ordered) Admitted(s *Seq) { o.Order.Admitted(s) }

// Left implements [Observer].
func (o *Ordered) Left(s *Seq) { o.Order.Left(s) }

// orderedPlan shows a policy the queue in another order.
type orderedPlan struct {
	Plan
	o *Ordered
}

// arrange moves the sequence that goes first to the head of the queue.
func (p *orderedPlan) arrange() *Seq {
	h := p.Plan.Head()
	if h == nil {
		return nil
	}
	if first := p.o.Order.First(p.Plan); first != h.Slot {
		p.o.front.Slot = first
		p.Plan.Front(&p.o.front)
		h = p.Plan.Head()
	}
	return h
}

// Head implements [Plan].
func (p *orderedPlan) Head() *Seq { return p.arrange() }

// CanAdmit implements [Plan].
func (p *orderedPlan) CanAdmit(n int) bool { return p.arrange() != nil && p.Plan.CanAdmit(n) }

// Admit implements [Plan].
func (p *orderedPlan) Admit(n int) bool { return p.arrange() != nil && p.Plan.Admit(n) }

// Queue implements [Plan].
func (p *orderedPlan) Queue() []*Seq {
	q := p.Plan.Queue()
	slices.SortFunc(q, p.o.Order.Compare)
	return q
}

// Steady implements [Plan]. The promise holds unless decodes alone may bring another
// sequence to the head of the queue and there is a place for it.
func (p *orderedPlan) Steady() {
	if p.Plan.Waiting() == 0 || p.Plan.Held() >= p.o.limits.MaxSeqs || p.o.Order.Fixed() {
		p.Plan.Steady()
	}
}

// Key is a place in an order: the least Class goes first, then the least Rank, then the
// first to arrive.
type Key struct{ Class, Rank int64 }

// Compare returns -1 if k goes before l, 0 if they are equal, and else 1.
func (k Key) Compare(l Key) int {
	switch {
	case k.Class < l.Class || k.Class == l.Class && k.Rank < l.Rank:
		return -1
	case k == l:
		return 0
	}
	return 1
}

// Ranking gives a sequence its place when it begins to wait; it keeps it as long as it
// waits.
type Ranking interface{ Key(s *Seq) Key }

// ByKey is the [Order] of a [Ranking]. It costs time in proportion to the logarithm of
// the queue's length for each that comes or goes.
type ByKey struct {
	Ranking Ranking
	heap    keyHeap
}

// Queued implements [Order].
func (o *ByKey) Queued(s *Seq) {
	for int(s.Slot) >= len(o.heap.at) {
		o.heap.at = append(o.heap.at, -1)
	}
	heap.Push(&o.heap, keyed{o.Ranking.Key(s), s.ID, s.Slot})
}

// Admitted implements [Order].
func (o *ByKey) Admitted(s *Seq) { o.Left(s) }

// Left implements [Order].
func (o *ByKey) Left(s *Seq) {
	if int(s.Slot) < len(o.heap.at) && o.heap.at[s.Slot] >= 0 {
		heap.Remove(&o.heap, int(o.heap.at[s.Slot]))
	}
}

// First implements [Order].
func (o *ByKey) First(Plan) int32 {
	if len(o.heap.list) == 0 {
		return -1
	}
	return o.heap.list[0].slot
}

// Fixed implements [Order].
func (o *ByKey) Fixed() bool { return true }

// Compare implements [Order].
func (o *ByKey) Compare(a, b *Seq) int {
	return o.heap.list[o.heap.at[a.Slot]].compare(&o.heap.list[o.heap.at[b.Slot]])
}

// keyed is a waiting sequence in a heap.
type keyed struct {
	key  Key
	id   int64
	slot int32
}

func (k *keyed) compare(l *keyed) int {
	if c := k.key.Compare(l.key); c != 0 {
		return c
	}
	switch {
	case k.id < l.id:
		return -1
	case k.id > l.id:
		return 1
	}
	return 0
}

// keyHeap is a heap that knows where each slot's sequence is in it.
type keyHeap struct {
	list []keyed
	at   []int32 // by slot, -1 for none
}

func (h *keyHeap) Len() int           { return len(h.list) }
func (h *keyHeap) Less(i, j int) bool { return h.list[i].compare(&h.list[j]) < 0 }
func (h *keyHeap) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.at[h.list[i].slot], h.at[h.list[j].slot] = int32(i), int32(j)
}

// Push implements [heap.Interface].
func (h *keyHeap) Push(x any) {
	k := x.(keyed)
	h.at[k.slot] = int32(len(h.list))
	h.list = append(h.list, k)
}

// Pop implements [heap.Interface].
func (h *keyHeap) Pop() any {
	last := len(h.list) - 1
	k := h.list[last]
	h.list = h.list[:last]
	h.at[k.slot] = -1
	return k
}
