//go:build linux && (amd64 || arm64)

package driver

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/kernels"
)

// api is the driver API.
type api struct {
	lib *library

	init, version, count, get, name, attribute, totalMemory, busID, errorName          function
	retain, release, setCurrent, memoryInfo                                            function
	alloc, free, allocHost, freeHost, toDevice, toHost, copyAsync                      function
	loadModule, unloadModule, findKernel, setAttribute, launch                         function
	newStream, destroyStream, waitStream, newEvent, destroyEvent, recordEvent, elapsed function
	waitEvent, beginCapture, endCapture, instantiate, launchGraph, destroyGraphExec    function
	destroyGraph, waitContext                                                          function
}

// noDriver is what a machine without a GPU hears.
const noDriver = "run this on a machine with an NVIDIA GPU; without one, orrery calibrate cpu measures the processor, and orrery list shows the profiles there are"

// newAPI loads the driver and wakes it.
func newAPI() (*api, error) {
	lib, err := load("the NVIDIA driver", "", []string{"libcuda.so.1", "libcuda.so"})
	if err != nil {
		return nil, &device.Missing{What: "no NVIDIA driver here (libcuda.so.1 cannot be loaded)", Do: noDriver}
	}
	a := &api{lib: lib}
	err = lib.bind(map[string]*function{
		"cuInit": &a.init, "cuDriverGetVersion": &a.version, "cuDeviceGetCount": &a.count, "cuDeviceGet": &a.get, "cuDeviceGetName": &a.name,
		"cuDeviceGetAttribute": &a.attribute, "cuDeviceTotalMem_v2": &a.totalMemory, "cuDeviceGetPCIBusId": &a.busID, "cuGetErrorName": &a.errorName,
		"cuDevicePrimaryCtxRetain": &a.retain, "cuDevicePrimaryCtxRelease_v2": &a.release, "cuCtxSetCurrent": &a.setCurrent, "cuMemGetInfo_v2": &a.memoryInfo,
		"cuMemAlloc_v2": &a.alloc, "cuMemFree_v2": &a.free, "cuMemHostAlloc": &a.allocHost, "cuMemFreeHost": &a.freeHost,
		"cuMemcpyHtoD_v2": &a.toDevice, "cuMemcpyDtoH_v2": &a.toHost, "cuMemcpyAsync": &a.copyAsync,
		"cuModuleLoadData": &a.loadModule, "cuModuleUnload": &a.unloadModule, "cuModuleGetFunction": &a.findKernel, "cuFuncSetAttribute": &a.setAttribute, "cuLaunchKernel": &a.launch,
		"cuStreamCreate": &a.newStream, "cuStreamDestroy_v2": &a.destroyStream, "cuStreamSynchronize": &a.waitStream,
		"cuEventCreate": &a.newEvent, "cuEventDestroy_v2": &a.destroyEvent, "cuEventRecord": &a.recordEvent, "cuEventElapsedTime": &a.elapsed, "cuEventSynchronize": &a.waitEvent,
		"cuStreamBeginCapture_v2": &a.beginCapture, "cuStreamEndCapture": &a.endCapture, "cuGraphInstantiateWithFlags": &a.instantiate,
		"cuGraphLaunch": &a.launchGraph, "cuGraphExecDestroy": &a.destroyGraphExec, "cuGraphDestroy": &a.destroyGraph, "cuCtxSynchronize": &a.waitContext,
	})
	if err != nil {
		return nil, &device.Missing{What: err.Error(), Do: "install a driver for CUDA 11.4 or later"}
	}
	lib.failed = func(status int32) string {
		var p *byte
		if a.errorName.call(uintptr(status), uintptr(unsafe.Pointer(&p))) != nil {
			return ""
		}
		return explain(textAt(p))
	}
	if err := a.init.call(0); err != nil {
		return nil, &device.Missing{What: fmt.Sprintf("the NVIDIA driver finds no GPU (%v)", err), Do: noDriver}
	}
	var n int32
	if err := a.count.call(uintptr(unsafe.Pointer(&n))); err != nil || n == 0 {
		return nil, &device.Missing{What: "the NVIDIA driver finds no GPU", Do: noDriver}
	}
	return a, nil
}

// explain adds what to do to the errors that users meet.
func explain(name string) string {
	switch name {
	case "CUDA_ERROR_UNSUPPORTED_PTX_VERSION":
		return name + ": the driver is older than NVRTC; install a newer driver or an older NVRTC"
	case "CUDA_ERROR_NO_BINARY_FOR_GPU":
		return name + ": NVRTC made code for another GPU; install a newer NVRTC"
	case "CUDA_ERROR_OUT_OF_MEMORY":
		return name + ": another process holds the GPU's memory"
	}
	return name
}

// Attributes of a device, from cuda.h.
const (
	attributeClock         = 13 // kHz
	attributeSMs           = 16
	attributeMemoryClock   = 36 // kHz
	attributeBusWidth      = 37 // bits
	attributeL2            = 38 // bytes
	attributeThreads       = 39 // of an SM
	attributeMajor         = 75
	attributeMinor         = 76
	attributeShared        = 97 // bytes that a block can opt in to
	functionDynamicShared  = 8  // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
	streamNonBlocking      = 1
	captureThreadLocal     = 1
	plainShared            = 48 << 10 // bytes that need no opting in
	mostWorkspace          = 64 << 20 // bytes of cuBLAS, cublasLt and cuDNN, each
	doubleDataRate         = 2
	mostArgs               = 16 // of a kernel
	bitsPerByte, kilohertz = 8, 1e3
)

// GPU is a device of this machine.
type GPU struct {
	*api
	ordinal, device int32
	context, stream uintptr
	info            device.Info
	compiler        *Compiler
	target          string
	modules         map[string]uintptr // by program
	kernels         map[string]uintptr
	host            map[device.Ptr]bool
	begin, end      uintptr          // events
	values          [mostArgs]uint64 // arguments of a launch, and where they are
	pointers        [mostArgs]unsafe.Pointer
	blas            *blas
	light           *light
	dnn             *dnn
	lacks           map[string]error // why a library is not there
}

// Open returns a device of this machine, the first one being 0. The goroutine that opens
// it is tied to its thread, and is the one that uses it.
func Open(ordinal int) (*GPU, error) {
	a, err := newAPI()
	if err != nil {
		return nil, err
	}
	compiler, err := NewCompiler()
	if err != nil {
		return nil, err
	}
	g := &GPU{api: a, ordinal: int32(ordinal), compiler: compiler, modules: map[string]uintptr{}, kernels: map[string]uintptr{}, host: map[device.Ptr]bool{}, lacks: map[string]error{}}
	runtime.LockOSThread()
	if err := g.open(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *GPU) open() error {
	var n int32
	if err := g.count.call(uintptr(unsafe.Pointer(&n))); err != nil {
		return err
	}
	if g.ordinal < 0 || g.ordinal >= n {
		return &device.Missing{What: fmt.Sprintf("there is no device %d", g.ordinal), Do: fmt.Sprintf("choose one from 0 to %d", n-1)}
	}
	if err := g.get.call(uintptr(unsafe.Pointer(&g.device)), uintptr(g.ordinal)); err != nil {
		return err
	}
	var context uintptr
	if err := g.retain.call(uintptr(unsafe.Pointer(&context)), uintptr(g.device)); err != nil {
		return err
	}
	g.context = context
	if err := g.setCurrent.call(g.context); err != nil {
		return err
	}
	if err := g.newStream.call(uintptr(unsafe.Pointer(&g.stream)), streamNonBlocking); err != nil {
		return err
	}
	for _, e := range []*uintptr{&g.begin, &g.end} {
		if err := g.newEvent.call(uintptr(unsafe.Pointer(e)), 0); err != nil {
			return err
		}
	}
	if err := g.look(); err != nil {
		return err
	}
	known, err := g.compiler.Capabilities()
	if err != nil {
		return err
	}
	if g.target, err = Target(known, g.info.Capability()); err != nil {
		return err
	}
	g.openLibraries()
	return nil
}

// look fills in what the driver says about the device.
func (g *GPU) look() error {
	name := make([]byte, 256)
	if err := g.name.call(uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)), uintptr(g.device)); err != nil {
		return err
	}
	i := &g.info
	i.Name = text(name)
	values := map[int]int32{}
	for _, a := range []int{attributeClock, attributeSMs, attributeMemoryClock, attributeBusWidth, attributeL2, attributeThreads, attributeMajor, attributeMinor, attributeShared} {
		var v int32
		// Later drivers no longer tell clocks: such a figure stays unknown.
		if g.attribute.call(uintptr(unsafe.Pointer(&v)), uintptr(a), uintptr(g.device)) == nil {
			values[a] = v
		}
	}
	i.Major, i.Minor, i.SMs = int(values[attributeMajor]), int(values[attributeMinor]), int(values[attributeSMs])
	i.Threads, i.Shared, i.L2 = int(values[attributeThreads]), int(values[attributeShared]), int64(values[attributeL2])
	i.ClockMHz = float64(values[attributeClock]) / 1e3
	i.DRAMBytes = doubleDataRate * float64(values[attributeMemoryClock]) * kilohertz * float64(values[attributeBusWidth]) / bitsPerByte
	var free, total uint64
	if err := g.memoryInfo.call(uintptr(unsafe.Pointer(&free)), uintptr(unsafe.Pointer(&total))); err != nil {
		return err
	}
	i.Memory, i.Free = int64(total), int64(free)
	var version int32
	if err := g.version.call(uintptr(unsafe.Pointer(&version))); err != nil {
		return err
	}
	compiler, err := g.compiler.Version()
	i.Facts = []device.Fact{{Name: "driver", Value: fmt.Sprintf("CUDA %d.%d", version/1000, version%1000/10)}, {Name: "nvrtc", Value: compiler}}
	return err
}

// Close gives everything back.
func (g *GPU) Close() error {
	defer runtime.UnlockOSThread()
	var err error
	if g.context == 0 {
		return nil
	}
	err = errors.Join(err, g.closeLibraries())
	for _, m := range g.modules {
		err = errors.Join(err, g.unloadModule.call(m))
	}
	for _, e := range []uintptr{g.begin, g.end} {
		if e != 0 {
			err = errors.Join(err, g.destroyEvent.call(e))
		}
	}
	if g.stream != 0 {
		err = errors.Join(err, g.destroyStream.call(g.stream))
	}
	return errors.Join(err, g.release.call(uintptr(g.device)))
}

// Info describes the device.
func (g *GPU) Info() device.Info { return g.info }

// Alloc takes memory of the device.
func (g *GPU) Alloc(bytes int64) (device.Ptr, error) {
	var p uint64
	err := g.alloc.call(uintptr(unsafe.Pointer(&p)), uintptr(max(1, bytes)))
	return device.Ptr(p), err
}

// AllocHost takes pinned memory.
func (g *GPU) AllocHost(bytes int64) (device.Ptr, error) {
	var p uint64
	const portable = 1
	if err := g.allocHost.call(uintptr(unsafe.Pointer(&p)), uintptr(max(1, bytes)), portable); err != nil {
		return 0, err
	}
	g.host[device.Ptr(p)] = true
	return device.Ptr(p), nil
}

// Free gives memory back once nothing uses it.
func (g *GPU) Free(p device.Ptr) error {
	if err := g.waitStream.call(g.stream); err != nil {
		return err
	}
	if g.host[p] {
		delete(g.host, p)
		return g.freeHost.call(uintptr(p))
	}
	return g.free.call(uintptr(p))
}

// Upload copies to the device.
func (g *GPU) Upload(to device.Ptr, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if err := g.waitStream.call(g.stream); err != nil {
		return err
	}
	return g.toDevice.call(uintptr(to), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)))
}

// Download copies from the device.
func (g *GPU) Download(data []byte, from device.Ptr) error {
	if len(data) == 0 {
		return nil
	}
	if err := g.waitStream.call(g.stream); err != nil {
		return err
	}
	return g.toHost.call(uintptr(unsafe.Pointer(&data[0])), uintptr(from), uintptr(len(data)))
}

// Copy enqueues a copy between any two addresses.
func (g *GPU) Copy(to, from device.Ptr, bytes int64) error {
	return g.copyAsync.call(uintptr(to), uintptr(from), uintptr(bytes), g.stream)
}

// kernel returns a kernel, compiling its file when it is wanted for the first time.
func (g *GPU) kernel(name string) (uintptr, error) {
	if f, ok := g.kernels[name]; ok {
		return f, nil
	}
	program, err := kernels.ProgramOf(name)
	if err != nil {
		return 0, err
	}
	module, ok := g.modules[program.Name]
	if !ok {
		code, err := g.compiler.Compile(program, g.target)
		if err != nil {
			return 0, err
		}
		if err := g.loadModule.call(uintptr(unsafe.Pointer(&module)), uintptr(unsafe.Pointer(&code[0]))); err != nil {
			return 0, err
		}
		g.modules[program.Name] = module
	}
	var f uintptr
	if err := g.findKernel.call(uintptr(unsafe.Pointer(&f)), module, uintptr(unsafe.Pointer(cString(name)))); err != nil {
		return 0, fmt.Errorf("kernel %s: %w", name, err)
	}
	g.kernels[name] = f
	return f, nil
}

// Launch enqueues a kernel.
func (g *GPU) Launch(l *device.Launch) error {
	f, err := g.kernel(l.Kernel)
	if err != nil {
		return err
	}
	if l.Shared > g.info.Shared {
		return &device.Missing{What: fmt.Sprintf("%s wants %d bytes of shared memory, the device has %d", l.Kernel, l.Shared, g.info.Shared)}
	}
	if l.Shared > plainShared {
		if err := g.setAttribute.call(f, functionDynamicShared, uintptr(l.Shared)); err != nil {
			return err
		}
	}
	grid, block := device.Dim(l.Grid), device.Dim(l.Block)
	// Each parameter is the address of its value; the driver copies them at once.
	if len(l.Args) > mostArgs {
		return fmt.Errorf("kernel %s: %d arguments, at most %d", l.Kernel, len(l.Args), mostArgs)
	}
	for i, a := range l.Args {
		g.values[i] = a.Bits
		g.pointers[i] = unsafe.Pointer(&g.values[i])
	}
	err = g.launch.call(f, uintptr(grid[0]), uintptr(grid[1]), uintptr(grid[2]), uintptr(block[0]), uintptr(block[1]), uintptr(block[2]),
		uintptr(l.Shared), g.stream, uintptr(unsafe.Pointer(&g.pointers[0])), 0)
	if err != nil {
		return fmt.Errorf("kernel %s: %w", l.Kernel, err)
	}
	return nil
}

// Record keeps calls for repetition, as a graph or as they are.
func (g *GPU) Record(mode device.Mode, n int, enqueue func(int) error) (device.Recording, error) {
	if mode == device.Stream {
		return &streamed{g, n, enqueue}, nil
	}
	// The first call of a kernel compiles it, which cannot be part of a graph.
	if err := enqueue(0); err != nil {
		return nil, err
	}
	if err := g.waitStream.call(g.stream); err != nil {
		return nil, err
	}
	if err := g.beginCapture.call(g.stream, captureThreadLocal); err != nil {
		return nil, err
	}
	var err error
	for i := 0; i < n && err == nil; i++ {
		err = enqueue(i)
	}
	var graph, exec uintptr
	if e := g.endCapture.call(g.stream, uintptr(unsafe.Pointer(&graph))); err == nil {
		err = e
	}
	if err == nil {
		err = g.instantiate.call(uintptr(unsafe.Pointer(&exec)), graph, 0, 0)
	}
	if graph != 0 {
		err = errors.Join(err, g.destroyGraph.call(graph))
	}
	if err != nil {
		return nil, err
	}
	r := &captured{g, exec}
	if err := g.launchGraph.call(exec, g.stream); err != nil { // the first launch also uploads it
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// between returns the time that work takes on the device.
func (g *GPU) between(work func() error) (float64, error) {
	if err := g.recordEvent.call(g.begin, g.stream); err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	if err := g.recordEvent.call(g.end, g.stream); err != nil {
		return 0, err
	}
	if err := g.waitEvent.call(g.end); err != nil {
		return 0, err
	}
	var milliseconds float32
	if err := g.elapsed.call(uintptr(unsafe.Pointer(&milliseconds)), g.begin, g.end); err != nil {
		return 0, err
	}
	return max(1e-9, float64(milliseconds)*1e-3), nil
}

type streamed struct {
	g       *GPU
	n       int
	enqueue func(int) error
}

func (s *streamed) Seconds() (float64, error) {
	return s.g.between(func() error {
		for i := range s.n {
			if err := s.enqueue(i); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *streamed) Close() error { return nil }

type captured struct {
	g    *GPU
	exec uintptr
}

func (c *captured) Seconds() (float64, error) {
	return c.g.between(func() error { return c.g.launchGraph.call(c.exec, c.g.stream) })
}

func (c *captured) Close() error { return c.g.destroyGraphExec.call(c.exec) }

// missing turns a library's status "not supported" into something that is left out.
func missing(err error, unsupported int32) error {
	var f *failure
	if errors.As(err, &f) && f.status == unsupported {
		return &device.Missing{What: strings.TrimSpace(f.function + " does not support it here")}
	}
	return err
}
