package jobs

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"orrery/policies/share"
	"orrery/sim"
)

// listed is a source of given jobs.
type listed []Job

func (l *listed) Next() (Job, bool) {
	if len(*l) == 0 {
		return Job{}, false
	}
	j := (*l)[0]
	*l = (*l)[1:]
	return j, true
}

// inOrder gives every job its largest width on the first type with room, in order of
// arrival, and lets those behind go ahead of one that has to wait.
type inOrder struct{ strict bool }

func (f inOrder) Share(v *share.View, p *share.Plan) {
	for i := range v.Jobs {
		h := v.Jobs[i].Held
		ok := h.Width > 0 && p.Give(i, h.Type, h.Width)
		for t := 0; t < len(v.Types) && !ok; t++ {
			for w := len(v.Jobs[i].Widths) - 1; w >= 0 && !ok; w-- {
				ok = p.Give(i, t, v.Jobs[i].Widths[w])
			}
		}
		if !ok && f.strict {
			return
		}
	}
}

func one(id int64, arrived, work float64, width int) Job {
	return Job{ID: id, Arrived: sim.Seconds(arrived), Widths: []int{width}, Speed: [][]float64{{1}}, Work: work}
}

func mustRun(t testing.TB, cfg Config) Outcome {
	t.Helper()
	out, err := Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// By hand: two gangs of two on three devices, and one that goes ahead between them.
func TestGangsByHand(t *testing.T) {
	jobs := listed{one(1, 0, 10, 2), one(2, 1, 10, 2), one(3, 2, 4, 1)}
	out := mustRun(t, Config{Types: []share.Type{{Name: "a", Devices: 3, Price: 36}}, Source: &jobs, Policy: inOrder{}})
	want := map[int64]float64{1: 10, 2: 20, 3: 6}
	for _, j := range out.Jobs {
		if j.End.Seconds() != want[j.ID] {
			t.Errorf("job %d ends at %v, want %g s", j.ID, j.End, want[j.ID])
		}
	}
	if out.End.Seconds() != 20 || out.Held != 44 || out.Capacity != 60 || out.Jobs[0].Cost != 4*36.0/3600 {
		t.Errorf("%+v", out)
	}
}

// By hand: a checkpoint of 1 s after every 10 s of running, a restart of 5 s, and a device that
// fails at 31 s: of 23 s of work 20 are kept.
func TestRestartsCheckpointsAndFailures(t *testing.T) {
	j := one(1, 0, 35, 1)
	j.Restart, j.Checkpoint, j.CheckpointCost = 5*time.Second, 10*time.Second, time.Second
	jobs := listed{j}
	cfg := Config{Types: []share.Type{{Name: "a", Devices: 1}}, Source: &jobs, Policy: inOrder{}, Repair: 100 * time.Second}
	var engine sim.Engine
	r, err := NewRoom(&engine, &cfg)
	if err != nil {
		t.Fatal(err)
	}
	engine.Run(sim.Seconds(31))
	r.failOn(sim.Seconds(31), 0, 0, 0)
	engine.Run(sim.Forever)
	out := r.Close(engine.Now())
	e := out.Jobs[0]
	// 5 s restart, 10+1, 10+1, 4 s: at 31 s; back at 131; 5 s restart, 10+1, 5 s.
	if e.End.Seconds() != 131+5+10+1+5 {
		t.Errorf("ends at %v, want 152 s", e.End)
	}
	if e.Useful != 35 || e.Restarting != 10 || e.Saving != 3 || e.Lost != 4 || e.Failures != 1 || e.Starts != 2 {
		t.Errorf("useful %g, restarting %g, saving %g, lost %g, %d failures, %d starts", e.Useful, e.Restarting, e.Saving, e.Lost, e.Failures, e.Starts)
	}
}

// Jobs of one device under FIFO are a queue: M/M/k against Erlang's formula, M/D/1 and M/G/1
// against Pollaczek and Khinchin's.
func TestQueuesOfSingleDevicesFollowTheory(t *testing.T) {
	for _, c := range []struct {
		name string
		k    int
		load float64
		draw func(r *rand.Rand) float64
		want float64 // mean wait in units of the mean service time
	}{
		{"M/M/1", 1, 0.8, (*rand.Rand).ExpFloat64, 4},
		{"M/M/4", 4, 0.8, (*rand.Rand).ExpFloat64, erlang(4, 3.2) / (4 - 3.2)},
		{"M/M/16", 16, 0.9, (*rand.Rand).ExpFloat64, erlang(16, 14.4) / (16 - 14.4)},
		{"M/D/1", 1, 0.8, func(*rand.Rand) float64 { return 1 }, 2},
		{"M/G/1, two kinds", 1, 0.7, func(r *rand.Rand) float64 { return []float64{0.5, 3}[max(r.IntN(5)-3, 0)] }, 0.7 / 0.3 * (0.8*0.25 + 0.2*9) / 2},
	} {
		const n = 200000
		r := rand.New(rand.NewPCG(1, 2))
		jobs, at, service := make(listed, n), 0.0, 0.0
		for i := range jobs {
			at += r.ExpFloat64() / (c.load * float64(c.k))
			w := c.draw(r)
			service += w / n
			jobs[i] = one(int64(i), at, w, 1)
		}
		out := mustRun(t, Config{Types: []share.Type{{Name: "a", Devices: c.k}}, Source: &jobs, Policy: inOrder{strict: true}})
		wait := 0.0
		for _, j := range out.Jobs {
			wait += j.First.Sub(j.Arrived).Seconds() / n
		}
		if math.Abs(wait/c.want-1) > 0.05 {
			t.Errorf("%s: mean wait %.3f, want %.3f (mean service %.3f)", c.name, wait, c.want, service)
		}
	}
}

// erlang is the probability of waiting in M/M/k under a load of a.
func erlang(k int, a float64) float64 {
	term, sum := 1.0, 0.0
	for i := range k {
		sum += term
		term *= a / float64(i+1)
	}
	last := term * float64(k) / (float64(k) - a)
	return last / (sum + last)
}

// anyhow gives devices at random, and takes them away.
type anyhow struct{ r *rand.Rand }

func (a anyhow) Share(v *share.View, p *share.Plan) {
	for range 3 * len(v.Jobs) {
		j := a.r.IntN(len(v.Jobs))
		switch a.r.IntN(6) {
		case 0:
			p.Take(j)
		case 1:
			p.Join(j, a.r.IntN(len(v.Jobs)))
		case 2:
			p.Give(j, v.Jobs[j].Held.Type, v.Jobs[j].Held.Width)
		default:
			p.Give(j, a.r.IntN(len(v.Types)), v.Jobs[j].Widths[a.r.IntN(len(v.Jobs[j].Widths))])
		}
	}
	for i := range v.Jobs { // somebody runs, or time would stand still
		if p.Holds[i].Width == 0 {
			for t := range v.Types {
				p.Give(i, t, v.Jobs[i].Widths[0])
			}
		}
	}
}

// Whatever a policy does, whatever fails and whatever is lent: work is what was done on
// devices, device-seconds add up, no device is held twice, and the same seed gives the same log.
func TestJobsKeepTheLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		types := []share.Type{{Name: "a", Devices: rapid.IntRange(1, 9).Draw(t, "a"), Node: rapid.IntRange(1, 4).Draw(t, "node"), Price: 1}, {Name: "b", Devices: rapid.IntRange(0, 9).Draw(t, "b"), Node: 8}}
		n := rapid.IntRange(1, 12).Draw(t, "jobs")
		failing := time.Duration(rapid.Int64Range(int64(50*time.Second), int64(5000*time.Second)).Draw(t, "failing"))
		lend := rapid.Bool().Draw(t, "lend")
		until := sim.Time(0)
		if rapid.Bool().Draw(t, "cut") {
			until = sim.Seconds(100)
		}
		run := func() (Outcome, []Record) {
			r := rand.New(rand.NewPCG(seed, 1))
			var jobs listed
			at := 0.0
			for i := range n {
				at += 30 * r.Float64()
				jobs = append(jobs, Job{
					ID: int64(i), Arrived: sim.Seconds(at), Widths: []int{1, 2, 3}, Work: 1 + 200*r.Float64(), Spread: 0.5 + r.Float64()/2,
					Speed: [][]float64{{1, 1.8, 2.5}, {0.5 * float64(r.IntN(2)), 1, 1.5}}, Kind: r.IntN(2),
					Restart: time.Duration(r.IntN(3)) * time.Second, Checkpoint: 10 * time.Second, CheckpointCost: time.Duration(r.IntN(2000)) * time.Millisecond,
				})
			}
			var log []Record
			cfg := Config{
				Types: types, Source: &jobs, Policy: anyhow{rand.New(rand.NewPCG(seed, 2))}, Round: 20 * time.Second, Failing: failing, Repair: 30 * time.Second, Seed: seed,
				Together: func(a, b, typ int) (float64, float64) { return 0.6, 0.7 }, Record: func(r Record) { log = append(log, r) }, Until: until,
			}
			var engine sim.Engine
			room, err := NewRoom(&engine, &cfg)
			if err != nil {
				t.Fatal(err)
			}
			if lend {
				back := engine.On(sim.Arrive, "lend", func(now sim.Time, k uint32) { room.Lend(now, 0, int(k)) })
				for i := range 20 {
					engine.At(sim.Seconds(float64(10*i)), back, uint32(r.IntN(types[0].Devices+1)))
				}
				engine.At(sim.Seconds(201), back, uint32(types[0].Devices))
			}
			limit := sim.Seconds(1e5)
			if until > 0 {
				limit = until
			}
			engine.Run(limit)
			return room.Close(max(engine.Now(), until)), log
		}
		out, log := run()
		if len(out.Jobs) != n && until == 0 {
			t.Fatalf("%d of %d jobs are accounted for", len(out.Jobs), n)
		}
		held := 0.0
		for i := range out.Jobs {
			e := &out.Jobs[i]
			held += e.DeviceSeconds()
			if e.Refused {
				continue
			}
			if e.End >= 0 && e.Done != e.Work {
				t.Fatalf("job %d has ended with %g of %g done", e.ID, e.Done, e.Work)
			}
			if e.Useful < -1e-9 || e.Lost < -1e-9 || e.Saving < -1e-9 || e.Restarting < -1e-9 {
				t.Fatalf("job %d: negative device-seconds %+v", e.ID, e)
			}
			at := 0.0
			for _, s := range e.Segments {
				if math.Abs(s.From-at) > 1e-6 || s.To < s.From {
					t.Fatalf("job %d: segments %+v", e.ID, e.Segments)
				}
				at = s.To
			}
			if math.Abs(at-e.Done) > 1e-6*max(e.Done, 1) {
				t.Fatalf("job %d: segments end at %g of %g: %+v", e.ID, at, e.Done, e.Segments)
			}
			// No work comes from nowhere: 2.5 units a second on three devices, 1 on one, is the most.
			if e.Done > (e.Useful*2)*1+1e-6 {
				t.Fatalf("job %d has done %g in %g useful device-seconds", e.ID, e.Done, e.Useful)
			}
		}
		if math.Abs(held-out.Held) > 1e-6*max(held, 1) || out.Held > out.Capacity*(1+1e-9)+1e-9 {
			t.Fatalf("jobs had %g device-seconds, the room gave %g of %g", held, out.Held, out.Capacity)
		}
		if _, again := run(); !slices.Equal(log, again) {
			t.Fatal("the same seed gives another log")
		}
	})
}

func TestJobsThatMakeNoSense(t *testing.T) {
	good := one(1, 0, 1, 1)
	for name, change := range map[string]func(j *Job){
		"no work":             func(j *Job) { j.Work = 0 },
		"NaN":                 func(j *Job) { j.Work = math.NaN() },
		"no widths":           func(j *Job) { j.Widths = nil },
		"a width of 0":        func(j *Job) { j.Widths = []int{0} },
		"falling widths":      func(j *Job) { j.Widths = []int{2, 1}; j.Speed = [][]float64{{1, 1}} },
		"no speeds":           func(j *Job) { j.Speed = nil },
		"too few speeds":      func(j *Job) { j.Speed = [][]float64{{}} },
		"negative speed":      func(j *Job) { j.Speed = [][]float64{{-1}} },
		"negative budget":     func(j *Job) { j.Budget = -1 },
		"negative restart":    func(j *Job) { j.Restart = -1 },
		"a lonely checkpoint": func(j *Job) { j.CheckpointCost = time.Second },
		"spread beyond one":   func(j *Job) { j.Spread = 2 },
	} {
		j := good
		change(&j)
		jobs := listed{j}
		if _, err := Run(t.Context(), Config{Types: []share.Type{{Name: "a", Devices: 1}}, Source: &jobs, Policy: inOrder{}}); err == nil {
			t.Errorf("%s: runs", name)
		}
	}
	jobs := listed{one(1, 0, 1, 4), one(2, 0, 1, 1)}
	out := mustRun(t, Config{Types: []share.Type{{Name: "a", Devices: 2}}, Source: &jobs, Policy: inOrder{}})
	if !out.Jobs[0].Refused || out.Jobs[1].End.Seconds() != 1 {
		t.Errorf("a gang that no cluster can hold: %+v", out.Jobs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	jobs = listed{one(1, 0, 10, 1)}
	if out, err := Run(ctx, Config{Types: []share.Type{{Name: "a", Devices: 2}}, Source: &jobs, Policy: inOrder{}}); err != nil || !out.Partial {
		t.Errorf("cancelled: %+v, %v", out, err)
	}
}

// A hundred thousand jobs on two thousand devices.
func BenchmarkHundredThousandJobs(b *testing.B) {
	for b.Loop() {
		r := rand.New(rand.NewPCG(1, 2))
		jobs, at := make(listed, 100000), 0.0
		for i := range jobs {
			at += r.ExpFloat64() * 12
			jobs[i] = one(int64(i), at, 600*math.Exp(1.5*r.NormFloat64()), 1<<r.IntN(5))
		}
		mustRun(b, Config{Types: []share.Type{{Name: "a", Devices: 2000, Node: 8}}, Source: &jobs, Policy: inOrder{}})
	}
}
