package cluster

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/sim"
	"orrery/workloads"
)

// toyCost prices a batch by a function, the same on every stage, with no host
// time.
type toyCost struct {
	stages int
	price  func(b *hwmodel.Batch) time.Duration
	send   time.Duration
}

func (c *toyCost) Stages() int                                   { return max(c.stages, 1) }
func (c *toyCost) Stage(_ int, b *hwmodel.Batch) time.Duration   { return c.price(b) }
func (c *toyCost) Send(*hwmodel.Batch) time.Duration             { return c.send }
func (c *toyCost) Host(*hwmodel.Batch) (d time.Duration, o bool) { return 0, false }

// hostCost adds host time to a toy cost.
type hostCost struct {
	toyCost
	host       func(b *hwmodel.Batch) time.Duration
	overlapped bool
}

func (c *hostCost) Host(b *hwmodel.Batch) (time.Duration, bool) { return c.host(b), c.overlapped }

// unit makes every iteration last one second.
func unit(*hwmodel.Batch) time.Duration { return time.Second }

// tokens makes an iteration last 1 ms plus 10 us a token and a little for context.
func tokens(b *hwmodel.Batch) time.Duration {
	return time.Millisecond + time.Duration(b.Tokens())*10*time.Microsecond + time.Duration(b.DecodeContext+b.ChunkPairs/64)
}

// list is a source of requests written down.
type requests []workloads.Request

type listSource struct{ q requests }

func (s *listSource) Peek() (sim.Time, bool) {
	if len(s.q) == 0 {
		return 0, false
	}
	return s.q[0].Arrived, true
}

func (s *listSource) Next() workloads.Request {
	r := s.q[0]
	s.q = s.q[1:]
	return r
}

func req(at float64, prompt, output int32) workloads.Request {
	return workloads.Request{Arrived: sim.Seconds(at), Prompt: prompt, Output: output}
}

// watcher keeps copies of all records and checks the laws that every run obeys.
type watcher struct {
	t        *testing.T
	records  []Record
	served   []Served
	iters    []Iteration
	last     map[int32]sim.Time
	busy     map[[2]int32]sim.Time
	computed int64
	emitted  int64
	sampled  int64 // tokens that iterations say they sample
	capacity int64
	lateGap  time.Duration
	late     int64         // gaps in the log above lateGap
	gaps     time.Duration // sum of the gaps in the log
}

func newWatcher(t *testing.T, capacity int64, lateGap time.Duration) *watcher {
	return &watcher{t: t, last: map[int32]sim.Time{}, busy: map[[2]int32]sim.Time{}, capacity: capacity, lateGap: lateGap}
}

func (w *watcher) Record(r *Record) {
	if r.Replica >= 0 {
		if r.At < w.last[r.Replica] && r.What != Arrived {
			w.t.Fatalf("%v at %v after a record at %v", r.What, r.At, w.last[r.Replica])
		}
	}
	c := *r
	switch r.What {
	case Iterated:
		it := *r.Iteration
		it.Stages = append([]Span(nil), it.Stages...)
		c.Iteration = &it
		w.iters = append(w.iters, it)
		w.computed += int64(it.Batch.Tokens())
		w.sampled += int64(it.Batch.Logits)
		if it.KVUsed > w.capacity || it.KVUsed < 0 {
			w.t.Fatalf("%d blocks in use of %d", it.KVUsed, w.capacity)
		}
		for s, span := range it.Stages {
			key := [2]int32{r.Replica, int32(s)}
			if span.Start < w.busy[key] || span.End < span.Start {
				w.t.Fatalf("stage %d works %v before it is free at %v", s, span, w.busy[key])
			}
			w.busy[key] = span.End
		}
		w.last[r.Replica] = it.End
	case Emitted:
		w.emitted += r.N
		w.gaps += r.Gap * time.Duration(r.N)
		if r.Gap > w.lateGap {
			w.late += r.N
		}
		if r.Gap < 0 {
			w.t.Fatalf("gap of %v", r.Gap)
		}
	case FirstToken:
		w.emitted++
	}
	if r.Request != nil {
		s := *r.Request
		c.Request = &s
		if r.What == Finished {
			w.served = append(w.served, s)
		}
	}
	w.records = append(w.records, c)
}

// toy is a replica for tests.
type toy struct {
	policy  batch.Policy
	cost    hwmodel.CostModel
	blocks  int64
	block   int
	maxLen  int
	swap    int64
	prefix  bool
	offload int64
	mode    Emission
	step    bool
	until   sim.Time
	late    time.Duration // 20 ms if zero
}

func (y toy) run(t *testing.T, rs requests) (*watcher, Outcome) {
	t.Helper()
	w, out, err := y.try(t, rs)
	if err != nil {
		t.Fatal(err)
	}
	return w, out
}

func (y toy) try(t *testing.T, rs requests) (*watcher, Outcome, error) {
	t.Helper()
	if y.cost == nil {
		y.cost = &toyCost{price: unit}
	}
	if y.block == 0 {
		y.block = 16
	}
	if y.maxLen == 0 {
		y.maxLen = 4096
	}
	if y.late == 0 {
		y.late = 20 * time.Millisecond
	}
	if y.blocks == 0 {
		y.blocks = 1 << 20
	}
	w := newWatcher(t, y.blocks, y.late)
	out, err := Run(context.Background(), Config{
		Replicas: []ReplicaConfig{{Policy: y.policy, Cost: y.cost, MaxLen: y.maxLen, Blocks: y.blocks, BlockTokens: y.block, HostBlocks: y.swap, BlockBytes: 1, PrefixCache: y.prefix, OffloadBlocks: y.offload}},
		Source:   &listSource{append(requests(nil), rs...)}, Record: []Recorder{w}, FirstToken: y.mode, Step: y.step, Until: y.until,
		LateGap: y.late,
	})
	if err == nil && y.until == 0 {
		w.conserved(out, y.mode)
	}
	return w, out, err
}

// conserved checks that every token and request is accounted for at the end.
func (w *watcher) conserved(out Outcome, mode Emission) {
	w.t.Helper()
	if out.Arrived != out.Finished+out.Rejected || out.Unfinished != 0 {
		w.t.Fatalf("requests do not add up: %+v", out)
	}
	if fault := w.account(mode); fault != "" {
		w.t.Fatal(fault)
	}
}

// account compares the log of tokens with what the finished requests say, and returns
// what does not add up.
func (w *watcher) account(mode Emission) string {
	var computed, emitted, late int64
	var gaps time.Duration
	for _, s := range w.served {
		if s.Emitted != s.Output {
			return fmt.Sprintf("request %d emitted %d of %d tokens", s.ID, s.Emitted, s.Output)
		}
		computed += int64(s.Prompt-s.Cached) + int64(s.Output) + int64(s.Recomputed)
		emitted += int64(s.Output)
		late += int64(s.LateGaps)
		gaps += s.Last.Sub(s.First)
		if mode == WithPrefill {
			computed-- // the prefill emits the first token
		} else {
			emitted++ // the log marks the end of the prefill as well
		}
	}
	switch {
	case computed != w.computed:
		return fmt.Sprintf("computed %d tokens, the requests account for %d", w.computed, computed)
	case emitted != w.emitted:
		return fmt.Sprintf("emitted %d tokens, the requests account for %d", w.emitted, emitted)
	case mode == WithPrefill && emitted != w.sampled: // WithDecode drops what a prefill samples
		return fmt.Sprintf("sampled %d tokens, the requests account for %d", w.sampled, emitted)
	case late != w.late:
		return fmt.Sprintf("%d late gaps, the requests account for %d", w.late, late)
	case mode == WithPrefill && gaps != w.gaps: // WithDecode does not measure the first
		return fmt.Sprintf("gaps add up to %v, the times of the requests to %v", w.gaps, gaps)
	}
	return ""
}

// spy is a policy that writes down what another one plans: "Ad" for a decode of
// request A, "Cp" for a chunk of C.
type spy struct {
	batch.Policy
	log  []string
	seen func(p *spyPlan)
}

type spyPlan struct {
	batch.Plan
	items []string
	// decodable are the idle sequences ready to decode before the decision
	decodable []int64
	decoded   []int64
}

func (s *spy) Plan(p batch.Plan) {
	sp := &spyPlan{Plan: p}
	for _, q := range p.Running() {
		if q.Left() == 0 {
			sp.decodable = append(sp.decodable, q.ID)
		}
	}
	s.Policy.Plan(sp)
	sort.Strings(sp.items)
	s.log = append(s.log, strings.Join(sp.items, " "))
	if s.seen != nil {
		s.seen(sp)
	}
}

func name(id int64) string { return string(rune('A' + id)) }

func (p *spyPlan) DecodeAll() int {
	ready := map[int64]bool{}
	for _, q := range p.Plan.Running() {
		if q.Left() == 0 {
			ready[q.ID] = true
		}
	}
	n := p.Plan.DecodeAll()
	for _, q := range p.Plan.Running() { // not planned: pre-empted ones have left, none else is ready
		if q.Left() == 0 {
			panic(fmt.Sprint("still idle: ", q.ID))
		}
	}
	if n == 0 {
		for id := range ready {
			p.items = append(p.items, name(id)+"d")
			p.decoded = append(p.decoded, id)
		}
	}
	return n
}

func (p *spyPlan) Decode(q *batch.Seq) bool {
	ok := p.Plan.Decode(q)
	if ok {
		p.items = append(p.items, name(q.ID)+"d")
		p.decoded = append(p.decoded, q.ID)
	}
	return ok
}

func (p *spyPlan) Chunk(q *batch.Seq, n int) bool {
	ok := p.Plan.Chunk(q, n)
	if ok {
		p.items = append(p.items, fmt.Sprintf("%sp%d", name(q.ID), n))
	}
	return ok
}

func (p *spyPlan) Admit(n int) bool {
	h := p.Plan.Head()
	ok := p.Plan.Admit(n)
	if ok {
		p.items = append(p.items, fmt.Sprintf("%sp%d", name(h.ID), n))
	}
	return ok
}

// five returns one of each policy, sized for tests.
func five(seqs, budget int) map[string]func() batch.Policy {
	return map[string]func() batch.Policy{
		"request-level": func() batch.Policy { return &batch.RequestLevel{MaxSeqs: seqs} },
		"orca":          func() batch.Policy { return &batch.Orca{MaxSeqs: seqs} },
		"vllm":          func() batch.Policy { return &batch.VLLM{MaxSeqs: seqs, Watermark: 0.01} },
		"vllm-swap":     func() batch.Policy { return &batch.VLLM{MaxSeqs: seqs, Watermark: 0.01, Swap: true} },
		"sarathi":       func() batch.Policy { return &batch.Sarathi{MaxSeqs: seqs, Budget: budget, Watermark: 0.01} },
		"hybrid-only":   func() batch.Policy { return &batch.Sarathi{MaxSeqs: seqs, Budget: 4096, Watermark: 0.01} },
		"chunked-only": func() batch.Policy {
			return &batch.ChunkedOnly{Sarathi: batch.Sarathi{MaxSeqs: seqs, Budget: budget, Watermark: 0.01}}
		},
		"vllm-v1": func() batch.Policy { return &batch.VLLMV1{MaxSeqs: seqs, Budget: budget} },
		"vllm-v1-partial": func() batch.Policy {
			return &batch.VLLMV1{MaxSeqs: seqs, Budget: budget, LongPrefill: budget / 3, AdmitPartial: true}
		},
	}
}
