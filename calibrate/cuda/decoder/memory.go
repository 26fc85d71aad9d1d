package decoder

import (
	"fmt"

	"orrery/calibrate/cuda/kernels"
	"orrery/infer"
)

// memory is the books of the KV blocks: which are free, and whose the others are.
type memory struct {
	blocks int
	free   []int32 // the last one is given next
	slots  map[int]*sequence
	step   int // number of the step in work
}

// sequence is what a slot holds.
type sequence struct {
	table  []int32 // blocks, in order of its tokens
	cached int     // tokens in them
	step   int     // the last step that it had a part in
}

func newMemory(blocks int) memory {
	m := memory{blocks: blocks, free: make([]int32, blocks), slots: map[int]*sequence{}}
	for i := range m.free {
		m.free[i] = int32(blocks - 1 - i)
	}
	return m
}

// missing returns how many blocks q lacks to hold n more tokens.
func (q *sequence) missing(n int) int {
	return max(0, (q.cached+n+kernels.BlockTokens-1)/kernels.BlockTokens-len(q.table))
}

// reserve gives the sequences of parts the blocks that they need. It changes nothing
// if it fails.
func (m *memory) reserve(parts []infer.Part, maxTokens int) ([]*sequence, error) {
	m.step++
	seqs := make([]*sequence, len(parts))
	need := 0
	for i := range parts {
		p := &parts[i]
		q := m.slots[p.Slot]
		if q == nil {
			q = &sequence{}
			m.slots[p.Slot] = q
		}
		switch {
		case q.step == m.step:
			return nil, fmt.Errorf("decoder: part %d of %d: slot %d has a part already; want one for each sequence", i+1, len(parts), p.Slot)
		case q.cached+len(p.Tokens) > maxTokens:
			return nil, fmt.Errorf("decoder: part %d of %d: slot %d would hold %d tokens; want at most %d", i+1, len(parts), p.Slot, q.cached+len(p.Tokens), maxTokens)
		}
		q.step = m.step
		seqs[i] = q
		need += q.missing(len(p.Tokens))
	}
	if need > len(m.free) {
		return nil, fmt.Errorf("decoder: the step needs %d more KV blocks, %d of %d are free; free a slot first", need, len(m.free), m.blocks)
	}
	for i, q := range seqs {
		n := q.missing(len(parts[i].Tokens))
		q.table = append(q.table, m.free[len(m.free)-n:]...)
		m.free = m.free[:len(m.free)-n]
	}
	return seqs, nil
}

// Free gives the KV blocks of a slot back. A slot that holds nothing is left alone.
func (m *Model) Free(slot int) {
	q := m.memory.slots[slot]
	if q == nil {
		return
	}
	m.memory.free = append(m.memory.free, q.table...)
	delete(m.memory.slots, slot)
}

// FreeBlocks returns the number of KV blocks that no slot holds.
func (m *Model) FreeBlocks() int { return len(m.memory.free) }
