package share

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"orrery/sim"
	"orrery/workloads/jobs"
)

// every returns one of each policy.
func every() map[string]Policy {
	return map[string]Policy{
		"fifo": FIFO{}, "backfill": FIFO{Backfill: true}, "srtf": &SRTF{}, "srsf": &SRTF{Service: true}, "las": &LAS{Promote: 8},
		"edf": &EDF{}, "max-min": &MaxMin{}, "blind": &MaxMin{Blind: true}, "goodput": &Goodput{}, "deadline": &Deadline{},
		"packed": Packed{Under: &SRTF{}},
	}
}

// No policy leaves a device idle that a waiting job could use, except FIFO, which holds up
// those behind its first.
func TestWorkIsConserved(t *testing.T) {
	list := draw(t, gangs(jobs.Types...), 4)
	for name, policy := range every() {
		b := bench{types: mixed, round: 6 * time.Minute}
		o := b.run(t, policy, list)
		if name == "fifo" {
			if o.wasted == 0 {
				t.Error("FIFO never held a job up; the load is too low for this test")
			}
		} else if o.wasted > 0 {
			t.Errorf("%s: %d times a job waited that would have fitted", name, o.wasted)
		}
	}
}

// Whatever policies see, they give no more than there is, only what jobs can run on, and
// come to rest if nothing changes: nobody is moved to and fro.
func TestPoliciesOnAnyView(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := View{Now: sim.Seconds(1e5), Types: []Type{
			{Name: "a", Devices: rapid.IntRange(0, 9).Draw(t, "a"), Price: 1}, {Name: "b", Devices: rapid.IntRange(0, 9).Draw(t, "b"), Price: 3},
		}, Together: func(a, b, _ int) (float64, float64) { return 0.7, 0.8 }}
		for id := range rapid.IntRange(0, 8).Draw(t, "jobs") {
			job := Job{ID: int64(id), Weight: 1, Arrived: sim.Seconds(float64(id)), Held: Hold{With: -1}, Restart: 30, Widths: []int{1, 2, 4}[rapid.IntRange(0, 2).Draw(t, "narrowest"):]}
			job.Total = float64(rapid.IntRange(0, 5).Draw(t, "total")) * 1e4
			job.Deadline = sim.Seconds(1e5 * float64(rapid.IntRange(0, 3).Draw(t, "deadline")))
			job.Budget = float64(rapid.IntRange(0, 2).Draw(t, "budget"))
			for range v.Types {
				row := make([]float64, len(job.Widths))
				for i := range row {
					row[i] = float64(rapid.IntRange(0, 4).Draw(t, "speed"))
				}
				job.Speed = append(job.Speed, row)
			}
			job.Samples = job.Speed
			v.Jobs = append(v.Jobs, job)
		}
		for name, policy := range every() {
			w := v
			w.Jobs = slices.Clone(v.Jobs)
			var p Plan
			for again := range 6 {
				p.Begin(&w)
				policy.Share(&w, &p)
				for j, h := range p.Holds {
					if h.Width > 0 && w.Jobs[j].Speed[h.Type][slices.Index(w.Jobs[j].Widths, h.Width)] <= 0 {
						t.Fatalf("%s gives job %d %+v, where it does not run", name, j, h)
					}
					if again == 5 && h.Width > 0 && w.Jobs[j].Held.Width > 0 && (h.Type != w.Jobs[j].Held.Type) {
						t.Fatalf("%s moves job %d from %+v to %+v though nothing has changed", name, j, w.Jobs[j].Held, h)
					}
				}
				for j := range w.Jobs {
					w.Jobs[j].Held = p.Holds[j]
				}
			}
		}
	})
}

// On small clusters the greedy choice of types and widths comes near the best there is: on
// the mean within 2 % of its sum, at worst of two thousand cases within 40 %.
func TestGoodputComesNearTheOptimum(t *testing.T) {
	rng := sim.Stream(1, "goodput")
	mean, worst := 0.0, 0.0
	const cases = 2000
	for range cases {
		v := View{Types: []Type{{Devices: 4}, {Devices: 2}}}
		for range 1 + rng.IntN(3) {
			job := Job{Weight: 1, Widths: []int{1, 2, 4}, Held: Hold{With: -1}}
			for range v.Types {
				one := 4 + 16*rng.Float64()
				two := one * (1.2 + 0.8*rng.Float64())
				job.Speed = append(job.Speed, []float64{one, two, two * 1.5})
			}
			v.Jobs = append(v.Jobs, job)
		}
		g, p := &Goodput{}, Plan{}
		p.Begin(&v)
		g.Share(&v, &p)
		sum := 0.0
		for j, h := range p.Holds {
			typ := h.Type
			if h.Width == 0 {
				typ = -1
			}
			sum += g.cost(&v, j, typ, v.Jobs[j].index(h.Width))
		}
		p.Begin(&v)
		ratio := sum / cheapest(g, &v, &p, 0)
		mean += ratio / cases
		worst = max(worst, ratio)
	}
	t.Logf("%.3f times the optimum on the mean, %.3f at worst", mean, worst)
	if mean > 1.02 || worst > 1.4 {
		t.Errorf("the greedy sum is %.3f times the best on the mean, %.3f at worst; want 1.02 and 1.4", mean, worst)
	}
}

// cheapest tries all plans for the jobs from j on and returns the least sum.
func cheapest(g *Goodput, v *View, p *Plan, j int) float64 {
	if j == len(v.Jobs) {
		return 0
	}
	best := g.cost(v, j, -1, 0) + cheapest(g, v, p, j+1)
	for typ := range v.Types {
		for at, w := range v.Jobs[j].Widths {
			if p.Give(j, typ, w) {
				best = min(best, g.cost(v, j, typ, at)+cheapest(g, v, p, j+1))
				p.Take(j)
			}
		}
	}
	return best
}

// A tale of one job: it gets what it needs and no more, more as time runs out, and the
// reason when nothing helps.
func TestDeadlineGivesWhatIsNeeded(t *testing.T) {
	for _, c := range []struct {
		hours, budget float64 // to the deadline; device-hours
		typ, width    int
		why           string
	}{
		{20, 0, 0, 1, ""}, // alone on a cheap one, 10 h
		{9, 0, 0, 2, ""},  // two cheap ones, 6.25 h
		{6, 0, 1, 1, ""},  // one dear one, 5 h; four cheap ones would cost less time but more
		{3.3, 0, 1, 2, ""},
		{3, 0, 0, 1, "335 s late with the fastest devices to itself"}, // cheap, and after all others
		{20, 8, 1, 1, ""}, // the cheap one would take 10 device-hours
		{20, 4, 0, 1, "needs 5 device-hours of a budget of 4"},
	} {
		v := View{Types: []Type{{Devices: 2, Price: 1}, {Devices: 2, Price: 3}}, Jobs: []Job{{
			ID: 7, Weight: 1, Deadline: sim.Seconds(c.hours * 3600), Budget: c.budget, Total: 36000, Widths: []int{1, 2},
			Speed: [][]float64{{1, 1.6}, {2, 3.233}}, Held: Hold{Type: -1, With: -1},
		}}}
		d, p := &Deadline{Margin: 1e-9}, Plan{}
		p.Begin(&v)
		d.Share(&v, &p)
		if h := p.Holds[0]; h.Type != c.typ || h.Width != c.width {
			t.Errorf("%v h, budget %v: got %+v, want %d of type %d", c.hours, c.budget, h, c.width, c.typ)
		}
		if why := d.Hopeless(7); why != c.why {
			t.Errorf("%v h, budget %v: %q, want %q", c.hours, c.budget, why, c.why)
		}
	}
}

// Two jobs that keep 0.7 of their speed beside each other end sooner together than one
// after the other, and are kept apart where they keep less than half.
func TestPackedSharesWhereItPays(t *testing.T) {
	var list []jobs.Job
	for id := range 2 {
		list = append(list, jobs.Job{ID: int64(id), Widths: []int{1}, Samples: [][]float64{{1}}, Speed: [][]float64{{1}}, Total: 700})
	}
	for _, c := range []struct{ keep, makespan, hours float64 }{{0.7, 1000, 1000. / 3600}, {0.4, 1400, 1400. / 3600}} {
		b := bench{types: []Type{{Devices: 1}}, together: func(a, bb, typ int) (float64, float64) { return c.keep, c.keep }}
		o := b.run(t, Packed{Under: FIFO{}}, list)
		if math.Abs(o.makespan-c.makespan) > 1e-3 || math.Abs(o.hours-c.hours) > 1e-6 {
			t.Errorf("keeping %v: all done after %v s for %v device-hours, want %v and %v", c.keep, o.makespan, o.hours, c.makespan, c.hours)
		}
	}
}
