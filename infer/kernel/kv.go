package kernel

// KV is the key and value memory of one layer, in blocks of tokens that sequences
// take in any order. Within a block lie the tokens of one head side by side, so that a
// head's part of it is a matrix of BlockTokens×HeadDim.
type KV struct {
	Heads, HeadDim, BlockTokens int
	K, V                        []float32
}

// NewKV returns the memory of blocks blocks.
func NewKV(heads, headDim, blockTokens, blocks int) KV {
	n := heads * headDim * blockTokens * blocks
	return KV{Heads: heads, HeadDim: headDim, BlockTokens: blockTokens, K: make([]float32, n), V: make([]float32, n)}
}

// at returns where the part of a head in a block begins, in K and in V.
func (c *KV) at(block int32, head int) int {
	return (int(block)*c.Heads + head) * c.BlockTokens * c.HeadDim
}

// Randomize fills a block with numbers from -1 to 1, another stream of them for each
// block.
func (c *KV) Randomize(block int32, seed uint64) {
	at, n := c.at(block, 0), c.Heads*c.BlockTokens*c.HeadDim
	Randomize(c.K[at:at+n], 1, seed, 2*uint64(block))
	Randomize(c.V[at:at+n], 1, seed, 2*uint64(block)+1)
}

// Span is the tokens that one sequence computes in a step: a chunk of its prompt or the
// one it decodes.
type Span struct {
	Row    int     // of its first token among the rows of the step
	Tokens int     // how many, at least one
	Before int     // tokens of the sequence in KV memory before them
	Table  []int32 // the sequence's blocks in order, with room for the tokens
}

// RoPE holds the angles of rotary position embedding (J. Su et al., arXiv:2104.09864)
// for the rows of a step, base 10,000.
type RoPE struct {
	half        int
	frequencies []float64
	sin, cos    []float32 // half numbers a row
}
