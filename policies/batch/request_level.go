package batch

// RequestLevel is batching as in FasterTransformer (NVIDIA, 2021): a batch is
// formed from the queue, and nobody joins it until its last request has
// finished. Blocks for the longest possible sequence are reserved, so nothing is
// ever pre-empted. Finished sequences leave; the batch shrinks.
type RequestLevel struct {
	MaxSeqs int `toml:"max_seqs"` // largest batch
}

// Limits implements [Policy].
func (b *RequestLevel) Limits(maxLen int) Limits {
	return Limits{MaxSeqs: b.MaxSeqs, MaxTokens: b.MaxSeqs * maxLen, Reserve: ReserveMax}
}

// Plan implements [Policy].
func (b *RequestLevel) Plan(p Plan) {
	if p.Decodes() > 0 {
		p.DecodeAll()
		p.Steady()
		return
	}
	for h := p.Head(); h != nil && p.Held() < b.MaxSeqs; h = p.Head() {
		if !p.Admit(h.Left()) {
			return
		}
	}
}
