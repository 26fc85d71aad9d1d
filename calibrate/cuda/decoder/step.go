package decoder

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/kernels"
	"orrery/calibrate/cuda/number"
	"orrery/infer"
)

// Step computes one iteration over the parts, at most one for a slot, and returns the
// most likely next token of each part with Sample, in order (the first of equally
// likely ones). Keys and values of the tokens stay in the KV memory of their slot.
//
// If a part makes no sense, memory does not suffice, the device fails or ctx ends, Step
// returns an error and no slot holds more tokens than before.
func (m *Model) Step(ctx context.Context, parts []infer.Part) (next []int32, err error) {
	if err := m.check(parts); err != nil || len(parts) == 0 {
		return nil, err
	}
	seqs, err := m.memory.reserve(parts, m.cfg.MaxTokens)
	if err != nil {
		return nil, err
	}
	b := m.layOut(parts, seqs)
	if err := m.begin(b); err != nil {
		return nil, err
	}
	for i := range m.layers {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := m.layer(&m.layers[i], b); err != nil {
			return nil, err
		}
	}
	if next, err = m.sample(b); err != nil {
		return nil, err
	}
	for i, q := range seqs {
		q.cached += len(parts[i].Tokens)
	}
	return next, nil
}

func (m *Model) check(parts []infer.Part) error {
	for i := range parts {
		p := &parts[i]
		if p.Slot < 0 || len(p.Tokens) == 0 {
			return fmt.Errorf("decoder: part %d of %d has %d tokens in slot %d; want at least one in a slot from 0", i+1, len(parts), len(p.Tokens), p.Slot)
		}
		for _, t := range p.Tokens {
			if t < 0 || int(t) >= m.cfg.Vocab {
				return fmt.Errorf("decoder: part %d of %d, slot %d: token %d; want one from 0 to %d", i+1, len(parts), p.Slot, t, m.cfg.Vocab-1)
			}
		}
	}
	return nil
}

// batch is a step as the kernels read it. Parts of one token come first: they have an
// attention kernel of their own.
type batch struct {
	rows, sampled          int
	decodes, prompts       int
	longestKeys, longest   int // of decodes; queries of prompts
	tokens, places         []byte
	sequences, table, last []byte
	order                  []int // for each sampled part, its place among the last rows
}

func (m *Model) layOut(parts []infer.Part, seqs []*sequence) *batch {
	b := &batch{}
	rank := make([]int, len(parts)) // of a part with Sample among those that are laid out
	blocks := 0
	for _, decodes := range []bool{true, false} {
		for i := range parts {
			p, q := &parts[i], seqs[i]
			n := len(p.Tokens)
			if (n == 1) != decodes {
				continue
			}
			keys := q.cached + n
			s := kernels.Sequence{Row: b.rows, Queries: n, Keys: keys, Table: blocks}
			b.sequences = s.Append(b.sequences)
			for j, t := range p.Tokens {
				b.tokens = binary.LittleEndian.AppendUint32(b.tokens, uint32(t))
				b.places = binary.LittleEndian.AppendUint32(b.places, uint32(q.cached+j))
				b.places = binary.LittleEndian.AppendUint32(b.places, uint32(blocks))
			}
			for _, block := range q.table {
				b.table = binary.LittleEndian.AppendUint32(b.table, uint32(block))
			}
			blocks += len(q.table)
			b.rows += n
			if decodes {
				b.decodes++
				b.longestKeys = max(b.longestKeys, keys)
			} else {
				b.prompts++
				b.longest = max(b.longest, n)
			}
			if p.Sample {
				rank[i] = b.sampled
				b.last = binary.LittleEndian.AppendUint32(b.last, uint32(b.rows-1))
				b.sampled++
			}
		}
	}
	for i := range parts {
		if parts[i].Sample {
			b.order = append(b.order, rank[i])
		}
	}
	return b
}

// activations is the memory for a step. It grows to the largest step there was.
type activations struct {
	x, h, qkv, attended, gateUp, gated, logits device.Ptr
	tokens, places, sequences, table, last     device.Ptr
	partials, next                             device.Ptr
	size                                       map[*device.Ptr]int64
}

// grow gives each of the arrays at least so many bytes.
func (a *activations) grow(dev device.Device, p *device.Ptr, bytes int64) error {
	if a.size == nil {
		a.size = map[*device.Ptr]int64{}
	}
	if bytes <= a.size[p] {
		return nil
	}
	if *p != 0 {
		if err := dev.Free(*p); err != nil {
			return err
		}
		*p, a.size[p] = 0, 0
	}
	var err error
	if *p, err = dev.Alloc(bytes); err != nil {
		return fmt.Errorf("decoder: %d bytes for a step: %w", bytes, err)
	}
	a.size[p] = bytes
	return nil
}

func (a *activations) free(dev device.Device) error {
	var err error
	for p := range a.size {
		if *p != 0 {
			err = errors.Join(err, dev.Free(*p))
			*p = 0
		}
	}
	a.size = nil
	return err
}

// attention returns the call of attention for the decodes or the prompts of a batch.
func (m *Model) attention(b *batch, decodes bool) *kernels.Attention {
	c, a := &m.cfg, &m.act
	call := &kernels.Attention{
		DType: c.DType, Heads: kernels.Heads{Query: c.Heads, KV: c.KVHeads, Dim: c.HeadDim}, SMs: m.dev.Info().SMs,
		Batch: b.decodes, Longest: b.longestKeys, QStride: c.qkvWidth(), Stride: c.queryWidth(), Causal: true,
		Out: a.attended, Q: a.qkv, Table: a.table, Sequences: a.sequences, Partials: a.partials,
	}
	if !decodes {
		call.Batch, call.Longest = b.prompts, b.longest
		call.Sequences = a.sequences.Offset(int64(b.decodes), kernels.SequenceBytes)
	}
	return call
}

// begin takes memory for the step, sends it to the device, and looks up the embeddings.
func (m *Model) begin(b *batch) error {
	c, a := &m.cfg, &m.act
	width := int64(number.Bytes(c.DType))
	for _, f := range []struct {
		p *device.Ptr
		n int64
	}{
		{&a.x, width * int64(b.rows*c.Hidden)}, {&a.h, width * int64(b.rows*c.Hidden)}, {&a.qkv, width * int64(b.rows*c.qkvWidth())},
		{&a.attended, width * int64(b.rows*c.queryWidth())}, {&a.gateUp, 2 * width * int64(b.rows*c.Intermediate)}, {&a.gated, width * int64(b.rows*c.Intermediate)},
		{&a.logits, width * int64(b.sampled*c.Vocab)}, {&a.next, 4 * int64(b.sampled)}, {&a.partials, m.attention(b, true).PartialBytes()},
	} {
		if err := a.grow(m.dev, f.p, f.n); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		p    *device.Ptr
		data []byte
	}{{&a.tokens, b.tokens}, {&a.places, b.places}, {&a.sequences, b.sequences}, {&a.table, b.table}, {&a.last, b.last}} {
		if err := a.grow(m.dev, f.p, int64(len(f.data))); err != nil {
			return err
		}
		if err := m.dev.Upload(*f.p, f.data); err != nil {
			return err
		}
	}
	return m.launch("take", [3]int{b.rows}, rowThreads, device.Address(a.x), device.Address(m.embed), device.Address(a.tokens), device.Int(c.Hidden))
}

// rowThreads is the size of blocks that treat one row each.
const rowThreads = 256

// layer adds the attention and the MLP of one layer to the residual stream.
func (m *Model) layer(l *layer, b *batch) error {
	c, a := &m.cfg, &m.act
	steps := []func() error{
		func() error { return m.rmsNorm(a.h, a.x, l.attentionNorm, b.rows) },
		func() error { return m.product(a.qkv, a.h, l.qkv, b.rows, c.qkvWidth(), c.Hidden) },
		func() error {
			return m.launch("store", [3]int{b.rows}, rowThreads, device.Address(a.qkv), device.Address(l.keys), device.Address(l.values), device.Address(a.table), device.Address(a.places),
				device.Address(m.angles), device.Int(c.Heads), device.Int(c.KVHeads), device.Int(c.HeadDim))
		},
		func() error { return m.attend(l, b) },
		func() error { return m.product(a.h, a.attended, l.out, b.rows, c.Hidden, c.queryWidth()) },
		func() error { return m.add(a.x, a.h, b.rows*c.Hidden) },
		func() error { return m.rmsNorm(a.h, a.x, l.mlpNorm, b.rows) },
		func() error { return m.product(a.gateUp, a.h, l.gateUp, b.rows, 2*c.Intermediate, c.Hidden) },
		func() error {
			return m.launch("silu_mul", [3]int{m.vectorBlocks(b.rows * c.Intermediate)}, rowThreads, device.Address(a.gated), device.Address(a.gateUp), device.Int(b.rows), device.Int(c.Intermediate))
		},
		func() error { return m.product(a.h, a.gated, l.down, b.rows, c.Hidden, c.Intermediate) },
		func() error { return m.add(a.x, a.h, b.rows*c.Hidden) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// attend computes attention for the decodes and for the prompts.
func (m *Model) attend(l *layer, b *batch) error {
	for _, decodes := range []bool{true, false} {
		call := m.attention(b, decodes)
		call.K, call.V = l.keys, l.values
		run := call.Prefill
		if decodes {
			run = call.Decode
		}
		if call.Batch == 0 {
			continue
		}
		if err := run(m.dev); err != nil {
			return err
		}
	}
	return nil
}

func (m *Model) product(y, x, w device.Ptr, rows, outputs, inputs int) error {
	return m.dev.Product(&device.Product{DType: m.cfg.DType, Batch: 1, M: rows, N: outputs, K: inputs, X: x, W: w, Y: y})
}

func (m *Model) rmsNorm(y, x, gain device.Ptr, rows int) error {
	return m.launch("rmsnorm", [3]int{rows}, rowThreads, device.Address(y), device.Address(x), device.Address(gain), device.Int(m.cfg.Hidden))
}

func (m *Model) add(x, y device.Ptr, n int) error {
	return m.launch("add", [3]int{m.vectorBlocks(n)}, rowThreads, device.Address(x), device.Address(x), device.Address(y), device.Int(n))
}

// vectorBlocks returns the blocks for n numbers, 16 bytes a thread.
func (m *Model) vectorBlocks(n int) int {
	perBlock := rowThreads * 16 / number.Bytes(m.cfg.DType)
	return (n + perBlock - 1) / perBlock
}

// sample returns the most likely tokens after the last rows of the parts that want one.
func (m *Model) sample(b *batch) ([]int32, error) {
	c, a := &m.cfg, &m.act
	if b.sampled == 0 {
		// A download waits for the device: a step has ended when Step returns.
		return nil, m.dev.Download(make([]byte, number.Bytes(c.DType)), a.x)
	}
	if err := m.launch("take", [3]int{b.sampled}, rowThreads, device.Address(a.h), device.Address(a.x), device.Address(a.last), device.Int(c.Hidden)); err != nil {
		return nil, err
	}
	if err := m.rmsNorm(a.x, a.h, m.norm, b.sampled); err != nil {
		return nil, err
	}
	if err := m.product(a.logits, a.x, m.embed, b.sampled, c.Vocab, c.Hidden); err != nil {
		return nil, err
	}
	if err := m.launch("largest", [3]int{b.sampled}, rowThreads, device.Address(a.next), device.Address(a.logits), device.Int(c.Vocab)); err != nil {
		return nil, err
	}
	data := make([]byte, 4*b.sampled)
	if err := m.dev.Download(data, a.next); err != nil {
		return nil, err
	}
	next := make([]int32, len(b.order))
	for i, at := range b.order {
		next[i] = int32(binary.LittleEndian.Uint32(data[4*at:]))
	}
	return next, nil
}
