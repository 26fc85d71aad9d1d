package diffusion

import "orrery/hwmodel"

// Graph is one call of a network, as an eager framework runs it: operators in order,
// and the tensors that they read and write.
type Graph struct {
	Name    string
	Tensors []Tensor
	Ops     []Op
	Inputs  []TensorID // there before the first operator, and still there after the last
	Outputs []TensorID // there after the last operator
	Weights int64      // bytes of the parameters
}

// TensorID is the index of a tensor in its graph.
type TensorID int32

// Tensor is what an operator writes: N images (or frames, guidance included) of C channels
// of H x W positions; sequences of tokens have H tokens and W = 1.
type Tensor struct {
	Name       string
	N, C, H, W int
	Width      int // bytes of an element
}

// Elements returns the number of elements.
func (t *Tensor) Elements() int64 { return int64(t.N) * int64(t.C) * int64(t.H) * int64(t.W) }

// Bytes returns the size in memory.
func (t *Tensor) Bytes() int64 { return t.Elements() * int64(t.Width) }

// Kind says how an operator is priced.
type Kind uint8

// The kinds of operator.
const (
	Elementwise  Kind = iota // moves data: activations, sums, copies, concatenations, upsampling
	Conv                     // two-dimensional convolution
	ConvTemporal             // convolution over frames: kernel k x 1 x 1, or k x k x k of causal video autoencoders
	Linear                   // matrix product
	Attention                // softmax(QK')V, both products
	GroupNorm
	LayerNorm // also RMS norm
	numKind
)

var kindNames = [numKind]string{"elementwise", "conv", "conv_temporal", "linear", "attention", "groupnorm", "layernorm"}

// String returns the kind's name as it stands in tables.
func (k Kind) String() string { return kindNames[k] }

// Axis says along what an operator's work falls into independent parts.
type Axis uint8

const (
	Whole    Axis = iota // it does not
	Spatial              // images or frames: two-dimensional convolution, norms, attention within a frame
	Temporal             // positions: attention and convolution over frames
)

// Op is one operator as a framework launches it.
type Op struct {
	Name   string
	Kind   Kind
	Axis   Axis
	Block  int    // number of the block of consecutive operators of one axis that may be run slice by slice
	What   string // function of an Elementwise or norm: silu, gelu, add, mul, copy, cat, upsample, groupnorm, layernorm, rmsnorm, ...
	Params int64  // parameters that it holds
	MACs   int64  // multiply-adds

	// Conv is of Conv and ConvTemporal. Over frames alone, H is frames and W the positions of
	// one; over both, the frames that one of the result depends on stand as channels.
	Conv   hwmodel.ConvShape
	Linear Product        // of Linear
	Attend AttentionShape // of Attention
	Rows   int64          // of norms: rows (or groups of channels), each normalised for itself
	Cols   int64          // of norms: elements of a row

	Reads  []TensorID
	Writes []TensorID
	Free   []TensorID // whose last reference is gone when the operator has ended
	// Moved is the bytes read and written, weights included, each operand once. It is
	// not the sum over Reads and Writes where an operand is broadcast or only a part of it is read.
	Moved int64
	// Kernels is how many kernels the operator launches; 0 for what the network does
	// only to a shape, and for the few scalars that are too small to count.
	Kernels int
}

// Product is a matrix product of M x K by K x N.
type Product struct{ M, K, N int64 }

// AttentionShape is an attention call: Groups independent ones, with Heads heads of Dim
// elements, from Queries tokens to Keys tokens.
type AttentionShape struct{ Groups, Heads, Queries, Keys, Dim int64 }

// Scores returns the number of elements of the score matrices, where they are materialised.
func (a *AttentionShape) Scores() int64 { return a.Groups * a.Heads * a.Queries * a.Keys }

// MACs returns the multiply-adds of one call.
func (g *Graph) MACs() int64 {
	var sum int64
	for i := range g.Ops {
		sum += g.Ops[i].MACs
	}
	return sum
}

// Params returns the number of parameters.
func (g *Graph) Params() int64 {
	var sum int64
	for i := range g.Ops {
		sum += g.Ops[i].Params
	}
	return sum
}

// Moved returns the bytes that one call reads and writes, each operand of each operator once.
func (g *Graph) Moved() int64 {
	var sum int64
	for i := range g.Ops {
		sum += g.Ops[i].Moved
	}
	return sum
}

// Kernels returns the number of kernels that one call launches.
func (g *Graph) Kernels() int {
	sum := 0
	for i := range g.Ops {
		sum += g.Ops[i].Kernels
	}
	return sum
}
