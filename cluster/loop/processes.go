package loop

import (
	"container/heap"
	"time"

	"orrery/sim"
)

// processes is a process for each robot: hosts launch at once, and whenever the device is
// free it runs the first of the kernels that have been launched.
type processes struct {
	*run
	ready   queue  // robots whose next kernel is launched
	running *robot // whose kernel runs, nil for none
	latest  *robot // whose kernel ran before
	since   sim.Time
	serves  bool // a kernel of the server runs
	batched int  // of its iteration

	launched, freed, look sim.Action
}

func newProcesses(r *run) *processes {
	p := &processes{run: r, ready: queue{before: r.before}}
	p.freed = r.engine.On(sim.Finish, "freed", p.onFreed)
	p.launched = r.engine.On(sim.Arrive, "launched", p.onLaunched)
	p.look = r.engine.On(sim.Decide, "look", p.onLook)
	if r.cfg.Server != nil {
		r.engine.At(0, p.look, 0)
	}
	return p
}

// asked implements [device].
func (p *processes) asked(now sim.Time, b *robot) {
	b.host = now
	p.launch(now, b)
}

// launch lets the host of b launch its next kernel. The host does not wait for the device.
func (p *processes) launch(now sim.Time, b *robot) {
	b.host = b.host.Add(b.loop.Plan[b.kernel].Launch)
	if b.host <= now {
		heap.Push(&p.ready, b)
		p.engine.At(now, p.look, 0)
		return
	}
	p.engine.At(b.host, p.launched, p.number(b))
}

// number returns the index of b among all robots.
func (p *processes) number(b *robot) uint32 {
	n := uint32(b.index)
	for i := range b.Loop {
		if l := &p.cfg.Loops[i]; l.Batch {
			n++
		} else {
			n += uint32(l.Robots)
		}
	}
	return n
}

func (p *processes) onLaunched(now sim.Time, i uint32) {
	heap.Push(&p.ready, &p.robots[i])
	p.engine.At(now, p.look, 0)
}

// onLook starts a kernel if the device is free.
func (p *processes) onLook(now sim.Time, _ uint32) {
	if p.running != nil || p.serves {
		return
	}
	p.since = now
	s := p.cfg.Server
	if s != nil && (len(p.ready.robots) == 0 || s.Whole && p.batched > 0) {
		p.serves = true
		p.turnTo(now, nil)
		p.engine.At(now.Add(s.Kernel), p.freed, 0)
		return
	}
	if len(p.ready.robots) == 0 {
		return
	}
	b, ok := heap.Pop(&p.ready).(*robot)
	if !ok {
		panic("loop: the queue holds robots alone")
	}
	p.running = b
	p.turnTo(now, b)
	p.engine.At(now.Add(b.loop.Plan[b.kernel].Device), p.freed, 0)
}

// turnTo notes that the device turns to another plan.
func (p *processes) turnTo(now sim.Time, b *robot) {
	if p.latest == b {
		return
	}
	if l := p.latest; l != nil && l.waits && l.kernel > 0 {
		p.out.Preemptions++
		p.record(now, Paused, l)
	}
	if b != nil {
		p.record(now, Began, b)
	}
	p.latest = b
}

// onFreed is the end of a kernel.
func (p *processes) onFreed(now sim.Time, _ uint32) {
	took := now.Sub(p.since)
	p.engine.At(now, p.look, 0)
	if p.serves {
		p.serves = false
		p.ended(took)
		return
	}
	b := p.running
	p.running = nil
	p.out.Busy += took
	b.kernel++
	if b.kernel < len(b.loop.Plan) {
		p.launch(now, b)
		return
	}
	p.latest = nil
	p.finish(now, b)
}

// ended counts a kernel of the server.
func (p *processes) ended(took time.Duration) {
	p.out.Serving += took
	p.batched++
	if p.batched == p.cfg.Server.Kernels {
		p.batched = 0
		p.out.Served++
	}
}

// close accounts for what runs at the end.
func (p *processes) close(now sim.Time) {
	switch {
	case p.serves:
		p.out.Serving += now.Sub(p.since)
	case p.running != nil:
		p.out.Busy += now.Sub(p.since)
	}
}
