package diffusion

import "errors"

// wan is the shape of Wan 2.1, text to video: blocks of self-attention, cross-attention to
// text and MLP, whose norms and residual sums are in fp32 (WanTransformer3DModel of
// diffusers).
type wan struct {
	Layers int `toml:"layers"`
	Width  int `toml:"width"`
	Heads  int `toml:"heads"`
	FF     int `toml:"ff"`
	Patch  int `toml:"patch"` // of height and width; one frame
	Text   int `toml:"text_width"`
	Time   int `toml:"time_frequencies"`
	In     int `toml:"in_channels"`
}

func (w *wan) check() error {
	if min(w.Layers, w.Width, w.Heads, w.FF, w.Patch, w.Text, w.Time, w.In) < 1 || w.Width%w.Heads != 0 {
		return errors.New("want all sizes above zero, and a width that is a multiple of heads")
	}
	return nil
}

func (w *wan) graph(c Call) (*Graph, error) {
	if err := c.sides(8 * w.Patch); err != nil {
		return nil, err
	}
	frames, err := c.latentFrames()
	if err != nil {
		return nil, err
	}
	t := newTrunk(c)
	n, height, width := c.Batch*c.Passes, c.Height/8, c.Width/8
	tokens := frames * (height / w.Patch) * (width / w.Patch)
	latent := t.Input("latent", n*frames, w.In, height, width)
	prompt := t.Input("text", n, w.Text, c.Text, 1)

	b := &wanBlock{trunk: t, w: w}
	t.float(func() {
		// Views of the tables of three axes, joined: cosine and sine.
		b.table = t.Add(Op{Name: "rotary_table", Kind: Elementwise, What: "cat", Kernels: 2}, 1, 2*w.Width/w.Heads, tokens, 1)
	})
	x := t.convolve("patch_embed", latent, w.Width, w.Patch, w.Patch, 0)
	x = t.view("tokens", x, n, w.Width, tokens, 1)
	emb, mod := b.conditions(n)
	b.text = t.mlp("text", prompt, w.Width, w.Width, "gelu")
	for i := range w.Layers {
		t.Scope(nth("block", i), func() { x = b.block(x, mod) })
	}
	x = b.normed("norm_out", x, b.tabled("norm_out/table", emb, 2), 0)
	x = t.Linear("proj_out", x, w.Patch*w.Patch*w.In, true)
	t.Hold(emb, mod, b.text, b.table)
	x = t.Add(Op{Name: "unpatchify", Kind: Elementwise, What: "copy"}, n*frames, w.In, height, width, x)
	return t.Done(x), nil
}

// wanBlock writes the blocks of one call.
type wanBlock struct {
	*trunk
	w           *wan
	text, table TensorID
}

// conditions adds the embedding of the time step and its projection to the modulation.
func (b *wanBlock) conditions(n int) (emb, mod TensorID) {
	b.Scope("time", func() {
		emb = b.mlp("embed", b.timestep("sinusoid", n, b.w.Time), b.w.Width, b.w.Width, "silu")
		mod = b.conditioning(emb, 6, b.w.Width)
	})
	return emb, mod
}

// tabled adds a table of parameters to a modulation.
func (b *wanBlock) tabled(name string, mod TensorID, parts int) TensorID {
	return b.Add(Op{Name: name, Kind: Elementwise, What: "add", Params: int64(parts * b.w.Width), Kernels: 2}, b.Shape(mod).N, parts*b.w.Width, 1, 1, mod)
}

// block follows WanTransformerBlock.
func (b *wanBlock) block(x, mod TensorID) TensorID {
	var table TensorID
	b.float(func() { table = b.tabled("table", mod, 6) })
	h := b.normed("norm1", x, table, 0)
	a := b.attention("attn1", h, h)
	y := b.sum("attn1", x, a, table)
	h2 := b.normed("norm2", y, none, 2*int64(b.w.Width))
	b.Hold(h)
	a2 := b.attention("attn2", h2, b.text)
	b.Hold(a)
	was := y
	y = b.Pointwise("attn2/residual", "add", y, a2)
	b.Hold(was)
	h3 := b.normed("norm3", y, table, 0)
	b.Hold(h2)
	f := b.mlp("ffn", h3, b.w.FF, b.w.Width, "gelu")
	was = y
	y = b.sum("ffn", y, f, table)
	b.Hold(x, table, a2, h3, f, was)
	return y
}

// normed adds a norm in fp32 with the modulation of table, if there is one, and the cast
// back.
func (b *wanBlock) normed(name string, x, table TensorID, params int64) TensorID {
	var y TensorID
	b.Scope(name, func() {
		var n TensorID
		b.float(func() {
			f := b.cast("float", x)
			if table == none {
				n = b.LayerNorm("norm", f, params)
			} else {
				n = b.modulate("norm", f, table, params)
			}
		})
		y = b.cast("cast", n)
	})
	return y
}

// sum adds residual + gate*x, in fp32, and the cast back.
func (b *wanBlock) sum(name string, residual, x, table TensorID) TensorID {
	var y TensorID
	b.Scope(name, func() {
		var sum TensorID
		b.float(func() {
			r := b.cast("float_residual", residual)
			gated := b.Pointwise("gate", "mul", b.cast("float", x), table)
			sum = b.Pointwise("residual", "add", r, gated)
		})
		y = b.cast("cast", sum)
	})
	return y
}

// attention follows WanAttnProcessor: queries and keys are normalised over all heads, and
// turned by their positions where x attends to itself.
func (b *wanBlock) attention(name string, x, context TensorID) TensorID {
	var y TensorID
	b.Scope(name, func() {
		q := b.Linear("to_q", x, b.w.Width, true)
		k := b.Linear("to_k", context, b.w.Width, true)
		v := b.Linear("to_v", context, b.w.Width, true)
		q, k = b.rmsNorm("norm_q", q, b.w.Width), b.rmsNorm("norm_k", k, b.w.Width)
		if x == context {
			q, k = b.turned("rotary_q", q), b.turned("rotary_k", k)
		}
		y = b.Linear("to_out", b.attend(q, k, v, b.w.Heads, false), b.w.Width, true)
		b.Hold(q, k, v)
	})
	return y
}

// turned adds Wan's rotary embedding: for the even and for the odd elements two products
// and their sum in fp32, written into their places in the result.
func (b *wanBlock) turned(name string, x TensorID) TensorID {
	s := b.Shape(x)
	half := func(part string) (out TensorID) {
		b.float(func() {
			p := b.sequence(part+"_cos", "mul", s.N, s.H, s.C/2, x, b.table)
			q := b.sequence(part+"_sin", "mul", s.N, s.H, s.C/2, x, b.table)
			out = b.Pointwise(part+"_sum", "add", p, q)
		})
		return out
	}
	var y TensorID
	b.Scope(name, func() {
		even, odd := half("even"), half("odd")
		y = b.Add(Op{Name: "write", Kind: Elementwise, What: "copy", Kernels: 2}, s.N, s.C, s.H, s.W, even, odd)
		b.Hold(x)
	})
	return y
}
