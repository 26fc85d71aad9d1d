// Package llm describes text models as the hardware sees them: shapes, and what
// follows from shapes (weights, KV cache, activation memory, the operators of an
// iteration). [Load] finds a model by name or reads its file; [Model] has the
// shapes; [Memory] says how much KV cache a replica has.
package llm

import "fmt"

// Model is a decoder-only transformer, described by its shapes. The TOML keys are
// those of the files in the folder models.
type Model struct {
	Name             string `toml:"name"`
	Source           string `toml:"source"` // where the shapes come from
	Layers           int    `toml:"layers"`
	Hidden           int    `toml:"hidden"`       // width of the residual stream
	Heads            int    `toml:"heads"`        // query heads
	KVHeads          int    `toml:"kv_heads"`     // key/value heads (grouped-query attention if fewer than Heads)
	HeadDim          int    `toml:"head_dim"`     // width of one head
	Intermediate     int    `toml:"intermediate"` // width of the MLP (of one expert, if there are experts)
	Vocab            int    `toml:"vocab"`
	MaxLen           int    `toml:"max_len"`            // longest sequence the model was made for, tokens
	Gated            bool   `toml:"gated"`              // the MLP has a gate projection beside the up projection (SwiGLU)
	ParallelBlock    bool   `toml:"parallel_block"`     // attention and MLP both read the layer's input: one all-reduce a layer
	NormsPerLayer    int    `toml:"norms_per_layer"`    // 2 nearly always; 1 if attention and MLP share one
	NormBias         bool   `toml:"norm_bias"`          // LayerNorm, which has a bias, rather than RMSNorm
	QKNorm           bool   `toml:"qk_norm"`            // queries and keys are normalised head by head (Qwen3)
	TiedEmbedding    bool   `toml:"tied_embedding"`     // the LM head shares the embedding's weights
	QKVBias          bool   `toml:"qkv_bias"`           // the query, key and value projections have a bias
	OutBias          bool   `toml:"out_bias"`           // the attention output projection has a bias
	MLPBias          bool   `toml:"mlp_bias"`           // the MLP projections have a bias
	Experts          int    `toml:"experts"`            // 0 for a dense model
	ExpertsPerToken  int    `toml:"experts_per_token"`  // experts that compute each token
	SharedExpertSize int    `toml:"shared_expert_size"` // width of the always-on expert, 0 if none
	SlidingWindow    int    `toml:"sliding_window"`     // tokens a query can look back, 0 for all
	WindowLayers     int    `toml:"window_layers"`      // layers that have the sliding window, spread evenly; 0 for all of them
	WeightBytes      int    `toml:"weight_bytes"`       // bytes of one weight, 2 for fp16 and bf16
	KVBytes          int    `toml:"kv_bytes"`           // bytes of one KV element
	// ExpertBits is the size of an expert's weight in bits, its share of scales included,
	// where experts are packed tighter than the rest of the model (MXFP4: 4.25); 0 if not.
	ExpertBits float64 `toml:"expert_bits"`
	// ExpertSkew says how unevenly experts are drawn: their loads follow x^-ExpertSkew, as
	// AIConfigurator's do, or are even if it is 0. A skew leaves experts without tokens, whose
	// weights need not be read, and gives one rank of several more work than the others.
	ExpertSkew float64 `toml:"expert_skew"`
}

// Parallel says how one replica is spread over devices.
type Parallel struct {
	Tensor   int // tensor-parallel degree, at least 1
	Pipeline int // pipeline stages, at least 1
}

// Devices returns the number of devices of one replica.
func (p Parallel) Devices() int { return p.Tensor * p.Pipeline }

// String returns the degrees as in "TP 2 x PP 1".
func (p Parallel) String() string { return fmt.Sprintf("TP %d x PP %d", p.Tensor, p.Pipeline) }

// QueryWidth returns the width of all query heads together.
func (m *Model) QueryWidth() int { return m.Heads * m.HeadDim }

// KVWidth returns the width of all key heads together, which is that of all
// value heads.
func (m *Model) KVWidth() int { return m.KVHeads * m.HeadDim }

// maxShape bounds every shape, so that no product of shapes overflows.
const maxShape = 1 << 24

// Validate returns an error unless the shapes can be those of a transformer.
func (m *Model) Validate() error {
	for _, f := range []struct {
		key           string
		value, lo, hi int
	}{
		{"layers", m.Layers, 1, 1 << 12},
		{"hidden", m.Hidden, 1, 1 << 20},
		{"heads", m.Heads, 1, 1 << 12},
		{"kv_heads", m.KVHeads, 1, 1 << 12},
		{"head_dim", m.HeadDim, 1, 1 << 12},
		{"intermediate", m.Intermediate, 1, 1 << 20},
		{"vocab", m.Vocab, 1, maxShape},
		{"max_len", m.MaxLen, 1, 1 << 30},
		{"norms_per_layer", m.NormsPerLayer, 1, 4},
		{"experts", m.Experts, 0, 1 << 12},
		{"experts_per_token", m.ExpertsPerToken, 0, 1 << 12},
		{"shared_expert_size", m.SharedExpertSize, 0, 1 << 20},
		{"sliding_window", m.SlidingWindow, 0, 1 << 30},
		{"weight_bytes", m.WeightBytes, 1, 8},
		{"kv_bytes", m.KVBytes, 1, 8},
	} {
		if f.value < f.lo || f.value > f.hi {
			return fmt.Errorf("%s is %d; want a number from %d to %d", f.key, f.value, f.lo, f.hi)
		}
	}
	switch {
	case m.Heads%m.KVHeads != 0:
		return fmt.Errorf("heads is %d and kv_heads %d; want heads to be a multiple of kv_heads", m.Heads, m.KVHeads)
	case m.Experts == 0 && (m.ExpertsPerToken > 0 || m.SharedExpertSize > 0):
		return fmt.Errorf("experts_per_token is %d and shared_expert_size %d without experts; want both 0", m.ExpertsPerToken, m.SharedExpertSize)
	case m.Experts > 0 && (m.ExpertsPerToken < 1 || m.ExpertsPerToken > m.Experts):
		return fmt.Errorf("experts_per_token is %d; want a number from 1 to the %d experts", m.ExpertsPerToken, m.Experts)
	case m.WindowLayers < 0 || m.WindowLayers > m.Layers || m.WindowLayers > 0 && m.SlidingWindow == 0:
		return fmt.Errorf("window_layers is %d of %d layers with a sliding_window of %d; want no more than there are layers, and a window", m.WindowLayers, m.Layers, m.SlidingWindow)
	case m.ExpertBits < 0 || m.ExpertBits > 64 || m.ExpertBits > 0 && m.Experts == 0:
		return fmt.Errorf("expert_bits is %g with %d experts; want 0, or a number up to 64 with experts", m.ExpertBits, m.Experts)
	case m.ExpertSkew < 0 || m.ExpertSkew > 4 || m.ExpertSkew == 1:
		return fmt.Errorf("expert_skew is %g; want 0 for even loads, or a number up to 4 other than 1", m.ExpertSkew)
	case m.Experts > 0 && m.MLPBias:
		return fmt.Errorf("mlp_bias with experts is not modelled; want false")
	}
	return nil
}

// CanSplit returns an error unless a replica of the model can be spread as p says.
// The rules are vLLM's: the tensor-parallel degree divides the query heads and the
// MLP, it divides the key/value heads or is a multiple of them (each device then
// keeps a copy of one), and each stage has a layer.
func (m *Model) CanSplit(p Parallel) error {
	switch {
	case p.Tensor < 1 || p.Pipeline < 1:
		return fmt.Errorf("parallel degrees are %v; want at least 1 each", p)
	case m.Heads%p.Tensor != 0:
		return fmt.Errorf("tensor-parallel degree %d does not divide the %d heads of %s", p.Tensor, m.Heads, m.Name)
	case m.KVHeads%p.Tensor != 0 && p.Tensor%m.KVHeads != 0:
		return fmt.Errorf("tensor-parallel degree %d is neither a divisor nor a multiple of the %d key/value heads of %s", p.Tensor, m.KVHeads, m.Name)
	case m.Intermediate%p.Tensor != 0 || m.SharedExpertSize%p.Tensor != 0:
		return fmt.Errorf("tensor-parallel degree %d does not divide the MLP of %s, %d wide", p.Tensor, m.Name, m.Intermediate)
	case p.Pipeline > m.Layers:
		return fmt.Errorf("%d pipeline stages are more than the %d layers of %s", p.Pipeline, m.Layers, m.Name)
	}
	return nil
}

// StageLayers returns the number of layers on the given one of the pipeline
// stages. Layers that do not divide evenly go one each to the stages before the
// last, from the back, since the last stage has the LM head and the first the
// embedding (vLLM, get_pp_indices).
func (m *Model) StageLayers(stages, stage int) int {
	n, rest := m.Layers/stages, m.Layers%stages
	if fromLast := stages - 1 - stage; fromLast >= 1 && fromLast <= rest {
		n++
	}
	return n
}

// KVHeadsPerDevice returns how many key/value heads each device of a
// tensor-parallel group keeps: its share, or a copy of one if there are more
// devices than heads.
func (m *Model) KVHeadsPerDevice(tensor int) int { return max(1, m.KVHeads/tensor) }
