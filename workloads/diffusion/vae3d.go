package diffusion

import (
	"strings"

	"orrery/hwmodel"
)

// causal writes video autoencoders that take a clip in pieces of a few frames, one after
// the other: each convolution keeps the last frames that it read for the next piece.
type causal struct {
	*trunk
	clips int
	cache map[string]TensorID // what a convolution kept, by its name within a piece
	ran   map[string]bool     // operators with parameters, by their name within a piece
}

func newCausal(c Call) *causal {
	return &causal{trunk: newTrunk(c), clips: c.Batch, cache: map[string]TensorID{}, ran: map[string]bool{}}
}

// piece writes one piece of the clip. The parameters of an operator are counted in the
// first piece that runs it.
func (b *causal) piece(i int, body func()) {
	start, prefix := len(b.g.Ops), b.name(nth("piece", i)+"/")
	b.Scope(nth("piece", i), body)
	for k := start; k < len(b.g.Ops); k++ {
		op := &b.g.Ops[k]
		if op.Params == 0 {
			continue
		}
		name := strings.TrimPrefix(op.Name, prefix)
		if b.ran[name] {
			b.g.Weights -= op.Params * int64(b.width)
			op.Params = 0
		}
		b.ran[name] = true
	}
}

// key is the name of the current scope within a piece.
func (b *causal) key() string { return strings.Join(b.path[1:], "/") }

// keep copies the last frames of x for the next piece; what was kept before is let go
// first.
func (b *causal) keep(x TensorID, frames int) {
	if old, ok := b.cache[b.key()]; ok {
		b.Hold(old)
	}
	s := b.Shape(x)
	kept := b.with("keep", "copy", frames, s.C, x)
	op := &b.g.Ops[len(b.g.Ops)-1]
	t := b.Shape(kept)
	op.Moved = 2 * t.Bytes()
	b.cache[b.key()] = kept
}

// forget lets go of all that was kept.
func (b *causal) forget() {
	for _, kept := range b.cache {
		b.Hold(kept)
	}
}

// frames returns the frames of a clip in x.
func (b *causal) frames(x TensorID) int { return b.Shape(x).N / b.clips }

// with adds an operator whose result has that many frames and channels.
func (b *causal) with(name, what string, frames, channels int, ts ...TensorID) TensorID {
	s := b.Shape(ts[0])
	return b.Add(Op{Name: name, Kind: Elementwise, What: what}, b.clips*frames, channels, s.H, s.W, ts...)
}

// joined adds the concatenation of x with frames that came before it.
func (b *causal) joined(name string, before, x TensorID) TensorID {
	return b.with(name, "cat", b.frames(before)+b.frames(x), b.Shape(x).C, before, x)
}

// padded adds a border of zeros (or, for none, the copy that PyTorch makes all the same),
// and frames before the first.
func (b *causal) padded(name string, x TensorID, border, frames int) TensorID {
	s := b.Shape(x)
	return b.Add(Op{Name: name, Kind: Elementwise, What: "pad"}, b.clips*(b.frames(x)+frames), s.C, s.H+2*border, s.W+2*border, x)
}

// conv3d adds a convolution of time frames by side x side positions, without padding. In
// its shape the frames that one of the result depends on stand as channels beside each
// other, so that it is a two-dimensional convolution of the same work.
func (b *causal) conv3d(name string, x TensorID, out, time, side int) TensorID {
	s := b.Shape(x)
	n := b.clips * (b.frames(x) - time + 1)
	shape := hwmodel.ConvShape{
		N: float64(n), Cin: float64(s.C * time), H: float64(s.H), W: float64(s.W), Cout: float64(out),
		KernelH: float64(side), KernelW: float64(side), StrideH: 1, StrideW: 1, Groups: 1,
	}
	h, w := s.H-side+1, s.W-side+1
	weights := int64(out) * int64(s.C) * int64(time) * int64(side) * int64(side)
	return b.Add(Op{
		Name: name, Kind: ConvTemporal, Conv: shape, Params: weights + int64(out),
		MACs: int64(n) * int64(h) * int64(w) * weights,
	}, n, out, h, w, x)
}
