package share

import (
	"fmt"
	"math"
)

// Deadline meets deadlines at least cost. Earliest deadline first, each job gets the type
// and width that cost least among those with which it ends in time and within its budget:
// no more than it needs, and more, or faster, as its slack runs out. It goes by
// [Job.Total], the work to what the owner wants (of a quality model, to the target loss).
//
// A job that would be late, or dearer than its budget, even with the best devices of the
// cluster to itself is hopeless: [Deadline.Hopeless] says why, and it runs after all
// others, at least cost, or with Refuse not at all. Jobs without a deadline come between.
type Deadline struct {
	// Margin is the part of the time left that is kept for what may go wrong, below 1: gangs
	// spread over nodes, checkpoints, jobs with earlier deadlines. 0 counts as 0.3.
	Margin float64
	Refuse bool

	order  queue
	reason map[int64]string
}

// Hopeless returns why a job cannot meet its deadline or budget, empty if it can, as seen
// when the policy was asked last.
func (d *Deadline) Hopeless(id int64) string { return d.reason[id] }

// without is the key of jobs without a deadline. That of the hopeless is infinite.
const without = math.MaxFloat64

// Share implements [Policy].
func (d *Deadline) Share(v *View, p *Plan) {
	d.reason = map[int64]string{}
	d.order.fill(len(v.Jobs), func(j int) float64 {
		job := &v.Jobs[j]
		if why := d.examine(v, j); why != "" {
			d.reason[job.ID] = why
			return math.Inf(1)
		}
		if job.Deadline == 0 {
			return without
		}
		return float64(job.Deadline)
	})
	for p.spare() {
		j, ok := d.order.next()
		if !ok {
			return
		}
		lost := d.order.keys[j] > without
		if !lost || !d.Refuse {
			d.give(v, p, j, lost)
		}
	}
}

// choice is a type and width for a job, and what that leads to.
type choice struct {
	typ, at       int
	seconds, cost float64 // until it ends, and the device-hours or price of that
}

// try returns what a choice leads to.
func try(v *View, j, typ, at int) choice {
	job := &v.Jobs[j]
	width := job.Widths[at]
	seconds := max(job.Total-job.Done, 0) / job.Speed[typ][at]
	if job.Held.Width != width || job.Held.Type != typ {
		seconds += job.Restart
	}
	return choice{typ, at, seconds, seconds / 3600 * float64(width) * price(&v.Types[typ])}
}

// price is that of a device for an hour; types without one all count the same.
func price(t *Type) float64 {
	if t.Price > 0 {
		return t.Price
	}
	return 1
}

// enough reports whether a choice ends in time and within budget.
func (d *Deadline) enough(v *View, j int, c choice) bool {
	job := &v.Jobs[j]
	margin := d.Margin
	if margin == 0 {
		margin = 0.3
	}
	if job.Deadline > 0 && c.seconds > job.Deadline.Sub(v.Now).Seconds()*(1-margin) {
		return false
	}
	return d.affords(v, j, c)
}

// affords reports whether a job's budget of device-hours bears a choice.
func (d *Deadline) affords(v *View, j int, c choice) bool {
	job := &v.Jobs[j]
	hours := c.seconds / 3600 * float64(job.Widths[c.at])
	return job.Budget == 0 || job.Attained/3600+hours <= job.Budget
}

// examine returns why nothing the cluster has would do for a job, empty if something would.
func (d *Deadline) examine(v *View, j int) string {
	job := &v.Jobs[j]
	if job.Deadline == 0 && job.Budget == 0 || job.Total <= 0 {
		return ""
	}
	soonest, least := math.Inf(1), math.Inf(1)
	for typ := range job.Speed {
		for at, w := range job.Widths {
			if job.Speed[typ][at] <= 0 || w > v.Types[typ].Devices {
				continue
			}
			c := try(v, j, typ, at)
			// The margin is a reserve of plans, not a reason to give up.
			if (job.Deadline == 0 || c.seconds <= job.Deadline.Sub(v.Now).Seconds()) && d.affords(v, j, c) {
				return ""
			}
			soonest = min(soonest, c.seconds)
			least = min(least, c.seconds/3600*float64(w))
		}
	}
	late := soonest - job.Deadline.Sub(v.Now).Seconds()
	switch {
	case math.IsInf(soonest, 1):
		return "no devices of the cluster suit it"
	case job.Deadline > 0 && late > 0:
		return fmt.Sprintf("%.0f s late with the fastest devices to itself", late)
	case job.Budget > 0 && job.Attained/3600+least > job.Budget:
		return fmt.Sprintf("needs %.3g device-hours of a budget of %.3g", job.Attained/3600+least, job.Budget)
	}
	return "what is fast enough costs more than its budget"
}

// give finds devices for a job: the cheapest that are enough; failing those, since others
// have them now, the fastest it can afford; for jobs without a deadline, and those that are
// late anyway, the cheapest.
func (d *Deadline) give(v *View, p *Plan, j int, lost bool) {
	job := &v.Jobs[j]
	if job.Total <= 0 {
		settle(v, p, j)
		return
	}
	var cheap, quick, any choice
	found, some, one := false, false, false
	for typ := range job.Speed {
		for at, w := range job.Widths {
			if job.Speed[typ][at] <= 0 || w > p.Free(typ) {
				continue
			}
			c := try(v, j, typ, at)
			if !one || cheaper(c, any) {
				any, one = c, true
			}
			if d.enough(v, j, c) && (!found || cheaper(c, cheap)) {
				cheap, found = c, true
			}
			if d.affords(v, j, c) && (!some || c.seconds < quick.seconds) {
				quick, some = c, true
			}
		}
	}
	switch {
	case lost && one:
		cheap = any
	case found:
	case some:
		cheap = quick
	default:
		return
	}
	p.Give(j, cheap.typ, job.Widths[cheap.at])
}

// cheaper compares choices by cost, and by time among those that cost the same.
func cheaper(a, b choice) bool {
	return a.cost < b.cost || a.cost == b.cost && a.seconds < b.seconds
}
