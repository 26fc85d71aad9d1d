package cluster

import "orrery/sim"

// memory is the KV cache of one replica: blocks in use, and blocks that nobody
// uses but that still hold a named part of a prompt, which a later request with
// the same beginning can take over (a prefix cache with LRU eviction).
//
// Every block is in one of three states: used (counted by the ledger), cached, or
// empty. Cached blocks count as free, since they are evicted when blocks run out.
type memory struct {
	ledger sim.Ledger
	block  int64 // tokens in a block
	cached int64 // blocks held by unreferenced parts

	enabled    bool
	index      map[uint64]int32 // name of a part to its place in parts
	parts      []part
	freeParts  []int32
	head, tail int32 // LRU list of unreferenced parts, least recently used first
}

// part is a named, fully computed stretch of a prompt.
type part struct {
	name       uint64
	blocks     int64
	refs       int32
	prev, next int32 // in the LRU list while refs is 0
}

const none = -1

func newMemory(blocks int64, blockTokens int, prefixCache bool) memory {
	m := memory{ledger: sim.NewLedger(blocks), block: int64(blockTokens), enabled: prefixCache, head: none, tail: none}
	if prefixCache {
		m.index = make(map[uint64]int32)
	}
	return m
}

// blocks returns the number of blocks that n tokens fill.
func (m *memory) blocks(n int64) int64 { return (n + m.block - 1) / m.block }

func (m *memory) free() int64 { return m.ledger.Free() }

// take uses n free blocks, evicting cached parts as needed.
func (m *memory) take(n int64) {
	m.ledger.Take(n)
	for m.cached > m.ledger.Free() {
		m.evict(m.head)
	}
}

func (m *memory) give(n int64) { m.ledger.Give(n) }

// hit returns the length of the longest cached beginning of a prompt, in tokens
// and in parts, capped so that at least one of the prompt's limit tokens is left
// to compute, and how many of its blocks are in use by others already.
func (m *memory) hit(prefix []uint64, partTokens int32, limit int32) (tokens int32, parts int, shared int64) {
	if !m.enabled {
		return 0, 0, 0
	}
	for _, name := range prefix {
		i, ok := m.index[name]
		if !ok || tokens+partTokens >= limit {
			break
		}
		if m.parts[i].refs > 0 {
			shared += m.parts[i].blocks
		}
		tokens += partTokens
		parts++
	}
	return tokens, parts, shared
}

// hold takes a reference on a cached part, which must exist.
func (m *memory) hold(name uint64) {
	i := m.index[name]
	p := &m.parts[i]
	if p.refs == 0 {
		m.unlink(i)
		m.cached -= p.blocks
		m.ledger.Take(p.blocks)
	}
	p.refs++
}

// publish turns n used blocks of one sequence into the part of the given name,
// held by that sequence. It reports false, and does nothing, if the part exists.
func (m *memory) publish(name uint64, n int64) bool {
	if _, ok := m.index[name]; ok {
		return false
	}
	var i int32
	if k := len(m.freeParts); k > 0 {
		i = m.freeParts[k-1]
		m.freeParts = m.freeParts[:k-1]
	} else {
		i = int32(len(m.parts))
		m.parts = append(m.parts, part{})
	}
	m.parts[i] = part{name: name, blocks: n, refs: 1, prev: none, next: none}
	m.index[name] = i
	return true
}

// drop gives back a reference on a part. An unreferenced part stays cached.
func (m *memory) drop(name uint64) {
	i := m.index[name]
	p := &m.parts[i]
	if p.refs--; p.refs > 0 {
		return
	}
	m.ledger.Give(p.blocks)
	m.cached += p.blocks
	p.prev, p.next = m.tail, none
	if m.tail != none {
		m.parts[m.tail].next = i
	} else {
		m.head = i
	}
	m.tail = i
}

func (m *memory) evict(i int32) {
	m.unlink(i)
	m.cached -= m.parts[i].blocks
	delete(m.index, m.parts[i].name)
	m.freeParts = append(m.freeParts, i)
}

func (m *memory) unlink(i int32) {
	p := &m.parts[i]
	if p.prev != none {
		m.parts[p.prev].next = p.next
	} else {
		m.head = p.next
	}
	if p.next != none {
		m.parts[p.next].prev = p.prev
	} else {
		m.tail = p.prev
	}
}
