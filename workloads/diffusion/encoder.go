package diffusion

import (
	"errors"
	"fmt"
)

// clip is the shape of CLIP's encoders: transformers with the norm before each layer, of
// text or of an image's patches (CLIPTextModel, CLIPTextModelWithProjection and
// CLIPVisionModelWithProjection of transformers).
type clip struct {
	Layers     int    `toml:"layers"`
	Width      int    `toml:"width"`
	Heads      int    `toml:"heads"`
	MLP        int    `toml:"mlp"`
	Activation string `toml:"activation"` // quick_gelu or gelu
	Projection int    `toml:"projection"` // width of what the pooled token is projected to; 0: it is not
	Vocabulary int    `toml:"vocabulary"` // of text
	Tokens     int    `toml:"tokens"`     // positions that there are: of text
	Patch      int    `toml:"patch"`      // pixels of a patch's side; 0: text
	Image      int    `toml:"image"`      // pixels of the image's side
}

func (e *clip) check() error {
	switch {
	case min(e.Layers, e.Width, e.Heads, e.MLP) < 1 || e.Width%e.Heads != 0:
		return errors.New("want layers, width, heads and mlp above zero, and a width that is a multiple of heads")
	case e.Activation != "gelu" && e.Activation != "quick_gelu":
		return fmt.Errorf("activation %q: want gelu or quick_gelu", e.Activation)
	case e.Patch == 0 && min(e.Vocabulary, e.Tokens) < 1:
		return errors.New("want vocabulary and tokens of a text encoder")
	case e.Patch != 0 && (e.Patch < 0 || e.Image < e.Patch):
		return errors.New("want an image of at least a patch")
	}
	return nil
}

func (e *clip) graph(c Call) (*Graph, error) {
	t := newTrunk(c)
	n := c.Batch * c.Passes
	if e.Patch > 0 {
		return e.vision(t, n, c)
	}
	return e.text(t, n, c)
}

// text encodes prompts. All its layers are run, also where a pipeline reads an earlier one.
func (e *clip) text(t *trunk, n int, c Call) (*Graph, error) {
	if c.Text < 1 || c.Text > e.Tokens {
		return nil, fmt.Errorf("%d tokens: want from 1 to %d", c.Text, e.Tokens)
	}
	ids := t.ids(n, c.Text)
	x := t.lookup("token_embedding", ids, e.Vocabulary, e.Width)
	p := t.weights("position_embedding", c.Text, e.Tokens, e.Width)
	x = t.Pointwise("add_positions", "add", x, p)
	mask := t.small("causal_mask", 6, c.Text, c.Text)
	x = e.layers(t, x, mask)
	x = t.LayerNorm("final_norm", x, 2*int64(e.Width))
	pooled := t.small("pool", 4, n, e.Width, x, ids) // the end's place, and its token
	if e.Projection > 0 {
		pooled = t.Linear("projection", pooled, e.Projection, false)
	}
	t.Hold(mask, p)
	return t.Done(x, pooled), nil
}

// vision encodes images, of the network's own size whatever the pipeline makes.
func (e *clip) vision(t *trunk, n int, c Call) (*Graph, error) {
	if c.Width != e.Image || c.Height != e.Image {
		return nil, fmt.Errorf("%dx%d: want %dx%d", c.Width, c.Height, e.Image, e.Image)
	}
	side := e.Image / e.Patch
	image := t.Input("image", n, 3, e.Image, e.Image)
	x := t.patches("patch_embedding", image, e.Patch, e.Width, false)
	class := t.weights("class_embedding", 1, 1, e.Width)
	x = t.sequence("join", "cat", n, side*side+1, e.Width, class, x)
	p := t.weights("position_embedding", side*side+1, side*side+1, e.Width)
	x = t.Pointwise("add_positions", "add", x, p)
	x = t.LayerNorm("pre_norm", x, 2*int64(e.Width))
	x = e.layers(t, x, none)
	pooled := t.LayerNorm("post_norm", t.slice("class", x, 0, 1), 2*int64(e.Width))
	t.Hold(p)
	if e.Projection == 0 {
		return t.Done(x, pooled), nil
	}
	return t.Done(t.Linear("projection", pooled, e.Projection, false)), nil
}

func (e *clip) layers(t *trunk, x, mask TensorID) TensorID {
	for i := range e.Layers {
		t.Scope(nth("layer", i), func() { x = e.layer(t, x, mask) })
	}
	return x
}

// layer follows CLIPEncoderLayer: its residual is a variable of its own.
func (e *clip) layer(t *trunk, x, mask TensorID) TensorID {
	h := t.LayerNorm("norm1", x, 2*int64(e.Width))
	a := e.attention(t, h, mask)
	y := t.Pointwise("attn/residual", "add", x, a)
	t.Hold(x)
	h = t.LayerNorm("norm2", y, 2*int64(e.Width))
	h = t.Linear("fc1", h, e.MLP, true)
	if e.Activation == "gelu" {
		h = t.Pointwise("gelu", "gelu", h)
	} else { // h * sigmoid(1.702 h)
		g := t.Pointwise("scale", "mul", h)
		g = t.Pointwise("sigmoid", "sigmoid", g)
		h = t.Pointwise("gate", "mul", h, g)
	}
	h = t.Linear("fc2", h, e.Width, true)
	return t.Pointwise("mlp/residual", "add", y, h)
}

// attention follows CLIPSdpaAttention, and CLIPAttention where scores are materialised.
func (e *clip) attention(t *trunk, x, mask TensorID) TensorID {
	var y TensorID
	t.Scope("attn", func() {
		q := t.Linear("to_q", x, e.Width, true)
		k := t.Linear("to_k", x, e.Width, true)
		v := t.Linear("to_v", x, e.Width, true)
		var o TensorID
		if t.scores {
			o = e.written(t, q, k, v, mask)
		} else {
			o = t.attend(q, k, v, e.Heads, false)
			t.Hold(q, k, v)
		}
		y = t.Linear("to_out", o, e.Width, true)
	})
	return y
}

// written adds attention with scaled queries, heads copied beside each other, and the
// causal mask, if there is one, added to the scores.
func (e *clip) written(t *trunk, q, k, v, mask TensorID) TensorID {
	q = t.Pointwise("scale_q", "mul", q)
	q, k, v = t.Pointwise("split_q", "copy", q), t.Pointwise("split_k", "copy", k), t.Pointwise("split_v", "copy", v)
	s, a := t.scoresOf(q, k, e.Heads)
	if mask != none {
		s = t.Pointwise("mask", "add", s, mask)
	}
	p := t.softmax(s, a)
	o := t.Pointwise("join", "copy", t.valuesOf(p, v, a))
	t.Hold(q, k, v, p)
	return o
}

// ids adds the tokens of prompts, 8 bytes each.
func (t *trunk) ids(n, tokens int) TensorID {
	was := t.width
	t.width = 8
	id := t.Input("ids", n, 1, tokens, 1)
	t.width = was
	return id
}

// lookup adds the embedding of tokens: of the table's rows only those are read.
func (t *trunk) lookup(name string, ids TensorID, vocabulary, width int) TensorID {
	s := t.Shape(ids)
	return t.Add(Op{
		Name: name, Kind: Elementwise, What: "embedding", Params: int64(vocabulary) * int64(width),
		Moved: 2 * int64(s.N) * int64(s.H) * int64(width) * int64(t.width),
	}, s.N, width, s.H, 1, ids)
}

// weights adds rows of parameters, of which there are all, that later operators read.
func (t *trunk) weights(name string, rows, all, width int) TensorID {
	return t.Add(Op{
		Name: name, Kind: Elementwise, What: "embedding", Params: int64(all) * int64(width),
		Moved: 2 * int64(rows) * int64(width) * int64(t.width),
	}, 1, width, rows, 1)
}
