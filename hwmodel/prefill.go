package hwmodel

import "math"

// PrefillKernel is the kernel that attends from chunks of prompts. A block of the
// kernel holds the queries of one tile and walks over the keys they attend to; blocks
// run side by side on the SMs, so that a call takes as long as all blocks spread evenly
// and a share of the longest one, which comes last, while queries, keys and values
// stream from memory. Engines that put new keys and values into the cache in the same
// call pay for that besides.
type PrefillKernel struct {
	AttentionKey
	Causal bool    `toml:"causal"` // whether a query attends to earlier tokens only
	Rows   float64 `toml:"rows"`   // queries of one block; a chunk is padded to a multiple of it
	Packed bool    `toml:"packed"` // whether the query heads of a group share blocks
	Span   float64 `toml:"span"`   // keys that a block walks over at a time; contexts are padded to a multiple of it

	Launch  float64 `toml:"launch"`  // seconds, start and end of the kernel
	Compute float64 `toml:"compute"` // share of peak tensor FLOP/s with all SMs busy
	Own     float64 `toml:"own"`     // cost of a pair within the chunk, in pairs with cached keys: 1 if masked tiles are skipped, 2 if they are computed
	Alone   float64 `toml:"alone"`   // time that a block alone on its SM takes for a key, in times of one among many
	Block   float64 `toml:"block"`   // seconds of an SM that each block takes besides walking
	Tail    float64 `toml:"tail"`    // share of the longest block that is paid at the end
	Wave    float64 `toml:"wave"`    // how much of a last, partial wave of blocks is paid: 1 all of it, 0 its share

	Bandwidth float64 `toml:"bandwidth"` // share of DRAM bandwidth on queries, outputs, keys and values
	Norm      int     `toml:"norm"`      // how walking and streaming overlap, see [Overlap]
	Store     float64 `toml:"store"`     // times that new keys and values are moved at the peak bandwidth to be put into the cache

	Reach float64 `toml:"reach"` // share of L2 up to which all these stay there between two equal calls

	// Residual corrects over any of "length" and "context", the mean tokens of a chunk
	// and before it, "blocks" an SM, "kv_heads", and "group", query heads of each.
	Residual *Residual `toml:"residual,omitempty"`
	Fit      `toml:"fit"`
}

// On returns the cost of the kernel for h on d.
func (k *PrefillKernel) On(d *Device, h Heads) PrefillCost {
	group := float64(h.Query) / float64(h.KV)
	c := PrefillCost{
		k: k, sms: float64(d.SMs), heads: float64(h.Query), rows: 1,
		walk: k.Rows * float64(4*h.Dim) * float64(d.SMs) / (d.FLOPs(k.DType) * k.Compute),
	}
	if k.Packed {
		c.heads, c.rows = float64(h.KV), group
	}
	wide, _ := Width(k.DType)
	kv := float64(2 * h.KV * h.Dim * h.KVBytes)
	query := float64(h.Query*h.Dim) * (wide + 2)
	c.kv, c.query = kv/(d.DRAMBytes*k.Bandwidth), query/(d.DRAMBytes*k.Bandwidth)
	c.store = k.Store * (kv + float64(2*h.KV*h.Dim)*wide) / d.DRAMBytes
	c.floorPair = float64(4*h.Dim*h.Query) / d.FLOPs(k.DType)
	c.floorKV, c.floorQuery = kv/d.DRAMBytes, query/d.DRAMBytes
	c.residual = k.Residual.bind(prefillAxes[:3], held{"kv_heads", float64(h.KV)}, held{"group", group})
	return c
}

// prefillAxes are what a residual of a [PrefillKernel] may correct over: what chunks
// decide, then what heads decide.
var prefillAxes = []string{"length", "blocks", "context", "kv_heads", "group"}

// Again returns the cost of the kernel where the same call was made just before, as
// benchmarks do: what fits stays in L2.
func (k *PrefillKernel) Again(d *Device, h Heads) PrefillCost {
	c := k.On(d, h)
	c.cached = float64(d.L2Size) * k.Reach / (d.DRAMBytes * k.Bandwidth)
	c.quick = d.DRAMBytes / d.L2Bytes
	c.floorKV, c.floorQuery = c.floorKV*c.quick, c.floorQuery*c.quick
	return c
}

// PrefillCost is a [PrefillKernel] for one shape of heads on one device.
type PrefillCost struct {
	k           *PrefillKernel
	sms         float64
	heads, rows float64 // columns of blocks, and rows of a tile that a query fills
	walk        float64 // seconds an SM takes for a key and a tile's rows
	kv, query   float64 // seconds a token of KV read, a token of the chunks
	store       float64 // seconds a token put into the cache

	floorPair, floorKV, floorQuery float64 // physics
	residual                       correction

	cached, quick float64 // seconds of streaming that stay in L2, and how they shrink; 0 if none do
}

// Sizes returns the mean length of the chunks of b, the blocks an SM that they are cut
// into, and the mean context before them.
func (c *PrefillCost) Sizes(b *Batch) (length, blocks, context float64) {
	chunks := float64(b.Chunks)
	length, context = float64(b.ChunkTokens)/chunks, float64(b.ChunkContext)/chunks
	return length, math.Ceil(length*c.rows/c.k.Rows) * chunks * c.heads / c.sms, context
}

// Time returns the seconds that the chunks of b take in one layer. Their queries
// attend to the cached tokens before them and, under the causal mask, to one
// another; the keys of earlier chunks are read again. Only sums over the chunks are
// known, so that each is taken to have the mean length where it is cut into blocks.
func (c *PrefillCost) Time(b *Batch) float64 {
	if b.ChunkTokens == 0 {
		return 0
	}
	length, blocks, context := c.Sizes(b)
	keys, longest := c.keys(b, length, context)
	even := blocks * (c.k.Block + float64(c.walk*keys))
	t := c.spread(blocks, even, longest, c.stream(b))
	t += float64(c.store * float64(b.ChunkTokens))
	return max(t*c.residual.at(length, blocks, context+1), c.least(b, 0))
}

// keys returns how many keys the blocks of the chunks of b walk over, in the mean and in
// the longest.
func (c *PrefillCost) keys(b *Batch, length, context float64) (mean, longest float64) {
	span, own := c.k.Span, c.k.Own
	longest = math.Ceil((context+length)/span) * span
	if !c.k.Causal {
		return longest, longest
	}
	// Of the pairs, half of each chunk's square lies within the chunk.
	tokens, squares := float64(b.ChunkTokens), float64(b.ChunkSquares)
	cached := (float64(b.ChunkPairs) - (squares+tokens)/2) / tokens
	mean = cached + float64(own*squares)/(2*tokens) + span/2
	return min(max(mean, span), longest), longest
}

// stream returns the seconds in which the queries, outputs, keys and values of the chunks
// of b move.
func (c *PrefillCost) stream(b *Batch) float64 {
	tokens := float64(b.ChunkTokens)
	return float64(c.kv*(float64(b.ChunkContext)+tokens)) + float64(c.query*tokens)
}

// spread returns the seconds of a call with so many blocks an SM that all of them keep
// the SMs busy for even seconds, the longest walks over so many keys, and memory streams
// for so long.
func (c *PrefillCost) spread(blocks, even, longest, stream float64) float64 {
	k := c.k
	if k.Wave > 0 {
		even *= 1 + float64(k.Wave*(math.Ceil(blocks)/blocks-1))
	}
	last := k.Block + float64(c.walk*k.Alone*longest)
	if c.cached > 0 {
		stream *= fromL2(stream/c.cached, c.quick)
	}
	busy := last // a block for each SM at most
	if blocks > 1 {
		busy = max(last, even+float64(k.Tail*last))
	}
	return k.Launch + Overlap(busy, stream, k.Norm)
}

// least returns the seconds that physics asks for the chunks of b at least, and for
// decodes that attend to so many tokens.
func (c *PrefillCost) least(b *Batch, attended float64) float64 {
	tokens := float64(b.ChunkTokens)
	moved := float64(c.floorKV*(float64(b.ChunkContext)+tokens+attended)) + float64(c.floorQuery*tokens)
	return max(c.floorPair*(c.pairs(b)+attended), moved)
}

// pairs returns the query-key pairs of the chunks of b.
func (c *PrefillCost) pairs(b *Batch) float64 {
	if c.k.Causal {
		return float64(b.ChunkPairs)
	}
	return float64(b.ChunkPairs) + (float64(b.ChunkSquares)-float64(b.ChunkTokens))/2
}

// fromL2 returns the time of a stream whose size is x of what stays in L2, in times of
// the same stream from memory, where L2 takes quick of that time.
func fromL2(x, quick float64) float64 {
	x *= x
	x *= x
	return (quick + x) / (1 + x)
}
