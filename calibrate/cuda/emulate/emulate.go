//go:build linux && (amd64 || arm64)

// Package emulate is a device without a GPU, for tests: it compiles the kernels with the
// host's C++ compiler, runs their threads as fibres and their instructions of whole
// warps (shuffles, products of small matrices) as the PTX manual defines them. It
// proves what kernels compute, and the way there; it says nothing about time.
package emulate

import (
	"embed"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"

	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/kernels"
)

//go:embed host
var runtime embed.FS

// Library is the compiled kernels.
type Library struct {
	handle                    uintptr
	launch, alloc, free, copy uintptr
}

// Build compiles the kernels into a folder, which must outlive the library. It fails with
// a [device.Missing] if there is no compiler.
func Build(folder string) (*Library, error) {
	compiler, err := exec.LookPath("g++")
	if err != nil {
		return nil, &device.Missing{What: "no g++ here to compile the kernels for the processor"}
	}
	objects := []string{}
	for _, s := range append(kernels.Headers(), kernels.Programs()...) {
		if err := os.WriteFile(filepath.Join(folder, s.Name), []byte(s.Text), 0o600); err != nil {
			return nil, err
		}
		if strings.HasSuffix(s.Name, ".cu") {
			objects = append(objects, s.Name)
		}
	}
	for _, name := range []string{"emulate.h", "emulate.cc"} {
		text, err := runtime.ReadFile("host/" + name)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			return nil, err
		}
	}
	file := filepath.Join(folder, "kernels.so")
	for i, source := range append(objects, "emulate.cc") {
		object := source + ".o"
		c := exec.Command(compiler, "-O1", "-fPIC", "-std=c++17", "-fvisibility=hidden", "-DORRERY_EMULATE", "-Wno-unknown-pragmas", "-I.", "-x", "c++", "-c", source, "-o", object)
		c.Dir = folder
		if out, err := c.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("compiling %s: %w\n%s", source, err, out)
		}
		if i < len(objects) {
			objects[i] = object
		}
	}
	c := exec.Command(compiler, append([]string{"-shared", "-o", file, "emulate.cc.o"}, objects...)...)
	c.Dir = folder
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("linking: %w\n%s", err, out)
	}
	return open(file)
}

func open(file string) (*Library, error) {
	l := &Library{}
	var err error
	if l.handle, err = purego.Dlopen(file, purego.RTLD_NOW|purego.RTLD_LOCAL); err != nil {
		return nil, err
	}
	for name, to := range map[string]*uintptr{"emulate_launch": &l.launch, "emulate_alloc": &l.alloc, "emulate_free": &l.free, "emulate_copy": &l.copy} {
		if *to, err = purego.Dlsym(l.handle, name); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Device is a [device.Device] on the host's processor.
type Device struct {
	// Backward lets the last thread and the last block run first. A kernel that lacks
	// a barrier gives another result then, or for want of it.
	Backward bool

	lib    *Library
	info   device.Info
	memory map[device.Ptr]int64
}

// New returns a device with little memory and a small cache, so that tests need not move
// much.
func New(l *Library, info device.Info) *Device {
	return &Device{lib: l, info: info, memory: map[device.Ptr]int64{}}
}

// Info returns what New was given.
func (d *Device) Info() device.Info { return d.info }

// Alloc returns memory with a page behind it that cannot be touched.
func (d *Device) Alloc(bytes int64) (device.Ptr, error) {
	p, _, _ := purego.SyscallN(d.lib.alloc, uintptr(bytes))
	if p == 0 {
		return 0, fmt.Errorf("no memory for %d bytes", bytes)
	}
	d.memory[device.Ptr(p)] = bytes
	return device.Ptr(p), nil
}

// AllocHost is Alloc.
func (d *Device) AllocHost(bytes int64) (device.Ptr, error) { return d.Alloc(bytes) }

// Free gives memory back.
func (d *Device) Free(p device.Ptr) error {
	bytes, ok := d.memory[p]
	if !ok {
		return fmt.Errorf("free of %#x, which was not allocated", p)
	}
	delete(d.memory, p)
	purego.SyscallN(d.lib.free, uintptr(p), uintptr(bytes))
	return nil
}

// Left returns how many allocations were not freed.
func (d *Device) Left() int { return len(d.memory) }

// inside fails unless the bytes lie in memory of the device.
func (d *Device) inside(p device.Ptr, bytes int64) error {
	for begin, size := range d.memory {
		if p >= begin && p.Offset(bytes, 1) <= begin.Offset(size, 1) {
			return nil
		}
	}
	return fmt.Errorf("%d bytes at %#x are not memory of the device", bytes, p)
}

// Upload copies data to the device.
func (d *Device) Upload(to device.Ptr, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if err := d.inside(to, int64(len(data))); err != nil {
		return err
	}
	purego.SyscallN(d.lib.copy, uintptr(to), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)))
	return nil
}

// Download copies data from the device.
func (d *Device) Download(data []byte, from device.Ptr) error {
	if len(data) == 0 {
		return nil
	}
	if err := d.inside(from, int64(len(data))); err != nil {
		return err
	}
	purego.SyscallN(d.lib.copy, uintptr(unsafe.Pointer(&data[0])), uintptr(from), uintptr(len(data)))
	return nil
}

// Copy copies at once.
func (d *Device) Copy(to, from device.Ptr, bytes int64) error {
	if err := d.inside(to, bytes); err != nil {
		return err
	}
	if err := d.inside(from, bytes); err != nil {
		return err
	}
	purego.SyscallN(d.lib.copy, uintptr(to), uintptr(from), uintptr(bytes))
	return nil
}

// Launch runs a kernel at once.
func (d *Device) Launch(l *device.Launch) error {
	f, err := purego.Dlsym(d.lib.handle, l.Kernel)
	if err != nil {
		return fmt.Errorf("no kernel %s: %w", l.Kernel, err)
	}
	if l.Shared > d.info.Shared {
		return fmt.Errorf("%s: %d bytes of shared memory, the device has %d", l.Kernel, l.Shared, d.info.Shared)
	}
	var ints [16]uint64
	var floats [4]float32
	n, m := 0, 0
	for _, a := range l.Args {
		if a.Float {
			floats[m] = math.Float32frombits(uint32(a.Bits))
			m++
			continue
		}
		ints[n] = a.Bits
		n++
	}
	grid, block := device.Dim(l.Grid), device.Dim(l.Block)
	backward := uintptr(0)
	if d.Backward {
		backward = 1
	}
	why, _, _ := purego.SyscallN(d.lib.launch, f, uintptr(unsafe.Pointer(&grid)), uintptr(unsafe.Pointer(&block)), uintptr(l.Shared),
		uintptr(unsafe.Pointer(&ints)), uintptr(n), uintptr(unsafe.Pointer(&floats)), uintptr(m), backward)
	if why != 0 {
		return fmt.Errorf("%s: %s", l.Kernel, text(why))
	}
	return nil
}

// text returns a string of C.
func text(p uintptr) string {
	var out []byte
	for i := uintptr(0); i < 200; i++ {
		c := *(*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&[]uintptr{p + i}[0])))
		if c == 0 {
			break
		}
		out = append(out, c)
	}
	return string(out)
}

// Record keeps the calls.
func (d *Device) Record(_ device.Mode, n int, enqueue func(int) error) (device.Recording, error) {
	return &recording{n, enqueue}, nil
}

type recording struct {
	n       int
	enqueue func(int) error
}

// Seconds makes the calls and returns the processor's time for them.
func (r *recording) Seconds() (float64, error) {
	begun := time.Now()
	for i := range r.n {
		if err := r.enqueue(i); err != nil {
			return 0, err
		}
	}
	return max(time.Since(begun), time.Nanosecond).Seconds(), nil
}

func (r *recording) Close() error { return nil }
