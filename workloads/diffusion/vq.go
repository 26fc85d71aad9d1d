package diffusion

import "errors"

// vq is the shape of an autoencoder with a codebook, VQ-f4, as ResShift runs it
// (VQModelTorch in ldm/models/autoencoder.py of zsyOAOA/ResShift, after CompVis'
// latent-diffusion).
type vq struct {
	Latent   int   `toml:"latent"`   // channels of the latent
	Codebook int   `toml:"codebook"` // entries
	Channels []int `toml:"channels"` // by level, from the image inwards
	Resnets  int   `toml:"resnets"`  // of a level of the encoder; the decoder has one more
}

func (a *vq) check() error {
	if min(a.Latent, a.Codebook, a.Resnets, len(a.Channels)) < 1 {
		return errors.New("latent, codebook, channels and resnets: want at least one each")
	}
	for _, c := range a.Channels {
		if c < normGroups || c%normGroups != 0 {
			return errors.New("channels: want multiples of 32, the groups of the norms")
		}
	}
	return nil
}

// scale returns the pixels of a side for each position of the latent.
func (a *vq) scale() int { return 1 << (len(a.Channels) - 1) }

// vqEncoder is the half that makes latents of pixels.
type vqEncoder struct{ vq }

func (e *vqEncoder) graph(c Call) (*Graph, error) {
	if err := c.sides(e.scale()); err != nil {
		return nil, err
	}
	b := &vqBuilder{newTrunk(c)}
	image := b.Input("image", c.Batch*c.Frames, 3, c.Height, c.Width)
	x := b.Conv("conv_in", image, e.Channels[0], 3, 1)
	held := []TensorID{x} // a list of the encoder keeps what every block made
	for level, channels := range e.Channels {
		b.Scope(nth("down", level), func() {
			for j := range e.Resnets {
				x = b.resnet(nth("res", j), x, channels)
				held = append(held, x)
			}
			if level < len(e.Channels)-1 {
				x = b.downsample(x)
				held = append(held, x)
			}
		})
	}
	x = b.middle(x)
	x = b.out(x, e.Latent)
	b.Hold(held...)
	x = b.Conv("quant_conv", x, e.Latent, 1, 1)
	return b.Done(x), nil
}

// vqDecoder is the half that makes pixels of latents: the nearest entry of the codebook
// for each position, then a convolutional decoder.
type vqDecoder struct{ vq }

func (d *vqDecoder) graph(c Call) (*Graph, error) {
	if err := c.sides(d.scale()); err != nil {
		return nil, err
	}
	b := &vqBuilder{newTrunk(c)}
	latent := b.Input("latent", c.Batch*c.Frames, d.Latent, c.Height/d.scale(), c.Width/d.scale())
	x := b.quantise(latent, d.Codebook)
	x = b.Conv("post_quant_conv", x, d.Latent, 1, 1)
	last := len(d.Channels) - 1
	x = b.Conv("conv_in", x, d.Channels[last], 3, 1)
	x = b.middle(x)
	for level := last; level >= 0; level-- {
		b.Scope(nth("up", level), func() {
			for j := range d.Resnets + 1 {
				x = b.resnet(nth("res", j), x, d.Channels[level])
			}
			if level > 0 {
				s := b.Shape(x)
				x = b.upsample(x, 2*s.H, 2*s.W)
			}
		})
	}
	return b.Done(b.out(x, 3)), nil
}

// vqBuilder writes the blocks of ldm/modules/diffusionmodules/model.py.
type vqBuilder struct{ *trunk }

// swish adds x*sigmoid(x), as two operators.
func (b *vqBuilder) swish(name string, x TensorID) TensorID {
	y := b.Pointwise(name, "mul", x, b.Pointwise(name+"_sigmoid", "sigmoid", x))
	b.Hold(x)
	return y
}

// resnet follows ResnetBlock.
func (b *vqBuilder) resnet(name string, x TensorID, out int) TensorID {
	var y TensorID
	b.Scope(name, func() {
		h := b.swish("swish1", b.GroupNorm("norm1", x, normGroups))
		h = b.Conv("conv1", h, out, 3, 1)
		h = b.swish("swish2", b.GroupNorm("norm2", h, normGroups))
		h = b.Conv("conv2", h, out, 3, 1)
		short := x
		if b.Shape(x).C != out {
			short = b.Conv("shortcut", x, out, 1, 1)
		}
		y = b.Pointwise("residual", "add", short, h)
		b.Hold(x)
	})
	return y
}

// downsample pads at the right and below, and convolves with stride 2.
func (b *vqBuilder) downsample(x TensorID) TensorID {
	s := b.Shape(x)
	var y TensorID
	b.Scope("downsample", func() {
		p := b.Add(Op{Name: "pad", Kind: Elementwise, What: "pad"}, s.N, s.C, s.H+1, s.W+1, x)
		y = b.convolve("conv", p, s.C, 3, 2, 0)
	})
	return y
}

func (b *vqBuilder) middle(x TensorID) TensorID {
	c := b.Shape(x).C
	b.Scope("mid", func() {
		x = b.resnet("res0", x, c)
		x = b.attention(x)
		x = b.resnet("res1", x, c)
	})
	return x
}

// attention follows MemoryEfficientAttnBlock, with one head, and AttnBlock where scores
// are materialised.
func (b *vqBuilder) attention(x TensorID) TensorID {
	s := b.Shape(x)
	var y TensorID
	b.Scope("attn", func() {
		h := b.GroupNorm("norm", x, normGroups)
		project := func(name string) TensorID { return b.Conv(name, h, s.C, 1, 1) }
		q, k, v := project("q"), project("k"), project("v")
		if b.scores {
			o := b.scaled(q, k, v)
			y = b.Conv("proj_out", o, s.C, 1, 1)
		} else {
			tokens := func(name string, x TensorID) TensorID { return b.sequence(name, "copy", s.N, s.H*s.W, s.C, x) }
			q, k, v = tokens("copy_q", q), tokens("copy_k", k), tokens("copy_v", v)
			o := b.Attention("attn", q, k, v, s.N, 1, s.H*s.W, s.H*s.W)
			y = b.Conv("proj_out", b.view("image", o, s.N, s.C, s.H, s.W), s.C, 1, 1)
		}
		b.Hold(q, k, v)
		y = b.Pointwise("residual", "add", x, y)
		b.Hold(x)
	})
	return y
}

// scaled adds attention as a product, a scaling, a softmax and a product.
func (b *vqBuilder) scaled(q, k, v TensorID) TensorID {
	s := b.Shape(q)
	tokens := func(name string, x TensorID) TensorID { return b.view(name, x, s.N, s.C, s.H*s.W, 1) }
	scores, shape := b.scoresOf(tokens("q_tokens", q), tokens("k_tokens", k), 1)
	scores = b.Pointwise("scale", "mul", scores)
	o := b.valuesOf(b.softmax(scores, shape), tokens("v_tokens", v), shape)
	return b.view("image", o, s.N, s.C, s.H, s.W)
}

// out adds the norm, activation and convolution at the end.
func (b *vqBuilder) out(x TensorID, channels int) TensorID {
	x = b.swish("swish_out", b.GroupNorm("norm_out", x, normGroups))
	return b.Conv("conv_out", x, channels, 3, 1)
}

// quantise follows VectorQuantizer2: squared distances of every position to every entry,
// the nearest, its lookup, and what training needs of it, which is computed all the same.
func (b *vqBuilder) quantise(z TensorID, entries int) TensorID {
	s := b.Shape(z)
	var y TensorID
	b.Scope("quantise", func() {
		positions := s.H * s.W
		x := b.sequence("copy", "copy", s.N, positions, s.C, z)
		matrix := func(name, what string, ts ...TensorID) TensorID {
			return b.sequence(name, what, s.N, positions, entries, ts...)
		}
		norms := b.Add(Op{Name: "norms", Kind: Elementwise, What: "sum", Kernels: 2}, s.N, 1, positions, 1, x)
		own := b.Add(Op{Name: "codebook_norms", Kind: Elementwise, What: "sum", Params: int64(entries) * int64(s.C), Kernels: 2}, 1, entries, 1, 1)
		sums := matrix("sums", "add", norms, own)
		p := Product{M: int64(s.N) * int64(positions), K: int64(s.C), N: int64(entries)}
		dots := b.Add(Op{Name: "dots", Kind: Linear, Linear: p, MACs: p.M * p.K * p.N}, s.N, entries, positions, 1, x)
		dots = b.Pointwise("twice", "mul", dots)
		d := matrix("distances", "sub", sums, dots)
		nearest := b.sequence("nearest", "argmin", s.N, positions, 1, d)
		q := b.sequence("lookup", "embedding", s.N, positions, s.C, nearest)
		b.small("loss", 9, 1, 1, x, q)
		through := b.Pointwise("difference", "sub", q, x)
		through = b.Pointwise("straight_through", "add", x, through)
		y = b.Add(Op{Name: "to_image", Kind: Elementwise, What: "copy"}, s.N, s.C, s.H, s.W, through)
		b.Hold(x, d, q, nearest)
	})
	return y
}
