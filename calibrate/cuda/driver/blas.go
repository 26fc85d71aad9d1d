//go:build linux && (amd64 || arm64)

package driver

import (
	"errors"
	"fmt"
	"unsafe"

	"orrery/calibrate/cuda/device"
)

// Constants of cublas_api.h and library_types.h.
const (
	transposed, plain = 1, 0
	compute32F        = 68
	computeTF32       = 77
	compute32I        = 72
	defaultAlgorithm  = -1

	typeFloat = 0
	typeHalf  = 2
	typeInt8  = 3
	typeInt32 = 10
	typeBF16  = 14
	typeE4M3  = 28

	blasNotSupported = 15
)

// blasType returns the vendor's name for a format.
func blasType(dtype string) uintptr {
	switch dtype {
	case "fp16":
		return typeHalf
	case "bf16":
		return typeBF16
	case "int8":
		return typeInt8
	case "int32":
		return typeInt32
	case "fp8":
		return typeE4M3
	}
	return typeFloat
}

// blas is cuBLAS on one stream.
type blas struct {
	create, destroy, setStream, setWorkspace, version, gemm, batched function

	handle    uintptr
	workspace device.Ptr
	one, zero float32
	oneInt    int32
	zeroInt   int32
}

var blasFiles = []string{"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"}

func (g *GPU) openBLAS() (*blas, error) {
	lib, err := load("cuBLAS", "libcublasLt", blasFiles)
	if err != nil {
		return nil, &device.Missing{What: "cuBLAS is not installed", Do: "install the CUDA toolkit or pip install nvidia-cublas-cu12"}
	}
	b := &blas{one: 1, oneInt: 1}
	if err := lib.bind(map[string]*function{
		"cublasCreate_v2": &b.create, "cublasDestroy_v2": &b.destroy, "cublasSetStream_v2": &b.setStream, "cublasSetWorkspace_v2": &b.setWorkspace,
		"cublasGetVersion_v2": &b.version, "cublasGemmEx": &b.gemm, "cublasGemmStridedBatchedEx": &b.batched,
	}); err != nil {
		return nil, &device.Missing{What: err.Error(), Do: "install cuBLAS 11.2 or later"}
	}
	if err := b.create.call(uintptr(unsafe.Pointer(&b.handle))); err != nil {
		return nil, err
	}
	if err := b.setStream.call(b.handle, g.stream); err != nil {
		return nil, err
	}
	// A graph can hold calls only if the library need not take memory for them.
	if b.workspace, err = g.Alloc(mostWorkspace); err != nil {
		return nil, err
	}
	if err := b.setWorkspace.call(b.handle, uintptr(b.workspace), mostWorkspace); err != nil {
		return nil, err
	}
	var version int32
	if err := b.version.call(b.handle, uintptr(unsafe.Pointer(&version))); err != nil {
		return nil, err
	}
	g.info.Facts = append(g.info.Facts, device.Fact{Name: "cublas", Value: fmt.Sprint(version)})
	return b, nil
}

func (b *blas) close(g *GPU) error {
	if b.handle == 0 {
		return nil
	}
	return errors.Join(b.destroy.call(b.handle), g.Free(b.workspace))
}

// product computes Yᵀ = W Xᵀ: cuBLAS takes matrices by columns, to which a matrix by rows
// is its transpose.
func (b *blas) product(p *device.Product) error {
	compute, alpha, beta := uintptr(compute32F), uintptr(unsafe.Pointer(&b.one)), uintptr(unsafe.Pointer(&b.zero))
	switch p.DType {
	case "int8":
		compute, alpha, beta = compute32I, uintptr(unsafe.Pointer(&b.oneInt)), uintptr(unsafe.Pointer(&b.zeroInt))
	case "tf32":
		compute = computeTF32
	}
	in, out := blasType(p.DType), blasType(device.OutputOf(p.DType))
	m, n, k := uintptr(p.M), uintptr(p.N), uintptr(p.K)
	algorithm := defaultAlgorithm
	if p.Batch > 1 {
		return missing(b.batched.call(b.handle, transposed, plain, n, m, k, alpha, uintptr(p.W), in, k, n*k, uintptr(p.X), in, k, m*k, beta, uintptr(p.Y), out, n, m*n, uintptr(p.Batch), compute, uintptr(algorithm)), blasNotSupported)
	}
	return missing(b.gemm.call(b.handle, transposed, plain, n, m, k, alpha, uintptr(p.W), in, k, uintptr(p.X), in, k, beta, uintptr(p.Y), out, n, compute, uintptr(algorithm)), blasNotSupported)
}
