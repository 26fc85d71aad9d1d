package scenarios

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"orrery/calibrate"
	"orrery/hwmodel"
)

// Sheet describes a device of which nothing is known but its data sheet. Its operators
// are priced by the constants of the nearest relatives among the measured devices,
// and results say so. Rates are those of the highest clock, dense, with 16-bit
// products summed up in 32 bits. A figure of 0 is taken as not given.
type Sheet struct {
	Name string  `toml:"name"` // default: hardware.device
	Arch string  `toml:"arch"` // such as sm89, by which relatives are found
	SMs  float64 `toml:"sms"`  // streaming multiprocessors

	FP32  float64 `toml:"fp32_tflops"`
	FP16  float64 `toml:"fp16_tflops"` // of the tensor cores
	TF32  float64 `toml:"tf32_tflops"`
	INT8  float64 `toml:"int8_tops"`
	FP8   float64 `toml:"fp8_tflops"`
	Boost float64 `toml:"boost_mhz"`
	Max   float64 `toml:"max_mhz"`
	Watts float64 `toml:"watts"`

	Memory float64 `toml:"mem_gb"`
	DRAM   float64 `toml:"mem_gbps"` // GB/s
	L2     float64 `toml:"l2_mb"`
	L2Rate float64 `toml:"l2_gbps"`         // GB/s out of L2
	NVLink float64 `toml:"nvlink_gbps_dir"` // GB/s in each direction, 0 if none
	PCIe   float64 `toml:"pcie_gbps_dir"`
}

// facts returns the sheet as measurement files have it.
func (t *Sheet) facts(name string) []calibrate.Fact {
	out := []calibrate.Fact{{Key: "name", Value: name}, {Key: "gpu", Value: name}, {Key: "source", Value: "section [device] of the scenario"}}
	if t.Arch != "" {
		out = append(out, calibrate.Fact{Key: "arch", Value: t.Arch})
	}
	for _, f := range fields(t) {
		if v, ok := f.value.Interface().(float64); ok && v != 0 {
			out = append(out, calibrate.Fact{Key: f.key, Value: strconv.FormatFloat(v, 'g', -1, 64)})
		}
	}
	return out
}

// sheet makes the profile of the device in section [device].
func (c *checker) sheet(s *Scenario) {
	t := &s.Device
	switch {
	case t.Name == "":
		t.Name = s.Hardware.Device
	case s.Hardware.Device == "":
		s.Hardware.Device = t.Name
	case t.Name != s.Hardware.Device:
		c.fail("name", "is %q, hardware.device is %q; want the same name, or section [device] removed", t.Name, s.Hardware.Device)
		return
	}
	if t.Name == "" {
		c.fail("name", "is missing; want a name for the device")
		return
	}
	d, err := calibrate.SheetDevice(t.facts(t.Name))
	if err == nil && t.SMs < 1 {
		err = errors.New("sms is missing; want the number of streaming multiprocessors")
	}
	if err != nil {
		c.d.errorf("device", "device: %s", strings.TrimPrefix(err.Error(), "section device: "))
		return
	}
	c.uncalibrated(s, d)
}

// uncalibrated prices everything on d by its relatives' constants.
func (c *checker) uncalibrated(s *Scenario, d hwmodel.Device) {
	p, err := calibrate.Uncalibrated(d)
	if err != nil {
		c.d.errorf("device", "device: %w", err)
		return
	}
	s.profile = p
	c.flag("%s is uncalibrated: nothing but its data sheet is known, and its operators are priced by those of its nearest relatives", d.Name)
}

// profileFile reads the profile that hardware.device names by its path. A file that has
// a section [device] alone is a data sheet.
func (c *checker) profileFile(s *Scenario) {
	path := c.path("device", s.Hardware.Device)
	data, err := os.ReadFile(path)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		c.fail("device", "is %q: %v; want one of %s, or the path of a profile", s.Hardware.Device, err, strings.Join(hwmodel.Names(), ", "))
		return
	}
	s.Hardware.Device = path
	if d, ok := hwmodel.ParseSheet(data); ok {
		c.uncalibrated(s, d)
		return
	}
	if s.profile, err = hwmodel.ParseProfile(data, path); err != nil {
		c.wrap("device", err)
	}
}
