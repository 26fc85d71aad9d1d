package report

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"orrery/cluster"
	"orrery/sim"
)

// Whatever the policy, the size of the cluster, the load, the cut and the warm-up:
// the laws hold, jumps are steps, and the measurements fit together.
func TestAnyRun(t *testing.T) {
	choices := policies()
	names := make([]string, 0, len(choices))
	for name := range choices {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(t *rapid.T) {
		y := toy{
			policy:   choices[rapid.SampledFrom(names).Draw(t, "policy")],
			replicas: rapid.IntRange(1, 3).Draw(t, "replicas"),
			stages:   rapid.IntRange(1, 4).Draw(t, "stages"),
			blocks:   rapid.Int64Range(260, 2000).Draw(t, "blocks"), // Orca reserves 256 for one sequence
			until:    sim.Time(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "until")),
			late:     time.Duration(rapid.Int64Range(0, int64(10*time.Millisecond)).Draw(t, "late")),
			mode:     rapid.SampledFrom([]cluster.Emission{cluster.WithPrefill, cluster.WithDecode}).Draw(t, "first token"),
			faults:   rapid.Uint64Range(0, 3).Draw(t, "faults"),
			retry:    rapid.SampledFrom([]cluster.Retry{cluster.Resume, cluster.Unstarted, cluster.Fail}).Draw(t, "retry"),
		}
		n := rapid.IntRange(0, 120).Draw(t, "requests")
		rate := rapid.Float64Range(1, 500).Draw(t, "rate")
		seed := rapid.Uint64Range(0, 1000).Draw(t, "seed")
		warm := sim.Time(rapid.Int64Range(0, int64(time.Second)).Draw(t, "warm-up"))

		specs := Specs(y.config(nil).Replicas)
		var sums [2]uint64
		var results [2]*Result
		for i := range sums {
			y.step = i == 1
			laws, f := &Laws{Replicas: specs}, &Fingerprint{}
			m := NewMetrics(Config{Replicas: specs, WarmUp: warm, SLO: SLO{TTFT: 100 * time.Millisecond, TBT: y.late}})
			out := y.run(t, traffic(n, rate, seed), laws, f, m)
			if err := laws.Close(out.End, -1); err != nil {
				t.Fatal(err)
			}
			m.Close(out.End)
			sums[i], results[i] = f.Sum(), m.Summary()
		}
		if sums[0] != sums[1] {
			t.Fatalf("jumps give %x, steps %x", sums[0], sums[1])
		}
		r := results[0]
		if a, b := r.Verdict(), results[1].Verdict(); a != b {
			t.Fatalf("jumps say\n%s\nsteps say\n%s", a, b)
		}
		q := &r.Requests
		if q.Arrived != q.Finished+q.Rejected+q.Failed+q.Unfinished || q.Measured > q.Finished {
			t.Fatalf("requests do not add up: %+v", q)
		}
		l := &r.Load
		if math.Abs(float64(l.SystemMean-l.LittleMean)) > 1e-9*math.Abs(float64(l.SystemMean)) {
			t.Fatalf("in system %v, by Little's law %v", l.SystemMean, l.LittleMean)
		}
		if l.RunningMean > l.SystemMean*(1+1e-9) {
			t.Fatalf("%v running of %v in the system", l.RunningMean, l.SystemMean)
		}
		for _, rep := range r.Replicas {
			for _, s := range rep.Stages {
				if s.BusyShare+s.BubbleShare > 1+1e-9 || s.BusyShare < 0 || s.BubbleShare < 0 {
					t.Fatalf("busy %v and bubbles %v", s.BusyShare, s.BubbleShare)
				}
			}
			if rep.KVPeakShare > 1 || rep.KVMeanShare > rep.KVPeakShare*(1+1e-9) {
				t.Fatalf("KV mean %v, peak %v", rep.KVMeanShare, rep.KVPeakShare)
			}
		}
		for _, d := range []Delay{r.Latency.TTFT, r.Latency.E2E, r.Latency.TBT} {
			if d.P50S > d.P90S || d.P90S > d.P99S || d.P99S > d.MaxS || d.WithUnfinished.Count < d.Count {
				t.Fatalf("quantiles out of order: %+v", d)
			}
		}
	})
}
