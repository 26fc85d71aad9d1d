package training

import (
	"math"
	"testing"

	"orrery/hwmodel"
)

// UNets and diffusion transformers train as other networks do: twice the work backward but
// for fused attention, which computes its scores again; and no quicker than physics allows.
func TestDenoisersTrain(t *testing.T) {
	p, err := hwmodel.Load("a100-sxm-80gb")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ params, gmacs float64 }{"sd15_unet": {859.5e6, 400}, "sdxl_unet": {2567e6, 2990}, "pixart_alpha": {611e6, 3300}} {
		n, err := LoadNetwork(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(n.Params()); math.Abs(got/c.params-1) > 0.01 {
			t.Errorf("%s has %.4g parameters, want %.4g", name, got, c.params)
		}
		var flops [2]float64
		forward, backward := n.Train(1)
		for i := range forward {
			flops[0] += forward[i].FLOPs()
		}
		for i := range backward {
			flops[1] += backward[i].FLOPs()
		}
		if got := flops[0] / 2e9; math.Abs(got/c.gmacs-1) > 0.25 {
			t.Errorf("%s does %.0f billion multiply-adds, want near %.0f", name, got, c.gmacs)
		}
		if r := flops[1] / flops[0]; r < 1.95 || r > 2.3 {
			t.Errorf("%s: backward does %.3f times the work of forward", name, r)
		}
		step, err := Setup{Network: name, Batch: 4, Precision: AMP, Optimiser: Adam}.Step(p, &systems[0])
		if err != nil {
			t.Fatal(err)
		}
		if floor := step.FLOPs / 4 / p.Device.FLOPs("fp16"); step.Total.Seconds() < floor || step.Total.Seconds() > 40*floor {
			t.Errorf("%s: a step takes %v, its products at the peak rate %g s", name, step.Total, 4*floor)
		}
		m, err := Setup{Network: name, Batch: 4, Precision: AMP, Optimiser: Adam}.Memory()
		if err != nil || m.Total <= 0 {
			t.Errorf("%s: memory %+v, %v", name, m, err)
		}
		t.Logf("%s: %v a step of 4, %.1f GiB", name, step.Total, float64(m.Total)/(1<<30))
	}
}
