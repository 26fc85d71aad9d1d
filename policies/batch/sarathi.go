package batch

// Sarathi is stall-free batching with chunked prefills (Agrawal et al., OSDI
// 2024, Algorithm 3, as its artefact implements it): every decode runs in every
// iteration, then prompts under way go on, then new requests are admitted, all
// within a budget of tokens. Decodes are never limited by the budget.
type Sarathi struct {
	MaxSeqs   int     `toml:"max_seqs"`  // largest batch
	Budget    int     `toml:"budget"`    // tokens of an iteration
	Watermark float64 `toml:"watermark"` // share of blocks that an admission leaves free
	// Dynamic, if set, replaces the budget by chunks that shrink as a prompt
	// advances.
	Dynamic *DynamicChunks
}

// Limits implements [Policy].
func (s *Sarathi) Limits(int) Limits {
	tokens := s.Budget
	if s.Dynamic != nil {
		tokens = s.Dynamic.High
	}
	return Limits{MaxSeqs: s.MaxSeqs, MaxTokens: max(tokens, s.MaxSeqs), Watermark: s.Watermark, StrictAppend: true}
}

// Plan implements [Policy].
func (s *Sarathi) Plan(p Plan) {
	p.DecodeAll()
	for _, q := range p.Prefilling() {
		p.Chunk(q, s.next(q, p.Tokens()))
	}
	for h := p.Head(); h != nil && p.Held() < s.MaxSeqs; h = p.Head() {
		if !p.Admit(s.next(h, p.Tokens())) {
			break
		}
	}
	p.Steady()
}

// next returns how many prompt tokens of q an iteration of n tokens has room for.
func (s *Sarathi) next(q *Seq, n int) int {
	budget := s.Budget
	if s.Dynamic != nil {
		budget = s.Dynamic.Size(int(q.Computed))
	}
	return min(q.Left(), budget-n)
}

// DynamicChunks makes a token budget shrink in stages as a prompt advances, so
// that the growing cost of attention does not lengthen iterations.
type DynamicChunks struct {
	Low       int `toml:"low"`  // smallest budget, tokens
	High      int `toml:"high"` // largest budget, tokens
	Stages    int `toml:"stages"`
	MaxTokens int `toml:"max_tokens"` // prompt length spread over the stages
}

// DefaultDynamicChunks is the artefact's default.
var DefaultDynamicChunks = DynamicChunks{Low: 128, High: 2048, Stages: 16, MaxTokens: 131072}

// Size returns the budget for a prompt of which done tokens are computed: the
// stages' sizes are spaced evenly from High to Low and rounded to a multiple of 32.
func (d *DynamicChunks) Size(done int) int {
	stage := min(done/((d.MaxTokens+d.Stages-1)/d.Stages), d.Stages-1)
	size := d.High
	if d.Stages > 1 {
		size -= (d.High - d.Low) * stage / (d.Stages - 1)
	}
	return (size + 16) / 32 * 32
}

// ChunkedOnly is an ablation of [Sarathi]: prompts are chunked, but iterations
// alternate between prompt chunks and decodes instead of mixing them.
type ChunkedOnly struct {
	Sarathi
	decodeTurn bool
}

// Plan implements [Policy].
func (c *ChunkedOnly) Plan(p Plan) {
	if c.decodeTurn && p.Decodes() > 0 {
		c.decodeTurn = false
		p.DecodeAll()
		return
	}
	c.decodeTurn = true
	for _, q := range p.Prefilling() {
		p.Chunk(q, c.next(q, p.Tokens()))
	}
	for h := p.Head(); h != nil && p.Held() < c.MaxSeqs; h = p.Head() {
		if !p.Admit(c.next(h, p.Tokens())) {
			break
		}
	}
	if p.Tokens() == 0 {
		c.decodeTurn = false // as it is when prompts were not to be had before either
		p.DecodeAll()
		p.Steady()
	}
}
