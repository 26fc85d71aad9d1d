package diffusion

// swin writes the Swin transformer of a level: a 1x1 convolution into its width, blocks of
// which every second one shifts its windows, and a 1x1 convolution back (BasicLayer in
// models/swin_transformer.py of zsyOAOA/ResShift). Windows are not shifted where a level
// of the training size is no larger than one.
func (b *swinBuilder) swin(name string, x TensorID, level int) TensorID {
	in, c := x, b.Shape(x).C
	b.Scope(name, func() {
		x = b.Conv("patch_embed", x, b.u.Width, 1, 1)
		for i := range b.u.Depth {
			shifted := i%2 == 1 && b.u.Trained>>level > b.u.Window
			b.Scope(nth("block", i), func() { x = b.swinBlock(x, shifted) })
		}
		x = b.Conv("patch_unembed", x, c, 1, 1)
	})
	b.Hold(in)
	return x
}

// swinBlock follows SwinTransformerBlock. What it names lives until it returns.
func (b *swinBuilder) swinBlock(x TensorID, shifted bool) TensorID {
	s := b.Shape(x)
	n := b.norm("norm1", x)
	held := []TensorID{x}
	if shifted {
		n = b.roll("roll", n)
		held = append(held, n)
	}
	windows := b.windowed("partition", n)
	mask := b.hostMask(windows)
	a := b.windowAttention(windows, mask)
	r := b.Add(Op{Name: "reverse", Kind: Elementwise, What: "copy"}, s.N, s.C, s.H, s.W, a)
	held = append(held, windows, a, r)
	if shifted {
		r = b.roll("roll_back", r)
	}
	y := b.Pointwise("attn/residual", "add", x, r)
	h := b.norm("norm2", y)
	h = b.Conv("fc1", h, b.u.MLP*b.u.Width, 1, 1)
	h = b.Pointwise("gelu", "gelu", h)
	h = b.Conv("fc2", h, b.u.Width, 1, 1)
	z := b.Pointwise("mlp/residual", "add", y, h)
	b.Hold(append(held, y)...)
	return z
}

// roll adds a cyclic shift, which torch.roll does axis by axis.
func (b *swinBuilder) roll(name string, x TensorID) TensorID {
	first := b.Pointwise(name+"_rows", "copy", x)
	y := b.Pointwise(name+"_columns", "copy", first)
	b.Hold(x)
	return y
}

// windowed copies an image into windows of tokens.
func (b *swinBuilder) windowed(name string, x TensorID) TensorID {
	s, side := b.Shape(x), b.u.Window
	return b.Add(Op{Name: name, Kind: Elementwise, What: "copy"}, s.N*(s.H/side)*(s.W/side), s.C, side*side, 1, x)
}

// hostMaskOps is how many operators the mask of the windows takes: zeros, nine regions
// that are filled, two copies into windows, a difference, two comparisons and fills, and
// the copy to the device.
const hostMaskOps = 1 + 9 + 2 + 1 + 4 + 1

// hostMask adds the mask of the attention of each window. ResShift keeps one in each
// block, but compares a list with a tuple of the sizes, which are never equal, and so
// makes it anew on the host in each call of each block, shifted or not. The operators run
// on the host; they take its time as launches do, and are counted as such. All that the
// device sees is the copy, for which it waits.
func (b *swinBuilder) hostMask(windows TensorID) TensorID {
	s := b.Shape(windows)
	images := b.Shape(b.emb).N
	return b.Add(Op{Name: "mask", Kind: Elementwise, What: "host", Kernels: hostMaskOps}, s.N/images, 1, s.H, s.H)
}

// windowAttention follows WindowAttention, which is written out in elementary operators:
// a table of relative positions is added to the scores, and the mask.
func (b *swinBuilder) windowAttention(x, mask TensorID) TensorID {
	var y TensorID
	b.Scope("attn", func() {
		s := b.Shape(x)
		packed := b.Pointwise("split", "copy", b.Linear("qkv", x, 3*s.C, true))
		part := func(name string) TensorID { return b.view(name, packed, s.N, s.C, s.H, 1) }
		q := b.Pointwise("scale_q", "mul", part("q"))
		k := b.Pointwise("transpose_k", "copy", part("k"))
		v := part("v")
		scores, shape := b.scoresOf(q, k, b.u.Heads)
		positions := b.relativePositions(s.H)
		biased := b.Pointwise("add_positions", "add", scores, positions)
		masked := b.Pointwise("add_mask", "add", biased, mask)
		p := b.softmax(masked, shape)
		b.Hold(biased, masked)
		o := b.Pointwise("join", "copy", b.valuesOf(p, v, shape))
		b.Hold(q, packed, positions, p)
		y = b.Linear("proj", o, s.C, true)
		b.Hold(mask)
	})
	return y
}

// relativePositions adds the bias of each pair of a window's tokens, looked up in a table
// of (2 window - 1)^2 offsets, head by head.
func (b *swinBuilder) relativePositions(tokens int) TensorID {
	offsets := int64(2*b.u.Window-1) * int64(2*b.u.Window-1)
	pairs := b.Add(Op{Name: "positions", Kind: Elementwise, What: "embedding", Params: offsets * int64(b.u.Heads)}, b.u.Heads, 1, tokens, tokens)
	return b.Pointwise("positions_copy", "copy", pairs)
}
