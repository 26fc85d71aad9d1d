package processor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"orrery/cluster"
	"orrery/infer"
	"orrery/policies/batch"
	"orrery/sim"
	"orrery/workloads"
)

const vocab = 1000

// after is the model that tests run: the next token is a hash of all tokens before.
func after(tokens []int32) int32 {
	h := uint64(14695981039346656037)
	for _, t := range tokens {
		h = (h ^ uint64(t)) * 1099511628211
	}
	return int32(h >> 33 % vocab)
}

// hasher is a Model that computes [after] from what its slots hold, in no time but
// that of a sleep.
type hasher struct {
	slots map[int][]int32
	freed int
}

func (h *hasher) Step(_ context.Context, parts []infer.Part) (next []int32, err error) {
	time.Sleep(time.Millisecond)
	for _, p := range parts {
		h.slots[p.Slot] = append(h.slots[p.Slot], p.Tokens...)
		if p.Sample {
			next = append(next, after(h.slots[p.Slot]))
		}
	}
	return next, nil
}

func (h *hasher) Free(slot int) {
	if _, ok := h.slots[slot]; !ok {
		panic(fmt.Sprint("freed an empty slot: ", slot))
	}
	h.freed++
	delete(h.slots, slot)
}

// noting keeps the tokens of every request as an executor last knew them.
type noting struct {
	*Executor
	answers map[int64][]int32
}

func (n *noting) Run(ctx context.Context, s *cluster.ExecStep) (cluster.Ran, error) {
	ran, err := n.Executor.Run(ctx, s)
	for _, p := range s.Parts {
		if p.Sample {
			n.answers[p.Request] = slices.Clone(n.Tokens(p.Slot))
		}
	}
	return ran, err
}

// source hands out requests that are all there at the start.
type source struct{ left []workloads.Request }

func (s *source) Peek() (sim.Time, bool) { return 0, len(s.left) > 0 }

func (s *source) Next() workloads.Request {
	r := s.left[0]
	s.left = s.left[1:]
	return r
}

// A request gets the same answer whatever the policy makes of it: cut into chunks,
// batched with others, pre-empted and computed again.
func TestAnswersDoNotDependOnThePolicy(t *testing.T) {
	var asked []workloads.Request
	rng := sim.Stream(5, "asked")
	for range 40 {
		asked = append(asked, workloads.Request{Prompt: 1 + rng.Int32N(100), Output: 1 + rng.Int32N(30)})
	}
	for name, policy := range map[string]batch.Policy{
		"sarathi": &batch.Sarathi{MaxSeqs: 8, Budget: 24},
		"vllm":    &batch.VLLM{MaxSeqs: 8},
		"vllm-v1": &batch.VLLMV1{MaxSeqs: 8, Budget: 40},
		"orca":    &batch.Orca{MaxSeqs: 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := &hasher{slots: map[int][]int32{}}
			e := &noting{New(m, vocab, 9), map[int64][]int32{}}
			out, err := cluster.Live(t.Context(), cluster.Config{
				Source: &source{slices.Clone(asked)},
				Replicas: []cluster.ReplicaConfig{{
					Policy: policy, Executor: e, MaxLen: 160, Blocks: 24, BlockTokens: 16, // short enough to pre-empt
				}},
			})
			if err != nil || out.Finished != int64(len(asked)) {
				t.Fatal(name, out, err)
			}
			for id, r := range asked {
				want := New(m, vocab, 9).admit(&cluster.ExecPart{Request: int64(id), Prompt: r.Prompt}).tokens
				for range r.Output {
					want = append(want, after(want))
				}
				if got := e.answers[int64(id)]; !slices.Equal(got, want) {
					t.Fatalf("%s: request %d has tokens %v, want %v", name, id, got, want)
				}
			}
			if strings.HasPrefix(name, "vllm") && m.freed <= len(asked) {
				t.Errorf("%s: %d slots were freed for %d requests; nothing was pre-empted, so the test says too little", name, m.freed, len(asked))
			}
			if e.Reset(); len(m.slots) != 0 {
				t.Errorf("%s: %d slots still hold memory", name, len(m.slots))
			}
		})
	}
}

// mute is a Model that samples nothing, or fails.
type mute struct{ err error }

func (m mute) Step(context.Context, []infer.Part) ([]int32, error) { return nil, m.err }
func (mute) Free(int)                                              {}

// What does not add up is an error that says so.
func TestExecutorRefuses(t *testing.T) {
	part := cluster.ExecPart{Slot: 1, Request: 7, Prompt: 10, Tokens: 10, Sample: true}
	broken := errors.New("no memory")
	for want, c := range map[string]struct {
		m     Model
		parts []cluster.ExecPart
	}{
		"sampled fewer":  {mute{}, []cluster.ExecPart{part}},
		"no memory":      {mute{broken}, []cluster.ExecPart{part}},
		"tokens 3 to 13": {mute{}, []cluster.ExecPart{{Slot: 1, Request: 7, Prompt: 10, Before: 3, Tokens: 10}}},
		"tokens 0 to 11": {mute{}, []cluster.ExecPart{{Slot: 1, Request: 7, Prompt: 10, Tokens: 11}}},
	} {
		_, err := New(c.m, vocab, 1).Run(t.Context(), &cluster.ExecStep{Parts: c.parts})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one about %q", err, want)
		}
	}
	e := New(&hasher{slots: map[int][]int32{}}, vocab, 1)
	if _, err := e.Run(t.Context(), &cluster.ExecStep{Parts: []cluster.ExecPart{part}}); err != nil {
		t.Fatal(err)
	}
	part.Request = 8
	if _, err := e.Run(t.Context(), &cluster.ExecStep{Parts: []cluster.ExecPart{part}}); err == nil || !strings.Contains(err.Error(), "holds 10 tokens of request 7") {
		t.Errorf("error %v; want a slot that is taken refused", err)
	}
}
