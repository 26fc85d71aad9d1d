package diffusion

import (
	"errors"
	"fmt"
	"slices"
)

// unet is the shape of a UNet of Stable Diffusion (UNet2DConditionModel in diffusers):
// levels of residual blocks and transformers, half the side and more channels each,
// and back, with the tensors of the way in concatenated to those of the way out.
type unet struct {
	In       int   `toml:"in_channels"`
	Out      int   `toml:"out_channels"`
	Channels []int `toml:"block_channels"` // by level, from the outside
	Resnets  int   `toml:"resnets"`        // of a level of the way in; the way out has one more
	Depth    []int `toml:"transformer_depth"`
	// UpDepth has the depths of the way out where they are not those of the way in: by
	// level from the inside, for each of its residual blocks.
	UpDepth  [][]int `toml:"up_transformer_depth"`
	Mid      int     `toml:"mid_transformer_depth"`
	MidShort bool    `toml:"mid_short"` // the middle is a residual block alone
	Heads    []int   `toml:"heads"`
	Context  int     `toml:"cross_attention_dim"`
	TimeDim  int     `toml:"time_embed_dim"`
	Added    int     `toml:"added_embedding_dim"` // of what is embedded beside the time; 0: nothing is
}

func (s *unet) check() error {
	levels := len(s.Channels)
	switch {
	case s.In < 1 || s.Out < 1 || s.Resnets < 1 || s.Context < 1 || s.TimeDim < 1 || levels < 1:
		return errors.New("in_channels, out_channels, resnets, cross_attention_dim, time_embed_dim and block_channels: want at least one each")
	case len(s.Depth) != levels || len(s.Heads) != levels:
		return fmt.Errorf("transformer_depth and heads have %d and %d levels: want %d, as block_channels", len(s.Depth), len(s.Heads), levels)
	case s.Mid < 0 || s.Added < 0:
		return errors.New("mid_transformer_depth and added_embedding_dim: want none negative")
	}
	if err := s.checkUpDepth(); err != nil {
		return err
	}
	for i, c := range s.Channels {
		if c < normGroups || c%normGroups != 0 {
			return fmt.Errorf("block_channels has %d: want multiples of 32, the groups of the norms", c)
		}
		if s.Heads[i] < 1 || c%s.Heads[i] != 0 {
			return fmt.Errorf("%d heads over %d channels: want a divisor", s.Heads[i], c)
		}
		if s.Depth[i] < 0 {
			return errors.New("transformer_depth: want none negative")
		}
	}
	return nil
}

func (s *unet) checkUpDepth() error {
	if s.UpDepth == nil {
		return nil
	}
	if len(s.UpDepth) != len(s.Channels) {
		return fmt.Errorf("up_transformer_depth has %d levels: want %d, as block_channels", len(s.UpDepth), len(s.Channels))
	}
	for _, level := range s.UpDepth {
		if len(level) != s.Resnets+1 || slices.Min(level) < 0 {
			return fmt.Errorf("up_transformer_depth has %v: want %d, none negative", level, s.Resnets+1)
		}
	}
	return nil
}

// checkMiddle refuses shapes whose middle is not that of video networks: two residual
// blocks with a transformer between.
func (s *unet) checkMiddle() error {
	if s.MidShort || s.Mid < 1 {
		return errors.New("mid_short and mid_transformer_depth 0 are for images alone: want a whole middle")
	}
	return nil
}

// upDepth returns the depth of the transformer at block j of level i of the way out.
func (s *unet) upDepth(i, j int) int {
	if s.UpDepth != nil {
		return s.UpDepth[i][j]
	}
	return s.Depth[len(s.Depth)-1-i]
}

func (s *unet) graph(c Call) (*Graph, error) {
	if err := c.image(latentScale); err != nil {
		return nil, err
	}
	u, err := s.begin(c)
	if err != nil {
		return nil, err
	}
	return u.write(u.imagePosition, u.imageMiddle), nil
}

// latentScale is the pixels of a side for each position of the latents of all UNets here.
const latentScale = 8

// unetWriter writes one call of a UNet.
type unetWriter struct {
	*Builder
	shape *unet
	call  Call
	temb  TensorID // embedding of the time, a row for every image or frame
	text  TensorID // text states or image embeddings
	x     TensorID // latent
}

// begin starts a graph with its inputs and embeddings.
func (s *unet) begin(c Call) (*unetWriter, error) {
	b, err := c.builder()
	if err != nil {
		return nil, err
	}
	n := c.Batch * c.Passes * c.Frames
	u := &unetWriter{Builder: b, shape: s, call: c}
	u.x = b.Input("latent", n, s.In, c.Height/latentScale, c.Width/latentScale)
	u.text = b.Input("text", n, s.Context, c.Text, 1)
	u.temb = u.embed("time_embedding", n, s.Channels[0])
	if s.Added > 0 {
		u.temb = u.embed("add_embedding", n, s.Added, u.temb)
	}
	return u, nil
}

// embed adds the two projections, with SiLU between, that make an embedding of width
// TimeDim of one of the given width, as one operator: everything in it is small.
func (u *unetWriter) embed(name string, n, in int, ts ...TensorID) TensorID {
	k, m := int64(in), int64(u.shape.TimeDim)
	return u.Add(Op{
		Name: name, Kind: Linear, Linear: Product{M: int64(n), K: m, N: k + m},
		Params: m*(k+m) + 2*m, MACs: int64(n) * m * (k + m),
	}, n, u.shape.TimeDim, 1, 1, ts...)
}

// place says where in a UNet a residual block with its transformer stands.
type place struct {
	number string // of the residual block, in the names of operators
	out    int    // channels that it gives
	depth  int    // of the transformer, 0 for none
	heads  int
}

// write writes the way in, the middle and the way out. position writes what stands at one
// position of a level: a residual block, a transformer, and what follows them in video
// networks; middle writes the middle.
//
// Lifetimes are those of UNet2DConditionModel.forward: what enters a level of the way out
// is the caller's variable until the level returns, and so are all skip tensors of that
// level, which are one tuple; those of the last level until the network returns.
func (u *unetWriter) write(position, middle func(x TensorID, p place) TensorID) *Graph {
	s := u.shape
	last := len(s.Channels) - 1
	x := u.x
	u.Along(Spatial, func() { x = u.Conv("conv_in", x, s.Channels[0], 3, 1) })
	skips := []TensorID{x}
	for i := range s.Channels {
		x, skips = u.down(i, x, skips, position)
	}
	p := place{out: s.Channels[last], depth: s.Mid, heads: s.Heads[last]}
	u.Scope("mid", func() { x = middle(x, p) })
	var held []TensorID
	for i := range s.Channels {
		own := len(skips) - s.Resnets - 1
		held = skips[own:]
		next := none
		if i < last {
			next = skips[own-1]
		}
		x = u.up(i, x, held, next, position)
		skips = skips[:own]
	}
	u.Along(Spatial, func() {
		x = u.GroupNorm("conv_norm_out", x, normGroups)
		x = u.Pointwise("silu", "silu", x)
		x = u.Conv("conv_out", x, s.Out, 3, 1)
	})
	u.Hold(u.temb)
	u.Hold(held...)
	return u.Done(x)
}

// down writes level i of the way in, and adds its skip tensors.
func (u *unetWriter) down(i int, x TensorID, skips []TensorID, position func(TensorID, place) TensorID) (TensorID, []TensorID) {
	s := u.shape
	u.Scope(nth("down", i), func() {
		for j := range s.Resnets {
			x = position(x, place{number: nth("", j), out: s.Channels[i], depth: s.Depth[i], heads: s.Heads[i]})
			skips = append(skips, x)
		}
		if i < len(s.Channels)-1 {
			u.Along(Spatial, func() { x = u.Conv("downsample", x, s.Channels[i], 3, 2) })
			skips = append(skips, x)
		}
	})
	return x, skips
}

// up writes level i of the way out, counted from the inside. The result is brought to
// the size of next, the skip tensor that the level after it begins with; none for the last.
func (u *unetWriter) up(i int, x TensorID, skips []TensorID, next TensorID, position func(TensorID, place) TensorID) TensorID {
	s := u.shape
	level := len(s.Channels) - 1 - i
	in := x
	u.Scope(nth("up", i), func() {
		for j := range s.Resnets + 1 {
			x = u.concat(nth("cat", j), x, skips[s.Resnets-j])
			x = position(x, place{number: nth("", j), out: s.Channels[level], depth: s.upDepth(i, j), heads: s.Heads[level]})
		}
		if next != none {
			t := u.Shape(next)
			u.Along(Spatial, func() { x = u.upsample(x, t.H, t.W) })
		}
	})
	u.Hold(append([]TensorID{in}, skips...)...)
	return x
}

// transformerAt returns the transformer of a place.
func (u *unetWriter) transformerAt(p place) transformer {
	return transformer{depth: p.depth, heads: p.heads, context: u.text, tokens: u.call.Text, scores: u.call.Scores}
}

// imagePosition writes a residual block and a transformer over images.
func (u *unetWriter) imagePosition(x TensorID, p place) TensorID {
	u.Along(Spatial, func() {
		x = u.residual("res"+p.number, x, p.out, u.temb)
		if p.depth > 0 {
			x = u.spatialTransformer("attn"+p.number, x, u.transformerAt(p))
		}
	})
	return x
}

// imageMiddle writes a residual block, a transformer and another residual block.
func (u *unetWriter) imageMiddle(x TensorID, p place) TensorID {
	u.Along(Spatial, func() {
		x = u.residual("res0", x, p.out, u.temb)
		if u.shape.MidShort {
			return
		}
		if p.depth > 0 {
			x = u.spatialTransformer("attn", x, u.transformerAt(p))
		}
		x = u.residual("res1", x, p.out, u.temb)
	})
	return x
}
