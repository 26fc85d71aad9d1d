package training

import (
	"fmt"

	"orrery/hwmodel"
	"orrery/workloads/net"
)

// attentionLibraries are those whose fused kernels stand for the attention of a step, best
// first.
var attentionLibraries = []string{"vllm", "trtllm", "fa2"}

// The backward pass of fused attention computes five products where the forward pass
// computes two, and reaches 63 of the peak's hundredths where that reaches 73 (Dao,
// "FlashAttention-2", 2023, on an A100).
const attentionBackward = 5.0 / 2 * 73 / 63

// attention returns the seconds of fused causal attention over whole sequences. Kernels are
// of 16 bits; in 32 bits products take as many times longer as the device's peaks say.
func (q *pricer) attention(op *net.Op) (float64, error) {
	a := &op.Sizes
	h := hwmodel.Heads{Query: int(a[1]), KV: int(a[2]), Dim: int(a[3]), KVBytes: 2}
	var best *hwmodel.PrefillKernel
	for _, library := range attentionLibraries {
		k, exact := q.p.Prefill(hwmodel.AttentionKey{Key: hwmodel.Key{Engine: library, DType: "bf16"}, KV: "bf16", Dim: h.Dim}, true)
		if k == nil {
			continue
		}
		if best == nil {
			best = k
		}
		if exact && !k.Derived {
			best = k
			break
		}
	}
	if best == nil {
		return 0, fmt.Errorf("%s has no constants for attention", q.p.Device.Name)
	}
	q.derived = q.derived || best.Derived
	cost := best.On(&q.p.Device, h)
	var b hwmodel.Batch
	for range int(a[0]) {
		b.AddChunk(int(a[4]), 0)
	}
	t := cost.Time(&b) * q.fused
	if op.Word == "bwd" {
		t *= attentionBackward
	}
	d := &q.p.Device
	switch {
	case q.precision == TF32 && d.TF32FLOPs > 0:
		t *= d.FLOPs("fp16") / d.TF32FLOPs
	case q.precision != AMP:
		t *= d.FLOPs("fp16") / d.FP32FLOPs
	}
	return t, nil
}
