package cuda

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/kernels"
	"orrery/calibrate/cuda/number"
	"orrery/workloads/llm"
)

// Constants of the kernels.
const (
	blockTokens  = 16 // of a KV block
	tileKeys     = 64 // of a tile of prefill
	warpQueries  = 16
	mostWarps    = 8   // of a block of prefill
	decodeBlock  = 128 // threads
	decodeWaves  = 4   // blocks of decode for each SM, so that loads are always on their way
	shortestSpan = 128 // keys of a split
)

// headShape is the heads of one device.
type headShape struct{ Query, KV, Dim int }

// sequence is one sequence of a batch: its new tokens, and the keys that it sees with
// them.
type sequence struct{ queries, keys int }

// attention is a batch of sequences in paged memory, with queries and results in rows of
// all heads.
type attention struct {
	dtype     string
	heads     headShape
	causal    bool
	sequences []sequence
	sms       int

	firstBlock []int // of each sequence, in the table
	firstRow   []int
	blocks     int
	rows       int

	q, k, v, out     operand
	table, meta      device.Ptr
	partials         device.Ptr
	spans            int
	decodes, prompts int // sequences with one query come first if there are both
}

// headShapes returns the heads that devices have of the models, split as they can be.
func headShapes(models []*llm.Model, quick bool) []headShape {
	var shapes []headShape
	for _, m := range models {
		for _, d := range []int{1, 2, 4, 8} {
			if m.CanSplit(llm.Parallel{Tensor: d, Pipeline: 1}) == nil && (m.HeadDim == 64 || m.HeadDim == 128) && (d == 1 || !quick) {
				shapes = append(shapes, headShape{m.Heads / d, m.KVHeadsPerDevice(d), m.HeadDim})
			}
		}
	}
	slices.SortFunc(shapes, func(a, b headShape) int { return cmp.Or(a.Query-b.Query, a.KV-b.KV, a.Dim-b.Dim) })
	shapes = slices.Compact(shapes)
	if quick && len(shapes) > 2 {
		shapes = []headShape{shapes[0], shapes[len(shapes)/2]}
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

func (h headShape) columns() columns {
	return columns{"q_heads": float64(h.Query), "kv_heads": float64(h.KV), "head_dim": float64(h.Dim)}
}

func (c columns) with(name string, x int) columns {
	c[name] = float64(x)
	return c
}

func (p *planner) decode(dtype string, batch int, h headShape, keys int) *point {
	a := &attention{dtype: dtype, heads: h, causal: true, sms: p.info.SMs, sequences: slices.Repeat([]sequence{{1, keys}}, batch)}
	c := h.columns().with("batch", batch).with("kv_len", keys)
	return p.attend("attention_decode", describe(dtype, "batch", batch, "q_heads", h.Query, "kv_heads", h.KV, "head_dim", h.Dim, "kv_len", keys), a, c)
}

func (p *planner) prefill(dtype string, batch int, h headShape, queries, keys int, causal bool) *point {
	a := &attention{dtype: dtype, heads: h, causal: causal, sms: p.info.SMs, sequences: slices.Repeat([]sequence{{queries, keys}}, batch)}
	c := h.columns().with("batch", batch).with("q_len", queries).with("kv_len", keys)
	if causal {
		c.with("causal", 1)
	}
	return p.attend("attention_prefill", describe(dtype, "batch", batch, "q_heads", h.Query, "kv_heads", h.KV, "head_dim", h.Dim, "q_len", queries, "kv_len", keys, "causal", causal), a, c)
}

// mix is a batch of decodes and one chunk of a prompt, each with a kernel of its own.
func (p *planner) mix(dtype string, h headShape, chunk, before, n, keys int) *point {
	a := &attention{dtype: dtype, heads: h, causal: true, sms: p.info.SMs, sequences: append(slices.Repeat([]sequence{{1, keys}}, n), sequence{chunk, before + chunk})}
	c := h.columns().with("prefill_chunk", chunk).with("prefill_kv", before).with("n_decode", n).with("decode_kv", keys)
	return p.attend("attention_mixed", describe(dtype, "q_heads", h.Query, "kv_heads", h.KV, "head_dim", h.Dim, "chunk", chunk, "before", before, "decodes", n, "kv", keys), a, c)
}

func (p *planner) attend(table, name string, at *attention, c columns) *point {
	at.layOut()
	width := int64(number.Bytes(at.dtype))
	kv := int64(at.blocks) * blockTokens * int64(at.heads.KV*at.heads.Dim)
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
		at.blocks += ceilDiv(s.keys, blockTokens)
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
	longest := 0
	for i, s := range at.sequences {
		for _, x := range []int{at.firstRow[i], s.queries, s.keys, at.firstBlock[i]} {
			meta = binary.LittleEndian.AppendUint32(meta, uint32(x))
		}
		if s.queries == 1 {
			longest = max(longest, s.keys)
		}
	}
	var err error
	if at.table, err = a.table(table); err != nil {
		return err
	}
	if at.meta, err = a.table(meta); err != nil {
		return err
	}
	_, at.spans, _ = splitKeys(at.decodes, at.heads, longest, at.sms)
	at.partials, err = a.take(int64(4 * at.decodes * at.heads.Query * at.spans * (at.heads.Dim + 2)))
	return err
}

// queriesTogether returns how many query heads a block of decode takes.
func queriesTogether(group int, dtype string) int {
	switch {
	case dtype == "fp32": // the one instance there is
		return 4
	case group == 1:
		return 1
	case group <= 4:
		return 4
	}
	return 8
}

// splitKeys returns how many keys a block of decode takes, how many such spans the
// longest sequence has, and how many blocks a span has.
func splitKeys(batch int, h headShape, keys, sms int) (span, spans, blocks int) {
	group := h.Query / h.KV
	blocks = h.KV * ceilDiv(group, queriesTogether(group, "")) * batch
	want := max(1, decodeWaves*sms/max(1, blocks))
	span = max(shortestSpan, int(roundUp(int64(ceilDiv(max(1, keys), want)), 4*blockTokens)))
	return span, max(1, ceilDiv(keys, span)), blocks
}

// enqueue launches the kernels: one, or two, for the sequences of one query, and one
// for the others.
func (at *attention) enqueue(dev device.Device, out, q, k, v device.Ptr) error {
	h := at.heads
	stride := device.Int(h.Query * h.Dim)
	scale := device.Float(float32(1 / math.Sqrt(float64(h.Dim))))
	if at.decodes > 0 {
		if err := launchDecode(dev, &decodeCall{
			dtype: at.dtype, heads: h, batch: at.decodes, longest: at.longest(true), sms: at.sms, stride: h.Query * h.Dim, outStride: h.Query * h.Dim,
			out: out, partials: at.partials, q: q, k: k, v: v, table: at.table, sequences: at.meta,
		}); err != nil {
			return err
		}
	}
	if at.prompts == 0 {
		return nil
	}
	causal := 0
	if at.causal {
		causal = 1
	}
	queries := at.longest(false)
	warps := prefillWarps(queries, h.Query*at.prompts, at.sms)
	const sequenceBytes = 16
	return dev.Launch(&device.Launch{
		Kernel: prefillKernel(at.dtype, h.Dim), Grid: [3]int{ceilDiv(queries, warps*warpQueries), h.Query, at.prompts}, Block: [3]int{32 * warps}, Shared: prefillShared(h.Dim),
		Args: []device.Arg{device.Address(out), device.Address(q), device.Address(k), device.Address(v), device.Address(at.table), device.Address(at.meta.Offset(int64(at.decodes), sequenceBytes)),
			device.Int(h.KV), stride, stride, device.Int(causal), scale},
	})
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

// decodeCall is a launch of decode.
type decodeCall struct {
	dtype                                    string
	heads                                    headShape
	batch, longest, sms, stride, outStride   int
	out, partials, q, k, v, table, sequences device.Ptr
}

func launchDecode(dev device.Device, c *decodeCall) error {
	h, format := c.heads, kernels.Format(c.dtype)
	group := h.Query / h.KV
	together := queriesTogether(group, c.dtype)
	span, spans, _ := splitKeys(c.batch, h, c.longest, c.sms)
	if err := dev.Launch(&device.Launch{
		Kernel: "decode_" + format + "_" + strconv.Itoa(h.Dim) + "_" + strconv.Itoa(together), Grid: [3]int{spans, h.KV * ceilDiv(group, together), c.batch}, Block: [3]int{decodeBlock},
		Args: []device.Arg{device.Address(c.out), device.Address(c.partials), device.Address(c.q), device.Address(c.k), device.Address(c.v), device.Address(c.table), device.Address(c.sequences),
			device.Int(h.Query), device.Int(h.KV), device.Int(span), device.Int(c.stride), device.Int(c.outStride), device.Float(float32(1 / math.Sqrt(float64(h.Dim))))},
	}); err != nil || spans == 1 {
		return err
	}
	return dev.Launch(&device.Launch{
		Kernel: "decode_combine_" + format, Grid: [3]int{h.Query, c.batch}, Block: [3]int{h.Dim},
		Args: []device.Arg{device.Address(c.out), device.Address(c.partials), device.Address(c.sequences), device.Int(spans), device.Int(c.outStride)},
	})
}

func prefillKernel(dtype string, dim int) string {
	return "prefill_" + kernels.Format(dtype) + "_" + strconv.Itoa(dim)
}

// prefillShared returns the shared memory of a block: two tiles of keys and values.
func prefillShared(dim int) int { return 2 * 2 * tileKeys * dim * 2 }

// prefillWarps returns the warps of a block: as many as share a tile of keys without
// leaving SMs idle.
func prefillWarps(queries, heads, sms int) int {
	warps := min(mostWarps, ceilDiv(queries, warpQueries))
	for warps > 4 && ceilDiv(queries, warps*warpQueries)*heads < sms {
		warps /= 2
	}
	return warps
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
		block := int64(at.block(at.firstBlock[s] + t/blockTokens))
		return ((block*int64(h.KV)+int64(kvHead))*blockTokens + int64(t%blockTokens)) * int64(h.Dim)
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
