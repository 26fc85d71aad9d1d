package cuda

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/kernels"
	"orrery/calibrate/cuda/number"
	"orrery/workloads/llm"
)

// sequence is one sequence of a batch: its new tokens, and the keys that it sees with
// them.
type sequence struct{ queries, keys int }

// attention is a batch of sequences in paged memory, with queries and results in rows of
// all heads.
type attention struct {
	dtype     string
	heads     kernels.Heads
	causal    bool
	sequences []sequence
	sms       int

	firstBlock []int // of each sequence, in the table
	firstRow   []int
	blocks     int
	rows       int

	q, k, v, out     operand
	call             kernels.Attention // but for its operands and batch
	decodes, prompts int               // sequences with one query come first if there are both
}

// headShapes returns the heads that devices have of the models, split as they can be.
func headShapes(models []*llm.Model, quick bool) []kernels.Heads {
	var shapes []kernels.Heads
	for _, m := range models {
		for _, d := range []int{1, 2, 4, 8} {
			if m.CanSplit(llm.Parallel{Tensor: d, Pipeline: 1}) == nil && (m.HeadDim == 64 || m.HeadDim == 128) && (d == 1 || !quick) {
				shapes = append(shapes, kernels.Heads{Query: m.Heads / d, KV: m.KVHeadsPerDevice(d), Dim: m.HeadDim})
			}
		}
	}
	slices.SortFunc(shapes, func(a, b kernels.Heads) int { return cmp.Or(a.Query-b.Query, a.KV-b.KV, a.Dim-b.Dim) })
	shapes = slices.Compact(shapes)
	if quick && len(shapes) > 2 {
		shapes = []kernels.Heads{shapes[0], shapes[len(shapes)/2]}
	}
	return shapes
}

func (p *planner) decodes() []*point {
	var points []*point
	for _, h := range headShapes(p.models, p.quick) {
		for _, batch := range p.ladder(1, 256) {
			for _, keys := range p.ladder(64, 1<<15) {
				points = append(points, p.decode(p.half(), batch, h, keys))
			}
		}
	}
	return points
}

func (p *planner) prefills() []*point {
	if p.info.Capability() < 75 {
		return nil // no product of matrices that the kernel knows
	}
	batches := []int{1, 4}
	if p.quick {
		batches = batches[:1]
	}
	var points []*point
	for i, h := range headShapes(p.models, p.quick) {
		for _, batch := range batches {
			for _, queries := range p.ladder(16, 8192) {
				points = append(points, p.prefill(p.half(), batch, h, queries, queries, true))
				if batch == 1 {
					for _, before := range []int{1024, 4096, 16384} {
						points = append(points, p.prefill(p.half(), 1, h, queries, queries+before, true))
					}
				}
				if i%4 == 0 {
					points = append(points, p.prefill(p.half(), batch, h, queries, queries, false))
				}
			}
		}
	}
	return points
}

func (p *planner) mixed() []*point {
	if p.info.Capability() < 75 {
		return nil
	}
	var points []*point
	for _, h := range headShapes(p.models, true) {
		for _, chunk := range p.ladder(64, 2048) {
			for _, before := range []int{0, 4096} {
				for _, n := range p.ladder(4, 128) {
					points = append(points, p.mix(p.half(), h, chunk, before, n, 1024))
				}
			}
		}
	}
	return points
}

func headColumns(h kernels.Heads) columns {
	return columns{"q_heads": float64(h.Query), "kv_heads": float64(h.KV), "head_dim": float64(h.Dim)}
}

func (c columns) with(name string, x int) columns {
	c[name] = float64(x)
	return c
}

func (p *planner) decode(dtype string, batch int, h kernels.Heads, keys int) *point {
	a := &attention{dtype: dtype, heads: h, causal: true, sms: p.info.SMs, sequences: slices.Repeat([]sequence{{1, keys}}, batch)}
	c := headColumns(h).with("batch", batch).with("kv_len", keys)
	return p.attend("attention_decode", describe(dtype, "batch", batch, "q_heads", h.Query, "kv_heads", h.KV, "head_dim", h.Dim, "kv_len", keys), a, c)
}

func (p *planner) prefill(dtype string, batch int, h kernels.Heads, queries, keys int, causal bool) *point {
	a := &attention{dtype: dtype, heads: h, causal: causal, sms: p.info.SMs, sequences: slices.Repeat([]sequence{{queries, keys}}, batch)}
	c := headColumns(h).with("batch", batch).with("q_len", queries).with("kv_len", keys)
	if causal {
		c.with("causal", 1)
	}
	return p.attend("attention_prefill", describe(dtype, "batch", batch, "q_heads", h.Query, "kv_heads", h.KV, "head_dim", h.Dim, "q_len", queries, "kv_len", keys, "causal", causal), a, c)
}

// mix is a batch of decodes and one chunk of a prompt, each with a kernel of its own.
func (p *planner) mix(dtype string, h kernels.Heads, chunk, before, n, keys int) *point {
	a := &attention{dtype: dtype, heads: h, causal: true, sms: p.info.SMs, sequences: append(slices.Repeat([]sequence{{1, keys}}, n), sequence{chunk, before + chunk})}
	c := headColumns(h).with("prefill_chunk", chunk).with("prefill_kv", before).with("n_decode", n).with("decode_kv", keys)
	return p.attend("attention_mixed", describe(dtype, "q_heads", h.Query, "kv_heads", h.KV, "head_dim", h.Dim, "chunk", chunk, "before", before, "decodes", n, "kv", keys), a, c)
}

func (p *planner) attend(table, name string, at *attention, c columns) *point {
	at.layOut()
	width := int64(number.Bytes(at.dtype))
	kv := int64(at.blocks) * kernels.BlockTokens * int64(at.heads.KV*at.heads.Dim)
	q := int64(at.rows) * int64(at.heads.Query*at.heads.Dim)
	return &point{
		table: table, name: name, bytes: 2 * (kv + q) * width,
		record: row(table, p.gpu, at.dtype, Source, words{"kv_dtype": at.dtype}, c),
		prepare: func(a *arena) (*call, error) {
			ops, err := a.operands(spec{at.dtype, q, true}, spec{at.dtype, kv, true}, spec{at.dtype, kv, true}, spec{at.dtype, q, false})
			if err != nil {
				return nil, err
			}
			at.q, at.k, at.v, at.out = ops[0], ops[1], ops[2], ops[3]
			if err := at.upload(a); err != nil {
				return nil, err
			}
			return &call{
				enqueue: func(slot int) error {
					return at.enqueue(a.dev, at.out.slot(slot), at.q.slot(slot), at.k.slot(slot), at.v.slot(slot))
				},
				check: at.check,
			}, nil
		},
	}
}

// layOut gives the sequences their rows and blocks.
func (at *attention) layOut() {
	for _, s := range at.sequences {
		at.firstBlock = append(at.firstBlock, at.blocks)
		at.firstRow = append(at.firstRow, at.rows)
		at.blocks += ceilDiv(s.keys, kernels.BlockTokens)
		at.rows += s.queries
		if s.queries == 1 {
			at.decodes++
		} else {
			at.prompts++
		}
	}
}

// block returns where entry i of the table points. Blocks lie apart from each other, as
// in memory that has been given and taken for a while.
func (at *attention) block(i int) int {
	const stride = 7919 // a prime: every block comes once unless it divides their number
	if at.blocks%stride == 0 {
		return i
	}
	return i * stride % at.blocks
}

// upload writes the table of blocks and the sequences as the kernels read them, and
// takes memory for the parts of split decodes.
func (at *attention) upload(a *arena) error {
	var table, meta []byte
	for i := range at.blocks {
		table = binary.LittleEndian.AppendUint32(table, uint32(at.block(i)))
	}
	for i, s := range at.sequences {
		q := kernels.Sequence{Row: at.firstRow[i], Queries: s.queries, Keys: s.keys, Table: at.firstBlock[i]}
		meta = q.Append(meta)
	}
	width := at.heads.Query * at.heads.Dim
	at.call = kernels.Attention{DType: at.dtype, Heads: at.heads, SMs: at.sms, QStride: width, Stride: width, Causal: at.causal}
	var err error
	if at.call.Table, err = a.table(table); err != nil {
		return err
	}
	if at.call.Sequences, err = a.table(meta); err != nil {
		return err
	}
	decodes := at.call
	decodes.Batch, decodes.Longest = at.decodes, at.longest(true)
	at.call.Partials, err = a.take(decodes.PartialBytes())
	return err
}

// enqueue launches the kernels: those for the sequences of one query, and that for the
// others.
func (at *attention) enqueue(dev device.Device, out, q, k, v device.Ptr) error {
	call := at.call
	call.Out, call.Q, call.K, call.V = out, q, k, v
	if at.decodes > 0 {
		call.Batch, call.Longest = at.decodes, at.longest(true)
		if err := call.Decode(dev); err != nil {
			return err
		}
	}
	if at.prompts == 0 {
		return nil
	}
	call.Batch, call.Longest = at.prompts, at.longest(false)
	call.Sequences = call.Sequences.Offset(int64(at.decodes), kernels.SequenceBytes)
	return call.Prefill(dev)
}

// longest returns the most keys of sequences with one query, or the most queries of the
// others.
func (at *attention) longest(decodes bool) int {
	most := 0
	for _, s := range at.sequences {
		switch {
		case decodes && s.queries == 1:
			most = max(most, s.keys)
		case !decodes && s.queries > 1:
			most = max(most, s.queries)
		}
	}
	return most
}

// check holds some numbers of some rows against attention's definition.
func (at *attention) check() error {
	h := at.heads
	group := h.Query / h.KV
	work := 0
	for _, i := range samples(6, int64(at.rows)*int64(h.Query)) {
		row, head := int(i)/h.Query, int(i)%h.Query
		s := len(at.firstRow) - 1
		for at.firstRow[s] > row {
			s--
		}
		seen := at.sequences[s].keys
		if at.causal {
			seen -= at.sequences[s].queries - 1 - (row - at.firstRow[s])
		}
		if work += seen; work > 1<<17 && work > seen {
			break // long ones take the host too long
		}
		if err := at.checkRow(s, row, head, head/group, seen); err != nil {
			return err
		}
	}
	return nil
}

func (at *attention) checkRow(s, row, head, kvHead, seen int) error {
	h := at.heads
	query := (int64(row)*int64(h.Query) + int64(head)) * int64(h.Dim)
	key := func(t int) int64 {
		block := int64(at.block(at.firstBlock[s] + t/kernels.BlockTokens))
		return ((block*int64(h.KV)+int64(kvHead))*kernels.BlockTokens + int64(t%kernels.BlockTokens)) * int64(h.Dim)
	}
	q := make([]float64, h.Dim)
	for d := range q {
		q[d] = at.q.value(query + int64(d))
	}
	weights := make([]float64, seen)
	most, sum := math.Inf(-1), 0.0
	for t := range weights {
		for d := range q {
			weights[t] += q[d] * at.k.value(key(t)+int64(d))
		}
		weights[t] /= math.Sqrt(float64(h.Dim))
		most = max(most, weights[t])
	}
	for t := range weights {
		weights[t] = math.Exp(weights[t] - most)
		sum += weights[t]
	}
	for _, d := range samples(5, int64(h.Dim)) {
		want, size, squares := 0.0, 0.0, 0.0
		for t, w := range weights {
			x := w / sum * at.v.value(key(t)+d)
			want += x
			size += math.Abs(x)
			squares += x * x
		}
		// Weights are rounded to the format before they meet the values.
		tolerance := number.Epsilon(at.dtype)*(2*math.Abs(want)+6*math.Sqrt(squares)) + 1e-5*size + 1e-7
		if err := at.out.expect(query+d, want, tolerance); err != nil {
			return err
		}
	}
	return nil
}
