package planning

import (
	"fmt"

	"orrery/workloads/diffusion"
)

// block is what the transformers of these planners share: attention as separate products
// around a softmax, as they were written, not one fused kernel.
type block struct {
	width, heads, hidden int
	preNorm              bool // norms stand before attention and MLP, as in GPT, not after
	activation           string
}

// layer adds one layer over sequences of x, whose queries attend to keys tokens: those of x
// and what a cache holds.
func (m module) layer(name string, b *block, x diffusion.TensorID, keys int) diffusion.TensorID {
	t := m.Shape(x)
	n, queries, dim := t.N*b.heads, t.W, b.width/b.heads
	norm := func(name string, x diffusion.TensorID) diffusion.TensorID {
		return m.LayerNorm(name, x, 2*int64(b.width))
	}
	m.Scope(name, func() {
		in := x
		if b.preNorm {
			in = norm("norm1", x)
		}
		q, k, v := m.linear("query", in, b.width), m.linear("key", in, b.width), m.linear("value", in, b.width)
		q = m.elementwise("scale", q)
		s := m.product("scores", n, queries, dim, keys, b.heads*keys, queries, q, k)
		s = m.elementwise("mask", s)
		rows := int64(n) * int64(queries)
		s = m.Add(diffusion.Op{Name: "softmax", Kind: diffusion.Elementwise, What: "softmax", Rows: rows, Cols: int64(keys)}, t.N, b.heads*keys, 1, queries, s)
		o := m.product("mix", n, queries, keys, dim, b.width, queries, s, v)
		o = m.linear("out", m.elementwise("merge", o), b.width)
		x = m.elementwise("add1", x, o)
		if b.preNorm {
			in = norm("norm2", x)
		} else {
			x = norm("norm1", x)
			in = x
		}
		h := m.elementwise(b.activation, m.linear("up", in, b.hidden))
		x = m.elementwise("add2", x, m.linear("down", h, b.width))
		if !b.preNorm {
			x = norm("norm2", x)
		}
	})
	return x
}

// stack adds so many layers.
func (m module) stack(b *block, layers int, x diffusion.TensorID, keys int) diffusion.TensorID {
	for i := range layers {
		x = m.layer(fmt.Sprintf("layer%d", i), b, x, keys)
	}
	return x
}
