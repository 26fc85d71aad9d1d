package diffusion

import "errors"

// autoencoder is the shape of the image autoencoders that Stable Diffusion uses
// (AutoencoderKL in diffusers).
type autoencoder struct {
	Latent    int   `toml:"latent"`     // channels of the latent
	Channels  []int `toml:"channels"`   // by level, from the image inwards
	Resnets   int   `toml:"resnets"`    // of a level of the encoder; the decoder has one more
	QuantConv bool  `toml:"quant_conv"` // a 1x1 convolution on the latent
}

func (a *autoencoder) check() error {
	if a.Latent < 1 || len(a.Channels) < 1 || a.Resnets < 1 {
		return errors.New("latent, channels and resnets: want at least one each")
	}
	for _, c := range a.Channels {
		if c < normGroups || c%normGroups != 0 {
			return errors.New("channels: want multiples of 32, the groups of the norms")
		}
	}
	return nil
}

// scale returns the pixels of a side for each position of the latent.
func (a *autoencoder) scale() int { return 1 << (len(a.Channels) - 1) }

// vaeDecoder is the half that makes pixels of latents. A call's batch is the number of
// images decoded at once, frames included.
type vaeDecoder struct{ autoencoder }

func (d *vaeDecoder) graph(c Call) (*Graph, error) {
	if err := c.sides(d.scale()); err != nil {
		return nil, err
	}
	b, err := c.builder()
	if err != nil {
		return nil, err
	}
	last := len(d.Channels) - 1
	n, h, w := c.Batch*c.Frames, c.Height/d.scale(), c.Width/d.scale()
	x := b.Input("latent", n, d.Latent, h, w)
	b.Along(Spatial, func() {
		if d.QuantConv {
			x = b.Conv("post_quant_conv", x, d.Latent, 1, 1)
		}
		x = b.Conv("conv_in", x, d.Channels[last], 3, 1)
	})
	x = b.vaeMiddle(x, c.Scores)
	for i := range d.Channels {
		x = d.up(b, i, x)
	}
	b.Along(Spatial, func() { x = b.vaeOut(x, 3) })
	return b.Done(x), nil
}

// up writes a level of the decoder. The decoder's own variable names the level's input
// until the level returns.
func (d *vaeDecoder) up(b *Builder, i int, x TensorID) TensorID {
	last := len(d.Channels) - 1
	in := x
	b.Scope(nth("up", i), func() {
		for j := range d.Resnets + 1 {
			b.Along(Spatial, func() { x = b.residual(nth("res", j), x, d.Channels[last-i], none) })
		}
		if i < last {
			t := b.Shape(x)
			b.Along(Spatial, func() { x = b.upsample(x, 2*t.H, 2*t.W) })
		}
	})
	b.Hold(in)
	return x
}

// vaeMiddle writes the middle of an image autoencoder: a residual block, attention with
// one head over all positions, a residual block.
func (b *Builder) vaeMiddle(x TensorID, scores bool) TensorID {
	in, channels := x, b.Shape(x).C
	b.Scope("mid", func() {
		b.Along(Spatial, func() { x = b.residual("res0", x, channels, none) })
		b.Along(Spatial, func() { x = b.vaeAttention(x, scores) })
		b.Along(Spatial, func() { x = b.residual("res1", x, channels, none) })
	})
	b.Hold(in)
	return x
}

// vaeAttention writes the attention of the middle of an autoencoder, with its norm and
// the sum with its input.
func (b *Builder) vaeAttention(x TensorID, scores bool) TensorID {
	t := b.Shape(x)
	var y TensorID
	b.Scope("attn", func() {
		h := b.GroupNorm("group_norm", x, normGroups)
		h = b.attention("attn", h, attend{groups: t.N, heads: 1, queries: t.H * t.W, keys: t.H * t.W, context: none, bias: true, scores: scores})
		y = b.Pointwise("residual", "add", h, x)
		b.Hold(x, h)
	})
	return y
}

// vaeOut writes the norm, activation and convolution that an autoencoder ends with.
func (b *Builder) vaeOut(x TensorID, out int) TensorID {
	x = b.GroupNorm("norm_out", x, normGroups)
	x = b.Pointwise("silu", "silu", x)
	return b.Conv("conv_out", x, out, 3, 1)
}
