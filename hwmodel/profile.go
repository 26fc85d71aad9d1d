package hwmodel

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"orrery/internal/names"
)

//go:embed profiles/*.toml
var profileFiles embed.FS

// Profile is a device together with the fitted constants of its operators. A
// profile is one TOML file; the files that come with the program are written by
// the fit in package calibrate and name the source and the error on kept-aside
// shapes of every operator.
type Profile struct {
	Device      Device          `toml:"device"`
	GEMMs       []GEMM          `toml:"gemm"`
	MoEs        []MoE           `toml:"moe"`
	Prefills    []PrefillKernel `toml:"prefill"`
	Decodes     []DecodeKernel  `toml:"decode"`
	Mixeds      []MixedKernel   `toml:"mixed"`
	Streams     []Stream        `toml:"stream"`
	Convs       []Conv          `toml:"conv"`
	Collectives []Collective    `toml:"collective"`
	Copy        Send            `toml:"copy"`            // between device and host memory
	Powers      []Power         `toml:"power,omitempty"` // by kind of work; none if the board's limit is not known
	Facts       Facts           `toml:"facts"`
}

// Load returns the profile of the named device, one of those that come with the
// program.
func Load(name string) (*Profile, error) {
	data, err := profileFiles.ReadFile("profiles/" + name + ".toml")
	if err != nil {
		return nil, names.Unknown("device", name, Names())
	}
	return ParseProfile(data, name+".toml")
}

// Names returns the devices that come with the program, in order.
func Names() []string { return tomlNames(profileFiles, "profiles") }

// tomlNames lists the TOML files in a folder, without their ending.
func tomlNames(files fs.FS, folder string) []string {
	entries, err := fs.ReadDir(files, folder)
	if err != nil {
		panic(err) // The folder is part of the program.
	}
	var out []string
	for _, e := range entries {
		if n, ok := strings.CutSuffix(e.Name(), ".toml"); ok {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// ParseProfile reads a profile from TOML. The name of the file stands in errors.
func ParseProfile(data []byte, file string) (*Profile, error) {
	p := new(Profile)
	if err := decodeTOML(data, path.Base(file), p); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path.Base(file), err)
	}
	return p, nil
}

// decodeTOML reads TOML into v and refuses keys that v does not have.
func decodeTOML(data []byte, file string, v any) error {
	meta, err := toml.Decode(string(data), v)
	if err != nil {
		if pe, ok := err.(toml.ParseError); ok {
			return fmt.Errorf("%s:%d: %s", file, pe.Position.Line, pe.Message)
		}
		return fmt.Errorf("%s: %w", file, err)
	}
	if extra := meta.Undecoded(); len(extra) > 0 {
		return fmt.Errorf("%s: unknown key %q", file, extra[0].String())
	}
	return nil
}

// check refuses constants with which an operator could beat physics or take no
// time at all: shares of a peak lie above 0 and up to 1, times are not negative.
func (p *Profile) check() error {
	c := checker{}
	d := &p.Device
	c.positive("device.sms", float64(d.SMs))
	c.positive("device.fp32_flops", d.FP32FLOPs)
	c.time("device.fp16_flops", d.FP16FLOPs)
	c.positive("device.dram_bytes", d.DRAMBytes)
	c.positive("device.l2_bytes", d.L2Bytes)
	c.positive("device.memory", float64(d.Memory))
	c.positive("device.pcie_bytes", d.PCIeBytes)
	c.positive("device.node", float64(d.Node))
	for i := range p.GEMMs {
		c.gemm(fmt.Sprintf("gemm[%d]", i), &p.GEMMs[i])
	}
	for i := range p.MoEs {
		c.moe(fmt.Sprintf("moe[%d]", i), &p.MoEs[i])
	}
	for i := range p.Streams {
		c.stream(fmt.Sprintf("stream[%d]", i), &p.Streams[i])
	}
	for i := range p.Convs {
		c.conv(fmt.Sprintf("conv[%d]", i), &p.Convs[i])
	}
	for i := range p.Prefills {
		c.prefill(fmt.Sprintf("prefill[%d]", i), &p.Prefills[i])
	}
	for i := range p.Decodes {
		c.decode(fmt.Sprintf("decode[%d]", i), &p.Decodes[i])
	}
	for i := range p.Mixeds {
		c.mixed(fmt.Sprintf("mixed[%d]", i), &p.Mixeds[i])
	}
	for i := range p.Collectives {
		c.collective(fmt.Sprintf("collective[%d]", i), &p.Collectives[i], d)
	}
	for i := range p.Powers {
		c.power(fmt.Sprintf("power[%d]", i), &p.Powers[i])
	}
	c.send("copy", &p.Copy)
	if p.Copy.Rate > d.PCIeBytes {
		c.fail("copy.bytes_per_second is %g, above device.pcie_bytes %g", p.Copy.Rate, d.PCIeBytes)
	}
	return c.err
}

// noLink is the error for a link that the profile has no constants for.
func (p *Profile) noLink(op string, link Link) error {
	var have []string
	for i := range p.Collectives {
		have = append(have, string(p.Collectives[i].Link))
	}
	slices.Sort(have)
	return names.Unknown(op+" link of "+p.Device.Name, string(link), slices.Compact(have))
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Check refuses constants with which an operator could beat physics or take no time,
// as [ParseProfile] does.
func (p *Profile) Check() error { return p.check() }

// ParseSheet reads the device of a profile that has no constants, but a section
// [device] alone, and tells whether data is one.
func ParseSheet(data []byte) (Device, bool) {
	var sheet struct {
		Device Device `toml:"device"`
	}
	meta, err := toml.Decode(string(data), &sheet)
	if err != nil || !meta.IsDefined("device") || len(meta.Undecoded()) > 0 {
		return Device{}, false
	}
	return sheet.Device, true
}
