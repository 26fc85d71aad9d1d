package infer

import "fmt"

// Config describes a model and what it runs on.
type Config struct {
	Layers, Hidden, Heads, KVHeads, HeadDim, Intermediate, Vocab int

	BlockTokens int    // tokens of a KV block
	Blocks      int    // KV blocks in memory
	BLAS        string // "gonum", "openblas", or "auto" for OpenBLAS where it is installed
	Threads     int    // 0 for as many as Go uses
	Seed        uint64 // of the weights
}

// Orrery25M is the shape of the model orrery-25m (25.7 million weights), small enough to
// be served by two cores, in which a step of one token is still bound by memory and a
// chunk of hundreds by arithmetic. Where it runs is left to the caller.
func Orrery25M() Config {
	return Config{Layers: 8, Hidden: 512, Heads: 8, KVHeads: 4, HeadDim: 64, Intermediate: 1408, Vocab: 4096}
}

// vectorWidth is the number of float32 in the vectors of gonum's kernels. Rows that are
// whole vectors are summed in the same order wherever they lie in memory.
const vectorWidth = 4

// maxWeights bounds a model to 16 GiB of weights, and its KV memory as well.
const maxWeights = 4 << 30

// Check returns an error unless a model can be made of c.
func (c *Config) Check() error {
	for _, f := range []struct {
		name     string
		value    int
		multiple int
	}{
		{"Layers", c.Layers, 1}, {"Hidden", c.Hidden, vectorWidth}, {"Heads", c.Heads, 1}, {"KVHeads", c.KVHeads, 1},
		{"HeadDim", c.HeadDim, vectorWidth}, {"Intermediate", c.Intermediate, vectorWidth}, {"Vocab", c.Vocab, 1},
		{"BlockTokens", c.BlockTokens, 1}, {"Blocks", c.Blocks, 1},
	} {
		if f.value < 1 || f.value > 1<<24 || f.value%f.multiple != 0 {
			return fmt.Errorf("infer: %s is %d; want a multiple of %d from %d to %d", f.name, f.value, f.multiple, f.multiple, 1<<24)
		}
	}
	if c.Heads%c.KVHeads != 0 {
		return fmt.Errorf("infer: Heads is %d and KVHeads %d; want Heads to be a multiple of KVHeads", c.Heads, c.KVHeads)
	}
	if c.weights() > maxWeights {
		return fmt.Errorf("infer: the model has %.3g weights; want at most %.3g", c.weights(), float64(maxWeights))
	}
	if kv := 2 * float64(c.Layers) * float64(c.kvWidth()) * float64(c.BlockTokens) * float64(c.Blocks); kv > maxWeights {
		return fmt.Errorf("infer: %d KV blocks of %d tokens hold %.3g numbers; want at most %.3g", c.Blocks, c.BlockTokens, kv, float64(maxWeights))
	}
	return nil
}

// weights returns the number of weights.
func (c *Config) weights() float64 {
	h := float64(c.Hidden)
	layer := h*float64(c.qkvWidth()) + float64(c.queryWidth())*h + 3*h*float64(c.Intermediate) + 2*h
	return float64(c.Layers)*layer + float64(c.Vocab)*h + h
}

// Bytes returns what the weights of the model take in memory, and its KV blocks.
func (c *Config) Bytes() (weights, kv int64) {
	return 4 * int64(c.weights()), 4 * 2 * int64(c.Layers) * int64(c.kvWidth()) * int64(c.BlockTokens) * int64(c.Blocks)
}

func (c *Config) queryWidth() int { return c.Heads * c.HeadDim }
func (c *Config) kvWidth() int    { return c.KVHeads * c.HeadDim }
func (c *Config) qkvWidth() int   { return c.queryWidth() + 2*c.kvWidth() }
