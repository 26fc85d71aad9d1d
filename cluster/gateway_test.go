package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"orrery/policies/batch"
	"orrery/policies/route"
	"orrery/sim"
	"orrery/workloads"
)

// single is n servers that take one request at a time, each iteration a second.
func single(n int) (rs []ReplicaConfig) {
	for range n {
		rs = append(rs, ReplicaConfig{Policy: &batch.Orca{MaxSeqs: 1}, Cost: &toyCost{price: unit}, MaxLen: 64, Blocks: 64, BlockTokens: 16})
	}
	return rs
}

// reactive is a source of one request at a time: each comes a second after the one
// before it has ended, and would come much later otherwise.
type reactive struct {
	outputs []int32 // of the requests, in tokens
	at      sim.Time
	done    []string
}

func (s *reactive) Peek() (sim.Time, bool) { return s.at, len(s.outputs) > 0 }

func (s *reactive) Next() workloads.Request {
	r := workloads.Request{Arrived: s.at, Prompt: 4, Output: s.outputs[0]}
	s.outputs = s.outputs[1:]
	s.at += sim.Seconds(1000)
	return r
}

func (s *reactive) Done(r *workloads.Request, now sim.Time) {
	s.done = append(s.done, fmt.Sprintf("%s@%v", name(r.ID), now.Seconds()))
	s.at = now + sim.Seconds(1)
}

// A source hears of requests that finish and of those that are refused, and may then
// name an arrival that is sooner than the one it named before.
func TestSourceHearsOfEnds(t *testing.T) {
	src := &reactive{outputs: []int32{3, 100, 1, 2}} // B is too long
	w := newWatcher(t, 64, time.Hour)
	out, err := Run(context.Background(), Config{Replicas: single(1), Source: src, Record: []Recorder{w}})
	if err != nil || out.Finished != 3 || out.Rejected != 1 {
		t.Fatal(out, err)
	}
	if got, want := strings.Join(src.done, " "), "A@3 B@4 C@6 D@9"; got != want {
		t.Errorf("the source heard %s, want %s", got, want)
	}
	if got, want := w.story(), "A@0 +A@3 !B@4 C@5 +C@6 D@7 +D@9"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A cut that comes before the arrival that a source had named first still finds the
// sooner one.
func TestSoonerArrivalBeforeTheCut(t *testing.T) {
	out, err := Run(context.Background(), Config{Replicas: single(1), Source: &reactive{outputs: []int32{3, 3, 3}}, Until: sim.Seconds(9)})
	if err != nil || out.Arrived != 3 || out.Finished != 2 || out.Unfinished != 1 || out.End != sim.Seconds(9) {
		t.Errorf("got %+v, %v; want three arrivals by 9 s, at 0, 4 and 8", out, err)
	}
}

// The gateway is a queue: nobody passes those it keeps, not even a request that comes
// in the instant in which a place becomes free.
func TestGatewayIsFirstComeFirstServed(t *testing.T) {
	rs := requests{req(0, 4, 3), req(0, 4, 1), req(0, 4, 1), req(0, 4, 2), req(0, 4, 1), req(1, 4, 1), req(2, 4, 1), req(10, 4, 1)}
	w := newWatcher(t, 64, time.Hour)
	_, err := Run(context.Background(), Config{Replicas: single(2), Router: route.SharedQueue{Slots: 1}, Source: &listSource{rs}, Record: []Recorder{w}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range w.records {
		if r.What == Routed {
			got = append(got, fmt.Sprintf("%s@%v", name(r.Request.ID), r.At.Seconds()))
		}
	}
	// A takes one server until 3 s, B, C and D the other until 4 s.
	if want := "[A@0 B@0 C@1 D@2 E@3 F@4 G@4 H@10]"; fmt.Sprint(got) != want {
		t.Errorf("routed %v, want %v", got, want)
	}
}

// A crowd at the gateway costs each request the same: a hundred thousand take a
// fraction of a second, and would take minutes if each release moved the queue.
func TestGatewayCostIsLinear(t *testing.T) {
	rs := make(requests, 100_000)
	for i := range rs {
		rs[i] = req(0, 1, 1)
	}
	asked := &counting{Policy: route.SharedQueue{Slots: 1}}
	out, err := Run(context.Background(), Config{Replicas: single(1), Router: asked, Source: &listSource{rs}})
	if err != nil || out.Finished != int64(len(rs)) {
		t.Fatal(out, err)
	}
	if asked.n > 2*len(rs) {
		t.Errorf("the router was asked %d times about %d requests, want at most twice each", asked.n, len(rs))
	}
}

type counting struct {
	route.Policy
	n int
}

func (c *counting) Route(now sim.Time, r *workloads.Request, replicas []route.Replica) int {
	c.n++
	return c.Policy.Route(now, r, replicas)
}

// fixed is a source of equal requests at the times it is given, be they in order or not.
type fixed struct{ at []float64 }

func (s *fixed) Peek() (sim.Time, bool) {
	if len(s.at) == 0 {
		return 0, false
	}
	return sim.Seconds(s.at[0]), true
}

func (s *fixed) Next() workloads.Request {
	r := req(s.at[0], 10, 2)
	s.at = s.at[1:]
	return r
}

func TestArrivalsOutOfOrderAreAnError(t *testing.T) {
	out, err := Run(context.Background(), Config{Replicas: single(1), Source: &fixed{at: []float64{1, 2, 2, 1.5, 7}}})
	if err == nil || !strings.Contains(err.Error(), "names an arrival at 1.5s when it is 2s") {
		t.Errorf("got %v, want an error that names both times", err)
	}
	if out.Arrived != 3 {
		t.Errorf("%d requests were let in, want the 3 in order", out.Arrived)
	}
}

// lazy is a policy that forgets to plan.
type lazy struct{ batch.Sarathi }

func (lazy) Plan(batch.Plan) {}

func TestStalledPolicyIsAnError(t *testing.T) {
	_, out, err := toy{policy: &lazy{batch.Sarathi{MaxSeqs: 8, Budget: 512}}}.try(t, requests{req(0, 10, 10)})
	if err != ErrStalled || out.Unfinished != 1 {
		t.Errorf("got %+v, %v", out, err)
	}
}

// when is a recorder that acts once, when the n-th request has finished.
type when struct {
	n  int
	do func()
}

func (w *when) Record(r *Record) {
	if r.What != Finished {
		return
	}
	if w.n--; w.n == 0 {
		w.do()
	}
}

// A run was stopped if requests were under way or to come, not if the context ended
// with the last of them.
func TestStoppedOnlyIfCutShort(t *testing.T) {
	for _, c := range []struct {
		name     string
		arrivals []float64
		after    int // requests finished when the context ends; 0 for before the run
		until    float64
		stopped  bool
		finished int64
	}{
		{"before the run", []float64{0, 1}, 0, 0, true, 0},
		{"with one under way", []float64{0, 0, 0}, 1, 0, true, 1},
		{"with one to come", []float64{0, 100}, 1, 0, true, 1},
		{"with one to come after the cut", []float64{0, 100}, 1, 50, false, 1},
		{"at the very end", []float64{0, 0, 0}, 3, 0, false, 3},
		{"never", []float64{0, 0, 0}, 9, 0, false, 3},
	} {
		w := &when{n: c.after}
		cl, err := newCluster(Config{Replicas: single(1), Source: &fixed{at: c.arrivals}, Record: []Recorder{w}, Until: sim.Seconds(c.until)})
		if err != nil {
			t.Fatal(err)
		}
		w.do = func() { cl.stop.Store(true) } // what the end of a context does
		cl.stop.Store(c.after == 0)
		out, err := cl.run()
		if err != nil || out.Stopped != c.stopped || out.Finished != c.finished {
			t.Errorf("the context ends %s: %+v, %v; want stopped %v after %d", c.name, out, err, c.stopped, c.finished)
		}
	}
}

// A context that is done before the run begins ends it at once, through Run.
func TestRunHeedsItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	out, err := Run(ctx, Config{Replicas: single(1), Source: &endless{}})
	if err != nil || !out.Stopped {
		t.Errorf("got %+v, %v; want a stopped run and no error", out, err)
	}
}

// endless sends a request a second without end.
type endless struct{ n int }

func (s *endless) Peek() (sim.Time, bool) { return sim.Seconds(float64(s.n)), true }
func (s *endless) Next() workloads.Request {
	s.n++
	return req(float64(s.n-1), 1, 1)
}

// Progress is told after every few hundred arrivals, however they come, and at the end.
func TestProgress(t *testing.T) {
	for _, gap := range []float64{0, 3} { // a burst of all, and one by one
		var told []int64
		var last [2]int64
		var end sim.Time
		at := make([]float64, 2000)
		for i := range at {
			at[i] = float64(i) * gap
		}
		out, err := Run(context.Background(), Config{Replicas: single(1), Source: &fixed{at: at}, Progress: func(now sim.Time, arrived, ended int64) {
			told = append(told, arrived)
			last, end = [2]int64{arrived, ended}, now
		}})
		if err != nil {
			t.Fatal(err)
		}
		want := "[512 1024 1536 2000]"
		if gap == 0 {
			want = "[2000 2000]"
		}
		if fmt.Sprint(told) != want || last != [2]int64{2000, 2000} || end != out.End {
			t.Errorf("one every %v s: told of %v arrivals, at last %v at %v; want %s, all ended at %v", gap, told, last, end, want, out.End)
		}
	}
}
