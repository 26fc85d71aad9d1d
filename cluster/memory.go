package cluster

import "orrery/sim"

// memory is the KV cache of one replica: blocks in use, and blocks that nobody
// uses but that still hold a named part of a prompt, which a later request with
// the same beginning can take over (a prefix cache with LRU eviction). What is evicted
// may go to host memory, from where it can be brought back.
//
// Every block is in one of three states: used (counted by the ledger), cached, or
// empty. Cached blocks count as free, since they are evicted when blocks run out.
type memory struct {
	ledger sim.Ledger
	block  int64 // tokens in a block
	cached int64 // blocks held by unreferenced parts

	enabled  bool
	partList        // on the device; of unreferenced ones the order of their last use
	host     host   // the other way round: a part is on the device or here, never both
	back     []part // scratch: what comes back from there
}

const none = -1

// newMemory returns empty memory of so many blocks, and so many more on the host for what
// is evicted.
func newMemory(blocks int64, blockTokens int, prefixCache bool, host int64) memory {
	m := memory{ledger: sim.NewLedger(blocks), block: int64(blockTokens), enabled: prefixCache}
	if prefixCache {
		m.partList = newPartList()
		m.host = newHost(host)
	}
	return m
}

// empty returns the same memory with nothing in it.
func (m *memory) empty() memory {
	return newMemory(m.ledger.Capacity(), int(m.block), m.enabled, m.host.room)
}

// blocks returns the number of blocks that n tokens fill.
func (m *memory) blocks(n int64) int64 { return (n + m.block - 1) / m.block }

func (m *memory) free() int64 { return m.ledger.Free() }

// take uses n free blocks, evicting cached parts as needed.
func (m *memory) take(n int64) {
	m.ledger.Take(n)
	for m.cached > m.ledger.Free() {
		m.evict()
	}
}

func (m *memory) give(n int64) { m.ledger.Give(n) }

// hit returns the length of the longest beginning of a prompt that is cached, on the
// device or on the host, in tokens and in parts, capped so that at least one of the
// prompt's limit tokens is left to compute, and how many of its blocks are in use by
// others already.
func (m *memory) hit(prefix []uint64, partTokens int32, limit int32) (tokens int32, parts int, shared int64) {
	if !m.enabled {
		return 0, 0, 0
	}
	for _, name := range prefix {
		i, ok := m.index[name]
		if !ok && !m.host.has(name) || tokens+partTokens >= limit {
			break
		}
		if ok && m.all[i].refs > 0 {
			shared += m.all[i].blocks
		}
		tokens += partTokens
		parts++
	}
	return tokens, parts, shared
}

// hold takes a reference on each of some cached parts, and returns how many blocks of
// them had to be brought back from the host.
func (m *memory) hold(names []uint64) (loaded int64) {
	// Those on the device first, and those on the host out of it, since making room for
	// one may evict others from either.
	m.back = m.back[:0]
	for _, name := range names {
		i, ok := m.index[name]
		if !ok {
			m.back = append(m.back, m.host.remove(name))
			continue
		}
		p := &m.all[i]
		if p.refs == 0 {
			m.unlink(i)
			m.cached -= p.blocks
			m.ledger.Take(p.blocks)
		}
		p.refs++
	}
	for _, p := range m.back {
		m.take(p.blocks)
		m.add(part{name: p.name, blocks: p.blocks, refs: 1})
		loaded += p.blocks
	}
	return loaded
}

// publish turns n used blocks of one sequence into the part of the given name,
// held by that sequence. It reports false, and does nothing, if the part is on the device.
func (m *memory) publish(name uint64, n int64) bool {
	if _, ok := m.index[name]; ok {
		return false
	}
	if m.host.has(name) { // it could not be used, since what comes before it was gone
		m.host.remove(name)
	}
	m.add(part{name: name, blocks: n, refs: 1})
	return true
}

// drop gives back a reference on a part. An unreferenced part stays cached.
func (m *memory) drop(name uint64) {
	i := m.index[name]
	p := &m.all[i]
	if p.refs--; p.refs > 0 {
		return
	}
	m.ledger.Give(p.blocks)
	m.cached += p.blocks
	m.link(i)
}

// evict takes the least recently used part off the device.
func (m *memory) evict() {
	p := m.pop(m.head)
	m.cached -= p.blocks
	m.host.put(p)
}
