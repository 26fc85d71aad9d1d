package diffusion

import (
	"fmt"
	"slices"

	"orrery/hwmodel"
)

// Builder writes a graph operator by operator, in the order in which an eager framework
// runs them. Tensors die with their last use; [Builder.Hold] keeps one alive that a
// caller's variable still names.
type Builder struct {
	g     Graph
	width int // bytes of an element
	path  []string
	axis  Axis
	block int
	last  []int // operator that uses a tensor last, by tensor; -1 for none
}

// NewBuilder starts a graph whose tensors and weights have elements of width bytes.
func NewBuilder(name string, width int) *Builder {
	return &Builder{g: Graph{Name: name}, width: width}
}

// Scope names the operators that body writes under a prefix, as in down0/res1.
func (b *Builder) Scope(name string, body func()) {
	b.path = append(b.path, name)
	body()
	b.path = b.path[:len(b.path)-1]
}

// Along opens a new block: operators of body are independent along axis, and may be run
// slice by slice together.
func (b *Builder) Along(axis Axis, body func()) {
	was := b.axis
	b.axis = axis
	b.block++
	body()
	b.axis = was
	b.block++
}

func (b *Builder) name(op string) string {
	s := ""
	for _, p := range b.path {
		s += p + "/"
	}
	return s + op
}

// Input adds a tensor that the caller hands in.
func (b *Builder) Input(name string, n, c, h, w int) TensorID {
	id := b.tensor(name, n, c, h, w)
	b.g.Inputs = append(b.g.Inputs, id)
	return id
}

func (b *Builder) tensor(name string, n, c, h, w int) TensorID {
	b.g.Tensors = append(b.g.Tensors, Tensor{Name: name, N: n, C: c, H: h, W: w, Width: b.width})
	b.last = append(b.last, -1)
	return TensorID(len(b.g.Tensors) - 1)
}

// Shape returns a tensor's shape.
func (b *Builder) Shape(t TensorID) Tensor { return b.g.Tensors[t] }

// Hold keeps tensors alive until the operator that is written next to last has ended: call
// it where the variables that name them go out of scope.
func (b *Builder) Hold(ts ...TensorID) {
	for _, t := range ts {
		b.last[t] = max(b.last[t], len(b.g.Ops)-1)
	}
}

// Add appends op, which reads ts and writes a new tensor of the given shape; op.Name is
// completed by the scope. Moved is filled in, unless it is set, from operands and weights,
// and Kernels is 1 unless it is set; -1 stands for none.
func (b *Builder) Add(op Op, n, c, h, w int, ts ...TensorID) TensorID {
	op.Name = b.name(op.Name)
	op.Axis, op.Block = b.axis, b.block
	out := b.tensor(op.Name, n, c, h, w)
	op.Reads, op.Writes = ts, []TensorID{out}
	if op.Moved == 0 {
		op.Moved = b.g.Tensors[out].Bytes() + op.Params*int64(b.width)
		for _, t := range ts {
			op.Moved += b.g.Tensors[t].Bytes()
		}
	}
	switch op.Kernels {
	case 0:
		op.Kernels = 1
	case -1:
		op.Kernels = 0
	}
	for _, t := range ts {
		b.last[t] = len(b.g.Ops)
	}
	b.last[out] = len(b.g.Ops)
	b.g.Weights += op.Params * int64(b.width)
	b.g.Ops = append(b.g.Ops, op)
	return out
}

// Conv adds a convolution with a square kernel, padded to keep the size at stride 1.
func (b *Builder) Conv(name string, x TensorID, out, kernel, stride int) TensorID {
	t := b.Shape(x)
	s := hwmodel.ConvShape{
		N: float64(t.N), Cin: float64(t.C), H: float64(t.H), W: float64(t.W), Cout: float64(out),
		KernelH: float64(kernel), KernelW: float64(kernel), StrideH: float64(stride), StrideW: float64(stride),
		PadH: float64(kernel / 2), PadW: float64(kernel / 2), Groups: 1,
	}
	oh, ow := s.Out()
	h, w := int(oh), int(ow)
	weights := int64(out) * int64(t.C) * int64(kernel) * int64(kernel)
	return b.Add(Op{
		Name: name, Kind: Conv, Conv: s, Params: weights + int64(out),
		MACs: int64(t.N) * int64(h) * int64(w) * weights,
	}, t.N, out, h, w, x)
}

// Linear adds a product over the last axis, channels of every position.
func (b *Builder) Linear(name string, x TensorID, out int, bias bool) TensorID {
	t := b.Shape(x)
	p := Product{M: t.Elements() / int64(t.C), K: int64(t.C), N: int64(out)}
	params := p.K * p.N
	if bias {
		params += p.N
	}
	return b.Add(Op{Name: name, Kind: Linear, Linear: p, Params: params, MACs: p.M * p.K * p.N}, t.N, out, t.H, t.W, x)
}

// Pointwise adds an operator that moves data: it reads ts and writes a tensor like the first.
func (b *Builder) Pointwise(name, what string, ts ...TensorID) TensorID {
	t := b.Shape(ts[0])
	return b.Add(Op{Name: name, Kind: Elementwise, What: what}, t.N, t.C, t.H, t.W, ts...)
}

// Attention adds softmax(QK')V with heads heads over groups independent calls. The shape
// of q is that of the result; keys is the number of tokens that each query attends to.
func (b *Builder) Attention(name string, q, k, v TensorID, groups, heads, queries, keys int) TensorID {
	t := b.Shape(q)
	a := AttentionShape{int64(groups), int64(heads), int64(queries), int64(keys), int64(t.C / heads)}
	return b.Add(Op{Name: name, Kind: Attention, Attend: a, MACs: 2 * a.Scores() * a.Dim}, t.N, t.C, t.H, t.W, q, k, v)
}

// GroupNorm adds a norm over groups of the channels of each image.
func (b *Builder) GroupNorm(name string, x TensorID, groups int) TensorID {
	t := b.Shape(x)
	rows := int64(t.N) * int64(groups)
	return b.Add(Op{Name: name, Kind: GroupNorm, What: "groupnorm", Params: 2 * int64(t.C), Rows: rows, Cols: t.Elements() / rows}, t.N, t.C, t.H, t.W, x)
}

// LayerNorm adds a norm over the channels of each position. params is the number of its
// parameters: 2C with scale and shift, 0 for one without.
func (b *Builder) LayerNorm(name string, x TensorID, params int64) TensorID {
	t := b.Shape(x)
	rows := t.Elements() / int64(t.C)
	return b.Add(Op{Name: name, Kind: LayerNorm, What: "layernorm", Params: params, Rows: rows, Cols: int64(t.C)}, t.N, t.C, t.H, t.W, x)
}

// Done returns the graph, whose outputs are ts.
func (b *Builder) Done(ts ...TensorID) *Graph {
	g := &b.g
	g.Outputs = ts
	for t, op := range b.last {
		id := TensorID(t)
		if op < 0 || slices.Contains(ts, id) || slices.Contains(g.Inputs, id) {
			continue
		}
		g.Ops[op].Free = append(g.Ops[op].Free, id)
	}
	if len(b.path) > 0 {
		panic(fmt.Sprintf("diffusion: scope %v of %s is open", b.path, g.Name))
	}
	return g
}
