package training

import (
	"math"
	"strings"
	"testing"
)

// Table 1 of the ZeRO paper: 7.5 billion parameters in mixed precision with Adam, on 64 devices.
func TestStateOfZeRO(t *testing.T) {
	n, err := LoadNetwork("mpt-7b")
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[Sharding]float64{None: 120, ZeRO1: 31.4, ZeRO2: 16.6, FSDP: 1.88} {
		m, err := Setup{Network: "mpt-7b", Batch: 1, Devices: 64, PerNode: 8, Sharding: kind}.Memory()
		if err != nil {
			t.Fatal(err)
		}
		got := float64(m.Weights+m.Gradients+m.Optimiser) / float64(n.Params()) * 7.5
		if math.Abs(got/want-1) > 0.005 {
			t.Errorf("%s: %.2f GB, want %.2f", kind, got, want)
		}
	}
}

// Korthikanti and others count 34 bytes a token and channel of a layer without what attention
// keeps of scores, 2 of them masks of dropout, and 2 if the layer is computed again.
func TestActivationsOfALayer(t *testing.T) {
	d, _, err := loadDecoder("mpt-7b", 2048)
	if err != nil {
		t.Fatal(err)
	}
	if got := 2 * d.keptOfLayer() / 4096; got != 32 {
		t.Errorf("a layer keeps %g bytes a token and channel, want 32", got)
	}
	deeper := *d.m
	deeper.Layers++
	e := *d
	e.m = &deeper
	if got := (e.Checkpointed(2) - d.Checkpointed(2)) / 2048 / 4096; math.Abs(got-2) > 1e-9 {
		t.Errorf("a layer more keeps %g bytes with checkpoints, want 2", got)
	}
}

// Parameters as llm-foundry counts them, with sequences of 2048 tokens.
func TestParametersOfMPT(t *testing.T) {
	for name, want := range map[string]int64{
		"mpt-125m": 125311488, "mpt-350m": 355985408, "mpt-760m": 760470528, "mpt-1b": 1315950592, "mpt-3b": 2651837440,
		"mpt-7b": 6658859008, "mpt-13b": 12853954560, "mpt-30b": 29975214080, "mpt-70b": 64862437376,
	} {
		n, err := LoadNetwork(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(n.Params()) / float64(want); math.Abs(got-1) > 1e-3 {
			t.Errorf("%s has %d parameters, want %d", name, n.Params(), want)
		}
		var sum int64
		o := n.(ordered).Gradients()
		_, backward := n.Train(1)
		for _, g := range o {
			sum += g.Params
		}
		if sum != n.Params() || o[len(o)-1].After != len(backward) {
			t.Errorf("%s: gradients of %d parameters by operator %d, want %d and %d", name, sum, o[len(o)-1].After, n.Params(), len(backward))
		}
	}
}

// The fewest devices hold the step, one fewer do not.
func TestFewestDevices(t *testing.T) {
	const memory = 80 << 30
	for _, name := range []string{"mpt-1b", "mpt-7b", "mpt-30b", "llama-2-70b"} {
		s := Setup{Network: name, Batch: 1, Sharding: FSDP, Checkpoint: true, PerNode: 8}
		n, err := s.Fewest(memory, 512)
		if err != nil {
			t.Fatal(err)
		}
		holds := func(devices int) bool {
			t := s
			t.Devices = devices
			m, err := t.Memory()
			return err == nil && m.Total <= memory
		}
		if (s.Fits(memory) == nil) != holds(s.Devices) {
			t.Errorf("%s: fits alone %v, holds %v", name, s.Fits(memory), holds(s.Devices))
		}
		if !holds(n) || n > 1 && holds(n-1) {
			t.Errorf("%s: %d devices hold it %v, one fewer %v", name, n, holds(n), holds(n-1))
		}
	}
	_, err := Setup{Network: "mpt-30b", Batch: 1}.Fewest(memory, 64)
	if err == nil || !strings.Contains(err.Error(), "does not fit") {
		t.Errorf("30 billion parameters unsharded: %v", err)
	}
}

// Adapters add r (in + out) parameters to a projection (Hu and others, 2021), need neither gradients nor moments of
// the rest, and spare the products for its weights' gradients.
func TestAdapters(t *testing.T) {
	full := Setup{Network: "llama-2-7b", Batch: 1, Precision: AMP}
	low := full
	low.LoRA = 16
	d := onDevice(t, "a100-sxm-80gb", "eager", full)
	e := onDevice(t, "a100-sxm-80gb", "eager", low)
	if e.Total >= d.Total || e.Backward >= d.Backward || e.FLOPs >= d.FLOPs {
		t.Errorf("adapters take %v, all weights %v", e.Total, d.Total)
	}
	n, err := low.network()
	if err != nil {
		t.Fatal(err)
	}
	layer := 16 * (4096 + 3*4096 + 4096 + 4096 + 4096 + 2*11008 + 11008 + 4096)
	if got := trained(n); got != int64(32*layer) {
		t.Errorf("%d parameters in adapters, want %d", got, 32*layer)
	}
	m, _ := full.Memory()
	l, _ := low.Memory()
	if l.Gradients*100 > m.Gradients || l.Optimiser*100 > m.Optimiser || l.Weights < m.Weights {
		t.Errorf("adapters hold %+v, all weights %+v", l, m)
	}
	none := Setup{Network: "resnet50", Batch: 1, LoRA: 4}
	if _, err := none.network(); err == nil {
		t.Error("resnet50 has no adapters, and was given some")
	}
}
