package loop

import (
	"container/heap"
	"slices"
	"time"

	"orrery/sim"
)

// process is one process that runs all plans: what it launches, the device does in that
// order, and a plan that is set aside continues where it was.
type process struct {
	*run
	ends    [][]time.Duration // by loop: when each kernel ends in a plan that runs alone
	waiting queue             // plans that want the device
	running *robot            // nil for none
	since   sim.Time          // the running plan, or iteration of the server, goes on from here
	done    time.Duration     // of the running plan, by then
	epoch   uint32            // of the plan's latest stretch
	served  time.Duration     // of the server's iteration
	serves  bool

	turn, stop sim.Action
}

func newProcess(r *run) *process {
	p := &process{run: r, waiting: queue{before: r.before}}
	for i := range r.cfg.Loops {
		p.ends = append(p.ends, alone(r.cfg.Loops[i].Plan))
	}
	p.turn = r.engine.On(sim.Finish, "turn", p.onTurn)
	p.stop = r.engine.On(sim.Decide, "next", p.onNext)
	p.serve(0)
	return p
}

// alone returns when each kernel of a plan ends on a device of its own: it starts when it
// has been launched and the one before it has ended.
func alone(plan []Kernel) []time.Duration {
	var host, device time.Duration
	ends := make([]time.Duration, len(plan))
	for i, k := range plan {
		host += k.Launch
		device = max(device, host) + k.Device
		ends[i] = device
	}
	return ends
}

// asked implements [device].
func (p *process) asked(now sim.Time, b *robot) {
	heap.Push(&p.waiting, b)
	p.engine.At(now, p.stop, 0)
}

// onNext gives the device to the plan that goes first, now or at the end of the kernel.
func (p *process) onNext(now sim.Time, _ uint32) {
	switch {
	case len(p.waiting.robots) == 0:
	case p.serves:
		p.yield(now)
	case p.running == nil:
		p.begin(now)
	case p.cfg.Policy.Preempts() && p.before(p.waiting.robots[0], p.running):
		done := p.done + now.Sub(p.since)
		ends := p.ends[p.running.Loop]
		// The end of the kernel that runs, or of the latest one if the host is about to launch.
		if at, exact := slices.BinarySearch(ends, done); !exact && at < len(ends)-1 {
			p.epoch++
			p.engine.At(p.since.Add(ends[at]-p.done), p.turn, p.epoch)
		} else if exact && at < len(ends)-1 {
			p.epoch++
			p.engine.At(now, p.turn, p.epoch)
		}
	}
}

// yield ends the server's turn at the end of its kernel or iteration.
func (p *process) yield(now sim.Time) {
	s := p.cfg.Server
	whole := time.Duration(s.Kernels) * s.Kernel
	unit := s.Kernel
	if s.Whole {
		unit = whole
	}
	done := p.served + now.Sub(p.since)
	end := (done + unit - 1) / unit * unit
	p.epoch++
	p.engine.At(now.Add(end-done), p.turn, p.epoch)
}

// onTurn is the end of a kernel after which the device may turn to another plan, or of the
// running plan.
func (p *process) onTurn(now sim.Time, epoch uint32) {
	if epoch != p.epoch {
		return
	}
	if p.serves {
		p.pauseServer(now)
	} else if b := p.running; b != nil {
		p.done += now.Sub(p.since)
		p.out.Busy += now.Sub(p.since)
		p.running = nil
		if ends := p.ends[b.Loop]; p.done == ends[len(ends)-1] {
			p.finish(now, b)
		} else {
			p.out.Preemptions++
			p.record(now, Paused, b)
			b.done = p.done
			heap.Push(&p.waiting, b)
		}
	}
	if len(p.waiting.robots) == 0 {
		p.serve(now)
		return
	}
	p.begin(now)
}

// begin runs the plan that goes first until its end, unless another takes its place.
func (p *process) begin(now sim.Time) {
	b, ok := heap.Pop(&p.waiting).(*robot)
	if !ok {
		panic("loop: the queue holds robots alone")
	}
	ends := p.ends[b.Loop]
	p.running, p.since, p.done = b, now, b.done
	p.epoch++
	p.record(now, Began, b)
	p.engine.At(now.Add(ends[len(ends)-1]-p.done), p.turn, p.epoch)
}

// serve gives the device to the server.
func (p *process) serve(now sim.Time) {
	if p.cfg.Server != nil {
		p.serves, p.since = true, now
	}
}

func (p *process) pauseServer(now sim.Time) {
	s := p.cfg.Server
	whole := time.Duration(s.Kernels) * s.Kernel
	p.serves = false
	p.out.Serving += now.Sub(p.since)
	p.served += now.Sub(p.since)
	p.out.Served += int64(p.served / whole)
	p.served %= whole
}

// close accounts for what runs at the end.
func (p *process) close(now sim.Time) {
	if p.serves {
		p.pauseServer(now)
	} else if p.running != nil {
		p.out.Busy += now.Sub(p.since)
	}
}

// queue is a heap of robots whose plans want the device.
type queue struct {
	robots []*robot
	before func(a, b *robot) bool
}

// Len implements [heap.Interface].
func (q *queue) Len() int { return len(q.robots) }

// Less implements [heap.Interface].
func (q *queue) Less(i, j int) bool { return q.before(q.robots[i], q.robots[j]) }

// Swap implements [heap.Interface].
func (q *queue) Swap(i, j int) { q.robots[i], q.robots[j] = q.robots[j], q.robots[i] }

// Push implements [heap.Interface].
func (q *queue) Push(x any) {
	if b, ok := x.(*robot); ok {
		q.robots = append(q.robots, b)
	}
}

// Pop implements [heap.Interface].
func (q *queue) Pop() any {
	b := q.robots[len(q.robots)-1]
	q.robots = q.robots[:len(q.robots)-1]
	return b
}
