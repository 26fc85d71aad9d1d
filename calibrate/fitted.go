package calibrate

import (
	"bytes"
	"context"
	"fmt"

	"github.com/BurntSushi/toml"

	"orrery/hwmodel"
)

// leastRows is the number of measurements of an operator below which nothing can be
// said of its constants: they could not be held against a row they have not seen.
const leastRows = 5

// FitMeasured makes the profile of d from its measurements m; what these do not cover
// comes from the donors, nearest first. progress, which may be nil, hears of every
// operator before its fit. Cancelling ctx ends it between operators.
func FitMeasured(ctx context.Context, d hwmodel.Device, donors []*hwmodel.Profile, m *Measured, progress func(done int, o *Operator)) (*hwmodel.Profile, error) {
	for _, o := range operators {
		if rows := m.Rows[o.Name]; len(rows) > 0 && len(rows) < leastRows {
			return nil, fmt.Errorf("%s:%d: %d rows of %s are too few to fit, want at least %d", rows[0].File, rows[0].Line, len(rows), o.Name, leastRows)
		}
	}
	for _, o := range operators {
		if err := o.possible(&d, m.Rows[o.Name]); err != nil {
			return nil, err
		}
	}
	p := newProfile(d)
	for i, o := range operators {
		if progress != nil {
			progress(i, o)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := o.deriveFrom(p, donors); err != nil {
			return nil, err
		}
		if err := o.fit(p, rowsByGPU(m.Rows[o.Name])[d.GPU]); err != nil {
			return nil, err
		}
	}
	// What is written must be readable: constants that beat physics are a fault of
	// the measurements or of the data sheet, and the user's to know.
	data, err := EncodeProfile(p, "")
	if err != nil {
		return nil, err
	}
	if _, err := hwmodel.ParseProfile(data, d.Name+".toml"); err != nil {
		return nil, fmt.Errorf("the measurements give constants that cannot be: %w; compare the data sheet in section [device]", err)
	}
	return p, nil
}

// possible refuses rows most of which the device could not have computed: they were
// measured on another one, or the data sheet is wrong. Convolutions may take fewer
// products than their definition, and a cache may hold what counts as read, so that a
// row must beat the peaks three times over to count.
func (o *Operator) possible(d *hwmodel.Device, rows []Row) error {
	const allowed = 3
	var first *Row
	beyond, floor := 0, 0.0
	for i := range rows {
		r := &rows[i]
		flops, bytes := o.Work(r)
		rate := d.DRAMBytes
		if bytes <= float64(d.L2Size) {
			rate = max(rate, d.L2Bytes)
		}
		least := max(flops/d.FLOPs(r.DType), bytes/rate)
		if o.Name != "comm" && r.Seconds*allowed < least {
			if first == nil {
				first, floor = r, least
			}
			beyond++
		}
	}
	if 2*beyond <= len(rows) {
		return nil
	}
	return fmt.Errorf("%s:%d: %s took %.4g us, but %s cannot do it in less than %.4g us, as with %d of %d rows; is its data sheet right?",
		first.File, first.Line, o.describe(first), 1e6*first.Seconds, d.Name, 1e6*floor, beyond, len(rows))
}

// ShippedDonors returns the profiles that come with the program whose constants stand
// in for what was not measured on d, nearest first.
func ShippedDonors(d *hwmodel.Device) ([]*hwmodel.Profile, error) {
	list := Donors(d.Name)
	if len(list) == 0 {
		list = DonorsByArch(d.Arch)
	}
	var out []*hwmodel.Profile
	if p, err := hwmodel.Load(d.Name); err == nil {
		out = append(out, p) // the same board, measured by others
	}
	for _, name := range list {
		p, err := hwmodel.Load(name)
		if err != nil {
			continue // a board without measurements has no profile to give
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no device to derive from for architecture %q", d.Arch)
	}
	return out, nil
}

// Uncalibrated makes a profile of nothing but a data sheet: every constant is derived
// from the device's nearest relatives.
func Uncalibrated(d hwmodel.Device) (*hwmodel.Profile, error) {
	if err := complete(&d); err != nil {
		return nil, err
	}
	donors, err := ShippedDonors(&d)
	if err != nil {
		return nil, err
	}
	p := newProfile(d)
	for _, o := range operators {
		if err := o.deriveFrom(p, donors); err != nil {
			return nil, err
		}
	}
	return p, p.Check()
}

// EncodeProfile returns p as the TOML of its file, with a note at its head.
func EncodeProfile(p *hwmodel.Profile, note string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# A device and the fitted constants of its operators.")
	if note != "" {
		b.WriteString(" " + note)
	}
	b.WriteString("\n# Times are seconds, rates are per second, shares are of the device's peaks.\n\n")
	enc := toml.NewEncoder(&b)
	enc.Indent = ""
	if err := enc.Encode(p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// newProfile begins the profile of d with what no operator's table covers.
func newProfile(d hwmodel.Device) *hwmodel.Profile {
	p := &hwmodel.Profile{Device: d}
	setCopy(p)
	setPowers(p)
	return p
}
