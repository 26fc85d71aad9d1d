package cuda

import (
	"encoding/binary"
	"math"

	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/kernels"
	"orrery/calibrate/cuda/number"
)

// OwnKernels is the source of rows that a library would have done better: it was not
// there, and a plain kernel took its place.
const OwnKernels = Source + "-own"

// layer is the shape of a convolution: input channels, height and width, output
// channels, taps, stride, padding and groups, square all of them.
type layer struct{ cin, size, cout, taps, stride, pad, groups int }

// layers are those of ResNet-50, MobileNetV2 (depthwise), and the U-Net and decoder of
// Stable Diffusion at 512×512.
var layers = []layer{
	{3, 224, 64, 7, 2, 3, 1}, {64, 56, 64, 1, 1, 0, 1}, {64, 56, 64, 3, 1, 1, 1}, {64, 56, 256, 1, 1, 0, 1}, {256, 56, 128, 1, 1, 0, 1},
	{128, 56, 128, 3, 2, 1, 1}, {128, 28, 128, 3, 1, 1, 1}, {256, 56, 512, 1, 2, 0, 1}, {256, 28, 256, 3, 2, 1, 1}, {256, 14, 256, 3, 1, 1, 1},
	{1024, 14, 256, 1, 1, 0, 1}, {512, 7, 512, 3, 1, 1, 1}, {512, 7, 2048, 1, 1, 0, 1},
	{96, 112, 96, 3, 2, 1, 96}, {144, 56, 144, 3, 1, 1, 144}, {384, 14, 384, 3, 1, 1, 384}, {960, 7, 960, 3, 1, 1, 960},
	{4, 64, 320, 3, 1, 1, 1}, {320, 64, 320, 3, 1, 1, 1}, {640, 32, 640, 3, 1, 1, 1}, {1280, 16, 1280, 3, 1, 1, 1}, {2560, 8, 1280, 3, 1, 1, 1},
	{960, 64, 320, 3, 1, 1, 1}, {512, 64, 512, 3, 1, 1, 1}, {512, 128, 512, 3, 1, 1, 1}, {256, 256, 256, 3, 1, 1, 1}, {128, 512, 128, 3, 1, 1, 1},
}

func (p *planner) convolutions() []*point {
	batches := []int{1, 2, 8, 32, 128}
	if p.quick {
		batches = []int{1, 8}
	}
	var points []*point
	for _, dtype := range p.formats() {
		for i, l := range layers {
			if p.quick && i%4 != 0 {
				continue
			}
			for _, n := range batches {
				points = append(points, p.convolution(dtype, n, l))
			}
		}
	}
	return points
}

func (p *planner) convolution(dtype string, n int, l layer) *point {
	c := device.Convolution{DType: dtype, N: n, Cin: l.cin, H: l.size, W: l.size, Cout: l.cout, KH: l.taps, KW: l.taps, SH: l.stride, SW: l.stride, PH: l.pad, PW: l.pad, Groups: l.groups}
	in := int64(n) * int64(l.cin*l.size*l.size)
	weight := int64(l.cout * (l.cin / l.groups) * l.taps * l.taps)
	out := int64(n) * int64(l.cout*c.OutH()*c.OutW())
	source := Source
	if p.lacks(device.Convolutions, dtype) != nil {
		source = OwnKernels
	}
	f := func(x int) float64 { return float64(x) }
	return &point{
		table: "conv2d", name: describe(dtype, "n", n, "cin", c.Cin, "h", c.H, "w", c.W, "cout", c.Cout, "k", c.KH, "stride", c.SH, "groups", c.Groups),
		bytes: (in + weight + out) * int64(number.Bytes(dtype)),
		record: row("conv2d", p.gpu, dtype, source, words{"pass": "fwd"}, columns{
			"n": f(n), "cin": f(c.Cin), "h": f(c.H), "w": f(c.W), "cout": f(c.Cout), "kh": f(c.KH), "kw": f(c.KW),
			"sh": f(c.SH), "sw": f(c.SW), "ph": f(c.PH), "pw": f(c.PW), "groups": f(c.Groups),
		}),
		prepare: func(a *arena) (*call, error) {
			ops, err := a.operands(spec{dtype, in, true}, spec{dtype, weight, true}, spec{dtype, out, false})
			if err != nil {
				return nil, err
			}
			shape, err := a.table(convShape(&c))
			if err != nil {
				return nil, err
			}
			return &call{
				enqueue: func(slot int) error {
					at := c
					at.In, at.Weight, at.Out = ops[0].slot(slot), ops[1].slot(slot), ops[2].slot(slot)
					if source == Source {
						return a.dev.Convolve(&at)
					}
					return ownConvolution(a.dev, &at, shape)
				},
				check: func() error { return checkConvolution(&c, &ops[0], &ops[1], &ops[2]) },
			}, nil
		},
	}
}

// convShape lays out a shape as the kernel reads it.
func convShape(c *device.Convolution) []byte {
	var data []byte
	for _, x := range []int{c.N, c.Cin, c.H, c.W, c.Cout, c.KH, c.KW, c.SH, c.SW, c.PH, c.PW, c.Groups, c.OutH(), c.OutW()} {
		data = binary.LittleEndian.AppendUint32(data, uint32(x))
	}
	return data
}

func ownConvolution(dev device.Device, c *device.Convolution, shape device.Ptr) error {
	const side = 64 // of a block's tile
	return dev.Launch(&device.Launch{
		Kernel: "conv_" + kernels.Format(c.DType), Grid: [3]int{ceilDiv(c.N*c.OutH()*c.OutW(), side), ceilDiv(c.Cout/c.Groups, side), c.Groups}, Block: [3]int{threads},
		Args: []device.Arg{device.Address(c.Out), device.Address(c.In), device.Address(c.Weight), device.Address(shape)},
	})
}

// checkConvolution holds some numbers of the result against the definition. Algorithms
// that transform their input (Winograd's, FFT) lose more digits than a plain sum.
func checkConvolution(c *device.Convolution, in, weight, out *operand) error {
	channels, filters, oh, ow := c.Cin/c.Groups, c.Cout/c.Groups, c.OutH(), c.OutW()
	for _, at := range samples(16, out.n) {
		x, y, f, image := int(at)%ow, int(at)/ow%oh, int(at)/(ow*oh)%c.Cout, int(at)/(ow*oh*c.Cout)
		sum, size, squares := 0.0, 0.0, 0.0
		for ch := range channels {
			for r := range c.KH {
				for s := range c.KW {
					iy, ix := y*c.SH-c.PH+r, x*c.SW-c.PW+s
					if iy < 0 || iy >= c.H || ix < 0 || ix >= c.W {
						continue
					}
					v := in.value(int64(((image*c.Cin+f/filters*channels+ch)*c.H+iy)*c.W+ix)) * weight.value(int64(((f*channels+ch)*c.KH+r)*c.KW+s))
					sum += v
					size += math.Abs(v)
					squares += v * v
				}
			}
		}
		tolerance := 4*number.Epsilon(c.DType)*(math.Abs(sum)+4*math.Sqrt(squares)) + 1e-4*size + 1e-6
		if err := out.expect(at, sum, tolerance); err != nil {
			return err
		}
	}
	return nil
}
