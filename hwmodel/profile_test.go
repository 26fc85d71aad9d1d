package hwmodel

import (
	"fmt"
	"strings"
	"testing"
)

// Every constant says where it comes from and, if it was fitted, how far it missed
// the shapes kept out of its fit.
func TestProfilesSayWhereTheyComeFrom(t *testing.T) {
	if len(Names()) < 4 {
		t.Fatalf("only %v come with the program", Names())
	}
	for _, name := range Names() {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Device.Name != name {
			t.Errorf("%s.toml describes %q", name, p.Device.Name)
		}
		fits := map[string]*Fit{
			"copy": &p.Copy.Fit,
		}
		for i := range p.GEMMs {
			g := &p.GEMMs[i]
			fits["product "+g.Engine+" "+g.DType] = &g.Fit
		}
		for i := range p.MoEs {
			m := &p.MoEs[i]
			fits["experts "+m.Engine+" "+m.DType] = &m.Fit
		}
		for i := range p.Streams {
			s := &p.Streams[i]
			fits["kernel "+s.Engine+" "+s.DType+" "+s.Function] = &s.Fit
		}
		for i := range p.Prefills {
			fits[fmt.Sprint("prefill ", p.Prefills[i].AttentionKey)] = &p.Prefills[i].Fit
		}
		for i := range p.Decodes {
			fits[fmt.Sprint("decode ", p.Decodes[i].AttentionKey, p.Decodes[i].Grouped)] = &p.Decodes[i].Fit
		}
		for i := range p.Mixeds {
			fits[fmt.Sprint("mixed ", p.Mixeds[i].AttentionKey)] = &p.Mixeds[i].Fit
		}
		for i := range p.Convs {
			v := &p.Convs[i]
			fits["convolution "+v.Engine+" "+v.DType+" "+v.Pass] = &v.Fit
		}
		for i := range p.Collectives {
			c := &p.Collectives[i]
			fits[fmt.Sprint(c.Collective, c.Link, c.Engine, c.Devices, c.PerNode)] = &c.Fit
		}
		for _, op := range sortedKeys(fits) {
			f := fits[op]
			if f.Source == "" {
				t.Errorf("%s: %s has no source", name, op)
			}
			if !f.Derived && (f.HeldOutRows == 0 || f.HeldOutMean == 0) {
				t.Errorf("%s: %s is neither derived nor scored", name, op)
			}
			if f.HeldOutMedian > 0.55 && f.HeldOutRows >= 20 { // a handful says little either way
				t.Errorf("%s: %s misses by %.0f %% in the median", name, op, 100*f.HeldOutMedian)
			}
		}
	}
	for _, name := range Engines() {
		if _, err := LoadEngine(name); err != nil {
			t.Error(err)
		}
	}
}

func TestUnknownNamesAreAnsweredWithNearOnes(t *testing.T) {
	_, err := Load("a100-sxm-80g")
	if err == nil || !strings.Contains(err.Error(), "a100-sxm-80gb") {
		t.Errorf("Load: %v", err)
	}
	_, err = LoadEngine("vllm-1")
	if err == nil || !strings.Contains(err.Error(), "vllm-v1") {
		t.Errorf("LoadEngine: %v", err)
	}
	p, err := Load("a40-48gb")
	if err != nil {
		t.Fatal(err)
	}
	if err = p.AttentionEngine("vlm"); err == nil || !strings.Contains(err.Error(), "vllm") {
		t.Errorf("AttentionEngine: %v", err)
	}
	if _, err = p.SendOver("nvlinkpair"); err == nil || !strings.Contains(err.Error(), "nvlink-pair") {
		t.Errorf("SendOver: %v", err)
	}
}

// A user's own profile is a file; what is wrong with it is said in one line.
func TestBadProfilesAreRefused(t *testing.T) {
	good, err := profileFiles.ReadFile("profiles/a40-48gb.toml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseProfile(good, "mine.toml"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"sms = 84", "sms = 0", "mine.toml: device.sms is 0, must be above 0"},
		{"sms = 84", "sms = ", "mine.toml:"},
		{"sms = 84", "smms = 84", `mine.toml: unknown key "device.smms"`},
		{"norm = ", "norm = 3 #", "gemm[0].norm is 3"},
		{"wave = ", "wave = 1.5 #", "gemm[0].wave is 1.5, must lie between 0 and 1"},
		{"saturate = ", "saturate = nan #", "gemm[0].saturate"},
		{"pcie_bytes = 3.2e+10", "pcie_bytes = 1e9", "above the 1e+09 that the device's links allow"},
		{"devices = 2", "devices = 1", "devices is 1, must be 2 or more"},
	} {
		text := strings.Replace(string(good), c.old, c.new, 1)
		if text == string(good) {
			t.Errorf("%q is not in the profile", c.old)
			continue
		}
		_, err := ParseProfile([]byte(text), "mine.toml")
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error is %v, want one line with %q", c.new, err, c.want)
		}
	}
}

func TestBadEnginesAreRefused(t *testing.T) {
	good, err := engineFiles.ReadFile("engines/sarathi-2024.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`graphs = "none"`, `graphs = "some"`, `launch.graphs is "some", must be none, decode or all`},
		{`all_reduce = "nccl"`, `all_reduce = "mpi"`, `all_reduce is "mpi", must be nccl or custom`},
		{"memory_fraction = 0.85", "memory_fraction = 1.2", "memory_fraction is 1.2"},
		{"tensor = 1", "tensor = 0", "host[0].tensor is 0"},
	} {
		_, err := ParseEngine([]byte(strings.Replace(string(good), c.old, c.new, 1)), "e.toml")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q", c.new, err, c.want)
		}
	}
}

// The host's time is that of the device's own machines if they were measured, at
// the largest degree measured that is not above.
func TestHostIsTheNearestMeasured(t *testing.T) {
	e := Engine{Hosts: []Host{
		{Tensor: 1, Fixed: 1}, {Tensor: 4, Fixed: 2}, {Tensor: 1, Device: "a40-48gb", Fixed: 3},
	}}
	for _, c := range []struct {
		device string
		tensor int
		want   float64
	}{{"a100-sxm-80gb", 1, 1}, {"a100-sxm-80gb", 2, 1}, {"a100-sxm-80gb", 8, 2}, {"a40-48gb", 8, 3}} {
		if got := e.HostFor(c.device, c.tensor).Fixed; got != c.want {
			t.Errorf("%s at %d: entry %v, want %v", c.device, c.tensor, got, c.want)
		}
	}
	if got := (&Engine{}).HostFor("x", 1); got.Fixed != 0 || got.PerSequence != 0 {
		t.Errorf("an engine without entries has host time %+v", got)
	}
}
