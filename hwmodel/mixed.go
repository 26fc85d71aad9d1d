package hwmodel

import "math"

// MixedKernel is a kernel that attends from chunks of prompts and from decodes in one
// call. A decode is to it a chunk of one query: for each head a block that walks over the
// whole context, however few of its rows are used. Blocks of the heads of a group read
// the same keys and values; those that do not run at the same time find them in L2 only if
// the caches of all decodes fit.
type MixedKernel struct {
	PrefillKernel
	// Decodes corrects calls with decodes over any of "length" and "context" of the
	// chunk, "decodes", their mean "reach" of context, "kv_heads" and "group".
	Decodes *Residual `toml:"decodes,omitempty"`
}

// mixedAxes are what the correction of a [MixedKernel] may run over: what the batch
// decides, then what heads decide.
var mixedAxes = []string{"length", "context", "decodes", "reach", "kv_heads", "group"}

// On returns the cost of the kernel for h on d.
func (k *MixedKernel) On(d *Device, h Heads) MixedCost {
	group := float64(h.Query) / float64(h.KV)
	c := MixedCost{
		chunks: k.PrefillKernel.On(d, h), group: group,
		head: float64(2*h.Dim*h.KVBytes) / float64(d.L2Size), // of L2, a token of one KV head
	}
	if k.Packed {
		c.group = 1
	}
	c.residual = k.Decodes.bind(mixedAxes[:4], held{"kv_heads", float64(h.KV)}, held{"group", group})
	return c
}

// MixedCost is a [MixedKernel] for one shape of heads on one device.
type MixedCost struct {
	chunks   PrefillCost
	group    float64 // blocks that read the same keys
	head     float64
	residual correction
}

// Time returns the seconds that the chunks of b and its decodes, which attend to so many
// tokens in all, take in one layer.
func (c *MixedCost) Time(b *Batch, attended int64) float64 {
	if b.Decodes == 0 || b.ChunkTokens == 0 {
		return c.chunks.Time(b)
	}
	p := &c.chunks
	k := p.k
	length, blocks, context := p.Sizes(b)
	keys, longest := p.keys(b, length, context)
	chunk := blocks * (k.Block + float64(p.walk*keys))

	n, total := float64(b.Decodes), float64(attended)
	each := math.Ceil(total/(n*k.Span)) * k.Span
	more := n * p.heads / p.sms
	even := chunk + float64(more*(k.Block+float64(p.walk*each)))
	stream := p.stream(b) + float64(n*p.query) + float64(p.kv*total*c.reread(n, total))

	t := p.spread(blocks+more, even, max(longest, each), stream)
	t += float64(p.store * (float64(b.ChunkTokens) + n))
	if p.residual.r != nil { // of the chunk's share alone
		t *= 1 + float64((p.residual.at(length, blocks, context+1)-1)*chunk/even)
	}
	return max(t*c.residual.at(length, context+1, n, total/n), p.least(b, total))
}

// reread returns how often the keys and values of n decodes with total tokens come from
// memory. Blocks run head by head: all heads of a group together if the decodes are few
// for the SMs, one after the other if they are many.
func (c *MixedCost) reread(n, total float64) float64 {
	times := min(max(c.group*n/c.chunks.sms, 1), c.group)
	return 1 + float64((times-1)*fromL2(float64(c.head*total), 0))
}
