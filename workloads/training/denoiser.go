package training

import (
	"fmt"

	"orrery/workloads/diffusion"
	"orrery/workloads/net"
)

// denoisers are the networks of orrery/workloads/diffusion that are trained by name, at their
// own size of image.
var denoisers = []string{"cogvideox_2b", "flux1_dev", "pixart_alpha", "sd15_unet", "sd21_unet", "sd3_medium", "sdxl_unet"}

// denoiser is a UNet or a diffusion transformer: its backward pass follows from the operators
// of its graph, one after another from the last.
type denoiser struct{ net *diffusion.Network }

func loadDenoiser(name string) (Network, error) {
	n, err := diffusion.Load(name)
	if err != nil {
		return nil, err
	}
	return denoiser{n}, nil
}

// graph is a call on a batch without guidance, which training has none of.
func (d denoiser) graph(batch int, dtype string) *diffusion.Graph {
	g, err := d.net.Graph(diffusion.Call{Batch: batch, Passes: 1, DType: dtype})
	if err != nil {
		panic(fmt.Sprintf("training: %s at its own size: %v", d.net.Name, err)) // its own size is one it takes
	}
	return g
}

// Train implements [Network].
func (d denoiser) Train(batch int) (forward, backward []net.Op) {
	g := d.graph(batch, "fp16")
	for i := range g.Ops {
		op := &g.Ops[i]
		if op.Kernels == 0 {
			continue
		}
		f, b := passes(g, op)
		forward = append(forward, f...)
		backward = append(b, backward...) // the gradients of an operator in their order
	}
	return forward, backward
}

// Params implements [Network].
func (d denoiser) Params() int64 { return d.graph(1, "fp16").Params() }

// Tensors implements [Network]: weights and biases, or scales and shifts, are one each.
func (d denoiser) Tensors() int {
	n := 0
	for _, op := range d.graph(1, "fp16").Ops {
		if op.Params > 0 {
			n += 2
		}
	}
	return n
}

// Kept implements [Network]: the results of all operators of a sample but those of views, which
// a framework keeps for the backward pass.
func (d denoiser) Kept(width float64) float64 {
	g, elems := d.graph(1, "fp16"), 0.0
	for i := range g.Ops {
		if g.Ops[i].Kernels == 0 {
			continue
		}
		for _, t := range g.Ops[i].Writes {
			elems += float64(g.Tensors[t].Elements())
		}
	}
	return elems * width
}

// operator is an operator as tables of measurements have it.
func operator(table, word string, sizes ...float64) net.Op {
	op := net.Op{Table: table, Word: word}
	copy(op.Sizes[:], sizes)
	return op
}

// passes returns what an operator launches forward and backward. Products and convolutions
// have gradients of input and weights; attention that is fused keeps no scores and computes
// them again, five products for its two; what moves data reads the gradient, and what it kept,
// and writes a gradient.
func passes(g *diffusion.Graph, op *diffusion.Op) (forward, backward []net.Op) {
	switch op.Kind {
	case diffusion.Conv, diffusion.ConvTemporal:
		c := &op.Conv
		pass := func(word string) net.Op {
			return operator("conv2d", word, c.N, c.Cin, c.H, c.W, c.Cout, c.KernelH, c.KernelW, c.StrideH, c.StrideW, c.PadH, c.PadW, c.Groups)
		}
		return []net.Op{pass("fwd")}, []net.Op{pass("bwd_filter"), pass("bwd_data")}
	case diffusion.Linear:
		p := op.Linear
		m, n, k := float64(p.M), float64(p.N), float64(p.K)
		return []net.Op{operator("gemm", "", 1, m, n, k)}, []net.Op{operator("gemm", "", 1, m, k, n), operator("gemm", "", 1, k, n, m)}
	case diffusion.Attention:
		a := &op.Attend
		b, q, k, d := float64(a.Groups*a.Heads), float64(a.Queries), float64(a.Keys), float64(a.Dim)
		if op.What != "" { // one of its products alone
			m, n, inner := float64(op.Linear.M)/b, float64(op.Linear.N), float64(op.Linear.K)
			return []net.Op{operator("gemm", "", b, m, n, inner)}, []net.Op{operator("gemm", "", b, m, inner, n), operator("gemm", "", b, inner, n, m)}
		}
		scores, values := operator("gemm", "", b, q, k, d), operator("gemm", "", b, q, d, k)
		return []net.Op{scores, values}, []net.Op{scores, operator("gemm", "", b, k, d, q), operator("gemm", "", b, q, k, d), values, operator("gemm", "", b, k, d, q)}
	case diffusion.LayerNorm:
		if op.Rows > 0 && op.Cols > 0 {
			rows, cols := float64(op.Rows), float64(op.Cols)
			return []net.Op{operator("rownorm", "layernorm", rows, cols)}, []net.Op{operator("elementwise", "mul", rows*cols, 4, 1)}
		}
	}
	elems := 0.0
	for _, t := range op.Writes {
		elems += float64(g.Tensors[t].Elements())
	}
	if elems == 0 {
		return nil, nil
	}
	reads := float64(max(len(op.Reads), 1))
	extra := 0.0
	if op.Kind == diffusion.GroupNorm {
		extra = 1 // statistics first
	}
	return []net.Op{operator("elementwise", "add", elems, reads+extra, 1)}, []net.Op{operator("elementwise", "add", elems, 2+2*extra, reads)}
}
