package cuda

import (
	"fmt"
	"strings"

	"orrery/calibrate"
	"orrery/calibrate/cuda/device"
)

// gpuNames are how measurement files name boards, by a part of the vendor's name. More
// special names come first.
var gpuNames = [][2]string{
	{"A100-SXM4-80GB", "a100_sxm_80g"}, {"A100-SXM-80GB", "a100_sxm_80g"}, {"A100-SXM4-40GB", "a100_sxm_40g"}, {"A100-SXM-40GB", "a100_sxm_40g"},
	{"A100 80GB PCIe", "a100_pcie_80g"}, {"A100-PCIE-40GB", "a100_pcie_40g"}, {"H100 80GB HBM3", "h100_sxm"}, {"H100 PCIe", "h100_pcie"},
	{"H100 NVL", "h100_nvl"}, {"H200", "h200_sxm"}, {"V100-SXM2-16GB", "v100_sxm_16g"}, {"V100-SXM2-32GB", "v100_sxm_32g"},
	{"V100-PCIE-16GB", "v100_pcie_16g"}, {"V100-PCIE-32GB", "v100_pcie_32g"}, {"Tesla T4", "t4"}, {"RTX A6000", "a6000"}, {"A10G", "a10g"},
	{"A30", "a30"}, {"A40", "a40"}, {"L40S", "l40s"}, {"L40", "l40"}, {"L4", "l4"}, {"RTX 2080 Ti", "rtx_2080ti"}, {"RTX 3090 Ti", "rtx_3090ti"},
	{"RTX 3090", "rtx_3090"}, {"RTX 4090", "rtx_4090"}, {"RTX 4070", "rtx_4070"}, {"RTX PRO 6000", "rtx_pro_6000"}, {"TITAN V", "titan_v"},
	{"TITAN RTX", "titan_rtx"}, {"Quadro RTX 6000", "quadro_rtx6000"},
}

// BoardName returns how measurement files name a board: as its profile does if it has one,
// and else by the vendor's name in small letters.
func BoardName(name string) string {
	for _, n := range gpuNames {
		if has(name, n[0]) {
			return n[1]
		}
	}
	s := strings.TrimPrefix(strings.ToLower(name), "nvidia ")
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, s)
}

// has tells whether a name contains words, as whole words: an RTX 4070 is no RTX 4070 Ti,
// but a "Tesla T4" may follow "NVIDIA".
func has(name, words string) bool {
	i := strings.Index(name, words)
	if i < 0 || i > 0 && name[i-1] != ' ' {
		return false
	}
	rest := name[i+len(words):]
	return rest == "" || rest[0] == ' ' && !strings.HasPrefix(rest, " Ti") && !strings.HasPrefix(rest, " SUPER") && !strings.HasPrefix(rest, " Laptop") || rest[0] == '-'
}

// perClock is what an SM of a compute capability does in a clock: FLOPs (a multiply-add
// is two) of plain 32-bit arithmetic, and of dense tensor cores with 16, 32 (TF32), 8
// bits (whole and fp8). From NVIDIA's architecture white papers; GeForce boards
// do half of the 16-bit figure when they accumulate in 32 bits.
type perClock struct{ fp32, fp16, tf32, int8, fp8 float64 }

var clocks = map[int]perClock{
	70:  {128, 1024, 0, 0, 0},
	75:  {128, 1024, 0, 2048, 0},
	80:  {128, 2048, 1024, 4096, 0},
	86:  {256, 1024, 512, 2048, 0},
	89:  {256, 1024, 512, 2048, 2048},
	90:  {256, 4096, 2048, 8192, 8192},
	100: {256, 8192, 4096, 16384, 16384},
	120: {256, 1024, 512, 2048, 2048},
}

// sheet is the data sheet of a device. A board that Orrery knows needs its name only; of
// another one it states what the driver reports, and peaks by its clock and its
// architecture. Nothing measured may exceed a peak, so that what was measured is the
// least that it states.
func sheet(info *device.Info, gpu string, m *calibrate.Measured) []calibrate.Fact {
	facts := []calibrate.Fact{{Key: "gpu", Value: gpu}}
	if _, known := calibrate.Board(gpu); known {
		return facts
	}
	add := func(key string, value float64) {
		if value > 0 {
			facts = append(facts, calibrate.Fact{Key: key, Value: fmt.Sprintf("%.4g", value)})
		}
	}
	c := clocks[info.Capability()]
	rate := func(flops float64) float64 { return flops * float64(info.SMs) * info.ClockMHz * 1e-6 }
	half := c.fp16
	if strings.Contains(info.Name, "GeForce") {
		half /= 2
	}
	facts = append(facts, calibrate.Fact{Key: "name", Value: strings.ReplaceAll(gpu, "_", "-")},
		calibrate.Fact{Key: "arch", Value: fmt.Sprintf("sm%d", info.Capability())},
		calibrate.Fact{Key: "source", Value: "the driver, and rates of the architecture at the highest clock"})
	add("sms", float64(info.SMs))
	add("boost_mhz", info.ClockMHz)
	add("fp32_tflops", rate(c.fp32))
	add("fp16_tflops", rate(half))
	add("tf32_tflops", rate(c.tf32))
	add("int8_tops", rate(c.int8))
	add("fp8_tflops", rate(c.fp8))
	add("mem_gbps", max(info.DRAMBytes*1e-9, largest(m, "dram_bw")))
	add("l2_mb", float64(info.L2)/(1<<20))
	add("l2_gbps", largest(m, "l2_dram_read_bw"))
	add("mem_gb", float64(info.Memory)/(1<<30))
	add("pcie_gbps_dir", max(largest(m, "h2d_bw"), largest(m, "d2h_bw")))
	return facts
}

// largest returns the largest figure of a test, 0 if there is none.
func largest(m *calibrate.Measured, test string) float64 {
	most := 0.0
	for i := range m.Micro {
		if m.Micro[i].Test == test {
			most = max(most, m.Micro[i].Value)
		}
	}
	return most
}
