// Command fit fits every profile from measured operators and writes the TOML
// files that hwmodel embeds. Run it from the root of the repository:
//
//	go run ./calibrate/fit -data ../shared/data -out hwmodel
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/BurntSushi/toml"

	"orrery/calibrate"
	"orrery/hwmodel"
)

func main() {
	data := flag.String("data", "../shared/data", "folder of measurements")
	out := flag.String("out", "hwmodel", "folder that holds profiles and engines")
	flag.Parse()
	if err := run(*data, *out); err != nil {
		fmt.Fprintln(os.Stderr, "fit:", err)
		os.Exit(1)
	}
}

func run(data, out string) error {
	var done []*hwmodel.Profile
	for i := range calibrate.Recipes {
		r := &calibrate.Recipes[i]
		p, err := r.Fit(data, done)
		if err != nil {
			return err
		}
		done = append(done, p)
		if err := write(filepath.Join(out, "profiles", r.Device+".toml"), "# A device and the fitted constants of its operators. Written by calibrate/fit; do not edit.\n# Times are seconds, rates are per second, shares are of the device's peaks.\n\n", p); err != nil {
			return err
		}
		fmt.Println(r.Device)
		report(p)
	}
	engines, err := calibrate.FitEngines(data, done)
	if err != nil {
		return err
	}
	artefact, err := calibrate.FitArtefact(data, engines[0], done)
	if err != nil {
		return err
	}
	for _, e := range append(engines, artefact) {
		if err := write(filepath.Join(out, "engines", e.Name+".toml"), "# What a serving engine adds to the time of an iteration. Written by calibrate/fit; do not edit.\n# Times are seconds.\n\n", e); err != nil {
			return err
		}
	}
	return nil
}

// write encodes v as TOML below a heading.
func write(path, heading string, v any) error {
	var b bytes.Buffer
	b.WriteString(heading)
	enc := toml.NewEncoder(&b)
	enc.Indent = ""
	if err := enc.Encode(v); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// report prints the error of each operator on the shapes kept out of its fit.
func report(p *hwmodel.Profile) {
	line := func(name string, f *hwmodel.Fit) {
		if f.Derived {
			fmt.Printf("  %-36s derived\n", name)
			return
		}
		fmt.Printf("  %-36s mean %5.1f %%  median %5.1f %%  %6d rows fitted, %5d held out\n", name, 100*f.HeldOutMean, 100*f.HeldOutMedian, f.Rows, f.HeldOutRows)
	}
	line("gemm", &p.GEMM.Fit)
	line("grouped", &p.Grouped.Fit)
	line("norm", &p.Rowwise.Norm.Fit)
	line("activation", &p.Rowwise.Activation.Fit)
	line("rotary", &p.Rowwise.Rotary.Fit)
	line("add", &p.Rowwise.Add.Fit)
	for _, name := range []string{"fa2-gqa", "fa2", "vllm", "sglang"} {
		a, ok := p.Attention[name]
		if !ok {
			continue
		}
		line(name+" prefill", &a.Prefill.Fit)
		line(name+" decode", &a.Decode.Fit)
		if a.MHADecode != nil {
			line(name+" decode, no groups", &a.MHADecode.Fit)
		}
	}
	for i := range p.Collectives {
		c := &p.Collectives[i]
		line(fmt.Sprintf("all-reduce %s %s %d", c.Link, c.Algorithm, c.Devices), &c.Fit)
	}
	for i := range p.Sends {
		line("send "+string(p.Sends[i].Link), &p.Sends[i].Fit)
	}
}
