package cluster_test

import (
	"context"
	"fmt"
	"time"

	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/sim"
	"orrery/workloads"
)

// ShortestPrompt is a batch policy in thirty lines: decodes first, then whole
// prompts, shortest first.
type ShortestPrompt struct {
	MaxSeqs   int
	MaxTokens int
}

func (s *ShortestPrompt) Limits(maxLen int) batch.Limits {
	return batch.Limits{MaxSeqs: s.MaxSeqs, MaxTokens: max(s.MaxTokens, maxLen)}
}

func (s *ShortestPrompt) Plan(p batch.Plan) {
	p.DecodeAll()
	for p.Held() < s.MaxSeqs && p.Waiting() > 0 {
		shortest := p.Head()
		for _, q := range p.Queue() {
			if q.Left() < shortest.Left() {
				shortest = q
			}
		}
		p.Front(shortest)
		if p.Tokens() > 0 && p.Tokens()+shortest.Left() > s.MaxTokens || !p.Admit(shortest.Left()) {
			break
		}
	}
}

// affine prices an iteration at 10 ms and 0.1 ms a token.
type affine struct{}

func (affine) Stages() int { return 1 }
func (affine) Stage(_ int, b *hwmodel.Batch) time.Duration {
	return 10*time.Millisecond + time.Duration(b.Tokens())*100*time.Microsecond
}
func (affine) Send(*hwmodel.Batch) time.Duration         { return 0 }
func (affine) Host(*hwmodel.Batch) (time.Duration, bool) { return 0, false }

// three are three requests at time zero.
type three struct{ n int32 }

func (s *three) Peek() (sim.Time, bool) { return 0, s.n < 3 }
func (s *three) Next() workloads.Request {
	s.n++
	return workloads.Request{Prompt: 400 / s.n, Output: 2}
}

// printer prints when first tokens appear.
type printer struct{}

func (printer) Record(r *cluster.Record) {
	if r.What == cluster.FirstToken {
		fmt.Printf("request %d (%d tokens): first token at %v\n", r.Request.ID, r.Request.Prompt, r.At)
	}
}

// A policy of your own runs on a cluster of one replica.
func Example() {
	outcome, err := cluster.Run(context.Background(), cluster.Config{
		Replicas: []cluster.ReplicaConfig{{
			Policy: &ShortestPrompt{MaxSeqs: 8, MaxTokens: 512},
			Cost:   affine{}, MaxLen: 1024, Blocks: 512, BlockTokens: 16,
		}},
		Source: &three{},
		Record: []cluster.Recorder{printer{}},
	})
	fmt.Println(outcome.Finished, "finished,", err)
	// Output:
	// request 2 (133 tokens): first token at 43.3ms
	// request 1 (200 tokens): first token at 43.3ms
	// request 0 (400 tokens): first token at 93.5ms
	// 3 finished, <nil>
}
