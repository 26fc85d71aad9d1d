package calibrate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"orrery/hwmodel"
	"orrery/internal/names"
)

// sheetKeys are the keys of a section "device": those of a data sheet, with rates in
// TFLOP/s or TOP/s, bandwidths in GB/s (links for each direction) and memory in GB.
// The rates are taken at the highest clock, so that nothing measured can beat them.
var sheetKeys = []string{
	"name", "gpu", "arch", "source", "sms", "boost_mhz", "max_mhz", "watts", "fp32_tflops", "fp16_tflops", "tf32_tflops", "int8_tops", "fp8_tflops",
	"mem_gbps", "l2_mb", "l2_gbps", "mem_gb", "nvlink_gbps_dir", "pcie_gbps_dir",
}

// DeviceOf returns the device that all rows of m were measured on: the board of that
// name if there is one, corrected by the file's section "device".
func (m *Measured) DeviceOf() (hwmodel.Device, error) {
	sheet := map[string]string{}
	for _, f := range m.Device {
		if !slices.Contains(sheetKeys, f.Key) {
			return hwmodel.Device{}, fmt.Errorf("section device: %w", names.Unknown("key", f.Key, sheetKeys))
		}
		sheet[f.Key] = f.Value
	}
	gpu, err := m.gpu(sheet["gpu"])
	if err != nil {
		return hwmodel.Device{}, err
	}
	d, known := Board(gpu)
	if !known {
		if len(m.Device) == 0 {
			return d, fmt.Errorf("%w; or describe it in a section [device] with sms, fp32_tflops, mem_gbps, l2_mb and mem_gb", unknownGPU(gpu))
		}
		d = hwmodel.Device{Name: gpu, GPU: gpu, Arch: "unknown", SMs: 1}
	}
	if err := applySheet(&d, sheet); err != nil {
		return d, err
	}
	if !nameable(d.Name) {
		return d, fmt.Errorf("section device: name is %q, must be one that a file can have: no slashes, nor a dot at the beginning", d.Name)
	}
	return d, complete(&d)
}

// nameable tells whether a file can be called by a device's name, and scenarios name it.
func nameable(name string) bool {
	return name != "" && name[0] != '.' && !strings.ContainsFunc(name, func(c rune) bool { return c == '/' || c == '\\' || unicode.IsControl(c) })
}

// gpu returns the one GPU that the rows are of.
func (m *Measured) gpu(named string) (string, error) {
	gpu := named
	for _, o := range operators {
		for i := range m.Rows[o.Name] {
			r := &m.Rows[o.Name][i]
			if gpu == "" {
				gpu = r.GPU
			}
			if r.GPU != gpu {
				return "", fmt.Errorf("%s:%d: measured on %s, rows before it on %s; a profile is of one GPU, name it with --gpu", r.File, r.Line, r.GPU, gpu)
			}
		}
	}
	if gpu != "" {
		return gpu, nil
	}
	for _, f := range m.Device {
		if f.Key == "name" {
			return f.Value, nil
		}
	}
	return "", fmt.Errorf("no GPU is named")
}

// Only keeps the rows measured on one GPU. It fails if there are none.
func (m *Measured) Only(gpu string) error {
	have := map[string]bool{}
	kept := 0
	for name, rows := range m.Rows {
		for i := range rows {
			have[rows[i].GPU] = true
		}
		m.Rows[name] = slices.DeleteFunc(rows, func(r Row) bool { return r.GPU != gpu })
		kept += len(m.Rows[name])
	}
	m.Micro = slices.DeleteFunc(m.Micro, func(x Micro) bool { return x.GPU != gpu })
	if kept == 0 {
		return names.Unknown("gpu of the measurements", gpu, sortedKeys(have))
	}
	return nil
}

// SheetDevice returns the device that a data sheet describes, one that is no known
// board.
func SheetDevice(sheet []Fact) (hwmodel.Device, error) {
	m := Measured{Device: sheet}
	return m.DeviceOf()
}

func applySheet(d *hwmodel.Device, sheet map[string]string) error {
	for _, w := range []struct {
		key  string
		into *string
	}{{"name", &d.Name}, {"gpu", &d.GPU}, {"arch", &d.Arch}, {"source", &d.Source}} {
		if v, ok := sheet[w.key]; ok {
			*w.into = v
		}
	}
	var sms, l2, memory float64
	for _, n := range []struct {
		key   string
		scale float64
		into  *float64
	}{
		{"sms", 1, &sms}, {"boost_mhz", 1, &d.BoostMHz}, {"max_mhz", 1, &d.MaxMHz}, {"watts", 1, &d.Watts},
		{"fp32_tflops", 1e12, &d.FP32FLOPs}, {"fp16_tflops", 1e12, &d.FP16FLOPs}, {"tf32_tflops", 1e12, &d.TF32FLOPs},
		{"int8_tops", 1e12, &d.INT8FLOPs}, {"fp8_tflops", 1e12, &d.FP8FLOPs},
		{"mem_gbps", 1e9, &d.DRAMBytes}, {"l2_mb", 1 << 20, &l2}, {"l2_gbps", 1e9, &d.L2Bytes}, {"mem_gb", 1e9, &memory},
		{"nvlink_gbps_dir", 1e9, &d.LinkBytes}, {"pcie_gbps_dir", 1e9, &d.PCIeBytes},
	} {
		s, ok := sheet[n.key]
		if !ok || s == "" {
			continue
		}
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || !(v >= 0) || math.IsInf(v, 0) {
			return fmt.Errorf("section device: %s is %q, must be a number of 0 or more", n.key, s)
		}
		*n.into = v * n.scale
	}
	switch {
	case sms != math.Trunc(sms) || sms > 1<<20:
		return fmt.Errorf("section device: sms is %q, must be a whole number", sheet["sms"])
	case sms > 0:
		d.SMs = int(sms)
	}
	if l2 > 0 {
		d.L2Size = int64(l2)
	}
	if memory > 0 {
		d.Memory = int64(memory)
	}
	return nil
}

// complete fills in what a sheet may leave out, and says what it may not.
func complete(d *hwmodel.Device) error {
	for _, n := range []struct {
		key string
		v   float64
	}{{"fp32_tflops", d.FP32FLOPs}, {"mem_gbps", d.DRAMBytes}, {"mem_gb", float64(d.Memory)}} {
		if n.v <= 0 {
			return fmt.Errorf("section device: %s is missing for %s", n.key, d.Name)
		}
	}
	if d.FP16FLOPs == 0 {
		d.FP16FLOPs = d.FP32FLOPs // no tensor cores: converted on the way
	}
	if d.L2Bytes == 0 {
		d.L2Bytes = 3 * d.DRAMBytes // what boards with a cache of their own have at least
	}
	if d.L2Size == 0 {
		d.L2Size = 4 << 20
	}
	if d.PCIeBytes == 0 {
		d.PCIeBytes = 16e9
	}
	if d.Group == "" {
		d.Group = hwmodel.PCIe
	}
	if d.Node == 0 {
		d.Node = 1
	}
	if d.Source == "" {
		d.Source = "section device of the measurement file"
	}
	return nil
}
