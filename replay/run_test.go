package replay

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"orrery/report"
	"orrery/sim"
	"orrery/workloads"
	"orrery/workloads/trace"
)

// scripted is a client without a network: its answers come on a schedule.
type scripted struct {
	first, gap time.Duration
	// until, if set, is when a server that stalls from the beginning wakes up.
	until time.Duration
	// prepare is how long a prompt takes to make.
	prepare time.Duration
}

func (s scripted) Prepare(r *workloads.Request) func(context.Context, *Answer) {
	time.Sleep(s.prepare)
	return func(ctx context.Context, a *Answer) {
		a.Sent = a.now()
		at := max(a.Sent.Add(s.first), sim.Time(s.until))
		for range a.Output {
			select {
			case <-time.After(time.Duration(at - a.now())):
				a.Chunks = append(a.Chunks, a.now())
			case <-ctx.Done():
				a.fail(ctx, 0, ctx.Err())
				return
			}
			at = at.Add(s.gap)
		}
	}
}

// steady is n requests, one every 100 ms from 100 ms on.
func steady(t *testing.T, n int64) workloads.Source {
	t.Helper()
	src, err := trace.Synthetic{Arrivals: trace.Constant{Rate: 10}, Lengths: fixed(100, 5), N: n, Seed: 1}.Open()
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func fixed(prompt, output float64) trace.Lengths {
	return trace.Joint{Prompt: trace.Fixed{Value: prompt}, Output: trace.Fixed{Value: output}}
}

func load(src workloads.Source, c Client) Config {
	return Config{Source: src, Client: c, Timeout: time.Minute, MaxInFlight: 1000, Drain: time.Second}
}

// The load is open: a server that answers nothing for ten seconds gets every request on
// time, and each counts its wait from when it was due, which grows linearly backwards.
func TestAStallIsSeenInFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := Run(t.Context(), load(steady(t, 50), scripted{first: 10 * time.Millisecond, gap: time.Millisecond, until: 10 * time.Second}))
		if len(out.Answers) != 50 || out.InFlightPeak != 50 {
			t.Fatalf("%d requests, %d in flight", len(out.Answers), out.InFlightPeak)
		}
		for _, a := range out.Answers {
			if a.Sent != a.Arrived {
				t.Errorf("request %d was due at %v and sent at %v", a.ID, a.Arrived, a.Sent)
			}
		}
		r := out.Result(Frame{})
		// Due at 0.1 to 5.0 s, answered at 10 s.
		if got, want := float64(r.Latency.TTFT.MaxS), 10-out.Answers[0].Arrived.Seconds(); !near(got, want) {
			t.Errorf("longest TTFT is %g s, want %g", got, want)
		}
		if got, want := float64(r.Latency.TTFT.MeanS), 10-mean(out); !near(got, want) {
			t.Errorf("mean TTFT is %g s, want %g", got, want)
		}
		if got := float64(r.Latency.TBT.P50S); !near(got, 0.001) {
			t.Errorf("TBT is %g s, want 0.001", got)
		}
	})
}

func mean(o *Outcome) (m float64) {
	for _, a := range o.Answers {
		m += a.Arrived.Seconds() / float64(len(o.Answers))
	}
	return m
}

func near(got, want float64) bool {
	d := got - want
	return max(d, -d) <= want*2*sim.SketchError
}

// Throughput and counts are those of the schedule, and every token is booked in the
// second in which it came.
func TestFiguresAreThoseOfTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := Run(t.Context(), load(steady(t, 100), scripted{first: 20 * time.Millisecond, gap: 5 * time.Millisecond}))
		r := out.Result(Frame{WarmUp: sim.Seconds(5.05), SLO: report.SLO{TTFT: 30 * time.Millisecond, TBT: time.Millisecond}})
		if r.Requests.Arrived != 100 || r.Requests.Finished != 100 || r.Tokens.Output != 500 {
			t.Errorf("%+v, %+v", r.Requests, r.Tokens)
		}
		if got := float64(r.Throughput.OutputTokensPerS) * r.WindowS; got < 5*49 || got > 5*51 {
			t.Errorf("%g tokens in a window with some 50 requests of 5", got)
		}
		if !near(float64(r.Latency.E2E.P50S), 0.040) || !near(float64(r.Latency.TPOT.P99S), 0.005) {
			t.Errorf("%+v", r.Latency)
		}
		if r.SLO.Met || r.SLO.GoodputPerS != 0 || !r.SLO.Bounds[0].Held || r.SLO.Bounds[1].Held {
			t.Errorf("%+v", r.SLO)
		}
		if m := r.Measurement; m.Chunks != 500 || m.Tokens != 500 || !m.Trusted || m.Short != 0 || len(m.Failures) != 0 {
			t.Errorf("%+v", m)
		}
		if r.Latency.SchedulingDelay.P50S.Exists() || r.Load.BusyShare.Exists() || r.Load.KVMeanShare.Exists() {
			t.Error("the result says what no client can see")
		}
	})
}

// A generator that cannot keep its own times says so.
func TestALateGeneratorIsNotTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := Run(t.Context(), load(steady(t, 20), scripted{first: 50 * time.Millisecond, prepare: lead + 30*time.Millisecond}))
		r := out.Result(Frame{})
		if m := r.Measurement; m.Trusted || !near(float64(m.Lateness.P50S), 0.030) || len(r.Flags) == 0 {
			t.Errorf("trusted %v, late %v, flags %q", m.Trusted, m.Lateness, r.Flags)
		}
		if !near(float64(r.Latency.TTFT.P50S), 0.080) {
			t.Errorf("TTFT %v, want 80 ms from when it was due", r.Latency.TTFT.P50S)
		}
	})
}

func TestTooManyInFlightEndTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := load(steady(t, 1000), scripted{first: time.Hour})
		c.MaxInFlight = 30
		out := Run(t.Context(), c)
		if out.Aborted == nil || out.Stopped || len(out.Answers) != 30 {
			t.Fatalf("%d requests were sent, aborted: %v", len(out.Answers), out.Aborted)
		}
		r := out.Result(Frame{})
		if !r.Partial || r.Requests.Unfinished != 30 || r.Measurement.Failures[0].Kind != string(CutByEnd) {
			t.Errorf("%+v", r.Requests)
		}
	})
}

// What times out waited as long as the limit at least, so it counts in the quantiles that
// include the unfinished.
func TestTimeOutsCountWithTheirWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := load(steady(t, 10), scripted{first: 500 * time.Millisecond, gap: time.Second})
		c.Timeout = 3 * time.Second
		r := Run(t.Context(), c).Result(Frame{})
		if r.Requests.Unfinished != 10 || r.Measurement.Failures[0] != (report.Failure{Kind: "timed out", Count: 10, Example: "context deadline exceeded"}) {
			t.Errorf("%+v %+v", r.Requests, r.Measurement.Failures)
		}
		if got := float64(r.Latency.E2E.WithUnfinished.P50S); !near(got, 3) {
			t.Errorf("E2E with time-outs is %g s, want 3", got)
		}
		if r.Tokens.Output != 30 {
			t.Errorf("%d tokens came, want 3 of each request", r.Tokens.Output)
		}
	})
}

// An interrupt stops the sending, lets answers that are nearly there arrive, and cuts
// the rest.
func TestAnInterruptDrainsBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		time.AfterFunc(2*time.Second, stop)
		out := Run(ctx, load(steady(t, 1000), scripted{first: 1500 * time.Millisecond}))
		if !out.Stopped || out.Aborted != nil {
			t.Fatal("not stopped")
		}
		if out.End > sim.Seconds(3.01) {
			t.Errorf("stopped at 2 s, and drained until %v", out.End)
		}
		r := out.Result(Frame{})
		if !r.Partial || r.Requests.Finished < 13 || r.Requests.Unfinished < 3 || r.Requests.Arrived != r.Requests.Finished+r.Requests.Unfinished {
			t.Errorf("%+v", r.Requests)
		}
	})
}

func TestTheScenariosEndCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := load(steady(t, 1000), scripted{first: 550 * time.Millisecond})
		c.Until = sim.Seconds(2)
		out := Run(t.Context(), c)
		r := out.Result(Frame{})
		if r.Partial || r.EndS != 2 || r.Requests.Unfinished == 0 || r.Requests.Unfinished > 6 {
			t.Errorf("ended at %g s: %+v", r.EndS, r.Requests)
		}
	})
}

// Clients of a closed loop ask again when they are answered, on a real server as well.
func TestAClosedLoopFollowsTheAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, err := trace.ClosedLoop{Clients: 3, Lengths: fixed(10, 4), N: 30, Seed: 1}.Open()
		if err != nil {
			t.Fatal(err)
		}
		out := Run(t.Context(), load(src, scripted{first: time.Second, gap: time.Second}))
		if out.InFlightPeak != 3 || len(out.Answers) != 30 || out.End != sim.Seconds(40) {
			t.Errorf("%d in flight at most, %d requests, end %v; want 3, 30 and 10 rounds of 4 s", out.InFlightPeak, len(out.Answers), out.End)
		}
	})
}
