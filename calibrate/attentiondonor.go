package calibrate

import (
	"math"

	"orrery/hwmodel"
)

// noUnits tells whether d lacks units for the operands of a kernel, which then does not
// exist for it.
func noUnits(d *hwmodel.Device, k hwmodel.AttentionKey) bool {
	return d.FP8FLOPs == 0 && (k.DType == "fp8" || k.KV == "fp8")
}

// clocks returns the highest clock of a in times of b's.
func clocks(a, b *hwmodel.Device) float64 {
	if a.MaxMHz == 0 || b.MaxMHz == 0 {
		return 1
	}
	return a.MaxMHz / b.MaxMHz
}

// powerShare returns which share of the donor's share of the peak rate a device with a
// lower power limit for its size can keep up. Within three tenths no measured pair of
// boards differs; below, power goes with about the square of the clock, since voltage
// follows it.
func powerShare(d, donor *hwmodel.Device) float64 {
	if d.Watts == 0 || donor.Watts == 0 {
		return 1
	}
	ratio := d.Watts / d.FLOPs("fp16") / (donor.Watts / donor.FLOPs("fp16"))
	if ratio >= 0.7 {
		return 1
	}
	return math.Sqrt(ratio)
}

// Half-widths of the 90 % band of attention that was derived: from another board of the
// same architecture, from another architecture.
const (
	siblingBand = 0.4
	strangeBand = 0.8
)

func derivedAttention(d *hwmodel.Device, donor *hwmodel.Profile, f hwmodel.Fit) hwmodel.Fit {
	band := siblingBand
	if d.Arch != donor.Device.Arch {
		band = strangeBand
	}
	return hwmodel.Fit{Derived: true, Source: "as on " + donor.Device.Name + " (" + f.Source + ")", Band: max(band, f.Band)}
}

// possible drops rows that are quicker than physics allows: their shape cannot be
// what the file says.
func possible(rows []Row, floor func(r *Row) float64) []Row {
	var out []Row
	for i := range rows {
		if rows[i].Seconds >= floor(&rows[i]) {
			out = append(out, rows[i])
		}
	}
	return out
}
