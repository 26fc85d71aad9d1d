package diffusion

import "errors"

// pixart is the shape of PixArt-alpha: a transformer over patches of the latent with
// cross-attention to text. One linear layer modulates all blocks; each adds a table of
// its own (PixArtTransformer2DModel of diffusers).
type pixart struct {
	Layers int `toml:"layers"`
	Width  int `toml:"width"`
	Heads  int `toml:"heads"`
	MLP    int `toml:"mlp_ratio"`
	Patch  int `toml:"patch"`
	Text   int `toml:"text_width"`
	In     int `toml:"in_channels"`
	Out    int `toml:"out_channels"` // with the variance, which samplers drop
}

func (p *pixart) check() error {
	if min(p.Layers, p.Width, p.Heads, p.MLP, p.Patch, p.Text, p.In, p.Out) < 1 || p.Width%p.Heads != 0 {
		return errors.New("want all sizes above zero, and a width that is a multiple of heads")
	}
	return nil
}

func (p *pixart) graph(c Call) (*Graph, error) {
	if err := c.image(8 * p.Patch); err != nil {
		return nil, err
	}
	t := newTrunk(c)
	n, h, w := c.Batch*c.Passes, c.Height/8, c.Width/8
	latent := t.Input("latent", n, p.In, h, w)
	text := t.Input("text", n, p.Text, c.Text, 1)

	mask := t.small("text_mask", 3, n, c.Text) // to a bias of the scores
	x := t.patches("patch_embed", latent, p.Patch, p.Width, true)
	x = t.Pointwise("pos_embed", "add", x)
	emb, mod := p.conditions(t, n)
	text = t.mlp("caption", text, p.Width, p.Width, "gelu")
	for i := range p.Layers {
		t.Scope(nth("block", i), func() { x = p.block(t, x, text, mask, mod) })
	}
	table := t.Add(Op{Name: "table", Kind: Elementwise, What: "add", Params: int64(2 * p.Width)}, n, 2*p.Width, 1, 1, emb)
	x = t.modulate("norm_out", x, table, 0)
	x = t.Linear("proj_out", x, p.Patch*p.Patch*p.Out, true)
	t.Hold(text, mask, mod, emb)
	x = t.Add(Op{Name: "unpatchify", Kind: Elementwise, What: "copy"}, n, p.Out, h, w, x)
	return t.Done(x), nil
}

// conditions adds the embedding of the time step, and what it modulates every block with.
func (p *pixart) conditions(t *trunk, n int) (emb, mod TensorID) {
	t.Scope("adaln", func() {
		emb = t.mlp("time", t.timestep("sinusoid", n, 256), p.Width, p.Width, "silu")
		mod = t.conditioning(emb, 6, p.Width)
	})
	return emb, mod
}

// block follows BasicTransformerBlock with norm_type "ada_norm_single".
func (p *pixart) block(t *trunk, x, text, mask, mod TensorID) TensorID {
	s := t.Shape(x)
	table := t.Add(Op{Name: "table", Kind: Elementwise, What: "add", Params: int64(6 * p.Width)}, s.N, 6*p.Width, 1, 1, mod)
	h := t.modulate("norm1", x, table, 0)
	a := p.attention(t, "attn1", h, h)
	y, gated := t.gated("attn1", x, a, table)
	// The cross-attention takes its queries from the sum itself: it has no norm of its own.
	a = p.attention(t, "attn2", y, text)
	t.Hold(h, gated)
	was := y
	y = t.Pointwise("attn2/residual", "add", y, a)
	t.Hold(was)
	h = t.modulate("norm2", y, table, 0)
	f := t.mlp("ff", h, p.MLP*p.Width, p.Width, "gelu")
	y, gated = t.gated("ff", y, f, table)
	t.Hold(x, a, h, gated, mask)
	return y
}

// attention writes projections of x and context, attention and the output projection.
func (p *pixart) attention(t *trunk, name string, x, context TensorID) TensorID {
	var y TensorID
	t.Scope(name, func() {
		q := t.Linear("to_q", x, p.Width, true)
		k := t.Linear("to_k", context, p.Width, true)
		v := t.Linear("to_v", context, p.Width, true)
		y = t.Linear("to_out", t.attend(q, k, v, p.Heads, false), p.Width, true)
		t.Hold(q, k, v)
	})
	return y
}
