package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/sim"
)

// tandem is one replica for prompts and one for answers, each serving one request at a
// time, on two nodes.
func tandem(rs requests, nodes []Node, record ...Recorder) Config {
	cfg := Config{
		Source: &listSource{rs}, Nodes: nodes, Record: record,
		Groups: []Group{{Name: "prompts", Role: Prefill}, {Name: "answers", Role: Decode}},
	}
	for i := range 2 {
		cfg.Replicas = append(cfg.Replicas, ReplicaConfig{
			Policy: &batch.Sarathi{MaxSeqs: 1, Budget: 4096}, Cost: &toyCost{price: tokens}, MaxLen: 4096, Blocks: 4096, BlockTokens: 1,
			BlockBytes: 1000, Group: int32(i), Nodes: []int32{int32(i)},
		})
	}
	return cfg
}

// Two deterministic servers one behind the other: every first and every last token comes
// when it must, to the nanosecond, by the recursion of a tandem queue whose second server
// fetches its work.
func TestTandemIsExact(t *testing.T) {
	for _, overlap := range []float64{0, 0.5, 0.75, 1} {
		t.Run(fmt.Sprint(overlap), func(t *testing.T) { tandemIsExact(t, overlap) })
	}
}

// tandemIsExact sends so much of the KV cache while the prompt is computed.
func tandemIsExact(t *testing.T, overlap float64) {
	const rate, latency = 1e9, 7 * time.Microsecond
	rng := sim.Stream(1, "tandem")
	var rs requests
	at := 0.0
	for range 300 {
		at += rng.ExpFloat64() * 0.008
		rs = append(rs, req(at, 1+rng.Int32N(400), 2+rng.Int32N(12)))
	}
	list := append(requests{}, rs...)
	w := newWatcher(t, 4096, time.Hour)
	cfg := tandem(rs, []Node{{Out: rate, In: rate, Inside: rate, Latency: latency}, {Out: rate, In: rate, Inside: rate}}, w)
	cfg.Overlap = overlap
	out, err := Run(context.Background(), cfg)
	if err != nil || out.Finished != 300 {
		t.Fatalf("%+v, %v", out, err)
	}
	var prompts, answers sim.Time // when each server is free
	waited := 0
	for i, q := range list {
		start := max(q.Arrived, prompts)
		var chunk hwmodel.Batch
		chunk.AddChunk(int(q.Prompt), 0)
		first := start.Add(tokens(&chunk))
		prompts = first
		fetch := max(first, answers)
		if answers > first {
			waited++
		}
		send := time.Duration(q.Prompt) * time.Microsecond // 1000 bytes a token at 1 GB/s
		now := fetch.Add(send - time.Duration(float64(send)*overlap) + latency)
		for k := range q.Output - 1 {
			now = now.Add(tokens(&hwmodel.Batch{Decodes: 1, DecodeContext: int64(q.Prompt + k + 1)}))
		}
		answers = now
		s := &w.served[i]
		if s.First != first || s.Last != now || s.Scheduled != start {
			t.Fatalf("request %d: scheduled %v, first %v, last %v; want %v, %v, %v", i, s.Scheduled, s.First, s.Last, start, first, now)
		}
		if s.First.Sub(s.Arrived) < tokens(&chunk) {
			t.Fatalf("request %d: TTFT %v below its own prefill, %v", i, s.First.Sub(s.Arrived), tokens(&chunk))
		}
	}
	if waited < 30 || waited > 270 {
		t.Errorf("%d of 300 prompts waited to be fetched; want some, not all", waited)
	}
}

// When decoding cannot keep up, prompts pile up where they were computed until there is
// no memory, and then stop being computed.
func TestDecodingHoldsPromptsBack(t *testing.T) {
	var rs requests
	for range 20 {
		rs = append(rs, req(0, 100, 200))
	}
	most, sent := int64(0), 0
	cfg := tandem(rs, nil, record(func(r *Record) {
		if r.What == Iterated && r.Replica == 0 {
			most = max(most, r.Iteration.KVUsed)
		}
		if r.What == Sent {
			sent++
		}
	}))
	cfg.Replicas[0].Blocks, cfg.Replicas[0].Policy = 450, &batch.Sarathi{MaxSeqs: 64, Budget: 4096}
	cfg.Replicas[0].MaxLen, cfg.Replicas[1].MaxLen = 300, 300
	out, err := Run(context.Background(), cfg)
	if err != nil || out.Finished != 20 || sent != 20 {
		t.Fatalf("%+v, %d sent, %v", out, sent, err)
	}
	if most != 400 {
		t.Errorf("at most %d blocks hold prompts, want the 400 of four", most)
	}
	// Each decodes alone: 199 tokens of a bit more than 1 ms.
	if out.End < sim.Seconds(20*0.199) {
		t.Errorf("ends at %v", out.End)
	}
}

// record is a recorder made of a function.
type record func(r *Record)

func (f record) Record(r *Record) { f(r) }

func TestRolesAreChecked(t *testing.T) {
	for name, spoil := range map[string]func(cfg *Config){
		"no decoders":         func(cfg *Config) { cfg.Replicas = cfg.Replicas[:1] },
		"decoders first":      func(cfg *Config) { cfg.Replicas[0].Group, cfg.Replicas[1].Group = 1, 0 },
		"first token later":   func(cfg *Config) { cfg.FirstToken = WithDecode },
		"too much overlap":    func(cfg *Config) { cfg.Overlap = 1.5 },
		"no such node":        func(cfg *Config) { cfg.Nodes = []Node{{Out: 1, In: 1, Inside: 1}} },
		"a link of no bytes":  func(cfg *Config) { cfg.Nodes = make([]Node, 2) },
		"an executor decodes": func(cfg *Config) { cfg.Replicas[1].Executor = (*fakeExecutor)(nil) },
	} {
		cfg := tandem(requests{req(0, 10, 10)}, nil)
		spoil(&cfg)
		if _, err := Run(context.Background(), cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

type fakeExecutor struct{}

func (*fakeExecutor) Run(context.Context, *ExecStep) (Ran, error) { return Ran{}, nil }
