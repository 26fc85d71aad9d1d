package trace

import (
	"errors"
	"fmt"
	"math"

	"orrery/sim"
)

// Joint draws prompt and output lengths from two distributions. Correlation
// couples them by a Gaussian copula: it is the correlation of their normal
// scores, 0 for independent lengths, 1 or -1 for outputs that follow from prompts.
type Joint struct {
	Prompt, Output Dist
	Correlation    float64
}

// Draws implements [Lengths], from the streams "prompt" and "output".
func (l Joint) Draws(seed uint64) (func() (prompt, output int32), error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	p, o := sim.Stream(seed, "prompt"), sim.Stream(seed, "output")
	rho, rest := l.Correlation, math.Sqrt(1-l.Correlation*l.Correlation)
	return func() (prompt, output int32) {
		z, w := p.NormFloat64(), o.NormFloat64()
		return tokens(l.Prompt.At(z)), tokens(l.Output.At(rho*z + rest*w))
	}, nil
}

func (l Joint) check() error {
	if l.Prompt == nil || l.Output == nil {
		return errors.New("Joint lacks a distribution; want both Prompt and Output")
	}
	if err := l.Prompt.Check(); err != nil {
		return fmt.Errorf("Joint.Prompt: %w", err)
	}
	if err := l.Output.Check(); err != nil {
		return fmt.Errorf("Joint.Output: %w", err)
	}
	if !(l.Correlation >= -1 && l.Correlation <= 1) {
		return fmt.Errorf("Joint.Correlation is %v; want -1 to 1", l.Correlation)
	}
	return nil
}

// Capped cuts requests whose prompt and output together exceed MaxTotal tokens.
// The excess is taken from both in proportion to their lengths, which is what
// the artefact of Sarathi-Serve (OSDI 2024) does with its traces.
type Capped struct {
	Of       Lengths
	MaxTotal int // tokens, at least 2
}

// Draws implements [Lengths].
func (l Capped) Draws(seed uint64) (func() (prompt, output int32), error) {
	if l.Of == nil {
		return nil, errors.New("Capped.Of is missing; want the lengths to cap")
	}
	if l.MaxTotal < 2 {
		return nil, fmt.Errorf("Capped.MaxTotal is %d; want at least 2 tokens, one of prompt and one of output", l.MaxTotal)
	}
	draw, err := l.Of.Draws(seed)
	if err != nil {
		return nil, err
	}
	most := int64(l.MaxTotal)
	return func() (prompt, output int32) {
		prompt, output = draw()
		return capTotal(prompt, output, most)
	}, nil
}

// capTotal cuts prompt and output in proportion so that they total at most
// most, at least 2. Shares of the excess are rounded up, each length stays at
// least 1.
func capTotal(prompt, output int32, most int64) (int32, int32) {
	p, o := int64(prompt), int64(output)
	total := p + o
	over := total - most
	if over <= 0 {
		return prompt, output
	}
	o = max(o-(over*o+total-1)/total, 1)
	p = max(min(p-(over*p+total-1)/total, most-o), 1)
	return int32(p), int32(min(o, most-p))
}
