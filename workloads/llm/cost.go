package llm

import (
	"fmt"
	"math"
	"strings"
	"time"

	"orrery/hwmodel"
)

// memoised is the number of tokens up to which the costs that depend on the number
// of tokens alone are kept in a slice; beyond it they are kept in a map.
const memoised = 16 << 10

// Cost prices the iterations of one replica operator by operator. It is an
// [hwmodel.CostModel].
//
// A stage takes as long as its operators on the device and, where the engine launches
// them one by one, not less than the host needs for that. Operators are those of a tensor-
// parallel transformer: embedding on the first stage; in each layer norms,
// projections, rotary embedding, attention, MLP or experts, and two all-reduces
// (one if attention and MLP run in parallel); LM head on the last stage, for the
// sequences that sample. Prompt chunks and decodes share all of it but attention,
// which runs once for each kind where the engine does not put both into one call.
type Cost struct {
	model   *Model
	par     Parallel
	profile *hwmodel.Profile
	engine  *hwmodel.Engine
	group   hwmodel.Link // within a stage
	between hwmodel.Link // from stage to stage
	ranks   int          // that experts are divided among

	heads     hwmodel.Heads
	window    int64              // tokens a decode looks back at most
	product   hwmodel.GEMMKernel // by the model's weights
	logits    hwmodel.GEMMKernel // of the LM head, whose weights have 16 bits
	experts   hwmodel.MoEKernel
	attention attention
	reduce    hwmodel.Collective
	send      hwmodel.Collective
	move      movers
	host      hwmodel.Host

	layers []float64 // of each stage
	launch []float64 // host seconds to launch each stage eagerly
	hybrid []float64 // the same, with chunks and decodes in one batch
	gaps   []float64 // device seconds between the operators of each stage
	eager  bool      // launches count in iterations of decodes
	mixed  bool      // launches count in iterations with prompt tokens
	pad    int
	swap   float64 // seconds a byte of the model's KV that is swapped
	doubts []string
	*memos
}

// memos are the costs that do not depend on the engine's host.
type memos struct {
	perTok  memo // seconds of a layer by padded tokens, attention and experts apart
	routed  memo // seconds of a layer of experts by tokens
	embed   memo // seconds of the embedding by tokens
	head    memo // seconds of the LM head by sequences that sample
	sending memo // seconds to hand over by tokens
}

// Option changes how a replica is wired, see [NewCost].
type Option func(*Cost)

// GroupLink says how the devices of a tensor-parallel group are joined, where it
// is not the device's own way.
func GroupLink(l hwmodel.Link) Option { return func(c *Cost) { c.group = l } }

// StageLink says how one pipeline stage reaches the next, where it is not what the
// device's nodes give: a replica of more devices than a node has crosses the network.
func StageLink(l hwmodel.Link) Option { return func(c *Cost) { c.between = l } }

// ExpertRanks divides the experts among so many devices of a tensor-parallel group, each
// of which has whole ones, rather than a slice of each on every device. It must divide the
// group; the devices of a rank share its experts in slices.
func ExpertRanks(n int) Option { return func(c *Cost) { c.ranks = n } }

// NewCost returns the cost model of m, spread as par says over devices of profile
// p and served by engine e. It refuses shapes that cannot be split so and links
// that the profile does not know.
func NewCost(m *Model, par Parallel, p *hwmodel.Profile, e *hwmodel.Engine, options ...Option) (*Cost, error) {
	if err := m.CanSplit(par); err != nil {
		return nil, err
	}
	c := &Cost{model: m, par: par, profile: p, engine: e, group: p.Device.Group, between: stageLink(&p.Device, par.Devices()), memos: new(memos)}
	for _, o := range options {
		o(c)
	}
	if c.ranks = max(1, c.ranks); par.Tensor%c.ranks != 0 || m.Experts > 0 && m.Experts%c.ranks != 0 {
		return nil, fmt.Errorf("experts on %d ranks; want a divisor of the tensor-parallel degree %d and of the %d experts", c.ranks, par.Tensor, m.Experts)
	}
	kvBytes := m.KVBytes
	if kvBytes == 0 {
		kvBytes = 2
	}
	c.heads = hwmodel.Heads{Query: m.Heads / par.Tensor, KV: m.KVHeadsPerDevice(par.Tensor), Dim: m.HeadDim, KVBytes: kvBytes}
	c.window = math.MaxInt64
	if m.SlidingWindow > 0 {
		c.window = int64(m.SlidingWindow)
	}
	a, err := newAttention(p, e, c.heads)
	if err != nil {
		return nil, err
	}
	c.attention = a
	d := &p.Device
	if c.product, err = p.Products(e.GEMM, weightFormat(d, m.WeightBytes)); err != nil {
		return nil, err
	}
	if m.Experts > 0 {
		if c.experts, err = p.ExpertLayers(e.GEMM, expertFormat(d, m)); err != nil {
			return nil, err
		}
	}
	if c.logits, err = p.Products(e.GEMM, "bf16"); err != nil {
		return nil, err
	}
	if c.move, err = moversOf(m, p); err != nil {
		return nil, err
	}
	var measured bool
	if c.reduce, measured, err = p.AllReduce(c.group, e.AllReduce, par.Tensor); err != nil {
		return nil, err
	}
	if par.Pipeline > 1 {
		if c.send, err = p.SendOver(c.between); err != nil {
			return nil, err
		}
	}
	c.swap = 1 / (p.Copy.Rate * float64(par.Devices()))
	c.pad = max(1, e.PadTokens)
	c.serve(e)
	c.doubt(measured)
	return c, nil
}

// serve notes what the host of engine e does.
func (c *Cost) serve(e *hwmodel.Engine) {
	c.engine = e
	c.host = e.HostFor(c.profile.Device.Name, c.par.Tensor)
	c.eager, c.mixed = e.Launch.Graphs == "none", e.Launch.Graphs != "all"
	c.stages()
}

// Hosted returns the cost of the same kernels launched and fed by the host of engine e,
// whose own kernels do not count. It shares what it remembers with c.
func (c *Cost) Hosted(e *hwmodel.Engine) *Cost {
	h := *c
	h.layers, h.launch, h.hybrid, h.gaps = nil, nil, nil, nil
	h.serve(e)
	return &h
}

// weightFormat names the precision in which weights of so many bytes are multiplied on
// d: bytes are fp8 where there are units for it, and unpacked to 16 bits elsewhere.
func weightFormat(d *hwmodel.Device, bytes int) string {
	switch {
	case bytes > 2:
		return "fp32"
	case bytes != 1:
		return "bf16"
	case d.FP8FLOPs > 0:
		return "fp8"
	}
	return "w8a16"
}

// expertFormat names the precision of experts. Models of experts that come in 8 bits
// (DeepSeek's, Qwen3's) have a scale for each block of 128 by 128 weights.
// Experts of fewer than eight bits are unpacked to 16 bits on the way.
func expertFormat(d *hwmodel.Device, m *Model) string {
	if m.ExpertBits > 0 && m.ExpertBits < 8 {
		return "w4a16"
	}
	if f := weightFormat(d, m.WeightBytes); f != "fp8" {
		return f
	}
	return "fp8_block"
}

// stageLink returns how one stage reaches the next by default: through the switch or
// over the bridge if the whole replica sits on one, over PCIe within a node, over the
// network beyond.
func stageLink(d *hwmodel.Device, devices int) hwmodel.Link {
	switch {
	case devices > d.Node:
		return hwmodel.InterNode
	case d.Group == hwmodel.NVLinkPair && devices > 2:
		return hwmodel.PCIe
	}
	return d.Group
}

// stages notes the layers of each stage and adds up their launches.
func (c *Cost) stages() {
	n := c.par.Pipeline
	for s := range n {
		layers := c.model.StageLayers(n, s)
		operators, collectives := launches(c.model, c.par)
		l, slower := &c.engine.Launch, c.engine.Slower(c.profile.Device.Name)
		once := float64(layers) * slower * (float64(operators)*l.Operator + float64(collectives)*l.Collective)
		c.layers = append(c.layers, float64(layers))
		c.launch = append(c.launch, once)
		c.hybrid = append(c.hybrid, once+float64(layers)*slower*l.Operator)
		c.gaps = append(c.gaps, float64(layers)*float64(operators+collectives)*l.Gap)
	}
}

// launches counts the kernels and the collectives of a layer.
func launches(m *Model, par Parallel) (operators, collectives int) {
	// QKV, rotary, KV copy, attention, output, up, activation, down; norms and two
	// additions.
	operators, collectives = 8+norms(m)+2, 2
	if m.ParallelBlock {
		operators, collectives = operators-1, 1
	}
	if m.Experts > 0 {
		operators += 3 // router, sort, sum over experts
	}
	if m.QKNorm {
		operators += 2
	}
	if par.Tensor == 1 {
		collectives = 0
	}
	return operators, collectives
}

// norms returns the number of norms of a layer.
func norms(m *Model) int {
	switch {
	case m.NormsPerLayer > 0:
		return m.NormsPerLayer
	case m.ParallelBlock:
		return 1
	}
	return 2
}

// doubt notes what the price rests on that was not measured.
func (c *Cost) doubt(reduceMeasured bool) {
	var derived []string
	note := func(what string, f *hwmodel.Fit) {
		if f.Derived {
			derived = append(derived, what)
		}
	}
	if _, exact := c.product.Fit(); !exact {
		derived = append(derived, "matrix product")
	}
	derived = append(derived, c.attention.derived...)
	note("norm", &c.move.norm.Fit)
	if c.model.Experts > 0 {
		if _, exact := c.experts.Constants(); !exact {
			derived = append(derived, "layer of experts")
		}
	}
	if c.par.Tensor > 1 {
		note("all-reduce", &c.reduce.Fit)
		if !reduceMeasured && !c.reduce.Derived {
			c.doubts = append(c.doubts, fmt.Sprintf("all-reduce over %d devices by %s is stretched from %d devices", c.par.Tensor, c.group, c.reduce.Devices))
		}
	}
	if c.par.Pipeline > 1 {
		note("send", &c.send.Fit)
	}
	note("host time", &c.host.Fit)
	if len(derived) > 0 {
		c.doubts = append(c.doubts, fmt.Sprintf("derived on %s, not measured: %s (its profile says from what)", c.profile.Device.Name, strings.Join(derived, ", ")))
	}
}

// Doubts says, a sentence each, which operators have a price that was derived rather
// than measured on this device.
func (c *Cost) Doubts() []string { return c.doubts }

// Stages returns the number of pipeline stages.
func (c *Cost) Stages() int { return c.par.Pipeline }

// Stage returns how long stage s computes b.
func (c *Cost) Stage(s int, b *hwmodel.Batch) time.Duration {
	tokens := b.Tokens()
	if tokens == 0 && b.SwapBytes == 0 {
		return 0
	}
	t := c.padded(tokens)
	layer, ok := c.perTok.get(t)
	if !ok {
		layer = c.perTok.put(t, c.tokenTime(t))
	}
	if c.model.Experts > 0 {
		experts, ok := c.routed.get(tokens)
		if !ok {
			experts = c.routed.put(tokens, c.routedTime(tokens))
		}
		layer += experts
	}
	total := float64(c.layers[s]*(layer+c.attend(b))) + c.gaps[s]
	if s == 0 {
		total += c.embedding(t)
	}
	if s == len(c.layers)-1 {
		total += c.lmHead(b.Logits)
	}
	if b.Chunks > 0 {
		if c.mixed {
			floor := c.launch[s]
			if b.Decodes > 0 {
				floor = c.hybrid[s]
			}
			total = hwmodel.Overlap(total, floor, c.engine.Launch.Norm)
		}
	} else if c.eager {
		total = hwmodel.Overlap(total, c.launch[s], c.engine.Launch.Norm)
	}
	if b.SwapBytes > 0 {
		total += c.profile.Copy.Latency + float64(c.swap*float64(b.SwapBytes))
	}
	return nanoseconds(total)
}

// windowOr returns how far back a decode of b looks at most. Only the sum of the
// contexts is known, so that a window caps their mean.
func (c *Cost) windowOr(b *hwmodel.Batch) int64 {
	if c.window == math.MaxInt64 {
		return b.DecodeContext
	}
	return c.window
}

// attend returns the seconds of the attention of b in a layer, in the mean over layers.
func (c *Cost) attend(b *hwmodel.Batch) float64 {
	near := c.attention.time(b, min(b.DecodeContext, int64(b.Decodes)*c.windowOr(b)))
	if c.model.WindowLayers == 0 {
		return near
	}
	// Chunks look back no farther than decodes in the layers that have a window.
	w := *b
	w.ChunkContext, w.ChunkContext64 = min(b.ChunkContext, int64(b.Chunks)*c.window), min(b.ChunkContext64, int64(b.Chunks)*c.window)
	w.ChunkPairs = min(b.ChunkPairs, int64(b.ChunkTokens)*c.window)
	w.ChunkSquares = min(b.ChunkSquares, int64(b.ChunkTokens)*c.window)
	near = c.attention.time(&w, min(b.DecodeContext, int64(b.Decodes)*c.window))
	share := float64(c.model.WindowLayers) / float64(c.model.Layers)
	return float64(share*near) + float64((1-share)*c.attention.time(b, b.DecodeContext))
}

// Send returns how long it takes to hand b's activations to the next stage.
func (c *Cost) Send(b *hwmodel.Batch) time.Duration {
	if c.par.Pipeline == 1 {
		return 0
	}
	t := c.padded(b.Tokens())
	v, ok := c.sending.get(t)
	if !ok {
		v = c.sending.put(t, c.send.Time(float64(2*t*c.model.Hidden)))
	}
	return nanoseconds(v)
}

// Host returns how long the host is busy with the iteration.
func (c *Cost) Host(b *hwmodel.Batch) (time.Duration, bool) {
	t := c.host.Fixed + float64(c.host.PerSequence*float64(b.Decodes+b.Chunks))
	if b.Chunks > 0 {
		t += c.host.Prompt
	}
	return nanoseconds(t), c.engine.Overlap
}

// padded rounds tokens up to the engine's multiple.
func (c *Cost) padded(tokens int) int { return (tokens + c.pad - 1) / c.pad * c.pad }

// nanoseconds rounds seconds to the clock's unit, once.
func nanoseconds(s float64) time.Duration { return time.Duration(float64(s*1e9) + 0.5) }
