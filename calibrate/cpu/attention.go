package cpu

import "orrery/infer/kernel"

// heads are the head layouts that attention is measured with: the model's, and two
// others, of multi-head and of multi-query kind.
func (b *bench) heads(quick bool) [][3]int {
	c := &b.o.Model
	own := [3]int{c.Heads, c.KVHeads, c.HeadDim}
	if quick {
		return [][3]int{own}
	}
	return [][3]int{own, {8, 8, 64}, {8, 1, 128}}
}

// prefills are chunks of one prompt, at its beginning and later on.
func (b *bench) prefills(quick bool) []*point {
	var points []*point
	for i, h := range b.heads(quick) {
		chunks, befores := []int{16, 64, 128, 256, 512, 1024}, []int{0, 256, 1024}
		if quick || i > 0 {
			chunks, befores = []int{16, 64, 256}, []int{0, 512}
		}
		memory := b.newAttention(h)
		for _, chunk := range chunks {
			for _, before := range befores {
				p := memory.point(1, chunk, before+chunk)
				p.record = recorder("attention_prefill", dtype, 1, h[0], h[1], h[2], chunk, before+chunk, 1)
				points = append(points, p)
			}
		}
	}
	return points
}

// decodes are batches of one token each, with contexts of one length.
func (b *bench) decodes(quick bool) []*point {
	var points []*point
	for i, h := range b.heads(quick) {
		batches, contexts := []int{1, 2, 4, 8, 16, 32}, []int{16, 64, 256, 1024, 4096}
		if quick || i > 0 {
			batches, contexts = []int{1, 4, 16}, []int{16, 128, 1024}
		}
		memory := b.newAttention(h)
		for _, batch := range batches {
			for _, context := range contexts {
				if 2*batch*context > memory.tokens {
					continue
				}
				p := memory.point(batch, 1, context)
				p.record = recorder("attention_decode", dtype, batch, h[0], h[1], h[2], context)
				points = append(points, p)
			}
		}
	}
	return points
}

// attention is KV memory of one layer with blocks that are handed out in turn, so that
// contexts are as cold as those that a step finds after the weights of other layers.
type attention struct {
	k      *kernel.Set
	heads  int
	kv     kernel.KV
	tokens int
	at     int // next block
}

// newAttention takes memory for twice what the last cache holds, within bounds.
func (b *bench) newAttention(heads [3]int) *attention {
	const most = 256 << 20 // bytes
	perToken := 2 * 4 * heads[1] * heads[2]
	blocks := max(b.o.kvTokens(), min(2*int(b.host.cache), most)/perToken) / blockTokens
	a := &attention{k: b.k, heads: heads[0], tokens: blocks * blockTokens, kv: kernel.NewKV(heads[1], heads[2], blockTokens, blocks)}
	for i := range blocks {
		a.kv.Randomize(int32(i), 0)
	}
	return a
}

// point is attention of batch sequences that compute q tokens each, the last of kv
// tokens.
func (a *attention) point(batch, q, kv int) *point {
	d, rows := a.kv.HeadDim, batch*q
	qkv := newPool(rows*(a.heads+2*a.kv.Heads)*d, 2).data
	out := make([]float32, rows*a.heads*d)
	spans := make([]kernel.Span, batch)
	for i := range spans {
		spans[i] = kernel.Span{Row: i * q, Tokens: q, Before: kv - q, Table: make([]int32, (kv+blockTokens-1)/blockTokens)}
	}
	return &point{run: func() error {
		for i := range spans {
			a.give(spans[i].Table)
		}
		a.k.Attend(out, qkv, a.heads, &a.kv, spans)
		return nil
	}}
}

// give fills a block table with the blocks whose turn it is. They lie apart from each
// other, as in memory that has been given and taken for a while.
func (a *attention) give(table []int32) {
	const stride = 7
	blocks := a.tokens / blockTokens
	for i := range table {
		table[i] = int32(a.at * stride % blocks)
		a.at++
	}
}
