package report

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"orrery/cluster"
	"orrery/policies/batch"
	"orrery/sim"
)

// Every figure of the story, by hand.
func TestStoryByHand(t *testing.T) {
	slo := SLO{TTFT: 30 * time.Millisecond, TBT: 25 * time.Millisecond}
	r := measured(Config{Replicas: storySpec, SLO: slo}, story(), 100*ms).Summary()
	if got, want := r.Requests, (Requests{Arrived: 4, Finished: 2, Rejected: 1, Unfinished: 1, Measured: 2, RejectedBy: []Rejection{{"longer than the longest sequence served", 1}}}); !equalJSON(got, want) {
		t.Errorf("requests are %+v, want %+v", got, want)
	}
	if got, want := r.Tokens, (Tokens{Prompt: 230, Output: 6}); got != want {
		t.Errorf("tokens are %+v, want %+v", got, want)
	}
	const e = sim.SketchError
	l := &r.Latency
	near(t, "TTFT p50", l.TTFT.P50S, 0.020, e)
	near(t, "TTFT max", l.TTFT.MaxS, 0.035, 0)
	near(t, "TTFT mean", l.TTFT.MeanS, 0.0275, e)
	near(t, "TTFT mean with unfinished", l.TTFT.WithUnfinished.MeanS, 0.025, e)
	near(t, "E2E max", l.E2E.MaxS, 0.060, 0)
	near(t, "E2E p50 with unfinished", l.E2E.WithUnfinished.P50S, 0.045, e)
	near(t, "scheduling delay max", l.SchedulingDelay.MaxS, 0.015, 0)
	near(t, "TPOT max", l.TPOT.MaxS, 0.020, 0) // request 0: 40 ms in two gaps
	near(t, "TBT mean", l.TBT.MeanS, 0.05/3, 1e-9)
	near(t, "TBT max", l.TBT.MaxS, 0.030, 0)
	if l.TBT.WithUnfinished.Count != 4 {
		t.Errorf("%d gaps with the open one, want 4", l.TBT.WithUnfinished.Count)
	}
	near(t, "requests per second", r.Throughput.RequestsPerS, 20, 0)
	near(t, "output tokens per second", r.Throughput.OutputTokensPerS, 60, 0)
	near(t, "tokens per second", r.Throughput.TotalTokensPerS, 2360, 0)
	// In the system: request 0 for 60 ms, 1 for 45, 2 for 30.
	near(t, "in system", r.Load.SystemMean, 1.35, 1e-12)
	near(t, "in system by Little's law", r.Load.LittleMean, 1.35, 1e-12)
	// Running: 1 for 20 ms, 2 for 30, 1 for 10, then 1 from 70 to the cut at 100.
	near(t, "running", r.Load.RunningMean, 1.2, 1e-12)
	near(t, "waiting", r.Load.WaitingMean, 0.15, 1e-9)
	// KV: 7 for 20 ms, 11 for 20, 12 for 10, 8 for 10, 5 for 30, of 20.
	near(t, "KV mean", r.Load.KVMeanShare, (7*20+11*20+12*10+8*10+5*30)/2000., 1e-12)
	near(t, "KV peak", r.Load.KVPeakShare, 0.6, 0)
	// Five iterations of 80 ms in all, 1 ms of host each.
	near(t, "busy", r.Load.BusyShare, 0.75, 1e-12)
	near(t, "host share", r.Iterations.HostShare, 5./80, 1e-12)
	near(t, "tokens per iteration", r.Iterations.TokensMean, 233./5, 1e-12)
	near(t, "batch", r.Iterations.BatchMean, 6./5, 1e-12)
	// Request 0 has one late gap of two, request 1 a late first token.
	if r.SLO.Met || r.SLO.GoodputPerS != 0 {
		t.Errorf("SLO %+v, want missed without goodput", r.SLO)
	}
	if r.Limit.LateGaps != 1 || r.Limit.LateWithPrefill != 1 {
		t.Errorf("limits %+v, want one late gap with a prefill", r.Limit)
	}
}

func equalJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// With a warm-up of 45 ms only request 2 is measured, and the gaps at 50 and 60 ms.
func TestWarmUpByHand(t *testing.T) {
	r := measured(Config{Replicas: storySpec, WarmUp: 45 * ms}, story(), 100*ms).Summary()
	if r.Requests.Arrived != 4 || r.Requests.Measured != 0 || r.Latency.TTFT.Count != 0 || r.Latency.TTFT.WithUnfinished.Count != 1 {
		t.Errorf("requests %+v, TTFT %+v", r.Requests, r.Latency.TTFT)
	}
	if r.Latency.TBT.Count != 3 {
		t.Errorf("%d gaps, want 3", r.Latency.TBT.Count)
	}
	near(t, "in system", r.Load.SystemMean, (15+5+30)/55., 1e-12)
	near(t, "in system by Little's law", r.Load.LittleMean, (15+5+30)/55., 1e-12)
	near(t, "busy", r.Load.BusyShare, (5+9+19)/55., 1e-12)
	near(t, "running", r.Load.RunningMean, (2*5+10+30)/55., 1e-12)
	near(t, "requests per second", r.Throughput.RequestsPerS, 2/0.055, 1e-12)
}

// watch keeps finished requests and gaps to compare with.
type watch struct {
	ttft, e2e, gaps []int64
}

func (w *watch) Record(r *cluster.Record) {
	switch r.What {
	case cluster.Finished:
		w.ttft = append(w.ttft, int64(r.Request.First.Sub(r.Request.Arrived)))
		w.e2e = append(w.e2e, int64(r.Request.Last.Sub(r.Request.Arrived)))
	case cluster.Emitted:
		for range r.N {
			w.gaps = append(w.gaps, int64(r.Gap))
		}
	}
}

// On real runs quantiles agree with sorting, the time averages with Little's law,
// and the bins with the totals, for all policies, with memory ample and short.
func TestMetricsAgreeWithSorting(t *testing.T) {
	for name, policy := range policies() {
		for _, y := range []toy{{blocks: 5000}, {blocks: 300, replicas: 3}, {blocks: 300, stages: 3}, {blocks: 400, until: sim.Seconds(3)}} {
			y.policy = policy
			w := &watch{}
			cfg := y.config(traffic(400, 60, 7), w)
			m := NewMetrics(Config{Replicas: Specs(cfg.Replicas)})
			out := y.run(t, traffic(400, 60, 7), w, m)
			m.Close(out.End)
			r := m.Summary()
			for _, c := range []struct {
				name    string
				samples []int64
				got     Quantiles
			}{{"TTFT", w.ttft, r.Latency.TTFT.Quantiles}, {"E2E", w.e2e, r.Latency.E2E.Quantiles}, {"TBT", w.gaps, r.Latency.TBT.Quantiles}} {
				slices.Sort(c.samples)
				at := func(p float64) float64 {
					return float64(c.samples[int(math.Ceil(p*float64(len(c.samples))))-1]) / 1e9
				}
				near(t, name+" "+c.name+" p50", c.got.P50S, at(0.5), sim.SketchError)
				near(t, name+" "+c.name+" p99", c.got.P99S, at(0.99), sim.SketchError)
				near(t, name+" "+c.name+" max", c.got.MaxS, at(1), 1e-12)
			}
			near(t, name+" Little", r.Load.LittleMean, float64(r.Load.SystemMean), 1e-9)
			if q := r.Requests; q.Arrived != q.Finished+q.Rejected+q.Unfinished || q.Arrived != out.Arrived {
				t.Errorf("%s: requests do not add up: %+v", name, q)
			}
			var tokens, busy, end float64
			for i, x := range r.Series.OutputTokensPerS {
				d := min(r.Series.BinS, r.EndS-float64(i)*r.Series.BinS)
				tokens += x * d
				busy += r.Series.BusyShare[i] * d
				end += d
			}
			near(t, name+" tokens in bins", Number(tokens), float64(r.Tokens.Output), 1e-4)
			near(t, name+" busy time in bins", Number(busy), float64(r.Load.BusyShare)*end, 1e-4)
			if !(r.Load.BusyShare <= 1) || !(r.Load.KVPeakShare <= 1) || r.Load.BubbleShare < 0 {
				t.Errorf("%s: shares beyond one: %+v", name, r.Load)
			}
		}
	}
}

// Warm-up changes what is measured, not what is counted; a window from the middle of
// iterations is cut exactly.
func TestWindowsAddUp(t *testing.T) {
	y := toy{policy: policies()["sarathi"], blocks: 2000, replicas: 2}
	specs := Specs(y.config(nil).Replicas)
	whole := NewMetrics(Config{Replicas: specs})
	const cut = sim.Time(2_345_678_901)
	late := NewMetrics(Config{Replicas: specs, WarmUp: cut})
	until := toy{policy: y.policy, blocks: 2000, replicas: 2, until: cut}
	early := NewMetrics(Config{Replicas: specs})
	out := y.run(t, traffic(500, 80, 3), whole, late)
	whole.Close(out.End)
	late.Close(out.End)
	early.Close(until.run(t, traffic(500, 80, 3), early).End)
	a, b, c := whole.Summary(), early.Summary(), late.Summary()
	near(t, "in system", Number(float64(b.Load.SystemMean)*b.WindowS+float64(c.Load.SystemMean)*c.WindowS), float64(a.Load.SystemMean)*a.WindowS, 1e-9)
	near(t, "gaps", Number(b.Latency.TBT.Count+c.Latency.TBT.Count), float64(a.Latency.TBT.Count), 0)
	// The cut run has not logged the iterations under way at the cut.
	near(t, "busy", Number(float64(b.Load.BusyShare)*b.WindowS+float64(c.Load.BusyShare)*c.WindowS), float64(a.Load.BusyShare)*a.WindowS, 0.01)
	if c.Requests.Arrived != a.Requests.Arrived || c.Requests.Measured+b.Requests.Arrived != a.Requests.Finished {
		t.Errorf("requests: whole %+v, early %+v, late %+v", a.Requests, b.Requests, c.Requests)
	}
}

// Two halves of a cluster measured apart and merged have the samples of the whole.
func TestMergePoolsSamples(t *testing.T) {
	run := func(seed uint64) *Metrics {
		y := toy{policy: policies()["vllm"], blocks: 900}
		m := NewMetrics(Config{Replicas: Specs(y.config(nil).Replicas)})
		m.Close(y.run(t, traffic(200, 40, seed), m).End)
		return m
	}
	a, b, pooled := run(1).Summary(), run(2).Summary(), run(1)
	pooled.Merge(run(2))
	r := pooled.Summary()
	if r.Requests.Finished != a.Requests.Finished+b.Requests.Finished || r.Latency.TBT.Count != a.Latency.TBT.Count+b.Latency.TBT.Count || r.Runs != 2 || len(r.Replicas) != 2 {
		t.Errorf("merged %+v", r.Requests)
	}
	near(t, "mean TTFT", r.Latency.TTFT.MeanS, float64(a.Latency.TTFT.MeanS+b.Latency.TTFT.MeanS)/2, 1e-9)
	near(t, "max", r.Latency.E2E.MaxS, max(float64(a.Latency.E2E.MaxS), float64(b.Latency.E2E.MaxS)), 0)
	near(t, "busy", r.Load.BusyShare, float64(a.Load.BusyShare+b.Load.BusyShare)/2, 1e-9)
	near(t, "running", r.Load.RunningMean, (float64(a.Load.RunningMean)*a.WindowS+float64(b.Load.RunningMean)*b.WindowS)/r.WindowS, 1e-9)
}

// A queue that grows is recognised, and so is a system that still fills up without
// one; load that merely goes up and down is neither.
func TestGrowth(t *testing.T) {
	for _, c := range []struct {
		rate             float64
		output           int32 // 0 for the usual ones
		growing, filling bool
	}{{30, 0, false, false}, {400, 0, true, false}, {100, 3000, false, true}} {
		l := traffic(3000, c.rate, 5)
		if c.output > 0 {
			l = l[:500]
			for i := range l {
				l[i].Output = c.output
			}
		}
		y := toy{policy: func() batch.Policy { return &batch.Sarathi{MaxSeqs: 512, Budget: 512} }, blocks: 200_000}
		if c.growing {
			y.policy = policies()["sarathi"]
		}
		m := NewMetrics(Config{Replicas: Specs(y.config(nil).Replicas)})
		m.Close(y.run(t, l, m).End)
		if r := m.Summary(); r.Load.Growing != c.growing || r.Load.Filling != c.filling {
			t.Errorf("at %g requests/s growing is %v and filling %v (slope %v, busy %v, running %v)",
				c.rate, r.Load.Growing, r.Load.Filling, r.Load.WaitingSlopePerS, r.Load.BusyShare, r.Series.Running)
		}
	}
}

// An empty run has no figures, and says so in JSON that every reader accepts.
func TestNothingIsNull(t *testing.T) {
	m := measured(Config{Replicas: storySpec, SLO: SLO{TBT: time.Second}}, nil, 0)
	b, err := m.Summary().JSON()
	if err != nil || !json.Valid(b) || !bytes.Contains(b, []byte(`"p99_s": null`)) || bytes.Contains(b, []byte("NaN")) {
		t.Errorf("%v: %s", err, b)
	}
	var back Result
	if err := json.Unmarshal(b, &back); err != nil || back.Latency.TTFT.P99S.Exists() {
		t.Errorf("%v: %v", err, back.Latency.TTFT)
	}
}

// The hot loop of a run is forty thousand iterations for ten thousand requests;
// metrics must cost about a millisecond of that, and allocate nothing.
func BenchmarkMetrics(b *testing.B) {
	log := syntheticLog(40_000)
	b.ReportAllocs()
	for b.Loop() {
		m := NewMetrics(Config{Replicas: storySpec, SLO: SLO{TBT: 100 * time.Millisecond}})
		for i := range log {
			m.Record(&log[i])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(log)), "ns/record")
}

func syntheticLog(n int) []cluster.Record {
	var log []cluster.Record
	at := sim.Time(0)
	for i := range n {
		end := at + 20*ms + sim.Time(i%977)*3000
		it := &cluster.Iteration{Number: int64(i), Start: at, End: end, Running: 40, Waiting: int32(i % 3), KVUsed: int64(i % 20), Stages: []cluster.Span{{Start: at, End: end}}}
		it.Batch.Decodes = 40
		if i%5 == 0 {
			it.Batch.AddChunk(400, 0)
		}
		log = append(log,
			cluster.Record{What: cluster.Iterated, At: end, Iteration: it},
			cluster.Record{What: cluster.Emitted, At: end, N: 40, Gap: end.Sub(at)})
		at = end
	}
	return log
}

func TestRecordingAllocatesNothing(t *testing.T) {
	log := syntheticLog(2000)
	m := NewMetrics(Config{Replicas: storySpec})
	i := 0
	if n := testing.AllocsPerRun(3000, func() { m.Record(&log[i]); i++ }); n > 0.05 { // the sketch grows at first
		t.Errorf("%v allocations a record", n)
	}
}
