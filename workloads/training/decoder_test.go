package training

import (
	"math"
	"testing"

	"orrery/hwmodel"
)

// A step of a dense model does 6 operations a parameter and token, and 6 a layer, channel and token of
// the sequence under a causal mask (llm-foundry counts twice that, the mask left out).
func TestOperationsOfLanguageModels(t *testing.T) {
	for _, name := range []string{"mpt-125m", "mpt-7b", "mpt-70b"} {
		s := Setup{Network: name, Batch: 2, Sequence: 2048}
		step := onDevice(t, "a100-sxm-80gb", "eager", s)
		d, _, err := loadDecoder(name, 2048)
		if err != nil {
			t.Fatal(err)
		}
		params := float64(d.Params()) - 2048*float64(d.m.Hidden) // positions are looked up
		want := 2 * 2048 * (6*params + 6*float64(d.m.Layers*d.m.Hidden)*2048)
		if got := step.FLOPs / want; math.Abs(got-1) > 0.005 {
			t.Errorf("%s: %.4g operations, want %.4g", name, step.FLOPs, want)
		}
	}
}

// Law 2 for language models, dense and of experts, in every precision, with and without
// adapters; of experts, only those that compute a token cost operations.
func TestLanguageModelsObeyPhysics(t *testing.T) {
	for _, device := range []string{"a100-sxm-80gb", "h100-sxm-80gb", "v100-sxm-32gb", "rtx-4090-24gb", "t4-16gb"} {
		p, err := hwmodel.Load(device)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"mpt-1b", "llama-3.1-8b", "mixtral-8x7b"} {
			for _, precision := range Precisions() {
				for _, rank := range []int{0, 8} {
					s := Setup{Network: name, Batch: 1, Sequence: 512, Precision: precision, LoRA: rank}
					step := onDevice(t, device, "eager", s)
					peak := p.Device.FLOPs("fp16")
					if precision != AMP {
						peak = max(p.Device.FP32FLOPs, p.Device.TF32FLOPs)
					}
					if floor := step.FLOPs / peak; step.Total.Seconds() < floor {
						t.Errorf("%s on %s in %s, rank %d: %v, physics allows no less than %g s", name, device, precision, rank, step.Total, floor)
					}
				}
			}
		}
	}
	d, _, err := loadDecoder("mixtral-8x7b", 512)
	if err != nil {
		t.Fatal(err)
	}
	step := onDevice(t, "a100-sxm-80gb", "eager", Setup{Network: "mixtral-8x7b", Batch: 1, Sequence: 512})
	active := 6 * 512 * float64(d.m.ActiveParams()-int64(d.m.Vocab*d.m.Hidden))
	if got := step.FLOPs / active; got < 0.98 || got > 1.06 {
		t.Errorf("mixtral-8x7b does %.3f times the operations of what computes its tokens", got)
	}
}
