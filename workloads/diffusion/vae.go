package diffusion

import (
	"errors"

	"orrery/hwmodel"
)

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

// vaeDecoder is the half that makes pixels of latents. A call's batch times its frames
// is the number of images that are decoded at once; a temporal decoder takes them as the
// frames of one clip, as diffusers does with every chunk of frames.
type vaeDecoder struct {
	autoencoder
	Temporal bool `toml:"temporal"` // every residual block has a second one over frames, and the pixels a convolution over them
}

func (d *vaeDecoder) graph(c Call) (*Graph, error) {
	v, err := d.begin(c)
	if err != nil {
		return nil, err
	}
	n, last := c.Batch*c.Frames, len(d.Channels)-1
	if d.Temporal {
		v.block = func(name string, x TensorID, out int) TensorID { return v.videoResidual(name, x, out, n, none) }
	}
	x := v.Input("latent", n, d.Latent, c.Height/d.scale(), c.Width/d.scale())
	v.Along(Spatial, func() {
		if d.QuantConv {
			x = v.Conv("post_quant_conv", x, d.Latent, 1, 1)
		}
		x = v.Conv("conv_in", x, d.Channels[last], 3, 1)
	})
	x = v.middle(x)
	for i := range d.Channels {
		x = v.up(i, x, d.Channels[last-i], i < last)
	}
	v.Along(Spatial, func() { x = v.out(x, 3) })
	if d.Temporal {
		v.Along(Temporal, func() { x = v.convTemporal("time_conv_out", x, n) })
	}
	return v.Done(x), nil
}

// vaeEncoder is the half that makes latents of pixels: their means and variances.
type vaeEncoder struct{ autoencoder }

func (e *vaeEncoder) graph(c Call) (*Graph, error) {
	v, err := e.begin(c)
	if err != nil {
		return nil, err
	}
	last := len(e.Channels) - 1
	x := v.Input("pixels", c.Batch*c.Frames, 3, c.Height, c.Width)
	v.Along(Spatial, func() { x = v.Conv("conv_in", x, e.Channels[0], 3, 1) })
	for i := range e.Channels {
		x = v.down(i, x, e.Channels[i], i < last)
	}
	x = v.middle(x)
	v.Along(Spatial, func() {
		x = v.out(x, 2*e.Latent)
		if e.QuantConv {
			x = v.Conv("quant_conv", x, 2*e.Latent, 1, 1)
		}
	})
	return v.Done(x), nil
}

// vaeWriter writes one call of an autoencoder's half. What enters a level is the caller's
// variable until the level returns.
type vaeWriter struct {
	*Builder
	shape *autoencoder
	call  Call
	block func(name string, x TensorID, out int) TensorID // a residual block
}

// begin starts a graph whose residual blocks are those of images.
func (a *autoencoder) begin(c Call) (*vaeWriter, error) {
	if err := c.sides(a.scale()); err != nil {
		return nil, err
	}
	b, err := c.builder()
	if err != nil {
		return nil, err
	}
	v := &vaeWriter{Builder: b, shape: a, call: c}
	v.block = func(name string, x TensorID, out int) TensorID {
		b.Along(Spatial, func() { x = b.residual(name, x, out, none) })
		return x
	}
	return v, nil
}

// up writes a level of the decoder, which ends with upsampling where there is a next one.
func (v *vaeWriter) up(i int, x TensorID, channels int, more bool) TensorID {
	in := x
	v.Scope(nth("up", i), func() {
		for j := range v.shape.Resnets + 1 {
			x = v.block(nth("res", j), x, channels)
		}
		if more {
			t := v.Shape(x)
			v.Along(Spatial, func() { x = v.upsample(x, 2*t.H, 2*t.W) })
		}
	})
	v.Hold(in)
	return x
}

// down writes a level of the encoder, which ends with downsampling where there is a next one.
func (v *vaeWriter) down(i int, x TensorID, channels int, more bool) TensorID {
	in := x
	v.Scope(nth("down", i), func() {
		for j := range v.shape.Resnets {
			x = v.block(nth("res", j), x, channels)
		}
		if more {
			v.Along(Spatial, func() { x = v.halve(x) })
		}
	})
	v.Hold(in)
	return x
}

// halve writes the encoder's downsampling: it pads on the right and below only, by a copy,
// and convolves without padding.
func (v *vaeWriter) halve(x TensorID) TensorID {
	t := v.Shape(x)
	padded := v.Add(Op{Name: "pad", Kind: Elementwise, What: "copy"}, t.N, t.C, t.H+1, t.W+1, x)
	s := hwmodel.ConvShape{
		N: float64(t.N), Cin: float64(t.C), H: float64(t.H + 1), W: float64(t.W + 1), Cout: float64(t.C),
		KernelH: 3, KernelW: 3, StrideH: 2, StrideW: 2, Groups: 1,
	}
	weights := int64(t.C) * int64(t.C) * 9
	y := v.Add(Op{
		Name: "downsample", Kind: Conv, Conv: s, Params: weights + int64(t.C),
		MACs: int64(t.N) * int64(t.H/2) * int64(t.W/2) * weights,
	}, t.N, t.C, t.H/2, t.W/2, padded)
	v.Hold(x)
	return y
}

// middle writes a residual block, attention with one head over all positions, and
// another residual block.
func (v *vaeWriter) middle(x TensorID) TensorID {
	in, channels := x, v.Shape(x).C
	v.Scope("mid", func() {
		x = v.block("res0", x, channels)
		v.Along(Spatial, func() { x = v.attend(x) })
		x = v.block("res1", x, channels)
	})
	v.Hold(in)
	return x
}

// attend writes the attention of the middle, with its norm and the sum with its input.
func (v *vaeWriter) attend(x TensorID) TensorID {
	t := v.Shape(x)
	var y TensorID
	v.Scope("attn", func() {
		h := v.GroupNorm("group_norm", x, normGroups)
		h = v.attention("attn", h, attend{
			groups: t.N, heads: 1, queries: t.H * t.W, keys: t.H * t.W,
			context: none, bias: true, scores: v.call.Scores,
		})
		y = v.Pointwise("residual", "add", h, x)
	})
	return y
}

// out writes the norm, activation and convolution that a half ends with.
func (v *vaeWriter) out(x TensorID, channels int) TensorID {
	x = v.GroupNorm("norm_out", x, normGroups)
	x = v.Pointwise("silu", "silu", x)
	return v.Conv("conv_out", x, channels, 3, 1)
}
