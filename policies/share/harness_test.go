package share

import (
	"math"
	"slices"
	"testing"
	"time"

	"orrery/sim"
	"orrery/workloads/jobs"
)

// bench is a cluster for policies alone: jobs progress at the speeds of what they hold,
// nothing else takes time but starts, and a policy is asked whenever a job comes or ends and
// every round.
type bench struct {
	types    []Type
	round    time.Duration
	together func(a, b, typ int) (float64, float64)
	hide     bool // totals are not declared
	leave    bool // the policy may leave jobs waiting for ever; round is 0
}

// outcome is what a policy made of jobs.
type outcome struct {
	jct             []float64 // seconds, by job
	met, deadlines  int
	hours, cost     float64 // device-hours held, and their price
	starts          int
	makespan, asked float64
	wasted          int // times that devices idled although a waiting job fitted
}

func (o *outcome) mean() float64 {
	sum := 0.0
	for _, x := range o.jct {
		sum += x
	}
	return sum / float64(len(o.jct))
}

// state is what the bench knows of a job beside what the policy sees.
type state struct {
	total float64
	ready float64 // until then it starts
	rate  float64
}

// run carries a list of jobs through, in order of arrival.
func (b *bench) run(t testing.TB, policy Policy, list []jobs.Job) outcome {
	t.Helper()
	v := View{Types: b.types, Together: b.together}
	var plan Plan
	var states []state
	out := outcome{jct: make([]float64, len(list))}
	now, last, coming := 0.0, 0.0, 0
	for coming < len(list) || len(v.Jobs) > 0 {
		if out.asked++; out.asked > 1e7 {
			t.Fatalf("%T does not come to an end: %d jobs left", policy, len(v.Jobs))
		}
		now = b.soon(&v, states, now)
		if coming < len(list) {
			now = min(now, list[coming].Arrived.Seconds())
		}
		if b.leave && math.IsInf(now, 1) {
			return out
		}
		if math.IsInf(now, 1) {
			t.Fatalf("%T leaves %d jobs waiting for ever", policy, len(v.Jobs))
		}
		advance(&v, states, last, now, &out)
		last = now
		states = b.end(&v, states, now, list, &out)
		for coming < len(list) && list[coming].Arrived.Seconds() <= now {
			j := &list[coming]
			job := Job{
				ID: j.ID, Arrived: j.Arrived, Weight: 1, Deadline: j.Deadline, Widths: j.Widths, Speed: j.Speed,
				Samples: j.Samples, Held: Hold{With: -1}, Total: j.Total, Restart: j.Restart,
			}
			if b.hide {
				job.Total = 0
			}
			v.Jobs, states = append(v.Jobs, job), append(states, state{total: j.Total})
			if j.Deadline > 0 {
				out.deadlines++
			}
			coming++
		}
		v.Now = sim.Seconds(now)
		plan.Begin(&v)
		policy.Share(&v, &plan)
		b.hold(&v, states, &plan, now, &out)
	}
	out.makespan = now
	return out
}

// soon returns when the next job ends or the next round begins, if any job is there.
func (b *bench) soon(v *View, states []state, now float64) float64 {
	soon := math.Inf(1)
	for j := range v.Jobs {
		if states[j].rate > 0 {
			soon = min(soon, max(now, states[j].ready)+(states[j].total-v.Jobs[j].Done)/states[j].rate)
		}
	}
	if b.round > 0 && len(v.Jobs) > 0 {
		round := b.round.Seconds()
		soon = min(soon, (math.Floor(now/round)+1)*round)
	}
	return soon
}

// advance lets jobs progress.
func advance(v *View, states []state, from, to float64, out *outcome) {
	for j := range v.Jobs {
		job, s := &v.Jobs[j], &states[j]
		if job.Held.Width == 0 {
			continue
		}
		device := float64(job.Held.Width) * (to - from)
		job.Attained += device
		if job.Held.With < 0 || job.Held.With > j { // shared devices count once
			out.hours += device / 3600
			out.cost += device / 3600 * v.Types[job.Held.Type].Price
		}
		job.Done += s.rate * max(0, to-max(from, s.ready))
	}
}

// end takes out the jobs that have done their work.
func (b *bench) end(v *View, states []state, now float64, list []jobs.Job, out *outcome) []state {
	at := make([]int, len(v.Jobs)) // where those that stay are afterwards
	kept := 0
	for j := range v.Jobs {
		job := &v.Jobs[j]
		at[j] = -1
		// What is left is less than what the clock can tell apart.
		if states[j].total-job.Done <= 1e-9*states[j].total+1e-13*now*states[j].rate {
			out.jct[job.ID] = now - job.Arrived.Seconds()
			if job.Deadline > 0 && now <= job.Deadline.Seconds()+1e-6 {
				out.met++
			}
			continue
		}
		at[j] = kept
		v.Jobs[kept], states[kept] = v.Jobs[j], states[j]
		kept++
	}
	for j := range kept {
		if h := &v.Jobs[j].Held; h.With >= 0 {
			h.With = at[h.With]
		}
	}
	v.Jobs = v.Jobs[:kept]
	return states[:kept]
}

// hold makes a plan so, and checks it.
func (b *bench) hold(v *View, states []state, p *Plan, now float64, out *outcome) {
	for j := range v.Jobs {
		job, h := &v.Jobs[j], p.Holds[j]
		if h.Width > 0 && (h.Width != job.Held.Width || h.Type != job.Held.Type) {
			states[j].ready = now + job.Restart
			out.starts++
		}
		job.Held = h
		states[j].rate = 0
		if h.Width == 0 {
			continue
		}
		states[j].rate = job.Speed[h.Type][slices.Index(job.Widths, h.Width)]
		if h.With >= 0 {
			mine, _ := b.together(j, h.With, h.Type)
			states[j].rate *= mine
		}
	}
	for j := range v.Jobs {
		if v.Jobs[j].Held.Width == 0 && room(&v.Jobs[j], p) {
			out.wasted++
		}
	}
}

// room reports whether a job that waits fits at its tuned width.
func room(job *Job, p *Plan) bool {
	for k := range job.Speed {
		if at := job.tuned(k); at >= 0 && job.Widths[at] <= p.Free(k) {
			return true
		}
	}
	return false
}

// draw returns the jobs of a mix.
func draw(t testing.TB, m jobs.Mix, seed uint64) []jobs.Job {
	t.Helper()
	s, err := m.Source(seed)
	if err != nil {
		t.Fatal(err)
	}
	var list []jobs.Job
	for {
		j, ok := s.Next()
		if !ok {
			return list
		}
		list = append(list, j)
	}
}
