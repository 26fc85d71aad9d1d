package diffusion

// attend describes an attention layer with its projections.
type attend struct {
	groups, heads, queries, keys int
	context                      TensorID // what keys and values are made of; none: x itself
	bias                         bool     // of the projections of queries, keys and values
	scores                       bool     // materialised
	positions                    bool     // the embedding of each token's place is added first
}

// attention writes queries, keys, values, their attention and the output projection,
// over x. All of them, and x, are variables of the attention processor until it returns
// (AttnProcessor2_0 in diffusers; AttnProcessor where scores are materialised).
func (b *Builder) attention(name string, x TensorID, a attend) TensorID {
	var out TensorID
	b.Scope(name, func() {
		width := b.Shape(x).C
		q := b.Linear("to_q", x, width, a.bias)
		source := x
		if a.context != none {
			source = a.context
		}
		k := b.keysOf("to_k", source, width, a)
		v := b.keysOf("to_v", source, width, a)
		var o TensorID
		var probs []TensorID
		if a.scores {
			o, q, k, v, probs = b.scored(q, k, v, a)
		} else {
			o = b.Attention("sdpa", q, k, v, a.groups, a.heads, a.queries, a.keys)
		}
		out = b.Linear("to_out", o, width, true)
		b.Hold(append(probs, q, k, v, x)...)
	})
	return out
}

// keysOf writes the projection of keys or values, of all tokens that queries attend to.
func (b *Builder) keysOf(name string, source TensorID, width int, a attend) TensorID {
	if a.context == none {
		return b.Linear(name, source, width, a.bias)
	}
	c := int64(b.Shape(source).C)
	p := Product{M: int64(a.groups) * int64(a.keys), K: c, N: int64(width)}
	op := Op{Name: name, Kind: Linear, Linear: p, Params: p.K * p.N, MACs: p.M * p.K * p.N}
	elements := p.M*p.K + p.K*p.N + p.M*p.N
	if a.bias {
		op.Params += p.N
		elements += p.N
	}
	op.Moved = elements * int64(b.width)
	return b.Add(op, a.groups, width, a.keys, 1, source)
}

// scored writes attention as it was before fused kernels: heads are brought beside
// each other by copies, then a batched product, a softmax and a batched product. The scores
// are freed when the softmax has ended; the probabilities are a variable until the
// processor returns, as are the copies.
func (b *Builder) scored(q, k, v TensorID, a attend) (out, qs, ks, vs TensorID, probs []TensorID) {
	t := b.Shape(q)
	if a.heads > 1 {
		// The names that held the projections are bound to the copies, one after the other.
		q = b.Pointwise("split_q", "copy", q)
		k = b.Pointwise("split_k", "copy", k)
		v = b.Pointwise("split_v", "copy", v)
	}
	dim := t.C / a.heads
	shape := AttentionShape{int64(a.groups), int64(a.heads), int64(a.queries), int64(a.keys), int64(dim)}
	rows, macs := shape.Groups*shape.Heads*shape.Queries, shape.Scores()*shape.Dim
	scores := b.Add(Op{
		Name: "scores", Kind: Attention, What: "scores", Attend: shape, MACs: macs,
		Linear: Product{M: rows, K: shape.Dim, N: shape.Keys},
	}, a.groups*a.heads, 1, a.queries, a.keys, q, k)
	p := b.Add(Op{
		Name: "softmax", Kind: Elementwise, What: "softmax", Rows: rows, Cols: shape.Keys,
	}, a.groups*a.heads, 1, a.queries, a.keys, scores)
	out = b.Add(Op{
		Name: "values", Kind: Attention, What: "values", Attend: shape, MACs: macs,
		Linear: Product{M: rows, K: shape.Keys, N: shape.Dim},
	}, t.N, t.C, t.H, t.W, p, v)
	if a.heads > 1 {
		out = b.Pointwise("join", "copy", out)
	}
	return out, q, k, v, []TensorID{p}
}
