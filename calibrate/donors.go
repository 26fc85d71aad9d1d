package calibrate

import (
	"slices"

	"orrery/hwmodel"
)

// donors lists for every board those whose measured constants stand in for what was
// never measured on it, nearest first: the same chip, then the same architecture, then
// the neighbouring ones, with boards of a like power class before others. A constant is
// taken from the first that measured it. L4 has the power class of T4 and its
// neighbours' architecture; what T4 measured comes first, since data sheets say nothing
// of what 70 W leave of a clock.
var donors = map[string][]string{
	"a100-sxm-80gb":  {"a100-sxm-40gb", "a100-pcie-80gb", "a100-pcie-40gb", "a30-24gb", "h100-sxm-80gb", "v100-sxm-16gb", "l40s-48gb", "a40-48gb"},
	"a100-pcie-80gb": {"a100-pcie-40gb", "a100-sxm-80gb", "a100-sxm-40gb", "a30-24gb", "h100-sxm-80gb", "v100-sxm-16gb", "l40s-48gb", "a40-48gb"},
	"a100-sxm-40gb":  {"a100-sxm-80gb", "a100-pcie-40gb", "a100-pcie-80gb", "a30-24gb", "h100-sxm-80gb", "v100-sxm-16gb", "l40s-48gb", "a40-48gb"},
	"a100-pcie-40gb": {"a100-pcie-80gb", "a100-sxm-40gb", "a100-sxm-80gb", "a30-24gb", "h100-sxm-80gb", "v100-sxm-16gb", "l40s-48gb", "a40-48gb"},
	"a30-24gb":       {"a100-pcie-40gb", "a100-pcie-80gb", "a100-sxm-80gb", "a40-48gb", "l40s-48gb", "v100-sxm-16gb"},

	"h100-sxm-80gb":  {"h100-pcie-80gb", "a100-sxm-80gb", "a100-pcie-80gb", "a100-pcie-40gb", "l40s-48gb", "v100-sxm-16gb", "a40-48gb"},
	"h100-pcie-80gb": {"h100-sxm-80gb", "a100-pcie-80gb", "a100-sxm-80gb", "a100-pcie-40gb", "l40s-48gb", "v100-sxm-16gb", "a40-48gb"},
	"h100-nvl-94gb":  {"h100-sxm-80gb", "h100-pcie-80gb", "a100-pcie-80gb", "a100-sxm-80gb", "a100-pcie-40gb", "l40s-48gb", "v100-sxm-16gb", "a40-48gb"},
	"h200-sxm-141gb": {"h100-sxm-80gb", "h100-pcie-80gb", "a100-sxm-80gb", "a100-pcie-80gb", "a100-pcie-40gb", "l40s-48gb", "v100-sxm-16gb", "a40-48gb"},

	"a40-48gb":         {"a6000-48gb", "rtx-3090-24gb", "a10g-24gb", "a30-24gb", "a100-pcie-40gb", "a100-pcie-80gb", "a100-sxm-80gb", "l40s-48gb", "t4-16gb"},
	"a6000-48gb":       {"a40-48gb", "rtx-3090-24gb", "a10g-24gb", "a30-24gb", "a100-pcie-40gb", "a100-pcie-80gb", "a100-sxm-80gb", "l40s-48gb", "t4-16gb"},
	"a10g-24gb":        {"a40-48gb", "a6000-48gb", "rtx-3090-24gb", "a30-24gb", "a100-pcie-40gb", "a100-pcie-80gb", "a100-sxm-80gb", "l40s-48gb", "t4-16gb"},
	"rtx-3090-24gb":    {"rtx-3090-ti-24gb", "a6000-48gb", "a40-48gb", "a30-24gb", "a100-pcie-40gb", "a100-pcie-80gb", "a100-sxm-80gb", "l40s-48gb", "t4-16gb"},
	"rtx-3090-ti-24gb": {"rtx-3090-24gb", "a6000-48gb", "a40-48gb", "a30-24gb", "a100-pcie-40gb", "a100-pcie-80gb", "a100-sxm-80gb", "l40s-48gb", "t4-16gb"},

	"rtx-4070-12gb": {"rtx-4090-24gb", "l40s-48gb", "l40-48gb", "a40-48gb", "a100-pcie-40gb", "a100-sxm-80gb", "t4-16gb"},
	"rtx-4090-24gb": {"l40s-48gb", "l40-48gb", "rtx-4070-12gb", "rtx-pro-6000-96gb", "a40-48gb", "a100-pcie-40gb", "a100-sxm-80gb", "t4-16gb"},
	"l4-24gb":       {"t4-16gb", "l40s-48gb", "l40-48gb", "rtx-4090-24gb", "a40-48gb", "a100-pcie-40gb", "a100-sxm-80gb"},
	"l40-48gb":      {"l40s-48gb", "rtx-4090-24gb", "a40-48gb", "a100-pcie-40gb", "a100-sxm-80gb", "t4-16gb"},
	"l40s-48gb":     {"l40-48gb", "rtx-4090-24gb", "a40-48gb", "a100-pcie-40gb", "a100-sxm-80gb", "t4-16gb"},

	"rtx-pro-6000-96gb": {"rtx-4090-24gb", "l40s-48gb", "l40-48gb", "a40-48gb", "a100-pcie-40gb", "a100-sxm-80gb", "t4-16gb"},

	"v100-sxm-16gb":  {"v100-sxm-32gb", "v100-pcie-32gb", "t4-16gb", "p100-pcie-16gb", "a100-sxm-80gb", "a100-pcie-40gb", "a40-48gb"},
	"v100-sxm-32gb":  {"v100-sxm-16gb", "v100-pcie-32gb", "t4-16gb", "p100-pcie-16gb", "a100-sxm-80gb", "a100-pcie-40gb", "a40-48gb"},
	"v100-pcie-16gb": {"v100-pcie-32gb", "v100-sxm-16gb", "v100-sxm-32gb", "t4-16gb", "p100-pcie-16gb", "a100-pcie-40gb", "a100-sxm-80gb", "a40-48gb"},
	"v100-pcie-32gb": {"v100-pcie-16gb", "v100-sxm-16gb", "v100-sxm-32gb", "t4-16gb", "p100-pcie-16gb", "a100-pcie-40gb", "a100-sxm-80gb", "a40-48gb"},
	"titan-v-12gb":   {"v100-pcie-32gb", "v100-sxm-16gb", "v100-sxm-32gb", "t4-16gb", "p100-pcie-16gb", "a100-pcie-40gb", "a100-sxm-80gb", "a40-48gb"},

	"t4-16gb":              {"rtx-2080-ti-11gb", "v100-pcie-32gb", "v100-sxm-16gb", "a100-pcie-40gb", "a100-sxm-80gb", "l40s-48gb", "a40-48gb"},
	"rtx-2080-ti-11gb":     {"t4-16gb", "v100-pcie-32gb", "v100-sxm-16gb", "a100-pcie-40gb", "a100-sxm-80gb", "l40s-48gb", "a40-48gb"},
	"rtx-2080-8gb":         {"rtx-2080-ti-11gb", "t4-16gb", "v100-pcie-32gb", "v100-sxm-16gb", "a100-pcie-40gb", "a100-sxm-80gb", "l40s-48gb", "a40-48gb"},
	"titan-rtx-24gb":       {"rtx-2080-ti-11gb", "t4-16gb", "v100-pcie-32gb", "v100-sxm-16gb", "a100-pcie-40gb", "a100-sxm-80gb", "l40s-48gb", "a40-48gb", "a100-pcie-80gb"},
	"quadro-rtx-6000-24gb": {"rtx-2080-ti-11gb", "t4-16gb", "v100-pcie-32gb", "v100-sxm-16gb", "a100-pcie-40gb", "a100-sxm-80gb", "l40s-48gb", "a40-48gb"},

	"p100-pcie-16gb":   {"gtx-1080-ti-11gb", "p4-8gb", "v100-pcie-32gb", "v100-sxm-16gb", "t4-16gb", "a100-pcie-40gb", "a100-sxm-80gb", "a40-48gb"},
	"p4-8gb":           {"gtx-1080-ti-11gb", "p100-pcie-16gb", "t4-16gb", "v100-pcie-32gb", "v100-sxm-16gb", "a100-pcie-40gb", "a100-sxm-80gb", "a40-48gb"},
	"gtx-1080-ti-11gb": {"p4-8gb", "p100-pcie-16gb", "v100-pcie-32gb", "v100-sxm-16gb", "t4-16gb", "a100-pcie-40gb", "a100-sxm-80gb", "a40-48gb"},
}

// byArch lists the donors of a device that is no known board.
var byArch = map[string][]string{
	"sm60": {"p100-pcie-16gb"}, "sm61": {"gtx-1080-ti-11gb", "p4-8gb"}, "sm70": {"v100-sxm-16gb", "v100-pcie-32gb"},
	"sm75": {"rtx-2080-ti-11gb", "t4-16gb"}, "sm80": {"a100-sxm-80gb", "a100-pcie-40gb"}, "sm86": {"a40-48gb", "rtx-3090-24gb"},
	"sm89": {"l40s-48gb", "rtx-4090-24gb"}, "sm90": {"h100-sxm-80gb"}, "sm100": {"h100-sxm-80gb"}, "sm120": {"rtx-pro-6000-96gb"},
}

// lastResort is the board that the most attention kernels were measured on.
const lastResort = "h100-sxm-80gb"

// Donors returns the devices whose constants stand in for what was never measured on
// the named device, nearest first. [lastResort], where it is no near relative, comes at
// the end and gives only what [Operator.Scarce] says.
func Donors(device string) []string { return withLastResort(device, donors[device]) }

// DonorsByArch returns the donors of a device that is no known board, by its
// architecture, such as sm89; those of the A100 if nothing is known of it.
func DonorsByArch(arch string) []string { return withLastResort("", nearestByArch(arch)) }

func nearestByArch(arch string) []string {
	first, ok := byArch[arch]
	if !ok {
		first = byArch["sm80"]
	}
	out := append([]string{}, first...)
	for _, d := range donors[first[0]] {
		if d != first[len(first)-1] {
			out = append(out, d)
		}
	}
	return out
}

func withLastResort(device string, near []string) []string {
	if len(near) == 0 || device == lastResort || slices.Contains(near, lastResort) {
		return near
	}
	return append(slices.Clip(near), lastResort)
}

// near tells whether the donor is among the nearest of a device.
func near(d *hwmodel.Device, donor string) bool {
	if list, ok := donors[d.Name]; ok {
		return slices.Contains(list, donor)
	}
	return donor == d.Name || slices.Contains(nearestByArch(d.Arch), donor)
}
