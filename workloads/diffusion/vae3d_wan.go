package diffusion

import "errors"

// wanDecoder is the shape of the half of Wan 2.1's autoencoder that makes frames of
// latents (AutoencoderKLWan and WanDecoder3d of diffusers). It takes one latent frame at a
// time; the first makes one frame, each other four.
type wanDecoder struct {
	Latent  int    `toml:"latent"`
	Base    int    `toml:"base_channels"` // channels of the outermost level
	Mult    []int  `toml:"mult"`          // of them, by level, from the frames inwards
	Resnets int    `toml:"resnets"`       // of a level of the encoder; the decoder has one more
	Time    []bool `toml:"temporal"`      // levels that double frames, from the latent outwards
}

func (d *wanDecoder) check() error {
	if min(d.Latent, d.Base, d.Resnets, len(d.Mult)) < 1 || d.Base%2 != 0 {
		return errors.New("want all sizes above zero, and an even base")
	}
	if len(d.Time) != len(d.Mult)-1 {
		return errors.New("temporal: want one value less than mult has")
	}
	return nil
}

func (d *wanDecoder) graph(c Call) (*Graph, error) {
	scale := 1 << (len(d.Mult) - 1)
	if err := c.sides(scale); err != nil {
		return nil, err
	}
	frames, err := c.latentFrames()
	if err != nil {
		return nil, err
	}
	b := &wanPiece{causal: newCausal(c), d: d}
	latent := b.Input("latent", c.Batch*frames, d.Latent, c.Height/scale, c.Width/scale)
	z := b.conv3d("post_quant_conv", b.padded("pad", latent, 0, 0), d.Latent, 1, 1)
	video := none
	for i := range frames {
		b.index = i
		b.piece(i, func() {
			piece := b.decode(b.view("latent", z, c.Batch, d.Latent, c.Height/scale, c.Width/scale))
			if i == 0 {
				video = piece
			} else {
				video = b.joined("append", video, piece)
			}
		})
	}
	b.Hold(z)
	out := b.Pointwise("clamp", "clamp", video)
	b.forget()
	return b.Done(out), nil
}

// wanPiece writes the pieces of one call.
type wanPiece struct {
	*causal
	d     *wanDecoder
	index int // of the piece
}

// decode writes the decoder for one latent frame.
func (b *wanPiece) decode(z TensorID) TensorID {
	last := len(b.d.Mult) - 1
	channels := b.d.Base * b.d.Mult[last]
	x := b.conv("conv_in", z, channels)
	in := x
	b.Scope("mid", func() {
		x = b.resnet("res0", x, channels)
		x = b.attention(x)
		x = b.resnet("res1", x, channels)
	})
	b.Hold(in)
	for i := range b.d.Mult {
		in = x
		b.Scope(nth("up", i), func() {
			for j := range b.d.Resnets + 1 {
				x = b.resnet(nth("res", j), x, b.d.Base*b.d.Mult[last-i])
			}
			if i < last {
				x = b.upsample(x, b.d.Time[i])
			}
		})
		b.Hold(in)
	}
	x = b.norm("norm_out", x)
	x = b.Pointwise("silu", "silu", x)
	return b.conv("conv_out", x, 3)
}

// norm follows WanRMS_norm: length, limit, quotient, and the product with a scale, the
// product with the weight and the sum with a bias of zero.
func (b *wanPiece) norm(name string, x TensorID) TensorID {
	var y TensorID
	b.Scope(name, func() {
		s := b.Shape(x)
		length := b.Add(Op{Name: "length", Kind: Elementwise, What: "norm", Kernels: 2}, s.N, 1, s.H, s.W, x)
		n := b.Pointwise("normalise", "div", x, length)
		n = b.Pointwise("scale", "mul", n)
		n = b.Add(Op{Name: "weight", Kind: Elementwise, What: "mul", Params: int64(s.C)}, s.N, s.C, s.H, s.W, n)
		y = b.Pointwise("bias", "add", n)
		b.Hold(x)
	})
	return y
}

// conv adds a causal convolution of 3x3x3. It keeps its last two input frames, of which
// one may be from the piece before; where there are not two, zeros stand for them.
func (b *wanPiece) conv(name string, x TensorID, out int) TensorID {
	var y TensorID
	b.Scope(name, func() { y = b.continued(x, out, 3, 1) })
	return y
}

// continued adds the copies and the convolution, of three frames and side x side
// positions.
func (b *wanPiece) continued(x TensorID, out, side, border int) TensorID {
	before, ok := b.cache[b.key()]
	next := b.lastTwo(x, before, ok)
	h, missing := x, 2
	if ok {
		h = b.joined("join", before, x)
		missing -= b.frames(before)
	}
	p := b.padded("pad", h, border, missing)
	y := b.conv3d("conv", p, out, 3, side)
	b.Hold(x, p, next)
	if ok {
		b.Hold(before)
	}
	b.cache[b.key()] = next
	return y
}

// lastTwo copies the last two frames of x, or the last of before and the one of x.
func (b *wanPiece) lastTwo(x, before TensorID, ok bool) TensorID {
	s := b.Shape(x)
	next := b.with("keep", "copy", min(2, b.frames(x)), s.C, x)
	kept := b.Shape(next)
	b.g.Ops[len(b.g.Ops)-1].Moved = 2 * kept.Bytes()
	if ok && b.frames(x) < 2 {
		next = b.with("keep_two", "cat", 2, s.C, next, before)
	}
	return next
}

// resnet follows WanResidualBlock, whose shortcut comes first.
func (b *wanPiece) resnet(name string, x TensorID, out int) TensorID {
	var y TensorID
	b.Scope(name, func() {
		short := x
		if b.Shape(x).C != out {
			short = b.conv3d("shortcut", b.padded("shortcut_pad", x, 0, 0), out, 1, 1)
		}
		h := b.norm("norm1", x)
		h = b.Pointwise("silu1", "silu", h)
		h = b.conv("conv1", h, out)
		h = b.norm("norm2", h)
		h = b.Pointwise("silu2", "silu", h)
		h = b.conv("conv2", h, out)
		y = b.Pointwise("residual", "add", h, short)
		b.Hold(x, short, h)
	})
	return y
}

// attention follows WanAttentionBlock: one head over the positions of each frame.
func (b *wanPiece) attention(x TensorID) TensorID {
	s := b.Shape(x)
	var y TensorID
	b.Scope("attn", func() {
		h := b.norm("norm", x)
		packed := b.sequence("split", "copy", s.N, s.H*s.W, 3*s.C, b.Conv("to_qkv", h, 3*s.C, 1, 1))
		part := func(name string) TensorID { return b.view(name, packed, s.N, s.C, s.H*s.W, 1) }
		q, k, v := part("q"), part("k"), part("v")
		o := b.attend(q, k, v, 1, true)
		y = b.Conv("proj", b.view("image", o, s.N, s.C, s.H, s.W), s.C, 1, 1)
		b.Hold(q, k, v)
		y = b.Pointwise("residual", "add", y, x)
		b.Hold(x)
	})
	return y
}

// upsample follows WanResample: where time says so, and from the second piece on, a
// convolution over frames makes two of each; then sides are doubled, in fp32, and the
// channels are halved.
func (b *wanPiece) upsample(x TensorID, time bool) TensorID {
	var y TensorID
	b.Scope("upsample", func() {
		h := x
		if time && b.index > 0 {
			h = b.doubled(x)
		}
		s := b.Shape(h)
		var up TensorID
		b.float(func() {
			up = b.Add(Op{Name: "interp", Kind: Elementwise, What: "upsample"}, s.N, s.C, 2*s.H, 2*s.W, b.cast("float", h))
		})
		y = b.Conv("conv", b.cast("cast", up), s.C/2, 3, 1)
		b.Hold(x, h)
	})
	return y
}

// doubled makes two frames of each: as many channels, which are then dealt out.
func (b *wanPiece) doubled(x TensorID) TensorID {
	s := b.Shape(x)
	var y TensorID
	b.Scope("time_conv", func() {
		h := b.continued(x, 2*s.C, 1, 0)
		y = b.with("deal", "copy", 2*b.frames(x), s.C, h)
	})
	return y
}
