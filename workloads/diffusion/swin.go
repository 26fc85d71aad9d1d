package diffusion

import "errors"

// swinUNet is the shape of ResShift's denoiser: a UNet of residual blocks whose second
// norm is scaled and shifted by the time embedding, with Swin transformers where others
// have attention (UNetModelSwin in models/unet.py of zsyOAOA/ResShift). Latents have a
// quarter of the image's sides.
type swinUNet struct {
	In       int   `toml:"in_channels"` // latent and low-quality image
	Out      int   `toml:"out_channels"`
	Channels int   `toml:"channels"`
	Mult     []int `toml:"channel_mult"`
	Resnets  int   `toml:"resnets"`     // of a level going down; one more going up
	Trained  int   `toml:"latent_side"` // of the latents that it was trained on
	Depth    int   `toml:"swin_depth"`
	Width    int   `toml:"swin_width"`
	Heads    int   `toml:"swin_heads"`
	Window   int   `toml:"swin_window"`
	MLP      int   `toml:"swin_mlp_ratio"`
}

func (u *swinUNet) check() error {
	switch {
	case min(u.In, u.Out, u.Channels, u.Resnets, u.Trained, u.Depth, u.Width, u.Heads, u.Window, u.MLP, len(u.Mult)) < 1:
		return errors.New("want all sizes above zero")
	case u.Channels%normGroups != 0 || u.Width%normGroups != 0 || u.Width%u.Heads != 0:
		return errors.New("channels, swin_width: want multiples of 32, the groups of the norms, and of swin_heads")
	case u.Trained>>(len(u.Mult)-1) < u.Window:
		return errors.New("latent_side: want one of which the deepest level has a window")
	}
	return nil
}

// resshiftScale is the pixels of a side for each position of the latent.
const resshiftScale = 4

func (u *swinUNet) graph(c Call) (*Graph, error) {
	if err := c.image(resshiftScale * u.Window << (len(u.Mult) - 1)); err != nil {
		return nil, err
	}
	b := &swinBuilder{trunk: newTrunk(c), u: u}
	n, h, w := c.Batch*c.Passes, c.Height/resshiftScale, c.Width/resshiftScale
	latent := b.Input("latent", n, u.Out, h, w)
	image := b.Input("low_quality", n, u.In-u.Out, h, w)

	// Frequencies are made on the host: arange, two products and exp, and their copy.
	t := b.small("time/sinusoid", 10, n, u.Channels)
	b.emb = b.mlp("time", t, 4*u.Channels, 4*u.Channels, "silu")
	x := b.concat("cat_input", latent, image)
	x, skips := b.down(x)
	x = b.middle(x)
	x = b.up(x, skips)
	x = b.norm("out/norm", x)
	x = b.Pointwise("out/silu", "silu", x)
	x = b.Conv("out/conv", x, u.Out, 3, 1)
	b.Hold(b.emb)
	return b.Done(x), nil
}

// swinBuilder writes one call.
type swinBuilder struct {
	*trunk
	u   *swinUNet
	emb TensorID
}

// down writes the levels towards the smallest, and returns what each block left for the
// way back.
func (b *swinBuilder) down(x TensorID) (TensorID, []TensorID) {
	x = b.Conv("conv_in", x, b.u.Channels, 3, 1)
	skips := []TensorID{x}
	for level, mult := range b.u.Mult {
		b.Scope(nth("down", level), func() {
			for j := range b.u.Resnets {
				x = b.resnet(nth("res", j), x, mult*b.u.Channels)
				if j == 0 {
					x = b.swin(nth("swin", j), x, level)
				}
				skips = append(skips, x)
			}
			if level < len(b.u.Mult)-1 {
				x = b.Conv("downsample", x, mult*b.u.Channels, 3, 2)
				skips = append(skips, x)
			}
		})
	}
	return x, skips
}

func (b *swinBuilder) middle(x TensorID) TensorID {
	in, c := x, b.Shape(x).C
	b.Scope("mid", func() {
		x = b.resnet("res0", x, c)
		x = b.swin("swin", x, len(b.u.Mult)-1)
		x = b.resnet("res1", x, c)
	})
	b.Hold(in)
	return x
}

// up writes the levels back. The concatenation that a block starts with is a variable of
// the network's forward until the block has returned.
func (b *swinBuilder) up(x TensorID, skips []TensorID) TensorID {
	for level := len(b.u.Mult) - 1; level >= 0; level-- {
		b.Scope(nth("up", level), func() {
			for j := range b.u.Resnets + 1 {
				last := len(skips) - 1
				in := b.concat(nth("cat", j), x, skips[last])
				skips = skips[:last]
				x = b.resnet(nth("res", j), in, b.u.Mult[level]*b.u.Channels)
				if j == 0 {
					x = b.swin(nth("swin", j), x, level)
				}
				if level > 0 && j == b.u.Resnets {
					s := b.Shape(x)
					x = b.upsample(x, 2*s.H, 2*s.W)
				}
				b.Hold(in)
			}
		})
	}
	return x
}

// norm adds a group norm that is taken in fp32 whatever the network's format is
// (GroupNorm32).
func (b *swinBuilder) norm(name string, x TensorID) TensorID {
	var n TensorID
	b.float(func() { n = b.GroupNorm(name, b.cast(name+"_float", x), normGroups) })
	return b.cast(name+"_cast", n)
}

// resnet follows ResBlock: its variables are the input, the embedding's projection and
// the branch.
func (b *swinBuilder) resnet(name string, x TensorID, out int) TensorID {
	var y TensorID
	b.Scope(name, func() {
		h := b.norm("norm1", x)
		h = b.Pointwise("silu1", "silu", h)
		first := b.Conv("conv1", h, out, 3, 1)
		e := b.Pointwise("emb_silu", "silu", b.emb)
		e = b.Linear("emb", e, 2*out, true)
		n := b.norm("norm2", first)
		m := b.Pointwise("scale", "mul", n, b.small("one_plus_scale", 1, b.Shape(e).N, out, e))
		m = b.Pointwise("shift", "add", m, e)
		b.Hold(first)
		h = b.Pointwise("silu2", "silu", m)
		h = b.Conv("conv2", h, out, 3, 1)
		b.Hold(m)
		short := x
		if b.Shape(x).C != out {
			short = b.Conv("skip", x, out, 1, 1)
		}
		y = b.Pointwise("residual", "add", short, h)
		b.Hold(x, e, h)
	})
	return y
}
