package calibrate

import (
	"fmt"

	"orrery/hwmodel"
)

// FitProfiles fits the constants of the given operators in profiles of every board to m,
// and leaves those of other operators. What was measured on a board is fitted first, on
// all of them; then what a board lacks is derived from its donors; and last the sets with
// few rows are fitted on top of what was derived. Figures of the devices themselves that m
// holds become their facts. progress, which may be nil, hears of
// every operator before its fit.
func FitProfiles(profiles []*hwmodel.Profile, m *Measured, ops []*Operator, progress func(o *Operator)) error {
	byName := map[string]*hwmodel.Profile{}
	for _, p := range profiles {
		byName[p.Device.Name] = p
	}
	for _, o := range ops {
		if progress != nil {
			progress(o)
		}
		rows := rowsByGPU(m.Rows[o.Name])
		for _, p := range profiles {
			o.Clear(p)
		}
		if err := o.fitAll(profiles, rows); err != nil {
			return err
		}
		for range 2 { // again, for what was fitted on top of the first time
			for _, p := range profiles {
				if err := o.deriveFrom(p, donorsOf(p, byName)); err != nil {
					return err
				}
			}
			if err := o.fitAll(profiles, rows); err != nil {
				return err
			}
		}
	}
	if len(m.Micro) > 0 {
		for _, p := range profiles {
			setFacts(p, m.Micro)
		}
	}
	return nil
}

func rowsByGPU(rows []Row) map[string][]Row {
	out := map[string][]Row{}
	for _, r := range rows {
		out[r.GPU] = append(out[r.GPU], r)
	}
	return out
}

func donorsOf(p *hwmodel.Profile, byName map[string]*hwmodel.Profile) []*hwmodel.Profile {
	var out []*hwmodel.Profile
	for _, name := range Donors(p.Device.Name) {
		if q := byName[name]; q != nil {
			out = append(out, q)
		}
	}
	return out
}

func (o *Operator) fitAll(profiles []*hwmodel.Profile, rows map[string][]Row) error {
	for _, p := range profiles {
		if err := o.fit(p, rows[p.Device.GPU]); err != nil {
			return err
		}
	}
	return nil
}

func (o *Operator) fit(p *hwmodel.Profile, rows []Row) error {
	if len(rows) == 0 {
		return nil
	}
	if err := o.Fit(p, rows); err != nil {
		return fmt.Errorf("calibrate: %s on %s: %w", o.Name, p.Device.Name, err)
	}
	return nil
}

func (o *Operator) deriveFrom(p *hwmodel.Profile, donors []*hwmodel.Profile) error {
	for _, donor := range donors {
		if name := donor.Device.Name; name == lastResort && !o.Scarce && !near(&p.Device, name) {
			continue
		}
		if err := o.Derive(p, donor); err != nil {
			return fmt.Errorf("calibrate: %s on %s from %s: %w", o.Name, p.Device.Name, donor.Device.Name, err)
		}
	}
	return nil
}

// Transfer scores how well constants carry over to a device that was never measured:
// every device with rows of the operator is predicted by what is derived from its
// donors alone.
func Transfer(profiles []*hwmodel.Profile, m *Measured, o *Operator) ([]Score, error) {
	byName := map[string]*hwmodel.Profile{}
	for _, p := range profiles {
		byName[p.Device.Name] = p
	}
	var derived []*hwmodel.Profile
	for _, p := range profiles {
		q := *p
		o.Clear(&q)
		if err := o.deriveFrom(&q, donorsOf(p, byName)); err != nil {
			return nil, err
		}
		derived = append(derived, &q)
	}
	scores, _, err := ScoreRows(derived, &Measured{Rows: map[string][]Row{o.Name: m.Rows[o.Name]}}, ScoreOptions{By: "both"})
	return scores, err
}
