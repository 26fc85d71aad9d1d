//go:build linux || darwin || freebsd

package kernel

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// openBLASFiles are the names of the library for the loader, likely ones first.
// LD_LIBRARY_PATH (DYLD_LIBRARY_PATH) leads to one that is installed elsewhere.
var openBLASFiles = map[string][]string{
	"linux":   {"libopenblas.so.0", "libopenblas.so"},
	"freebsd": {"libopenblas.so.0", "libopenblas.so"},
	"darwin": {
		"libopenblas.0.dylib", "libopenblas.dylib",
		"/opt/homebrew/opt/openblas/lib/libopenblas.dylib", "/usr/local/opt/openblas/lib/libopenblas.dylib",
	},
}

// openBLASLib is the library in this process.
type openBLASLib struct {
	sgemm, sgemv uintptr
	description  string
}

// openBLASOnce loads the library once for the process, which cannot unload it.
var openBLASOnce = sync.OnceValues(openOpenBLAS)

func loadOpenBLAS() (func() BLAS, string, error) {
	lib, err := openBLASOnce()
	if err != nil {
		return nil, "", err
	}
	return func() BLAS { return newOpenBLAS(lib) }, lib.description, nil
}

func openOpenBLAS() (*openBLASLib, error) {
	var handle uintptr
	err := fmt.Errorf("not known on %s", runtime.GOOS)
	for _, file := range openBLASFiles[runtime.GOOS] {
		if handle, err = purego.Dlopen(file, purego.RTLD_NOW); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("kernel: OpenBLAS is not installed (%w); install it (Debian: libopenblas0) or take gonum", err)
	}
	lib := &openBLASLib{}
	var threads uintptr
	for _, s := range []struct {
		name string
		to   *uintptr
	}{{"sgemm_", &lib.sgemm}, {"sgemv_", &lib.sgemv}, {"openblas_set_num_threads", &threads}} {
		if *s.to, err = purego.Dlsym(handle, s.name); err != nil {
			return nil, fmt.Errorf("kernel: this OpenBLAS has no %s (%w); take gonum", s.name, err)
		}
	}
	// The workers of a Set are the threads; those of OpenBLAS would compete with them.
	purego.SyscallN(threads, 1)
	lib.description = "openblas"
	for _, name := range []string{"openblas_get_config", "openblas_get_corename"} {
		if f, err := purego.Dlsym(handle, name); err == nil {
			var text func() string
			purego.RegisterFunc(&text, f)
			lib.description += " " + strings.TrimSpace(strings.TrimPrefix(text(), "OpenBLAS"))
		}
	}
	return lib, nil
}

// cBLAS calls OpenBLAS by the Fortran interface, in which all arguments are pointers,
// so that a call needs neither cgo nor memory. Fortran's matrices are in column-major
// order: a row-major matrix is its transpose to it.
type cBLAS struct {
	lib *openBLASLib
	// The arguments of a call. They are on the heap with the value and so stay where
	// they are while C reads them.
	noTrans, trans byte
	one            int32
	m, n, k        int32
	lda, ldb, ldc  int32
	alpha, beta    float32
	args           [13]uintptr // given as a slice, since arguments listed in a call are copied to the heap
}

func newOpenBLAS(lib *openBLASLib) *cBLAS {
	return &cBLAS{lib: lib, noTrans: 'N', trans: 'T', one: 1, alpha: 1}
}

// gemmRows is the number of rows from which sgemm is faster than one sgemv a row: below
// it sgemm spends its time packing b. Measured on a Zen 5 core (OpenBLAS 0.3.21,
// Haswell kernels, n 1024, k 512, weights from memory), GFLOP/s of sgemm and of sgemv in
// blocks: 4 and 13 at m 1, 18 and 29 at 4, 39 and 38 at 12, 69 and 38 at 32.
const gemmRows = 12

// gemvTile is how many numbers of b (256 KiB) all rows of a meet before the next ones
// are read, so that they come from the L2 cache but once.
const gemvTile = 64 << 10

// GemmNT computes cᵀ = b aᵀ in Fortran's order.
func (o *cBLAS) GemmNT(c, a, b []float32, m, n, k, ldc, lda, ldb int) {
	if m >= gemmRows {
		o.gemm(&o.trans, c, a, b, m, n, k, ldc, lda, ldb)
		return
	}
	tile := n
	if m > 1 {
		tile = max(1, gemvTile/k)
	}
	for j := 0; j < n; j += tile {
		for i := range m {
			o.gemv(c[i*ldc+j:], a[i*lda:], b[j*ldb:], min(tile, n-j), k, ldb)
		}
	}
}

// GemmNN computes cᵀ = bᵀ aᵀ in Fortran's order.
func (o *cBLAS) GemmNN(c, a, b []float32, m, n, k, ldc, lda, ldb int) {
	o.gemm(&o.noTrans, c, a, b, m, n, k, ldc, lda, ldb)
}

// TileRows is wide enough that packing a again for every tile does not show.
func (*cBLAS) TileRows(int) int { return 256 }

func (o *cBLAS) gemm(transB *byte, c, a, b []float32, m, n, k, ldc, lda, ldb int) {
	o.m, o.n, o.k, o.lda, o.ldb, o.ldc = int32(m), int32(n), int32(k), int32(lda), int32(ldb), int32(ldc)
	o.args = [...]uintptr{
		address(transB), address(&o.noTrans), address(&o.n), address(&o.m), address(&o.k),
		address(&o.alpha), address(&b[0]), address(&o.ldb), address(&a[0]), address(&o.lda), address(&o.beta), address(&c[0]), address(&o.ldc),
	}
	purego.SyscallN(o.lib.sgemm, o.args[:]...)
	keep(c, a, b)
}

// gemv computes y = b x for b of n×k.
func (o *cBLAS) gemv(y, x, b []float32, n, k, ldb int) {
	o.n, o.k, o.ldb = int32(n), int32(k), int32(ldb)
	const arguments = 11
	*(*[arguments]uintptr)(o.args[:]) = [arguments]uintptr{
		address(&o.trans), address(&o.k), address(&o.n), address(&o.alpha),
		address(&b[0]), address(&o.ldb), address(&x[0]), address(&o.one), address(&o.beta), address(&y[0]), address(&o.one),
	}
	purego.SyscallN(o.lib.sgemv, o.args[:arguments]...)
	keep(y, x, b)
}

// address returns where x is. What it points to must be on the heap, which does not
// move, and be kept alive until the call has returned.
func address[T any](x *T) uintptr { return uintptr(unsafe.Pointer(x)) }

func keep(a, b, c []float32) {
	runtime.KeepAlive(a)
	runtime.KeepAlive(b)
	runtime.KeepAlive(c)
}
