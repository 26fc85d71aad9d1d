package diffusion

// unetVideo is the UNet of Stable Video Diffusion: every residual block and every
// transformer block is followed by one over frames, and blended with it
// (UNetSpatioTemporalConditionModel in diffusers).
type unetVideo struct{ unet }

func (s *unetVideo) check() error {
	if err := s.unet.checkMiddle(); err != nil {
		return err
	}
	return s.unet.check()
}

func (s *unetVideo) graph(c Call) (*Graph, error) {
	// The way out doubles sides without a look at the skip tensors, so that all levels
	// must have halved evenly.
	if err := c.sides(latentScale << (len(s.Channels) - 1)); err != nil {
		return nil, err
	}
	u, err := s.begin(c)
	if err != nil {
		return nil, err
	}
	middle := func(x TensorID, p place) TensorID {
		x = u.videoResidual("res0", x, p.out, c.Frames, u.temb)
		x = u.videoTransformer("attn", x, u.transformerAt(p))
		return u.videoResidual("res1", x, p.out, c.Frames, u.temb)
	}
	return u.write(u.videoPosition, middle), nil
}

// videoPosition writes a residual block and a transformer, each over images and then over
// frames.
func (u *unetWriter) videoPosition(x TensorID, p place) TensorID {
	x = u.videoResidual("res"+p.number, x, p.out, u.call.Frames, u.temb)
	if p.depth > 0 {
		x = u.videoTransformer("attn"+p.number, x, u.transformerAt(p))
	}
	return x
}

// videoResidual writes a residual block over images, one over the frames of its result,
// and the blend of the two. x is the caller's variable until it returns
// (SpatioTemporalResBlock in diffusers).
func (b *Builder) videoResidual(name string, x TensorID, out, frames int, temb TensorID) TensorID {
	var y TensorID
	b.Scope(name, func() {
		var s TensorID
		b.Along(Spatial, func() { s = b.residual("spatial", x, out, temb) })
		b.Along(Temporal, func() {
			t := b.temporalResidual("temporal", s, frames, temb)
			y = b.blend(s, t, 3*b.bytes(s))
			b.Hold(s, t)
		})
	})
	b.Hold(x)
	return y
}

// blend writes alpha s + (1 - alpha) t with a learnt alpha, which an eager framework does
// in three passes (AlphaBlender in diffusers). copied is the bytes that go with the mixer
// itself: around residual blocks, frames and channels change places in memory.
func (b *Builder) blend(s, t TensorID, copied int64) TensorID {
	alpha := b.Add(Op{Name: "time_mixer", Kind: Elementwise, What: "copy", Params: 1, Moved: max(copied, 1)}, 1, 1, 1, 1)
	x := b.Pointwise("mix_a", "mul", s)
	y := b.Pointwise("mix_b", "mul", t)
	mix := b.Pointwise("mix", "add", x, y)
	b.Hold(alpha)
	return mix
}

// bytes returns the size of a tensor in memory.
func (b *Builder) bytes(t TensorID) int64 { s := b.Shape(t); return s.Bytes() }

// videoTransformer writes attention within each image and to the context, then over the
// frames of each position, and the blend of the two, between a norm and two projections.
// x is a variable until it is added again (TransformerSpatioTemporalModel in diffusers).
// There is at least one block.
func (u *unetWriter) videoTransformer(name string, x TensorID, s transformer) TensorID {
	y := x
	t := u.Shape(x)
	u.Scope(name, func() {
		var emb TensorID
		for i := range s.depth {
			u.Along(Spatial, func() {
				if i == 0 {
					y = u.GroupNorm("norm", x, normGroups)
					y = u.Linear("proj_in", y, t.C, true)
					emb = u.framePosition(t)
				}
				y = u.spatialBlock(nth("block", i), y, s)
			})
			u.Along(Temporal, func() { y = u.overFrames(nth("tblock", i), y, emb, s) })
		}
		u.Along(Spatial, func() {
			y = u.Linear("proj_out", y, t.C, true)
			y = u.Pointwise("contiguous", "copy", y)
			y = u.Pointwise("residual", "add", y, x)
		})
		u.Hold(emb)
	})
	return y
}

// framePosition adds the embedding of each frame's number: a sinusoid through two
// projections, to four times the width and back.
func (u *unetWriter) framePosition(t Tensor) TensorID {
	c := int64(t.C)
	return u.Add(Op{
		Name: "time_pos_embed", Kind: Linear, Linear: Product{M: int64(t.N), K: 4 * c, N: 2 * c},
		Params: 8*c*c + 5*c, MACs: int64(t.N) * 8 * c * c,
	}, t.N, t.C, 1, 1)
}

// overFrames writes a block over the frames of each position, of x with the frames'
// numbers added, and blends its result with x. x and what the block takes are the
// caller's variables until the blend.
func (u *unetWriter) overFrames(name string, x, emb TensorID, s transformer) TensorID {
	m := u.Pointwise("add_emb", "add", x, emb)
	t := u.temporalBlock(name, m, s)
	u.Hold(m)
	y := u.blend(x, t, 0)
	u.Hold(x, t)
	return y
}

// temporalBlock writes a feed-forward, attention over frames, attention to the context and
// a feed-forward, at each position for itself. Frames are brought beside each other by a
// copy, which is a variable until the block returns (TemporalBasicTransformerBlock in
// diffusers).
func (u *unetWriter) temporalBlock(name string, x TensorID, s transformer) TensorID {
	t := u.Shape(x)
	frames := u.call.Frames
	var y TensorID
	u.Scope(name, func() {
		in := u.byPosition("by_position", x, frames)
		h := u.feedForward("ff_in", u.layerNorm("norm_in", in))
		h = u.Pointwise("add_in", "add", h, in)
		self := attend{groups: u.Shape(in).N, heads: s.heads, queries: frames, keys: frames, context: none, scores: s.scores}
		cross := self
		cross.context, cross.keys = s.context, s.tokens
		h = u.attentionBlock(h, self, cross)
		y = u.Add(Op{Name: "by_frame", Kind: Elementwise, What: "copy"}, t.N, t.C, t.H, t.W, h)
		u.Hold(in)
	})
	return y
}
