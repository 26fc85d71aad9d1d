package training

import (
	"slices"
	"strings"
	"testing"

	"orrery/hwmodel"
)

func onDevice(t testing.TB, device, system string, s Setup) Step {
	t.Helper()
	p, err := hwmodel.Load(device)
	if err != nil {
		t.Fatal(err)
	}
	sys, err := LoadSystem(system)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Step(p, sys)
	if err != nil {
		t.Fatalf("%s on %s: %v", s.Network, device, err)
	}
	return out
}

// Law 2 for whole steps, on every device and in every precision: no step is quicker than
// its products at the peak rate, where a convolution may take a quarter of the
// multiplications; parts add up; more samples, more passes and checkpoints take longer.
func TestStepsObeyPhysics(t *testing.T) {
	devices := hwmodel.Names()
	if testing.Short() {
		devices = devices[:5]
	}
	for _, device := range devices {
		p, err := hwmodel.Load(device)
		if err != nil {
			t.Fatal(err)
		}
		for _, network := range []string{"resnet50", "bert_base", "deepspeech2", "yolov3", "ncf"} {
			for _, precision := range Precisions() {
				s := Setup{Network: network, Batch: 16, Precision: precision}
				step := onDevice(t, device, "eager", s)
				peak := p.Device.FLOPs("fp16")
				if precision != AMP {
					peak = max(p.Device.FLOPs("fp32"), p.Device.TF32FLOPs)
				}
				if floor := step.FLOPs / 4 / peak; step.Total.Seconds() < floor {
					t.Errorf("%s on %s in %s takes %v, physics allows no less than %g s", network, device, precision, step.Total, floor)
				}
				if sum := step.Forward + step.Backward + step.Optimise + step.Host; sum < step.Total-3 || sum > step.Total+3 {
					t.Errorf("%s on %s: parts make %v of %v", network, device, sum, step.Total)
				}
				more := s
				more.Batch = 32
				if got := onDevice(t, device, "eager", more); got.Total < step.Total*99/100 { // kernels are quicker at some larger sizes
					t.Errorf("%s on %s: 32 samples take %v, 16 %v", network, device, got.Total, step.Total)
				}
				again := s
				again.Checkpoint = true
				if got := onDevice(t, device, "eager", again); got.Backward <= step.Backward || got.Forward != step.Forward {
					t.Errorf("%s on %s: checkpoints make %v and %v of %v and %v", network, device, got.Forward, got.Backward, step.Forward, step.Backward)
				}
				twice := s
				twice.Accumulate = 2
				if got := onDevice(t, device, "eager", twice); got.Forward < 2*step.Forward-2 || got.Optimise != step.Optimise || got.Samples != 32 {
					t.Errorf("%s on %s: two passes make %+v of %+v", network, device, got, step)
				}
			}
		}
	}
}

// A backward pass does about twice the work of a forward one: products with the inputs and
// with the weights.
func TestBackwardDoesTwiceTheWork(t *testing.T) {
	for _, name := range Names() {
		n, err := LoadNetwork(name)
		if err != nil {
			t.Fatal(err)
		}
		var flops [2]float64
		forward, backward := n.Train(4)
		for i := range forward {
			flops[0] += forward[i].FLOPs() * float64(max(forward[i].Count, 1))
		}
		for i := range backward {
			flops[1] += backward[i].FLOPs() * float64(max(backward[i].Count, 1))
		}
		most := 2.05
		if slices.Contains(denoisers, name) {
			most = 2.35 // fused attention computes its scores again
		}
		if r := flops[1] / flops[0]; r < 1.85 || r > most {
			t.Errorf("%s: backward does %.3f times the work of forward", name, r)
		}
		if n.Tensors() < 2 || n.Kept(4) <= 0 {
			t.Errorf("%s has %d tensors and keeps %g bytes", name, n.Tensors(), n.Kept(4))
		}
	}
}

// Parameters of networks against their publications, millions.
func TestParameters(t *testing.T) {
	for name, want := range map[string]float64{"resnet18_cifar": 11.17, "resnet50": 25.56, "bert_base": 109, "bert_large": 334, "yolov3": 61.95, "ssd300": 22.9, "ncf": 31.8, "gnmt": 160.7, "lstm_lm": 14.0} {
		n, err := LoadNetwork(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(n.Params()) / 1e6; got < 0.99*want || got > 1.01*want {
			t.Errorf("%s has %.2f million parameters, want %.2f", name, got, want)
		}
	}
}

func TestSetupsThatMakeNoSense(t *testing.T) {
	p, err := hwmodel.Load("a100-sxm-80gb")
	if err != nil {
		t.Fatal(err)
	}
	for want, s := range map[string]Setup{
		"a batch of 0":          {Network: "resnet50"},
		"a batch of -3":         {Network: "resnet50", Batch: -3},
		`named "resnet500"`:     {Network: "resnet500", Batch: 1},
		"adapters of rank -1":   {Network: "resnet50", Batch: 1, LoRA: -1},
		"passes before an upda": {Network: "resnet50", Batch: 1, Accumulate: 1 << 20},
	} {
		if _, err := s.Step(p, &systems[0]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", s, err, want)
		}
	}
}
