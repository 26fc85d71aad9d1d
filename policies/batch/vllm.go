package batch

// VLLM is the scheduler of vLLM before V1 (Kwon et al., SOSP 2023): prompts come
// first, whole and in iterations of their own, while every decode waits;
// otherwise all sequences decode. It is the baseline of the Sarathi-Serve paper.
type VLLM struct {
	MaxSeqs int `toml:"max_seqs"` // max_num_seqs
	// MaxTokens is the size of the largest prompt iteration
	// (max_num_batched_tokens). Prompts are computed whole, so vLLM refuses to start
	// with less than the longest sequence; here anything less, 0 included, counts as
	// that.
	MaxTokens int `toml:"max_tokens"`
	// Watermark is the share of blocks that an admission leaves free.
	Watermark float64 `toml:"watermark"`
	// Swap moves pre-empted sequences to host memory instead of recomputing them.
	Swap bool `toml:"swap"`

	maxTokens int
}

// Limits implements [Policy].
func (v *VLLM) Limits(maxLen int) Limits {
	v.maxTokens = max(v.MaxTokens, maxLen)
	return Limits{MaxSeqs: v.MaxSeqs, MaxTokens: v.maxTokens, Watermark: v.Watermark, StrictAppend: true, Swap: v.Swap}
}

// Plan implements [Policy].
func (v *VLLM) Plan(p Plan) {
	// Swapped sequences come before waiting ones: no prompt starts while one is out.
	for h := p.Head(); h != nil && p.Swapped() == nil; h = p.Head() {
		n := h.Left()
		if p.Tokens()+n > v.maxTokens || p.Held() >= v.MaxSeqs || !p.Admit(n) {
			break
		}
	}
	if p.Tokens() > 0 {
		return
	}
	if p.DecodeAll() == 0 {
		for p.Swapped() != nil && p.SwapIn() {
		}
	}
	p.Steady()
}
