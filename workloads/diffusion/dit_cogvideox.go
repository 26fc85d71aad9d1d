package diffusion

import (
	"errors"
	"fmt"
)

// cogvideox is the shape of CogVideoX: blocks over the joined tokens of text and video,
// whose norms are modulated apart (CogVideoXTransformer3DModel of diffusers).
type cogvideox struct {
	Layers int  `toml:"layers"`
	Heads  int  `toml:"heads"`
	Dim    int  `toml:"head_dim"`
	MLP    int  `toml:"mlp_ratio"`
	Patch  int  `toml:"patch"`
	Time   int  `toml:"time_width"`
	Text   int  `toml:"text_width"`
	In     int  `toml:"in_channels"`
	Rotary bool `toml:"rotary"` // positions turn queries and keys; otherwise they are added to the tokens
}

func (v *cogvideox) check() error {
	if min(v.Layers, v.Heads, v.Dim, v.MLP, v.Patch, v.Time, v.Text, v.In) < 1 {
		return errors.New("want all sizes above zero")
	}
	return nil
}

func (v *cogvideox) width() int { return v.Heads * v.Dim }

func (v *cogvideox) graph(c Call) (*Graph, error) {
	if err := c.sides(8 * v.Patch); err != nil {
		return nil, err
	}
	frames, err := c.latentFrames()
	if err != nil {
		return nil, err
	}
	t := newTrunk(c)
	n, h, w := c.Batch*c.Passes, c.Height/8, c.Width/8
	latent := t.Input("latent", n*frames, v.In, h, w)
	prompt := t.Input("text", n, v.Text, c.Text, 1)
	b := &cogvideoxBlock{trunk: t, v: v, words: c.Text, tokens: frames * (h / v.Patch) * (w / v.Patch)}
	if v.Rotary {
		t.float(func() { b.table = t.Input("rotary_table", 1, 2*v.Dim, b.tokens, 1) }) // made once a run
	}

	b.emb = t.mlp("time", t.timestep("sinusoid", n, v.width()), v.Time, v.Time, "silu")
	joined := b.embed(latent, prompt)
	text, x := b.parts(joined)
	for i := range v.Layers {
		t.Scope(nth("block", i), func() { text, x = b.block(text, x) })
	}
	t.Hold(joined)
	x = t.LayerNorm("norm_final", x, 2*int64(v.width()))
	t.Scope("norm_out", func() { x = t.modulate("norm", x, t.conditioning(b.emb, 2, v.width()), 2*int64(v.width())) })
	x = t.Linear("proj_out", x, v.Patch*v.Patch*v.In, true)
	t.Hold(text, b.emb)
	x = t.Add(Op{Name: "unpatchify", Kind: Elementwise, What: "copy"}, n*frames, v.In, h, w, x)
	return t.Done(x), nil
}

// latentFrames returns the frames of the latent of a video autoencoder that keeps the
// first frame and compresses each four that follow.
func (c Call) latentFrames() (int, error) {
	if (c.Frames-1)%4 != 0 {
		return 0, fmt.Errorf("%d frames: want one and a multiple of 4, such as %d", c.Frames, (c.Frames+1)/4*4+1)
	}
	return (c.Frames-1)/4 + 1, nil
}

// cogvideoxBlock writes the blocks of one call.
type cogvideoxBlock struct {
	*trunk
	v             *cogvideox
	emb, table    TensorID
	words, tokens int // of text, of video
}

// all adds an operator that writes the tokens of text and of video.
func (b *cogvideoxBlock) all(name, what string, ts ...TensorID) TensorID {
	n := b.Shape(b.emb).N
	return b.sequence(name, what, n, b.words+b.tokens, b.v.width(), ts...)
}

// parts gives the tokens of text and of video in x.
func (b *cogvideoxBlock) parts(x TensorID) (text, video TensorID) {
	return b.slice("text", x, 0, b.words), b.slice("video", x, b.words, b.words+b.tokens)
}

// embed makes tokens of the prompt and of the frames' patches, and joins them.
func (b *cogvideoxBlock) embed(latent, prompt TensorID) TensorID {
	var x TensorID
	b.Scope("patch_embed", func() {
		text := b.Linear("text_proj", prompt, b.v.width(), true)
		video := b.convolve("proj", latent, b.v.width(), b.v.Patch, b.v.Patch, 0)
		x = b.all("join", "cat", text, video)
		b.Hold(text, video)
		if !b.v.Rotary {
			x = b.Pointwise("pos_embed", "add", x)
		}
	})
	return x
}

// block follows CogVideoXBlock. Its arguments, what attention returned and the last of its
// normed states live until it returns.
func (b *cogvideoxBlock) block(text, x TensorID) (text2, x2 TensorID) {
	mod, textH, h := b.normed("norm1", text, x)
	textA, a := b.parts(b.attention(textH, h))
	y, _ := b.gated("attn", x, a, mod)
	z, _ := b.gated("attn_text", text, textA, mod)

	mod, textH2, h2 := b.normed("norm2", z, y)
	b.Hold(textH, h)
	joined := b.all("cat", "cat", textH2, h2)
	b.Hold(h2)
	out := b.mlp("ff", joined, b.v.MLP*b.v.width(), b.v.width(), "gelu")
	textF, f := b.parts(out)
	was, wasText := y, z
	y, _ = b.gated("ff", y, f, mod)
	b.Hold(was)
	z, _ = b.gated("ff_text", z, textF, mod)
	b.Hold(text, x, a, textA, joined, textH2, out, mod, wasText)
	return z, y
}

// normed adds the norm that text and video share, modulated apart for each
// (CogVideoXLayerNormZero).
func (b *cogvideoxBlock) normed(name string, text, x TensorID) (mod, textH, h TensorID) {
	b.Scope(name, func() {
		mod = b.conditioning(b.emb, 6, b.v.width())
		h = b.modulate("video", x, mod, 2*int64(b.v.width()))
		textH = b.modulate("text", text, mod, 0) // the same weights again
	})
	return mod, textH, h
}

// attention follows CogVideoXAttnProcessor2_0: queries and keys are normalised head by
// head, which brings the heads beside each other, and those of the video are turned and
// written back in place.
func (b *cogvideoxBlock) attention(text, x TensorID) TensorID {
	var y TensorID
	b.Scope("attn", func() {
		joined := b.all("cat", "cat", text, x)
		q := b.Linear("to_q", joined, b.v.width(), true)
		k := b.Linear("to_k", joined, b.v.width(), true)
		v := b.Linear("to_v", joined, b.v.width(), true)
		q, k = b.headNorm("norm_q", q), b.headNorm("norm_k", k)
		if b.v.Rotary {
			q, k = b.turned("rotary_q", q), b.turned("rotary_k", k)
		}
		o := b.attend(q, k, v, b.v.Heads, true)
		y = b.Linear("to_out", o, b.v.width(), true)
		b.Hold(joined, q, k, v)
	})
	return y
}

// headNorm adds a norm over each head's elements, after the copy that brings the heads
// beside each other.
func (b *cogvideoxBlock) headNorm(name string, x TensorID) TensorID {
	var y TensorID
	b.Scope(name, func() {
		s := b.Shape(x)
		c := b.Pointwise("contiguous", "copy", x)
		y = b.Add(Op{
			Name: "norm", Kind: LayerNorm, What: "layernorm", Params: 2 * int64(b.v.Dim),
			Rows: s.Elements() / int64(b.v.Dim), Cols: int64(b.v.Dim),
		}, s.N, s.C, s.H, s.W, c)
		b.Hold(x)
	})
	return y
}

// turned adds the rotary embedding of the video's tokens and writes them back into x; the
// graph has that as a tensor of its own, for tensors are written once.
func (b *cogvideoxBlock) turned(name string, x TensorID) TensorID {
	s := b.Shape(x)
	r := b.rotary(name, b.slice(name+"_video", x, b.words, b.words+b.tokens), b.table)
	turned := b.Shape(r)
	return b.Add(Op{Name: name + "/write", Kind: Elementwise, What: "copy", Moved: 2 * turned.Bytes()}, s.N, s.C, s.H, s.W, x, r)
}
