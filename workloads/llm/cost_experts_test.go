package llm

import (
	"strings"
	"testing"

	"orrery/hwmodel"
)

// priced returns the cost of a model on an H100 by vLLM, after change.
func priced(t *testing.T, name string, par Parallel, change func(m *Model, e *hwmodel.Engine), options ...Option) *Cost {
	t.Helper()
	m, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := hwmodel.Load("h100-sxm-80gb")
	if err != nil {
		t.Fatal(err)
	}
	e, err := hwmodel.LoadEngine("vllm-v1-async")
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(m, e)
	}
	c, err := NewCost(m, par, p, e, options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Tokens that a batch is padded with visit no experts of their own: five tokens are
// quicker than eight, though both are computed as eight outside of the experts.
func TestPaddingVisitsNoExperts(t *testing.T) {
	c := priced(t, "qwen3-235b-a22b", Parallel{4, 1}, nil)
	five, eight := decodes(5, 1000), decodes(8, 1000)
	if a, b := c.Stage(0, &five), c.Stage(0, &eight); a >= b-b/20 {
		t.Errorf("five decodes take %v, eight %v", a, b)
	}
	dense := priced(t, "qwen3-32b", Parallel{4, 1}, nil)
	if a, b := dense.tokenTime(dense.padded(5)), dense.tokenTime(dense.padded(8)); a != b {
		t.Errorf("layers of a dense model take %g s for five tokens, %g for eight", a, b)
	}
}

// A skew leaves experts without tokens, whose weights are not read; but the busiest of
// several ranks has more than its share.
func TestSkewedExperts(t *testing.T) {
	skew := func(a float64) func(*Model, *hwmodel.Engine) {
		return func(m *Model, _ *hwmodel.Engine) { m.ExpertSkew = a }
	}
	even, skewed := priced(t, "gpt-oss-120b", Parallel{2, 1}, skew(0)), priced(t, "gpt-oss-120b", Parallel{2, 1}, skew(1.2))
	if a, b := skewed.routedTime(16), even.routedTime(16); a >= b {
		t.Errorf("16 tokens take %g s drawn unevenly, %g evenly", a, b)
	}
	even, skewed = priced(t, "gpt-oss-120b", Parallel{8, 1}, skew(0), ExpertRanks(8)), priced(t, "gpt-oss-120b", Parallel{8, 1}, skew(1.2), ExpertRanks(8))
	if a, b := skewed.routedTime(8192), even.routedTime(8192); a <= 1.1*b {
		t.Errorf("8192 tokens on 8 ranks take %g s drawn unevenly, %g evenly", a, b)
	}
}

// Experts cannot be divided among ranks that do not divide the group.
func TestExpertRanksAreRefused(t *testing.T) {
	m, err := Load("gpt-oss-120b")
	if err != nil {
		t.Fatal(err)
	}
	c := priced(t, "gpt-oss-120b", Parallel{4, 1}, nil, ExpertRanks(2))
	if _, err := NewCost(m, Parallel{4, 1}, c.profile, c.engine, ExpertRanks(3)); err == nil || !strings.Contains(err.Error(), "experts on 3 ranks") {
		t.Errorf("three ranks of four devices: %v", err)
	}
}

// Experts packed in four bits stream in less time than those of sixteen.
func TestPackedExpertsAreQuicker(t *testing.T) {
	packed := priced(t, "gpt-oss-120b", Parallel{2, 1}, nil)
	plain := priced(t, "gpt-oss-120b", Parallel{2, 1}, func(m *Model, _ *hwmodel.Engine) { m.ExpertBits = 0 })
	if a, b := packed.routedTime(64), plain.routedTime(64); a > 0.6*b {
		t.Errorf("64 tokens take %g s with packed experts, %g without", a, b)
	}
}

// Where every other layer has a window, attention takes the mean of a model with the window
// in every layer and of one without it.
func TestWindowOfSomeLayers(t *testing.T) {
	with := func(window, layers int) *Cost {
		return priced(t, "gpt-oss-120b", Parallel{2, 1}, func(m *Model, _ *hwmodel.Engine) { m.SlidingWindow, m.WindowLayers = window, layers })
	}
	half, all, none := with(128, 18), with(128, 36), with(0, 0)
	b := decodes(64, 8000)
	if got, want := half.attend(&b), (all.attend(&b)+none.attend(&b))/2; got < 0.999*want || got > 1.001*want {
		t.Errorf("attention of every other layer takes %g s in the mean, want %g", got, want)
	}
	var prompt hwmodel.Batch
	prompt.AddChunk(8192, 0)
	if got, most := half.attend(&prompt), none.attend(&prompt); got >= 0.8*most {
		t.Errorf("a prompt's attention takes %g s with windows, %g without", got, most)
	}
}

// An engine that fuses what only moves data takes less time for it.
func TestFusedEnginesMoveLess(t *testing.T) {
	fused := func(f bool) *Cost {
		return priced(t, "qwen3-32b", Parallel{4, 1}, func(_ *Model, e *hwmodel.Engine) { e.Fused = f })
	}
	if a, b := fused(true).moveTime(64), fused(false).moveTime(64); a >= b/2 {
		t.Errorf("fused moves take %g s a layer, others %g", a, b)
	}
}

// Shapes of experts and windows that cannot be are refused with what would be right.
func TestExpertShapesAreRefused(t *testing.T) {
	for want, change := range map[string]func(m *Model){
		"window_layers is 40 of 36 layers":   func(m *Model) { m.WindowLayers = 40 },
		"with a sliding_window of 0":         func(m *Model) { m.SlidingWindow = 0 },
		"expert_bits is -1":                  func(m *Model) { m.ExpertBits = -1 },
		"expert_skew is 1; want 0 for even":  func(m *Model) { m.ExpertSkew = 1 },
		"expert_bits is 4.25 with 0 experts": func(m *Model) { m.Experts, m.ExpertsPerToken = 0, 0 },
	} {
		m, err := Load("gpt-oss-120b")
		if err != nil {
			t.Fatal(err)
		}
		change(m)
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
