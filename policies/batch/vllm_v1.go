package batch

// VLLMV1 is the scheduler of vLLM V1 (2025): no phases, one token budget, running
// sequences first in the order of their admission, KV blocks taken chunk by
// chunk, pre-emption by recomputation of the last to be admitted.
type VLLMV1 struct {
	MaxSeqs int `toml:"max_seqs"` // max_num_seqs
	Budget  int `toml:"budget"`   // max_num_batched_tokens
	// LongPrefill caps the chunk of one prompt, 0 for no cap
	// (long_prefill_token_threshold).
	LongPrefill int `toml:"long_prefill"`
	// AdmitPartial admits a request when its first chunk fits. Otherwise its
	// whole prompt must fit the free blocks, as newer versions demand, so that
	// half-computed prompts do not deadlock the memory.
	AdmitPartial bool `toml:"admit_partial"`

	chunks []chunk // reused between calls
}

type chunk struct {
	seq *Seq
	n   int
}

// Limits implements [Policy].
func (v *VLLMV1) Limits(int) Limits {
	return Limits{MaxSeqs: v.MaxSeqs, MaxTokens: max(v.Budget, v.MaxSeqs), Reserve: ReserveChunk, Pipelined: true}
}

// Plan implements [Policy].
func (v *VLLMV1) Plan(p Plan) {
	preempted, left := v.planRunning(p)
	if preempted == 0 {
		for h := p.Head(); h != nil && left > 0 && p.Held() < v.MaxSeqs; h = p.Head() {
			n := v.cap(h, left)
			if !v.AdmitPartial && !p.CanAdmit(h.Left()) || !p.Admit(n) {
				break
			}
			left -= n
		}
	}
	p.Steady()
}

// planRunning plans the admitted sequences and returns how many were pre-empted
// and how much of the budget is left.
func (v *VLLMV1) planRunning(p Plan) (preempted, left int) {
	left = v.Budget
	all := p.Decodes()
	if len(p.Prefilling()) == 0 && all <= left {
		return p.DecodeAll(), left - all
	}
	v.chunks = v.chunks[:0]
	decodes, blocks := 0, int64(0)
	for _, s := range p.Running() {
		if left == 0 {
			break
		}
		n := 0
		if s.Left() > 0 {
			n = v.cap(s, left)
			left -= n
		} else {
			decodes++
			left--
		}
		v.chunks = append(v.chunks, chunk{s, n})
		blocks += p.Blocks(n + 1)
	}
	// In order of admission, unless neither budget nor memory can run out before the
	// last of them: then the order makes no difference.
	together := decodes == all && blocks+int64(decodes) <= p.FreeBlocks()
	if together {
		p.DecodeAll()
	}
	for _, c := range v.chunks {
		if c.n == 0 && together {
			continue
		}
		for !v.take(p, c) {
			y := p.Victim(c.seq)
			if y == nil {
				return preempted + 1, left
			}
			p.Preempt(y)
			preempted++
			if y == c.seq {
				return preempted, left
			}
		}
	}
	return preempted, left
}

// take plans c. A sequence that has meanwhile been pre-empted needs nothing.
func (v *VLLMV1) take(p Plan, c chunk) bool {
	if c.seq.Computed == 0 {
		return true
	}
	if c.n == 0 {
		return p.Decode(c.seq)
	}
	return p.Chunk(c.seq, c.n)
}

func (v *VLLMV1) cap(s *Seq, left int) int {
	n := min(s.Left(), left)
	if v.LongPrefill > 0 {
		n = min(n, v.LongPrefill)
	}
	return n
}
