// Package requestlog replays the log of a real engine's requests in the simulator, by
// arrival, and says how far each request's times are off.
//
// A log has the requests of one or more runs ([calibrate.Timing]); a [Run] says what
// served them. Prices come from the operators of the board and the host of the
// engine alone.
package requestlog

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"orrery/calibrate"
	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/policies/route"
	"orrery/sim"
	"orrery/workloads"
	"orrery/workloads/llm"
)

// Run is what served the requests of a log: vLLM V1 or an engine that schedules as it does.
type Run struct {
	GPU, Model string // as the log names them
	Tensor     int    // tensor-parallel degree
	MaxSeqs    int    // most sequences of an iteration
	Budget     int    // most tokens of an iteration
	MaxLen     int    // longest sequence in tokens, 0 for the model's own
	KVTokens   int64  // tokens of KV cache, 0 for what the board's memory leaves
}

// Score says how far the simulation of a run is off. Its JSON form is stable.
type Score struct {
	GPU      string `json:"gpu"`
	Model    string `json:"model"`
	Engine   string `json:"engine"`
	Requests int    `json:"requests"`
	TTFT     Error  `json:"ttft"`
	TPOT     Error  `json:"tpot"`
	E2E      Error  `json:"e2e"`
}

// Error compares a time of all requests, one by one and as a distribution.
type Error struct {
	Median float64 `json:"median_ape"` // median over requests of |simulated/measured - 1|
	P90    float64 `json:"p90_ape"`
	// P50 and P99 are the quantiles of the simulated times over those of the measured
	// ones, less 1.
	P50 float64 `json:"p50_shift"`
	P99 float64 `json:"p99_shift"`
}

// blockTokens is the size of vLLM's KV blocks.
const blockTokens = 16

// Replay simulates a run. Requests are those of the log with the run's GPU and model.
func Replay(ctx context.Context, run *Run, log []calibrate.Timing, p *hwmodel.Profile, e *hwmodel.Engine) (*Score, error) {
	ts := requestsOf(run, log)
	if len(ts) == 0 {
		return nil, fmt.Errorf("no request of the log is of %s on %s", run.Model, run.GPU)
	}
	got, err := simulate(ctx, run, ts, p, e)
	if err != nil {
		return nil, err
	}
	return compare(run, e.Name, ts, got)
}

// simulate serves the requests by arrival.
func simulate(ctx context.Context, run *Run, ts []calibrate.Timing, p *hwmodel.Profile, e *hwmodel.Engine) (served, error) {
	m, err := calibrate.PublishedModel(run.Model, 2)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, fmt.Errorf("the shapes of model %s are not known; the models are those of orrery list models", run.Model)
	}
	parallel := llm.Parallel{Tensor: run.Tensor, Pipeline: 1}
	cost, err := llm.NewCost(m, parallel, p, e)
	if err != nil {
		return nil, err
	}
	blocks := run.KVTokens / blockTokens
	if blocks == 0 {
		memory := llm.Budget{Device: p.Device.Name, Bytes: p.Device.Memory, Fraction: e.MemoryFraction}
		if blocks, err = m.Blocks(parallel, memory, llm.ProfileRun{Tokens: run.Budget, Logits: run.MaxSeqs}, blockTokens); err != nil {
			return nil, err
		}
	}
	got := served{}
	maxLen := run.MaxLen
	if maxLen == 0 {
		maxLen = m.MaxLen
	}
	_, err = cluster.Run(ctx, cluster.Config{
		Router: &route.RoundRobin{}, Source: sourceOf(ts), Record: []cluster.Recorder{got},
		Replicas: []cluster.ReplicaConfig{{
			Policy: &batch.VLLMV1{MaxSeqs: max(run.MaxSeqs, together(ts)), Budget: run.Budget}, Cost: cost, MaxLen: maxLen, Blocks: blocks, BlockTokens: blockTokens,
		}},
	})
	return got, err
}

func requestsOf(run *Run, log []calibrate.Timing) []calibrate.Timing {
	var ts []calibrate.Timing
	for _, t := range log {
		if t.GPU == run.GPU && t.Model == run.Model {
			ts = append(ts, t)
		}
	}
	slices.SortStableFunc(ts, func(a, b calibrate.Timing) int { return cmp.Compare(a.Arrival, b.Arrival) })
	return ts
}

// together returns the most requests that the log shows between their first and last
// tokens at once. A run's stated limit is below it in one published log.
func together(ts []calibrate.Timing) int {
	type edge struct {
		at   float64
		step int
	}
	var edges []edge
	for _, t := range ts {
		edges = append(edges, edge{t.First, 1}, edge{t.Last, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.step, b.step)) })
	n, most := 0, 0
	for _, e := range edges {
		n += e.step
		most = max(most, n)
	}
	return most
}

// compare summarises the errors of all requests.
func compare(run *Run, engine string, ts []calibrate.Timing, got served) (*Score, error) {
	var ttft, tpot, e2e pairs
	for i := range ts {
		t := &ts[i]
		s, ok := got[int64(i)]
		if !ok {
			return nil, fmt.Errorf("%s:%d: request %d did not end in the simulation; is the KV cache of the run too small for it?", t.File, t.Line, t.Request)
		}
		ttft.add((s.First - s.Arrived).Seconds(), t.First-t.Arrival)
		e2e.add((s.Last - s.Arrived).Seconds(), t.Last-t.Arrival)
		if n := float64(t.Output - 1); n > 0 {
			tpot.add((s.Last-s.First).Seconds()/n, (t.Last-t.First)/n)
		}
	}
	return &Score{GPU: run.GPU, Model: run.Model, Engine: engine, Requests: len(ts), TTFT: ttft.error(), TPOT: tpot.error(), E2E: e2e.error()}, nil
}

// pairs are simulated and measured times.
type pairs struct{ simulated, measured, errors []float64 }

// add leaves out times that the clocks of the log cannot tell from none.
func (p *pairs) add(simulated, measured float64) {
	if measured <= 0 {
		return
	}
	p.simulated, p.measured = append(p.simulated, simulated), append(p.measured, measured)
	p.errors = append(p.errors, math.Abs(simulated/measured-1))
}

func (p *pairs) error() Error {
	if len(p.errors) == 0 {
		return Error{}
	}
	for _, v := range [][]float64{p.simulated, p.measured, p.errors} {
		slices.Sort(v)
	}
	at := func(v []float64, q float64) float64 { return v[int(math.Ceil(q*float64(len(v))))-1] }
	return Error{
		Median: at(p.errors, 0.5), P90: at(p.errors, 0.9),
		P50: at(p.simulated, 0.5)/at(p.measured, 0.5) - 1, P99: at(p.simulated, 0.99)/at(p.measured, 0.99) - 1,
	}
}

// served keeps what finished, by the place in the log.
type served map[int64]cluster.Served

// Record implements [cluster.Recorder].
func (s served) Record(r *cluster.Record) {
	if r.What == cluster.Finished {
		s[r.Request.ID] = *r.Request
	}
}

// source hands out the requests of a log by arrival.
type source struct{ rs []workloads.Request }

func sourceOf(ts []calibrate.Timing) *source {
	s := &source{}
	for i := range ts {
		s.rs = append(s.rs, workloads.Request{ID: int64(i), Arrived: sim.Seconds(ts[i].Arrival), Prompt: int32(ts[i].Prompt), Output: int32(ts[i].Output)})
	}
	return s
}

// Peek implements [workloads.Source].
func (s *source) Peek() (sim.Time, bool) {
	if len(s.rs) == 0 {
		return 0, false
	}
	return s.rs[0].Arrived, true
}

// Next implements [workloads.Source].
func (s *source) Next() workloads.Request {
	r := s.rs[0]
	s.rs = s.rs[1:]
	return r
}
