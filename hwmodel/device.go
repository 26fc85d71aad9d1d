package hwmodel

// Device holds what a data sheet says of one accelerator. Rates are per second and
// hold at the board's highest clock, so that they bound every measurement; FLOPs
// count a multiply-add as two, dense, with 16-bit inputs accumulated in 32 bits.
type Device struct {
	Name string `toml:"name"`
	GPU  string `toml:"gpu,omitempty"` // its name in measurement files
	Arch string `toml:"arch"`
	SMs  int    `toml:"sms"` // streaming multiprocessors

	FP16FLOPs float64 `toml:"fp16_flops"` // of the tensor cores, fp16 and bf16; 0 if the board has neither these nor a quicker fp16
	FP8FLOPs  float64 `toml:"fp8_flops"`  // 0 if the board has no fp8
	INT8FLOPs float64 `toml:"int8_flops"`
	FP32FLOPs float64 `toml:"fp32_flops"` // of the CUDA cores
	TF32FLOPs float64 `toml:"tf32_flops,omitzero"`

	// BoostMHz is the clock at which the data sheet states its rates, MaxMHz the
	// highest that the board runs at, to which the rates here are scaled. Watts is
	// the power limit: boards whose limit is low for their size run far below the
	// highest clock under load.
	BoostMHz float64 `toml:"boost_mhz,omitzero"`
	MaxMHz   float64 `toml:"max_mhz,omitzero"`
	Watts    float64 `toml:"watts,omitzero"`

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

// FLOPs returns the peak rate of d for operands of the given dtype: 16-bit formats,
// fp8, int8, tf32 and fp32. Weight-only formats (w8a16, w4a16) compute in 16 bits.
// A format that the board has no units for is converted and runs at the rate of the
// next wider one it has.
func (d *Device) FLOPs(dtype string) float64 {
	tensor := d.FP16FLOPs
	if tensor == 0 {
		tensor = d.FP32FLOPs
	}
	switch dtype {
	case "fp32", "fp16_io_fp32_math", "fp64":
		return d.FP32FLOPs
	case "tf32", "fp32_tf32ok":
		if d.TF32FLOPs > 0 {
			return d.TF32FLOPs
		}
		return d.FP32FLOPs
	case "fp8", "fp8_block":
		if d.FP8FLOPs > 0 {
			return d.FP8FLOPs
		}
	case "int8":
		if d.INT8FLOPs > 0 {
			return d.INT8FLOPs
		}
	}
	return tensor
}

// Width returns the bytes of one element of dtype as an activation and as a weight.
func Width(dtype string) (activation, weight float64) {
	switch dtype {
	case "fp64":
		return 8, 8
	case "fp32", "tf32", "fp32_tf32ok":
		return 4, 4
	case "fp8", "fp8_block", "int8":
		return 1, 1
	case "w8a16":
		return 2, 1
	case "w4a16":
		return 2, 0.5
	}
	return 2, 2
}

// TensorFLOPs returns the peak rate of the tensor cores for operands of the given
// size in bytes. A size that the board has no units for is converted on the way
// and runs at the 16-bit rate.
func (d *Device) TensorFLOPs(bytes int) float64 {
	if bytes == 1 && d.FP8FLOPs > 0 {
		return d.FP8FLOPs
	}
	return d.FLOPs("fp16")
}

// Link is a kind of connection between the devices of a group.
type Link string

// The kinds of link. Over NVLinkPair, two devices are bridged and a larger group
// crosses PCIe between its pairs; NVLinkMesh joins up to eight directly, without a
// switch. PCIe goes through host memory on boards that have no access to their peers.
const (
	NVSwitch   Link = "nvswitch"
	NVLinkPair Link = "nvlink-pair"
	NVLinkMesh Link = "nvlink-mesh"
	PCIe       Link = "pcie"
	InterNode  Link = "internode"
)
