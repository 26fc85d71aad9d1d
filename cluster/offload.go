package cluster

// This file is what a prefix cache keeps its parts in, and the host memory behind it.
//
// Parts that are evicted from the device go to host memory, and are brought back when a
// prompt begins with them (CachedAttention, Gao et al., USENIX ATC 2024; Mooncake, Qin et
// al., FAST 2025). The way back is part of the iteration that begins with the prompt's
// rest, and priced like a swap. The way there is free: the copy engine takes it beside the
// kernels, while links from the device to the host have nothing else to do.

// part is a named, fully computed stretch of a prompt.
type part struct {
	name       uint64
	blocks     int64
	refs       int32
	prev, next int32 // in the order of last use, while it is in that
}

// partList is a set of parts, and of some of them the order in which they were used last.
type partList struct {
	index      map[uint64]int32 // name of a part to its place in all
	all        []part
	vacant     []int32 // places
	head, tail int32   // least and most recently used
}

func newPartList() partList { return partList{index: make(map[uint64]int32), head: none, tail: none} }

// add puts a part into the set, but not into the order.
func (l *partList) add(p part) int32 {
	i := int32(len(l.all))
	if k := len(l.vacant); k > 0 {
		i = l.vacant[k-1]
		l.vacant = l.vacant[:k-1]
	} else {
		l.all = append(l.all, part{})
	}
	l.all[i] = p
	l.index[p.name] = i
	return i
}

// pop takes a part that is in the order out of it and the set.
func (l *partList) pop(i int32) part {
	l.unlink(i)
	p := l.all[i]
	delete(l.index, p.name)
	l.vacant = append(l.vacant, i)
	return p
}

// link makes a part the most recently used.
func (l *partList) link(i int32) {
	p := &l.all[i]
	p.prev, p.next = l.tail, none
	if l.tail != none {
		l.all[l.tail].next = i
	} else {
		l.head = i
	}
	l.tail = i
}

func (l *partList) unlink(i int32) {
	p := &l.all[i]
	if p.prev != none {
		l.all[p.prev].next = p.next
	} else {
		l.head = p.next
	}
	if p.next != none {
		l.all[p.next].prev = p.prev
	} else {
		l.tail = p.prev
	}
}

// host is host memory for parts, all in the order of last use.
type host struct {
	partList
	room, used int64 // blocks
}

func newHost(room int64) host {
	if room == 0 {
		return host{}
	}
	return host{partList: newPartList(), room: room}
}

func (h *host) has(name uint64) bool {
	_, ok := h.index[name]
	return ok
}

// put keeps a part that comes from the device, in the place of those used least recently.
func (h *host) put(p part) {
	if p.blocks > h.room {
		return
	}
	for h.used+p.blocks > h.room {
		h.used -= h.pop(h.head).blocks
	}
	h.used += p.blocks
	h.link(h.add(p))
}

// remove takes out a part, which must be here.
func (h *host) remove(name uint64) part {
	p := h.pop(h.index[name])
	h.used -= p.blocks
	return p
}
