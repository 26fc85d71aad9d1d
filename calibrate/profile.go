package calibrate

import (
	"fmt"
	"slices"

	"orrery/hwmodel"
)

// Recipe says from which measurements a device's profile is fitted.
type Recipe struct {
	Device string // name of the board
	GPU    string // name of the device in the data folder
	// Donor is the device whose shares of the peaks stand in for what was never
	// measured on this one; its recipe comes earlier.
	Donor string

	Backends []Backend
}

// Backend says from which source an attention backend is fitted.
type Backend struct {
	Name    string
	Source  string
	Prefill string // backend whose prefill kernel it shares, if it has no rows of its own
	// Rows is set for a kernel that pads each query head to a tile of its own:
	// the decode kernel is then derived, see [OwnTiles].
	Rows float64
}

// Recipes lists how each profile is made, donors first.
var Recipes = []Recipe{
	{
		Device: "a100-sxm-80gb", GPU: "a100_sxm_80g",
		Backends: []Backend{
			{Name: "fa2-gqa", Source: "vidur"},
			{Name: "fa2", Prefill: "fa2-gqa", Rows: 64},
			{Name: "vllm", Source: "aic-vllm"},
			{Name: "sglang", Source: "aic-sglang"},
		},
	},
	{
		Device: "a100-pcie-80gb", Donor: "a100-sxm-80gb", GPU: "a100_pcie_80g",
	},
	{
		Device: "h100-sxm-80gb", GPU: "h100_sxm", Donor: "a100-sxm-80gb",
		Backends: []Backend{
			{Name: "vllm", Source: "aic-vllm"},
		},
	},
	{
		Device: "a40-48gb", GPU: "a40", Donor: "a100-sxm-80gb",
	},
}

// AllRecipes returns the recipes and, for every other board, one that borrows
// everything from its nearest donor with a recipe.
func AllRecipes() []Recipe {
	all := slices.Clone(Recipes)
	has := func(device string) bool {
		return slices.ContainsFunc(Recipes, func(r Recipe) bool { return r.Device == device })
	}
	for i := range boards {
		b := &boards[i]
		if has(b.name) {
			continue
		}
		r := Recipe{Device: b.name, GPU: b.gpu}
		if j := slices.IndexFunc(Donors(b.name), has); j >= 0 {
			r.Donor = Donors(b.name)[j]
		} else {
			r.Donor = Recipes[0].Device
		}
		all = append(all, r)
	}
	return all
}

// Fit makes the profile that r describes from the data folder. Donors are the
// profiles made so far.
func (r *Recipe) Fit(data string, donors []*hwmodel.Profile) (*hwmodel.Profile, error) {
	d, ok := Board(r.Device)
	if !ok {
		return nil, fmt.Errorf("calibrate: no board %q", r.Device)
	}
	p := &hwmodel.Profile{Device: d, Attention: map[string]hwmodel.Attention{}}
	if r.Donor != "" {
		j := slices.IndexFunc(donors, func(q *hwmodel.Profile) bool { return q.Device.Name == r.Donor })
		if j < 0 {
			return nil, fmt.Errorf("calibrate: %s: donor %q was not fitted before it", r.Device, r.Donor)
		}
		borrow(p, donors[j])
	}
	for _, step := range []func(string, *hwmodel.Profile) error{r.fitAttention} {
		if err := step(data, p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// borrow copies the donor's constants, all of them shares of a peak or times at
// the start of a kernel, and marks them as derived.
func borrow(p, donor *hwmodel.Profile) {
	for name, a := range donor.Attention {
		a.Prefill.Fit = derived(donor.Device.Name, a.Prefill.Fit)
		a.Decode.Fit = derived(donor.Device.Name, a.Decode.Fit)
		if a.MHADecode != nil {
			k := *a.MHADecode
			k.Fit = derived(donor.Device.Name, k.Fit)
			a.MHADecode = &k
		}
		p.Attention[name] = a
	}
}

func derived(from string, f hwmodel.Fit) hwmodel.Fit {
	return hwmodel.Fit{Derived: true, Source: "shares of the peaks as on " + from + " (" + f.Source + ")"}
}

func (r *Recipe) fitAttention(data string, p *hwmodel.Profile) error {
	for _, b := range r.Backends {
		if b.Rows > 0 {
			a := p.Attention[b.Prefill]
			a.Decode = OwnTiles(&a, b)
			p.Attention[b.Name] = a
			continue
		}
		var a hwmodel.Attention
		rows, err := PrefillRows(data, r.GPU, b.Source)
		if err != nil {
			return err
		}
		prefill, _, err := FitPrefill(&p.Device, rows)
		if err != nil {
			return err
		}
		prefill.Source = "causal prefill measured by " + b.Source
		a.Prefill = *prefill
		if rows, err = DecodeRows(data, r.GPU, b.Source); err != nil {
			return err
		}
		grouped, own := rows[:0:0], rows[:0:0]
		for _, row := range rows {
			if row.Args[1] == row.Args[2] {
				own = append(own, row)
			} else {
				grouped = append(grouped, row)
			}
		}
		decode, _, err := FitDecode(&p.Device, grouped)
		if err != nil {
			return err
		}
		decode.Source = "decode with grouped queries measured by " + b.Source
		a.Decode = *decode
		if len(own) >= 100 {
			if decode, _, err = FitDecode(&p.Device, own); err != nil {
				return err
			}
			decode.Source = "decode without grouped queries measured by " + b.Source
			a.MHADecode = decode
		}
		p.Attention[b.Name] = a
	}
	return nil
}

// OwnTiles derives the decode kernel of a backend that runs its prefill kernel on
// one query at a time: each query head pads its single row to a tile, so that the
// arithmetic on padding, at the rate measured for prefill, takes longer than
// reading the KV cache. FlashAttention-2 worked so before it put the heads of a
// group into one tile; the measured prefill times step every 64 rows, which is its
// tile.
//
// That the experiments of 2024 ran such a kernel is inferred, not documented: their
// decode iterations grow with query heads times context, at 13 to 37 % of the memory
// bandwidth that keys and values alone would need, where the kernel that Vidur
// measured in May 2024 reaches 60 to 85 %. The constants come from operators alone.
func OwnTiles(a *hwmodel.Attention, b Backend) hwmodel.DecodeKernel {
	k := a.Decode
	k.Rows, k.Compute = b.Rows, a.Prefill.Compute
	k.Fit = hwmodel.Fit{
		Derived: true,
		Source:  fmt.Sprintf("launch and memory as backend %s; each query head padded to %g rows, computed at the rate of its prefill kernel", b.Prefill, b.Rows),
	}
	return k
}
