package loop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"orrery/policies/control"
	"orrery/sim"
)

// Kernel is one launch of a plan: host time since the one before, and time on the device.
type Kernel struct{ Launch, Device time.Duration }

// Loop is a number of like robots.
type Loop struct {
	Name     string
	Robots   int
	Period   time.Duration
	Deadline time.Duration // after the plan was asked for; 0 for the period
	// Plan is what one plan takes, or all robots' plans in one batch.
	Plan  []Kernel
	Batch bool
}

// Server is text served on the same device: iterations in a row, each of so many equal
// kernels, whenever no plan wants the device.
type Server struct {
	Kernel  time.Duration
	Kernels int
	// Whole tells that plans wait for the end of an iteration; otherwise for that of a kernel,
	// as with streams of unlike priority.
	Whole bool
}

// Config is everything that decides a run.
type Config struct {
	Loops  []Loop
	Policy control.Policy
	// Processes tells that every robot has a process of its own; otherwise one process runs
	// all plans.
	Processes bool
	Server    *Server // nil for none
	Until     sim.Time
	Seed      uint64 // of the robots' phases, which are uniform within their periods
	// Together starts all robots at once instead: the worst case of theory.
	Together bool
	Record   func(Record) // nil for none
}

// Outcome is what became of a run.
type Outcome struct {
	Loops       []Result
	Busy        time.Duration // of the device, with plans; in one process with the waits for the host
	Preemptions int64
	Served      int64         // iterations of the server that have ended
	Serving     time.Duration // of the device, with the server
	Partial     bool          // cut short
}

// Result is that of one loop. Released = Met + Missed + Open.
type Result struct {
	Released int64 // plans asked for
	Met      int64 // ready by their deadline
	Missed   int64 // ready later, or not at the end of the run although due
	Open     int64 // not ready at the end of the run, nor due
	Skipped  int64 // periods in which a robot still waited for a plan
	Response sim.Sketch
}

// MissShare is the share of periods without a plan in time: late plans, and skipped
// periods. It is NaN before the first.
func (r *Result) MissShare() float64 {
	return float64(r.Missed+r.Skipped) / float64(r.Met+r.Missed+r.Skipped)
}

// What says what a [Record] is about.
type What uint8

// The kinds of record.
const (
	Released What = iota
	Skipped
	Began    // the device works on the plan from At on
	Paused   // it has turned to another, or to nothing: the plan waits for its host
	Finished // the plan is ready
)

// Record is an entry of the log.
type Record struct {
	At          sim.Time
	What        What
	Loop, Robot int32
}

func (c *Config) check() error {
	if c.Policy == nil || len(c.Loops) == 0 || c.Until <= 0 {
		return errors.New("loop: want loops, a policy and an end")
	}
	for i := range c.Loops {
		l := &c.Loops[i]
		switch {
		case l.Robots < 1 || l.Robots > 1<<16:
			return fmt.Errorf("loop %s has %d robots; want 1 to 65536", l.Name, l.Robots)
		case l.Period <= 0:
			return fmt.Errorf("loop %s has a period of %v; want more than 0", l.Name, l.Period)
		case l.Deadline < 0 || l.Deadline > l.Period:
			return fmt.Errorf("loop %s has a deadline of %v; want no more than its period, %v", l.Name, l.Deadline, l.Period)
		case len(l.Plan) == 0:
			return fmt.Errorf("loop %s has a plan without kernels; want at least one", l.Name)
		}
		for _, k := range l.Plan {
			if k.Launch < 0 || k.Device < 0 {
				return fmt.Errorf("loop %s has a kernel of %v after %v; want no negative times", l.Name, k.Device, k.Launch)
			}
		}
	}
	if s := c.Server; s != nil && (s.Kernel <= 0 || s.Kernels < 1) {
		return fmt.Errorf("the server has %d kernels of %v; want at least one, above 0", s.Kernels, s.Kernel)
	}
	return nil
}

// robot is one robot, or all of a batched loop.
type robot struct {
	control.Job
	loop   *Loop
	index  int32         // in its loop
	waits  bool          // for a plan
	kernel int           // the next one of its plan, where robots have processes of their own
	host   sim.Time      // when the latest one is launched there
	done   time.Duration // of its plan, in one process
}

// run is a run under way.
type run struct {
	cfg    *Config
	engine sim.Engine
	robots []robot
	out    Outcome

	release sim.Action
	device  device
}

// device is what shares the device: one process, or several.
type device interface {
	asked(now sim.Time, r *robot) // a plan of r has been released
	close(now sim.Time)           // the run ends
}

// Run simulates the loops until the end of the configuration.
func Run(ctx context.Context, cfg Config) (Outcome, error) {
	if err := cfg.check(); err != nil {
		return Outcome{}, err
	}
	r := &run{cfg: &cfg}
	r.out.Loops = make([]Result, len(cfg.Loops))
	r.release = r.engine.On(sim.Arrive, "release", r.onRelease)
	for i := range cfg.Loops {
		l := &cfg.Loops[i]
		n, phases := l.Robots, sim.Stream(cfg.Seed, "phase."+l.Name)
		if l.Batch {
			n = 1
		}
		for k := range n {
			r.robots = append(r.robots, robot{Job: control.Job{Loop: int32(i), Robot: int32(k), Period: l.Period}, loop: l, index: int32(k)})
			r.engine.At(phase(&cfg, l, phases), r.release, uint32(len(r.robots)-1))
		}
	}
	if cfg.Processes {
		r.device = newProcesses(r)
	} else {
		r.device = newProcess(r)
	}
	r.advance(ctx)
	r.end()
	return r.out, nil
}

func phase(cfg *Config, l *Loop, draws *rand.Rand) sim.Time {
	if cfg.Together {
		return 0
	}
	return sim.Time(draws.Int64N(int64(l.Period)))
}

// advance runs the engine, and looks at the context now and then.
func (r *run) advance(ctx context.Context) {
	const parts = 1000
	for i := int64(1); i <= parts; i++ {
		if ctx.Err() != nil {
			r.out.Partial = true
			return
		}
		r.engine.Run(r.cfg.Until / parts * sim.Time(i))
	}
	r.engine.Run(r.cfg.Until)
}

// end accounts for plans that are not ready.
func (r *run) end() {
	now := r.cfg.Until
	if r.out.Partial {
		now = r.engine.Now()
	}
	r.device.close(now)
	for i := range r.robots {
		b := &r.robots[i]
		if !b.waits {
			continue
		}
		res := &r.out.Loops[b.Loop]
		if b.Deadline <= now {
			res.Missed++
		} else {
			res.Open++
		}
	}
}

func (r *run) record(now sim.Time, what What, b *robot) {
	if r.cfg.Record != nil {
		r.cfg.Record(Record{now, what, b.Loop, b.index})
	}
}

// onRelease is the start of a period of robot i.
func (r *run) onRelease(now sim.Time, i uint32) {
	b := &r.robots[i]
	r.engine.At(now.Add(b.Period), r.release, i)
	res := &r.out.Loops[b.Loop]
	if b.waits {
		res.Skipped++
		r.record(now, Skipped, b)
		return
	}
	deadline := b.loop.Deadline
	if deadline == 0 {
		deadline = b.Period
	}
	b.waits, b.kernel, b.done = true, 0, 0
	b.Released, b.Deadline = now, now.Add(deadline)
	res.Released++
	r.record(now, Released, b)
	r.device.asked(now, b)
}

// finish makes the plan of b ready.
func (r *run) finish(now sim.Time, b *robot) {
	b.waits = false
	res := &r.out.Loops[b.Loop]
	if now <= b.Deadline {
		res.Met++
	} else {
		res.Missed++
	}
	res.Response.Add(int64(now.Sub(b.Released)), 1)
	r.record(now, Finished, b)
}

// before tells whether a goes before b, of which one may be the other.
func (r *run) before(a, b *robot) bool {
	switch p := r.cfg.Policy; {
	case p.Before(&a.Job, &b.Job):
		return true
	case p.Before(&b.Job, &a.Job):
		return false
	case a.Released != b.Released:
		return a.Released < b.Released
	case a.Loop != b.Loop:
		return a.Loop < b.Loop
	}
	return a.index < b.index
}
