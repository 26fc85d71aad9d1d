package scenarios

import (
	"fmt"

	"orrery/policies/batch"
)

// dynamicSarathi is [batch.Sarathi] with chunks that shrink as a prompt advances. They
// take the place of the token budget, so that it has no such key.
type dynamicSarathi struct {
	MaxSeqs   int                 `toml:"max_seqs"`
	Watermark float64             `toml:"watermark"`
	Dynamic   batch.DynamicChunks `toml:"dynamic"`

	policy batch.Sarathi
}

// Limits implements [batch.Policy]. It is called before the first decision.
func (d *dynamicSarathi) Limits(maxLen int) batch.Limits {
	d.policy = batch.Sarathi{MaxSeqs: d.MaxSeqs, Watermark: d.Watermark, Dynamic: &d.Dynamic}
	return d.policy.Limits(maxLen)
}

// Plan implements [batch.Policy].
func (d *dynamicSarathi) Plan(p batch.Plan) { d.policy.Plan(p) }

// Check returns an error unless the policy can serve.
func (d *dynamicSarathi) Check(maxLen int) error {
	// Sizes are rounded to a multiple of 32 tokens.
	if d.Dynamic.Low < 32 || d.Dynamic.High < d.Dynamic.Low {
		return fmt.Errorf("dynamic has chunks of %d to %d tokens; want at least 32, and high not below low", d.Dynamic.Low, d.Dynamic.High)
	}
	return (&batch.Sarathi{MaxSeqs: d.MaxSeqs, Watermark: d.Watermark, Dynamic: &d.Dynamic}).Check(maxLen)
}
