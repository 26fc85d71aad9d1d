package diffusion

import (
	"fmt"
	"math"

	"orrery/hwmodel"
)

// Pricer prices calls of networks on one device as one framework runs them. It is not safe for
// concurrent use.
type Pricer struct {
	profile   *hwmodel.Profile
	device    *hwmodel.Device
	framework *hwmodel.Framework
	boards    map[string]*hwmodel.FrameworkBoard // by dtype
	kernels   map[string]*kernels                // by dtype
	works     map[workKey]*Work
}

type workKey struct {
	g     *Graph
	dtype string
}

// NewPricer returns a pricer for the device of p. It fails if p lacks constants that
// networks of images need.
func NewPricer(p *hwmodel.Profile, f *hwmodel.Framework) (*Pricer, error) {
	q := &Pricer{profile: p, device: &p.Device, framework: f, boards: map[string]*hwmodel.FrameworkBoard{}, kernels: map[string]*kernels{}, works: map[workKey]*Work{}}
	_, err := q.of("fp16")
	return q, err
}

// Board returns what the framework was fitted to on the device, for runs in dtype.
func (q *Pricer) Board(dtype string) *hwmodel.FrameworkBoard {
	if b, ok := q.boards[dtype]; ok {
		return b
	}
	b := q.framework.On(q.device, dtype, func(board string) string {
		if p, err := hwmodel.Load(board); err == nil {
			return p.Device.Arch
		}
		return ""
	})
	q.boards[dtype] = &b
	return &b
}

// Cost is how long a call takes.
type Cost struct {
	Seconds float64 // from its start to the end of its last kernel
	Device  float64 // sum over its kernels
	Launch  float64 // host time of all launches
	Kernels int
	ByKind  [numKind]float64 // device seconds by [Kind]
	Band    float64          // half-width of the 90 % band of the logarithm of Seconds
	Derived bool             // no run of the framework was measured on such a device
}

// LaunchBound tells whether the device waits for the host for most of the call.
func (c *Cost) LaunchBound() bool { return c.Launch > c.Device }

// Graph returns the cost of one call of g, whose operators work on dtype.
func (q *Pricer) Graph(g *Graph, dtype string) (Cost, error) {
	w, err := q.Work(g, dtype)
	if err != nil {
		return Cost{}, err
	}
	return w.Cost(q.framework.Kernel, q.Board(dtype)), nil
}

// JobCost is how long a run takes, by stages.
type JobCost struct {
	Seconds float64 // Fixed and all stages
	Fixed   float64 // host time beside launches
	Device  float64
	Launch  float64
	Stages  []StageCost
	Band    float64
	Derived bool
}

// StageCost is the cost of one call of a stage.
type StageCost struct {
	Stage
	Cost
}

// Phase returns the seconds of the stages of a phase, all calls.
func (c *JobCost) Phase(p Phase) float64 {
	var sum float64
	for i := range c.Stages {
		if c.Stages[i].Phase == p {
			sum += c.Stages[i].Seconds * float64(c.Stages[i].Times)
		}
	}
	return sum
}

// Job returns the cost of a run.
func (q *Pricer) Job(j *Job) (*JobCost, error) {
	stages, err := j.Stages()
	if err != nil {
		return nil, err
	}
	b := q.Board(j.DType)
	out := &JobCost{Fixed: q.framework.Fixed * b.Host, Band: b.Band, Derived: b.Derived}
	out.Seconds = out.Fixed
	for _, s := range stages {
		c, err := q.Graph(s.Graph, s.DType)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", j.Pipeline.Name, s.Name, err)
		}
		n := float64(s.Times)
		out.Seconds += n * c.Seconds
		out.Device += n * c.Device
		out.Launch += n * c.Launch
		out.Stages = append(out.Stages, StageCost{s, c})
	}
	return out, nil
}

// Work is a graph priced kernel by kernel, before what a framework adds.
type Work struct {
	ops   []workOp
	count int
}

type workOp struct {
	seconds  float64 // on the device
	start    float64 // of that, its start and end, which hold a launch where kernels were timed one by one
	least    float64 // what physics asks
	kind     Kind
	pace     pace
	launches float64 // of kernels; what runs on the host counts for a part of one
}

// Work returns the kernels of g with the time that each takes alone.
func (q *Pricer) Work(g *Graph, dtype string) (*Work, error) {
	key := workKey{g, dtype}
	if w, ok := q.works[key]; ok {
		return w, nil
	}
	k, err := q.of(dtype)
	if err != nil {
		return nil, err
	}
	w := &Work{ops: make([]workOp, 0, len(g.Ops))}
	moved := g.moved(q.framework.Fused)
	for i := range g.Ops {
		op := &g.Ops[i]
		if op.Kernels == 0 {
			continue
		}
		bytes, kernels := float64(op.Moved), op.Kernels
		if moved != nil {
			if bytes = moved[i]; bytes == 0 && moves(op) {
				continue // within a neighbour's kernel
			}
			kernels = 1
		}
		if op.Kind == Elementwise && op.What == "host" {
			w.ops = append(w.ops, workOp{launches: onHost * float64(kernels)})
			continue
		}
		if op.What == overlapped {
			w.ops = append(w.ops, workOp{launches: float64(kernels)})
			continue
		}
		s := workOp{seconds: k.seconds(op, bytes), kind: op.Kind, pace: paceOf(op), launches: float64(kernels)}
		s.least = 2 * float64(op.MACs) / (winogradMost * q.device.FLOPs(k.dtype))
		s.seconds = max(s.seconds, s.least)
		s.start = min(k.start(op), s.seconds-s.least)
		w.ops = append(w.ops, s)
		w.count += kernels
	}
	q.works[key] = w
	return w, nil
}

// pace is which of a board's factors holds for a kernel.
type pace uint8

const (
	asAlone        pace = iota // none
	ofImages                   // [hwmodel.FrameworkBoard.Slower]
	fusedAttention             // [hwmodel.FrameworkBoard.Attention]
)

// paceOf returns which factor holds for the kernels of op.
func paceOf(op *Op) pace {
	switch {
	case op.Kind == Attention && op.What == "":
		return fusedAttention
	case op.Kind == Attention, op.Kind == Linear, op.What == "softmax":
		return asAlone
	}
	return ofImages
}

// onHost is the host time of a small operator on the processor itself in launches of a kernel: it is
// dispatched likewise, but nothing goes through the driver, and it is written beside others
// rather than in a module of its own. It is a judgement, not a fit.
const onHost = 0.2

// winogradMost is the most multiplications that one of a convolution's quick methods
// replaces, see [hwmodel.ConvFloor].
const winogradMost = 4

// Cost returns the time of w where the host takes kernel seconds a launch, on a board. The host
// runs ahead: a kernel starts when it has been launched and the one before it has ended.
func (w *Work) Cost(kernel float64, b *hwmodel.FrameworkBoard) Cost {
	c := Cost{Kernels: w.count, Band: b.Band, Derived: b.Derived}
	var host, device float64
	i := 0
	w.Each(kernel, b, func(launch, s, _ float64) {
		host += launch
		device = max(device, host) + s
		c.Device += s
		c.ByKind[w.ops[i].kind] += s
		i++
	})
	c.Seconds, c.Launch = max(host, device), host
	return c
}

// Each calls visit for every kernel of w in order, with the host time from the launch before
// and the time on the device, in seconds, as [Work.Cost] counts them; start is the part of the
// latter in which the kernel starts and ends. What runs on the host alone has no time on the
// device.
func (w *Work) Each(kernel float64, b *hwmodel.FrameworkBoard, visit func(launch, device, start float64)) {
	kernel *= b.Host
	// Measured constants of products and softmax hold in whole runs as they are.
	slower := [...]float64{asAlone: 1, ofImages: b.Slower, fusedAttention: b.Attention}
	for i := range w.ops {
		op := &w.ops[i]
		visit(kernel*op.launches, max(op.seconds*slower[op.pace], op.least), op.start*slower[op.pace])
	}
}

// moves tells whether an operator does nothing but move data, so that a compiler fuses it
// with its neighbours.
func moves(op *Op) bool {
	return op.Kind == Elementwise || op.Kind == GroupNorm || op.Kind == LayerNorm
}

// moved returns the bytes that each operator moves where runs of operators that only move
// data are one kernel each: what such a run reads of others and what others read of it.
// They stand at the last operator of the run. It is nil where nothing is fused.
func (g *Graph) moved(fused bool) []float64 {
	if !fused {
		return nil
	}
	lastReader := make([]int, len(g.Tensors))
	for i := range g.Ops {
		for _, t := range g.Ops[i].Reads {
			lastReader[t] = i
		}
	}
	for _, t := range g.Outputs {
		lastReader[t] = len(g.Ops)
	}
	out := make([]float64, len(g.Ops))
	for i := 0; i < len(g.Ops); {
		if !moves(&g.Ops[i]) {
			out[i] = float64(g.Ops[i].Moved)
			i++
			continue
		}
		end, reduced := i, false
		for end < len(g.Ops) && moves(&g.Ops[end]) {
			// A reduction needs the whole of its input, so that a second one ends the kernel.
			norm := g.Ops[end].Kind != Elementwise
			if norm && reduced {
				break
			}
			reduced = reduced || norm
			end++
		}
		out[end-1] = g.crossing(i, end, lastReader)
		i = end
	}
	return out
}

// crossing returns the bytes that operators i to end read of others, once each, and write for others.
func (g *Graph) crossing(i, end int, lastReader []int) float64 {
	inner, read := map[TensorID]bool{}, map[TensorID]bool{}
	var bytes int64
	for k := i; k < end; k++ {
		for _, t := range g.Ops[k].Reads {
			if !inner[t] && !read[t] {
				read[t] = true
				bytes += g.Tensors[t].Bytes()
			}
		}
		for _, t := range g.Ops[k].Writes {
			inner[t] = true
			if lastReader[t] >= end {
				bytes += g.Tensors[t].Bytes()
			}
		}
	}
	return math.Max(float64(bytes), 1)
}
