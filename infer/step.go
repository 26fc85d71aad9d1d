package infer

import (
	"context"

	"orrery/infer/kernel"
)

// Part is what one sequence computes in a step: a chunk of its prompt, or the one token
// that it decodes.
type Part struct {
	Slot   int     // of the sequence
	Tokens []int32 // those after the tokens that the slot holds already
	Sample bool    // the token after the last of them is wanted
}

// Step computes one iteration over the parts, at most one for a slot, and returns the
// most likely next token of each part with Sample, in order (the first of equally
// likely ones). Keys and values of the tokens stay in the KV memory of their slot.
//
// If a part makes no sense, memory does not suffice or ctx ends, Step returns an error
// and no slot holds more tokens than before. What it returns holds until the next step.
// Step allocates nothing once it has met its largest batch.
func (m *Model) Step(ctx context.Context, parts []Part) (next []int32, err error) {
	if err := m.reserve(parts); err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, nil
	}
	rows := m.begin(parts)
	for i := range m.layers {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m.layer(&m.layers[i], rows)
	}
	for i, q := range m.seqs {
		q.cached += len(parts[i].Tokens)
	}
	return m.sample(parts), nil
}

// begin lays out the rows of the step, part after part, and looks up their embeddings.
func (m *Model) begin(parts []Part) (rows int) {
	sampled := 0
	m.spans = m.spans[:0]
	for i, q := range m.seqs {
		n := len(parts[i].Tokens)
		m.spans = append(m.spans, kernel.Span{Row: rows, Tokens: n, Before: q.cached, Table: q.table})
		rows += n
		if parts[i].Sample {
			sampled++
		}
	}
	m.act.grow(&m.cfg, rows, sampled)
	m.rope.Angles(m.spans, rows, m.cfg.HeadDim)
	h := m.cfg.Hidden
	for i := range parts {
		row := m.spans[i].Row
		for j, t := range parts[i].Tokens {
			copy(m.act.x[(row+j)*h:(row+j+1)*h], m.embed[int(t)*h:])
		}
	}
	return rows
}

// layer adds the attention and the MLP of one layer to the residual stream.
func (m *Model) layer(l *layer, rows int) {
	c, a, k := &m.cfg, &m.act, m.k
	k.RMSNorm(a.h, a.x, l.attentionNorm, rows, c.Hidden)
	k.Linear(a.qkv, a.h, l.qkv, rows, c.qkvWidth(), c.Hidden)
	k.Store(a.qkv, c.Heads, &l.kv, &m.rope, m.spans)
	k.Attend(a.attended, a.qkv, c.Heads, &l.kv, m.spans)
	k.Linear(a.h, a.attended, l.out, rows, c.Hidden, c.queryWidth())
	k.Add(a.x, a.h)

	k.RMSNorm(a.h, a.x, l.mlpNorm, rows, c.Hidden)
	k.Linear(a.gateUp, a.h, l.gateUp, rows, 2*c.Intermediate, c.Hidden)
	k.SiLUMul(a.gated, a.gateUp, rows, c.Intermediate)
	k.Linear(a.h, a.gated, l.down, rows, c.Hidden, c.Intermediate)
	k.Add(a.x, a.h)
}

// sample computes the logits of the last rows of the parts that want a token, and
// their most likely tokens.
func (m *Model) sample(parts []Part) []int32 {
	h, a := m.cfg.Hidden, &m.act
	n := 0
	for i := range parts {
		if !parts[i].Sample {
			continue
		}
		// Rows move forward only, so that none is overwritten before it has moved.
		last := m.spans[i].Row + m.spans[i].Tokens - 1
		copy(a.x[n*h:(n+1)*h], a.x[last*h:(last+1)*h])
		n++
	}
	m.next = m.next[:0]
	if n == 0 {
		return m.next
	}
	m.k.RMSNorm(a.h, a.x, m.norm, n, h)
	m.k.Linear(a.logits, a.h, m.embed, n, m.cfg.Vocab, h)
	for i := range n {
		m.next = append(m.next, largest(a.logits[i*m.cfg.Vocab:(i+1)*m.cfg.Vocab]))
	}
	return m.next
}

// largest returns the index of the first of the largest numbers of x.
func largest(x []float32) int32 {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return int32(best)
}
