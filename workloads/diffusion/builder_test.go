package diffusion

import (
	"slices"
	"testing"
)

// A residual block by hand: the input lives until the sum, what the convolution reads dies
// with it, and work and weights are those of the textbook.
func TestBuilderTracksLifeAndWork(t *testing.T) {
	b := NewBuilder("block", 2)
	x := b.Input("x", 2, 32, 8, 8)
	n := b.GroupNorm("norm", x, 8)
	a := b.Pointwise("silu", "silu", n)
	c := b.Conv("conv", a, 32, 3, 1)
	y := b.Pointwise("residual", "add", x, c)
	g := b.Done(y)

	const macs = 2 * 8 * 8 * 32 * 32 * 9
	const params = 64 + 32*32*9 + 32
	if g.MACs() != macs || g.Params() != params || g.Weights != 2*params || g.Kernels() != 4 {
		t.Errorf("%d MACs, %d parameters, %d bytes, %d kernels; want %d, %d, %d, 4", g.MACs(), g.Params(), g.Weights, g.Kernels(), macs, params, 2*params)
	}
	for i, want := range [][]TensorID{nil, {n}, {a}, {c}} {
		if !slices.Equal(g.Ops[i].Free, want) {
			t.Errorf("%s frees %v, want %v", g.Ops[i].Name, g.Ops[i].Free, want)
		}
	}
	if moved := g.Ops[3].Moved; moved != 3*2*32*8*8*2 {
		t.Errorf("the sum moves %d bytes, want three tensors", moved)
	}
}

// What a caller's variable names outlives its last reader.
func TestHoldKeepsTensors(t *testing.T) {
	b := NewBuilder("held", 2)
	x := b.Input("x", 1, 8, 4, 4)
	q := b.Linear("q", x, 8, false)
	o := b.Pointwise("o", "copy", q)
	y := b.Linear("out", o, 8, true)
	b.Hold(q)
	g := b.Done(y)
	if len(g.Ops[1].Free) != 0 || !slices.Contains(g.Ops[2].Free, q) {
		t.Errorf("q dies at %v, want at the last operator", g.Ops)
	}
}
