package hwmodel

import "math"

// DecodeKernel is the kernel that attends from one query a sequence. A block reads the
// keys and values of one sequence and KV head; a long context is split into parts where
// blocks are too few to fill the device, and the parts are combined by a second kernel.
// A call takes as long as reading everything at the rate of the memory, or as a block
// needs for its part.
type DecodeKernel struct {
	AttentionKey
	Grouped bool    `toml:"grouped"` // whether it serves models whose query heads share KV heads, or those without
	Most    float64 `toml:"most"`    // query heads that share a KV head at most, 0 for any number; larger groups run as heads without

	Launch    float64 `toml:"launch"`    // seconds, start and end of the kernel
	Copy      float64 `toml:"copy"`      // seconds more where queries are put in order first: several sequences and KV heads
	Bandwidth float64 `toml:"bandwidth"` // share of DRAM bandwidth on keys and values
	Reach     float64 `toml:"reach"`     // share of L2 up to which keys and values stay there between two calls on the same ones
	Stream    float64 `toml:"stream"`    // bytes per second of keys and values that one block takes in
	Block     float64 `toml:"block"`     // seconds of an SM that each block takes besides
	Parts     float64 `toml:"parts"`     // blocks that contexts are split into where sequences are few, for each SM; 0 if never
	Span      float64 `toml:"span"`      // keys of a part at least
	Combine   float64 `toml:"combine"`   // seconds to combine parts
	Norm      int     `toml:"norm"`      // how the memory's and the blocks' times combine, see [Overlap]

	Rows    float64 `toml:"rows"`    // rows to which each query head is padded, 0 if heads of a group share a tile
	Compute float64 `toml:"compute"` // share of peak tensor FLOP/s on padded rows, if there are any

	// Residual corrects over any of "context", its mean, "blocks" an SM before
	// splitting, "kv_heads", and "group", query heads of each.
	Residual *Residual `toml:"residual,omitempty"`
	Fit      `toml:"fit"`
}

// On returns the cost of the kernel for h on d, with keys and values in device memory, as
// a model leaves them whose other layers came between two calls.
func (k *DecodeKernel) On(d *Device, h Heads) DecodeCost {
	group := float64(h.Query) / float64(h.KV)
	floor := max(float64(2*h.KV*h.Dim*h.KVBytes)/d.DRAMBytes, float64(4*h.Dim*h.Query)/d.FLOPs(k.DType))
	read := 1 / d.DRAMBytes
	if !k.Grouped {
		// A kernel that knows no groups reads the keys of a group once for each of its
		// query heads, after the first from L2.
		h.KV = h.Query
		read = max(read/group, 1/d.L2Bytes)
	}
	token := float64(2 * h.KV * h.Dim * h.KVBytes)
	c := DecodeCost{
		k: k, kv: float64(h.KV), sms: float64(d.SMs),
		token: token, read: read / k.Bandwidth,
		walk:  token / (float64(h.KV) * k.Stream),
		floor: floor, quick: 1 / (read * d.L2Bytes),
	}
	if k.Rows > 0 {
		c.padded = float64(4*h.Dim*h.Query) * k.Rows / (d.FLOPs(k.DType) * k.Compute)
	}
	c.residual = k.Residual.bind(decodeAxes[:2], held{"kv_heads", float64(h.KV)}, held{"group", group})
	return c
}

// decodeAxes are what a residual of a [DecodeKernel] may correct over: what sequences
// decide, then what heads decide.
var decodeAxes = []string{"context", "blocks", "kv_heads", "group"}

// Again returns the cost of the kernel where the same call was made just before, as
// benchmarks do: what fits stays in L2.
func (k *DecodeKernel) Again(d *Device, h Heads) DecodeCost {
	c := k.On(d, h)
	c.cached = float64(d.L2Size) * k.Reach
	c.floor = max(float64(2*h.KV*h.Dim*h.KVBytes)/d.L2Bytes, float64(4*h.Dim*h.Query)/d.FLOPs(k.DType))
	return c
}

// DecodeCost is a [DecodeKernel] for one shape of heads on one device.
type DecodeCost struct {
	k             *DecodeKernel
	kv, sms       float64
	token         float64 // bytes a token of context
	read          float64 // seconds a byte from memory
	walk          float64 // seconds a block takes for a token
	padded        float64 // seconds a token, where rows are padded
	cached, quick float64 // bytes that stay in L2, and how their time shrinks; 0 if none do
	floor         float64 // seconds a token by physics
	residual      correction
}

// Sizes returns the mean context of n decodes and the blocks an SM before contexts are
// split.
func (c *DecodeCost) Sizes(n int, context int64) (each, blocks float64) {
	return float64(context) / float64(n), float64(n) * c.kv / c.sms
}

// Time returns the seconds that n decodes with context tokens of KV in all take in
// one layer. Only the sum of the contexts is known: each is taken to be the mean.
func (c *DecodeCost) Time(n int, context int64) float64 {
	if n == 0 {
		return 0
	}
	k := c.k
	total := float64(context)
	each, blocks := c.Sizes(n, context)
	bytes := float64(c.token * total)
	stream := float64(bytes * c.read)
	if c.cached > 0 {
		stream *= fromL2(bytes/c.cached, c.quick)
	}
	stream = max(stream, float64(c.padded*total))
	parts := 1.0
	if k.Parts > 0 {
		parts = max(1, min(k.Parts/blocks, math.Ceil(each/k.Span)))
	}
	one := k.Block + float64(c.walk*each)/parts
	even := float64(blocks * parts * k.Block)
	t := k.Launch + Overlap(stream, max(one, even), k.Norm)
	if n > 1 && c.kv > 1 {
		t += k.Copy
	}
	if parts > 1 {
		t += k.Combine
	}
	return max(t*c.residual.at(each, blocks), float64(c.floor*total))
}
