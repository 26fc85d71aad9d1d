//go:build linux && (amd64 || arm64)

package driver

import (
	"errors"
	"fmt"
	"unsafe"

	"orrery/calibrate/cuda/device"
)

// Attributes of cublasLt.h.
const (
	matmulTransA           = 3
	preferenceMaxWorkspace = 1
)

// light is cublasLt, which has products of 8-bit floating-point numbers.
type light struct {
	create, destroy                                   function
	newDesc, freeDesc, setDesc, newLayout, freeLayout function
	newPreference, freePreference, setPreference      function
	heuristic, matmul                                 function

	handle    uintptr
	workspace device.Ptr
	plans     map[[3]int]*matmul // by m, n, k
	one, zero float32
}

// matmul is a product of one shape with the algorithm for it.
type matmul struct {
	desc, w, x, y uintptr
	result        heuristicResult
}

// heuristicResult is cublasLtMatmulHeuristicResult_t.
type heuristicResult struct {
	algorithm     [8]uint64
	workspaceSize uint64
	state         int32
	waves         float32
	reserved      [4]int32
}

var lightFiles = []string{"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11", "libcublasLt.so"}

func (g *GPU) openLight() (*light, error) {
	if g.info.Capability() < 89 {
		return nil, &device.Missing{What: "fp8 wants compute capability 8.9 or later"}
	}
	lib, err := load("cublasLt", "", lightFiles)
	if err != nil {
		return nil, &device.Missing{What: "cublasLt is not installed", Do: "install the CUDA toolkit or pip install nvidia-cublas-cu12"}
	}
	l := &light{one: 1, plans: map[[3]int]*matmul{}}
	if err := lib.bind(map[string]*function{
		"cublasLtCreate": &l.create, "cublasLtDestroy": &l.destroy, "cublasLtMatmulDescCreate": &l.newDesc, "cublasLtMatmulDescDestroy": &l.freeDesc,
		"cublasLtMatmulDescSetAttribute": &l.setDesc, "cublasLtMatrixLayoutCreate": &l.newLayout, "cublasLtMatrixLayoutDestroy": &l.freeLayout,
		"cublasLtMatmulPreferenceCreate": &l.newPreference, "cublasLtMatmulPreferenceDestroy": &l.freePreference,
		"cublasLtMatmulPreferenceSetAttribute": &l.setPreference, "cublasLtMatmulAlgoGetHeuristic": &l.heuristic, "cublasLtMatmul": &l.matmul,
	}); err != nil {
		return nil, &device.Missing{What: err.Error(), Do: "install cublasLt of CUDA 11.8 or later"}
	}
	if err := l.create.call(uintptr(unsafe.Pointer(&l.handle))); err != nil {
		return nil, err
	}
	l.workspace, err = g.Alloc(mostWorkspace)
	return l, err
}

func (l *light) close(g *GPU) error {
	var err error
	for _, m := range l.plans {
		err = errors.Join(err, l.drop(m))
	}
	return errors.Join(err, l.destroy.call(l.handle), g.Free(l.workspace))
}

func (l *light) drop(m *matmul) error {
	return errors.Join(l.freeDesc.call(m.desc), l.freeLayout.call(m.w), l.freeLayout.call(m.x), l.freeLayout.call(m.y))
}

func (l *light) product(g *GPU, p *device.Product) error {
	if p.Batch != 1 {
		return &device.Missing{What: "batches of fp8 products are not offered"}
	}
	m, err := l.plan(p)
	if err != nil {
		return err
	}
	return l.matmul.call(l.handle, m.desc, uintptr(unsafe.Pointer(&l.one)), uintptr(p.W), m.w, uintptr(p.X), m.x, uintptr(unsafe.Pointer(&l.zero)), uintptr(p.Y), m.y, uintptr(p.Y), m.y,
		uintptr(unsafe.Pointer(&m.result.algorithm)), uintptr(l.workspace), mostWorkspace, g.stream)
}

// plan asks the library for its best algorithm for a shape, once.
func (l *light) plan(p *device.Product) (*matmul, error) {
	key := [3]int{p.M, p.N, p.K}
	if m, ok := l.plans[key]; ok {
		return m, nil
	}
	m := &matmul{}
	transA := int32(transposed)
	out := blasType(device.OutputOf(p.DType))
	if err := errors.Join(
		l.newDesc.call(uintptr(unsafe.Pointer(&m.desc)), compute32F, typeFloat),
		l.newLayout.call(uintptr(unsafe.Pointer(&m.w)), blasType(p.DType), uintptr(p.K), uintptr(p.N), uintptr(p.K)),
		l.newLayout.call(uintptr(unsafe.Pointer(&m.x)), blasType(p.DType), uintptr(p.K), uintptr(p.M), uintptr(p.K)),
		l.newLayout.call(uintptr(unsafe.Pointer(&m.y)), out, uintptr(p.N), uintptr(p.M), uintptr(p.N)),
	); err != nil {
		return nil, err
	}
	if err := l.setDesc.call(m.desc, matmulTransA, uintptr(unsafe.Pointer(&transA)), 4); err != nil {
		return nil, err
	}
	var preference uintptr
	if err := l.newPreference.call(uintptr(unsafe.Pointer(&preference))); err != nil {
		return nil, err
	}
	workspace, found := uint64(mostWorkspace), int32(0)
	err := l.setPreference.call(preference, preferenceMaxWorkspace, uintptr(unsafe.Pointer(&workspace)), 8)
	if err == nil {
		err = l.heuristic.call(l.handle, m.desc, m.w, m.x, m.y, m.y, preference, 1, uintptr(unsafe.Pointer(&m.result)), uintptr(unsafe.Pointer(&found)))
	}
	err = errors.Join(missing(err, blasNotSupported), l.freePreference.call(preference))
	if err == nil && found == 0 {
		err = &device.Missing{What: fmt.Sprintf("cublasLt has no algorithm for fp8 m=%d n=%d k=%d", p.M, p.N, p.K)}
	}
	if err != nil {
		return nil, errors.Join(err, l.drop(m))
	}
	l.plans[key] = m
	return m, nil
}
