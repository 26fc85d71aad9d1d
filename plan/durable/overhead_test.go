//go:build unix

package durable

import (
	"context"
	"os"
	"syscall"
	"testing"
	"time"

	"orrery/plan/sweep"
	"orrery/scenarios"
)

// cpu returns the processor time of this process and of children that have ended.
func cpu(t *testing.B) (total time.Duration) {
	t.Helper()
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			t.Fatal(err)
		}
		total += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return total
}

// BenchmarkActivity reports what an activity costs beside the run in it, server and worker together, with
// one run an activity, and the start of the server with it. It needs the path of orrery-sweepd in
// ORRERY_SWEEPD. Two busy cores (EPYC): 12 ms, or 1.2 % of activities of a second.
func BenchmarkActivity(b *testing.B) {
	daemon := os.Getenv("ORRERY_SWEEPD")
	if daemon == "" {
		b.Skip("no ORRERY_SWEEPD, the path of orrery-sweepd")
	}
	s, err := scenarios.Load("quickstart", "traffic.requests=20")
	if err != nil {
		b.Fatal(err)
	}
	const runs = 500
	seeds := make([]uint64, runs)
	for i := range seeds {
		seeds[i] = uint64(i + 1)
	}
	axis, err := sweep.ParseAxis("traffic.rate=1.0")
	if err != nil {
		b.Fatal(err)
	}
	w, err := sweep.Plan(context.Background(), s, sweep.Spec{Axes: []sweep.Axis{axis}, Seeds: seeds})
	if err != nil {
		b.Fatal(err)
	}
	spent := func(engine sweep.Engine) time.Duration {
		begun := cpu(b)
		if err := engine.Run(context.Background(), w.Cells, func(sweep.Row) {}); err != nil {
			b.Fatal(err)
		}
		return cpu(b) - begun
	}
	for b.Loop() {
		local := spent(&sweep.Local{Store: &sweep.Dir{Path: b.TempDir()}})
		all := spent(&Engine{ID: w.ID, Results: &sweep.Dir{Path: b.TempDir()}, Daemon: daemon, Pace: Pace{Batch: time.Nanosecond}})
		b.ReportMetric(float64((all-local).Microseconds())/1000/runs, "cpu-ms/activity")
		b.ReportMetric(float64(local.Microseconds())/1000/runs, "cpu-ms/run")
	}
}
