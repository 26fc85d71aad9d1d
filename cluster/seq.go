package cluster

import (
	"orrery/policies/batch"
)

type place uint8

const (
	inQueue place = iota
	beside        // the queue, for want of an adapter
	prefilling
	decoding
	swapped
	leaving // for a replica that decodes
	gone
)

// sequence is a request on a replica.
type sequence struct {
	batch.Seq        // what the policy sees; stale for members of a group until synced
	out       Served // what the log sees; likewise

	prev, next int32 // in the list of its place: queue, held or swapped
	place      place
	flights    int32  // unfinished micro-batches it is part of
	planned    uint64 // number of the last plan it is part of
	epoch      uint32 // raised when it leaves a group, so that older references are stale

	lost    int32    // tokens dropped by the last pre-emption
	blocks  int64    // KV blocks of its own, shared parts excluded; stale for members of a group
	names   []uint64 // parts of the prefix cache it holds
	shared  int64    // blocks of those parts
	checked int      // leading parts of its prefix that were found or published

	group    *group // while decoding
	joined   int64  // the group's count up to which its fields are synced
	lateBase int64  // the group's late up to which its LateGaps are synced
	hand     int32  // its handover, while it is leaving
	own      bool   // it is a joiner: its last emission is out.Last, not the group's
}

// list is a doubly linked list of slots.
type list struct {
	head, tail int32
	n          int
}

func newList() list { return list{head: none, tail: none} }

func (l *list) pushBack(seqs []sequence, i int32)  { l.insert(seqs, i, l.tail) }
func (l *list) pushFront(seqs []sequence, i int32) { l.insert(seqs, i, none) }

// insert puts i behind after, or at the head if after is none.
func (l *list) insert(seqs []sequence, i, after int32) {
	s := &seqs[i]
	s.prev = after
	if after != none {
		s.next = seqs[after].next
		seqs[after].next = i
	} else {
		s.next = l.head
		l.head = i
	}
	if s.next != none {
		seqs[s.next].prev = i
	} else {
		l.tail = i
	}
	l.n++
}

func (l *list) remove(seqs []sequence, i int32) {
	s := &seqs[i]
	if s.prev != none {
		seqs[s.prev].next = s.next
	} else {
		l.head = s.next
	}
	if s.next != none {
		seqs[s.next].prev = s.prev
	} else {
		l.tail = s.prev
	}
	l.n--
}
