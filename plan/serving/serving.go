package serving

import (
	"context"
	"fmt"

	"orrery/calibrate"
	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/sim"
	"orrery/workloads/llm"
)

// Times are means over the requests of a run, in seconds, and its output in tokens per
// second.
type Times struct {
	TTFT       float64 `json:"ttft_s"`
	TPOT       float64 `json:"tpot_s"`
	Throughput float64 `json:"output_tokens_per_s"`
}

// throughput returns the output of a closed loop by Little's law: each client has output
// tokens every TTFT + (output-1)*TPOT.
func throughput(w *calibrate.ServingRow, ttft, tpot float64) float64 {
	return float64(w.Clients) * float64(w.Output) / (ttft + float64(w.Output-1)*tpot)
}

// Measured returns what was published of w. The throughput follows from it.
func Measured(w *calibrate.ServingRow) Times {
	return Times{w.TTFT, w.TPOT, throughput(w, w.TTFT, w.TPOT)}
}

// The limits that engines were run with: tokens of an iteration by vLLM's default for its
// server on boards of 80 GB and more and by TensorRT-LLM's, tokens of a KV block.
const (
	budget      = 8192
	blockTokens = 16
)

// Simulate runs w again on devices of profile p under engine e.
func Simulate(ctx context.Context, w *calibrate.ServingRow, p *hwmodel.Profile, e *hwmodel.Engine) (Times, error) {
	if w.Apart {
		return Times{}, fmt.Errorf("%s:%d: prompts and answers have workers of their own, whose numbers are not modelled here", w.File, w.Line)
	}
	replica, err := replicaOf(w, p, e)
	if err != nil {
		return Times{}, fmt.Errorf("%s:%d: %w", w.File, w.Line, err)
	}
	pr := protocolOf(w)
	got := times{clients: int64(w.Clients), total: int64(w.Clients * pr.rounds), settled: pr.settled}
	out, err := cluster.Run(ctx, cluster.Config{
		Source: newClients(w, pr, answer(w, replica.Cost)), Record: []cluster.Recorder{&got}, Replicas: []cluster.ReplicaConfig{*replica},
	})
	if err != nil {
		return Times{}, fmt.Errorf("%s:%d: %w", w.File, w.Line, err)
	}
	if got.failed > 0 || got.count == 0 || out.Stopped {
		return Times{}, fmt.Errorf("%s:%d: %d of %d requests were refused, since KV cache has room for %d tokens", w.File, w.Line, got.failed, got.total, replica.Blocks*blockTokens)
	}
	ttft, tpot := got.ttft/got.count, got.tpot/got.count
	return Times{ttft, tpot, throughput(w, ttft, tpot)}, nil
}

// replicaOf returns the worker of w.
func replicaOf(w *calibrate.ServingRow, p *hwmodel.Profile, e *hwmodel.Engine) (*cluster.ReplicaConfig, error) {
	parallel := llm.Parallel{Tensor: w.Decode.Tensor, Pipeline: max(1, w.Decode.Pipeline)}
	cost, err := llm.NewCost(w.Model, parallel, p, e, llm.ExpertRanks(ranks(w.Decode)))
	if err != nil {
		return nil, err
	}
	memory := llm.Budget{Device: p.Device.Name, Bytes: p.Device.Memory, Fraction: e.MemoryFraction}
	blocks, err := w.Model.Blocks(parallel, memory, llm.ProfileRun{Tokens: budget, Logits: min(w.Clients, 1024)}, blockTokens)
	if err != nil {
		return nil, err
	}
	return &cluster.ReplicaConfig{
		Policy: policyOf(w), Cost: cost, MaxLen: w.Prompt + w.Output + blockTokens, Blocks: blocks, BlockTokens: blockTokens,
	}, nil
}

// ranks returns how many ways experts are divided. Some rows count devices of several
// dimensions into it.
func ranks(w calibrate.Workers) int { return min(w.Experts, w.Tensor) }

// policyOf returns how the backend of w plans iterations: SGLang computes prompts in
// iterations of their own, the others beside decodes.
func policyOf(w *calibrate.ServingRow) batch.Policy {
	if w.Backend == "sglang" {
		return &batch.VLLM{MaxSeqs: w.Clients, MaxTokens: budget}
	}
	return &batch.VLLMV1{MaxSeqs: w.Clients, Budget: budget}
}

// answer estimates how long a request takes among the others: its decodes, and its share
// of all prompts that are computed meanwhile.
func answer(w *calibrate.ServingRow, c hwmodel.CostModel) sim.Time {
	n := w.Clients
	decodes := hwmodel.Batch{Decodes: n, DecodeContext: int64(n) * int64(w.Prompt+w.Output/2), Logits: n}
	var prompt hwmodel.Batch
	prompt.AddChunk(min(w.Prompt, budget), 0)
	host, _ := c.Host(&decodes)
	chunks := float64(w.Prompt) / float64(min(w.Prompt, budget))
	return sim.Time(float64(w.Output)*float64(c.Stage(0, &decodes)+host) + float64(n)*chunks*float64(c.Stage(0, &prompt)))
}
