package jobs

import (
	"context"
	"math/rand/v2"
	"slices"

	"orrery/policies/share"
	"orrery/sim"
)

// Room is a cluster for jobs on somebody's clock.
type Room struct {
	cfg    *Config
	engine *sim.Engine
	types  []devices
	active []*job // in order of arrival
	out    Outcome
	view   share.View
	plan   share.Plan

	coming   Job
	more     bool
	deciding bool
	arrived  int64
	latest   sim.Time // when capacity was last added up
	failures *rand.Rand

	arrive, finish, decide, round, fail, repair sim.Action
	slots                                       []*job // by number of the events about them
	look                                        func() // at the context
	over                                        func() // told that all jobs have ended
	broken                                      error
}

// job is one that has arrived.
type job struct {
	Ended
	slot uint32

	hold  share.Hold // With is not used: see partner
	on    []place
	with  *job
	rate  float64 // units a second of running time, 0 without devices
	share float64 // of its devices: 1, or a half beside another job

	from    sim.Time // the progress below is that of this moment, or later: the end of a restart
	base    float64  // units done by then
	kept    float64  // units in the latest checkpoint
	unsaved float64  // useful device-seconds since
	updated sim.Time // device-seconds are added up to here
	ends    sim.Time // -1 for not known
	segment float64  // units at the start of the stretch
	price   float64  // of a device for an hour
	fresh   bool     // it has just been given devices
}

// NewRoom returns a room whose events are fired by an engine that has not begun. The first
// job is scheduled at once.
func NewRoom(engine *sim.Engine, cfg *Config) (*Room, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	r := &Room{cfg: cfg, engine: engine, failures: sim.Stream(cfg.Seed, "failures")}
	for _, t := range cfg.Types {
		r.types = append(r.types, newDevices(t))
	}
	r.out.ByType = make([]float64, len(cfg.Types))
	r.finish = engine.On(sim.Finish, "job ends", r.onFinish)
	r.repair = engine.On(sim.Finish, "device is back", r.onRepair)
	r.arrive = engine.On(sim.Arrive, "job arrives", r.onArrive)
	r.fail = engine.On(sim.Arrive, "device fails", r.onFail)
	r.decide = engine.On(sim.Decide, "share devices", r.onDecide)
	r.round = engine.On(sim.Arrive, "round", r.onRound)
	lend := engine.On(sim.Arrive, "devices are lent", func(now sim.Time, i uint32) {
		c := &cfg.Changes[i]
		r.Lend(now, c.Type, c.Devices)
	})
	for i := range cfg.Changes {
		engine.At(cfg.Changes[i].At, lend, uint32(i))
	}
	if err := r.pull(); err != nil {
		return nil, err
	}
	if !r.more {
		return r, nil
	}
	engine.At(r.coming.Arrived, r.arrive, 0)
	r.scheduleFailure(0)
	return r, nil
}

// Run simulates until all jobs have ended, or the end of the configuration.
func Run(ctx context.Context, cfg Config) (Outcome, error) {
	var engine sim.Engine
	r, err := NewRoom(&engine, &cfg)
	if err != nil {
		return Outcome{}, err
	}
	r.look = func() {
		if ctx.Err() != nil {
			r.out.Partial = true
			engine.Stop()
		}
	}
	r.over = engine.Stop
	until := cfg.Until
	if until == 0 {
		until = sim.Forever
	}
	engine.Run(until)
	end := engine.Now()
	if cfg.Until > 0 && !r.out.Partial && !r.done() {
		end = cfg.Until
	}
	return r.Close(end), r.broken
}

// pull takes the next job from the source.
func (r *Room) pull() error {
	r.coming, r.more = r.cfg.Source.Next()
	if !r.more {
		return nil
	}
	if r.coming.Weight == 0 {
		r.coming.Weight = 1
	}
	if r.coming.Spread == 0 {
		r.coming.Spread = 1
	}
	return r.coming.check(len(r.cfg.Types))
}

// done tells whether nothing is left to do.
func (r *Room) done() bool { return !r.more && len(r.active) == 0 }

func (r *Room) record(now sim.Time, what What, j *job, lost float64) {
	if r.cfg.Record == nil {
		return
	}
	with := int64(-1)
	if j.with != nil {
		with = j.with.ID
	}
	r.cfg.Record(Record{At: now, What: what, Job: j.ID, Type: j.hold.Type, Width: j.hold.Width, With: with, Nodes: len(j.on), Lost: lost})
}

func (r *Room) onArrive(now sim.Time, _ uint32) {
	j := &job{Ended: Ended{Job: r.coming, First: -1, End: -1}, slot: uint32(len(r.slots)), hold: share.Hold{With: -1}, ends: -1, share: 1}
	r.arrived++
	r.record(now, Arrived, j, 0)
	if r.fits(&j.Job) {
		r.slots = append(r.slots, j)
		r.active = append(r.active, j)
		if len(r.active) == 1 && r.cfg.Round > 0 {
			r.engine.At(now.Add(r.cfg.Round), r.round, 0)
		}
		r.wake(now)
	} else {
		j.Refused = true
		j.End = now
		r.record(now, Refused, j, 0)
		r.out.Jobs = append(r.out.Jobs, j.Ended)
	}
	before := r.coming.Arrived
	if err := r.pull(); err != nil {
		r.breaks(err)
		return
	}
	if r.more {
		r.engine.At(max(r.coming.Arrived, before), r.arrive, 0)
	}
	r.checkOver()
}

// checkOver tells whoever wants to know that nothing is left to do. Events about jobs that
// have ended since may still be due.
func (r *Room) checkOver() {
	if r.over != nil && r.done() {
		r.over()
	}
}

// breaks ends the run with an error of its input.
func (r *Room) breaks(err error) {
	r.broken = err
	r.engine.Stop()
}

// fits tells whether some type has enough devices for the job at some width.
func (r *Room) fits(j *Job) bool {
	for t := range r.types {
		for i, w := range j.Widths {
			if w <= r.types[t].Devices && j.Speed[t][i] > 0 {
				return true
			}
		}
	}
	return false
}

func (r *Room) wake(now sim.Time) {
	if !r.deciding {
		r.deciding = true
		r.engine.At(now, r.decide, 0)
	}
}

func (r *Room) onRound(now sim.Time, _ uint32) {
	if len(r.active) > 0 {
		r.wake(now)
		r.engine.At(now.Add(r.cfg.Round), r.round, 0)
	}
}

// Lend says how many devices of a type there are for jobs from now on; the others are
// somebody else's. Jobs that no longer fit leave at once, on request.
func (r *Room) Lend(now sim.Time, typ, count int) {
	r.count(now)
	t := &r.types[typ]
	t.wanted = max(t.Devices-count, 0)
	r.wake(now)
}

// onDecide asks the policy and carries out what it says.
func (r *Room) onDecide(now sim.Time, _ uint32) {
	r.deciding = false
	if r.look != nil {
		r.look()
	}
	if len(r.active) == 0 {
		r.settle()
		return
	}
	r.count(now)
	for _, j := range r.active {
		j.update(now)
	}
	r.out.Asked++
	r.show(now)
	r.plan.Begin(&r.view)
	r.cfg.Policy.Share(&r.view, &r.plan)
	r.carryOut(now)
}

// show fills in the view.
func (r *Room) show(now sim.Time) {
	v := &r.view
	v.Now = now
	v.Types = v.Types[:0]
	for i := range r.types {
		t := r.types[i].Type
		t.Devices = r.types[i].available()
		v.Types = append(v.Types, t)
	}
	index := map[*job]int{}
	if r.cfg.Together != nil {
		for i, j := range r.active {
			index[j] = i
		}
	}
	v.Jobs = slices.Grow(v.Jobs[:0], len(r.active))
	for _, j := range r.active {
		hold := j.hold
		hold.With = -1
		if j.with != nil {
			hold.With = index[j.with]
		}
		total := j.Work
		if j.Secret {
			total = 0
		}
		samples := j.Samples
		if samples == nil {
			samples = j.Speed
		}
		v.Jobs = append(v.Jobs, share.Job{
			ID: j.ID, Arrived: j.Arrived, Weight: j.Weight, Deadline: j.Deadline, Budget: j.Budget, Widths: j.Widths, Speed: j.Speed, Samples: samples,
			Held: hold, Attained: j.DeviceSeconds(), Spent: j.Cost, Done: j.Done, Total: total, Restart: j.Restart.Seconds(),
		})
	}
	if v.Together == nil && r.cfg.Together != nil {
		v.Together = func(a, b, typ int) (float64, float64) {
			return r.cfg.Together(r.active[a].Kind, r.active[b].Kind, typ)
		}
	}
}

// carryOut stops what the plan stops and starts what it starts.
func (r *Room) carryOut(now sim.Time) {
	holds := r.plan.Holds
	partner := func(i int) *job {
		if w := holds[i].With; w >= 0 {
			return r.active[w]
		}
		return nil
	}
	// Those that keep their devices may get or lose company; of two that share, one keeps them.
	for i, j := range r.active {
		h := holds[i]
		if j.hold.Width > 0 && (h.Width != j.hold.Width || h.Type != j.hold.Type || r.moves(j, partner(i))) {
			r.out.Preemptions++
			r.stop(now, j, Stopped, 0) // it takes a checkpoint first
		}
	}
	r.settle()
	for i, j := range r.active {
		h := holds[i]
		if h.Width == 0 || j.hold.Width > 0 {
			continue
		}
		p := partner(i)
		if p != nil && p.hold.Width > 0 {
			j.on = p.on
		} else {
			j.on = r.types[h.Type].take(h.Width)
		}
		j.hold = share.Hold{Type: h.Type, Width: h.Width, With: -1}
		j.fresh = true
	}
	for i, j := range r.active {
		if j.hold.Width > 0 {
			r.run(now, j, partner(i))
		}
	}
	for _, j := range r.active {
		if j.fresh {
			j.fresh = false
			r.record(now, Started, j, 0)
		}
	}
}

// moves tells whether a job that keeps its type and width has to leave its devices, because
// it shares those of another from now on, or no longer does. Of two, the earlier one stays.
func (r *Room) moves(j, partner *job) bool {
	leaves := j.with != nil && partner != j.with && j.ID > j.with.ID
	comes := partner != nil && partner.hold.Width > 0 && j.with != partner && j.ID > partner.ID
	return leaves || comes
}

// run sets the pace of a job with devices.
func (r *Room) run(now sim.Time, j, with *job) {
	fresh := j.fresh
	if !fresh && j.with == with {
		return
	}
	keep, half := 1.0, 1.0
	if with != nil {
		a, _ := r.cfg.Together(j.Kind, with.Kind, j.hold.Type)
		keep, half = a, 0.5
	}
	at := slices.Index(j.Widths, j.hold.Width)
	rate := j.Speed[j.hold.Type][at] * keep
	if node := r.types[j.hold.Type].Node; len(j.on) > 1 && node > 0 && len(j.on) > (j.hold.Width+node-1)/node {
		rate *= j.Spread
	}
	j.with, j.share = with, half
	if fresh {
		j.updated, j.price = now, r.types[j.hold.Type].Price
		j.Starts++
		if j.First < 0 {
			j.First = now
		}
		j.begin(now, now.Add(j.Restart), rate)
	} else {
		j.begin(now, max(now, j.from), rate)
	}
	j.ends = j.finishAt()
	if j.ends >= 0 {
		r.engine.At(j.ends, r.finish, j.slot)
	}
}

// stop takes a job's devices, and of its work what is lost.
func (r *Room) stop(now sim.Time, j *job, why What, lost float64) {
	j.update(now)
	j.segment = j.newSegment()
	if lost > 0 {
		j.lose()
	}
	j.kept, j.unsaved = j.Done, 0
	r.record(now, why, j, lost)
	if j.with == nil {
		r.types[j.hold.Type].give(j.on)
	} else {
		j.with.with = nil // keeps the devices; its pace is set anew
		other := j.with
		other.update(now)
		r.quicken(now, other)
	}
	j.with, j.on = nil, nil
	j.hold = share.Hold{With: -1}
	j.rate, j.ends = 0, -1
}

// quicken sets the pace of a job whose company has gone.
func (r *Room) quicken(now sim.Time, j *job) {
	at := slices.Index(j.Widths, j.hold.Width)
	j.share = 1
	j.begin(now, max(now, j.from), j.Speed[j.hold.Type][at])
	if j.ends = j.finishAt(); j.ends >= 0 {
		r.engine.At(j.ends, r.finish, j.slot)
	}
}

// settle gives what others want of the devices to them, and takes back what they do not.
func (r *Room) settle() {
	for i := range r.types {
		r.types[i].settle()
	}
}

func (r *Room) onFinish(now sim.Time, slot uint32) {
	j := r.slots[slot]
	if j == nil || j.ends != now {
		return // its pace has changed since
	}
	r.count(now)
	j.update(now)
	j.Done, j.End = j.Work, now
	j.newSegment()
	r.record(now, Finished, j, 0)
	if j.with == nil {
		r.types[j.hold.Type].give(j.on)
	} else {
		other := j.with
		other.with = nil
		other.update(now)
		r.quicken(now, other)
	}
	r.leave(j)
	r.wake(now)
}

// leave takes a job off the list.
func (r *Room) leave(j *job) {
	i := slices.Index(r.active, j)
	r.active = slices.Delete(r.active, i, i+1)
	r.slots[j.slot] = nil
	r.out.Jobs = append(r.out.Jobs, j.Ended)
	r.checkOver()
}

// Close ends the run and returns what became of it.
func (r *Room) Close(now sim.Time) Outcome {
	r.count(now)
	for _, j := range r.active {
		j.update(now)
		j.newSegment()
		r.record(now, Open, j, 0)
		r.out.Jobs = append(r.out.Jobs, j.Ended)
	}
	r.active = nil
	r.out.End = now
	return r.out
}

// count adds up the capacity since it was last asked for.
func (r *Room) count(now sim.Time) {
	s := now.Sub(r.latest).Seconds()
	r.latest = now
	if s == 0 {
		return
	}
	for i := range r.types {
		t := &r.types[i]
		r.out.Capacity += s * float64(t.Devices-t.down-t.taken)
		r.out.Held += s * float64(t.held)
		r.out.ByType[i] += s * float64(t.held)
	}
}
