package share

import (
	"cmp"
	"slices"
)

// queue orders the jobs of a view by a key, least first, and by arrival among equals. It
// is a binary heap: a policy that runs out of devices has paid for those it looked at.
type queue struct {
	keys []float64 // by index in View.Jobs
	heap []int32
}

// fill puts n jobs into the queue.
func (q *queue) fill(n int, key func(j int) float64) {
	q.keys, q.heap = q.keys[:0], q.heap[:0]
	for j := range n {
		q.keys = append(q.keys, key(j))
		q.heap = append(q.heap, int32(j))
	}
	for i := n/2 - 1; i >= 0; i-- {
		q.sink(i)
	}
}

func (q *queue) before(a, b int32) bool {
	if c := cmp.Compare(q.keys[a], q.keys[b]); c != 0 {
		return c < 0
	}
	return a < b
}

func (q *queue) sink(i int) {
	for {
		c := 2*i + 1
		if c >= len(q.heap) {
			return
		}
		if c+1 < len(q.heap) && q.before(q.heap[c+1], q.heap[c]) {
			c++
		}
		if !q.before(q.heap[c], q.heap[i]) {
			return
		}
		q.heap[i], q.heap[c] = q.heap[c], q.heap[i]
		i = c
	}
}

// next takes the first job out of the queue, or returns false if there is none.
func (q *queue) next() (int, bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	j, last := q.heap[0], len(q.heap)-1
	q.heap[0] = q.heap[last]
	q.heap = q.heap[:last]
	q.sink(0)
	return int(j), true
}

// spare reports whether any device is left to give.
func (p *Plan) spare() bool {
	return slices.ContainsFunc(p.free, func(n int) bool { return n > 0 })
}

// keep gives job j what it holds, and returns false if it holds nothing or that is gone.
// Of two that share, the one that comes second joins the first.
func keep(v *View, p *Plan, j int) bool {
	h := v.Jobs[j].Held
	switch {
	case h.Width == 0:
		return false
	case p.Holds[j].Width > 0:
		return true
	case h.With >= 0 && h.With < len(p.Holds) && p.Holds[h.With] == (Hold{Type: h.Type, Width: h.Width, With: -1}):
		return p.Join(j, h.With)
	}
	return p.Give(j, h.Type, h.Width)
}

// tuned returns the index in Widths at which a job is run by policies that do not choose
// widths, on one type, or -1 if it does not fit there: the widest at which a device is
// still worth half of what it is at the narrowest. Pollux (Qiao and others, OSDI 2021)
// gives its baselines jobs tuned to between 50 and 80 % of ideal speedup.
func (job *Job) tuned(typ int) int {
	best, alone := -1, 0.0
	for at, speed := range job.Speed[typ] {
		if speed <= 0 {
			continue
		}
		each := speed / float64(job.Widths[at])
		if best < 0 {
			alone = each
		}
		if best < 0 || each >= alone/2 {
			best = at
		}
	}
	return best
}

// fastest returns the best speed of a job at its tuned widths over all types, and the width
// of that, 0 and 0 if it fits nowhere.
func (job *Job) fastest() (speed float64, width int) {
	for typ := range job.Speed {
		if at := job.tuned(typ); at >= 0 && job.Speed[typ][at] > speed {
			speed, width = job.Speed[typ][at], job.Widths[at]
		}
	}
	return speed, width
}

// worth is what of its speed a change leaves a job, as Sia has it (Jayaram Subramanya and
// others, SOSP 2023): a job that has been here for T seconds and starts anew in S is taken
// to have T left, so that T/(T+S) of that is progress. What a job already holds is free.
func (v *View) worth(j, typ, width int) float64 {
	job := &v.Jobs[j]
	if job.Held.Width == 0 || job.Held.Type == typ && job.Held.Width == width {
		return 1
	}
	age := v.Now.Sub(job.Arrived).Seconds()
	if age <= 0 {
		return 0
	}
	return age / (age + job.Restart)
}

// settle gives job j its tuned width on the type where it is fastest among those with
// room, and returns false if none has. Moving costs what worth says.
func settle(v *View, p *Plan, j int) bool {
	job := &v.Jobs[j]
	typ, width, best := -1, 0, 0.0
	for t := range job.Speed {
		at := job.tuned(t)
		if at < 0 || p.Free(t) < job.Widths[at] {
			continue
		}
		if s := job.Speed[t][at] * v.worth(j, t, job.Widths[at]); s > best || typ < 0 {
			typ, width, best = t, job.Widths[at], s
		}
	}
	return typ >= 0 && p.Give(j, typ, width)
}

// serve gives devices to the jobs of a queue in its order, and passes over those for which
// there is no room.
func (q *queue) serve(v *View, p *Plan) {
	for p.spare() {
		j, ok := q.next()
		if !ok {
			return
		}
		settle(v, p, j)
	}
}
