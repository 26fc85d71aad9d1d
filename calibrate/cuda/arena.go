package cuda

import (
	"errors"
	"fmt"

	"orrery/calibrate/cuda/device"
	"orrery/calibrate/cuda/kernels"
	"orrery/calibrate/cuda/number"
)

// alignment of operands, bytes: that of device memory.
const alignment = 256

// errFull says that a point does not fit into the memory that is left.
var errFull = errors.New("needs more memory than there is")

// arena is the memory in which operands lie while points are measured. It is handed out
// from front to back and taken back all at once.
type arena struct {
	dev        device.Device
	base       device.Ptr
	size, used int64
	seeds      int // of operands so far
	slots      int // copies of each operand that is asked for
	pinned     []device.Ptr
}

// newArena takes size bytes of the device.
func newArena(dev device.Device, size int64) (*arena, error) {
	base, err := dev.Alloc(size)
	return &arena{dev: dev, base: base, size: size, slots: 1}, err
}

func (a *arena) free() error { return errors.Join(a.reset(), a.dev.Free(a.base)) }

// reset takes all memory back.
func (a *arena) reset() error {
	a.used, a.seeds = 0, 0
	var err error
	for _, p := range a.pinned {
		err = errors.Join(err, a.dev.Free(p))
	}
	a.pinned = nil
	return err
}

// host takes memory of the host.
func (a *arena) host(bytes int64) (device.Ptr, error) {
	p, err := a.dev.AllocHost(bytes)
	if err == nil {
		a.pinned = append(a.pinned, p)
	}
	return p, err
}

func (a *arena) take(bytes int64) (device.Ptr, error) {
	bytes = roundUp(bytes, alignment)
	if bytes > a.size-a.used {
		return 0, errFull
	}
	p := a.base.Offset(a.used, 1)
	a.used += bytes
	return p, nil
}

// operand is an array of numbers on the device, once for each slot.
type operand struct {
	dev    device.Device
	dtype  string
	at     device.Ptr
	n      int64 // numbers of a slot
	stride int64 // numbers from slot to slot
	seed   uint32
}

// result takes memory for n numbers in each slot.
func (a *arena) result(dtype string, n int64) (operand, error) {
	width := int64(number.Bytes(dtype))
	stride := roundUp(n, alignment/width)
	at, err := a.take(stride * width * int64(a.slots))
	return operand{dev: a.dev, dtype: dtype, at: at, n: n, stride: stride}, err
}

// input is a result filled with random numbers.
func (a *arena) input(dtype string, n int64) (operand, error) {
	o, err := a.result(dtype, n)
	if err != nil {
		return o, err
	}
	a.seeds++
	o.seed = number.Seed(a.seeds)
	all := o.stride * int64(a.slots)
	return o, a.dev.Launch(&device.Launch{
		Kernel: "fill_" + kernels.Format(dtype), Grid: [3]int{int(min(roundUp(all, 256)/256, 1<<16))}, Block: [3]int{256},
		Args: []device.Arg{device.Address(o.at), device.Int(all), device.Int(o.seed)},
	})
}

// table takes memory for data that is the same for all slots.
func (a *arena) table(data []byte) (device.Ptr, error) {
	p, err := a.take(int64(len(data)))
	if err != nil {
		return 0, err
	}
	return p, a.dev.Upload(p, data)
}

// slot returns where the operand of a slot is.
func (o *operand) slot(i int) device.Ptr {
	return o.at.Offset(int64(i)*o.stride, number.Bytes(o.dtype))
}

// value returns number i of an input in slot 0, without looking at the device.
func (o *operand) value(i int64) float64 { return number.Random(o.dtype, o.seed, i) }

// read returns number i in slot 0 from the device.
func (o *operand) read(i int64) (float64, error) {
	width := number.Bytes(o.dtype)
	data := make([]byte, width)
	err := o.dev.Download(data, o.at.Offset(i, width))
	return number.Decode(o.dtype, data), err
}

// expect returns an error unless number i of a result is within tolerance of want.
func (o *operand) expect(i int64, want, tolerance float64) error {
	got, err := o.read(i)
	if err != nil {
		return err
	}
	if d := got - want; !(d <= tolerance && -d <= tolerance) {
		return fmt.Errorf("number %d of the result is %g; it should be %g, give or take %.2g", i, got, want, tolerance)
	}
	return nil
}

// samples returns up to n of the numbers below all: the first, the last, and others
// spread over the rest.
func samples(n int, all int64) []int64 {
	if int64(n) >= all {
		out := make([]int64, all)
		for i := range out {
			out[i] = int64(i)
		}
		return out
	}
	out := []int64{0, all - 1}
	for i := len(out); i < n; i++ {
		// Multiples of the golden ratio are spread evenly and follow no row or tile.
		_, f := splitUnit(float64(i) * 0.6180339887498949)
		out = append(out, min(all-1, int64(f*float64(all))))
	}
	return out[:n]
}

func splitUnit(x float64) (whole, part float64) {
	whole = float64(int64(x))
	return whole, x - whole
}

func roundUp(n, to int64) int64       { return (n + to - 1) / to * to }
func ceilDiv[T int | int64](a, b T) T { return (a + b - 1) / b }
