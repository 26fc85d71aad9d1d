package planning

import (
	"orrery/hwmodel"
	"orrery/workloads/diffusion"
)

// module writes the graph of one call of a network: sequences of Tokens vectors stand as
// tensors with one row, their length the width.
type module struct{ *diffusion.Builder }

const float32Width = 4 // planners run in PyTorch's default, 32 bits

func newModule(name string) module { return module{diffusion.NewBuilder(name, float32Width)} }

// input is n sequences of so many vectors of c numbers.
func (m module) input(name string, n, c, tokens int) diffusion.TensorID {
	return m.Input(name, n, c, 1, tokens)
}

// linear has a bias.
func (m module) linear(name string, x diffusion.TensorID, out int) diffusion.TensorID {
	return m.Linear(name, x, out, true)
}

// elementwise is one kernel that reads its arguments and writes a tensor like the first.
func (m module) elementwise(name string, ts ...diffusion.TensorID) diffusion.TensorID {
	return m.Pointwise(name, name, ts...)
}

// each writes one kernel after the other over x.
func (m module) each(x diffusion.TensorID, names ...string) diffusion.TensorID {
	for _, name := range names {
		x = m.elementwise(name, x)
	}
	return x
}

// join concatenates along the channels.
func (m module) join(name string, ts ...diffusion.TensorID) diffusion.TensorID {
	first, c := m.Shape(ts[0]), 0
	for _, t := range ts {
		c += m.Shape(t).C
	}
	return m.Add(diffusion.Op{Name: name, Kind: diffusion.Elementwise, What: "cat"}, first.N, c, first.H, first.W, ts...)
}

// shape copies x into a tensor of another shape, or takes a part of it.
func (m module) shape(name string, x diffusion.TensorID, n, c, tokens int) diffusion.TensorID {
	size := int64(n) * int64(c) * int64(tokens) * float32Width
	return m.Add(diffusion.Op{Name: name, Kind: diffusion.Elementwise, What: "copy", Moved: 2 * size}, n, c, 1, tokens, x)
}

// conv is a convolution along the sequence, padded as its network pads it.
func (m module) conv(name string, x diffusion.TensorID, out, kernel, stride int) diffusion.TensorID {
	t := m.Shape(x)
	length := (t.W + stride - 1) / stride
	return m.convOp(name, x, out, kernel, length, hwmodel.ConvShape{
		N: float64(t.N), Cin: float64(t.C), H: 1, W: float64(t.W), Cout: float64(out),
		KernelH: 1, KernelW: float64(kernel), StrideH: 1, StrideW: float64(stride), PadW: float64(kernel / 2), Groups: 1,
	})
}

// convUp is a transposed convolution that doubles the length of the sequence: the work of
// a convolution over the longer one in steps of two.
func (m module) convUp(name string, x diffusion.TensorID, kernel int) diffusion.TensorID {
	t := m.Shape(x)
	return m.convOp(name, x, t.C, kernel, 2*t.W, hwmodel.ConvShape{
		N: float64(t.N), Cin: float64(t.C), H: 1, W: float64(2 * t.W), Cout: float64(t.C),
		KernelH: 1, KernelW: float64(kernel), StrideH: 1, StrideW: 2, PadW: float64(kernel/2 - 1), Groups: 1,
	})
}

func (m module) convOp(name string, x diffusion.TensorID, out, kernel, length int, s hwmodel.ConvShape) diffusion.TensorID {
	t := m.Shape(x)
	weights := int64(out) * int64(t.C) * int64(kernel)
	_, steps := s.Out()
	return m.Add(diffusion.Op{
		Name: name, Kind: diffusion.Conv, Conv: s, Params: weights + int64(out), MACs: int64(t.N) * int64(steps) * weights,
	}, t.N, out, 1, length, x)
}

// product is a batched matrix product of attention: for each of n pairs of sequence and
// head, rows x inner by inner x columns.
func (m module) product(name string, n, rows, inner, columns, out, tokens int, ts ...diffusion.TensorID) diffusion.TensorID {
	heads := int64(n)
	return m.Add(diffusion.Op{
		Name: name, Kind: diffusion.Attention, What: "bmm",
		Linear: diffusion.Product{M: heads * int64(rows), K: int64(inner), N: int64(columns)},
		Attend: diffusion.AttentionShape{Groups: heads, Heads: 1, Queries: int64(rows), Keys: int64(columns), Dim: int64(inner)},
		MACs:   heads * int64(rows) * int64(inner) * int64(columns),
	}, m.Shape(ts[0]).N, out, 1, tokens, ts...)
}
