package calibrate

import (
	"slices"
	"testing"

	"orrery/hwmodel"
)

// Every board has donors, all of them boards and none itself.
func TestEveryBoardHasDonors(t *testing.T) {
	for i := range boards {
		name := boards[i].name
		list := Donors(name)
		if len(list) == 0 {
			t.Errorf("%s has no donors", name)
		}
		seen := map[string]bool{name: true}
		for _, d := range list {
			if _, ok := Board(d); !ok || seen[d] {
				t.Errorf("donor %q of %s is no board, itself or named twice", d, name)
			}
			seen[d] = true
		}
	}
	if got := DonorsByArch("sm89"); got[0] != "l40s-48gb" || slices.Contains(got[2:], "l40s-48gb") {
		t.Errorf("an sm89 device takes from %v", got)
	}
	if got := DonorsByArch("sm999"); got[0] != "a100-sxm-80gb" {
		t.Errorf("an unknown device takes from %v", got)
	}
}

// What was measured on a device is fitted there; what was not comes from the nearest
// donor that measured it; few rows are fitted on top of that.
func TestDonorsFillWhatWasNotMeasured(t *testing.T) {
	var few []string
	o := &Operator{
		Name:  "stub",
		Clear: func(p *hwmodel.Profile) { p.Copy = hwmodel.Send{} },
		Fit: func(p *hwmodel.Profile, rows []Row) error {
			switch {
			case p.Copy.Rate > 0 && !p.Copy.Derived:
			case len(rows) > 1:
				p.Copy = hwmodel.Send{Rate: rows[0].Seconds}
			case p.Copy.Derived:
				few = append(few, p.Device.Name)
				p.Copy.Latency, p.Copy.Fit = rows[0].Seconds, hwmodel.Fit{}
			}
			return nil
		},
		Derive: func(p, donor *hwmodel.Profile) error {
			if p.Copy.Rate == 0 && donor.Copy.Rate > 0 && !donor.Copy.Derived {
				p.Copy = donor.Copy
				p.Copy.Derived = true
			}
			return nil
		},
	}
	var profiles []*hwmodel.Profile
	for _, d := range Boards() {
		profiles = append(profiles, &hwmodel.Profile{Device: d, Copy: hwmodel.Send{Rate: 99}})
	}
	m := &Measured{Rows: map[string][]Row{"stub": {
		{GPU: "a100_sxm_80g", Seconds: 1}, {GPU: "a100_sxm_80g", Seconds: 1},
		{GPU: "h100_sxm", Seconds: 2}, {GPU: "h100_sxm", Seconds: 2},
		{GPU: "h200_sxm", Seconds: 3},
	}}}
	if err := FitProfiles(profiles, m, []*Operator{o}, nil); err != nil {
		t.Fatal(err)
	}
	want := map[string]hwmodel.Send{
		"a100-sxm-80gb": {Rate: 1}, "h100-sxm-80gb": {Rate: 2},
		"a100-sxm-40gb":  {Rate: 1, Fit: hwmodel.Fit{Derived: true}},
		"h200-sxm-141gb": {Rate: 2, Latency: 3},
	}
	for _, p := range profiles {
		if w, ok := want[p.Device.Name]; ok && p.Copy != w {
			t.Errorf("%s has %+v, want %+v", p.Device.Name, p.Copy, w)
		}
	}
	if !slices.Equal(few, []string{"h200-sxm-141gb"}) {
		t.Errorf("few rows were fitted on %v", few)
	}
}
