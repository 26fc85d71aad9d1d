package diffusion

import (
	"errors"
	"fmt"
)

// unetMotion is an image UNet with motion modules, attention over the frames of a clip,
// after every residual block and its transformer (AnimateDiff; UNetMotionModel in diffusers).
type unetMotion struct {
	unet
	MotionHeads int  `toml:"motion_heads"`
	MotionMid   bool `toml:"motion_mid"` // the middle has one too, as of the second version
	MaxFrames   int  `toml:"max_frames"` // positions that the modules know
}

func (s *unetMotion) check() error {
	if s.MotionHeads < 1 || s.MaxFrames < 1 {
		return errors.New("motion_heads and max_frames: want at least 1")
	}
	for _, c := range s.Channels {
		if c%s.MotionHeads != 0 {
			return fmt.Errorf("%d motion_heads over %d channels: want a divisor", s.MotionHeads, c)
		}
	}
	if err := s.checkMiddle(); err != nil {
		return err
	}
	return s.unet.check()
}

func (s *unetMotion) graph(c Call) (*Graph, error) {
	if c.Frames > s.MaxFrames {
		return nil, fmt.Errorf("%d frames: want at most %d, the positions that its motion modules know", c.Frames, s.MaxFrames)
	}
	if err := c.sides(latentScale); err != nil {
		return nil, err
	}
	u, err := s.begin(c)
	if err != nil {
		return nil, err
	}
	motion := func(name string, x TensorID) TensorID {
		u.Along(Temporal, func() { x = u.motionModule(name, x, s.MotionHeads) })
		return x
	}
	position := func(x TensorID, p place) TensorID {
		return motion("motion"+p.number, u.imagePosition(x, p))
	}
	middle := func(x TensorID, p place) TensorID {
		if !s.MotionMid {
			return u.imageMiddle(x, p)
		}
		p.number = "0"
		u.Along(Spatial, func() {
			x = u.residual("res0", x, p.out, u.temb)
			x = u.spatialTransformer("attn", x, u.transformerAt(p))
		})
		x = motion("motion", x)
		u.Along(Spatial, func() { x = u.residual("res1", x, p.out, u.temb) })
		return x
	}
	return u.write(position, middle), nil
}

// motionModule writes attention over frames, at each position for itself: norm, projection,
// a block of two attentions, projection and the sum with the input, which is a variable
// throughout (AnimateDiffTransformer3D in diffusers). Frames are brought beside each other
// by one copy, and back by another. The norm is over the whole clip.
func (u *unetWriter) motionModule(name string, x TensorID, heads int) TensorID {
	frames := u.call.Frames
	t := u.Shape(x)
	y := x
	u.Scope(name, func() {
		y = u.clipNorm("norm", y, frames)
		y = u.byPosition("by_position", y, frames)
		y = u.Linear("proj_in", y, t.C, true)
		in := y
		s := u.Shape(y)
		over := attend{groups: s.N, heads: heads, queries: frames, keys: frames, context: none, positions: true, scores: u.call.Scores}
		u.Scope("block0", func() { y = u.attentionBlock(y, over, over) })
		u.Hold(in)
		y = u.Linear("proj_out", y, t.C, true)
		y = u.Add(Op{Name: "contiguous", Kind: Elementwise, What: "copy"}, t.N, t.C, t.H, t.W, y)
		y = u.Pointwise("residual", "add", y, x)
	})
	return y
}

// byPosition adds the copy that brings the frames of a clip beside each other: from frames
// of positions to positions of frames.
func (u *unetWriter) byPosition(name string, x TensorID, frames int) TensorID {
	t := u.Shape(x)
	return u.Add(Op{Name: name, Kind: Elementwise, What: "copy"}, t.N/frames*t.H*t.W, t.C, frames, 1, x)
}
