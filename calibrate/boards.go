package calibrate

import "orrery/hwmodel"

// gib is 2^30 bytes.
const gib = 1 << 30

// Boards lists the devices with a profile and what their data sheets say. Peak
// rates hold at the board's highest clock. Device memory is what PyTorch reports
// as total, which the serving engines take their share of: error-correcting codes
// and the driver keep the rest.
var Boards = []hwmodel.Device{
	{
		Name: "a100-sxm-80gb", Arch: "sm80", SMs: 108,
		FP16FLOPs: 312e12, INT8FLOPs: 624e12, FP32FLOPs: 19.5e12,
		DRAMBytes: 2039e9, L2Size: 40 << 20, L2Bytes: 5448e9, Memory: 7915 * gib / 100,
		PCIeBytes: 32e9, LinkBytes: 300e9, Group: hwmodel.NVSwitch, Node: 8,
		Source: "NVIDIA A100 data sheet, 2021; L2 rate: gpu-benches, 16.9 MB working set; memory as PyTorch reports it",
	},
	{
		Name: "a100-pcie-80gb", Arch: "sm80", SMs: 108,
		FP16FLOPs: 312e12, INT8FLOPs: 624e12, FP32FLOPs: 19.5e12,
		DRAMBytes: 1935e9, L2Size: 40 << 20, L2Bytes: 5448e9, Memory: 7915 * gib / 100,
		PCIeBytes: 32e9, LinkBytes: 300e9, Group: hwmodel.NVLinkPair, Node: 4,
		Source: "NVIDIA A100 data sheet, 2021; L2 rate: gpu-benches on the SXM board; memory as PyTorch reports it",
	},
	{
		// 4096 FLOP a clock and SM on 132 SMs; the data sheet's 989 TFLOP/s belong
		// to 1830 MHz, the highest clock is 1980 MHz.
		Name: "h100-sxm-80gb", Arch: "sm90", SMs: 132,
		FP16FLOPs: 1070.5e12, FP8FLOPs: 2141e12, INT8FLOPs: 2141e12, FP32FLOPs: 66.9e12,
		DRAMBytes: 3352e9, L2Size: 50 << 20, L2Bytes: 7034e9, Memory: 7911 * gib / 100,
		PCIeBytes: 64e9, LinkBytes: 450e9, Group: hwmodel.NVSwitch, Node: 8,
		Source: "NVIDIA H100 data sheet, 2023, rates at 1980 MHz; L2 rate: gpu-benches, 8 MB working set on H100 PCIe; memory as PyTorch reports it",
	},
	{
		Name: "a40-48gb", Arch: "sm86", SMs: 84,
		FP16FLOPs: 149.7e12, INT8FLOPs: 299.3e12, FP32FLOPs: 37.4e12,
		DRAMBytes: 696e9, L2Size: 6 << 20, L2Bytes: 2913e9, Memory: 4435 * gib / 100,
		PCIeBytes: 32e9, LinkBytes: 56.25e9, Group: hwmodel.NVLinkPair, Node: 8,
		Source: "NVIDIA A40 data sheet, 2022; L2 rate: gpu-benches, graph fit; memory as PyTorch reports it",
	},
}
