package llm

import "fmt"

// Budget is what an engine may use of the memory of each device.
type Budget struct {
	Device   string  // its name, for messages
	Bytes    int64   // memory of the device
	Fraction float64 // share of Bytes that the engine may use, as 0.85 or 0.9
	Reserved int64   // bytes within that share that are neither weights, activations nor KV cache
}

// Usable returns the bytes that the engine may use of a device.
func (b Budget) Usable() int64 { return int64(float64(b.Bytes) * b.Fraction) }

// ProfileRun is the iteration that an engine runs when it starts, to learn the peak
// memory of activations. Engines differ: the Sarathi artefact runs the largest
// batch of its scheduler (for Orca and FasterTransformer every sequence at the
// maximal length, for vLLM max_num_batched_tokens, for Sarathi one chunk) without
// sampling, vLLM samples for each of max_num_seqs sequences as well.
type ProfileRun struct {
	Tokens int // tokens of its batch
	Logits int // sequences sampled at its end
}

// Blocks returns how many blocks of blockTokens tokens of KV cache each device of
// a replica can hold. It is that of the pipeline stage with the least room, since
// a block spans all stages:
//
//	N = floor((fraction*memory - reserved - weights - peak activation) / bytes of a block)
//
// In the engines, weights are part of the peak that the profile run measures
// (torch.cuda.max_memory_allocated in the Sarathi artefact and vLLM before 0.4;
// the CUDA context is not part of it, so Reserved is 0 for them; later vLLM counts
// it). The error is a [*FitError] if there is no room for a single block.
func (m *Model) Blocks(p Parallel, b Budget, run ProfileRun, blockTokens int) (int64, error) {
	if err := m.CanSplit(p); err != nil {
		return 0, err
	}
	switch {
	case !(b.Fraction > 0 && b.Fraction <= 1):
		return 0, fmt.Errorf("memory fraction is %v; want a number above 0, at most 1", b.Fraction)
	case b.Bytes < 1 || b.Reserved < 0:
		return 0, fmt.Errorf("device memory is %d bytes, %d of them reserved; want at least 1 and 0", b.Bytes, b.Reserved)
	case run.Tokens < 1 || run.Logits < 0:
		return 0, fmt.Errorf("profile run has %d tokens and samples %d; want at least 1 and 0", run.Tokens, run.Logits)
	case blockTokens < 1:
		return 0, fmt.Errorf("block has %d tokens; want at least 1", blockTokens)
	}
	blocks := int64(-1)
	for stage := range p.Pipeline {
		room := b.Usable() - b.Reserved - m.Weights(p, stage) - m.Activations(p, stage, run)
		n := max(0, room) / m.BlockBytes(p, stage, blockTokens)
		if blocks < 0 || n < blocks {
			blocks = n
		}
	}
	if blocks == 0 {
		return 0, m.fitError(p, b, run, blockTokens)
	}
	return blocks, nil
}

// BlockBytes returns the bytes that a block of KV cache takes on each device of a
// pipeline stage: keys and values of its layers for the heads that the device
// keeps.
func (m *Model) BlockBytes(p Parallel, stage, blockTokens int) int64 {
	elements := 2 * m.StageLayers(p.Pipeline, stage) * m.KVHeadsPerDevice(p.Tensor) * m.HeadDim
	return int64(blockTokens) * int64(elements) * int64(m.KVBytes)
}

// KVBytesPerToken returns the bytes of KV cache of one token in the whole model,
// copies for tensor parallelism not counted.
func (m *Model) KVBytesPerToken() int64 { return m.BlockBytes(Parallel{1, 1}, 0, 1) }

// moeSlice is the number of tokens that vLLM's fused experts compute at once
// (VLLM_FUSED_MOE_CHUNK_SIZE), which bounds their intermediate memory.
const moeSlice = 32768

// Activations returns the peak bytes of activations on each device of a pipeline
// stage during the profile run, as PyTorch allocates in eager mode: what is alive
// at the same time while a layer runs, operator by operator, plus the sampler. It
// follows the model code of the Sarathi artefact (mistral.py, falcon.py,
// model_runner.py), with n tokens padded to a multiple of 8 as there, t the
// tensor-parallel degree and widths in elements per token:
//
//   - attention, at its output projection: layer input, its norm, queries, keys and
//     values, attention output, projection: 3 hidden + (2 query + 2 kv)/t
//   - MLP, at its down projection: layer input, residual sum and its norm, gate and up,
//     their product, down: 4 hidden + 3 intermediate/t; without a gate, while the
//     activation is applied: 3 hidden + 2 intermediate/t, or later 4 hidden + 1 intermediate/t
//   - a parallel block's MLP has in place of the residual sum the attention output and
//     the norms it did not compute itself
//   - experts: each of the k of a token has its own gate, up, product and down
//   - stages after the first keep what they received: 1 hidden
//   - sampling, after the layers: final hidden states, and for each sampled sequence
//     the vocabulary as logits in half precision and in float32, probabilities and log
//     probabilities in float32 (vLLM's sampler): 14 bytes
//
// Token indices and positions, a few bytes a token, are left out, as are the
// workspaces of matrix multiplications, a few MB.
func (m *Model) Activations(p Parallel, stage int, run ProfileRun) int64 {
	var (
		t     = int64(p.Tensor)
		n     = (int64(run.Tokens) + 7) / 8 * 8
		h     = int64(m.Hidden)
		query = int64(m.QueryWidth()) / t
		kv    = int64(m.KVHeadsPerDevice(p.Tensor) * m.HeadDim)
		inner = int64(m.Intermediate) / t
	)
	attention := n * (3*h + 2*query + 2*kv)

	held := 3 * h // layer input, residual sum, norm
	if m.ParallelBlock {
		held = (2 + int64(min(2, m.NormsPerLayer))) * h // layer input, norms, attention output
	}
	var mlp int64
	switch {
	case m.Experts > 0:
		rows := min(n, moeSlice) * int64(m.ExpertsPerToken)
		mlp = n*(held+h) + rows*(max(2*inner, h)+inner) // gate-up and down share a buffer
		if m.SharedExpertSize > 0 {
			mlp += n * h
		}
	case m.Gated:
		mlp = n * (held + h + 3*inner)
	default:
		mlp = n * max(held+2*inner, held+h+inner)
	}
	peak := max(attention, mlp) * int64(m.WeightBytes)
	if stage == p.Pipeline-1 {
		sampling := n*h*int64(m.WeightBytes) + int64(run.Logits)*int64(m.Vocab)*14
		peak = max(peak, sampling)
	}
	if stage > 0 {
		peak += n * h * int64(m.WeightBytes)
	}
	return peak
}

// FitError says that a replica's weights and activations leave no room for KV
// cache.
type FitError struct {
	Model    string
	Device   string
	Parallel Parallel
	Need     int64    // bytes a device: weights, activations, what is reserved and one KV block
	Have     int64    // bytes a device that the engine may use
	Fits     Parallel // the fewest devices that would do, or zero
}

// Error says in one line what is needed, what there is and what would do.
func (e *FitError) Error() string {
	const gib = 1 << 30
	text := fmt.Sprintf("%s does not fit on %s with %v: needs %.1f GiB a device, has %.1f", e.Model, e.Device, e.Parallel, float64(e.Need)/gib, float64(e.Have)/gib)
	if n := e.Fits.Devices(); n > 0 {
		return fmt.Sprintf("%s; %d devices (%v) would do", text, n, e.Fits)
	}
	return text + "; no number of such devices would do"
}

func (m *Model) fitError(p Parallel, b Budget, run ProfileRun, blockTokens int) *FitError {
	return &FitError{
		Model: m.Name, Device: b.Device, Parallel: p,
		Need: m.need(p, b, run, blockTokens), Have: b.Usable(),
		Fits: m.smallestFit(b, run, blockTokens),
	}
}

// need returns the bytes of the fullest device with one block of KV cache.
func (m *Model) need(p Parallel, b Budget, run ProfileRun, blockTokens int) int64 {
	var most int64
	for stage := range p.Pipeline {
		most = max(most, b.Reserved+m.Weights(p, stage)+m.Activations(p, stage, run)+m.BlockBytes(p, stage, blockTokens))
	}
	return most
}

// nodeDevices is the number of devices that tensor parallelism is suggested for
// at most: those of the usual server, which a fast link joins.
const nodeDevices = 8

// smallestFit returns the degrees with the fewest devices that the model fits on,
// of equal ones that with most tensor parallelism, or zero if there are none.
func (m *Model) smallestFit(b Budget, run ProfileRun, blockTokens int) Parallel {
	for devices := 1; devices <= nodeDevices*m.Layers; devices++ {
		for tensor := min(devices, nodeDevices); tensor >= 1; tensor-- {
			p := Parallel{tensor, devices / tensor}
			if devices%tensor == 0 && m.CanSplit(p) == nil && m.need(p, b, run, blockTokens) <= b.Usable() {
				return p
			}
		}
	}
	return Parallel{}
}
