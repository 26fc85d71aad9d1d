//go:build linux && (amd64 || arm64)

package driver

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"

	"orrery/calibrate/cuda/device"
)

// Constants of cudnn.h.
const (
	dnnFloat, dnnHalf, dnnBF16 = 0, 2, 9
	layoutNCHW                 = 0
	crossCorrelation           = 1
	mathTensor, mathPlain      = 1, 3 // tensor cores; plain fused multiply-adds, no TF32
	dnnNotSupported            = 9
	dnnNotSupported9           = 3000 // cuDNN 9's codes are grouped by thousands
)

// dnn is cuDNN's convolutions.
type dnn struct {
	create, destroy, setStream                                   function
	newTensor, freeTensor, setTensor                             function
	newFilter, freeFilter, setFilter                             function
	newConv, freeConv, setConv, setGroups, setMath, choose, conv function

	handle    uintptr
	workspace device.Ptr
	plans     map[device.Convolution]*convPlan
	one, zero float32
}

// convPlan is a convolution of one shape with the algorithm for it.
type convPlan struct {
	in, filter, conv, out uintptr
	algorithm             algorithmPerf
}

// algorithmPerf is cudnnConvolutionFwdAlgoPerf_t; its time, its determinism and what is
// reserved are not read.
type algorithmPerf struct {
	algorithm, status int32
	_                 [2]int32
	memory            uint64
	_                 int32
	math              int32
	_                 [4]int32
}

var dnnFiles = []string{"libcudnn.so.9", "libcudnn.so.8", "libcudnn.so"}

func (g *GPU) openDNN() (*dnn, error) {
	lib, err := load("cuDNN", "", dnnFiles)
	if err != nil {
		return nil, &device.Missing{What: "cuDNN is not installed", Do: "install it with pip install nvidia-cudnn-cu12"}
	}
	d := &dnn{one: 1, plans: map[device.Convolution]*convPlan{}}
	if err := lib.bind(map[string]*function{
		"cudnnCreate": &d.create, "cudnnDestroy": &d.destroy, "cudnnSetStream": &d.setStream,
		"cudnnCreateTensorDescriptor": &d.newTensor, "cudnnDestroyTensorDescriptor": &d.freeTensor, "cudnnSetTensor4dDescriptor": &d.setTensor,
		"cudnnCreateFilterDescriptor": &d.newFilter, "cudnnDestroyFilterDescriptor": &d.freeFilter, "cudnnSetFilter4dDescriptor": &d.setFilter,
		"cudnnCreateConvolutionDescriptor": &d.newConv, "cudnnDestroyConvolutionDescriptor": &d.freeConv, "cudnnSetConvolution2dDescriptor": &d.setConv,
		"cudnnSetConvolutionGroupCount": &d.setGroups, "cudnnSetConvolutionMathType": &d.setMath,
		"cudnnGetConvolutionForwardAlgorithm_v7": &d.choose, "cudnnConvolutionForward": &d.conv,
	}); err != nil {
		return nil, &device.Missing{What: err.Error(), Do: "install cuDNN 8 or 9"}
	}
	if err := d.create.call(uintptr(unsafe.Pointer(&d.handle))); err != nil {
		return nil, err
	}
	if err := d.setStream.call(d.handle, g.stream); err != nil {
		return nil, err
	}
	if version, err := purego.Dlsym(lib.handle, "cudnnGetVersion"); err == nil {
		v, _, _ := purego.SyscallN(version)
		g.info.Facts = append(g.info.Facts, device.Fact{Name: "cudnn", Value: fmt.Sprint(v)})
	}
	d.workspace, err = g.Alloc(mostWorkspace)
	return d, err
}

func (d *dnn) close(g *GPU) error {
	var err error
	for _, p := range d.plans {
		err = errors.Join(err, d.drop(p))
	}
	return errors.Join(err, d.destroy.call(d.handle), g.Free(d.workspace))
}

func (d *dnn) drop(p *convPlan) error {
	return errors.Join(d.freeTensor.call(p.in), d.freeTensor.call(p.out), d.freeFilter.call(p.filter), d.freeConv.call(p.conv))
}

func (d *dnn) convolve(c *device.Convolution) error {
	p, err := d.plan(c)
	if err != nil {
		return err
	}
	return d.conv.call(d.handle, uintptr(unsafe.Pointer(&d.one)), p.in, uintptr(c.In), p.filter, uintptr(c.Weight), p.conv, uintptr(p.algorithm.algorithm),
		uintptr(d.workspace), mostWorkspace, uintptr(unsafe.Pointer(&d.zero)), p.out, uintptr(c.Out))
}

// plan asks the library for its best algorithm for a shape, once.
func (d *dnn) plan(c *device.Convolution) (*convPlan, error) {
	key := *c
	key.In, key.Weight, key.Out = 0, 0, 0
	if p, ok := d.plans[key]; ok {
		return p, nil
	}
	dtype, math := uintptr(dnnFloat), uintptr(mathPlain)
	switch c.DType {
	case "fp16":
		dtype, math = dnnHalf, mathTensor
	case "bf16":
		dtype, math = dnnBF16, mathTensor
	}
	u := func(x int) uintptr { return uintptr(x) }
	p := &convPlan{}
	if err := errors.Join(d.newTensor.call(uintptr(unsafe.Pointer(&p.in))), d.newTensor.call(uintptr(unsafe.Pointer(&p.out))), d.newFilter.call(uintptr(unsafe.Pointer(&p.filter))), d.newConv.call(uintptr(unsafe.Pointer(&p.conv)))); err != nil {
		return nil, err
	}
	if err := errors.Join(
		d.setTensor.call(p.in, layoutNCHW, dtype, u(c.N), u(c.Cin), u(c.H), u(c.W)),
		d.setTensor.call(p.out, layoutNCHW, dtype, u(c.N), u(c.Cout), u(c.OutH()), u(c.OutW())),
		d.setFilter.call(p.filter, dtype, layoutNCHW, u(c.Cout), u(c.Cin/c.Groups), u(c.KH), u(c.KW)),
		d.setConv.call(p.conv, u(c.PH), u(c.PW), u(c.SH), u(c.SW), 1, 1, crossCorrelation, dnnFloat),
		d.setGroups.call(p.conv, u(c.Groups)),
		d.setMath.call(p.conv, math),
	); err != nil {
		return nil, errors.Join(unsupported(err), d.drop(p))
	}
	// Candidates come best first; the first one that works within the workspace is taken.
	const most = 8
	var found int32
	var candidates [most]algorithmPerf
	if err := d.choose.call(d.handle, p.in, p.filter, p.conv, p.out, most, uintptr(unsafe.Pointer(&found)), uintptr(unsafe.Pointer(&candidates))); err != nil {
		return nil, errors.Join(unsupported(err), d.drop(p))
	}
	for _, a := range candidates[:found] {
		if a.status == 0 && a.memory <= mostWorkspace {
			p.algorithm = a
			if err := d.setMath.call(p.conv, uintptr(a.math)); err != nil {
				return nil, errors.Join(err, d.drop(p))
			}
			d.plans[key] = p
			return p, nil
		}
	}
	return nil, errors.Join(&device.Missing{What: "cuDNN has no algorithm for the convolution"}, d.drop(p))
}

func unsupported(err error) error { return missing(missing(err, dnnNotSupported), dnnNotSupported9) }
