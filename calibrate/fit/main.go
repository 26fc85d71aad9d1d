// Command fit fits every profile from measured operators and writes the TOML
// files that hwmodel embeds. Run it from the root of the repository:
//
//	go run ./calibrate/fit -data ../shared/data -out hwmodel
//
// With -ops gemm,moe it fits these operators alone and leaves everything else in the
// files as it stands; the names "engines" and "frameworks" stand for what programs add to
// kernels, "power" for watts. With -transfer it fits nothing and says
// how far each device is missed by what its donors alone give.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"orrery/calibrate"
	"orrery/hwmodel"
	"orrery/internal/names"
)

func main() {
	data := flag.String("data", "../shared/data", "folder of measurements")
	out := flag.String("out", "hwmodel", "folder that holds profiles and engines")
	ops := flag.String("ops", "", "what to fit, separated by commas; all if empty")
	transfer := flag.Bool("transfer", false, "fit nothing; say how far each device is missed by what its donors give")
	flag.Parse()
	do := run
	if *transfer {
		do = reportTransfer
	}
	if err := do(*data, *out, *ops); err != nil {
		fmt.Fprintln(os.Stderr, "fit:", err)
		os.Exit(1)
	}
}

// What can be fitted beside the operators.
const (
	enginesPart    = "engines"
	frameworksPart = "frameworks"
	powerPart      = "power"
)

func run(data, out, ops string) error {
	wanted, err := parts(ops)
	if err != nil {
		return err
	}
	profiles, err := stored(filepath.Join(out, "profiles"))
	if err != nil {
		return err
	}
	if err := fitOperators(data, profiles, wanted); err != nil {
		return err
	}
	if slices.Contains(wanted, powerPart) {
		if err := fitPower(data, profiles); err != nil {
			return err
		}
	}
	for _, p := range profiles {
		if err := write(filepath.Join(out, "profiles", p.Device.Name+".toml"), "# A device and the fitted constants of its operators. Written by calibrate/fit; do not edit.\n# Times are seconds, rates are per second, shares are of the device's peaks.\n\n", p); err != nil {
			return err
		}
		report(p, wanted)
	}
	if slices.Contains(wanted, enginesPart) {
		if err := fitEngines(data, out, profiles); err != nil {
			return err
		}
	}
	if slices.Contains(wanted, frameworksPart) {
		return fitFrameworks(data, out, profiles)
	}
	return nil
}

// parts returns what ops names, or everything.
func parts(ops string) ([]string, error) {
	var all []string
	for _, o := range calibrate.Operators() {
		all = append(all, o.Name)
	}
	all = append(all, enginesPart, frameworksPart, powerPart)
	if ops == "" {
		return all, nil
	}
	wanted := strings.Split(ops, ",")
	for _, w := range wanted {
		if !slices.Contains(all, w) {
			return nil, names.Unknown("part of the fit", w, all)
		}
	}
	return wanted, nil
}

// stored returns a profile of every board, with the constants that its file in dir
// holds. Keys that are no longer used are passed over.
func stored(dir string) ([]*hwmodel.Profile, error) {
	var out []*hwmodel.Profile
	for _, d := range calibrate.Boards() {
		p := new(hwmodel.Profile)
		// A table whose form has changed must be taken out by hand, or fitted with
		// everything else into an empty folder.
		if _, err := toml.DecodeFile(filepath.Join(dir, d.Name+".toml"), p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		p.Device = d
		out = append(out, p)
	}
	return out, nil
}

func fitOperators(data string, profiles []*hwmodel.Profile, wanted []string) error {
	var ops []*calibrate.Operator
	var files []string
	for _, o := range calibrate.Operators() {
		if slices.Contains(wanted, o.Name) {
			ops = append(ops, o)
			files = append(files, filepath.Join(data, "ops", o.Name+".csv"))
		}
	}
	files = append(files, filepath.Join(data, "ops", "microbench.csv"))
	m, err := calibrate.ReadMeasurements(files...)
	if err != nil {
		return err
	}
	return calibrate.FitProfiles(profiles, m, ops, func(o *calibrate.Operator) { fmt.Println("fitting", o.Name) })
}

// reportTransfer prints how well constants carry over to devices that were not measured.
func reportTransfer(data, out, ops string) error {
	wanted, err := parts(ops)
	if err != nil {
		return err
	}
	profiles, err := stored(filepath.Join(out, "profiles"))
	if err != nil {
		return err
	}
	for _, o := range calibrate.Operators() {
		if !slices.Contains(wanted, o.Name) {
			continue
		}
		m, err := calibrate.ReadMeasurements(filepath.Join(data, "ops", o.Name+".csv"))
		if err != nil {
			return err
		}
		scores, err := calibrate.Transfer(profiles, m, o)
		if err != nil {
			return err
		}
		for _, s := range scores {
			fmt.Printf("%-18s %-15s %-24s mean %5.1f %%  median %5.1f %%  bias %+5.1f %%  %3.0f %% in the band  %6d rows, %d without constants\n",
				o.Name, s.GPU, s.Group, 100*s.Mean, 100*s.Median, 100*s.Bias, 100*s.Inside, s.Rows, s.Skipped)
		}
	}
	return nil
}

func fitPower(data string, profiles []*hwmodel.Profile) error {
	rows, err := calibrate.ReadEnergy(data, profiles)
	if err != nil {
		return err
	}
	if err := calibrate.FitPower(profiles, rows); err != nil {
		return err
	}
	for _, p := range profiles {
		for i := range p.Powers {
			if f := &p.Powers[i].Fit; f.HeldOutRows > 0 {
				fmt.Printf("%-20s power on %-6s held out: mean %5.1f %%  median %5.1f %%  p90 %5.1f %%  %4d rows\n", p.Device.Name, p.Powers[i].Kind, 100*f.HeldOutMean, 100*f.HeldOutMedian, 100*f.HeldOutP90, f.HeldOutRows)
			}
		}
	}
	return nil
}

func fitEngines(data, out string, profiles []*hwmodel.Profile) error {
	engines, err := calibrate.FitEngines(data, profiles)
	if err != nil {
		return err
	}
	for _, e := range engines {
		if err := write(filepath.Join(out, "engines", e.Name+".toml"), "# What a serving engine adds to the time of an iteration. Written by calibrate/fit; do not edit.\n# Times are seconds.\n\n", e); err != nil {
			return err
		}
	}
	return nil
}

func fitFrameworks(data, out string, profiles []*hwmodel.Profile) error {
	frameworks, err := calibrate.FitFrameworks(data, profiles)
	if err != nil {
		return err
	}
	for _, f := range frameworks {
		if err := write(filepath.Join(out, "frameworks", f.Name+".toml"), "# What a program that runs networks operator by operator adds to their kernels. Written by\n# calibrate/fit; do not edit. Times are seconds.\n\n", f); err != nil {
			return err
		}
		for _, b := range f.Boards {
			fmt.Printf("%-18s %-16s %s  slower %5.3f  attention %4.2f  held out: mean %5.1f %%  median %5.1f %%  p90 %5.1f %%  %4d rows\n",
				f.Name, b.Device, b.DType, b.Slower, b.Attention, 100*b.HeldOutMean, 100*b.HeldOutMedian, 100*b.HeldOutP90, b.Rows)
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

// report prints the error of every measured set of constants on shapes that had no
// part in its fit, for the operators fitted.
func report(p *hwmodel.Profile, wanted []string) {
	for _, o := range calibrate.Operators() {
		if !slices.Contains(wanted, o.Name) {
			continue
		}
		for _, f := range o.Fits(p) {
			if f.Fit.Derived {
				continue
			}
			fmt.Printf("%-20s %-40s mean %5.1f %%  median %5.1f %%  p90 %5.1f %%  baseline %5.1f %%  %6d rows\n", p.Device.Name, o.Name+" "+f.Name,
				100*f.Fit.HeldOutMean, 100*f.Fit.HeldOutMedian, 100*f.Fit.HeldOutP90, 100*f.Fit.Baseline, f.Fit.Rows)
		}
	}
}
