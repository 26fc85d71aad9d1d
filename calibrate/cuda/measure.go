package cuda

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"orrery/calibrate"
	"orrery/calibrate/cuda/device"
)

// Options say what to measure.
type Options struct {
	Ops      []string              // names of operations, none for all
	Quick    bool                  // fewer shapes
	Progress func(done, total int) // is told after each point; may be nil
	Facts    []calibrate.Fact      // about the machine, for the file
}

// A sample is as many calls as last about sampleSeconds, and a point has rounds of
// them. The points of a batch take turns, round by round, so that what disturbs the
// machine for a while disturbs few samples of each.
const (
	sampleSeconds = 2e-3
	rounds        = 7
	batchPoints   = 32
)

// Memory for operands: a share of what is free, and as much as the largest call and its
// copies need.
const (
	memoryShare = 0.6
	mostMemory  = 24 << 30
)

// Measure measures operations on a device. If ctx ends before, it returns what was
// finished, and ctx's error with it. A result that differs from the reference ends it
// with an error and no measurements: times of a wrong result are worth nothing.
func Measure(ctx context.Context, dev device.Device, o Options) (*calibrate.Measured, error) {
	p, err := newPlanner(dev, &o)
	if err != nil {
		return nil, err
	}
	if several, ok := dev.(interface {
		Fabric() (device.Fabric, error)
	}); ok && (len(o.Ops) == 0 || slices.Contains(o.Ops, "comm")) {
		// A machine with one device, or without NCCL, has no collectives.
		if p.fabric, err = several.Fabric(); err != nil {
			o.Facts = append(o.Facts, calibrate.Fact{Key: "no comm", Value: err.Error()})
		}
	}
	groups, err := p.plan(o.Ops)
	if err != nil {
		return nil, err
	}
	m, err := measure(ctx, dev, p, groups, &o)
	if p.fabric != nil {
		err = errors.Join(err, p.fabric.Close())
	}
	return m, err
}

// measure measures the points of a plan.
func measure(ctx context.Context, dev device.Device, p *planner, groups []group, o *Options) (*calibrate.Measured, error) {
	info := p.info
	scratch := max(2*info.L2, 1<<20)
	a, err := newArena(dev, roundUp(min(int64(memoryShare*float64(info.Free)), mostMemory), alignment)-scratch)
	if err != nil {
		return nil, err
	}
	flush, err := dev.Alloc(scratch)
	if err != nil {
		return nil, errors.Join(err, a.free())
	}
	m := &campaign{dev: dev, arena: a, flush: flush, flushBytes: scratch, options: o, out: &calibrate.Measured{Rows: map[string][]calibrate.Row{}}}
	for _, g := range groups {
		m.total += len(g.points)
	}
	for _, g := range groups {
		if err = m.group(ctx, &g); err != nil {
			break
		}
	}
	err = errors.Join(err, a.free(), dev.Free(flush))
	if err != nil && ctx.Err() == nil {
		return nil, err
	}
	m.out.Facts = append(o.Facts, m.facts(ctx)...)
	m.out.Device = sheet(&info, p.gpu, m.out)
	return m.out, ctx.Err()
}

// campaign is a run of Measure.
type campaign struct {
	dev        device.Device
	arena      *arena
	flush      device.Ptr
	flushBytes int64
	options    *Options
	out        *calibrate.Measured

	done, total int
	spread      []float64 // of each point: how far its samples lie apart
	left        []string  // what was left out and why, once for each reason
}

// group measures the points of an operation, batch by batch.
func (c *campaign) group(ctx context.Context, g *group) error {
	missing := map[string]int{}
	for i := 0; i < len(g.points); {
		n, err := c.batch(ctx, g.points[i:], missing)
		if err != nil {
			return err
		}
		i += n
	}
	reasons := make([]string, 0, len(missing))
	for why := range missing {
		reasons = append(reasons, why)
	}
	slices.Sort(reasons)
	for _, why := range reasons {
		c.left = append(c.left, fmt.Sprintf("%d of %s: %s", missing[why], g.op, why))
	}
	return nil
}

// running is a point that is being measured.
type running struct {
	point   *point
	work    device.Recording
	calls   int
	samples []float64 // seconds of one call
}

// batch measures the first points and returns how many they were: as many as fit into
// memory at a time. Those that cannot be had at all are counted with the reason.
func (c *campaign) batch(ctx context.Context, points []*point, missing map[string]int) (n int, err error) {
	if err := c.arena.reset(); err != nil {
		return 0, err
	}
	var batch []*running
	defer func() {
		for _, r := range batch {
			err = errors.Join(err, r.work.Close())
		}
	}()
	for n < len(points) && len(batch) < batchPoints {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		p := points[n]
		r, err := c.begin(p)
		if errors.Is(err, errFull) && len(batch) > 0 {
			break // it fits once the batch is done
		}
		n++
		if err != nil && leftOut(err) {
			missing[err.Error()]++
			c.step()
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("%v: %w", p, err)
		}
		batch = append(batch, r)
	}
	for range rounds {
		for _, r := range batch {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			if err := c.sample(r); err != nil {
				return 0, fmt.Errorf("%v: %w", r.point, err)
			}
		}
	}
	for _, r := range batch {
		slices.Sort(r.samples)
		median := r.samples[len(r.samples)/2]
		r.point.record(c.out, median)
		c.spread = append(c.spread, (r.samples[len(r.samples)*3/4]-r.samples[len(r.samples)/4])/median)
		c.step()
	}
	return n, nil
}

func (c *campaign) step() {
	c.done++
	if c.options.Progress != nil {
		c.options.Progress(c.done, c.total)
	}
}

// begin prepares a point, checks what it computes, and records as many calls as make a
// sample.
func (c *campaign) begin(p *point) (*running, error) {
	used := c.arena.used
	r, err := c.prepare(p)
	if err != nil {
		c.arena.used = used
	}
	return r, err
}

func (c *campaign) prepare(p *point) (*running, error) {
	c.arena.slots = p.slots(c.dev.Info().L2)
	call, err := p.prepare(c.arena)
	if err != nil {
		return nil, err
	}
	if call.seconds != nil {
		return c.prepareOwn(p, call)
	}
	slots := c.arena.slots
	enqueue := func(i int) error { return call.enqueue(i % slots) }
	if err := enqueue(0); err != nil {
		return nil, err
	}
	if err := call.check(); err != nil {
		return nil, err
	}
	// A few calls say how many make a sample.
	seconds, err := c.seconds(device.Stream, 2, enqueue)
	if err != nil {
		return nil, err
	}
	r := &running{point: p, calls: callsOf(seconds)}
	r.work, err = c.dev.Record(p.mode, r.calls, enqueue)
	return r, err
}

// callsOf returns how many calls of so many seconds make a sample.
func callsOf(seconds float64) int { return min(max(1, int(sampleSeconds/seconds)), mostRuns) }

// prepareOwn prepares a point that measures itself.
func (c *campaign) prepareOwn(p *point, call *call) (*running, error) {
	if _, err := call.seconds(1); err != nil {
		return nil, err
	}
	if err := call.check(); err != nil {
		return nil, err
	}
	const few = 2
	s, err := call.seconds(few)
	if err != nil {
		return nil, err
	}
	n := callsOf(s / few)
	return &running{point: p, calls: n, work: own{call, n}}, nil
}

// seconds returns the time of one of n calls.
func (c *campaign) seconds(mode device.Mode, n int, enqueue func(int) error) (float64, error) {
	work, err := c.dev.Record(mode, n, enqueue)
	if err != nil {
		return 0, err
	}
	s, err := work.Seconds()
	return s / float64(n), errors.Join(err, work.Close())
}

// sample takes one sample with operands out of L2, or in it for a point that says so.
func (c *campaign) sample(r *running) error {
	if r.point.cached {
		if _, err := r.work.Seconds(); err != nil {
			return err
		}
	} else if err := writeVectors(c.dev, c.flush, c.flushBytes, 0); err != nil {
		return err
	}
	s, err := r.work.Seconds()
	r.samples = append(r.samples, s/float64(r.calls))
	return err
}

// facts says how the measuring went.
func (c *campaign) facts(ctx context.Context) []calibrate.Fact {
	out := []calibrate.Fact{
		{Key: "date", Value: time.Now().UTC().Format(time.RFC3339)},
		{Key: "method", Value: fmt.Sprintf("medians of %d interleaved samples of about %g ms each, CUDA graphs between events, operands rotated past L2", rounds, 1e3*sampleSeconds)},
	}
	if len(c.spread) > 0 {
		slices.Sort(c.spread)
		out = append(out, calibrate.Fact{Key: "noise", Value: fmt.Sprintf("quartiles of a point's samples lie %.1f%% apart (median of %d points), %.1f%% for one point in ten",
			100*c.spread[len(c.spread)/2], len(c.spread), 100*c.spread[len(c.spread)*9/10])})
	}
	if len(c.left) > 0 {
		out = append(out, calibrate.Fact{Key: "left out", Value: strings.Join(c.left, "; ")})
	}
	if ctx.Err() != nil {
		out = append(out, calibrate.Fact{Key: "partial", Value: fmt.Sprintf("interrupted after %d of %d points", c.done, c.total)})
	}
	return out
}
