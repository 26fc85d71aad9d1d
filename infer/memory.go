package infer

import "fmt"

// memory is the books of the KV blocks: which are free, and whose the others are.
type memory struct {
	blockTokens int
	free        []int32 // the last one is given next
	slots       map[int]*sequence
	step        int // number of the step in work
}

// sequence is what a slot holds.
type sequence struct {
	table  []int32 // blocks, in order of its tokens
	cached int     // tokens in them
	step   int     // the last step that it had a part in
}

func newMemory(blockTokens, blocks int) memory {
	m := memory{blockTokens: blockTokens, free: make([]int32, blocks), slots: map[int]*sequence{}}
	for i := range m.free {
		m.free[i] = int32(blocks - 1 - i)
	}
	return m
}

// slot returns the sequence in a slot, an empty one if there is none yet.
func (m *memory) slot(slot int) *sequence {
	q := m.slots[slot]
	if q == nil {
		q = &sequence{}
		m.slots[slot] = q
	}
	return q
}

// missing returns how many blocks q lacks to hold n more tokens.
func (m *memory) missing(q *sequence, n int) int {
	return (q.cached+n+m.blockTokens-1)/m.blockTokens - len(q.table)
}

// give gives n blocks to q.
func (m *memory) give(q *sequence, n int) {
	left := len(m.free) - n
	for i := len(m.free) - 1; i >= left; i-- {
		q.table = append(q.table, m.free[i])
	}
	m.free = m.free[:left]
}

// Free gives the KV blocks of a slot back. A slot that holds nothing is left alone.
func (m *Model) Free(slot int) {
	q := m.memory.slots[slot]
	if q == nil {
		return
	}
	m.memory.free = append(m.memory.free, q.table...)
	q.table, q.cached = q.table[:0], 0
}

// Resize makes a slot hold n tokens: those beyond n are dropped, and in the place of
// missing ones come random keys and values. It is for measurements, whose time depends
// on how long a context is and not on what it says. Dropped tokens keep their memory
// until the slot is freed.
func (m *Model) Resize(slot, n int) error {
	if slot < 0 || n < 0 {
		return fmt.Errorf("infer: slot %d with %d tokens; want both from 0", slot, n)
	}
	q := m.memory.slot(slot)
	had := len(q.table)
	need := max(0, m.memory.missing(q, n-q.cached))
	if need > len(m.memory.free) {
		return fmt.Errorf("infer: %d tokens in slot %d need %d more KV blocks, %d of %d are free", n, slot, need, len(m.memory.free), m.cfg.Blocks)
	}
	m.memory.give(q, need)
	for i := range m.layers {
		for _, block := range q.table[had:] {
			m.layers[i].kv.Randomize(block, m.cfg.Seed+uint64(i))
		}
	}
	q.cached = n
	return nil
}

// Cached returns the number of tokens that the KV memory holds of the sequence in a slot.
func (m *Model) Cached(slot int) int {
	if q := m.memory.slots[slot]; q != nil {
		return q.cached
	}
	return 0
}

// FreeBlocks returns the number of KV blocks that no slot holds.
func (m *Model) FreeBlocks() int { return len(m.memory.free) }

// reserve checks the parts and gives their sequences the blocks that they need. It
// changes nothing if it fails.
func (m *Model) reserve(parts []Part) error {
	m.memory.step++
	m.seqs = m.seqs[:0]
	need := 0
	for i := range parts {
		p := &parts[i]
		if err := m.checkPart(p); err != nil {
			return fmt.Errorf("infer: part %d of %d, slot %d: %w", i+1, len(parts), p.Slot, err)
		}
		q := m.memory.slot(p.Slot)
		if q.step == m.memory.step {
			return fmt.Errorf("infer: part %d of %d: slot %d has a part already; want one for each sequence", i+1, len(parts), p.Slot)
		}
		q.step = m.memory.step
		m.seqs = append(m.seqs, q)
		need += max(0, m.memory.missing(q, len(p.Tokens)))
	}
	if need > len(m.memory.free) {
		return fmt.Errorf("infer: the step needs %d more KV blocks, %d of %d are free; free a slot first", need, len(m.memory.free), m.cfg.Blocks)
	}
	for i, q := range m.seqs {
		m.memory.give(q, max(0, m.memory.missing(q, len(parts[i].Tokens))))
	}
	return nil
}

func (m *Model) checkPart(p *Part) error {
	if p.Slot < 0 {
		return fmt.Errorf("want a slot from 0")
	}
	if len(p.Tokens) == 0 {
		return fmt.Errorf("no tokens; want at least one")
	}
	for _, t := range p.Tokens {
		if t < 0 || int(t) >= m.cfg.Vocab {
			return fmt.Errorf("token %d; want one from 0 to %d", t, m.cfg.Vocab-1)
		}
	}
	return nil
}
