package calibrate

import (
	"fmt"
	"slices"

	"orrery/hwmodel"
)

// deriveGEMMs gives p the constants of precisions that were not measured on it. A board
// with the donor's chip takes the donor's sets of each library as they stand. Another
// takes one for each precision, without its residual, which knows the donor's waves.
func deriveGEMMs(p, donor *hwmodel.Profile) error {
	d, from := &p.Device, &donor.Device
	for i := range donor.GEMMs {
		g := donor.GEMMs[i]
		if g.Derived || !supports(d, g.DType) {
			continue
		}
		same := twins(d, from)
		if slices.ContainsFunc(p.GEMMs, func(h hwmodel.GEMM) bool {
			return h.Batched == g.Batched && (h.Key == g.Key || !same && h.Key.Match("", g.DType) > 0)
		}) {
			continue
		}
		p.GEMMs = append(p.GEMMs, deriveGEMM(d, from, g, same))
	}
	slices.SortStableFunc(p.GEMMs, func(a, b hwmodel.GEMM) int { return gemmRank(&a) - gemmRank(&b) })
	return nil
}

// AnyLibrary stands for the library in constants that were derived from another chip:
// what is left of the library's ways would not carry over.
const AnyLibrary = "any"

func deriveGEMM(d, from *hwmodel.Device, g hwmodel.GEMM, same bool) hwmodel.GEMM {
	name := gemmName(g.Key, g.Batched)
	if !same {
		g.Engine, g.Residual = AnyLibrary, nil
	}
	scale := 1.0
	if !same {
		scale = powerScale(d, from)
	}
	for i, v := range g.Compute {
		g.Compute[i] = Round(min(max(v*scale, 0.03), 1))
	}
	g.Fit = hwmodel.Fit{
		Derived: true,
		Source:  fmt.Sprintf("shares of the peaks as on %s (%s: %s), compute scaled by %.2f for the power limit", from.Name, name, g.Source, scale),
		Band:    derivedProductBand(d, from, g.Band), Spread: g.Spread,
	}
	return g
}

// derivedProductBand is the 90 % band of constants derived from another board, whose own band is
// given.
func derivedProductBand(d, from *hwmodel.Device, own float64) float64 {
	if twins(d, from) {
		return Round(max(own, 0.1) * 1.3)
	}
	return Round(own + 0.4)
}
