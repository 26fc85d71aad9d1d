package diffusion

import "errors"

// t5 is the shape of the encoder of T5 1.1, and of umT5, each of whose layers has a table
// of relative positions of its own (T5EncoderModel and UMT5EncoderModel of transformers).
type t5 struct {
	Layers     int  `toml:"layers"`
	Width      int  `toml:"width"`
	Heads      int  `toml:"heads"`
	Dim        int  `toml:"head_dim"`
	FF         int  `toml:"ff"` // gated gelu
	Vocabulary int  `toml:"vocabulary"`
	Buckets    int  `toml:"buckets"` // of relative positions
	OwnBias    bool `toml:"bias_in_every_layer"`
}

func (e *t5) check() error {
	if min(e.Layers, e.Width, e.Heads, e.Dim, e.FF, e.Vocabulary, e.Buckets) < 1 {
		return errors.New("want all sizes above zero")
	}
	return nil
}

func (e *t5) graph(c Call) (*Graph, error) {
	if c.Text < 1 {
		return nil, errors.New("no tokens: want at least 1")
	}
	b := &t5Layer{trunk: newTrunk(c), e: e, half: c.DType == "fp16", bias: none}
	n := c.Batch * c.Passes
	ids := b.ids(n, c.Text)
	x := b.lookup("token_embedding", ids, e.Vocabulary, e.Width)
	b.mask = b.small("mask", 4, n, c.Text)
	for i := range e.Layers {
		b.Scope(nth("layer", i), func() { x = b.layer(x) })
	}
	b.Hold(b.bias, b.mask)
	return b.Done(b.rmsNorm("final_norm", x, e.Width)), nil
}

// t5Layer writes the layers of one call. Attention is written out, for T5 adds its
// positions to the scores.
type t5Layer struct {
	*trunk
	e          *t5
	half       bool // fp16 is clamped where it has overflown
	bias, mask TensorID
}

func (b *t5Layer) layer(x TensorID) TensorID {
	h := b.rmsNorm("norm1", x, b.e.Width)
	a := b.attention(h)
	b.Hold(h)
	y := b.clamped("attn", b.Pointwise("attn/residual", "add", x, a))
	h = b.rmsNorm("norm2", y, b.e.Width)
	f := b.gatedMLP(h)
	z := b.Pointwise("ff/residual", "add", y, f)
	b.Hold(x, h, y)
	return b.clamped("ff", z)
}

// clamped adds what T5 does in fp16 alone: it looks for infinities, chooses a limit and
// clamps.
func (b *t5Layer) clamped(name string, x TensorID) TensorID {
	if !b.half {
		return x
	}
	limit := b.Add(Op{Name: name + "/overflow", Kind: Elementwise, What: "isinf", Kernels: 3}, 1, 1, 1, 1, x)
	return b.Pointwise(name+"/clamp", "clamp", x, limit)
}

// attention follows T5Attention, whose softmax is in fp32.
func (b *t5Layer) attention(x TensorID) TensorID {
	var y TensorID
	b.Scope("attn", func() {
		inner := b.e.Heads * b.e.Dim
		q := b.Linear("to_q", x, inner, false)
		k := b.Linear("to_k", x, inner, false)
		v := b.Linear("to_v", x, inner, false)
		scores, shape := b.scoresOf(q, k, b.e.Heads)
		if b.bias == none || b.e.OwnBias {
			b.bias = b.positions(b.Shape(x).H)
		}
		biased := b.Pointwise("add_bias", "add", scores, b.bias)
		var p TensorID
		b.float(func() { p = b.softmax(b.cast("float", biased), shape) })
		p = b.cast("cast", p)
		o := b.valuesOf(p, v, shape)
		y = b.Linear("to_out", b.Pointwise("join", "copy", o), b.e.Width, false)
		b.Hold(q, k, v, biased, p)
	})
	return y
}

// positions adds the bias of the scores: buckets of relative positions, the lookup in the
// table, a transposition and the sum with the mask.
func (b *t5Layer) positions(tokens int) TensorID {
	return b.Add(Op{
		Name: "position_bias", Kind: Elementwise, What: "embedding", Kernels: 20,
		Params: int64(b.e.Buckets) * int64(b.e.Heads),
	}, b.e.Heads, 1, tokens, tokens, b.mask)
}

// gatedMLP follows T5DenseGatedActDense with gelu_new, which is written out in elementary
// operators: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
func (b *t5Layer) gatedMLP(x TensorID) TensorID {
	var y TensorID
	b.Scope("ff", func() {
		h := b.Linear("wi_0", x, b.e.FF, false)
		half := b.Pointwise("half", "mul", h)
		g := b.Pointwise("cube", "pow", h)
		g = b.Pointwise("cube_scale", "mul", g)
		g = b.Pointwise("cube_add", "add", h, g)
		g = b.Pointwise("tanh_scale", "mul", g)
		g = b.Pointwise("tanh", "tanh", g)
		g = b.Pointwise("one_plus", "add", g)
		g = b.Pointwise("gelu", "mul", half, g)
		b.Hold(h)
		u := b.Linear("wi_1", x, b.e.FF, false)
		m := b.Pointwise("gate", "mul", g, u)
		b.Hold(g, u)
		y = b.Linear("wo", m, b.e.Width, false)
	})
	return y
}
