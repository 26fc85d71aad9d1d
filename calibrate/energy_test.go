package calibrate

import (
	"math"
	"os"
	"slices"
	"testing"

	"orrery/hwmodel"
)

func energyRows(t *testing.T) ([]EnergyRow, []*hwmodel.Profile) {
	t.Helper()
	const data = "../../shared/data"
	if _, err := os.Stat(data); err != nil {
		t.Skip("the folder of measurements is not at hand: ", err)
	}
	var profiles []*hwmodel.Profile
	for _, name := range hwmodel.Names() {
		p, err := hwmodel.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		profiles = append(profiles, p)
	}
	rows, err := ReadEnergy(data, profiles)
	if err != nil {
		t.Fatal(err)
	}
	return rows, profiles
}

// Every row is of a board within its limits: more than idle, no more than the limit, and no work
// beyond its peaks.
func TestEnergyRowsArePossible(t *testing.T) {
	rows, _ := energyRows(t)
	n := map[string]int{}
	for i := range rows {
		r := &rows[i]
		d, _ := Board(r.Device)
		n[r.Device+" "+r.Kind]++
		if r.Watts < idleOfLimit*d.Watts || r.Watts > 1.01*d.Watts {
			t.Errorf("%s:%d: %.0f W on a board of %.0f to %.0f", r.File, r.Line, r.Watts, idleOfLimit*d.Watts, d.Watts)
		}
		for _, e := range []hwmodel.Exertion{r.Prompts, r.Steps} {
			if e.Busy < 0 || e.Busy > 1 || e.Compute > e.Busy || e.Memory > 1.05*e.Busy {
				t.Errorf("%s:%d: %s %s: %+v in a second", r.File, r.Line, r.Model, r.Shape, e)
			}
		}
	}
	for what, want := range map[string]int{"a100-sxm-40gb text": 55, "a100-sxm-80gb text": 21, "h100-sxm-80gb text": 149, "a100-sxm-40gb image": 24, "h100-sxm-80gb image": 24} {
		if n[what] != want {
			t.Errorf("%d rows of %s, want %d", n[what], what, want)
		}
	}
}

// The watts in the profiles are what the fit gives, and rows of models that had no say are
// met as docs/energy.md has it.
func TestPowerOfModelsLeftOut(t *testing.T) {
	rows, stored := energyRows(t)
	var profiles []*hwmodel.Profile
	for _, p := range stored {
		q := *p
		q.Powers = nil
		profiles = append(profiles, &q)
	}
	if err := FitPower(profiles, rows); err != nil {
		t.Fatal(err)
	}
	most := map[string]float64{ // median error on what was left out
		"a100-sxm-40gb text": 0.08, "a100-sxm-40gb image": 0.04, "a100-sxm-80gb text": 0.16, "h100-sxm-80gb text": 0.09, "h100-sxm-80gb image": 0.07,
	}
	for i, p := range profiles {
		if len(p.Powers) != len(stored[i].Powers) {
			t.Fatalf("%s has %d powers, its profile %d", p.Device.Name, len(p.Powers), len(stored[i].Powers))
		}
		for k := range p.Powers {
			a, b := &p.Powers[k], &stored[i].Powers[k]
			e := hwmodel.Exertion{Busy: 1, Compute: 0.05, Memory: 0.3}
			if x, y := a.Watts(e), b.Watts(e); math.Abs(x/y-1) > 0.01 {
				t.Errorf("%s, %s: the fit gives %.1f W, its profile %.1f", p.Device.Name, a.Kind, x, y)
			}
			if limit := most[p.Device.Name+" "+a.Kind]; a.HeldOutRows > 0 && a.HeldOutMedian > limit {
				t.Errorf("%s, %s: the median error on %d rows left out is %.1f %%, want at most %.0f", p.Device.Name, a.Kind, a.HeldOutRows, 100*a.HeldOutMedian, 100*limit)
			}
		}
	}
}

// The energy of a token where the time between tokens is predicted as well, as in a simulation:
// errors of time and power together.
func TestEnergyWithPredictedTimes(t *testing.T) {
	rows, profiles := energyRows(t)
	const data = "../../shared/data/engine/"
	times, err := ReadEngineRows(data+"llm_mlenergy_v2.csv", data+"llm_mlenergy_v3.csv")
	if err != nil {
		t.Fatal(err)
	}
	pricer := NewPricer(profiles)
	errs := map[string][]float64{}
	for i := range times {
		w := &times[i]
		at := slices.IndexFunc(rows, func(r EnergyRow) bool { return r.File == w.File && r.Line == w.Line })
		if at < 0 {
			continue
		}
		e, err := hwmodel.LoadEngine(w.Engine)
		if err != nil {
			t.Fatal(err)
		}
		predicted, err := pricer.Price(w, e)
		if err != nil {
			t.Fatal(err)
		}
		p, err := pricer.profile(w)
		if err != nil {
			t.Fatal(err)
		}
		what := w.Device + " " + w.Engine
		errs[what] = append(errs[what], math.Abs(rows[at].WithTime(p.PowerFor(hwmodel.TextWork), predicted/w.Seconds)))
	}
	for what, most := range map[string]float64{"a100-sxm-40gb vllm-v0": 0.15, "h100-sxm-80gb vllm-v0": 0.15, "h100-sxm-80gb vllm-v1": 0.17} {
		m := median(errs[what])
		t.Logf("%s: median %.1f %%, mean %.1f %%, %d rows", what, 100*m, 100*mean(errs[what]), len(errs[what]))
		if !(m <= most) {
			t.Errorf("%s: the median error of the energy of %d rows is %.1f %%, want at most %.0f", what, len(errs[what]), 100*m, 100*most)
		}
	}
}
