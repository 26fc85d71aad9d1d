package cluster

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/policies/route"
	"orrery/policies/scale"
	"orrery/sim"
)

// troubled is a stress case whose replicas fail, recover, come and go.
type troubled struct {
	stressCase
	Retry      Retry
	MaxRetries int
	Spare      int // replicas that are off at first
	Nodes      int32
	Scale      int // 0 for no scaler
	Decode     int // the last so many replicas only decode, the others then compute prompts
	Network    bool
	Overlap    float64
	Delay      time.Duration
}

func drawTrouble(seed uint64) troubled {
	c := troubled{stressCase: drawCase(seed)}
	rng := sim.Stream(seed, "trouble")
	c.Replicas = 1 + rng.IntN(4)
	c.Retry, c.MaxRetries = Retry(rng.IntN(3)), rng.IntN(4)
	c.Spare, c.Nodes, c.Scale = rng.IntN(3), 1+rng.Int32N(3), rng.IntN(4)
	c.Delay = time.Duration(rng.IntN(3)) * 5 * time.Millisecond
	if rng.IntN(2) == 0 {
		c.Retry = Resume
	}
	if all := c.Replicas + c.Spare; all > 1 && rng.IntN(2) == 0 {
		c.Decode, c.Mode = 1+rng.IntN(all-1), WithPrefill
		c.Network, c.Overlap = rng.IntN(3) > 0, float64(rng.IntN(3))/2
	}
	return c
}

// faults returns a script by hand of chance, and hazards beside it. Times are those of a
// case's requests, whose last comes after about 0.8 s.
func (c *troubled) faults() Faults {
	rng := sim.Stream(c.Seed, "faults")
	var script Script
	at := sim.Time(0)
	all := int32(c.Replicas + c.Spare)
	length := func() time.Duration {
		if rng.IntN(8) == 0 {
			return 0 // for good
		}
		return time.Duration(1 + rng.Int64N(int64(200*time.Millisecond)))
	}
	for range rng.IntN(8) {
		at = at.Add(time.Duration(rng.Int64N(int64(250 * time.Millisecond))))
		if rng.IntN(4) == 0 {
			at -= at % 100_000 // at the end of iterations, maybe
		}
		f := Fault{At: at, Kind: FaultKind(rng.IntN(int(numFaults))), Target: rng.Int32N(all), For: length(), Factor: 0.5 + 4*rng.Float64(), Notice: length()}
		script = append(script, f)
	}
	if rng.IntN(2) == 0 {
		return &script
	}
	return &Together{A: &script, B: NewChance(
		Hazard{Kind: Crash, N: all, Mean: time.Second, For: 100 * time.Millisecond, Rand: sim.Stream(c.Seed, "crash")},
		Hazard{Kind: NodeLoss, N: c.Nodes, Mean: 3 * time.Second, For: 50 * time.Millisecond, Rand: sim.Stream(c.Seed, "node")},
		Hazard{Kind: Slow, N: all, Mean: time.Second, For: 100 * time.Millisecond, Factor: 3, Rand: sim.Stream(c.Seed, "slow")},
	)}
}

func (c *troubled) config(t *testing.T) Config {
	cfg := Config{
		Source: c.source(t), FirstToken: c.Mode, Step: c.Step, LateGap: stressLate, Until: sim.Seconds(c.Until),
		Router: anyRouter(c.Seed), ViewDelay: c.Delay,
		Faults: c.faults(), Retry: c.Retry, MaxRetries: c.MaxRetries,
	}
	for i := range c.Replicas + c.Spare {
		r := ReplicaConfig{
			Policy: c.policy(), Cost: c.cost(), MaxLen: c.MaxLen, Blocks: c.Blocks, BlockTokens: c.Block,
			HostBlocks: c.Swap, BlockBytes: 1, PrefixCache: c.Part > 0, OffloadBlocks: c.Offload,
			StartUp: 20 * time.Millisecond, Off: i >= c.Replicas, Nodes: []int32{int32(i) % c.Nodes},
		}
		if i%3 == 2 {
			r.Nodes = append(r.Nodes, (int32(i)+1)%c.Nodes)
		}
		cfg.Replicas = append(cfg.Replicas, r)
	}
	if c.Decode > 0 {
		cfg.Groups = []Group{{Name: "prompts", Role: Prefill}, {Name: "answers", Role: Decode}}
		for i := len(cfg.Replicas) - c.Decode; i < len(cfg.Replicas); i++ {
			cfg.Replicas[i].Group = 1
		}
		cfg.Overlap = c.Overlap
	}
	if c.Network {
		for range c.Nodes {
			cfg.Nodes = append(cfg.Nodes, Node{Out: 5000, In: 4000, Inside: 20000, Latency: 100 * time.Microsecond, InsideLatency: time.Microsecond})
		}
	}
	if p := []scale.Policy{nil, &scale.Reactive{High: 2, HighKV: 0.9, Low: 2, Step: 1}, &scale.Target{Requests: 4, KV: 0.7, Tolerance: 0.1, Hold: 50 * time.Millisecond}, &scale.Predictive{PerReplica: 30, Ahead: 20 * time.Millisecond, Smooth: 0.5, Trend: 0.2}}[c.Scale]; p != nil {
		cfg.Scalers = []Scaler{{Policy: p, Every: 30 * time.Millisecond, Least: int(c.Seed % 2), Most: c.Replicas + c.Spare - c.Decode}}
	}
	return cfg
}

// ends notes how each request ended.
type ends struct {
	how   map[int64]What
	fault string
	lost  int64
}

func (e *ends) Record(r *Record) {
	switch r.What {
	case Finished, Rejected, Failed, Unfinished:
		if was, ok := e.how[r.Request.ID]; ok && e.fault == "" {
			e.fault = fmt.Sprintf("request %d is %v after being %v", r.Request.ID, r.What, was)
		}
		e.how[r.Request.ID] = r.What
	case Lost:
		e.lost++
	}
}

// run carries the case out and returns its log, and what is wrong.
func (c *troubled) run(t *testing.T) (log string, out Outcome, lost int64, fault string) {
	cfg := c.config(t)
	a, e := &auditor{limit: c.limit}, &ends{how: map[int64]What{}}
	lines := &plainLog{}
	cfg.Record = []Recorder{a, e, lines}
	cl, err := newCluster(cfg)
	if err != nil {
		return "", out, 0, err.Error()
	}
	a.c = cl
	out, err = cl.run()
	if err != nil {
		a.note("%v", err)
	}
	if e.fault != "" {
		a.note("%s", e.fault)
	}
	if int64(len(e.how)) != out.Arrived || out.Arrived != out.Finished+out.Rejected+out.Failed+out.Unfinished {
		a.note("%d ends of %+v", len(e.how), out)
	}
	if c.Until == 0 && out.Unfinished > 0 {
		a.note("left unfinished: %+v", out)
	}
	for i := range cl.replicas {
		r := &cl.replicas[i]
		if v := r.view.of(r.index); c.Until == 0 && (r.mem.ledger.Used() != 0 || r.host.Used() != 0 || len(r.partials) != 0 || len(r.groups) != 0 || r.leaving+len(r.inbox)+len(r.coming) != 0 || v.Outstanding != 0 || v.Tokens != 0 || v.Work != 0) {
			a.note("left on replica %d: %d blocks, %d on the host, %d prompts, %d groups, view %+v", i, r.mem.ledger.Used(), r.host.Used(), len(r.partials), len(r.groups), *v)
		}
	}
	out.Events = 0
	return lines.text(c.Replicas+c.Spare == 1), out, e.lost, a.fault
}

// plainLog writes the log down, by replica: how replicas are interleaved depends on how
// iterations are crossed.
type plainLog struct{ door, floor []string }

func (l *plainLog) Record(r *Record) {
	text := fmt.Sprint(r.What, r.At, r.Replica, r.N, r.Gap, r.Reason, r.State, r.Swap)
	if s := r.Request; s != nil {
		text += fmt.Sprint(" ", s.ID, s.Scheduled, s.First, s.Last, s.Emitted, s.Cached, s.Recomputed, s.Preemptions, s.LateGaps, s.Retries)
	}
	if it := r.Iteration; it != nil {
		text += fmt.Sprint(" ", it.Number, it.Start, it.End, it.Batch, it.Running, it.Waiting, it.KVUsed)
	}
	switch r.What {
	case Arrived, Routed, Rejected, Moved, Failed:
		l.door = append(l.door, text)
	default:
		l.floor = append(l.floor, text)
	}
}

func (l *plainLog) text(one bool) string {
	if one {
		return fmt.Sprint(l.door, l.floor)
	}
	return fmt.Sprint(l.door)
}

// Whatever fails and however often: every request ends in exactly one way, no memory
// leaks, the same seed gives the same log, and jumps give what steps give.
func TestTrouble(t *testing.T) {
	n := *stressCases
	switch {
	case n == 0 && testing.Short():
		n = 100
	case n == 0:
		n = 1000
	}
	lost := int64(0)
	for seed := *stressSeed; seed < *stressSeed+n; seed++ {
		c := drawTrouble(seed)
		repeat := fmt.Sprintf("in %+v\nrepeat with: go test ./cluster -run TestTrouble -stress.seed %d -stress.cases 1", c, seed)
		log, out, k, fault := c.run(t)
		if fault != "" {
			t.Fatalf("%s\n%s", fault, repeat)
		}
		lost += k
		if again, _, _, _ := c.run(t); again != log {
			t.Fatalf("another run gives another log\n%s", repeat)
		}
		c.Step = true
		stepped, other, _, fault := c.run(t)
		if fault != "" {
			t.Fatalf("stepping: %s\n%s", fault, repeat)
		}
		if stepped != log || out != other {
			t.Fatalf("jumping gives %+v, stepping %+v\n%s", out, other, repeat)
		}
	}
	if n >= 100 && lost < int64(n) {
		t.Errorf("%d requests lost their replica in %d cases: too few to prove anything", lost, n)
	}
}

// A crash at a known time, by hand: what was computed is lost, the request resumes
// elsewhere with what it has emitted behind its prompt, and no token comes twice.
func TestACrashedReplicasRequestGoesOn(t *testing.T) {
	const crash = 3_500_000 // ns: the third decode is under way
	cfg := Config{
		Source: &listSource{requests{req(0, 10, 6)}}, Router: route.LeastOutstanding{},
		Faults: &Script{{At: crash, Kind: Crash, Target: 0}},
	}
	for range 2 {
		cfg.Replicas = append(cfg.Replicas, ReplicaConfig{
			Policy: &batch.Sarathi{MaxSeqs: 4, Budget: 100}, Cost: &toyCost{price: tokens}, MaxLen: 100, Blocks: 10, BlockTokens: 16,
		})
	}
	w := newWatcher(t, 10, time.Hour)
	cfg.Record = []Recorder{w}
	out, err := Run(context.Background(), cfg)
	if err != nil || out.Finished != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	var lost, last, done *Record
	for i := range w.records {
		switch r := &w.records[i]; r.What {
		case Lost:
			lost = r
		case Iterated:
			last = r
			if r.Replica == 1 && done == nil {
				done = r
			}
		}
	}
	// Ten prompt tokens and two decodes had been computed, three tokens emitted.
	if lost == nil || lost.At != crash || lost.N != 12 || lost.Request.Emitted != 3 || lost.Request.Retries != 1 {
		t.Fatalf("lost %+v", lost)
	}
	var again hwmodel.Batch
	again.AddChunk(13, 0)
	if done == nil || done.Iteration.Start != crash || done.At != sim.Time(crash).Add(tokens(&again)) {
		t.Fatalf("goes on in %+v", done)
	}
	s := &w.served[0]
	if s.Emitted != 6 || s.Recomputed != 12 || s.Last != last.At || s.Replica != 1 {
		t.Errorf("served %+v", s)
	}
	if w.computed != 12+13+2 {
		t.Errorf("%d tokens computed, want 12 lost ones, 13 again, and 2 decodes", w.computed)
	}
}

// Twice as slow is twice as slow, from the iteration that begins then on.
func TestASlowReplicaTakesLonger(t *testing.T) {
	run := func(faults Faults) Outcome {
		out, err := Run(context.Background(), Config{
			Source: &listSource{requests{req(0, 10, 100)}}, Faults: faults,
			Replicas: []ReplicaConfig{{Policy: &batch.Sarathi{MaxSeqs: 4, Budget: 100}, Cost: &toyCost{price: func(*hwmodel.Batch) time.Duration { return time.Millisecond }}, MaxLen: 200, Blocks: 20, BlockTokens: 16}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	// 100 iterations of 1 ms; from 10.5 ms on, the 12th and later take 2 ms.
	slow := run(&Script{{At: 10_500_000, Kind: Slow, Factor: 2}})
	if want := sim.Time((11 + 2*89) * time.Millisecond); slow.End != want {
		t.Errorf("ends at %v, want %v", slow.End, want)
	}
	// The 12th to 21st begin before 30 ms.
	while := run(&Script{{At: 10_500_000, Kind: Slow, Factor: 2, For: 19_000_000}})
	if want := sim.Time((11 + 2*10 + 79) * time.Millisecond); while.End != want {
		t.Errorf("slow for a while, ends at %v, want %v", while.End, want)
	}
}

// With nobody left to serve them, requests fail rather than wait forever.
func TestNobodyIsLeft(t *testing.T) {
	for _, scalers := range [][]Scaler{nil, {{Policy: scale.Never{}, Every: time.Millisecond, Least: 1, Most: 1}}} {
		out, err := Run(context.Background(), Config{
			Source: &listSource{requests{req(0, 10, 100), req(0.5, 10, 100)}}, Scalers: scalers,
			Faults:   &Script{{At: 10_500_000, Kind: Crash}},
			Replicas: []ReplicaConfig{{Policy: &batch.Sarathi{MaxSeqs: 4, Budget: 100}, Cost: &toyCost{price: tokens}, MaxLen: 200, Blocks: 20, BlockTokens: 16}},
		})
		if err != nil || out.Failed != 2 || out.End != sim.Seconds(0.5) {
			t.Errorf("%+v, %v", out, err)
		}
	}
}

// A replica that drains ends what it has begun, and only then goes.
func TestAReclaimedReplicaDrains(t *testing.T) {
	w := newWatcher(t, 20, time.Hour)
	r := ReplicaConfig{Policy: &batch.Sarathi{MaxSeqs: 4, Budget: 100}, Cost: &toyCost{price: tokens}, MaxLen: 200, Blocks: 20, BlockTokens: 16}
	cfg := Config{
		Source: &listSource{requests{req(0, 10, 20), req(0.015, 10, 20)}}, Router: route.LeastOutstanding{}, Record: []Recorder{w},
		Faults: &Script{{At: 10_500_000, Kind: Reclaim, Notice: time.Second}}, Replicas: []ReplicaConfig{r, r},
	}
	cfg.Replicas[1].Policy = &batch.Sarathi{MaxSeqs: 4, Budget: 100}
	out, err := Run(context.Background(), cfg)
	if err != nil || out.Finished != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	if a, b := w.served[0], w.served[1]; a.Replica != 0 || b.Replica != 1 || a.Retries+b.Retries != 0 {
		t.Errorf("served by %d and %d, with %d retries", a.Replica, b.Replica, a.Retries+b.Retries)
	}
	var states []State
	for _, x := range w.records {
		if x.What == Moved {
			states = append(states, x.State)
			if x.State == Off && x.At != w.served[0].Last {
				t.Errorf("off at %v, its request ended at %v", x.At, w.served[0].Last)
			}
		}
	}
	if !slices.Equal(states, []State{Draining, Off}) {
		t.Errorf("states %v", states)
	}
}
