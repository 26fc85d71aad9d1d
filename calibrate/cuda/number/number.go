// Package number is the number formats of GPUs on the host: their widths, their
// rounding, and the random numbers that kernels fill memory with.
package number

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// Bytes returns the width of a format. Formats are named as in measurement files.
func Bytes(dtype string) int {
	switch dtype {
	case "fp32", "tf32", "int32":
		return 4
	case "fp16", "bf16":
		return 2
	case "fp8", "int8":
		return 1
	}
	panic(fmt.Sprintf("number: no format %q", dtype))
}

// Epsilon returns how far a rounded number of size 1 can be off, relative to it.
func Epsilon(dtype string) float64 {
	switch dtype {
	case "fp32":
		return 0x1p-24
	case "tf32", "fp16":
		return 0x1p-11
	case "bf16":
		return 0x1p-8 // half of it is rounding, the rest truncation somewhere
	}
	return 0 // whole numbers
}

// Decode returns the first number of data.
func Decode(dtype string, data []byte) float64 {
	switch dtype {
	case "fp32", "tf32":
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(data)))
	case "int32":
		return float64(int32(binary.LittleEndian.Uint32(data)))
	case "fp16":
		return half(binary.LittleEndian.Uint16(data))
	case "bf16":
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(data)) << 16))
	case "int8":
		return float64(int8(data[0]))
	case "fp8":
		return e4m3(data[0])
	}
	panic(fmt.Sprintf("number: no format %q", dtype))
}

// Append appends x, rounded to the format, to data.
func Append(data []byte, dtype string, x float64) []byte {
	switch dtype {
	case "fp32", "tf32":
		return binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(x)))
	case "int32":
		return binary.LittleEndian.AppendUint32(data, uint32(int32(x)))
	case "fp16":
		return binary.LittleEndian.AppendUint16(data, toHalf(x))
	case "bf16":
		u := math.Float32bits(float32(x))
		return binary.LittleEndian.AppendUint16(data, uint16((u+0x7fff+u>>16&1)>>16))
	}
	panic(fmt.Sprintf("number: cannot round to %q", dtype))
}

// Round returns x as the format holds it.
func Round(dtype string, x float64) float64 {
	var data [4]byte
	return Decode(dtype, Append(data[:0], dtype, x))
}

// half is IEEE's binary16.
func half(h uint16) float64 {
	exponent, mantissa := int(h>>10&31), float64(h&1023)
	x := math.Ldexp(1024+mantissa, exponent-25)
	switch {
	case exponent == 0:
		x = math.Ldexp(mantissa, -24)
	case exponent == 31 && mantissa == 0:
		x = math.Inf(1)
	case exponent == 31:
		x = math.NaN()
	}
	if h&0x8000 != 0 {
		return -x
	}
	return x
}

func toHalf(x float64) uint16 {
	sign := uint16(0)
	if math.Signbit(x) {
		sign = 0x8000
	}
	x = math.Abs(x)
	switch {
	case math.IsNaN(x):
		return sign | 0x7e00
	case x == 0:
		return sign
	case x >= 65520:
		return sign | 0x7c00
	}
	_, e := math.Frexp(x)
	e = max(e, -13)
	return sign | uint16(int(math.RoundToEven(math.Ldexp(x, 11-e)))+(e+13)<<10)
}

// e4m3 is the 8-bit format with 4 bits of exponent, without infinities.
func e4m3(b byte) float64 {
	exponent, mantissa := int(b>>3&15), float64(b&7)
	x := math.Ldexp(8+mantissa, exponent-10)
	switch {
	case exponent == 0:
		x = math.Ldexp(mantissa, -9)
	case b&0x7f == 0x7f:
		x = math.NaN()
	}
	if b&0x80 != 0 {
		return -x
	}
	return x
}

// Random returns number i of the stream that the kernels fill make of a seed.
func Random(dtype string, seed uint32, i int64) float64 {
	h := randomBits(seed, uint64(i))
	switch dtype {
	case "int8":
		return float64(int8(h >> 24))
	case "fp8":
		return e4m3(byte(h>>24&0x9f | 0x20))
	}
	return Round(dtype, float64(h>>8)*0x1p-23-1)
}

// randomBits is the hash of kernels/common.cuh.
func randomBits(seed uint32, i uint64) uint32 {
	h := seed ^ uint32(i)*0x9e3779b1 ^ uint32(i>>32)*0x85ebca77
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	return h ^ h>>16
}

// Seed spreads small numbers over all seeds.
func Seed(n int) uint32 { return bits.RotateLeft32(uint32(n)*0x9e3779b9, 13) }
