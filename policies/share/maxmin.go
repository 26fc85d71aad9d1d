package share

import (
	"cmp"
	"slices"
	"time"

	"orrery/sim"
)

// MaxMin shares devices so that the job that is served worst is served as well as can be,
// knowing how fast each job is on each type: the policy of Gavel (Narayanan and others, OSDI
// 2020). A linear program says which part of its time each job should spend on each type;
// rounds come near that by serving first whoever is furthest behind its target. A job that
// runs stays until another is further behind by the part of a round that a start costs.
// What then is idle goes to the first in order of arrival that can use it.
//
// With Blind it is the same without knowledge of types: every job's share of devices is
// equal by weight, and which type it meets is left to chance, as the devices that are free
// in a round have it.
type MaxMin struct {
	Round time.Duration // 0 counts as 6 minutes, as in Gavel's experiments
	Blind bool

	next, last sim.Time
	accounts   map[int64]*account
	turn       int
	classes    classes
	solved     [][]float64 // the program's answer for before and had
	before     []class
	had        []float64
	wishes     []wish
}

// account is what a job is due and has got, in seconds by type; Blind uses the first alone.
type account struct {
	target, due, got []float64
	turn             int
}

// wish is a job's claim to a type in a round.
type wish struct {
	job, typ int
	priority float64
}

// Share implements [Policy].
func (m *MaxMin) Share(v *View, p *Plan) {
	m.book(v)
	if v.Now >= m.next || m.turn == 1 {
		round := m.round()
		m.next = v.Now.Add(round)
		m.aim(v)
		m.realise(v, p, round.Seconds())
	} else {
		for j := range v.Jobs {
			keep(v, p, j)
		}
	}
	for j := 0; j < len(v.Jobs) && p.spare(); j++ {
		if p.Holds[j].Width == 0 {
			m.place(v, p, j)
		}
	}
}

func (m *MaxMin) round() time.Duration {
	if m.Round == 0 {
		return 6 * time.Minute
	}
	return m.Round
}

// book writes down what has been due and got since the last call, opens accounts for new
// jobs and closes those of jobs that have gone.
func (m *MaxMin) book(v *View) {
	if m.accounts == nil {
		m.accounts = map[int64]*account{}
	}
	m.turn++
	span := v.Now.Sub(m.last).Seconds()
	m.last = v.Now
	for j := range v.Jobs {
		job := &v.Jobs[j]
		a := m.accounts[job.ID]
		if a == nil {
			n := len(v.Types)
			a = &account{target: make([]float64, n), due: make([]float64, n), got: make([]float64, n)}
			m.accounts[job.ID] = a
		}
		a.turn = m.turn
		for k := range a.due {
			a.due[k] += a.target[k] * span
		}
		if job.Held.Width > 0 {
			a.got[m.column(job.Held.Type)] += span
		}
	}
	if len(m.accounts) > len(v.Jobs) {
		for id, a := range m.accounts {
			if a.turn != m.turn {
				delete(m.accounts, id)
			}
		}
	}
}

func (m *MaxMin) column(typ int) int {
	if m.Blind {
		return 0
	}
	return typ
}

// aim sets the targets of all jobs.
func (m *MaxMin) aim(v *View) {
	if m.Blind {
		m.level(v)
		return
	}
	m.classes.sort(v)
	devices := make([]float64, len(v.Types))
	for k := range v.Types {
		devices[k] = float64(v.Types[k].Devices)
	}
	// A program that the simplex gives up on for its numbers leaves the targets as they were,
	// and new jobs to what is idle, until the next round.
	if len(m.classes.all) == 0 || !m.solve(devices) {
		return
	}
	for j := range v.Jobs {
		if c := m.classes.of[j]; c >= 0 {
			copy(m.accounts[v.Jobs[j].ID].target, m.solved[c])
		}
	}
}

// solve solves the program of the classes, unless they are those of the last time.
func (m *MaxMin) solve(devices []float64) bool {
	if slices.Equal(devices, m.had) && slices.EqualFunc(m.classes.all, m.before, same) {
		return true
	}
	shares, err := fair(m.classes.all, devices)
	if err != nil {
		return false
	}
	m.solved, m.had = shares, devices
	m.before = append(m.before[:0], m.classes.all...)
	return true
}

// same reports whether two classes ask the same of the program.
func same(a, b class) bool {
	return a.n == b.n && a.weight == b.weight && slices.Equal(a.width, b.width) && slices.Equal(a.speed, b.speed)
}

// level sets the targets of the blind kind by water-filling: all have the same devices by
// weight, but no job more of them than its width.
func (m *MaxMin) level(v *View) {
	free := 0.0
	for k := range v.Types {
		free += float64(v.Types[k].Devices)
	}
	type claim struct{ job, width int }
	var claims []claim
	weights := 0.0
	for j := range v.Jobs {
		if _, width := v.Jobs[j].fastest(); width > 0 {
			claims = append(claims, claim{j, width})
			weights += v.Jobs[j].Weight
		}
	}
	need := func(c claim) float64 { return float64(c.width) / v.Jobs[c.job].Weight }
	slices.SortStableFunc(claims, func(a, b claim) int { return cmp.Compare(need(a), need(b)) })
	for _, c := range claims {
		job := &v.Jobs[c.job]
		got := min(float64(c.width), free*job.Weight/weights)
		m.accounts[job.ID].target[0] = got / float64(c.width)
		free -= got
		weights -= job.Weight
	}
}

// realise gives devices for a round to those that are furthest behind their targets.
func (m *MaxMin) realise(v *View, p *Plan, round float64) {
	m.wishes = m.wishes[:0]
	for j := range v.Jobs {
		a := m.accounts[v.Jobs[j].ID]
		for k, target := range a.target {
			if target < 1e-6 {
				continue
			}
			w := wish{j, k, (a.due[k] + target*round) / (a.got[k] + round)}
			if v.Jobs[j].Held.Width > 0 && m.column(v.Jobs[j].Held.Type) == k {
				w.priority *= 1 + v.Jobs[j].Restart/round
			}
			m.wishes = append(m.wishes, w)
		}
	}
	slices.SortStableFunc(m.wishes, func(a, b wish) int { return cmp.Compare(b.priority, a.priority) })
	for _, w := range m.wishes {
		if p.Holds[w.job].Width > 0 {
			continue
		}
		if m.Blind {
			m.place(v, p, w.job)
		} else if at := v.Jobs[w.job].tuned(w.typ); at >= 0 {
			p.Give(w.job, w.typ, v.Jobs[w.job].Widths[at])
		}
	}
}

// place gives a job that has nothing what is free: where it is fastest, or, blind, where it
// is or else where most is free.
func (m *MaxMin) place(v *View, p *Plan, j int) {
	if !m.Blind {
		settle(v, p, j)
		return
	}
	if keep(v, p, j) {
		return
	}
	job := &v.Jobs[j]
	typ, width := -1, 0
	for k := range job.Speed {
		if at := job.tuned(k); at >= 0 && p.Free(k) >= job.Widths[at] && (typ < 0 || p.Free(k) > p.Free(typ)) {
			typ, width = k, job.Widths[at]
		}
	}
	if typ >= 0 {
		p.Give(j, typ, width)
	}
}
