package diffusion

import "errors"

// flux is the shape of Flux.1: blocks in which text and image have weights of their own
// and attend to each other, then blocks over the joined sequence in which attention and
// MLP run side by side (FluxTransformer2DModel of diffusers). Guidance is an embedding, so
// there is one pass a step.
type flux struct {
	Double int  `toml:"double_blocks"`
	Single int  `toml:"single_blocks"`
	Width  int  `toml:"width"`
	Heads  int  `toml:"heads"`
	MLP    int  `toml:"mlp_ratio"`
	Text   int  `toml:"text_width"`
	Pooled int  `toml:"pooled_width"`
	In     int  `toml:"in_channels"` // 2x2 positions of the latent
	Axes   int  `toml:"rotary_axes"`
	Guided bool `toml:"guidance_embedding"`
}

func (f *flux) check() error {
	if min(f.Double, f.Single, f.Width, f.Heads, f.MLP, f.Text, f.Pooled, f.In, f.Axes) < 1 || f.Width%f.Heads != 0 {
		return errors.New("want all sizes above zero, and a width that is a multiple of heads")
	}
	return nil
}

func (f *flux) graph(c Call) (*Graph, error) {
	if err := c.image(16); err != nil {
		return nil, err
	}
	t := newTrunk(c)
	n, tokens := c.Batch*c.Passes, (c.Height/16)*(c.Width/16)
	latent := t.Input("latent", n, f.In, tokens, 1)
	prompt := t.Input("text", n, f.Text, c.Text, 1)
	pooled := t.Input("pooled_text", n, f.Pooled, 1, 1)

	b := &jointBlocks{trunk: t, channels: f.Width, heads: f.Heads, hidden: f.MLP * f.Width, headNorm: true, clip: c.DType == "fp16"}
	x := t.Linear("x_embedder", latent, f.Width, true)
	b.emb = f.embedding(t, n, pooled)
	text := t.Linear("context_embedder", prompt, f.Width, true)
	b.table = f.positions(t, c.Text+tokens)
	for i := range f.Double {
		t.Scope(nth("double", i), func() { text, x = b.double(text, x, false) })
	}
	x = t.sequence("join", "cat", n, c.Text+tokens, f.Width, text, x)
	for i := range f.Single {
		t.Scope(nth("single", i), func() { x = b.single(x) })
	}
	x = t.rows("image", x, c.Text, c.Text+tokens)
	t.Scope("norm_out", func() { x = t.modulate("norm", x, t.conditioning(b.emb, 2, f.Width), 0) })
	x = t.Linear("proj_out", x, f.In, true)
	t.Hold(text, b.emb, b.table)
	return t.Done(x), nil
}

// embedding adds up the embeddings of time step, guidance and pooled text.
func (f *flux) embedding(t *trunk, n int, pooled TensorID) TensorID {
	emb := t.mlp("time", t.timestep("time_sinusoid", n, 256), f.Width, f.Width, "silu")
	if f.Guided {
		g := t.mlp("guidance", t.timestep("guidance_sinusoid", n, 256), f.Width, f.Width, "silu")
		emb = t.Pointwise("add_guidance", "add", emb, g)
	}
	p := t.mlp("pooled", pooled, f.Width, f.Width, "silu")
	return t.Pointwise("add_pooled", "add", emb, p)
}

// positions adds the tables of rotary embedding: for each axis frequencies, angles, sine
// and cosine, each repeated and cast, and for all axes two concatenations. They are
// computed anew in each call.
func (f *flux) positions(t *trunk, tokens int) TensorID {
	var table TensorID
	t.float(func() {
		table = t.Add(Op{Name: "rotary_table", Kind: Elementwise, What: "small", Kernels: 9*f.Axes + 2}, 1, 2*f.Width/f.Heads, tokens, 1)
	})
	return table
}

// single follows FluxSingleTransformerBlock.
func (b *jointBlocks) single(x TensorID) TensorID {
	s := b.Shape(x)
	mod := b.conditioning(b.emb, 3, b.channels)
	h := b.modulate("norm", x, mod, 0)
	m := b.Pointwise("gelu", "gelu", b.Linear("proj_mlp", h, b.hidden, true))
	var a TensorID
	b.Scope("attn", func() {
		q, k, v := b.projections("to_q", "to_k", "to_v", h)
		q, k = b.rotary("rotary_q", q, b.table), b.rotary("rotary_k", k, b.table)
		a = b.attend(q, k, v, b.heads, true)
		b.Hold(q, k, v)
	})
	y := b.sequence("cat", "cat", s.N, s.H, b.channels+b.hidden, a, m)
	y = b.Linear("proj_out", y, b.channels, true)
	y, _ = b.gated("out", x, y, mod)
	y = b.clipped(y)
	b.Hold(x, mod, h, m, a)
	return y
}
