package diffusion

import (
	"fmt"

	"orrery/hwmodel"
)

// kernels prices single operators on numbers of one format.
type kernels struct {
	device *hwmodel.Device
	dtype  string
	width  float64 // bytes of an element
	layout bool    // see [hwmodel.Framework]

	conv     hwmodel.Conv
	product  hwmodel.GEMMKernel
	move     hwmodel.Stream
	norm     hwmodel.Stream
	softmax  hwmodel.Stream
	profile  *hwmodel.Profile
	slowness float64                          // of attention, in times of 16-bit kernels
	attend   map[[2]int64]hwmodel.PrefillCost // by heads and their size
}

// Libraries in the order in which constants are looked for: those that time kernels
// alone. Frameworks call cuDNN for convolutions and cuBLAS for products, as they do;
// fused attention on images was measured with vLLM's vision encoders.
const (
	convLibrary      = "deepbench"
	convTF32Library  = "kernelbench"
	productLibrary   = "vidur"
	streamLibrary    = "neusight"
	attentionLibrary = "vllm"
)

// of returns the kernels for a format.
func (q *Pricer) of(dtype string) (*kernels, error) {
	if k, ok := q.kernels[dtype]; ok {
		return k, nil
	}
	p := q.profile
	k := &kernels{device: q.device, dtype: dtype, layout: q.framework.Layout, profile: p, slowness: 1, attend: map[[2]int64]hwmodel.PrefillCost{}}
	k.width, _ = hwmodel.Width(dtype)
	// PyTorch's defaults: convolutions in 32 bits take tensor cores where there are any for
	// them, products do not.
	convType, library := dtype, convLibrary
	if dtype == "fp32" && q.device.TF32FLOPs > 0 {
		convType, library = "fp32_tf32ok", convTF32Library
	}
	conv, _ := p.Conv(library, convType, "fwd")
	move, _ := p.Stream(streamLibrary, dtype, "add")
	norm, _ := p.Stream(streamLibrary, dtype, "layernorm")
	softmax, _ := p.Stream(streamLibrary, dtype, "softmax")
	switch {
	case conv == nil:
		return nil, fmt.Errorf("%s has no constants for convolutions in %s", p.Device.Name, dtype)
	case move == nil || norm == nil || softmax == nil:
		return nil, fmt.Errorf("%s has no constants for kernels that move data in %s", p.Device.Name, dtype)
	}
	k.conv, k.move, k.norm, k.softmax = *conv, *move, *norm, *softmax
	// The framework's own launches stand in the place of those of the benchmarks.
	k.conv.Host, k.move.Host, k.norm.Host, k.softmax.Host = 0, 0, 0, 0
	var err error
	productType := dtype
	if dtype == "fp32" && q.framework.TF32 && q.device.TF32FLOPs > 0 {
		productType = "tf32"
	}
	if k.product, err = p.Products(productLibrary, productType); err != nil {
		return nil, err
	}
	if dtype == "fp32" {
		k.slowness = q.device.FLOPs("fp16") / q.device.FLOPs("fp32")
		if q.device.TF32FLOPs > 0 {
			k.slowness = q.device.FLOPs("fp16") / q.device.TF32FLOPs
		}
	}
	q.kernels[dtype] = k
	return k, nil
}

// seconds returns the time of op on the device, which moves so many bytes.
func (k *kernels) seconds(op *Op, bytes float64) float64 {
	switch op.Kind {
	case Conv, ConvTemporal:
		s := k.conv.Time(k.device, &op.Conv)
		if k.layout && k.width == 2 && op.Conv.Cin >= 8 && op.Conv.Cout >= 8 && k.tensorCores() {
			// Input and output are each read and written once more.
			oh, ow := op.Conv.Out()
			images := op.Conv.N * (op.Conv.Cin*op.Conv.H*op.Conv.W + op.Conv.Cout*oh*ow)
			s += k.move.Time(k.device, hwmodel.Pass{Bytes: 2 * k.width * images, Width: k.width})
		}
		return s
	case Linear:
		p := op.Linear
		return k.product.Time(int(p.M), int(p.N), int(p.K))
	case Attention:
		if op.What == "" {
			return k.attention(&op.Attend)
		}
		p, n := op.Linear, op.Attend.Groups*op.Attend.Heads
		return k.product.Batched(float64(n), int(p.M/n), int(p.N), int(p.K))
	case LayerNorm:
		return k.rows(&k.norm, op, bytes)
	case GroupNorm:
		// Statistics are one kernel and their use another, which reads the input again.
		return k.move.Time(k.device, hwmodel.Pass{Bytes: 1.5 * bytes, Width: k.width})
	}
	if op.What == "softmax" && op.Rows > 0 {
		return k.rows(&k.softmax, op, bytes)
	}
	return k.move.Time(k.device, hwmodel.Pass{Bytes: bytes, Width: k.width, Kernels: op.Kernels})
}

// start returns how long a kernel that only moves data takes to start and end.
func (k *kernels) start(op *Op) float64 {
	switch {
	case op.Kind == LayerNorm:
		return k.norm.Launch
	case op.What == "softmax" && op.Rows > 0:
		return k.softmax.Launch
	case op.Kind == Elementwise || op.Kind == GroupNorm:
		return k.move.Launch
	}
	return 0
}

func (k *kernels) tensorCores() bool { return k.device.FP16FLOPs > 2.5*k.device.FP32FLOPs }

// rows prices an operator that reduces along rows.
func (k *kernels) rows(s *hwmodel.Stream, op *Op, bytes float64) float64 {
	if op.Rows == 0 || op.Cols == 0 {
		return k.move.Time(k.device, hwmodel.Pass{Bytes: bytes, Width: k.width})
	}
	return s.Time(k.device, hwmodel.Pass{Bytes: bytes, Rows: float64(op.Rows), Cols: float64(op.Cols), Width: k.width})
}

// attention prices fused attention. Kernels have tiles for some sizes of heads and pad
// the others.
func (k *kernels) attention(a *AttentionShape) float64 {
	key := [2]int64{a.Heads, a.Dim}
	c, ok := k.attend[key]
	if !ok {
		dim := padded(int(a.Dim))
		want := hwmodel.AttentionKey{Key: hwmodel.Key{Engine: attentionLibrary, DType: "bf16"}, KV: "bf16", Dim: dim}
		kernel, _ := k.profile.Prefill(want, false)
		if kernel == nil {
			kernel, _ = k.profile.Prefill(want, true)
		}
		c = kernel.On(k.device, hwmodel.Heads{Query: int(a.Heads), KV: int(a.Heads), Dim: dim, KVBytes: int(k.width)})
		k.attend[key] = c
	}
	return k.slowness * c.Between(float64(a.Groups), float64(a.Queries), float64(a.Keys))
}

// padded returns the size of head that fused kernels have code for, as FlashAttention-2
// does: multiples of 32 up to 128, then of 64.
func padded(dim int) int {
	if dim <= 128 {
		return (dim + 31) / 32 * 32
	}
	return (dim + 63) / 64 * 64
}
