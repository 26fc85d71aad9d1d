package llm

import (
	"fmt"

	"orrery/hwmodel"
)

// attention prices the attention of one layer on one device.
type attention struct {
	prefill hwmodel.PrefillCost
	decode  hwmodel.DecodeCost
	mixed   *hwmodel.MixedCost // of engines that attend from chunks and decodes in one call
	derived []string           // what rests on no measurement of its own

	prefillFit, decodeFit, mixedFit *hwmodel.Fit
}

// newAttention finds the kernels of engine e on p that serve heads h.
func newAttention(p *hwmodel.Profile, e *hwmodel.Engine, h hwmodel.Heads) (attention, error) {
	var a attention
	if err := p.AttentionEngine(e.Attention); err != nil {
		return a, err
	}
	want := hwmodel.AttentionKey{Key: hwmodel.Key{Engine: e.Attention, DType: "bf16"}, KV: "bf16", Dim: h.Dim}
	if h.KVBytes == 1 {
		want.KV = "fp8"
	}
	prefill, exact := p.Prefill(want, true)
	if prefill == nil {
		return a, fmt.Errorf("%s has no constants for prefill attention", p.Device.Name)
	}
	a.note("prefill attention", exact && !prefill.Derived)
	a.prefill = prefill.On(&p.Device, h)
	decode, exact := p.Decode(want, h)
	a.note("decode attention", exact && !decode.Derived)
	a.decode = decode.On(&p.Device, h)
	a.prefillFit, a.decodeFit = &prefill.Fit, &decode.Fit
	if mixed, exact := p.Mixed(want); mixed != nil && e.Together {
		a.note("attention of mixed batches", exact && !mixed.Derived)
		c := mixed.On(&p.Device, h)
		a.mixed, a.mixedFit = &c, &mixed.Fit
	}
	return a, nil
}

func (a *attention) note(what string, measured bool) {
	if !measured {
		a.derived = append(a.derived, what)
	}
}

// time returns the seconds of the attention of b, whose decodes attend to context tokens
// in all.
func (a *attention) time(b *hwmodel.Batch, context int64) float64 {
	switch {
	case b.Chunks == 0:
		return a.decode.Time(b.Decodes, context)
	case a.mixed != nil:
		return a.mixed.Time(b, context)
	}
	return a.prefill.Time(b) + a.decode.Time(b.Decodes, context)
}

// fit returns what the price of the attention of b rests on: where chunks and decodes run
// in calls of their own, the one that takes longer.
func (a *attention) fit(b *hwmodel.Batch, context int64) *hwmodel.Fit {
	switch {
	case b.Chunks == 0:
		return a.decodeFit
	case a.mixed != nil:
		return a.mixedFit
	case a.decode.Time(b.Decodes, context) > a.prefill.Time(b):
		return a.decodeFit
	}
	return a.prefillFit
}
