package cluster

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/policies/route"
	"orrery/sim"
)

// sleeper is an executor that takes exactly as long as a cost model says, and checks
// that what it is given adds up.
type sleeper struct {
	t     *testing.T
	cost  hwmodel.CostModel
	cache map[int32]cached // by slot
	steps int
}

// cached is what a paged executor would hold of a slot.
type cached struct {
	request int64
	tokens  int32
}

func (e *sleeper) Run(ctx context.Context, s *ExecStep) (Ran, error) {
	e.keepBooks(s)
	host, overlapped := e.cost.Host(&s.Batch)
	device := e.cost.Stage(0, &s.Batch)
	ran := Ran{Host: host, Begin: s.Start}
	if !overlapped {
		ran.Begin = s.Start.Add(host)
	}
	ran.End = ran.Begin.Add(device)
	end := ran.End
	if overlapped && host > device {
		end = s.Start.Add(host)
	}
	select {
	case <-time.After(time.Until(end)):
		return ran, nil
	case <-ctx.Done():
		return ran, ctx.Err()
	}
}

// keepBooks fails unless the parts continue what the slots hold and add up to the
// batch.
func (e *sleeper) keepBooks(s *ExecStep) {
	if e.cache == nil {
		e.cache = make(map[int32]cached)
	}
	e.steps++
	for _, slot := range s.Freed {
		if _, ok := e.cache[slot]; !ok {
			e.t.Errorf("step %d: slot %d is freed but holds nothing", e.steps, slot)
		}
		delete(e.cache, slot)
	}
	var sum hwmodel.Batch
	for i, p := range s.Parts {
		held := e.cache[p.Slot]
		if held.tokens != p.Before || held.tokens > 0 && held.request != p.Request {
			e.t.Errorf("step %d: %+v, but the slot holds %+v", e.steps, p, held)
		}
		e.cache[p.Slot] = cached{p.Request, p.Before + p.Tokens}
		if i < s.Batch.Chunks {
			sum.AddChunk(int(p.Tokens), int64(p.Before))
		} else {
			sum.Decodes++
			sum.DecodeContext += int64(p.Before + p.Tokens)
		}
		if p.Sample {
			sum.Logits++
		}
	}
	if sum != s.Batch {
		e.t.Errorf("step %d: parts add up to %+v, the batch is %+v", e.steps, sum, s.Batch)
	}
}

// Under a fake clock the cluster writes the same log, record for record, whether it
// prices iterations in simulated time, sleeps through them on the wall clock, or
// waits for executors that do: policies cannot tell the worlds apart.
func TestLiveEqualsSimulated(t *testing.T) {
	costs := map[string]func() hwmodel.CostModel{
		"devices only": func() hwmodel.CostModel { return &toyCost{price: tokens} },
		"whole ms": func() hwmodel.CostModel {
			return &toyCost{price: func(*hwmodel.Batch) time.Duration { return 10 * ms }}
		}, // arrivals tie with ends
		"host before": func() hwmodel.CostModel { return hosted(false) },
		"host beside": func() hwmodel.CostModel { return hosted(true) },
	}
	for name, make := range five(24, 200) {
		if strings.HasSuffix(name, "swap") {
			continue // not with an executor
		}
		for cost, price := range costs {
			for _, blocks := range []int64{100000, 130} {
				for _, mode := range []Emission{WithPrefill, WithDecode} {
					if testing.Short() && (mode == WithDecode || cost == "host before") {
						continue
					}
					w := liveWorld{policy: make, cost: price, blocks: blocks, mode: mode, requests: tied(mixed(60, 3))}
					label := fmt.Sprintf("%s, %s, %d blocks", name, cost, blocks)
					w.compare(t, label)
				}
			}
		}
	}
}

// hosted returns a cost model with host time that is now less, now more than the
// devices'.
func hosted(overlapped bool) *hostCost {
	return &hostCost{toyCost: toyCost{price: tokens}, overlapped: overlapped, host: func(b *hwmodel.Batch) time.Duration {
		return time.Duration(b.Decodes) * 300 * time.Microsecond
	}}
}

// tied rounds arrivals to 10 ms, so that several fall on one instant.
func tied(rs requests) requests {
	for i := range rs {
		rs[i].Arrived = (rs[i].Arrived * 3).Add(5*ms) / sim.Time(10*ms) * sim.Time(10*ms)
	}
	return rs
}

// liveWorld is a cluster of two replicas to run in both worlds.
type liveWorld struct {
	policy   func() batch.Policy
	cost     func() hwmodel.CostModel
	blocks   int64
	mode     Emission
	until    sim.Time
	requests requests
}

func (l *liveWorld) config(t *testing.T, w *watcher, executors bool) Config {
	cfg := Config{
		Source: &listSource{append(requests(nil), l.requests...)}, Router: route.LeastOutstanding{}, Record: []Recorder{w},
		FirstToken: l.mode, LateGap: 20 * ms, Until: l.until, Step: true,
	}
	for range 2 {
		r := ReplicaConfig{Policy: l.policy(), Cost: l.cost(), MaxLen: 2048, Blocks: l.blocks, BlockTokens: 16}
		if executors {
			r.Executor, r.Cost = &sleeper{t: t, cost: r.Cost}, nil
		}
		cfg.Replicas = append(cfg.Replicas, r)
	}
	return cfg
}

func (l *liveWorld) compare(t *testing.T, label string) {
	t.Helper()
	want := newWatcher(t, l.blocks, 20*ms)
	wantOut, err := Run(context.Background(), l.config(t, want, false))
	if err != nil {
		t.Fatal(err)
	}
	for _, executors := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			got := newWatcher(t, l.blocks, 20*ms)
			out, err := Live(t.Context(), l.config(t, got, executors))
			if err != nil {
				t.Fatal(label, err)
			}
			if out != wantOut {
				t.Errorf("%s, executors %v: outcome %+v, simulated %+v", label, executors, out, wantOut)
			}
			sameRecords(t, fmt.Sprintf("%s, executors %v", label, executors), got.records, want.records)
		})
	}
}

func sameRecords(t *testing.T, label string, got, want []Record) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if g, w := got[i], want[i]; !reflect.DeepEqual(g, w) {
			t.Fatalf("%s: record %d is %+v %+v %+v live, %+v %+v %+v simulated", label, i, g, g.Iteration, g.Request, w, w.Iteration, w.Request)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d records live, %d simulated", label, len(got), len(want))
	}
}

// A run that is cut while iterations are under way counts the same in both worlds.
func TestLiveCut(t *testing.T) {
	for _, until := range []float64{0.3, 0.7, 1.1} {
		l := liveWorld{
			policy: func() batch.Policy { return &batch.Sarathi{MaxSeqs: 24, Budget: 200} },
			cost:   func() hwmodel.CostModel { return &toyCost{price: tokens} },
			blocks: 100000, until: sim.Seconds(until), requests: mixed(150, 1),
		}
		l.compare(t, fmt.Sprint("until ", until))
	}
}

// A cancelled live run ends at once, leaves no goroutine behind and says so.
func TestLiveIsCancelled(t *testing.T) {
	l := liveWorld{
		policy: func() batch.Policy { return &batch.Sarathi{MaxSeqs: 24, Budget: 200} },
		cost:   func() hwmodel.CostModel { return &toyCost{price: unit} },
		blocks: 100000, requests: requests{req(0, 10, 100)},
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3500*ms)
		defer cancel()
		begun := time.Now()
		w := newWatcher(t, l.blocks, 20*ms)
		out, err := Live(ctx, l.config(t, w, true))
		if err != nil || !out.Stopped || out.Unfinished != 1 || w.emitted != 3 {
			t.Errorf("%+v, %v, %d tokens; want a stopped run with 3 tokens", out, err, w.emitted)
		}
		if d := time.Since(begun); d != 3500*ms {
			t.Errorf("it ended after %v, want 3.5 s", d)
		}
	})
}

// broken fails in its second iteration.
type broken struct {
	sleeper
	err error
}

func (e *broken) Run(ctx context.Context, s *ExecStep) (Ran, error) {
	ran, err := e.sleeper.Run(ctx, s)
	if e.steps == 2 {
		err = e.err
	}
	return ran, err
}

func TestExecutorFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := liveWorld{
			policy: func() batch.Policy { return &batch.Sarathi{MaxSeqs: 24, Budget: 200} },
			cost:   func() hwmodel.CostModel { return &toyCost{price: unit} },
			blocks: 100000, requests: requests{req(0, 10, 100)},
		}
		cfg := l.config(t, newWatcher(t, l.blocks, 20*ms), true)
		down := errors.New("the device is gone")
		cfg.Replicas[0].Executor = &broken{sleeper{t: t, cost: &toyCost{price: unit}}, down}
		out, err := Live(t.Context(), cfg)
		if !errors.Is(err, down) || !strings.Contains(fmt.Sprint(err), "replica 0") || out.Unfinished != 1 {
			t.Errorf("%+v, %v; want the executor's error and one unfinished request", out, err)
		}
	})
}

// What an executor cannot do is refused before the run.
func TestExecutorLimits(t *testing.T) {
	sarathi := func() batch.Policy { return &batch.Sarathi{MaxSeqs: 24, Budget: 200} }
	for want, change := range map[string]func(r *ReplicaConfig){
		"2 pipeline stages": func(r *ReplicaConfig) { r.Cost = &toyCost{stages: 2, price: unit} },
		"prefixes":          func(r *ReplicaConfig) { r.PrefixCache = true },
		"swap":              func(r *ReplicaConfig) { r.Policy = &batch.VLLM{MaxSeqs: 4, Swap: true} },
		"or an executor":    func(r *ReplicaConfig) { r.Executor = nil },
	} {
		l := liveWorld{policy: sarathi, cost: func() hwmodel.CostModel { return &toyCost{price: unit} }, blocks: 100, requests: requests{req(0, 1, 1)}}
		cfg := l.config(t, newWatcher(t, l.blocks, 20*ms), true)
		change(&cfg.Replicas[1])
		if _, err := Live(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "replica 1") || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v; want one of replica 1 about %q", err, want)
		}
	}
	l := liveWorld{policy: sarathi, cost: func() hwmodel.CostModel { return &toyCost{price: unit} }, blocks: 100, requests: requests{req(0, 1, 1)}}
	if _, err := Run(t.Context(), l.config(t, newWatcher(t, l.blocks, 20*ms), true)); err == nil || !strings.Contains(err.Error(), "want Live") {
		t.Errorf("error %v; want a simulated run with executors refused", err)
	}
}
