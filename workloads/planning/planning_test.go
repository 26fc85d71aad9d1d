package planning

import (
	"math"
	"testing"
)

func program(t *testing.T, name string, s Setting) *Program {
	t.Helper()
	p, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Program(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Kernels of one call of each network, counted by hand from the modules of the published
// code.
func TestNetworksLaunchAsManyKernelsAsTheirModules(t *testing.T) {
	four := temporalUNet{width: 64, levels: []int{1, 2, 4, 8}, kernel: 5}
	three := temporalUNet{width: 64, levels: []int{1, 4, 8}, kernel: 5}
	conditioned := four
	conditioned.returns = true
	for name, c := range map[string]struct{ got, want int }{
		"transformer of Trajectory Diffuser": {feasible(1, 4, 4, Hopper).Kernels(), 76},
		"UNet of four levels":                {four.graph("", 1, 14, 32).Kernels(), 188},
		"UNet of three levels":               {three.graph("", 1, 14, 32).Kernels(), 143},
		"UNet told a return":                 {conditioned.graph("", 1, 14, 32).Kernels(), 192},
		"value network":                      {valueNet(1, 14, 32, 32, []int{1, 4, 8}, 5).Kernels(), 103},
		"transformer of TT":                  {gpt(1, 4, 4).Kernels(), 74},
	} {
		if c.got != c.want {
			t.Errorf("%s launches %d kernels, want %d", name, c.got, c.want)
		}
	}
}

func TestActionsLaunchAsManyKernelsAsPublishedCode(t *testing.T) {
	for _, c := range []struct {
		name    string
		setting Setting
		want    int
	}{
		{"trajectory-diffuser", Setting{}, 3164},
		{"trajectory-diffuser", Setting{Horizon: 8}, 2540},
		{"trajectory-diffuser", Setting{Horizon: 32}, 4412},
		{"trajectory-diffuser", Setting{Horizon: 64}, 6908},
		{"trajectory-diffuser", Setting{Horizon: 128}, 11900},
		{"diffuser", Setting{}, 16640},
		{"decision-diffuser", Setting{}, 30600},
		{"decision-diffuser", Setting{Steps: 200}, 61200},
		{"trajectory-transformer", Setting{}, 21120},
		{"decision-transformer", Setting{}, 63},
	} {
		p := program(t, c.name, c.setting)
		if got := p.Kernels(); got != c.want {
			t.Errorf("%s with %+v launches %d kernels, want %d", c.name, c.setting, got, c.want)
		}
		c.setting.Robots = 8
		if got := program(t, c.name, c.setting).Kernels(); got != c.want {
			t.Errorf("%s launches %d kernels for a batch of eight robots, want %d as for one", c.name, got, c.want)
		}
	}
	td := program(t, "trajectory-diffuser", Setting{})
	for horizon, share := range map[int]float64{16: 0.37, 32: 0.55, 128: 0.83} {
		p := program(t, "trajectory-diffuser", Setting{Horizon: horizon})
		if got := float64(p.PhaseKernels("generate")) / float64(p.Kernels()); math.Abs(got-share) > 0.005 {
			t.Errorf("at horizon %d the generator has %.3f of the kernels, want %.2f", horizon, got, share)
		}
	}
	ratio := func(name string, s Setting) float64 {
		return float64(program(t, name, s).Kernels()) / float64(td.Kernels())
	}
	for name, c := range map[string]struct{ got, low, high float64 }{
		"Diffuser":               {ratio("diffuser", Setting{}), 3, 10}, // the range of the paper's abstract
		"Trajectory Transformer": {ratio("trajectory-transformer", Setting{}), 3, 10},
		"Decision Diffuser":      {ratio("decision-diffuser", Setting{}), 8, 12},
	} {
		if c.got < c.low || c.got > c.high {
			t.Errorf("%s launches %.1f times the kernels of Trajectory Diffuser, want %g to %g", name, c.got, c.low, c.high)
		}
	}
}

// The work of the generator by hand: four layers of 512 with an MLP of 512 over 1 to 15
// tokens for 32 candidates, 48.6 GFLOP; with a cache over one token each time, 6.0.
func TestACacheSavesTheGeneratorsWork(t *testing.T) {
	flops := func(s Setting) float64 {
		sum := int64(0)
		for _, c := range program(t, "trajectory-diffuser", s).Calls {
			if c.Phase == "generate" {
				sum += 2 * int64(c.Times) * c.Graph.MACs()
			}
		}
		return float64(sum) / 1e9
	}
	if got := flops(Setting{}); math.Abs(got/48.6-1) > 0.005 {
		t.Errorf("the generator does %.2f GFLOP, want 48.6", got)
	}
	if got := flops(Setting{KVCache: true}); math.Abs(got/6.08-1) > 0.005 {
		t.Errorf("with a cache it does %.2f GFLOP, want 6.08", got)
	}
	if got, want := program(t, "trajectory-diffuser", Setting{KVCache: true}).Kernels(), 3164; got != want {
		t.Errorf("with a cache %d kernels, want %d as without: it saves work, not launches", got, want)
	}
}

func TestSettingsThatCannotRunAreRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		setting Setting
	}{
		{"trajectory-diffuser", Setting{Horizon: 1}}, {"trajectory-diffuser", Setting{Horizon: -3}}, {"decision-transformer", Setting{Steps: 5}},
		{"diffuser", Setting{Candidates: -1}}, {"diffuser", Setting{Robots: 1 << 20}}, {"diffuser", Setting{KVCache: true}}, {"diffuser", Setting{Steps: -1}},
		{"diffuser", Setting{Body: Body{State: 3}}},
	} {
		p, err := Load(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Program(c.setting); err == nil {
			t.Errorf("%s runs with %+v", c.name, c.setting)
		}
	}
	if _, err := Load("planer"); err == nil {
		t.Error("an unknown planner is found")
	}
}
