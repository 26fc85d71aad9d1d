package cluster

import (
	"slices"
	"time"

	"orrery/hwmodel"
	"orrery/policies/denoise"
	"orrery/sim"
)

// device is one device of a pool: the images under way on it, their memory, and the
// steps that it is running.
type device struct {
	pool   *pool
	index  int32 // of its records
	jobs   []denoise.Job
	served []Served // the same requests
	fresh  int      // the last so many of them have not been encoded
	loads  []load
	ledger sim.Ledger // bytes, without weights

	busy   bool
	whole  bool // the batch runs to its end in one go
	it     Iteration
	first  sim.Time   // end of the first step of a batch that runs as a whole
	ends   []sim.Time // of the steps that were launched
	number int64      // iterations so far

	adapter int32 // that is merged in
}

// load is how much of one program is on a device.
type load struct {
	class, rung int32
	program     Program
	n           int   // images
	bytes       int64 // taken for them
	fresh       int   // scratch: to encode
	leaving     int   // scratch: to decode
}

// next asks the policy what a free device does and begins it. It returns false if the
// device stays idle.
func (d *device) next(now sim.Time) bool {
	p := d.pool
	plan := &p.plan
	plan.begin(now, d)
	p.cfg.Policy.Plan(plan)
	p.remove(plan.started)
	if len(d.jobs) == 0 {
		return false
	}
	d.busy = true
	d.whole = plan.whole
	d.it.Start = now
	d.it.Running = int32(len(d.jobs))
	d.it.KVUsed = d.ledger.Used()
	d.ends = d.ends[:0]
	if d.whole {
		d.launchWhole(now)
	} else {
		d.launchSteps(now)
	}
	p.c.engine.At(d.ends[len(d.ends)-1], p.c.made, uint32(d.index))
	return true
}

// load returns the device's load of a program.
func (d *device) load(class, rung int32) *load {
	for i := range d.loads {
		if l := &d.loads[i]; l.class == class && l.rung == rung {
			return l
		}
	}
	d.loads = append(d.loads, load{class: class, rung: rung, program: d.pool.programs(class)[rung]})
	return &d.loads[len(d.loads)-1]
}

// need returns the bytes of n images of the program.
func (l *load) need(n int) int64 { return max(l.program.Memory(n)-l.program.Memory(0), 0) }

// resize changes the number of images of a program on the device, if memory allows.
func (d *device) resize(l *load, by int) bool {
	bytes := l.need(l.n + by)
	switch more := bytes - l.bytes; {
	case more > d.ledger.Free():
		return false
	case more > 0:
		d.ledger.Take(more)
	default:
		d.ledger.Give(-more)
	}
	l.n += by
	l.bytes = bytes
	return true
}

// launchWhole prices a batch of one program from its encoding to its images.
func (d *device) launchWhole(now sim.Time) {
	n := len(d.jobs)
	l := d.load(d.jobs[0].Class, d.jobs[0].Rung)
	now = now.Add(d.swap(d.pool.adapter(l.class, l.rung)))
	d.first = now.Add(l.program.Encode(n) + l.program.Step(0, n))
	end := now.Add(d.pool.estimate(l.class, l.rung, n))
	d.ends = append(d.ends, end)
	d.it.Steps = d.jobs[0].Steps
	if d.it.Steps == 1 {
		d.first = end // the last step appears with the image
	}
}

// launchSteps prices the next step and, if nothing can join before, those that follow
// up to the one with which the next image is done.
func (d *device) launchSteps(now sim.Time) {
	d.it.Steps = 1
	last := d.jobs[0].Steps - d.jobs[0].Done
	for i := range d.jobs {
		last = min(last, d.jobs[i].Steps-d.jobs[i].Done)
	}
	for i := range d.loads {
		d.loads[i].fresh, d.loads[i].leaving = 0, 0
	}
	for i := range d.jobs {
		j := &d.jobs[i]
		l := d.load(j.Class, j.Rung)
		if i >= len(d.jobs)-d.fresh {
			l.fresh++
		}
		if j.Steps-j.Done == last {
			l.leaving++
		}
	}
	steps := last
	if d.pool.c.cfg.Step || len(d.pool.queue) > 0 && len(d.jobs) < d.pool.limit {
		steps = 1
	}
	at := now
	for i := range d.loads {
		if l := &d.loads[i]; l.fresh > 0 {
			at = at.Add(l.program.Encode(l.fresh))
		}
	}
	for k := range steps {
		if d.pool.cfg.Adapters != nil {
			at = at.Add(d.stepsByAdapter(k))
		} else {
			at = at.Add(d.step(k))
		}
		if k == last-1 {
			for i := range d.loads {
				if l := &d.loads[i]; l.leaving > 0 {
					at = at.Add(l.program.Decode(l.leaving))
				}
			}
		}
		d.ends = append(d.ends, at)
	}
}

// swap returns how long it takes until an adapter is merged in, which then is; 0 stands for
// any.
func (d *device) swap(to int32) time.Duration {
	if to == 0 || to == d.adapter {
		return 0
	}
	d.adapter = to
	return d.pool.cfg.Swap
}

// stepsByAdapter returns how long the steps take that come after k more of each image: images
// of one adapter share a batch, and one batch follows the other, that of the adapter which is
// merged in first.
func (d *device) stepsByAdapter(k int32) time.Duration {
	type batch struct {
		n       int
		longest time.Duration
	}
	batches := map[int32]*batch{}
	var order []int32
	of := func(j *denoise.Job) int32 { return d.pool.adapter(j.Class, j.Rung) }
	for i := range d.jobs {
		a := of(&d.jobs[i])
		if batches[a] == nil {
			batches[a] = &batch{}
			order = append(order, a)
		}
		batches[a].n++
	}
	for i := range d.jobs {
		j := &d.jobs[i]
		b := batches[of(j)]
		b.longest = max(b.longest, d.pool.programs(j.Class)[j.Rung].Step(int(j.Done+k), b.n))
	}
	slices.SortFunc(order, func(a, b int32) int {
		if (a == d.adapter) != (b == d.adapter) {
			if a == d.adapter {
				return -1
			}
			return 1
		}
		return int(a - b)
	})
	sum := time.Duration(0)
	for _, a := range order {
		sum += d.swap(a) + batches[a].longest
	}
	return sum
}

// step returns how long the step takes that comes after k more of each image. The
// images share one batch, so that the dearest of their steps is that of all.
func (d *device) step(k int32) time.Duration {
	longest := time.Duration(0)
	n := len(d.jobs)
	for i := range d.jobs {
		j := &d.jobs[i]
		if b := &d.jobs[max(i-1, 0)]; i > 0 && b.Done == j.Done && b.Class == j.Class && b.Rung == j.Rung {
			continue // as its neighbour
		}
		program := d.pool.programs(j.Class)[j.Rung]
		longest = max(longest, program.Step(int(j.Done+k), n))
	}
	return longest
}

// cut shortens a stretch of steps to the one that is running at now, since a request
// has arrived that may join.
func (d *device) cut(now sim.Time) {
	n := len(d.ends)
	if n < 2 || d.ends[n-2] < now {
		return
	}
	k := 0
	for d.ends[k] < now {
		k++
	}
	d.ends = d.ends[:k+1]
	d.pool.c.engine.At(d.ends[k], d.pool.c.made, uint32(d.index))
}

// onMade applies what a device ran, if now is its end. Ends of stretches that were
// cut fire too, and find that it is not.
func (c *Cluster) onMade(now sim.Time, i uint32) {
	d := c.devices[int(i)-len(c.cfg.Replicas)]
	if !d.busy || d.ends[len(d.ends)-1] != now {
		return
	}
	for k := range d.ends {
		d.apply(k)
	}
	d.busy = false
	c.out.End = now
	d.leave(now)
	d.pool.wake(now)
}

// apply takes the effects of the k-th iteration of those launched.
func (d *device) apply(k int) {
	if k > 0 {
		d.it.Start = d.ends[k-1]
	}
	n := len(d.jobs)
	d.it.End = d.ends[k]
	d.it.Number = d.number
	d.number++
	d.it.Stages = append(d.it.Stages[:0], Span{d.it.Start, d.it.End})
	d.it.Batch = hwmodel.Batch{Decodes: n, Logits: n, Chunks: d.fresh, ChunkTokens: d.fresh}
	d.fresh = 0
	if d.whole {
		d.appear()
	}
	d.pool.c.record(Record{What: Iterated, At: d.it.End, Replica: d.index, Iteration: &d.it})
	d.emit()
}

// appear records the first step of requests in a batch that runs as a whole.
func (d *device) appear() {
	for i := range d.served {
		if d.served[i].First == Never {
			d.begun(i, d.first)
		}
	}
}

// begun records the first step that a request ever had.
func (d *device) begun(i int, at sim.Time) {
	s := &d.served[i]
	s.First, s.Last, s.Emitted = at, at, 1
	d.jobs[i].Done = 1
	d.pool.c.record(Record{What: FirstToken, At: at, Replica: d.index, Request: s})
}

// emit gives every request the steps of the iteration that has ended. Neighbours whose
// steps come after equal gaps share a record; steps of a batch that ran as a whole
// have their mean gap.
func (d *device) emit() {
	units, gap := int64(0), time.Duration(0)
	flush := func() {
		if units > 0 {
			d.pool.c.record(Record{What: Emitted, At: d.it.End, Replica: d.index, N: units, Gap: gap})
		}
		units = 0
	}
	for i := range d.served {
		s, j := &d.served[i], &d.jobs[i]
		n := int32(1)
		switch {
		case d.whole:
			n = j.Steps - j.Done
		case s.First == Never:
			d.begun(i, d.it.End)
			continue
		}
		if n == 0 {
			continue
		}
		if g := d.it.End.Sub(s.Last) / time.Duration(n); units == 0 || g != gap {
			flush()
			gap = g
		}
		units += int64(n)
		j.Done += n
		s.Emitted += n
		s.Last = d.it.End
	}
	flush()
}

// leave takes images that are done off the device.
func (d *device) leave(now sim.Time) {
	kept := 0
	for i := range d.jobs {
		j, s := &d.jobs[i], &d.served[i]
		if j.Done < j.Steps {
			d.jobs[kept], d.served[kept] = *j, *s
			kept++
			continue
		}
		d.resize(d.load(j.Class, j.Rung), -1)
		d.pool.finish(now, j, s)
	}
	d.jobs, d.served = d.jobs[:kept], d.served[:kept]
}

// settle applies the steps of an unfinished stretch that had ended at now.
func (d *device) settle(now sim.Time) {
	if !d.busy {
		return
	}
	for k := range d.ends {
		if d.ends[k] > now {
			break
		}
		d.apply(k)
	}
}

// finish ends a request whose image is done, unless the policy wants another.
func (p *pool) finish(now sim.Time, j *denoise.Job, s *Served) {
	c := p.c
	if p.escalator != nil {
		if rung, again := p.escalator.Escalate(j); again && int(rung) < len(p.programs(j.Class)) {
			job := *j
			job.Rung, job.Steps, job.Done, job.Batch = rung, 0, 0, 0
			p.enqueue(now, job, s)
			return
		}
	}
	p.held--
	c.out.Finished++
	c.record(Record{What: Finished, At: now, Replica: s.Replica, Request: s})
	c.ended(&s.Request, now)
}
