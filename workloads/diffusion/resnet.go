package diffusion

import "orrery/hwmodel"

// normGroups is the number of groups of every group norm in the UNets and autoencoders
// of Stable Diffusion.
const normGroups = 32

// none stands for a tensor that is not there.
const none TensorID = -1

// residual writes a block of two convolutions beside a shortcut, from x to out channels:
// group norm, SiLU and convolution twice, with the time embedding temb (N x 1280, or
// none) added between. The shortcut is a 1x1 convolution where the channels differ.
//
// Lifetimes are those of ResnetBlock2D in diffusers: its input is an argument that the
// caller's frame holds until the block returns, and the branch, the shortcut and their
// sum are all variables still when the sum is divided by the output scale.
func (b *Builder) residual(name string, x TensorID, out int, temb TensorID) TensorID {
	var y TensorID
	b.Scope(name, func() {
		h, held := b.branch(x, temb, func(name string, h TensorID) TensorID { return b.Conv(name, h, out, 3, 1) },
			func(name string, h TensorID) TensorID { return b.GroupNorm(name, h, normGroups) })
		short := x
		if b.Shape(x).C != out {
			short = b.Conv("conv_shortcut", x, out, 1, 1)
		}
		y = b.Pointwise("scale", "mul", b.Pointwise("residual", "add", short, h))
		b.Hold(append(held, x, short, h)...)
	})
	return y
}

// branch writes what lies beside a shortcut, and returns it with the tensors that are
// variables until the block returns.
func (b *Builder) branch(x, temb TensorID, conv, norm func(string, TensorID) TensorID) (h TensorID, held []TensorID) {
	h = norm("norm1", x)
	h = b.Pointwise("silu1", "silu", h)
	h = conv("conv1", h)
	if temb != none {
		t := b.Linear("time_emb_proj", temb, b.Shape(h).C, true)
		h = b.Pointwise("add_temb", "add", h, t)
		held = append(held, t)
	}
	h = norm("norm2", h)
	h = b.Pointwise("silu2", "silu", h)
	return conv("conv2", h), held
}

// temporalResidual writes the residual block of a video network that convolves over
// frames: kernels of 3x1x1, channels kept. frames is that of one clip. Its norms are over
// all frames and positions of a group of channels (TemporalResnetBlock in diffusers).
func (b *Builder) temporalResidual(name string, x TensorID, frames int, temb TensorID) TensorID {
	var y TensorID
	b.Scope(name, func() {
		h, held := b.branch(x, temb, func(name string, h TensorID) TensorID { return b.convTemporal(name, h, frames) },
			func(name string, h TensorID) TensorID { return b.clipNorm(name, h, frames) })
		y = b.Pointwise("residual", "add", x, h)
		b.Hold(append(held, x, h)...)
	})
	return y
}

// convTemporal adds a convolution of 3x1x1 over the frames of each clip, channels kept.
func (b *Builder) convTemporal(name string, x TensorID, frames int) TensorID {
	t := b.Shape(x)
	s := hwmodel.ConvShape{
		N: float64(t.N / frames), Cin: float64(t.C), H: float64(frames), W: float64(t.H * t.W), Cout: float64(t.C),
		KernelH: 3, KernelW: 1, StrideH: 1, StrideW: 1, PadH: 1, Groups: 1,
	}
	weights := int64(t.C) * int64(t.C) * 3
	return b.Add(Op{
		Name: name, Kind: ConvTemporal, Conv: s, Params: weights + int64(t.C),
		MACs: t.Elements() / int64(t.C) * weights,
	}, t.N, t.C, t.H, t.W, x)
}

// clipNorm adds a group norm over whole clips of that many frames.
func (b *Builder) clipNorm(name string, x TensorID, frames int) TensorID {
	t := b.Shape(x)
	rows := int64(t.N/frames) * normGroups
	return b.Add(Op{
		Name: name, Kind: GroupNorm, What: "groupnorm", Params: 2 * int64(t.C), Rows: rows, Cols: t.Elements() / rows,
	}, t.N, t.C, t.H, t.W, x)
}

// upsample writes nearest-neighbour interpolation to height x width and a convolution.
// The input is the caller's variable until the convolution has ended (Upsample2D).
func (b *Builder) upsample(x TensorID, height, width int) TensorID {
	t := b.Shape(x)
	var y TensorID
	b.Scope("upsample", func() {
		y = b.Add(Op{Name: "interp", Kind: Elementwise, What: "upsample"}, t.N, t.C, height, width, x)
		y = b.Conv("conv", y, t.C, 3, 1)
	})
	b.Hold(x)
	return y
}

// concat writes the concatenation of two tensors along the channels.
func (b *Builder) concat(name string, x, y TensorID) TensorID {
	s, t := b.Shape(x), b.Shape(y)
	return b.Add(Op{Name: name, Kind: Elementwise, What: "cat"}, s.N, s.C+t.C, s.H, s.W, x, y)
}
