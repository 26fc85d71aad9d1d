package share

import (
	"math"
	"time"

	"orrery/sim"
)

// Goodput gives every job the type and width that serve progress best, as Sia does (Jayaram
// Subramanya and others, SOSP 2023): in each round it minimises the sum over jobs of
// goodput^Power, a job's goodput being its speed over that of its slowest choice, cut by
// what a change costs, and Idle for each job that gets nothing. Speeds have what larger
// batches lose taken off, so that it is progress that counts and not samples.
//
// Sia solves this as an integer program. Here it is greedy: the change that gains most for
// each device goes first, from nothing to any choice or to a wider one on the same type,
// until nothing fits; then each job may move to where it gains from what is left. A test
// holds it to the optimum on small cases.
type Goodput struct {
	Power float64       // below 0; 0 counts as -0.5, as in Sia
	Idle  float64       // above 1; 0 counts as 1.1, as in Sia
	Round time.Duration // 0 counts as 1 minute, as in Sia

	next  sim.Time
	begun bool
	slow  []float64 // speed of each job's slowest choice
	heap  []upgrade
}

// upgrade is a change of what a job has in the plan.
type upgrade struct {
	job, typ, width int
	gain            float64 // for each device
}

// Share implements [Policy].
func (g *Goodput) Share(v *View, p *Plan) {
	if g.begun && v.Now < g.next {
		g.between(v, p)
		return
	}
	g.begun = true
	round := g.Round
	if round == 0 {
		round = time.Minute
	}
	g.next = v.Now.Add(round)
	g.scale(v)
	all := func(int) bool { return true }
	g.upgrade(v, p, all)
	for j := range v.Jobs {
		g.move(v, p, j)
	}
	g.upgrade(v, p, all) // with what moves have left
}

// between serves, within a round, those that have nothing with what is idle.
func (g *Goodput) between(v *View, p *Plan) {
	for j := range v.Jobs {
		keep(v, p, j)
	}
	if !p.spare() {
		return
	}
	g.scale(v)
	g.upgrade(v, p, func(j int) bool { return v.Jobs[j].Held.Width == 0 })
}

// scale finds the slowest choice of each job.
func (g *Goodput) scale(v *View) {
	g.slow = g.slow[:0]
	for j := range v.Jobs {
		slow := math.Inf(1)
		for _, speeds := range v.Jobs[j].Speed {
			for _, s := range speeds {
				if s > 0 {
					slow = min(slow, s)
				}
			}
		}
		g.slow = append(g.slow, slow)
	}
}

// cost returns what a job adds to the sum with a choice, typ -1 for nothing.
func (g *Goodput) cost(v *View, j, typ, at int) float64 {
	power, idle := g.Power, g.Idle
	if power == 0 {
		power = -0.5
	}
	if idle == 0 {
		idle = 1.1
	}
	job := &v.Jobs[j]
	if typ < 0 {
		return idle * job.Weight
	}
	goodput := job.Speed[typ][at] / g.slow[j] * v.worth(j, typ, job.Widths[at])
	return job.Weight * min(math.Pow(goodput, power), 0.999*idle) // anything is better than nothing
}

// upgrade makes changes that gain most for each device until none fits, for some jobs.
func (g *Goodput) upgrade(v *View, p *Plan, may func(j int) bool) {
	g.heap = g.heap[:0]
	for j := range v.Jobs {
		if !may(j) {
			continue
		}
		if u := g.best(v, p, j); u.gain > 0 {
			g.heap = append(g.heap, u)
		}
	}
	for i := len(g.heap)/2 - 1; i >= 0; i-- {
		g.sink(i)
	}
	for len(g.heap) > 0 && p.spare() {
		u := g.heap[0]
		p.Give(u.job, u.typ, u.width) // where it no longer fits, the next best is found
		if g.heap[0] = g.best(v, p, u.job); g.heap[0].gain <= 0 {
			last := len(g.heap) - 1
			g.heap[0] = g.heap[last]
			g.heap = g.heap[:last]
		}
		g.sink(0)
	}
}

// best returns the change of a job that gains most for each device among those that fit.
func (g *Goodput) best(v *View, p *Plan, j int) upgrade {
	job, h := &v.Jobs[j], p.Holds[j]
	have, now := h.Width, g.cost(v, j, -1, 0)
	if have > 0 {
		now = g.cost(v, j, h.Type, job.index(have))
	}
	out := upgrade{job: j}
	for typ := range job.Speed {
		if have > 0 && typ != h.Type {
			continue
		}
		for at, w := range job.Widths {
			if w <= have || w-have > p.Free(typ) || job.Speed[typ][at] <= 0 {
				continue
			}
			if gain := (now - g.cost(v, j, typ, at)) / float64(w-have); gain > out.gain {
				out = upgrade{j, typ, w, gain}
			}
		}
	}
	return out
}

// move brings a job to the choice on any type that costs least and for which there is room.
func (g *Goodput) move(v *View, p *Plan, j int) {
	job, h := &v.Jobs[j], p.Holds[j]
	if h.Width == 0 {
		return
	}
	typ, width, least := h.Type, h.Width, g.cost(v, j, h.Type, job.index(h.Width))
	for t := range job.Speed {
		for at, w := range job.Widths {
			if t == h.Type || w > p.Free(t) || job.Speed[t][at] <= 0 {
				continue
			}
			if c := g.cost(v, j, t, at); c < least {
				typ, width, least = t, w, c
			}
		}
	}
	if typ != h.Type {
		p.Give(j, typ, width)
	}
}

// index returns where a width stands among those of a job.
func (job *Job) index(width int) int {
	for at, w := range job.Widths {
		if w == width {
			return at
		}
	}
	return 0
}

func (u *upgrade) before(w *upgrade) bool {
	return u.gain > w.gain || u.gain == w.gain && u.job < w.job
}

func (g *Goodput) sink(i int) {
	q := g.heap
	for {
		c := 2*i + 1
		if c >= len(q) {
			return
		}
		if c+1 < len(q) && q[c+1].before(&q[c]) {
			c++
		}
		if !q[c].before(&q[i]) {
			return
		}
		q[i], q[c] = q[c], q[i]
		i = c
	}
}
