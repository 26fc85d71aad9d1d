package report

import (
	"context"
	"math"
	"testing"
	"time"

	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/sim"
	"orrery/workloads"
)

const ms = sim.Time(time.Millisecond)

// served returns a request of the hand-made logs; times in milliseconds, -1 for never.
func served(id int64, prompt, output int32, arrived, scheduled, first, last sim.Time, emitted int32) *cluster.Served {
	at := func(t sim.Time) sim.Time {
		if t < 0 {
			return cluster.Never
		}
		return t * ms
	}
	return &cluster.Served{
		Request:   workloads.Request{ID: id, Arrived: arrived * ms, Prompt: prompt, Output: output},
		Scheduled: at(scheduled), First: at(first), Last: at(last), Emitted: emitted,
	}
}

// iteration returns a single-stage iteration with 1 ms of host time first.
func iteration(number int64, start, end sim.Time, chunk, decodes int, running, waiting int32, kv int64) *cluster.Iteration {
	it := &cluster.Iteration{
		Number: number, Start: start * ms, End: end * ms, Host: time.Millisecond,
		Stages:  []cluster.Span{{Start: (start + 1) * ms, End: end * ms}},
		Running: running, Waiting: waiting, KVUsed: kv,
	}
	it.Batch.Decodes, it.Batch.Logits = decodes, decodes
	if chunk > 0 {
		it.Batch.AddChunk(chunk, 0)
		it.Batch.Logits++
	}
	return it
}

// story is a log by hand. Request 0 (100 prompt tokens, 3 output) arrives at 0 and
// is prefilled 0-20 ms; request 1 (50, 2) arrives at 5 and is prefilled 20-40,
// which stalls request 0; both decode 40-50, request 1 ends; request 0 decodes 50-60
// and ends. Request 2 arrives at 70, is prefilled 70-90 and is cut at 100.
func story() []cluster.Record {
	a0 := served(0, 100, 3, 0, -1, -1, -1, 0)
	a1 := served(1, 50, 2, 5, -1, -1, -1, 0)
	a2 := served(2, 80, 9, 70, -1, -1, -1, 0)
	huge := served(3, 9999, 1, 72, -1, -1, -1, 0)
	f1 := served(1, 50, 2, 5, 20, 40, 50, 2)
	f0 := served(0, 100, 3, 0, 0, 20, 60, 3)
	f0.LateGaps = 1
	return []cluster.Record{
		{What: cluster.Arrived, At: 0, Replica: -1, Request: a0},
		{What: cluster.Routed, At: 0, Request: a0},
		{What: cluster.Scheduled, At: 0, Request: served(0, 100, 3, 0, 0, -1, -1, 0)},
		{What: cluster.Arrived, At: 5 * ms, Replica: -1, Request: a1},
		{What: cluster.Routed, At: 5 * ms, Request: a1},
		{What: cluster.Iterated, At: 20 * ms, Iteration: iteration(0, 0, 20, 100, 0, 1, 0, 7)},
		{What: cluster.FirstToken, At: 20 * ms, Request: served(0, 100, 3, 0, 0, 20, 20, 1)},
		{What: cluster.Scheduled, At: 20 * ms, Request: served(1, 50, 2, 5, 20, -1, -1, 0)},
		{What: cluster.Iterated, At: 40 * ms, Iteration: iteration(1, 20, 40, 50, 0, 2, 0, 11)},
		{What: cluster.FirstToken, At: 40 * ms, Request: served(1, 50, 2, 5, 20, 40, 40, 1)},
		{What: cluster.Iterated, At: 50 * ms, Iteration: iteration(2, 40, 50, 0, 2, 2, 0, 12)},
		{What: cluster.Emitted, At: 50 * ms, N: 1, Gap: 30 * time.Millisecond},
		{What: cluster.Emitted, At: 50 * ms, N: 1, Gap: 10 * time.Millisecond},
		{What: cluster.Finished, At: 50 * ms, Request: f1},
		{What: cluster.Iterated, At: 60 * ms, Iteration: iteration(3, 50, 60, 0, 1, 1, 0, 8)},
		{What: cluster.Emitted, At: 60 * ms, N: 1, Gap: 10 * time.Millisecond},
		{What: cluster.Finished, At: 60 * ms, Request: f0},
		{What: cluster.Arrived, At: 70 * ms, Replica: -1, Request: a2},
		{What: cluster.Routed, At: 70 * ms, Request: a2},
		{What: cluster.Scheduled, At: 70 * ms, Request: served(2, 80, 9, 70, 70, -1, -1, 0)},
		{What: cluster.Arrived, At: 72 * ms, Replica: -1, Request: huge},
		{What: cluster.Rejected, At: 72 * ms, Request: huge, Reason: "longer than the longest sequence served"},
		{What: cluster.Iterated, At: 90 * ms, Iteration: iteration(4, 70, 90, 80, 0, 1, 0, 5)},
		{What: cluster.FirstToken, At: 90 * ms, Request: served(2, 80, 9, 70, 70, 90, 90, 1)},
		{What: cluster.Unfinished, At: 100 * ms, Request: served(2, 80, 9, 70, 70, 90, 90, 1)},
	}
}

var storySpec = []ReplicaSpec{{Stages: 1, KVBlocks: 20, MaxSeqs: 8, MaxTokens: 128}}

func measured(cfg Config, log []cluster.Record, end sim.Time) *Metrics {
	m := NewMetrics(cfg)
	for i := range log {
		m.Record(&log[i])
	}
	m.Close(end)
	return m
}

func near(t *testing.T, what string, got Number, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(float64(got)-want) <= tolerance*math.Abs(want)+1e-12) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// toy is a cluster of toy replicas whose log is watched by real recorders.
type toy struct {
	policy   func() batch.Policy
	replicas int
	stages   int
	slowest  int // how many times slower the last stage is
	blocks   int64
	step     bool
	until    sim.Time
	late     time.Duration
	mode     cluster.Emission
	faults   uint64 // seed of random faults, 0 for none
	retry    cluster.Retry
}

type toyCost struct{ stages, slowest int }

func (c toyCost) Stages() int { return c.stages }

func (c toyCost) Stage(s int, b *hwmodel.Batch) time.Duration {
	d := time.Millisecond + time.Duration(b.Tokens())*time.Duration(8+s)*time.Microsecond + time.Duration(b.DecodeContext+b.ChunkPairs/64)
	if s > 0 && s == c.stages-1 {
		d *= time.Duration(max(c.slowest, 1))
	}
	return d
}

func (c toyCost) Send(*hwmodel.Batch) time.Duration { return 20 * time.Microsecond }

func (c toyCost) Host(*hwmodel.Batch) (time.Duration, bool) { return 150 * time.Microsecond, false }

type list []workloads.Request

func (s *list) Peek() (sim.Time, bool) {
	if len(*s) == 0 {
		return 0, false
	}
	return (*s)[0].Arrived, true
}

func (s *list) Next() workloads.Request {
	r := (*s)[0]
	*s = (*s)[1:]
	return r
}

// traffic draws n requests at a mean rate per second.
func traffic(n int, rate float64, seed uint64) list {
	rng := sim.Stream(seed, "traffic")
	var l list
	at := 0.0
	for i := range n {
		at += rng.ExpFloat64() / rate
		l = append(l, workloads.Request{ID: int64(i), Arrived: sim.Seconds(at), Prompt: 1 + rng.Int32N(500), Output: 1 + rng.Int32N(80)})
	}
	return l
}

func (y toy) config(l list, recorders ...cluster.Recorder) cluster.Config {
	cfg := cluster.Config{Source: &l, Record: recorders, LateGap: y.late, Step: y.step, Until: y.until, FirstToken: y.mode, Retry: y.retry}
	if y.faults > 0 {
		hazard := func(kind cluster.FaultKind, mean time.Duration) cluster.Hazard {
			return cluster.Hazard{Kind: kind, N: int32(max(y.replicas, 1)), Mean: mean, For: 30 * time.Millisecond, Factor: 3, Notice: 20 * time.Millisecond, Rand: sim.Stream(y.faults, kind.String())}
		}
		cfg.Faults = cluster.NewChance(hazard(cluster.Crash, 200*time.Millisecond), hazard(cluster.Slow, time.Second), hazard(cluster.Reclaim, time.Second))
	}
	for range max(y.replicas, 1) {
		cfg.Replicas = append(cfg.Replicas, cluster.ReplicaConfig{
			Policy: y.policy(), Cost: toyCost{max(y.stages, 1), y.slowest}, MaxLen: 4096, Blocks: y.blocks, BlockTokens: 16, HostBlocks: 200, BlockBytes: 1,
		})
	}
	return cfg
}

// fataler is a test, of package testing or of rapid.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func (y toy) run(t fataler, l list, recorders ...cluster.Recorder) cluster.Outcome {
	t.Helper()
	out, err := cluster.Run(context.Background(), y.config(l, recorders...))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func policies() map[string]func() batch.Policy {
	return map[string]func() batch.Policy{
		"orca":    func() batch.Policy { return &batch.Orca{MaxSeqs: 32} },
		"vllm":    func() batch.Policy { return &batch.VLLM{MaxSeqs: 32, Watermark: 0.01} },
		"swap":    func() batch.Policy { return &batch.VLLM{MaxSeqs: 32, Watermark: 0.01, Swap: true} },
		"sarathi": func() batch.Policy { return &batch.Sarathi{MaxSeqs: 32, Budget: 128, Watermark: 0.01} },
		"vllm-v1": func() batch.Policy { return &batch.VLLMV1{MaxSeqs: 32, Budget: 128} },
	}
}
