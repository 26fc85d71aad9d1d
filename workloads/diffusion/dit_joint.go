package diffusion

// jointBlocks writes the blocks of Flux and of Stable Diffusion 3, in which text and image
// have weights of their own and attend to each other.
type jointBlocks struct {
	*trunk
	channels, heads int
	hidden          int      // channels within an MLP
	headNorm        bool     // queries and keys are normalised head by head
	clip            bool     // results are clipped to what fp16 holds
	emb             TensorID // of the time step, and what comes with it
	table           TensorID // of rotary embedding; none: positions were added to the tokens
}

// double follows FluxTransformerBlock and JointTransformerBlock. The tuple of attention's
// outputs, gated outputs and arguments live until it returns. Of the last block's text
// only keys, values and queries are needed, and it is not returned.
func (b *jointBlocks) double(text, x TensorID, last bool) (text2, x2 TensorID) {
	mod, h := b.normed("norm1", x, 6)
	parts := 6
	if last {
		parts = 2
	}
	textMod, textH := b.normed("norm1_context", text, parts)
	a, textA := b.attention(h, textH, last)

	y, gatedA := b.gated("attn", x, a, mod)
	y2 := b.modulate("norm2", y, mod, 0)
	b.Hold(h)
	ff := b.mlp("ff", y2, b.hidden, b.channels, "gelu")
	y, gatedF := b.gated("ff", y, ff, mod)
	z := none
	if !last {
		z = b.context(text, textA, textH, textMod)
		b.Hold(textA)
	}
	b.Hold(text, textH, x, a, gatedA, y2, gatedF, mod, textMod)
	return z, y
}

// context adds what a block does to the text after attention.
func (b *jointBlocks) context(text, a, h, mod TensorID) TensorID {
	z, gated := b.gated("attn_context", text, a, mod)
	z2 := b.modulate("norm2_context", z, mod, 0)
	b.Hold(h)
	f := b.mlp("ff_context", z2, b.hidden, b.channels, "gelu")
	z, _ = b.gated("ff_context", z, f, mod)
	z = b.clipped(z)
	b.Hold(gated, z2, f)
	return z
}

func (b *jointBlocks) clipped(x TensorID) TensorID {
	if !b.clip {
		return x
	}
	return b.Pointwise("clip", "clamp", x)
}

// normed adds a modulated norm, with the layer that makes its modulation.
func (b *jointBlocks) normed(name string, x TensorID, parts int) (mod, y TensorID) {
	b.Scope(name, func() {
		mod = b.conditioning(b.emb, parts, b.channels)
		y = b.modulate("norm", x, mod, 0)
	})
	return mod, y
}

// attention adds attention over text and image together. Heads lie beside each other
// where they have been normalised or turned.
func (b *jointBlocks) attention(x, text TensorID, last bool) (image, context TensorID) {
	context = none
	b.Scope("attn", func() {
		q, k, v := b.projections("to_q", "to_k", "to_v", x)
		tq, tk, tv := b.projections("add_q", "add_k", "add_v", text)
		n, tokens, words := b.Shape(x).N, b.Shape(x).H, b.Shape(text).H
		join := func(name string, text, image TensorID) TensorID {
			return b.sequence(name, "cat", n, words+tokens, b.channels, text, image)
		}
		q, k, v = join("cat_q", tq, q), join("cat_k", tk, k), join("cat_v", tv, v)
		if b.table != none {
			q, k = b.rotary("rotary_q", q, b.table), b.rotary("rotary_k", k, b.table)
		}
		o := b.attend(q, k, v, b.heads, b.headNorm)
		image = b.Linear("to_out", b.rows("image", o, words, words+tokens), b.channels, true)
		if !last {
			context = b.Linear("to_add_out", b.rows("text", o, 0, words), b.channels, true)
		}
		b.Hold(q, k, v, tq, tk, tv, o)
	})
	return image, context
}

// projections adds queries, keys and values.
func (b *jointBlocks) projections(qName, kName, vName string, x TensorID) (q, k, v TensorID) {
	q = b.Linear(qName, x, b.channels, true)
	k = b.Linear(kName, x, b.channels, true)
	v = b.Linear(vName, x, b.channels, true)
	if b.headNorm {
		dim := b.channels / b.heads
		q, k = b.rmsNorm(qName+"_norm", q, dim), b.rmsNorm(kName+"_norm", k, dim)
	}
	return q, k, v
}
