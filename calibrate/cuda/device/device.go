// Package device says what a GPU is to those who measure it or compute on it: memory,
// kernels, a stream on which work happens in order, and libraries where they are
// installed. Package driver has the real one; package emulate runs the same kernels on
// the host's processor, for tests.
package device

import (
	"fmt"
	"math"
)

// Ptr is an address in the memory of a device, or in host memory that it can reach.
// 0 is none.
type Ptr uint64

// Offset returns the address n elements of the given size further on.
func (p Ptr) Offset(n int64, size int) Ptr { return p + Ptr(n)*Ptr(size) }

// Info describes a device. Figures that are not known are 0.
type Info struct {
	Name         string // as the vendor spells it
	Major, Minor int    // compute capability
	SMs          int
	Threads      int   // that one SM holds at a time
	Shared       int   // bytes of shared memory that one block can have
	Memory, Free int64 // bytes
	L2           int64 // bytes
	ClockMHz     float64
	DRAMBytes    float64 // peak bandwidth by memory clock and bus width, bytes/s
	Facts        []Fact
}

// Capability returns the compute capability as one number, such as 80.
func (i *Info) Capability() int { return 10*i.Major + i.Minor }

// Fact is something that is known about the device or the machine: a library's
// version, a clock.
type Fact struct{ Name, Value string }

// Device is one GPU. It belongs to one goroutine, which stays on its thread.
type Device interface {
	Info() Info
	// Alloc returns memory of the device, aligned to 256 bytes; AllocHost memory of the
	// host that the device can copy from and to at full speed.
	Alloc(bytes int64) (Ptr, error)
	AllocHost(bytes int64) (Ptr, error)
	// Free gives either back.
	Free(p Ptr) error
	// Upload and Download copy when all work before them is done, and return when they
	// are done.
	Upload(to Ptr, data []byte) error
	Download(data []byte, from Ptr) error
	// Copy and Launch enqueue a copy and a kernel.
	Copy(to, from Ptr, bytes int64) error
	Launch(l *Launch) error
	// Record keeps n calls of enqueue, with 0 to n-1, for repetition.
	Record(mode Mode, n int, enqueue func(i int) error) (Recording, error)
	// Product enqueues a product of matrices, Convolve a convolution. Lacks says why one
	// cannot be had at all in a format, nil if it can.
	Product(p *Product) error
	Convolve(c *Convolution) error
	Lacks(library, dtype string) error
}

// Libraries of [Device.Lacks].
const (
	Products     = "products"
	Convolutions = "convolutions"
)

// Mode is how recorded calls are started.
type Mode int

// Graph starts them all at once as a CUDA graph, Stream one after another from the
// host.
const (
	Graph Mode = iota
	Stream
)

// Recording is work that can be done again and again.
type Recording interface {
	// Seconds does it once, waits for its end, and returns the time it took on the device.
	Seconds() (float64, error)
	Close() error
}

// Launch is a call of a kernel.
type Launch struct {
	Kernel      string // of package kernels
	Grid, Block [3]int // 0 counts as 1
	Shared      int    // bytes of dynamic shared memory
	Args        []Arg
}

// Arg is an argument of a kernel: a number of up to 8 bytes, little end first.
type Arg struct {
	Bits  uint64
	Float bool
}

// Int, Float and Address make arguments.
func Int[T ~int | ~int32 | ~int64 | ~uint32](x T) Arg { return Arg{Bits: uint64(x)} }
func Float(x float32) Arg                             { return Arg{Bits: uint64(math.Float32bits(x)), Float: true} }
func Address(p Ptr) Arg                               { return Arg{Bits: uint64(p)} }

// Dim returns the sizes of l's grid or block with 0 replaced by 1.
func Dim(d [3]int) [3]uint32 {
	var out [3]uint32
	for i, n := range d {
		out[i] = uint32(max(1, n))
	}
	return out
}

// Product is Y = X Wᵀ, Batch times: X is M×K, W N×K and Y M×N, rows following each other,
// and batch after batch. DType is the format of X and W; [OutputOf] tells Y's.
type Product struct {
	DType          string
	Batch, M, N, K int
	X, W, Y        Ptr
}

// OutputOf returns the format of the result of a product.
func OutputOf(dtype string) string {
	switch dtype {
	case "int8":
		return "int32"
	case "fp8":
		return "bf16"
	case "tf32":
		return "fp32"
	}
	return dtype
}

// Convolution is a forward convolution, in layout NCHW and KCRS.
type Convolution struct {
	DType                                              string
	N, Cin, H, W, Cout, KH, KW, SH, SW, PH, PW, Groups int
	In, Weight, Out                                    Ptr
}

// OutH and OutW return the size of the output.
func (c *Convolution) OutH() int { return (c.H+2*c.PH-c.KH)/c.SH + 1 }
func (c *Convolution) OutW() int { return (c.W+2*c.PW-c.KW)/c.SW + 1 }

// Missing is what a device or a machine lacks.
type Missing struct{ What, Do string }

func (m *Missing) Error() string {
	if m.Do == "" {
		return m.What
	}
	return fmt.Sprintf("%s; %s", m.What, m.Do)
}
