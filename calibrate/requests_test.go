package calibrate_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"orrery/calibrate"
	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/policies/route"
	"orrery/sim"
	"orrery/workloads"
	"orrery/workloads/trace"
)

// engine is a simulated engine whose requests are timed.
type engine struct {
	cost    hwmodel.Affine
	maxSeqs int
	budget  int
	blocks  int64
}

// serve simulates the engine under some traffic and returns the requests by number.
func (e engine) serve(t *testing.T, src workloads.Source) map[int64]cluster.Served {
	t.Helper()
	got := served{}
	cost := e.cost
	if _, err := cluster.Run(context.Background(), cluster.Config{
		Router: &route.RoundRobin{}, Source: src, Record: []cluster.Recorder{got},
		Replicas: []cluster.ReplicaConfig{{
			Policy: &batch.VLLMV1{MaxSeqs: e.maxSeqs, Budget: e.budget}, Cost: &cost, MaxLen: 1 << 15, Blocks: e.blocks, BlockTokens: 16,
		}},
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

type served map[int64]cluster.Served

// Record implements [cluster.Recorder].
func (s served) Record(r *cluster.Record) {
	if r.What == cluster.Finished {
		s[r.Request.ID] = *r.Request
	}
}

// timings returns what a log would say of the requests, with the start of prefills or
// without.
func (s served) timings(starts bool) []calibrate.Timing {
	var ts []calibrate.Timing
	for id := range int64(len(s)) {
		q := s[id]
		x := calibrate.Timing{
			GPU: "g", Model: "m", Request: id, Arrival: q.Arrived.Seconds(), Prompt: int(q.Prompt), Output: int(q.Output),
			Queued: math.NaN(), Scheduled: math.NaN(), First: q.First.Seconds(), Last: q.Last.Seconds(),
		}
		if starts {
			x.Scheduled = q.Scheduled.Seconds()
		}
		ts = append(ts, x)
	}
	return ts
}

func traffic(t *testing.T, rate float64, n int64, seed uint64) workloads.Source {
	t.Helper()
	src, err := trace.Synthetic{
		Arrivals: trace.Poisson{Rate: rate}, N: n, Seed: seed,
		Lengths: trace.Joint{Prompt: trace.Uniform{Min: 50, Max: 2000}, Output: trace.Uniform{Min: 50, Max: 600}},
	}.Open()
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// The coefficients that made the times come back from the times, whether the log has the
// starts of prefills or only what clients see.
func TestRequestsGiveBackTheCostModel(t *testing.T) {
	truth := engine{
		cost:    hwmodel.Affine{Iteration: 11e-3, PrefillToken: 40e-6, Sequence: 50e-6, ContextToken: 0.12e-6, PrefillIteration: 8e-3},
		maxSeqs: 256, budget: 2048, blocks: 1 << 18,
	}
	for _, x := range []struct {
		name   string
		starts bool
		rate   float64
	}{{"engine log", true, 4}, {"engine log, overloaded", true, 9}, {"clients", false, 4}} {
		t.Run(x.name, func(t *testing.T) {
			log := served(truth.serve(t, traffic(t, x.rate, 300, 7)))
			f, err := calibrate.FitRequests(log.timings(x.starts), calibrate.Rules{Budget: truth.budget, MaxSeqs: truth.maxSeqs})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v, held out: decode %.1f %%, prefill %.1f %%", f.Cost, 100*f.Decode.HeldOutMedian, 100*f.Prefill.HeldOutMedian)
			for _, c := range []struct {
				name             string
				got, want, share float64
			}{
				{"iteration", f.Cost.Iteration, truth.cost.Iteration, 0.15}, {"prefill token", f.Cost.PrefillToken, truth.cost.PrefillToken, 0.15},
			} {
				if math.Abs(c.got/c.want-1) > c.share {
					t.Errorf("%s is %g s, made with %g", c.name, c.got, c.want)
				}
			}
			if f.Decode.HeldOutRows != 75 || f.Decode.HeldOutMedian > 0.03 {
				t.Errorf("held out: %+v", f.Decode)
			}
			// What counts is what the coefficients say of traffic that they were not fitted to.
			fitted := truth
			fitted.cost = f.Cost
			e := compare(served(truth.serve(t, traffic(t, 2, 300, 8))).timings(true), fitted.serve(t, traffic(t, 2, 300, 8)))
			t.Logf("other traffic: %v", e)
			if e.ttft > 0.10 || e.tpot > 0.04 || e.e2e > 0.04 {
				t.Errorf("other traffic: median errors %v", e)
			}
		})
	}
}

// medians are median absolute relative errors over requests.
type medians struct{ ttft, tpot, e2e float64 }

func compare(ts []calibrate.Timing, got map[int64]cluster.Served) medians {
	var ttft, tpot, e2e []float64
	off := func(got sim.Time, want float64) float64 { return math.Abs(got.Seconds()/want - 1) }
	for _, q := range ts {
		s := got[q.Request]
		ttft = append(ttft, off(s.First-s.Arrived, q.First-q.Arrival))
		e2e = append(e2e, off(s.Last-s.Arrived, q.Last-q.Arrival))
		if q.Output > 1 {
			tpot = append(tpot, off(s.Last-s.First, q.Last-q.First))
		}
	}
	median := func(x []float64) float64 { slices.Sort(x); return x[len(x)/2] }
	return medians{median(ttft), median(tpot), median(e2e)}
}

// Real runs of vLLM 0.19 (KAIST's LLMServingSim repository, see the README of the data):
// coefficients are fitted to the requests of a run, the run is simulated by arrival with
// them, and the requests that had no part in the fit are compared.
//
// The limits are those of the plan, 15 % for TTFT and 10 % for TPOT and E2E, but for TTFT of
// the mixture of experts. Its first tokens come 0.1 s after the arrival, in the one or
// two iterations that follow; one request's luck within an iteration is a quarter of that.
func TestRequestsOfVLLM(t *testing.T) {
	path := filepath.Join("..", "..", "shared", "data", "engine", "llm_requests_vllm.csv")
	if _, err := os.Stat(path); err != nil {
		t.Skip("the measurements are not there: ", err)
	}
	m, err := calibrate.ReadMeasurements(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		gpu, model string
		maxSeqs    int // as the log shows: the most that run at once
		kvTokens   int64
		ttft       float64
	}{
		{"rtx_4090", "Llama-3.1-8B", 256, 41408, 0.15},
		{"rtx_pro_6000", "Llama-3.1-8B", 128, 1 << 20, 0.15},
		{"rtx_pro_6000", "Qwen3-30B-A3B-Instruct-2507", 256, 1 << 20, 0.25},
	} {
		t.Run(x.gpu+" "+x.model, func(t *testing.T) {
			var ts, held []calibrate.Timing
			src := &listed{}
			for _, q := range m.Requests {
				if q.GPU != x.gpu || q.Model != x.model {
					continue
				}
				src.rs = append(src.rs, workloads.Request{ID: q.Request, Arrived: sim.Seconds(q.Arrival), Prompt: int32(q.Prompt), Output: int32(q.Output)})
				if len(ts)%4 == 3 { // as FitRequests holds out
					held = append(held, q)
				}
				ts = append(ts, q)
			}
			f, err := calibrate.FitRequests(ts, calibrate.Rules{Budget: 2048, MaxSeqs: x.maxSeqs})
			if err != nil {
				t.Fatal(err)
			}
			e := compare(held, engine{f.HeldOutCost, x.maxSeqs, 2048, x.kvTokens / 16}.serve(t, src))
			t.Logf("%+v; median errors of %d requests held out: TTFT %.1f %%, TPOT %.1f %%, E2E %.1f %%", f.Cost, len(held), 100*e.ttft, 100*e.tpot, 100*e.e2e)
			if e.ttft > x.ttft || e.tpot > 0.10 || e.e2e > 0.10 {
				t.Errorf("median errors %+v", e)
			}
		})
	}
}

// listed is a source of given requests.
type listed struct{ rs []workloads.Request }

// Peek implements [workloads.Source].
func (s *listed) Peek() (sim.Time, bool) {
	if len(s.rs) == 0 {
		return 0, false
	}
	return s.rs[0].Arrived, true
}

// Next implements [workloads.Source].
func (s *listed) Next() workloads.Request {
	r := s.rs[0]
	s.rs = s.rs[1:]
	return r
}

// Files and runs that cannot be fitted are refused in a line that says why.
func TestTimingsAreRefused(t *testing.T) {
	const header = "# orrery measurements 1\n\n[requests]\ngpu,model,req,arrival_s,in_tok,out_tok,queued_s,scheduled_s,first_token_s,last_token_s\n"
	for _, x := range []struct{ text, want string }{
		{header + "g,m,0,0,10,5,,,0.5,0.4\n", ":5: last_token_s is 0.4, before first_token_s, 0.5"},
		{header + "g,m,0,0,0,5,,,0.5,0.6\n", ":5: in_tok is \"0\""},
		{header + "g,m,0,0,10,5,,,nan,0.6\n", ":5: first_token_s is \"nan\""},
		{header + "g,m,0,-1,10,5,,,0.5,0.6\n", ":5: arrival_s is \"-1\""},
		{header + ",m,0,0,10,5,,,0.5,0.6\n", ":5: gpu and model"},
		{header + "g,m,x,0,10,5,,,0.5,0.6\n", ":5: req is \"x\""},
		{header + "g,m,0,0,10,5,,,0.5", "cut off here"},
		{strings.Replace(header, "in_tok,", "", 1), "requests has columns"},
	} {
		path := filepath.Join(t.TempDir(), "m.txt")
		if err := os.WriteFile(path, []byte(x.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := calibrate.ReadMeasurements(path); err == nil || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, want %q", x.text, err, x.want)
		}
	}
	if _, err := calibrate.FitRequests(make([]calibrate.Timing, 10), calibrate.Rules{}); err == nil || !strings.Contains(err.Error(), "too few") {
		t.Error(err)
	}
	mixed := make([]calibrate.Timing, 100)
	mixed[70].GPU = "other"
	if _, err := calibrate.FitRequests(mixed, calibrate.Rules{}); err == nil || !strings.Contains(err.Error(), "of one run") {
		t.Error(err)
	}
	if _, err := calibrate.FitRequests(make([]calibrate.Timing, 100), calibrate.Rules{}); err == nil {
		t.Error("requests without any time are fitted")
	}
}
