package diffusion

import "orrery/hwmodel"

// trunk writes what transformers have in common. Lifetimes follow what a call of eager
// PyTorch keeps: a function's variables live until it returns, a value without a name
// dies with the operator that reads it.
type trunk struct {
	*Builder
	scores bool // attention writes its scores to memory
}

func newTrunk(c Call) *trunk {
	width, _ := elementWidth(c.DType) // Network.Graph has refused other formats
	return &trunk{NewBuilder("", width), c.Scores}
}

// sequence adds an operator that writes c channels for each of count tokens of n sequences.
func (t *trunk) sequence(name, what string, n, count, c int, ts ...TensorID) TensorID {
	return t.Add(Op{Name: name, Kind: Elementwise, What: what}, n, c, count, 1, ts...)
}

// float writes body with elements of 4 bytes, as where values are kept in fp32 for a
// while whatever the network's own format is.
func (t *trunk) float(body func()) {
	was := t.width
	t.width = 4
	body()
	t.width = was
}

// cast copies x to fp32, or to the network's own format. Where x is in that format
// already nothing is launched, and x is returned.
func (t *trunk) cast(name string, x TensorID) TensorID {
	if t.Shape(x).Width == t.width {
		return x
	}
	return t.Pointwise(name, "cast", x)
}

// slice is the part of a sequence from which an operator reads, without a copy.
func (t *trunk) slice(name string, x TensorID, from, to int) TensorID {
	s := t.Shape(x)
	return t.view(name, x, s.N, s.C, to-from, s.W)
}

// rows is slice for an operator that reads its operand in one piece: the parts of several
// sequences do not lie beside each other, and are copied.
func (t *trunk) rows(name string, x TensorID, from, to int) TensorID {
	y := t.slice(name, x, from, to)
	if t.Shape(x).N == 1 {
		return y
	}
	return t.Pointwise(name+"_copy", "copy", y)
}

// view gives a tensor, or a part of it, another shape; nothing is launched or moved.
func (t *trunk) view(name string, x TensorID, n, c, h, w int) TensorID {
	out := t.Add(Op{Name: name, Kind: Elementwise, What: "view", Kernels: -1}, n, c, h, w, x)
	t.g.Ops[len(t.g.Ops)-1].Moved = 0
	return out
}

// small adds operators on a few numbers per sequence, such as embeddings of a time step:
// they launch kernels, but move next to nothing.
func (t *trunk) small(name string, kernels, n, c int, ts ...TensorID) TensorID {
	return t.Add(Op{Name: name, Kind: Elementwise, What: "small", Kernels: kernels}, n, c, 1, 1, ts...)
}

// timestep adds the sinusoidal embedding of a time step: arange, exp, product, sine,
// cosine, concatenation, flip and cast, as get_timestep_embedding of diffusers.
func (t *trunk) timestep(name string, n, c int) TensorID {
	return t.small(name, 8, n, c)
}

// convolve adds a convolution of kernel x kernel with the padding and stride given.
func (t *trunk) convolve(name string, x TensorID, out, kernel, stride, pad int) TensorID {
	s := t.Shape(x)
	shape := hwmodel.ConvShape{
		N: float64(s.N), Cin: float64(s.C), H: float64(s.H), W: float64(s.W), Cout: float64(out),
		KernelH: float64(kernel), KernelW: float64(kernel), StrideH: float64(stride), StrideW: float64(stride),
		PadH: float64(pad), PadW: float64(pad), Groups: 1,
	}
	oh, ow := shape.Out()
	weights := int64(out) * int64(s.C) * int64(kernel) * int64(kernel)
	return t.Add(Op{
		Name: name, Kind: Conv, Conv: shape, Params: weights + int64(out),
		MACs: int64(s.N) * int64(oh) * int64(ow) * weights,
	}, s.N, out, int(oh), int(ow), x)
}

// patches adds a convolution whose stride is its kernel, which makes a token of each patch.
func (t *trunk) patches(name string, x TensorID, patch, width int, bias bool) TensorID {
	s := t.Shape(x)
	y := t.convolve(name, x, width, patch, patch, 0)
	if !bias {
		op := &t.g.Ops[len(t.g.Ops)-1]
		op.Params -= int64(width)
		op.Moved -= int64(width) * int64(t.width)
		t.g.Weights -= int64(width) * int64(t.width)
	}
	return t.view("tokens", y, s.N, width, (s.H/patch)*(s.W/patch), 1)
}

// mlp adds a linear layer, an activation, and a linear layer.
func (t *trunk) mlp(name string, x TensorID, hidden, out int, act string) TensorID {
	var y TensorID
	t.Scope(name, func() {
		h := t.Linear("fc1", x, hidden, true)
		a := t.Pointwise(act, act, h)
		y = t.Linear("fc2", a, out, true)
	})
	return y
}

// conditioning adds a linear layer on the activated embedding, whose parts modulate a block.
func (t *trunk) conditioning(emb TensorID, parts, width int) TensorID {
	a := t.Pointwise("mod_silu", "silu", emb)
	return t.Linear("mod", a, parts*width, true)
}

// modulate adds norm(x)*(1+scale)+shift, of which scale and shift are parts of mod;
// params is the number of the norm's parameters.
func (t *trunk) modulate(name string, x, mod TensorID, params int64) TensorID {
	var y TensorID
	t.Scope(name, func() {
		s := t.Shape(x)
		n := t.LayerNorm("norm", x, params)
		scale := t.small("one_plus_scale", 1, s.N, s.C, mod)
		m := t.Pointwise("scale", "mul", n, scale)
		y = t.Pointwise("shift", "add", m, mod)
	})
	return y
}

// gated adds residual + gate*x, of which gate is a part of mod, and returns the sum and
// the gated x, which callers that give it a name keep alive.
func (t *trunk) gated(name string, residual, x, mod TensorID) (sum, gated TensorID) {
	t.Scope(name, func() {
		gated = t.Pointwise("gate", "mul", x, mod)
		sum = t.Pointwise("residual", "add", residual, gated)
	})
	return sum, gated
}

// rmsNorm adds the norm that is written out in elementary operators: cast to fp32,
// square, mean, epsilon and inverse root, product, cast back, product with the weight
// (diffusers' and T5's RMSNorm; PyTorch's own before it was fused in 2.8). dim elements
// are normalised together: a head's or all of a token's.
func (t *trunk) rmsNorm(name string, x TensorID, dim int) TensorID {
	var y TensorID
	t.Scope(name, func() {
		s := t.Shape(x)
		var wide TensorID
		t.float(func() {
			f := t.cast("float", x)
			square := t.Pointwise("square", "mul", f)
			// mean, epsilon, inverse root
			root := t.Add(Op{Name: "root", Kind: Elementwise, What: "mean", Kernels: 3}, s.N, s.C/dim, s.H, s.W, square)
			wide = t.Pointwise("normalise", "mul", x, root)
		})
		n := t.cast("cast", wide)
		y = t.Add(Op{Name: "weight", Kind: Elementwise, What: "mul", Params: int64(dim)}, s.N, s.C, s.H, s.W, n)
		t.Hold(x)
	})
	return y
}

// rotary adds rotary position embedding as diffusers' apply_rotary_emb does it: the
// rotated half is negated and stacked, and both products are taken in fp32.
func (t *trunk) rotary(name string, x, table TensorID) TensorID {
	var y TensorID
	t.Scope(name, func() {
		s := t.Shape(x)
		negated := t.sequence("negate", "neg", s.N, s.H, s.C/2, x)
		rotated := t.sequence("stack", "cat", s.N, s.H, s.C, x, negated)
		var sum TensorID
		t.float(func() {
			a := t.Pointwise("cos", "mul", t.cast("float", x), table)
			b := t.Pointwise("sin", "mul", t.cast("float_rotated", rotated), table)
			sum = t.Pointwise("sum", "add", a, b)
		})
		y = t.cast("cast", sum)
		t.Hold(x, rotated)
	})
	return y
}

// attend adds softmax(QK')V over the sequences of q, k and v; where scores are
// materialised, as its three operators. byHead says that q, k and v lie head by head: the
// result then does so too, and is copied to lie token by token.
func (t *trunk) attend(q, k, v TensorID, heads int, byHead bool) TensorID {
	s, keys := t.Shape(q), t.Shape(k).H
	var o TensorID
	if t.scores {
		o = t.written(q, k, v, heads)
	} else {
		o = t.Attention("sdpa", q, k, v, s.N, heads, s.H, keys)
	}
	if byHead {
		o = t.Pointwise("join", "copy", o)
	}
	return o
}

// written adds attention as a batched product, a softmax and a batched product.
func (t *trunk) written(q, k, v TensorID, heads int) TensorID {
	scores, shape := t.scoresOf(q, k, heads)
	return t.valuesOf(t.softmax(scores, shape), v, shape)
}

// scoresOf adds QK' for heads heads: n*heads matrices of queries x keys.
func (t *trunk) scoresOf(q, k TensorID, heads int) (TensorID, AttentionShape) {
	s, keys := t.Shape(q), t.Shape(k).H
	a := AttentionShape{int64(s.N), int64(heads), int64(s.H), int64(keys), int64(s.C / heads)}
	return t.Add(Op{
		Name: "scores", Kind: Attention, What: "scores", Attend: a, MACs: a.Scores() * a.Dim,
		Linear: Product{M: a.Groups * a.Heads * a.Queries, K: a.Dim, N: a.Keys},
	}, s.N*heads, 1, s.H, keys, q, k), a
}

func (t *trunk) softmax(scores TensorID, a AttentionShape) TensorID {
	s := t.Shape(scores)
	return t.Add(Op{
		Name: "softmax", Kind: Elementwise, What: "softmax", Rows: a.Groups * a.Heads * a.Queries, Cols: a.Keys,
	}, s.N, s.C, s.H, s.W, scores)
}

// valuesOf adds the product of attention's weights with the values.
func (t *trunk) valuesOf(weights, v TensorID, a AttentionShape) TensorID {
	return t.Add(Op{
		Name: "values", Kind: Attention, What: "values", Attend: a, MACs: a.Scores() * a.Dim,
		Linear: Product{M: a.Groups * a.Heads * a.Queries, K: a.Keys, N: a.Dim},
	}, int(a.Groups), int(a.Heads*a.Dim), int(a.Queries), 1, weights, v)
}
