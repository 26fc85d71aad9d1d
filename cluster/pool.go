package cluster

import (
	"errors"
	"fmt"
	"time"

	"orrery/policies/denoise"
	"orrery/sim"
	"orrery/workloads"
)

// A pool is a set of like devices behind one queue that make images or clips step by
// step. This file has what describes it and how requests come to it; a device's
// life is in device.go.

// Program is what one class of request is on one kind of device: how long its parts
// take and what they need, by the number of images in a batch. Its figures must not
// change during a run.
type Program interface {
	Steps() int                  // denoising steps of an image, at least 1
	Encode(n int) time.Duration  // the text of n images
	Step(k, n int) time.Duration // step k, from 0, of a batch of n
	Decode(n int) time.Duration  // n latents to images
	Memory(n int) int64          // bytes: Memory(0) are the weights, the rest the peak of n images
	Group() int                  // programs of one group can share a batch of a step
}

// Class is a kind of request that pools serve: [workloads.Request.Class] is one more
// than its index in [Config.Classes].
type Class struct {
	Name string
	// Deadline is when an image should be done, counted from its arrival; 0 for
	// whenever.
	Deadline time.Duration
}

// PoolConfig describes one pool. In the log its devices follow the replicas and the
// devices of pools before it.
type PoolConfig struct {
	Name    string
	Devices int
	Policy  denoise.Policy
	Memory  int64 // bytes of one device that weights and images may use
	// Programs has by class the alternatives that the pool offers, the best quality
	// first; none for a class that it does not serve. All stay loaded.
	Programs [][]Program
	// Price is what a device costs by the hour, in any currency, for [Cheapest].
	Price float64
	// Adapters has by class and alternative the number of the low-rank adapter that it runs
	// with, above 0, and 0 for what runs with any; nil where no adapters are swapped. Images of
	// unlike adapters share no batch, and Swap is how long a device takes to go from one to another.
	Adapters [][]int32
	Swap     time.Duration
}

// Spread says which of several pools that serve a class gets a request.
type Spread uint8

const (
	// LeastLoaded takes the pool with the fewest requests by device, waiting and
	// running, the first among equals.
	LeastLoaded Spread = iota
	// Cheapest takes the pool where an image alone costs least, by price and time, as
	// long as fewer than a batch for every device are there; then the least loaded.
	Cheapest
)

// weights returns the bytes that the models of all programs take.
func (cfg *PoolConfig) weights() int64 {
	sum := int64(0)
	for _, rungs := range cfg.Programs {
		for _, p := range rungs {
			sum += p.Memory(0)
		}
	}
	return sum
}

// Room returns the bytes of a device that are left for images when all models are
// loaded.
func (cfg *PoolConfig) Room() int64 { return cfg.Memory - cfg.weights() }

func (cfg *PoolConfig) check(classes int) error {
	switch {
	case cfg.Devices < 1:
		return fmt.Errorf("%d devices, must have at least 1", cfg.Devices)
	case cfg.Policy == nil:
		return errors.New("needs a policy")
	case cfg.Policy.MaxBatch() < 1:
		return fmt.Errorf("batches of %d, must be at least 1", cfg.Policy.MaxBatch())
	case len(cfg.Programs) > classes:
		return fmt.Errorf("programs for %d classes, but the run has %d", len(cfg.Programs), classes)
	}
	served := 0
	for class, rungs := range cfg.Programs {
		for rung, p := range rungs {
			if p == nil || p.Steps() < 1 {
				return fmt.Errorf("class %d, alternative %d: needs a program of at least one step", class, rung)
			}
			served++
		}
	}
	if served == 0 {
		return errors.New("serves no class")
	}
	if cfg.Room() < 0 {
		return fmt.Errorf("models of %d bytes do not fit on a device of %d bytes", cfg.weights(), cfg.Memory)
	}
	return nil
}

// pool is one pool during a run.
type pool struct {
	c         *Cluster
	index     uint32
	cfg       *PoolConfig
	escalator denoise.Escalator // nil if the policy is none
	limit     int               // images of a batch
	room      int64             // bytes of a device
	devices   []device
	queue     []denoise.Job // waiting, oldest first
	served    []Served      // the same requests
	plan      poolPlan
	estimates map[someImages]time.Duration
	held      int      // requests waiting and running
	waking    bool     // a wake-up at this instant is scheduled
	timer     sim.Time // when the policy is to be woken
}

func (c *Cluster) initPools() error {
	c.pools = make([]pool, len(c.cfg.Pools))
	next := int32(len(c.cfg.Replicas))
	for i := range c.cfg.Pools {
		cfg := &c.cfg.Pools[i]
		if err := cfg.check(len(c.cfg.Classes)); err != nil {
			return fmt.Errorf("pool %d (%s): %w", i, cfg.Name, err)
		}
		p := &c.pools[i]
		*p = pool{c: c, index: uint32(i), cfg: cfg, limit: cfg.Policy.MaxBatch(), room: cfg.Room(), timer: sim.Forever, estimates: map[someImages]time.Duration{}}
		p.escalator, _ = cfg.Policy.(denoise.Escalator)
		p.devices = make([]device, cfg.Devices)
		for d := range p.devices {
			p.devices[d] = device{pool: p, index: next, ledger: sim.NewLedger(p.room)}
			c.devices = append(c.devices, &p.devices[d])
			next++
		}
	}
	return nil
}

// programs returns the alternatives of a class on the pool.
func (p *pool) adapter(class, rung int32) int32 {
	if p.cfg.Adapters == nil {
		return 0
	}
	return p.cfg.Adapters[class][rung]
}

func (p *pool) programs(class int32) []Program {
	if int(class) >= len(p.cfg.Programs) {
		return nil
	}
	return p.cfg.Programs[class]
}

// place gives a request to a pool, or refuses it.
func (c *Cluster) place(now sim.Time, s *Served) {
	if reason := c.refuse(&s.Request); reason != "" {
		c.reject(now, s, reason)
		return
	}
	p := c.spread(s.Class - 1)
	if p == nil {
		c.reject(now, s, "no pool serves its class, or no device has the memory for one image")
		return
	}
	class := s.Class - 1
	j := denoise.Job{
		ID: s.ID, Arrived: s.Arrived, Deadline: sim.Forever, Class: class, Rung: denoise.NoRung,
		Group: int32(p.programs(class)[0].Group()),
	}
	if d := c.cfg.Classes[class].Deadline; d > 0 {
		j.Deadline = s.Arrived.Add(d)
	}
	p.held++
	p.enqueue(now, j, s)
}

func (c *Cluster) refuse(r *workloads.Request) string {
	switch {
	case int(r.Class) > len(c.cfg.Classes):
		return "its class is not among those of the run"
	case r.Prompt < 1 || r.Output < 1:
		return "needs a prompt and at least one step"
	}
	return ""
}

func (c *Cluster) reject(now sim.Time, s *Served, reason string) {
	c.out.Rejected++
	c.record(Record{What: Rejected, At: now, Replica: none, Request: s, Reason: reason})
	c.ended(&s.Request, now)
}

// spread picks the pool for a request of a class, nil if none can serve it.
func (c *Cluster) spread(class int32) *pool {
	var best, cheap *pool
	least, lowest := 0.0, 0.0
	for i := range c.pools {
		p := &c.pools[i]
		if !p.serves(class) {
			continue
		}
		load := float64(p.held) / float64(len(p.devices))
		if best == nil || load < least {
			best, least = p, load
		}
		cost := p.cfg.Price * p.estimate(class, 0, 1).Seconds()
		if load < float64(p.limit) && (cheap == nil || cost < lowest) {
			cheap, lowest = p, cost
		}
	}
	if c.cfg.Spread == Cheapest && cheap != nil {
		return cheap
	}
	return best
}

// serves tells whether each alternative of a class fits on an empty device: a policy
// may choose any.
func (p *pool) serves(class int32) bool {
	rungs := p.programs(class)
	for _, program := range rungs {
		if program.Memory(1)-program.Memory(0) > p.room {
			return false
		}
	}
	return len(rungs) > 0
}

// someImages is so many images by one alternative of a class.
type someImages struct {
	class, rung int32
	n           int
}

// estimate returns how long a batch of n takes alone. It is asked often, of the same few
// batches, and remembers.
func (p *pool) estimate(class, rung int32, n int) time.Duration {
	key := someImages{class, rung, n}
	if d, ok := p.estimates[key]; ok {
		return d
	}
	program := p.programs(class)[rung]
	d := program.Encode(n) + program.Decode(n)
	for k := range program.Steps() {
		d += program.Step(k, n)
	}
	p.estimates[key] = d
	return d
}

// enqueue puts a job at the end of the queue. Devices that step with places free are
// asked again after the step under way.
func (p *pool) enqueue(now sim.Time, j denoise.Job, s *Served) {
	p.queue = append(p.queue, j)
	p.served = append(p.served, *s)
	for i := range p.devices {
		if d := &p.devices[i]; d.busy && !d.whole && len(d.jobs) < p.limit {
			d.cut(now)
		}
	}
	p.wake(now)
}

// wake has devices that are free decide once all that happens at this instant is
// known.
func (p *pool) wake(now sim.Time) {
	if !p.waking {
		p.waking = true
		p.c.engine.At(now, p.c.rouse, p.index)
	}
}

// onRouse lets the policy of a pool gather, and decide for each device that is free.
func (c *Cluster) onRouse(now sim.Time, i uint32) {
	c.halt()
	p := &c.pools[i]
	p.waking = false
	if now == p.timer {
		p.timer = sim.Forever
	}
	if at := p.cfg.Policy.Gather(now, p.queue); at < p.timer {
		p.timer = max(at, now)
		c.engine.At(p.timer, c.rouse, i)
	}
	// Empty devices come first: they make an image sooner than those that share. What
	// one does not want no other empty one does.
	for d := range p.devices {
		if len(p.queue) == 0 {
			break
		}
		if d := &p.devices[d]; !d.busy && len(d.jobs) == 0 && !d.next(now) {
			break
		}
	}
	for d := range p.devices {
		if d := &p.devices[d]; !d.busy && len(d.jobs) > 0 {
			d.next(now)
		}
	}
}

// remove takes the jobs that a plan has started out of the queue. Mostly they are its
// head.
func (p *pool) remove(started []bool) {
	k := 0
	for k < len(started) && started[k] {
		k++
	}
	at := k
	for i := k; i < len(p.queue) && k < len(started); i++ {
		if i < len(started) && started[i] {
			continue
		}
		p.queue[at], p.served[at] = p.queue[i], p.served[i]
		at++
	}
	if k < len(started) {
		p.queue, p.served = p.queue[:at], p.served[:at]
	}
	p.queue, p.served = p.queue[k:], p.served[k:]
}

// close records what the end of the run leaves unfinished, and tells whether jobs
// wait although every device is idle.
func (p *pool) close(now sim.Time) (stalled bool) {
	idle := true
	for i := range p.devices {
		d := &p.devices[i]
		idle = idle && !d.busy
		d.settle(now)
		if len(d.jobs) == 0 && d.ledger.Used() > 0 {
			panic(fmt.Sprintf("cluster: device %d holds %d bytes for no image at the end", d.index, d.ledger.Used()))
		}
		for j := range d.served {
			p.c.out.Unfinished++
			p.c.record(Record{What: Unfinished, At: now, Replica: d.index, Request: &d.served[j]})
		}
	}
	for i := range p.served {
		p.c.out.Unfinished++
		p.c.record(Record{What: Unfinished, At: now, Replica: p.served[i].Replica, Request: &p.served[i]})
	}
	return idle && len(p.queue) > 0
}
