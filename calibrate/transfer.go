package calibrate

import (
	"math"

	"orrery/hwmodel"
)

// supports tells whether the board computes in dtype without converting first.
func supports(d *hwmodel.Device, dtype string) bool {
	switch dtype {
	case "fp8", "fp8_block":
		return d.FP8FLOPs > 0
	case "int8":
		return d.INT8FLOPs > 0
	case "tf32":
		return d.TF32FLOPs > 0
	}
	return true
}

// twins tells whether two boards carry the same chip, as far as kernels care.
func twins(a, b *hwmodel.Device) bool { return a.Arch == b.Arch && a.SMs == b.SMs }

// powerScale returns how much higher a share of the peak d sustains than the donor.
// Boards of one architecture draw power by SMs and clock; where the limit allows less
// a clock and SM, the clock falls under load. Voltage falls along with it, so that the
// rate falls by less than the power: by its root, in between no fall of the voltage
// (in proportion) and a free one (by the cube root). Across architectures nothing is
// known, and the share stays.
func powerScale(d, donor *hwmodel.Device) float64 {
	if d.Arch != donor.Arch || d.Watts == 0 || donor.Watts == 0 || d.MaxMHz == 0 || donor.MaxMHz == 0 {
		return 1
	}
	each := func(d *hwmodel.Device) float64 { return d.Watts / (float64(d.SMs) * d.MaxMHz) }
	return math.Sqrt(each(d) / each(donor))
}
