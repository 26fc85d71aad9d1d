package scenarios

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"orrery/calibrate"
	"orrery/hwmodel"
)

const sheetTail = `
[model]
name = "llama-3.1-8b"
[traffic]
arrivals = "constant"
rate = 1.0
requests = 3
lengths = "fixed"
prompt = 100
output = 5
`

const sheetSection = `
[hardware]
device = "mine"
[device]
arch = "sm90"
sms = 132
fp32_tflops = 66.9
fp16_tflops = 989
mem_gbps = 3352
mem_gb = 80
l2_mb = 50
l2_gbps = 7034
`

// A device of which nothing but the data sheet is known can be simulated, and the
// result says that it is uncalibrated.
func TestADeviceOfNothingButADataSheet(t *testing.T) {
	s, err := Parse("s.toml", []byte(sheetTail+sheetSection))
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := Run(context.Background(), s, 1, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if text := r.Verdict(); !strings.Contains(text, "mine is uncalibrated") {
		t.Errorf("the verdict does not say that the device is uncalibrated:\n%s", text)
	}
	// With the sheet of H100 it works like H100, whose constants it borrows.
	h, err := Parse("h.toml", []byte(sheetTail+"[hardware]\ndevice = \"h100-sxm-80gb\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := Run(context.Background(), h, 1, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := float64(r.Latency.TBT.MeanS), float64(want.Latency.TBT.MeanS); a < 0.9*b || a > 1.1*b {
		t.Errorf("mean TBT is %v s, that of the board with this very sheet %v s", a, b)
	}
}

func TestSheetsThatSayTooLittleAreRefused(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"sms = 132", "", "s.toml:14: device: sms is missing; want the number of streaming multiprocessors"},
		{"mem_gbps = 3352", "", "s.toml:14: device: mem_gbps is missing for mine"},
		{"mem_gbps = 3352", "mem_gbps = -3352", "s.toml:14: device: mem_gbps is \"-3352\", must be a number of 0 or more"},
		{"mem_gbps = 3352", "mem_gpbs = 3352", "s.toml:19: there is no key device.mem_gpbs; did you mean mem_gb or mem_gbps?"},
		{"[device]", "[device]\nname = \"other\"", `s.toml:15: device.name is "other", hardware.device is "mine"; want the same name, or section [device] removed`},
	} {
		_, err := Parse("s.toml", []byte(sheetTail+strings.Replace(sheetSection, c.old, c.new, 1)))
		if err == nil || err.Error() != c.want {
			t.Errorf("%q for %q: said\n\t%v\nwant\n\t%s", c.new, c.old, err, c.want)
		}
	}
}

// A profile that the user fitted is named by its path, seen from the scenario's file.
func TestAProfileByItsPath(t *testing.T) {
	dir := t.TempDir()
	p, err := hwmodel.Load("a100-sxm-80gb")
	if err != nil {
		t.Fatal(err)
	}
	p.Device.Name = "my-a100"
	data, err := calibrate.EncodeProfile(p, "")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("mine.toml", data)
	file := filepath.Join(dir, "s.toml")
	parse := func(device string) (*Scenario, error) {
		return Parse(file, []byte(sheetTail+"[hardware]\ndevice = \""+device+"\"\n"))
	}
	s, err := parse("mine.toml")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.profile.Device.Name; got != "my-a100" {
		t.Errorf("the profile is of %q", got)
	}
	write("sheet.toml", []byte("[device]\nname = \"x\"\nsms = 50\nfp32_flops = 2e13\nfp16_flops = 1e14\ndram_bytes = 6e11\nmemory = 24_000_000_000\n"))
	if s, err = parse("sheet.toml"); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(s.flags, " "); !strings.Contains(text, "x is uncalibrated") {
		t.Errorf("a data sheet in a file goes unnoticed: %q", text)
	}
	write("torn.toml", data[:len(data)/2])
	if _, err = parse("torn.toml"); err == nil || !strings.Contains(err.Error(), "s.toml:12: hardware.device: torn.toml") {
		t.Errorf("a torn profile: %v", err)
	}
	if _, err = parse("none.toml"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a profile that is not there: %v", err)
	}
}
