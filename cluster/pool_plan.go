package cluster

import (
	"fmt"
	"time"

	"orrery/policies/denoise"
	"orrery/sim"
)

// poolPlan is the denoise.Plan of one decision.
type poolPlan struct {
	now     sim.Time
	d       *device
	started []bool // by index in the queue
	whole   bool
}

var _ denoise.Plan = (*poolPlan)(nil)

func (p *poolPlan) begin(now sim.Time, d *device) {
	*p = poolPlan{now: now, d: d, started: p.started[:0]}
}

func (p *poolPlan) Now() sim.Time          { return p.now }
func (p *poolPlan) Queue() []denoise.Job   { return p.d.pool.queue }
func (p *poolPlan) Running() []denoise.Job { return p.d.jobs }
func (p *poolPlan) Rungs(class int32) int  { return len(p.d.pool.programs(class)) }
func (p *poolPlan) Estimate(class, rung int32, n int) time.Duration {
	return p.d.pool.estimate(class, rung, n)
}

// Start implements [denoise.Plan].
func (p *poolPlan) Start(i int, rung int32) bool {
	d := p.d
	j := d.pool.queue[i]
	if j.Rung != denoise.NoRung {
		rung = j.Rung
	}
	programs := d.pool.programs(j.Class)
	if len(d.jobs) == d.pool.limit || i < len(p.started) && p.started[i] || int(rung) >= len(programs) {
		return false
	}
	program := programs[rung]
	j.Group = int32(program.Group())
	if len(d.jobs) > 0 && d.jobs[0].Group != j.Group || !d.resize(d.load(j.Class, rung), 1) {
		return false
	}
	for len(p.started) <= i {
		p.started = append(p.started, false)
	}
	p.started[i] = true
	j.Rung, j.Steps = rung, int32(program.Steps())
	d.jobs = append(d.jobs, j)
	d.served = append(d.served, d.pool.served[i])
	d.fresh++
	s := &d.served[len(d.served)-1]
	s.Replica, s.Rung = d.index, rung
	s.Output = s.Emitted + j.Steps // what it will have had, by the alternative taken
	c := d.pool.c
	c.record(Record{What: Routed, At: p.now, Replica: d.index, Request: s})
	if s.Scheduled == Never {
		s.Scheduled = p.now
		c.record(Record{What: Scheduled, At: p.now, Replica: d.index, Request: s})
	}
	return true
}

// Whole implements [denoise.Plan].
func (p *poolPlan) Whole() {
	jobs := p.d.jobs
	for i := range jobs {
		if jobs[i].Done > 0 || jobs[i].Class != jobs[0].Class || jobs[i].Rung != jobs[0].Rung {
			panic(fmt.Sprintf("cluster: at %v device %d is to run %d images as a whole that did not begin alike", p.now, p.d.index, len(jobs)))
		}
	}
	p.whole = true
}
