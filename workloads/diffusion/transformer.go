package diffusion

// transformer describes the blocks of attention that follow a residual block.
type transformer struct {
	depth   int      // blocks in a row
	heads   int      // of every attention
	context TensorID // text states or image embeddings
	tokens  int      // of the context
	scores  bool     // attention scores are materialised
}

// spatialTransformer writes attention over the positions of each image, and from them to
// the context: norm, projection, blocks, projection and the sum with the input, which is a
// variable throughout (Transformer2DModel in diffusers).
func (b *Builder) spatialTransformer(name string, x TensorID, s transformer) TensorID {
	y := x
	b.Scope(name, func() {
		y = b.GroupNorm("norm", x, normGroups)
		y = b.Linear("proj_in", y, b.Shape(x).C, true)
		for i := range s.depth {
			y = b.spatialBlock(nth("block", i), y, s)
		}
		y = b.Linear("proj_out", y, b.Shape(x).C, true)
		y = b.Pointwise("residual", "add", y, x)
	})
	return y
}

// spatialBlock writes self-attention within an image, attention to the context, and the
// gated feed-forward. The caller's frame holds x until it returns.
func (b *Builder) spatialBlock(name string, x TensorID, s transformer) TensorID {
	t := b.Shape(x)
	self := attend{groups: t.N, heads: s.heads, queries: t.H * t.W, keys: t.H * t.W, context: none, scores: s.scores}
	cross := self
	cross.context, cross.keys = s.context, s.tokens
	var y TensorID
	b.Scope(name, func() { y = b.attentionBlock(x, self, cross) })
	b.Hold(x)
	return y
}

// attentionBlock writes two attentions and a feed-forward, each behind a norm and beside
// the identity. What a norm or an attention returned stays alive until the next of its
// kind returns and takes its name (BasicTransformerBlock in diffusers). Whether x does
// until the end, as an argument, is for the caller to say.
func (b *Builder) attentionBlock(x TensorID, first, second attend) TensorID {
	n1 := b.positioned("pos_embed1", b.layerNorm("norm1", x), first)
	a1 := b.attention("attn1", n1, first)
	x1 := b.Pointwise("add1", "add", a1, x)
	n2 := b.layerNorm("norm2", x1)
	b.Hold(n1)
	n2 = b.positioned("pos_embed2", n2, second)
	a2 := b.attention("attn2", n2, second)
	b.Hold(a1)
	x2 := b.Pointwise("add2", "add", a2, x1)
	n3 := b.layerNorm("norm3", x2)
	b.Hold(n2)
	f := b.feedForward("ff", n3)
	y := b.Pointwise("add3", "add", f, x2)
	b.Hold(a2, n3)
	return y
}

// positioned adds the embedding of places to what an attention takes, where it wants them.
// The embedding is a constant of the network, and small.
func (b *Builder) positioned(name string, x TensorID, a attend) TensorID {
	if !a.positions {
		return x
	}
	return b.Pointwise(name, "add", x)
}

// layerNorm adds a layer norm with scale and shift.
func (b *Builder) layerNorm(name string, x TensorID) TensorID {
	return b.LayerNorm(name, x, 2*int64(b.Shape(x).C))
}

// feedForward writes the gated feed-forward of four times the width (GEGLU): a projection
// to 8c, of which one half goes through GELU and scales the other. The halves are views,
// so that all of it lives until their product does; x does until the end, as an argument.
func (b *Builder) feedForward(name string, x TensorID) TensorID {
	t := b.Shape(x)
	inner := 4 * t.C
	half := t.Elements() * 4 * int64(t.Width)
	var y TensorID
	b.Scope(name, func() {
		both := b.Linear("proj_in", x, 2*inner, true)
		gate := b.Add(Op{Name: "gelu", Kind: Elementwise, What: "gelu", Moved: 2 * half}, t.N, inner, t.H, t.W, both)
		y = b.Add(Op{Name: "mul", Kind: Elementwise, What: "mul", Moved: 3 * half}, t.N, inner, t.H, t.W, both, gate)
		y = b.Linear("proj_out", y, t.C, true)
		b.Hold(x)
	})
	return y
}
