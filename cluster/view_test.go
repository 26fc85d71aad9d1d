package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"orrery/policies/batch"
	"orrery/policies/route"
	"orrery/sim"
	"orrery/workloads"
)

// routed tells where requests went and when: "A0@1.5" for A to replica 0.
func (w *watcher) routed() string {
	var list []string
	for _, r := range w.records {
		if r.What == Routed {
			list = append(list, fmt.Sprintf("%s%d@%v", name(r.Request.ID), r.Replica, r.At.Seconds()))
		}
	}
	return strings.Join(list, " ")
}

// What a replica tells takes its time, what the router has sent it knows at once, and
// news that comes in the instant of an arrival comes before it.
func TestViewDelay(t *testing.T) {
	// A keeps replica 0 for a second, B replica 1 for three; C and D come when A has ended.
	rs := requests{req(0, 4, 1), req(0, 4, 3), req(1.5, 4, 1), req(1.5, 4, 1)}
	for _, c := range []struct {
		delay time.Duration
		want  string
	}{
		{0, "A0@0 B1@0 C0@1.5 D0@1.5"}, // D: both have one request, and 0 comes first
		{500 * time.Millisecond, "A0@0 B1@0 C0@1.5 D0@1.5"},
		{501 * time.Millisecond, "A0@0 B1@0 C0@1.5 D1@1.5"}, // A still counts, C already does
	} {
		w := newWatcher(t, 64, time.Hour)
		_, err := Run(context.Background(), Config{Replicas: single(2), Router: route.LeastOutstanding{}, ViewDelay: c.delay, Source: &listSource{rs}, Record: []Recorder{w}})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.routed(); got != c.want {
			t.Errorf("view %v old: %s, want %s", c.delay, got, c.want)
		}
	}
}

// A request that is kept back goes when the news of a free place has come, and a run ends
// with its last request, not with the last news.
func TestGatewayWaitsForTheNews(t *testing.T) {
	for _, until := range []sim.Time{0, sim.Seconds(100), sim.Seconds(4.2)} {
		w := newWatcher(t, 64, time.Hour)
		out, err := Run(context.Background(), Config{
			Replicas: single(1), Router: route.SharedQueue{Slots: 1}, ViewDelay: 500 * time.Millisecond,
			Source: &listSource{requests{req(0, 4, 1), req(0, 4, 1), req(0, 4, 1)}}, Record: []Recorder{w}, Until: until,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := w.routed(), "A0@0 B0@1.5 C0@3"; got != want || out.End != sim.Seconds(4) || out.Finished != 3 {
			t.Errorf("cut at %v: %s, %+v; want %s by 4 s", until, got, out, want)
		}
	}
}

// auditing is a router that compares what it is shown with the log.
type auditing struct {
	route.Policy
	t       *rapid.T
	delay   time.Duration
	c       *Cluster
	told    []Record // Routed, Scheduled, FirstToken and Finished so far, requests copied
	asked   int
	reports route.Reports
}

func (a *auditing) Reports() route.Reports     { return a.reports }
func (a *auditing) Predictor() route.Predictor { return route.Oracle{} }

func (a *auditing) Record(r *Record) {
	switch r.What {
	case Routed, Scheduled, FirstToken, Finished:
		c := *r
		s := *r.Request
		c.Request = &s
		a.told = append(a.told, c)
	}
}

func (a *auditing) Route(now sim.Time, r *workloads.Request, replicas []route.Replica) int {
	a.asked++
	want := make([]route.Replica, len(replicas))
	for i := range want {
		want[i] = route.Replica{Ready: true, KVBlocks: replicas[i].KVBlocks, KVUsed: replicas[i].KVUsed}
		if a.delay == 0 && a.reports&route.Memory != 0 {
			want[i].KVUsed = a.c.replicas[i].mem.ledger.Used()
		}
	}
	for i := range a.told {
		r := &a.told[i]
		w, prompt, answer := &want[r.Replica], int64(r.Request.Prompt), int64(r.Request.Output)
		known := r.At.Add(a.delay) <= now
		switch {
		case r.What == Routed:
			w.Outstanding++
			w.Tokens += prompt
			w.Work += prompt + answer
			w.Queued++
		case known && r.What == Scheduled:
			w.Queued--
		case known && r.What == FirstToken:
			w.Work -= prompt
		case known && r.What == Finished:
			w.Outstanding--
			w.Tokens -= prompt
			w.Work -= answer
		}
	}
	for i := range want {
		if a.reports&route.Queue == 0 {
			want[i].Queued = 0
		}
		if replicas[i] != want[i] {
			a.t.Fatalf("at %v the router sees %+v of replica %d, want %+v by the log", now, replicas[i], i, want[i])
		}
	}
	return a.Policy.Route(now, r, replicas)
}

// At any time the router knows what had happened on the replicas one delay before, and
// all that it has sent; in the end there is nothing left. Memory is plenty, so that the log
// tells who is in the queue.
func TestViewIsTheLogOneDelayAgo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "replicas")
		seed := rapid.Uint64().Draw(t, "seed")
		a := &auditing{
			t: t, Policy: &route.Random{Rand: sim.Stream(seed, "route")},
			delay:   time.Duration(rapid.SampledFrom([]int64{0, 1, 1e6, 3e7, 1e9}).Draw(t, "delay")),
			reports: route.Reports(rapid.IntRange(0, 3).Draw(t, "reports")),
		}
		cfg := Config{Router: a, ViewDelay: a.delay, Source: &listSource{mixed(60, seed)}, Record: []Recorder{a}}
		for range n {
			cfg.Replicas = append(cfg.Replicas, ReplicaConfig{
				Policy: &batch.VLLMV1{MaxSeqs: 6, Budget: 200}, Cost: &toyCost{price: tokens}, MaxLen: 4096, Blocks: 100_000, BlockTokens: 16,
			})
		}
		c, err := newCluster(cfg)
		if err != nil {
			t.Fatal(err)
		}
		a.c = c
		out, err := c.run()
		if err != nil || out.Finished != 60 || a.asked < 60 {
			t.Fatalf("%+v, %v, the router was asked %d times", out, err, a.asked)
		}
		for i, l := range c.view.seen {
			if l != (route.Replica{Ready: true, KVBlocks: 100_000}) {
				t.Errorf("in the end the router sees %+v of replica %d", l, i)
			}
		}
	})
}

// A router that looks at memory sees it step by step, others leave the jumps alone; the
// log of one replica is the same.
func TestReportsOfMemoryStep(t *testing.T) {
	events := map[route.Reports]uint64{}
	var logs [][]Record
	for _, reports := range []route.Reports{0, route.Queue, route.Memory} {
		w := newWatcher(t, 1<<20, 20*time.Millisecond)
		cfg := Config{Router: seeing{&route.RoundRobin{}, reports}, Source: &listSource{mixed(100, 1)}, Record: []Recorder{w}, LateGap: 20 * time.Millisecond}
		cfg.Replicas = []ReplicaConfig{{Policy: &batch.Sarathi{MaxSeqs: 24, Budget: 200}, Cost: &toyCost{price: tokens}, MaxLen: 4096, Blocks: 1 << 20, BlockTokens: 16}}
		out, err := Run(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		events[reports] = out.Events
		logs = append(logs, w.records)
	}
	sameLog(t, "queue", logs[0], logs[1])
	sameLog(t, "memory", logs[0], logs[2])
	if events[route.Queue] != events[0] || events[route.Memory] <= events[0] {
		t.Errorf("events by what is reported: %v; want as many with the queue as with nothing, and more with memory", events)
	}
}

// seeing is a router that wants reports.
type seeing struct {
	route.Policy
	reports route.Reports
}

func (s seeing) Reports() route.Reports { return s.reports }

// News from the future is an error, and a router that chooses a replica that takes no
// requests a mistake.
func TestViewRefuses(t *testing.T) {
	_, err := Run(context.Background(), Config{Replicas: single(1), ViewDelay: -1, Source: &listSource{}})
	if err == nil || !strings.Contains(err.Error(), "must be at least 0") {
		t.Errorf("a view from the future: %v", err)
	}
	defer func() {
		if said := fmt.Sprint(recover()); !strings.Contains(said, "sends request 0 to replica 1, which is not ready") {
			t.Errorf("a router that sends requests to a replica that is off: %v", said)
		}
	}()
	off := single(2)
	off[1].Off = true
	_, err = Run(context.Background(), Config{Replicas: off, Router: stubborn{}, Source: &listSource{requests{req(0, 4, 1)}}})
	t.Errorf("ran to its end, %v", err)
}

// stubborn is a router that always sends to replica 1.
type stubborn struct{}

func (stubborn) Route(sim.Time, *workloads.Request, []route.Replica) int { return 1 }

// The ring keeps its order however it grows and wraps.
func TestMailbag(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b mailbag
		next, first := int32(0), int32(0)
		for range 300 {
			if rapid.IntRange(0, 4).Draw(t, "how") < 3 {
				b.push(message{replica: next})
				next++
			} else if b.n > 0 {
				if front, got := b.front().replica, b.pop().replica; got != first || front != first {
					t.Fatalf("got %d, front %d, want %d", got, front, first)
				}
				first++
			}
			if b.n != int(next-first) {
				t.Fatalf("%d messages, want %d", b.n, next-first)
			}
		}
	})
}
