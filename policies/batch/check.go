package batch

import "fmt"

// The Check methods say what is wrong with the settings of a policy, by the keys
// that scenarios give them, for a model whose longest sequence is maxLen tokens.
// A policy without such a method is taken as it is.

// Check returns an error unless the policy can serve.
func (b *RequestLevel) Check(int) error { return atLeastOne("max_seqs", b.MaxSeqs) }

// Check returns an error unless the policy can serve.
func (o *Orca) Check(int) error { return atLeastOne("max_seqs", o.MaxSeqs) }

// Check returns an error unless the policy can serve. An iteration that a longest
// prompt does not fit into would leave that prompt at the head of the queue for ever.
func (v *VLLM) Check(maxLen int) error {
	if v.MaxTokens != 0 && v.MaxTokens < maxLen {
		return fmt.Errorf("max_tokens is %d, less than the longest sequence; want at least max_len, %d, since prompts are computed whole (or 0 for max_len)", v.MaxTokens, maxLen)
	}
	return firstError(atLeastOne("max_seqs", v.MaxSeqs), share("watermark", v.Watermark))
}

// Check returns an error unless the policy can serve.
func (s *Sarathi) Check(int) error {
	err := firstError(atLeastOne("max_seqs", s.MaxSeqs), share("watermark", s.Watermark))
	switch d := s.Dynamic; {
	case err != nil:
		return err
	case d == nil:
		return atLeastOne("budget", s.Budget)
	case s.Budget != 0:
		return fmt.Errorf("budget is %d, but the dynamic chunks decide it; leave it out", s.Budget)
	case d.High < d.Low:
		return fmt.Errorf("dynamic.high is %d, below dynamic.low, %d; want at least that", d.High, d.Low)
	default:
		return firstError(atLeast("dynamic.high", d.High, 32), atLeastOne("dynamic.stages", d.Stages), atLeastOne("dynamic.max_tokens", d.MaxTokens), atLeast("dynamic.low", d.Low, 32))
	}
}

// Check returns an error unless the policy can serve.
func (v *VLLMV1) Check(int) error {
	return firstError(atLeastOne("max_seqs", v.MaxSeqs), atLeastOne("budget", v.Budget), atLeast("long_prefill", v.LongPrefill, 0))
}

func atLeastOne(key string, n int) error { return atLeast(key, n, 1) }

// maxSetting bounds counts of tokens and sequences, so that products of them do not
// overflow.
const maxSetting = 1 << 24

func atLeast(key string, n, low int) error {
	if n < low || n > maxSetting {
		return fmt.Errorf("%s is %d; want %d to %d", key, n, low, maxSetting)
	}
	return nil
}

func share(key string, x float64) error {
	if !(x >= 0 && x < 1) {
		return fmt.Errorf("%s is %v; want a share from 0 up to, but not, 1", key, x)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
