//go:build linux && (amd64 || arm64)

package driver

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"

	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/kernels"
)

// nvrtcFiles are the compiler's names; 11.2 is that of all toolkits from 11.2 to 11.8.
var nvrtcFiles = []string{"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so"}

// Compiler is NVRTC, which makes device code of CUDA C++. It needs no GPU.
type Compiler struct {
	lib                                                       *library
	create, compile, destroy, logSize, log, codeSize, code    function
	ptxSize, ptx, countArchs, listArchs, version, errorString function
}

// NewCompiler loads NVRTC.
func NewCompiler() (*Compiler, error) {
	lib, err := load("NVRTC", "libnvrtc-builtins", nvrtcFiles)
	if err != nil {
		return nil, &device.Missing{What: "NVRTC, CUDA's run-time compiler, is not installed (no libnvrtc.so.13, .12 or .11.2)", Do: "install it with pip install nvidia-cuda-nvrtc-cu12, or name its folder in ORRERY_NVRTC"}
	}
	c := &Compiler{lib: lib}
	err = lib.bind(map[string]*function{
		"nvrtcCreateProgram": &c.create, "nvrtcCompileProgram": &c.compile, "nvrtcDestroyProgram": &c.destroy,
		"nvrtcGetProgramLogSize": &c.logSize, "nvrtcGetProgramLog": &c.log, "nvrtcGetCUBINSize": &c.codeSize, "nvrtcGetCUBIN": &c.code,
		"nvrtcGetPTXSize": &c.ptxSize, "nvrtcGetPTX": &c.ptx, "nvrtcGetNumSupportedArchs": &c.countArchs, "nvrtcGetSupportedArchs": &c.listArchs,
		"nvrtcVersion": &c.version, "nvrtcGetErrorString": &c.errorString,
	})
	if err != nil {
		return nil, &device.Missing{What: err.Error(), Do: "install NVRTC of CUDA 11.2 or later"}
	}
	lib.failed = func(status int32) string {
		p, _, _ := purego.SyscallN(c.errorString.addr, uintptr(status))
		return textAt(*(**byte)(unsafe.Pointer(&p)))
	}
	return c, nil
}

// Version returns the toolkit's version, such as "12.4".
func (c *Compiler) Version() (string, error) {
	var major, minor int32
	err := c.version.call(uintptr(unsafe.Pointer(&major)), uintptr(unsafe.Pointer(&minor)))
	return fmt.Sprintf("%d.%d", major, minor), err
}

// Capabilities returns the compute capabilities that the compiler knows, lowest first.
func (c *Compiler) Capabilities() ([]int, error) {
	var n int32
	if err := c.countArchs.call(uintptr(unsafe.Pointer(&n))); err != nil || n <= 0 {
		return nil, err
	}
	list := make([]int32, n)
	if err := c.listArchs.call(uintptr(unsafe.Pointer(&list[0]))); err != nil {
		return nil, err
	}
	out := make([]int, n)
	for i, a := range list {
		out[i] = int(a)
	}
	slices.Sort(out)
	return out, nil
}

// Target returns what to compile for on a device: its own machine code, or that of an
// earlier member of its family, or else PTX, which the driver translates.
func Target(known []int, capability int) (string, error) {
	best := 0
	for _, k := range known {
		if k <= capability {
			best = max(best, k)
		}
	}
	switch {
	case capability < 70:
		return "", &device.Missing{What: fmt.Sprintf("the GPU has compute capability %d.%d; the kernels want 7.0 or later", capability/10, capability%10)}
	case best == 0:
		return "", &device.Missing{What: fmt.Sprintf("NVRTC no longer knows compute capability %d.%d", capability/10, capability%10), Do: "install an earlier one and name its folder in ORRERY_NVRTC"}
	case best/10 == capability/10:
		return fmt.Sprintf("sm_%d", best), nil
	}
	return fmt.Sprintf("compute_%d", best), nil
}

// Compile makes a module of a file of kernels, for a target such as sm_80 or compute_80.
func (c *Compiler) Compile(s kernels.Source, target string) (module []byte, err error) {
	headers := kernels.Headers()
	names, texts := make([]*byte, len(headers)), make([]*byte, len(headers))
	for i, h := range headers {
		names[i], texts[i] = cString(h.Name), cString(h.Text)
	}
	var program uintptr
	if err := c.create.call(uintptr(unsafe.Pointer(&program)), uintptr(unsafe.Pointer(cString(s.Text))), uintptr(unsafe.Pointer(cString(s.Name))), uintptr(len(headers)), uintptr(unsafe.Pointer(&texts[0])), uintptr(unsafe.Pointer(&names[0]))); err != nil {
		return nil, err
	}
	defer func() {
		if e := c.destroy.call(uintptr(unsafe.Pointer(&program))); err == nil {
			err = e
		}
	}()
	options := []*byte{cString("--gpu-architecture=" + target), cString("--std=c++14")}
	if err := c.compile.call(program, uintptr(len(options)), uintptr(unsafe.Pointer(&options[0]))); err != nil {
		log, _ := c.get(program, c.logSize, c.log)
		return nil, fmt.Errorf("compiling %s for %s: %w\n%s", s.Name, target, err, text(log))
	}
	if strings.HasPrefix(target, "compute") {
		return c.get(program, c.ptxSize, c.ptx)
	}
	return c.get(program, c.codeSize, c.code)
}

// get returns what a pair of functions gives of a program.
func (c *Compiler) get(program uintptr, size, content function) ([]byte, error) {
	var n uint64
	if err := size.call(program, uintptr(unsafe.Pointer(&n))); err != nil || n == 0 {
		return nil, err
	}
	data := make([]byte, n)
	return data, content.call(program, uintptr(unsafe.Pointer(&data[0])))
}
