package calibrate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"orrery/hwmodel"
)

// The constants of a [hwmodel.Power] as shares of the board's limit, which is how they carry
// over from one board to another.
var powerParameters = []Parameter{
	{Name: "serving", Start: 0.1, Low: 1e-3, High: 0.8, Logarithms: true},
	{Name: "compute", Start: 1.5, Low: 1e-3, High: 20, Logarithms: true},
	{Name: "memory", Start: 0.7, Low: 1e-3, High: 10, Logarithms: true},
}

// idleOfLimit is what a board draws with a model loaded and nothing to do, as a share of its
// limit: the mean of three averages of A100-80GB in Splitwise's file that were taken after
// the end of the run (see [idleShare]), 70 W. Of H100 no such figure is at hand: 123 W by
// the same share lies between the 70 W that nvidia-smi shows of one that no process has
// opened (NVIDIA/nccl issue 1967) and the 140 W of one with 72 GB held at no utilisation
// (wilicc/gpu-burn issue 114).
const idleOfLimit = 0.1758

// powerDonors are the boards whose power was measured, from which that of others is derived.
const (
	powerDonor       = "a100-sxm-40gb"
	powerDonorHopper = "h100-sxm-80gb" // of sm90 and later
)

// FitPower fits the power of the boards that rows were measured on, and derives that of the
// other profiles in proportion to their limit. Models count alike, whatever their number
// of rows; the errors are of models that had no say.
func FitPower(profiles []*hwmodel.Profile, rows []EnergyRow) error {
	fitted := map[string][]hwmodel.Power{}
	for _, name := range []string{powerDonor, powerDonorHopper} {
		d, _ := Board(name)
		for _, kind := range []string{hwmodel.TextWork, hwmodel.ImageWork} {
			p, err := fitPower(&d, kind, rows)
			if err != nil {
				return err
			}
			fitted[name] = append(fitted[name], *p)
		}
	}
	for _, p := range profiles {
		donor := powerDonorOf(&p.Device)
		p.Powers = nil
		for i := range fitted[donor] {
			q := fitted[donor][i]
			if p.Device.Name != donor {
				q = derivePower(&p.Device, &q, donor)
				checkPower(&q, p.Device.Name, rows)
			}
			p.Powers = append(p.Powers, q)
		}
	}
	return nil
}

// setPowers derives the power of a device that was never measured, if its limit is known.
func setPowers(p *hwmodel.Profile) {
	if p.Device.Watts == 0 {
		return
	}
	donor := powerDonorOf(&p.Device)
	from, err := hwmodel.Load(donor)
	if err != nil {
		panic(err) // it is part of the program
	}
	for i := range from.Powers {
		p.Powers = append(p.Powers, derivePower(&p.Device, &from.Powers[i], donor))
	}
}

// powerDonorOf returns the measured board that is nearest to a device.
func powerDonorOf(d *hwmodel.Device) string {
	if n, err := strconv.Atoi(strings.TrimPrefix(d.Arch, "sm")); err == nil && n >= 90 {
		return powerDonorHopper
	}
	return powerDonor
}

// derivePower scales a measured power to the limit of a board.
func derivePower(d *hwmodel.Device, from *hwmodel.Power, donor string) hwmodel.Power {
	q := from.Scaled(d.Watts)
	for _, v := range []*float64{&q.Idle, &q.Serving, &q.Compute, &q.Memory} {
		*v = Round(*v)
	}
	q.Fit = hwmodel.Fit{Derived: true, Band: from.Band, Source: fmt.Sprintf("that of %s, in proportion to the power limit", donor)}
	return q
}

// checkPower holds a derived power against rows of its board, if there are any.
func checkPower(p *hwmodel.Power, device string, rows []EnergyRow) {
	var ratios []float64
	for i := range rows {
		if r := &rows[i]; r.Device == device && r.Kind == p.Kind {
			ratios = append(ratios, r.Predict(p)/r.Watts)
		}
	}
	if len(ratios) > 0 {
		p.Fit = heldOut(p.Fit, ratios)
	}
}

// fitPower fits the power of a board on one kind of work.
func fitPower(d *hwmodel.Device, kind string, all []EnergyRow) (*hwmodel.Power, error) {
	parts := map[string][]EnergyRow{}
	n := 0
	var files []string
	for _, r := range all {
		if r.Device == d.Name && r.Kind == kind {
			parts[r.Model] = append(parts[r.Model], r)
			n++
			if !slices.Contains(files, r.File) {
				files = append(files, r.File)
			}
		}
	}
	names := sortedKeys(parts)
	if len(names) < 3 {
		return nil, fmt.Errorf("calibrate: power of %s on %s: %d rows of %d models; want 3 models or more, so that each can be predicted from the others", d.Name, kind, n, len(names))
	}
	var ratios []float64
	for _, held := range names {
		p := searchPower(d, kind, parts, names, held)
		for i := range parts[held] {
			r := &parts[held][i]
			ratios = append(ratios, r.Predict(p)/r.Watts)
		}
	}
	p := searchPower(d, kind, parts, names, "")
	p.Fit = heldOut(hwmodel.Fit{Rows: n, Source: fmt.Sprintf("mean power on %d models (ML.ENERGY, %s); held out by model; idle by Splitwise's averages on A100-80GB, as a share of the limit", len(names), strings.Join(files, ", "))}, ratios)
	return p, nil
}

// searchPower finds the power of a board without the rows of one model.
func searchPower(d *hwmodel.Device, kind string, parts map[string][]EnergyRow, names []string, without string) *hwmodel.Power {
	with := func(v []float64) *hwmodel.Power {
		return &hwmodel.Power{Kind: kind, Idle: Round(idleOfLimit * d.Watts), Serving: Round(v[0] * d.Watts), Compute: Round(v[1] * d.Watts), Memory: Round(v[2] * d.Watts), Limit: d.Watts}
	}
	return with(Search(powerParameters, func(v []float64) float64 {
		p := with(v)
		var loss float64
		for _, name := range names {
			if name == without {
				continue
			}
			var sum float64
			for i := range parts[name] {
				r := &parts[name][i]
				sum += math.Abs(math.Log(r.Predict(p) / r.Watts))
			}
			loss += sum / float64(len(parts[name]))
		}
		return loss
	}))
}

// heldOut fills in the errors of predictions, given as shares of what was measured.
func heldOut(f hwmodel.Fit, ratios []float64) hwmodel.Fit {
	errs, logs := make([]float64, len(ratios)), make([]float64, len(ratios))
	for i, r := range ratios {
		errs[i], logs[i] = math.Abs(r-1), math.Abs(math.Log(r))
	}
	slices.Sort(errs)
	slices.Sort(logs)
	f.HeldOutRows, f.HeldOutMean, f.HeldOutMedian, f.HeldOutP90 = len(errs), Round(mean(errs)), Round(median(errs)), Round(quantile(errs, 0.9))
	f.Band = Round(quantile(logs, 0.9))
	return f
}
