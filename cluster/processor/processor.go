// Package processor runs the iterations of a replica on a model that really computes,
// such as a transformer on the host's processor: it is the [cluster.Executor] of a
// replica that is no simulation. It keeps the tokens of every sequence, of which the
// cluster knows the number only.
package processor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"orrery/cluster"
	"orrery/infer"
	"orrery/sim"
)

// Model is a text model with paged KV memory for sequences in slots, such as
// [infer.Model].
type Model interface {
	// Step computes one iteration over any mix of parts and returns the next token
	// of each part with Sample, in order.
	Step(ctx context.Context, parts []infer.Part) (next []int32, err error)
	// Free gives back the KV memory of a slot.
	Free(slot int)
}

// Executor is a [cluster.Executor] on a [Model]. Prompts are random tokens, drawn from
// streams named by request, so that all runs of a request compute the same.
type Executor struct {
	model Model
	vocab int32
	seed  uint64
	seqs  map[int32]*sequence // by slot
	parts []infer.Part
}

// sequence is a request in a slot.
type sequence struct {
	request int64
	tokens  []int32 // prompt, then what was sampled
	cached  int32   // tokens in the model's KV memory
}

var _ cluster.Executor = (*Executor)(nil)

// New returns an executor on a model with the given number of different tokens.
func New(m Model, vocab int, seed uint64) *Executor {
	return &Executor{model: m, vocab: int32(vocab), seed: seed, seqs: make(map[int32]*sequence)}
}

// Run carries out one iteration. The host's work is that before the model's step.
func (e *Executor) Run(ctx context.Context, s *cluster.ExecStep) (cluster.Ran, error) {
	e.free(s.Freed)
	e.parts = e.parts[:0]
	for i := range s.Parts {
		p, err := e.part(&s.Parts[i])
		if err != nil {
			return cluster.Ran{}, err
		}
		e.parts = append(e.parts, p)
	}
	ran := cluster.Ran{Begin: time.Now()}
	next, err := e.model.Step(ctx, e.parts)
	ran.End = time.Now()
	if err != nil {
		return ran, err
	}
	ran.Host = ran.Begin.Sub(s.Start)
	return ran, e.advance(s.Parts, next)
}

// free gives back the memory of slots. Their tokens stay: a sequence that was
// pre-empted computes them again.
func (e *Executor) free(slots []int32) {
	for _, slot := range slots {
		e.model.Free(int(slot))
		if q := e.seqs[slot]; q != nil {
			q.cached = 0
		}
	}
}

// part looks up the tokens of a part.
func (e *Executor) part(p *cluster.ExecPart) (infer.Part, error) {
	q := e.seqs[p.Slot]
	if q == nil || q.request != p.Request {
		if q != nil && q.cached > 0 {
			return infer.Part{}, fmt.Errorf("processor: slot %d is given to request %d but holds %d tokens of request %d", p.Slot, p.Request, q.cached, q.request)
		}
		q = e.admit(p)
	}
	end := int(p.Before) + int(p.Tokens)
	if q.cached != p.Before || end > len(q.tokens) {
		return infer.Part{}, fmt.Errorf("processor: request %d computes tokens %d to %d, but has %d in memory and %d in all", p.Request, p.Before, end, q.cached, len(q.tokens))
	}
	return infer.Part{Slot: int(p.Slot), Tokens: q.tokens[p.Before:end], Sample: p.Sample}, nil
}

// admit draws the prompt of a request.
func (e *Executor) admit(p *cluster.ExecPart) *sequence {
	q := e.seqs[p.Slot]
	if q == nil {
		q = &sequence{}
		e.seqs[p.Slot] = q
	}
	q.request, q.cached, q.tokens = p.Request, 0, q.tokens[:0]
	rng := rand.New(sim.NewPCG(e.seed, "prompt "+strconv.FormatInt(p.Request, 10)))
	for range p.Prompt {
		q.tokens = append(q.tokens, rng.Int32N(e.vocab))
	}
	return q
}

// advance takes in what was computed and sampled.
func (e *Executor) advance(parts []cluster.ExecPart, next []int32) error {
	for i := range parts {
		p := &parts[i]
		q := e.seqs[p.Slot]
		q.cached += p.Tokens
		if !p.Sample {
			continue
		}
		if len(next) == 0 {
			return fmt.Errorf("processor: the model sampled fewer tokens than it was asked for")
		}
		// A recomputed sequence may sample a token that it has already; the answer that
		// was sent to the user stands.
		if int(q.cached) == len(q.tokens) {
			q.tokens = append(q.tokens, next[0])
		}
		next = next[1:]
	}
	return nil
}

// Reset gives back all memory and forgets all sequences.
func (e *Executor) Reset() {
	for slot, q := range e.seqs { // in any order: nothing remains of it
		if q.cached > 0 {
			e.model.Free(int(slot))
		}
		delete(e.seqs, slot)
	}
}

// Tokens returns the tokens of the sequence in a slot, its prompt first. The slice
// holds until the next step.
func (e *Executor) Tokens(slot int32) []int32 {
	if q := e.seqs[slot]; q != nil {
		return q.tokens
	}
	return nil
}
