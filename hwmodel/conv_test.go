package hwmodel

import (
	"math"
	"testing"
)

// A device on which every share is 1 and nothing overhangs computes at its peak.
func TestConvAtItsPeak(t *testing.T) {
	d := &Device{SMs: 4, FP32FLOPs: 4e12, DRAMBytes: 1e18, L2Bytes: 1e18, L2Size: 1 << 20}
	v := Conv{Key: Key{DType: "fp32"}, Pass: "fwd", Direct: [4]float64{1, 1, 1, 1}, Wave: 1, Bandwidth: 1}
	c := ConvShape{N: 8, Cin: 64, H: 16, W: 16, Cout: 256, KernelH: 3, KernelW: 3, StrideH: 1, StrideW: 1, PadH: 1, PadW: 1, Groups: 1}
	flops, elements := c.Work()
	if want := 2.0 * 8 * 16 * 16 * 256 * 64 * 9; flops != want {
		t.Errorf("a convolution has %g FLOPs, want %g", flops, want)
	}
	if want := 8.0*64*256 + 256*64*9 + 8*256*256; elements != want {
		t.Errorf("a convolution moves %g elements, want %g", elements, want)
	}
	if got, want := v.Time(d, &c), flops/d.FP32FLOPs; math.Abs(got/want-1) > 1e-9 {
		t.Errorf("at full speed it takes %g s, want %g", got, want)
	}
	// Winograd's method on an image whose sides are multiples of 4 takes a quarter.
	v.Winograd, v.Transform, v.Enough, v.Deep = 1, 1, 1e-3, 1e-3
	if got, want := v.Time(d, &c), flops/d.FP32FLOPs/4; math.Abs(got/want-1) > 0.01 {
		t.Errorf("by Winograd's method it takes %g s, want %g", got, want)
	}
	// With sides of 5 it pads to 8: more than twice as many pixels.
	narrow := c
	narrow.H, narrow.W = 5, 5
	flops, _ = narrow.Work()
	if got, least := v.Time(d, &narrow), 2.5*flops/d.FP32FLOPs/4; got < least {
		t.Errorf("with sides of 5 it takes %g s, padding asks for %g at least", got, least)
	}
	c.StrideH, c.StrideW = 2, 2
	if h, w := c.Out(); h != 8 || w != 8 {
		t.Errorf("the output with stride 2 is %g x %g", h, w)
	}
}

// The gradients of a convolution without padding or stride do the work of the
// forward pass.
func TestConvGradientsWorkAsMuch(t *testing.T) {
	c := ConvShape{N: 4, Cin: 32, H: 9, W: 7, Cout: 48, KernelH: 1, KernelW: 1, StrideH: 1, StrideW: 1, Groups: 2}
	var want float64
	for _, pass := range []string{"fwd", "bwd_data", "bwd_filter"} {
		v := Conv{Pass: pass}
		rows, cols, inner := v.product(&c)
		if want == 0 {
			want = rows * cols * inner
		}
		if got := rows * cols * inner; got != want {
			t.Errorf("%s has %g multiply-adds a group, the forward pass %g", pass, got, want)
		}
	}
}

// What serves a call best: the engine's own pass, then another's.
func TestConvServesTheNearest(t *testing.T) {
	p := &Profile{Convs: []Conv{
		{Key: Key{"a", "fp32"}, Pass: "fwd"}, {Key: Key{"b", "fp32"}, Pass: "bwd_data"}, {Key: Key{"b", "fp16"}, Pass: "fwd"},
	}}
	for _, c := range []struct {
		engine, dtype, pass string
		want                int
		exact               bool
	}{{"a", "fp32", "fwd", 0, true}, {"b", "fp32", "bwd_data", 1, true}, {"b", "bf16", "fwd", 2, true}, {"c", "fp32", "fwd", 0, false}, {"a", "fp32", "bwd_filter", 0, false}} {
		v, exact := p.Conv(c.engine, c.dtype, c.pass)
		if v != &p.Convs[c.want] || exact != c.exact {
			t.Errorf("%v is served by %+v, exact %v", c, v, exact)
		}
	}
	if v, _ := p.Conv("a", "int8", "fwd"); v != nil {
		t.Errorf("int8 is served by %+v", v)
	}
}
