package calibrate

import (
	"slices"

	"orrery/hwmodel"
)

// gib is 2^30 bytes.
const gib = 1 << 30

// board is a data sheet: rates in TFLOP/s (dense, fp16 accumulated in 32 bits) as
// stated at the boost clock, clocks in MHz, bandwidths in GB/s (links for each
// direction), memory in hundredths of GiB as PyTorch reports it (error-correcting
// codes and the driver keep the rest).
type board struct {
	name, gpu, arch             string
	sms                         int
	boost, max, watts           float64
	fp32, fp16, tf32, int8, fp8 float64
	dram, l2MB, l2              float64
	memory                      int64
	nvlink, pcie                float64
	group                       hwmodel.Link
	node                        int
	note                        string
}

// boards lists every device that can have a profile. The figures are those of the
// vendor's data sheets; the highest clock is what the boards report or were seen
// at, and where a data sheet's rate belongs to another clock than its boost, the
// boost named here is the one it belongs to.
var boards = []board{
	{"a100-sxm-80gb", "a100_sxm_80g", "sm80", 108, 1410, 1410, 400, 19.5, 312, 156, 624, 0, 2039, 40, 5448, 7915, 300, 32, hwmodel.NVSwitch, 8, "L2 rate: gpu-benches, 16.9 MB working set"},
	{"a100-pcie-80gb", "a100_pcie_80g", "sm80", 108, 1410, 1410, 300, 19.5, 312, 156, 624, 0, 1935, 40, 5448, 7915, 300, 32, hwmodel.NVLinkPair, 4, "L2 rate: gpu-benches on the SXM board"},
	{"a100-sxm-40gb", "a100_sxm_40g", "sm80", 108, 1410, 1410, 400, 19.5, 312, 156, 624, 0, 1555, 40, 5448, 3939, 300, 32, hwmodel.NVSwitch, 8, "L2 rate: gpu-benches on the 80 GB board"},
	{"a100-pcie-40gb", "a100_pcie_40g", "sm80", 108, 1410, 1410, 250, 19.5, 312, 156, 624, 0, 1555, 40, 5448, 3939, 300, 32, hwmodel.NVLinkPair, 4, "L2 rate: gpu-benches on the 80 GB board"},
	{"h100-sxm-80gb", "h100_sxm", "sm90", 132, 1830, 1980, 700, 66.9, 989, 494, 1979, 1979, 3352, 50, 7034, 7911, 450, 64, hwmodel.NVSwitch, 8, "L2 rate: gpu-benches, 8 MB working set on H100 PCIe"},
	{"h100-pcie-80gb", "h100_pcie", "sm90", 114, 1755, 1755, 350, 51.2, 756, 378, 1513, 1513, 2039, 50, 7034, 7911, 300, 64, hwmodel.NVLinkPair, 4, "L2 rate: gpu-benches, 8 MB working set"},
	{"h100-nvl-94gb", "h100_nvl", "sm90", 132, 1785, 1785, 400, 60, 835, 417, 1671, 1671, 3938, 50, 7034, 9311, 300, 64, hwmodel.NVLinkPair, 4, "L2 rate: gpu-benches on H100 PCIe"},
	{"h200-sxm-141gb", "h200_sxm", "sm90", 132, 1830, 1980, 700, 66.9, 989, 494, 1979, 1979, 4800, 50, 7034, 13980, 450, 64, hwmodel.NVSwitch, 8, "L2 rate: gpu-benches on H100 PCIe"},
	{"a30-24gb", "a30", "sm80", 56, 1440, 1440, 165, 10.3, 165, 82, 330, 0, 933, 24, 2885, 2350, 100, 32, hwmodel.NVLinkPair, 4, "L2 rate: that of A100 by SMs and clock"},
	{"a40-48gb", "a40", "sm86", 84, 1740, 1740, 300, 37.4, 149.7, 74.8, 299, 0, 696, 6, 2913, 4435, 56.25, 32, hwmodel.NVLinkPair, 8, "L2 rate: gpu-benches, graph fit"},
	{"a6000-48gb", "a6000", "sm86", 84, 1800, 2100, 300, 38.7, 154.8, 77.4, 310, 0, 768, 6, 2913, 4740, 56.25, 32, hwmodel.NVLinkPair, 4, "L2 rate: gpu-benches on A40"},
	{"a10g-24gb", "a10g", "sm86", 80, 1710, 1710, 300, 35, 70, 35, 140, 0, 600, 6, 2730, 2250, 0, 32, hwmodel.PCIe, 4, "L2 rate: that of A40 by SMs and clock"},
	{"rtx-3090-24gb", "rtx_3090", "sm86", 82, 1695, 2100, 350, 35.6, 71, 35.6, 284, 0, 936, 6, 2840, 2369, 56.25, 32, hwmodel.NVLinkPair, 4, "L2 rate: that of A40 by SMs"},
	{"rtx-3090-ti-24gb", "rtx_3090ti", "sm86", 84, 1860, 2100, 450, 40, 80, 40, 320, 0, 1008, 6, 2913, 2369, 56.25, 32, hwmodel.NVLinkPair, 4, "L2 rate: that of A40 by SMs"},
	{"rtx-4070-12gb", "rtx_4070", "sm89", 46, 2475, 2805, 200, 29.1, 58.3, 29.1, 233, 233, 504, 36, 1750, 1180, 0, 32, hwmodel.PCIe, 4, "L2 rate: that of L40 by SMs"},
	{"rtx-4090-24gb", "rtx_4090", "sm89", 128, 2520, 3105, 450, 82.6, 165.2, 82.6, 660, 330, 1008, 72, 4860, 2353, 0, 32, hwmodel.PCIe, 4, "L2 rate: that of L40 by SMs"},
	{"l4-24gb", "l4", "sm89", 58, 2040, 2040, 72, 30.3, 121, 60, 242, 242, 300, 48, 1805, 2205, 0, 32, hwmodel.PCIe, 8, "L2 rate: that of L40 by SMs and clock"},
	{"l40-48gb", "l40", "sm89", 142, 2490, 2490, 300, 90.5, 181, 90.5, 362, 362, 864, 96, 5393, 4439, 0, 32, hwmodel.PCIe, 8, "L2 rate: gpu-benches, 2 to 63 MB working sets"},
	{"l40s-48gb", "l40s", "sm89", 142, 2520, 2520, 350, 91.6, 362, 183, 733, 733, 864, 96, 5393, 4439, 0, 32, hwmodel.PCIe, 8, "L2 rate: gpu-benches on L40"},
	{"rtx-pro-6000-96gb", "rtx_pro_6000", "sm120", 188, 2617, 2617, 600, 125, 504, 252, 1007, 1007, 1792, 128, 7140, 9497, 0, 64, hwmodel.PCIe, 8, "L2 rate: that of L40 by SMs"},
	{"v100-pcie-16gb", "v100_pcie_16g", "sm70", 80, 1380, 1380, 250, 14, 112, 0, 0, 0, 900, 6, 2155, 1577, 0, 16, hwmodel.PCIe, 4, "L2 rate: 2155 GB/s, Jia et al., 2018"},
	{"v100-pcie-32gb", "v100_pcie_32g", "sm70", 80, 1380, 1380, 250, 14, 112, 0, 0, 0, 900, 6, 2155, 3174, 0, 16, hwmodel.PCIe, 4, "L2 rate: 2155 GB/s, Jia et al., 2018"},
	{"v100-sxm-16gb", "v100_sxm_16g", "sm70", 80, 1530, 1530, 300, 15.7, 125, 0, 0, 0, 900, 6, 2155, 1577, 150, 16, hwmodel.NVLinkMesh, 8, "L2 rate: 2155 GB/s, Jia et al., 2018"},
	{"v100-sxm-32gb", "v100_sxm_32g", "sm70", 80, 1530, 1530, 300, 15.7, 125, 0, 0, 0, 900, 6, 2155, 3174, 150, 16, hwmodel.NVLinkMesh, 8, "L2 rate: 2155 GB/s, Jia et al., 2018"},
	{"titan-v-12gb", "titan_v", "sm70", 80, 1455, 1912, 250, 14.9, 119, 0, 0, 0, 653, 4.5, 2155, 1178, 0, 16, hwmodel.PCIe, 4, "L2 rate: that of V100"},
	{"t4-16gb", "t4", "sm75", 40, 1590, 1590, 70, 8.1, 65, 0, 130, 0, 320, 4, 1270, 1475, 0, 16, hwmodel.PCIe, 4, "L2 rate: 1270 GB/s, Jia et al., 2019"},
	{"rtx-2080-ti-11gb", "rtx_2080ti", "sm75", 68, 1545, 2100, 250, 13.45, 53.8, 0, 215, 0, 616, 5.5, 1344, 1076, 50, 16, hwmodel.PCIe, 4, "L2 rate: mt4g"},
	{"rtx-2080-8gb", "rtx_2080", "sm75", 46, 1710, 2100, 215, 10.1, 40.3, 0, 161, 0, 448, 4, 1344, 779, 25, 16, hwmodel.PCIe, 4, "L2 rate: mt4g on RTX 2080 Ti"},
	{"titan-rtx-24gb", "titan_rtx", "sm75", 72, 1770, 2100, 280, 16.3, 130.5, 0, 261, 0, 672, 6, 1423, 2365, 50, 16, hwmodel.NVLinkPair, 2, "L2 rate: that of RTX 2080 Ti by SMs"},
	{"quadro-rtx-6000-24gb", "quadro_rtx6000", "sm75", 72, 1770, 2100, 260, 16.3, 130.5, 0, 261, 0, 672, 6, 1423, 2365, 50, 16, hwmodel.PCIe, 4, "L2 rate: that of RTX 2080 Ti by SMs"},
	{"p100-pcie-16gb", "p100_pcie_16g", "sm60", 56, 1329, 1329, 250, 9.3, 18.7, 0, 0, 0, 732, 4, 1624, 1590, 0, 16, hwmodel.PCIe, 4, "L2 rate: 1624 GB/s, Jia et al., 2018"},
	{"p4-8gb", "p4", "sm61", 20, 1114, 1531, 75, 5.5, 0, 0, 22, 0, 192, 2, 979, 743, 0, 16, hwmodel.PCIe, 4, "L2 rate: 979 GB/s, Jia et al., 2018"},
	{"gtx-1080-ti-11gb", "gtx_1080ti", "sm61", 28, 1582, 1911, 250, 11.34, 0, 0, 45, 0, 484, 2.75, 1100, 1091, 0, 16, hwmodel.PCIe, 4, "L2 rate: assumed, between P4 and P100"},
}

// Boards returns the devices with a data sheet, their rates scaled to the highest
// clock.
func Boards() []hwmodel.Device {
	out := make([]hwmodel.Device, len(boards))
	for i := range boards {
		out[i] = boards[i].device()
	}
	return out
}

// Board returns the device of the given name, or of the name it has in measurement
// files.
func Board(name string) (hwmodel.Device, bool) {
	i := slices.IndexFunc(boards, func(b board) bool { return b.name == name || b.gpu == name })
	if i < 0 {
		return hwmodel.Device{}, false
	}
	return boards[i].device(), true
}

// GPUName returns the name that the device has in measurement files.
func GPUName(device string) string {
	for i := range boards {
		if boards[i].name == device {
			return boards[i].gpu
		}
	}
	return device
}

func (b *board) device() hwmodel.Device {
	rate := func(tflops float64) float64 { return Round(tflops * 1e12 * b.max / b.boost) }
	return hwmodel.Device{
		Name: b.name, GPU: b.gpu, Arch: b.arch, SMs: b.sms,
		FP16FLOPs: rate(b.fp16), FP8FLOPs: rate(b.fp8), INT8FLOPs: rate(b.int8), FP32FLOPs: rate(b.fp32), TF32FLOPs: rate(b.tf32),
		BoostMHz: b.boost, MaxMHz: b.max, Watts: b.watts,
		DRAMBytes: b.dram * 1e9, L2Size: int64(b.l2MB * (1 << 20)), L2Bytes: b.l2 * 1e9, Memory: b.memory * gib / 100,
		PCIeBytes: b.pcie * 1e9, LinkBytes: b.nvlink * 1e9, Group: b.group, Node: b.node,
		Source: "NVIDIA data sheet, rates at the highest clock; " + b.note + "; memory as PyTorch reports it",
	}
}
