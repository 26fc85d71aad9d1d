package diffusion

import (
	"errors"
)

// cogvideoxDecoder is the shape of the half of CogVideoX' autoencoder that makes frames of
// latents (AutoencoderKLCogVideoX and CogVideoXDecoder3D of diffusers): residual blocks
// of 3x3x3 convolutions, whose norms are scaled and shifted by the latent.
//
// What a convolution kept dies when it keeps anew, as up to diffusers 0.30, with which the
// runs were measured that are known; since 0.31 both are there until the piece has ended,
// 2 GiB more at 480x720. diffusers splits a convolution that reads over 2 GiB; here it is
// one.
type cogvideoxDecoder struct {
	Latent   int   `toml:"latent"`
	Channels []int `toml:"channels"`        // by level, from the frames inwards
	Resnets  int   `toml:"resnets"`         // of a level of the encoder; the decoder has one more
	Time     int   `toml:"temporal_levels"` // innermost levels that double frames as well
	Piece    int   `toml:"piece"`           // latent frames at a time; the first piece has what is left over too
}

func (d *cogvideoxDecoder) check() error {
	if min(d.Latent, d.Resnets, d.Time, d.Piece, len(d.Channels)) < 1 {
		return errors.New("want all sizes above zero")
	}
	for _, c := range d.Channels {
		if c < normGroups || c%normGroups != 0 {
			return errors.New("channels: want multiples of 32, the groups of the norms")
		}
	}
	return nil
}

func (d *cogvideoxDecoder) graph(c Call) (*Graph, error) {
	scale := 1 << (len(d.Channels) - 1)
	if err := c.sides(scale); err != nil {
		return nil, err
	}
	frames, err := c.latentFrames()
	if err != nil {
		return nil, err
	}
	b := &cogvideoxPiece{causal: newCausal(c), d: d}
	latent := b.Input("latent", c.Batch*frames, d.Latent, c.Height/scale, c.Width/scale)
	var decoded []TensorID
	for i, count := range d.pieces(frames) {
		b.piece(i, func() {
			z := b.view("latent", latent, c.Batch*count, d.Latent, c.Height/scale, c.Width/scale)
			decoded = append(decoded, b.decode(z))
		})
	}
	b.forget()
	video := b.Add(Op{Name: "join", Kind: Elementwise, What: "cat"}, c.Batch*c.Frames, 3, c.Height, c.Width, decoded...)
	return b.Done(video), nil
}

// pieces returns the latent frames of each piece. What is left over goes with the first:
// 13 are 3 and five times 2.
func (d *cogvideoxDecoder) pieces(frames int) []int {
	list := []int{min(frames, d.Piece+frames%d.Piece)}
	for left := frames - list[0]; left > 0; left -= d.Piece {
		list = append(list, d.Piece)
	}
	return list
}

// cogvideoxPiece writes the pieces of one call.
type cogvideoxPiece struct {
	*causal
	d *cogvideoxDecoder
	z TensorID // latent of the piece, which scales and shifts all norms
}

// decode writes the decoder for one piece.
func (b *cogvideoxPiece) decode(z TensorID) TensorID {
	b.z = z
	last := len(b.d.Channels) - 1
	x := b.conv("conv_in", z, b.d.Channels[last])
	in := x
	x = b.resnet("mid/res0", x, b.d.Channels[last], false)
	x = b.resnet("mid/res1", x, b.d.Channels[last], false)
	b.Hold(in)
	for i := range b.d.Channels {
		in = x
		b.Scope(nth("up", i), func() {
			for j := range b.d.Resnets + 1 {
				x = b.resnet(nth("res", j), x, b.d.Channels[last-i], i > 0 && j == 0)
			}
			if i < last {
				x = b.upsample(x, i < b.d.Time)
			}
		})
		b.Hold(in)
	}
	x = b.norm("norm_out", x, false)
	x = b.Pointwise("silu", "silu", x)
	x = b.conv("conv_out", x, 3)
	b.Hold(z)
	return x
}

// conv follows CogVideoXCausalConv3d with kernels of 3x3x3: two frames that the last
// piece kept, or twice the first frame, come before the input.
func (b *cogvideoxPiece) conv(name string, x TensorID, out int) TensorID {
	var y TensorID
	b.Scope(name, func() {
		var joined TensorID
		if before, ok := b.cache[b.key()]; ok {
			joined = b.joined("join", before, x)
		} else {
			joined = b.with("repeat", "cat", b.frames(x)+2, b.Shape(x).C, x)
		}
		b.keep(joined, 2)
		padded := b.padded("pad", joined, 1, 0)
		y = b.conv3d("conv", padded, out, 3, 3)
		b.Hold(x, padded)
	})
	return y
}

// conditional follows the same with a kernel of 1x1x1, which needs no earlier frames: it
// keeps the last "zero" of them all the same, which are all.
func (b *cogvideoxPiece) conditional(name string, z TensorID, out int) TensorID {
	var y TensorID
	b.Scope(name, func() {
		b.keep(z, b.frames(z))
		y = b.conv3d("conv", b.padded("pad", z, 0, 0), out, 1, 1)
	})
	return y
}

// norm follows CogVideoXSpatialNorm3D: a group norm over the piece, times and plus what
// two convolutions make of the latent, brought to the size of x. scattered says that x
// lies frame by frame, so that it is first copied to lie channel by channel.
func (b *cogvideoxPiece) norm(name string, x TensorID, scattered bool) TensorID {
	var y TensorID
	b.Scope(name, func() {
		s := b.Shape(x)
		kernels := 1
		if f := b.frames(x); f > 1 && f%2 == 1 {
			kernels = 3 // the first frame for itself, the others, and their concatenation
		}
		z := b.Add(Op{Name: "interp", Kind: Elementwise, What: "upsample", Kernels: kernels}, s.N, b.d.Latent, s.H, s.W, b.z)
		scale := b.conditional("conv_y", z, s.C)
		shift := b.conditional("conv_b", z, s.C)
		h := x
		if scattered {
			h = b.Pointwise("contiguous", "copy", x)
		}
		n := b.clipNorm("norm", h, b.frames(x))
		m := b.Pointwise("scale", "mul", n, scale)
		y = b.Pointwise("shift", "add", m, shift)
		b.Hold(x, z, scale, shift, n)
	})
	return y
}

// resnet follows CogVideoXResnetBlock3D.
func (b *cogvideoxPiece) resnet(name string, x TensorID, out int, scattered bool) TensorID {
	var y TensorID
	b.Scope(name, func() {
		h := b.norm("norm1", x, scattered)
		h = b.Pointwise("silu1", "silu", h)
		h = b.conv("conv1", h, out)
		h = b.norm("norm2", h, false)
		h = b.Pointwise("silu2", "silu", h)
		h = b.conv("conv2", h, out)
		short := x
		if b.Shape(x).C != out {
			if scattered {
				short = b.Pointwise("contiguous", "copy", x)
			}
			short = b.conv3d("shortcut", short, out, 1, 1)
		}
		y = b.Pointwise("residual", "add", h, short)
		b.Hold(x, h, short)
	})
	return y
}

// upsample follows CogVideoXUpsample3D: sides are doubled, and frames too where time says
// so, but for the first of an odd number; then each frame is convolved for itself.
func (b *cogvideoxPiece) upsample(x TensorID, time bool) TensorID {
	s, frames, kernels := b.Shape(x), b.frames(x), 1
	switch {
	case time && frames > 1 && frames%2 == 1:
		frames, kernels = 2*frames-1, 3
	case time && frames > 1:
		frames *= 2
	}
	var y TensorID
	b.Scope("upsample", func() {
		h := b.Add(Op{Name: "interp", Kind: Elementwise, What: "upsample", Kernels: kernels}, b.clips*frames, s.C, 2*s.H, 2*s.W, x)
		c := h
		if frames > 1 { // to lie frame by frame
			c = b.Pointwise("contiguous", "copy", h)
		}
		y = b.Conv("conv", c, s.C, 3, 1)
		b.Hold(x, h)
	})
	return y
}
