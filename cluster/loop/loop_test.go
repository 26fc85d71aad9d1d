package loop

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"orrery/policies/control"
	"orrery/sim"
)

const ms = time.Millisecond

// plan is so many equal kernels, which wait for no host.
func plan(whole time.Duration, kernels int) []Kernel {
	out := make([]Kernel, kernels)
	for i := range out {
		out[i].Device = whole / time.Duration(kernels)
	}
	return out
}

func mustRun(t testing.TB, cfg Config) Outcome {
	t.Helper()
	out, err := Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// drawn returns loops of 1 to 64 robots that take a share u of a device between them.
func drawn(r *rand.Rand, robots int, u float64) []Loop {
	shares, sum := make([]float64, robots), 0.0
	for i := range shares {
		shares[i] = 0.2 + r.Float64()
		sum += shares[i]
	}
	loops := make([]Loop, robots)
	for i := range loops {
		period := time.Duration(float64(20*ms) * math.Pow(10, r.Float64()))
		work := time.Duration(shares[i] / sum * u * float64(period))
		loops[i] = Loop{Name: string(rune('a'+i%26)) + string(rune('a'+i/26)), Robots: 1, Period: period, Plan: plan(work, 1+int(work/(100*time.Microsecond)))}
	}
	return loops
}

// Liu and Layland, 1973: on one processor that may turn to another job at any time, EDF
// meets all deadlines if and only if the utilisation is no more than one. Here it turns
// at the end of a kernel, of 0.1 ms and periods of 20 ms and more.
func TestEDFMeetsAllDeadlinesUpToFullUtilisation(t *testing.T) {
	draws := sim.Stream(7, "sets")
	for _, robots := range []int{1, 2, 3, 5, 8, 16, 32, 64} {
		for _, u := range []float64{0.5, 0.8, 0.95, 1.05} {
			loops := drawn(draws, robots, u)
			out := mustRun(t, Config{Loops: loops, Policy: control.EDF{}, Until: sim.Seconds(30), Seed: 1})
			late := int64(0)
			for i := range out.Loops {
				late += out.Loops[i].Missed + out.Loops[i].Skipped
			}
			if u <= 0.95 && late > 0 || u > 1 && late == 0 {
				t.Errorf("%d robots that take %.2f of the device: %d plans are late", robots, u, late)
			}
			if busy := out.Busy.Seconds() / 30; u < 1 && math.Abs(busy/u-1) > 0.05 {
				t.Errorf("%d robots: the device is busy %.3f of the time, want %.2f", robots, busy, u)
			}
		}
	}
}

// Joseph and Pandya, 1986: when all are released at once, the response time of a job under
// fixed priorities is the smallest R with R = C + the work of those with shorter periods
// that is released in R.
func TestRateMonotonicResponsesFollowTheory(t *testing.T) {
	draws := sim.Stream(3, "sets")
	met, missed := 0, 0
	for range 60 {
		robots := 2 + draws.IntN(8)
		loops := drawn(draws, robots, 0.6+0.45*draws.Float64())
		slices.SortFunc(loops, func(a, b Loop) int { return int(a.Period - b.Period) })
		first := map[int32]sim.Time{}
		mustRun(t, Config{Loops: loops, Policy: control.RateMonotonic{}, Until: sim.Seconds(1), Together: true, Record: func(r Record) {
			if _, ok := first[r.Loop]; !ok && r.What == Finished {
				first[r.Loop] = r.At
			}
		}})
		for i := range loops {
			want, ok := response(loops, i, 0)
			// Nothing interrupts the last kernel, so that a plan may end before the next release.
			least, nearly := response(loops, i, 200*time.Microsecond)
			if nearly && !ok {
				break
			}
			got, finished := first[int32(i)]
			switch slack := time.Duration(i+1) * 200 * time.Microsecond; {
			case ok && (!finished || time.Duration(got) < least || time.Duration(got) > want+slack):
				t.Fatalf("loop %d of %d answers after %v, theory says %v", i, robots, time.Duration(got), want)
			case ok:
				met++
			case finished && got < sim.Time(loops[i].Period):
				t.Fatalf("loop %d of %d answers after %v, theory says it is late", i, robots, time.Duration(got))
			default:
				missed++
			}
			if !ok {
				break // what skips periods is beyond the theory
			}
		}
	}
	if met < 100 || missed < 5 {
		t.Errorf("%d responses compared, %d of them late: too few", met+missed, missed)
	}
}

// response solves for R of a plan that is so much shorter than that of loop i, and returns
// false if it is beyond the period.
func response(loops []Loop, i int, shorter time.Duration) (time.Duration, bool) {
	work := func(j int) time.Duration { ends := alone(loops[j].Plan); return ends[len(ends)-1] }
	own := work(i) - shorter
	r := own
	for {
		next := own
		for j := range i {
			next += time.Duration(math.Ceil(float64(r)/float64(loops[j].Period))) * work(j)
		}
		if next == r || next > loops[i].Period {
			return next, next <= loops[i].Period
		}
		r = next
	}
}

// One robot alone keeps every deadline up to the rate at which its plan fills the period.
func TestKneeOfOneRobotIsTheReciprocalOfItsPlan(t *testing.T) {
	for _, policy := range []control.Policy{control.EDF{}, control.RateMonotonic{}, control.FIFO{}} {
		const work = 25 * ms
		good := func(hz float64) bool {
			out := mustRun(t, Config{Loops: []Loop{{Name: "robot", Robots: 1, Period: time.Duration(1e9 / hz), Plan: plan(work, 3000)}}, Policy: policy, Until: sim.Seconds(60)})
			return out.Loops[0].MissShare() < 0.01
		}
		low, high := 1.0, 200.0
		for high-low > 0.01 {
			if mid := (low + high) / 2; good(mid) {
				low = mid
			} else {
				high = mid
			}
		}
		if want := 1 / work.Seconds(); math.Abs(low/want-1) > 0.02 {
			t.Errorf("%T: the knee is at %.2f Hz, want %.2f", policy, low, want)
		}
	}
}

// By hand: a long plan is under way when a short one is asked for. EDF turns to it at the
// end of the kernel, FIFO at the end of the plan.
func TestPoliciesTurnWhereTheyMay(t *testing.T) {
	loops := []Loop{
		{Name: "long", Robots: 1, Period: 100 * ms, Plan: plan(40*ms, 4)},
		{Name: "short", Robots: 1, Period: 30 * ms, Plan: plan(5*ms, 1)},
	}
	for _, c := range []struct {
		policy control.Policy
		want   []time.Duration // when plans of "short" are ready
	}{
		// Released at 0, 30, 60, 90: the long plan runs from 5, in kernels of 10 ms, and ends at 50.
		{control.EDF{}, []time.Duration{5 * ms, 40 * ms, 65 * ms, 95 * ms}},
		{control.RateMonotonic{}, []time.Duration{5 * ms, 40 * ms, 65 * ms, 95 * ms}},
		// The long plan was released first of the two at 0.
		{control.FIFO{}, []time.Duration{45 * ms, 65 * ms, 95 * ms}},
	} {
		var got []time.Duration
		out := mustRun(t, Config{Loops: loops, Policy: c.policy, Until: sim.Time(99 * ms), Together: true, Record: func(r Record) {
			if r.Loop == 1 && r.What == Finished {
				got = append(got, time.Duration(r.At))
			}
		}})
		if !slices.Equal(got, c.want) {
			t.Errorf("%T: short plans are ready at %v, want %v", c.policy, got, c.want)
		}
		if skipped := out.Loops[1].Skipped; skipped != int64(4-len(c.want)) {
			t.Errorf("%T: %d periods are skipped", c.policy, skipped)
		}
	}
}

// A plan that waits for launches leaves the device to others, if they have hosts of their
// own: five of them are quick enough where from one process two are too many.
func TestProcessesFillTheGapsBetweenLaunches(t *testing.T) {
	kernels := make([]Kernel, 1000)
	for i := range kernels {
		kernels[i] = Kernel{Launch: 50 * time.Microsecond, Device: 8 * time.Microsecond}
	}
	share := func(robots int, processes bool) float64 {
		out := mustRun(t, Config{Loops: []Loop{{Name: "robot", Robots: robots, Period: 70 * ms, Plan: kernels}}, Policy: control.EDF{}, Processes: processes, Until: sim.Seconds(10), Seed: 5})
		return out.Loops[0].MissShare()
	}
	if one, two := share(1, false), share(2, false); one != 0 || two < 0.3 {
		t.Errorf("one process: %.2f of the plans of one robot are late, %.2f of two", one, two)
	}
	if five, nine := share(5, true), share(9, true); five != 0 || nine < 0.02 {
		t.Errorf("processes: %.2f of the plans of five robots are late, %.2f of nine, who ask for more than the device", five, nine)
	}
}

// Text is served in what robots leave, and they wait for a kernel of it, or for an iteration.
func TestServerTakesWhatRobotsLeave(t *testing.T) {
	loops := []Loop{{Name: "robot", Robots: 1, Period: 50 * ms, Plan: plan(10*ms, 100)}}
	server := Server{Kernel: 100 * time.Microsecond, Kernels: 200}
	for _, processes := range []bool{false, true} {
		cfg := Config{Loops: loops, Policy: control.EDF{}, Processes: processes, Server: &server, Until: sim.Seconds(100), Seed: 2}
		kernel := mustRun(t, cfg)
		if got := float64(kernel.Served); math.Abs(got/4000-1) > 0.01 {
			t.Errorf("processes %v: %v iterations of 20 ms in 80 s, want 4000", processes, got)
		}
		if worst := time.Duration(kernel.Loops[0].Response.Max()); worst > 10*ms+server.Kernel {
			t.Errorf("processes %v: a plan took %v, want no more than its own 10 ms and a kernel", processes, worst)
		}
		whole := server
		whole.Whole = true
		cfg.Server = &whole
		slow := mustRun(t, cfg)
		if worst := time.Duration(slow.Loops[0].Response.Max()); worst < 28*ms || worst > 30*ms {
			t.Errorf("processes %v: a plan that waits for an iteration took %v at most, want near 30 ms", processes, worst)
		}
	}
}

// Whatever is drawn: every plan asked for is accounted for, the device does one thing at a
// time and each plan's work exactly, and the same seed gives the same log.
func TestLoopsKeepTheLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			Policy:    rapid.SampledFrom([]control.Policy{control.EDF{}, control.RateMonotonic{}, control.FIFO{}}).Draw(t, "policy"),
			Processes: rapid.Bool().Draw(t, "processes"), Together: rapid.Bool().Draw(t, "together"),
			Until: sim.Time(rapid.Int64Range(1, int64(2*time.Second)).Draw(t, "until")), Seed: rapid.Uint64().Draw(t, "seed"),
		}
		for i := range rapid.IntRange(1, 4).Draw(t, "loops") {
			l := Loop{Name: string(rune('a' + i)), Robots: rapid.IntRange(1, 5).Draw(t, "robots"), Batch: rapid.Bool().Draw(t, "batch"), Period: time.Duration(rapid.Int64Range(int64(ms), int64(300*ms)).Draw(t, "period"))}
			for range rapid.IntRange(1, 20).Draw(t, "kernels") {
				l.Plan = append(l.Plan, Kernel{time.Duration(rapid.Int64Range(0, int64(3*ms)).Draw(t, "launch")), time.Duration(rapid.Int64Range(0, int64(3*ms)).Draw(t, "device"))})
			}
			cfg.Loops = append(cfg.Loops, l)
		}
		if rapid.Bool().Draw(t, "server") {
			cfg.Server = &Server{Kernel: time.Duration(rapid.Int64Range(1000, int64(2*ms)).Draw(t, "kernel")), Kernels: rapid.IntRange(1, 50).Draw(t, "per iteration"), Whole: rapid.Bool().Draw(t, "whole")}
		}
		var log []Record
		cfg.Record = func(r Record) { log = append(log, r) }
		out := mustRunRapid(t, cfg)
		work := time.Duration(0)
		for i := range out.Loops {
			r := &out.Loops[i]
			if r.Released != r.Met+r.Missed+r.Open {
				t.Fatalf("%d plans released, %d met, %d missed, %d open", r.Released, r.Met, r.Missed, r.Open)
			}
			ends := alone(cfg.Loops[i].Plan)
			least := ends[len(ends)-1]
			if r.Response.Count() > 0 && time.Duration(r.Response.Min()) < least {
				t.Fatalf("a plan was ready after %v that takes %v alone", time.Duration(r.Response.Min()), least)
			}
			each := least
			if cfg.Processes {
				each = 0
				for _, k := range cfg.Loops[i].Plan {
					each += k.Device
				}
			}
			work += time.Duration(r.Response.Count()) * each
		}
		all := time.Duration(cfg.Until)
		if out.Busy < work || out.Busy+out.Serving > all {
			t.Fatalf("of %v the device worked %v on plans, of which %v are ready, and %v on text", all, out.Busy, work, out.Serving)
		}
		if cfg.Server != nil && out.Busy+out.Serving < all {
			t.Fatalf("of %v the device was idle %v with text to serve", all, all-out.Busy-out.Serving)
		}
		first := log
		log = nil
		if mustRunRapid(t, cfg); !slices.Equal(first, log) {
			t.Fatal("the same seed gives another log")
		}
	})
}

func mustRunRapid(t *rapid.T, cfg Config) Outcome {
	out, err := Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestNonsenseIsRefused(t *testing.T) {
	good := Loop{Name: "a", Robots: 1, Period: ms, Plan: plan(ms, 1)}
	for name, change := range map[string]func(*Config){
		"no loops":        func(c *Config) { c.Loops = nil },
		"no policy":       func(c *Config) { c.Policy = nil },
		"no end":          func(c *Config) { c.Until = 0 },
		"no robots":       func(c *Config) { c.Loops[0].Robots = 0 },
		"no period":       func(c *Config) { c.Loops[0].Period = 0 },
		"a late deadline": func(c *Config) { c.Loops[0].Deadline = 2 * ms },
		"no kernels":      func(c *Config) { c.Loops[0].Plan = nil },
		"negative times":  func(c *Config) { c.Loops[0].Plan = []Kernel{{-1, 1}} },
		"an empty server": func(c *Config) { c.Server = &Server{} },
	} {
		cfg := Config{Loops: []Loop{good}, Policy: control.EDF{}, Until: sim.Seconds(1)}
		change(&cfg)
		if _, err := Run(t.Context(), cfg); err == nil {
			t.Errorf("%s: runs", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out, err := Run(ctx, Config{Loops: []Loop{good}, Policy: control.EDF{}, Until: sim.Seconds(1)}); err != nil || !out.Partial {
		t.Errorf("cancelled: %+v, %v", out, err)
	}
}
