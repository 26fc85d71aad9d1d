package batch

// Orca is iteration-level batching (Yu et al., OSDI 2022) as the Sarathi-Serve
// artefact implements it: all decodes run in every iteration, whole prompts of
// new requests join them without a cap on tokens, and blocks for the longest
// possible sequence are reserved.
type Orca struct {
	MaxSeqs int `toml:"max_seqs"` // largest batch
}

// Limits implements [Policy].
func (o *Orca) Limits(maxLen int) Limits {
	return Limits{MaxSeqs: o.MaxSeqs, MaxTokens: o.MaxSeqs * maxLen, Reserve: ReserveMax}
}

// Plan implements [Policy].
func (o *Orca) Plan(p Plan) {
	p.DecodeAll()
	for h := p.Head(); h != nil && p.Held() < o.MaxSeqs; h = p.Head() {
		if !p.Admit(h.Left()) {
			break
		}
	}
	p.Steady()
}
