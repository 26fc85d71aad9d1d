package diffusion

import (
	"errors"
	"fmt"
)

// sd3 is the shape of Stable Diffusion 3: blocks of which text and image have weights of
// their own and attend to each other (SD3Transformer2DModel of diffusers).
type sd3 struct {
	Layers    int `toml:"layers"`
	Width     int `toml:"width"`
	Heads     int `toml:"heads"`
	MLP       int `toml:"mlp_ratio"`
	Patch     int `toml:"patch"`
	Text      int `toml:"text_width"`
	Pooled    int `toml:"pooled_width"`
	In        int `toml:"in_channels"`
	Positions int `toml:"positions"` // of a side, of which those of a call are cut out
}

func (s *sd3) check() error {
	if min(s.Layers, s.Width, s.Heads, s.MLP, s.Patch, s.Text, s.Pooled, s.In, s.Positions) < 1 || s.Width%s.Heads != 0 {
		return errors.New("want all sizes above zero, and a width that is a multiple of heads")
	}
	return nil
}

func (s *sd3) graph(c Call) (*Graph, error) {
	if err := c.image(8 * s.Patch); err != nil {
		return nil, err
	}
	n, h, w := c.Batch*c.Passes, c.Height/8, c.Width/8
	if most := s.Positions * s.Patch * 8; max(c.Height, c.Width) > most {
		return nil, fmt.Errorf("%dx%d: want no side above %d", c.Width, c.Height, most)
	}
	t := newTrunk(c)
	latent := t.Input("latent", n, s.In, h, w)
	prompt := t.Input("text", n, s.Text, c.Text, 1)
	pooled := t.Input("pooled_text", n, s.Pooled, 1, 1)
	positions := t.Input("positions", 1, s.Width, s.Positions*s.Positions, 1) // a buffer of the network

	b := &jointBlocks{trunk: t, channels: s.Width, heads: s.Heads, hidden: s.MLP * s.Width, table: none}
	x := t.patches("patch_embed", latent, s.Patch, s.Width, true)
	cropped := t.Shape(x)
	crop := t.Add(Op{Name: "crop_positions", Kind: Elementwise, What: "copy", Moved: 2 * cropped.Bytes() / int64(n)}, 1, s.Width, cropped.H, 1, positions)
	x = t.Pointwise("pos_embed", "add", x, crop)
	b.emb = s.embedding(t, n, pooled)
	text := t.Linear("context_embedder", prompt, s.Width, true)
	for i := range s.Layers {
		t.Scope(nth("block", i), func() { text, x = b.double(text, x, i == s.Layers-1) })
	}
	t.Scope("norm_out", func() { x = t.modulate("norm", x, t.conditioning(b.emb, 2, s.Width), 0) })
	x = t.Linear("proj_out", x, s.Patch*s.Patch*s.In, true)
	t.Hold(b.emb)
	x = t.Add(Op{Name: "unpatchify", Kind: Elementwise, What: "copy"}, n, s.In, h, w, x)
	return t.Done(x), nil
}

// embedding adds up the embeddings of time step and pooled text.
func (s *sd3) embedding(t *trunk, n int, pooled TensorID) TensorID {
	emb := t.mlp("time", t.timestep("sinusoid", n, 256), s.Width, s.Width, "silu")
	p := t.mlp("pooled", pooled, s.Width, s.Width, "silu")
	return t.Pointwise("add_pooled", "add", emb, p)
}
