// Package llm describes text models as the hardware sees them: shapes, and what
// follows from shapes (weights, KV cache, activation memory, the operators of an
// iteration).
package llm

// Model is a decoder-only transformer, described by its shapes.
type Model struct {
	Name             string
	Layers           int
	Hidden           int // width of the residual stream
	Heads            int // query heads
	KVHeads          int // key/value heads (grouped-query attention if fewer than Heads)
	HeadDim          int
	Intermediate     int // width of the MLP (of one expert, if there are experts)
	Vocab            int
	MaxLen           int  // longest sequence the model was made for, tokens
	Gated            bool // the MLP has a gate projection beside the up projection (SwiGLU)
	ParallelBlock    bool // attention and MLP read the same input: one all-reduce and one norm a layer
	TiedEmbedding    bool // the LM head shares the embedding's weights
	QKVBias          bool
	Experts          int // 0 for a dense model
	ExpertsPerToken  int
	SharedExpertSize int // width of the always-on expert, 0 if none
	SlidingWindow    int // tokens a query can look back, 0 for all
	WeightBytes      int // bytes of one weight, 2 for fp16 and bf16
	KVBytes          int // bytes of one KV element
}

// Parallel says how one replica is spread over devices.
type Parallel struct {
	Tensor   int // tensor-parallel degree, at least 1
	Pipeline int // pipeline stages, at least 1
}

// Devices returns the number of devices of one replica.
func (p Parallel) Devices() int { return p.Tensor * p.Pipeline }
