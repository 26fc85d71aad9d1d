package diffusion

import (
	"fmt"
	"slices"
	"strings"
)

// Streamlined are the methods of Streamlined Inference (Zhan and others, NeurIPS 2024) that save
// memory without changing what is computed: the feature slicer, operator grouping and the
// slice pipeline. They transform the graphs of denoiser and decoder. Step Rehash, which saves
// time, is [Rehash].
type Streamlined struct {
	// Spatial is how many slices of images or frames blocks over single images run in,
	// and Temporal how many of positions, along the width, blocks over frames; 0 and 1
	// leave them whole.
	Spatial, Temporal int
	// Grouping runs each slice through all operators of a block before the next slice
	// begins. Without it every operator is sliced alone and its whole output put
	// together again.
	Grouping bool
	// Pipeline has two slices under way, an operator of each in turn, and joins their
	// results on a stream of its own while the next two compute, instead of at the end of
	// the block.
	Pipeline bool
}

// String returns the method as [ParseMethod] reads it.
func (s Streamlined) String() string {
	var on []string
	on = append(on, fmt.Sprintf("slicer:%d,%d", s.Spatial, s.Temporal))
	if s.Grouping {
		on[0] = strings.Replace(on[0], "slicer", "grouping", 1)
	}
	if s.Pipeline {
		on[0] = strings.Replace(on[0], "grouping", "streamlined", 1)
	}
	return on[0]
}

// Rewrite implements [Rewrite].
func (s Streamlined) Rewrite(j *Job, stages []Stage) ([]Stage, error) {
	frames := j.Batch * max(j.Frames, 1) * j.Passes
	switch {
	case s.Spatial < 1 || s.Temporal < 1:
		return nil, fmt.Errorf("%s: %d and %d slices: want at least 1 of each", s, s.Spatial, s.Temporal)
	case s.Spatial > frames:
		return nil, fmt.Errorf("%s: %d slices of %d images in a call: want at most %d", s, s.Spatial, frames, frames)
	case s.Temporal > j.Width/latentScale:
		return nil, fmt.Errorf("%s: %d slices of a latent %d wide: want at most %d", s, s.Temporal, j.Width/latentScale, j.Width/latentScale)
	case s.Pipeline && !s.Grouping:
		return nil, fmt.Errorf("%s: the slice pipeline runs on groups of operators; want grouping too", s)
	}
	made := map[*Graph]*Graph{}
	out := make([]Stage, len(stages))
	for i, stage := range stages {
		out[i] = stage
		// A decoder of single images is cut by [Job.DecodeAtOnce].
		if stage.Phase == Encode || stage.Phase == Decode && !temporal(stage.Graph) {
			continue
		}
		g := made[stage.Graph]
		if g == nil {
			g = s.Slice(stage.Graph)
			made[stage.Graph] = g
		}
		out[i].Graph = g
	}
	return out, nil
}

// Slice returns g with its blocks sliced. What they compute stays the same: the same
// multiply-adds, parameters, inputs and outputs.
func (s Streamlined) Slice(g *Graph) *Graph {
	g = g.tight()
	w := &slicer{method: s, from: g, to: &Graph{Name: g.Name, Inputs: g.Inputs, Outputs: g.Outputs, Weights: g.Weights}}
	w.to.Tensors = append(w.to.Tensors, g.Tensors...)
	w.findLast()
	for first := 0; first < len(g.Ops); {
		end := first + 1
		for end < len(g.Ops) && g.Ops[end].Block == g.Ops[first].Block && s.Grouping {
			end++
		}
		w.block(first, end)
		first = end
	}
	return w.to
}

// overlapped is what an operator does that runs beside others on a stream of its own.
const overlapped = "overlapped"

// tight returns g with tensors dying at their last use. Python's frames hold arguments longer,
// but the method rewrites the code of blocks, whose live set is then their input, their
// output and a slice's intermediates, as the paper counts it.
func (g *Graph) tight() *Graph {
	out := *g
	out.Ops = slices.Clone(g.Ops)
	last := make([]int, len(g.Tensors))
	for i := range last {
		last[i] = -1
	}
	for i := range out.Ops {
		out.Ops[i].Free = nil
		for _, t := range out.Ops[i].Reads {
			last[t] = i
		}
		for _, t := range out.Ops[i].Writes {
			last[t] = i
		}
	}
	for _, t := range append(slices.Clone(g.Inputs), g.Outputs...) {
		last[t] = -1
	}
	for t, i := range last {
		if i >= 0 {
			out.Ops[i].Free = append(out.Ops[i].Free, TensorID(t))
		}
	}
	return &out
}

// slicer writes a graph whose blocks run slice by slice.
type slicer struct {
	method   Streamlined
	from, to *Graph
	last     []int // the last operator that reads a tensor; the number of operators for outputs
}

func (w *slicer) findLast() {
	w.last = make([]int, len(w.from.Tensors))
	for i := range w.from.Ops {
		for _, t := range w.from.Ops[i].Reads {
			w.last[t] = i
		}
	}
	for _, t := range w.from.Outputs {
		w.last[t] = len(w.from.Ops)
	}
}

// cut says how a block is cut: into so many parts along one axis.
type cut struct {
	axis  Axis
	whole int   // images, or positions along the width
	parts []int // of which sizes
	// area is the positions of a frame in temporal blocks, width those of a row.
	area, width int
}

// cutOf returns how the operators first to end are cut, and false if they stay whole.
func (w *slicer) cutOf(first, end int) (cut, bool) {
	ops := w.from.Ops[first:end]
	c := cut{axis: ops[0].Axis}
	count := w.method.Spatial
	if c.axis == Temporal {
		count = w.method.Temporal
	}
	if c.axis == Whole || count < 2 {
		return c, false
	}
	// The largest tensor that the block is handed shows what there is to cut.
	var x *Tensor
	for i := range ops {
		for _, t := range ops[i].Reads {
			if q := &w.from.Tensors[t]; x == nil || q.Elements() > x.Elements() || q.W > x.W {
				x = q
			}
		}
	}
	if x == nil {
		return c, false
	}
	c.whole, c.area, c.width = x.N, x.H*x.W, x.W
	if c.axis == Temporal {
		if c.whole = x.W; x.W == 1 {
			c.whole = x.N // positions by frames, as a lone operator on them sees it
			c.area, c.width = x.N, x.N
		}
	}
	size := (c.whole + count - 1) / count
	for left := c.whole; left > 0; left -= size {
		c.parts = append(c.parts, min(size, left))
	}
	return c, len(c.parts) > 1
}

// cuts tells whether a tensor of the block falls into parts.
func (c *cut) cuts(t *Tensor) bool {
	if c.axis == Spatial {
		return t.N >= c.whole && t.N%c.whole == 0 // scores have a matrix for each head of an image
	}
	rows := t.N * t.H * t.W
	return rows%c.area == 0 && rows > 0
}

// part returns the piece of t in a slice of n of the whole.
func (c *cut) part(t Tensor, n int) Tensor {
	switch {
	case c.axis == Spatial:
		t.N = t.N / c.whole * n
	case t.W == c.width && t.W > 1:
		t.W = n
	default:
		t.N = t.N / c.whole * n
	}
	return t
}

// block writes the operators first to end, slice by slice.
func (w *slicer) block(first, end int) {
	c, ok := w.cutOf(first, end)
	if !ok {
		w.to.Ops = append(w.to.Ops, w.from.Ops[first:end]...)
		return
	}
	b := &slicedBlock{slicer: w, cut: c, first: first, end: end, inner: map[TensorID]bool{}, pieces: map[TensorID][]TensorID{}, whole: map[TensorID]bool{}}
	b.plan()
	together := 1
	if w.method.Pipeline {
		together = 2
	}
	for i := 0; i < len(c.parts); i += together {
		b.slices(i, min(i+together, len(c.parts)))
	}
	b.close()
}

// slicedBlock is a block while its slices are written.
type slicedBlock struct {
	*slicer
	cut
	first, end int
	inner      map[TensorID]bool       // written within the block
	whole      map[TensorID]bool       // of those, the ones that do not fall into parts
	results    []TensorID              // of those, the ones that are read later
	pieces     map[TensorID][]TensorID // of results that fall into parts, by slice
	joined     int                     // slices whose results are in their places
	late       []TensorID              // pieces that are being copied while the next slices compute
	freed      []TensorID              // from outside, by the end of the block
}

// plan sorts the block's tensors.
func (b *slicedBlock) plan() {
	for i := b.first; i < b.end; i++ {
		op := &b.from.Ops[i]
		for _, t := range op.Writes {
			b.inner[t] = true
			// What is made of nothing that is cut is the same in every slice.
			if !b.cuts(&b.from.Tensors[t]) {
				b.whole[t] = true
			} else if b.last[t] >= b.end {
				b.results = append(b.results, t)
			}
		}
		for _, t := range op.Free {
			if !b.inner[t] || b.whole[t] {
				b.freed = append(b.freed, t)
			}
		}
	}
}

// slices writes the operators of some slices, one of each in turn.
func (b *slicedBlock) slices(from, to int) {
	now := make([]map[TensorID]TensorID, to-from) // the pieces of each slice
	for i := range now {
		now[i] = map[TensorID]TensorID{}
	}
	for i := b.first; i < b.end; i++ {
		op := b.from.Ops[i]
		if b.isWhole(&op) {
			if from == 0 {
				op.Free = nil
				b.to.Ops = append(b.to.Ops, op)
			}
			continue
		}
		for k := range now {
			b.to.Ops = append(b.to.Ops, b.piece(op, from+k, now[k]))
		}
		b.release(&b.late)
	}
	for _, t := range b.results {
		for k := range now {
			b.pieces[t] = append(b.pieces[t], now[k][t])
		}
		if b.method.Pipeline {
			b.join(t, from, to)
		}
	}
}

// piece returns an operator of a slice, whose tensors are in now.
func (b *slicedBlock) piece(op Op, number int, now map[TensorID]TensorID) Op {
	n := b.parts[number]
	reads, writes, free := op.Reads, op.Writes, op.Free
	op.scale(float64(n)/float64(b.cut.whole), b.axis, number == 0, int64(b.from.Tensors[writes[0]].Width))
	op.Reads, op.Writes, op.Free = nil, nil, nil
	for _, t := range reads {
		if p, ok := now[t]; ok {
			t = p
		}
		op.Reads = append(op.Reads, t)
	}
	for _, t := range writes {
		now[t] = b.tensor(b.part(b.from.Tensors[t], n))
		op.Writes = append(op.Writes, now[t])
	}
	for _, t := range free {
		if b.inner[t] && !b.whole[t] && b.last[t] < b.end {
			op.Free = append(op.Free, now[t])
		}
	}
	return op
}

// isWhole tells whether an operator's results do not fall into parts.
func (b *slicedBlock) isWhole(op *Op) bool {
	for _, t := range op.Writes {
		if !b.whole[t] {
			return false
		}
	}
	return true
}

func (b *slicedBlock) tensor(t Tensor) TensorID {
	b.to.Tensors = append(b.to.Tensors, t)
	return TensorID(len(b.to.Tensors) - 1)
}

// join copies the pieces of a result from some slices to their places, while the next slices
// compute: memory that another stream reads is free only when that has read it, here when the
// next slices are through their first operator.
func (b *slicedBlock) join(t TensorID, from, to int) {
	if from == 0 {
		op := b.copying("allocate", overlapped)
		op.Writes, op.Kernels = []TensorID{t}, 0
		b.to.Ops = append(b.to.Ops, op)
	}
	if to == len(b.parts) {
		return // nothing is left to hide these behind
	}
	b.to.Ops = append(b.to.Ops, b.copying("join", overlapped, b.pieces[t][from:to]...))
	b.late = append(b.late, b.pieces[t][from:to]...)
	b.joined = to
}

// copying returns an operator at the end of the block that copies pieces.
func (b *slicedBlock) copying(name, what string, pieces ...TensorID) Op {
	op := Op{Name: b.from.Ops[b.end-1].Name + "/" + name, Kind: Elementwise, What: what, Axis: b.axis, Block: b.from.Ops[b.first].Block, Kernels: 1, Reads: pieces}
	for _, p := range pieces {
		op.Moved += 2 * b.to.Tensors[p].Bytes()
	}
	return op
}

// release lets go of tensors when the operator written last has ended.
func (b *slicedBlock) release(ts *[]TensorID) {
	op := &b.to.Ops[len(b.to.Ops)-1]
	op.Free = append(op.Free[:len(op.Free):len(op.Free)], *ts...)
	*ts = nil
}

// close puts results together and lets go of what the block was handed.
func (b *slicedBlock) close() {
	for _, t := range b.results {
		pieces := b.pieces[t][b.joined:]
		op := b.copying("cat", "cat", pieces...)
		if b.method.Pipeline {
			op = b.copying("join", "copy", pieces...)
		} else {
			op.Writes = []TensorID{t}
		}
		op.Free = pieces
		b.to.Ops = append(b.to.Ops, op)
	}
	b.release(&b.freed)
}

// scale makes op that of a slice of a share of its images or positions. Parameters count
// once, in the first slice, but every slice reads them.
func (op *Op) scale(share float64, axis Axis, first bool, width int64) {
	round := func(v int64) int64 { return int64(float64(v)*share + 0.5) }
	weights := op.Params * width
	op.MACs = round(op.MACs)
	op.Moved = weights + round(max(op.Moved-weights, 0))
	op.Rows = max(round(op.Rows), min(op.Rows, 1))
	op.Linear.M = round(op.Linear.M)
	op.Attend.Groups = round(op.Attend.Groups)
	if axis == Spatial {
		op.Conv.N *= share
	} else {
		op.Conv.W *= share
	}
	if !first {
		op.Params = 0
	}
}
