package training

import (
	"fmt"

	"orrery/hwmodel"
	"orrery/workloads/net"
)

// Libraries whose measurements stand for the kernels of a step, best first: those that time
// kernels alone. A framework launches ahead of the device in a step of any size.
var (
	convLibraries    = []string{"deepbench", "kernelbench", "neusight"}
	productLibraries = []string{"deepbench", "pytorch", "vidur", "gpu-benches", "neusight"}
	streamLibraries  = []string{"neusight", "vllm"}
)

// pricer prices the operators of a step on one device. It remembers which constants stand
// for what.
type pricer struct {
	p         *hwmodel.Profile
	precision Precision
	products  map[string]hwmodel.GEMMKernel
	convs     map[string]*hwmodel.Conv
	streams   map[string]*hwmodel.Stream
	layout    bool
	fused     float64 // times as long as measured that fused attention takes
	derived   bool
}

func tensorCores(d *hwmodel.Device) bool { return d.FP16FLOPs > 2.5*d.FP32FLOPs }

// reordered adds what it takes to bring the input and the output of a convolution, or their
// gradients, into the order of tensor cores and back.
func (q *pricer) reordered(t float64, c *hwmodel.ConvShape) (float64, error) {
	s, err := q.stream("fp16", "add")
	if err != nil {
		return 0, err
	}
	oh, ow := c.Out()
	elems := c.N * (c.Cin*c.H*c.W + c.Cout*oh*ow)
	return t + s.Time(&q.p.Device, hwmodel.Pass{Bytes: 2 * 2 * elems, Width: 2}), nil
}

func newPricer(p *hwmodel.Profile, precision Precision) *pricer {
	return &pricer{p: p, precision: precision, products: map[string]hwmodel.GEMMKernel{}, convs: map[string]*hwmodel.Conv{}, streams: map[string]*hwmodel.Stream{}}
}

// seconds returns the time of an operator on the device.
func (q *pricer) seconds(op *net.Op) (float64, error) {
	a := &op.Sizes
	dtype := "fp16"
	if op.Float32 || q.precision != AMP {
		dtype = "fp32"
	}
	switch op.Table {
	case "conv2d":
		v, err := q.conv(dtype, op.Word)
		if err != nil {
			return 0, err
		}
		c := hwmodel.ConvShape{
			N: a[0], Cin: a[1], H: a[2], W: a[3], Cout: a[4], KernelH: a[5], KernelW: a[6],
			StrideH: a[7], StrideW: a[8], PadH: a[9], PadW: a[10], Groups: max(a[11], 1),
		}
		t := v.Time(&q.p.Device, &c)
		if q.layout && dtype == "fp16" && tensorCores(&q.p.Device) && c.Cin >= 8 && c.Cout >= 8 {
			return q.reordered(t, &c)
		}
		return t, nil
	case "gemm":
		k, err := q.product(dtype)
		if err != nil {
			return 0, err
		}
		if a[0] > 1 {
			return k.Batched(a[0], int(a[1]), int(a[2]), int(a[3])), nil
		}
		return k.Time(int(a[1]), int(a[2]), int(a[3])), nil
	}
	if op.Table == "attention" {
		return q.attention(op)
	}
	s, err := q.stream(dtype, op.Word)
	if err != nil {
		return 0, err
	}
	width, _ := hwmodel.Width(dtype)
	if hwmodel.AlongRows(op.Word) {
		return s.Time(&q.p.Device, hwmodel.Pass{Bytes: 2 * a[0] * a[1] * width, Rows: a[0], Cols: a[1], Width: width}), nil
	}
	return s.Time(&q.p.Device, hwmodel.Pass{Bytes: a[0] * (a[1] + a[2]) * width, Width: width}), nil
}

func (q *pricer) conv(dtype, pass string) (*hwmodel.Conv, error) {
	if q.precision == TF32 && dtype == "fp32" && q.p.Device.TF32FLOPs > 0 {
		dtype = "fp32_tf32ok" // as measurements of the library have it
	}
	key := dtype + " " + pass
	if v, ok := q.convs[key]; ok {
		return v, nil
	}
	var best *hwmodel.Conv
	for _, library := range convLibraries {
		v, exact := q.p.Conv(library, dtype, pass)
		if v == nil {
			continue
		}
		if exact && !v.Derived {
			best = v
			break
		}
		if best == nil {
			best = v
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%s has no constants for %s convolutions (%s)", q.p.Device.Name, dtype, pass)
	}
	alone := *best
	alone.Host = 0 // launches are counted by the step
	q.derived = q.derived || best.Derived
	q.convs[key] = &alone
	return &alone, nil
}

func (q *pricer) product(dtype string) (*hwmodel.GEMMKernel, error) {
	if q.precision == TF32 && dtype == "fp32" && q.p.Device.TF32FLOPs > 0 {
		dtype = "tf32"
	}
	if k, ok := q.products[dtype]; ok {
		return &k, nil
	}
	var best hwmodel.GEMMKernel
	var failed error
	found := false
	for _, library := range productLibraries {
		k, err := q.p.Products(library, dtype)
		if err != nil {
			failed = err
			continue
		}
		fit, exact := k.Fit()
		if exact && !fit.Derived {
			best, found = k, true
			break
		}
		if !found {
			best, found = k, true
		}
	}
	if !found {
		return nil, failed
	}
	fit, exact := best.Fit()
	q.derived = q.derived || fit.Derived || !exact
	q.products[dtype] = best
	return &best, nil
}

func (q *pricer) stream(dtype, function string) (*hwmodel.Stream, error) {
	key := dtype + " " + function
	if s, ok := q.streams[key]; ok {
		return s, nil
	}
	var best *hwmodel.Stream
	for _, library := range streamLibraries {
		s, exact := q.p.Stream(library, dtype, function)
		if s == nil {
			continue
		}
		if exact && !s.Derived {
			best = s
			break
		}
		if best == nil {
			best = s
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%s has no constants for %s in %s", q.p.Device.Name, function, dtype)
	}
	alone := *best
	alone.Host = 0
	q.derived = q.derived || best.Derived
	q.streams[key] = &alone
	return &alone, nil
}
