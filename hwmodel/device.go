package hwmodel

// Device holds what a data sheet says of one accelerator. Rates are per second and
// hold at the board's highest clock, so that they bound every measurement; FLOPs
// count a multiply-add as two, dense, with 16-bit inputs accumulated in 32 bits.
type Device struct {
	Name string `toml:"name"`
	Arch string `toml:"arch"`
	SMs  int    `toml:"sms"` // streaming multiprocessors

	FP16FLOPs float64 `toml:"fp16_flops"` // of the tensor cores, fp16 and bf16
	FP8FLOPs  float64 `toml:"fp8_flops"`  // 0 if the board has no fp8
	INT8FLOPs float64 `toml:"int8_flops"`
	FP32FLOPs float64 `toml:"fp32_flops"` // of the CUDA cores

	DRAMBytes float64 `toml:"dram_bytes"` // bytes per second to device memory
	L2Size    int64   `toml:"l2_size"`    // bytes
	L2Bytes   float64 `toml:"l2_bytes"`   // bytes per second out of L2, measured
	Memory    int64   `toml:"memory"`     // bytes of device memory
	PCIeBytes float64 `toml:"pcie_bytes"` // bytes per second and direction
	LinkBytes float64 `toml:"link_bytes"` // NVLink bytes per second and direction, 0 if none
	Group     Link    `toml:"group"`      // how the devices of one node are joined by default
	Node      int     `toml:"node"`       // devices of one node by default

	Source string `toml:"source"`
}

// TensorFLOPs returns the peak rate of the tensor cores for operands of the given
// size in bytes. A size that the board has no units for is converted on the way
// and runs at the 16-bit rate.
func (d *Device) TensorFLOPs(bytes int) float64 {
	if bytes == 1 && d.FP8FLOPs > 0 {
		return d.FP8FLOPs
	}
	return d.FP16FLOPs
}

// Link is a kind of connection between the devices of a group.
type Link string

// The kinds of link. Over NVLinkPair, two devices are bridged and a larger group
// crosses PCIe between its pairs.
const (
	NVSwitch   Link = "nvswitch"
	NVLinkPair Link = "nvlink-pair"
	PCIe       Link = "pcie"
	InterNode  Link = "internode"
)
