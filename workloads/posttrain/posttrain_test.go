package posttrain

import (
	"math"
	"testing"

	"orrery/hwmodel"
	"orrery/workloads/diffusion"
)

func recipe(t *testing.T, name string) *Recipe {
	t.Helper()
	r, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Counts of the published procedures, one prompt or pair.
func TestPreferenceCountsAreExact(t *testing.T) {
	for _, c := range []struct {
		config                 spoConfig
		evals, decodes, pairs_ float64
	}{{spoSD15, 130, 64, 16}, {spoSDXL, 70, 10, 20}} {
		r := recipe(t, c.config.name)
		sample, score, train := &r.Phases[1], &r.Phases[2], &r.Phases[3]
		if got := sample.Count("sample"); got != c.evals {
			t.Errorf("%s: %g evaluations a prompt, want %g", r.Name, got, c.evals)
		}
		if a, b := score.Count("decode"), score.Count("score"); a != c.decodes || b != c.decodes {
			t.Errorf("%s: %g decodes and %g scores a prompt, want %g", r.Name, a, b, c.decodes)
		}
		if got := train.Repeat / sample.Repeat / validPairs; got != c.pairs_ {
			t.Errorf("%s: %g pairs a prompt, want %g", r.Name, got, c.pairs_)
		}
		if got := train.Forwards(c.config.network); got != 16 {
			t.Errorf("%s: %g forward passes' work for a pair, want 16", r.Name, got)
		}
		if sample.Repeat != 40000 {
			t.Errorf("%s: %g prompts, want 40,000", r.Name, sample.Repeat)
		}
	}
	for _, name := range []string{"dpo-sd15", "dpo-sdxl"} {
		r := recipe(t, name)
		p := &r.Phases[0]
		if p.Repeat != 4096000 || p.Count("encode") != 2 || p.Forwards(r.Phases[0].Calls[1].Network) != 10 {
			t.Errorf("%s: %g pairs, %g encodes, %g forward passes' work", name, p.Repeat, p.Count("encode"), p.Forwards("sdxl_unet"))
		}
	}
}

func cost(t *testing.T, name string) *Cost {
	t.Helper()
	r := recipe(t, name)
	p, err := hwmodel.Load(r.Device)
	if err != nil {
		t.Fatal(err)
	}
	f, err := hwmodel.LoadFramework("diffusers")
	if err != nil {
		t.Fatal(err)
	}
	q, err := diffusion.NewPricer(p, f)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Price(q, &p.Device)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// GPU-hours against what was published, nothing fitted.
func TestGPUHoursOfPreferenceOptimisation(t *testing.T) {
	work := map[string]float64{"spo-sd15": 15.5, "spo-sdxl": 59.1, "dpo-sd15": 35.2, "dpo-sdxl": 281} // EFLOP
	tuned := map[string]float64{}
	for name, within := range map[string]float64{"spo-sd15": 2, "spo-sdxl": 2, "dpo-sd15": 2.5, "dpo-sdxl": 2.5} {
		r, c := recipe(t, name), cost(t, name)
		t.Logf("%s: %.3g EFLOP, %.4g GPU-hours, published %+v", name, c.FLOPs/1e18, c.GPUHours, r.Published)
		for _, p := range c.Phases {
			t.Logf("  %s: %.4g GPU-hours", p.Name, p.GPUHours)
			for _, k := range p.Calls {
				t.Logf("    %s: %.4g ms a sample, %.0f %% of the peak", k.Role, 1e3*k.Seconds, 100*k.Share)
			}
		}
		tuning := 0.0 // without the preference model
		for _, p := range c.Phases {
			if p.Name != "preference model" {
				tuning += p.FLOPs / 1e18
			}
		}
		if e := tuning / work[name]; e < 0.85 || e > 1.2 {
			t.Errorf("%s: %.3g EFLOP, by hand %.3g", name, tuning, work[name])
		}
		if spo := name[:3] == "spo"; spo {
			tuned[name] = tuning
		} else {
			tuned[name] = c.FLOPs / 1e18
		}
		if ratio := c.GPUHours / r.Published[0].GPUHours; ratio < 1/within || ratio > within {
			t.Errorf("%s: %.4g GPU-hours, published %g: not within %g times", name, c.GPUHours, r.Published[0].GPUHours, within)
		}
	}
	arithmetic := tuned["dpo-sdxl"] / tuned["spo-sdxl"]
	if math.Abs(arithmetic/4.8-1) > 0.1 {
		t.Errorf("DPO does %.2f times the arithmetic of SPO on SDXL, want 4.8", arithmetic)
	}
}

func TestDistillationCountsAreExact(t *testing.T) {
	const unet = "sdxl_unet"
	d, m := recipe(t, "disback-sdxl"), recipe(t, "dmd2-sdxl")
	first, second := &d.Phases[0], &d.Phases[1]
	if first.Repeat != 1000 || first.Forwards(unet) != 4 || second.Repeat != 100000 || math.Abs(second.Forwards(unet)-5) > 1e-12 {
		t.Errorf("degradation %g x %g, backtracking %g x %g", first.Repeat, first.Forwards(unet), second.Repeat, second.Forwards(unet))
	}
	a, b := first.Repeat*first.Forwards(unet), second.Repeat*second.Forwards(unet)
	if share := a / (a + b); share > 0.02 {
		t.Errorf("degradation is %.3f of the work", share)
	}
	if ratio := (a + b) / (m.Phases[0].Repeat * m.Phases[0].Forwards(unet)); ratio > 1.02 {
		t.Errorf("DisBack is %.4f of the same length of DMD2", ratio)
	}
	h := recipe(t, "hyper-sd")
	if len(h.Phases) != 6 {
		t.Fatalf("%d phases", len(h.Phases))
	}
	for i := range 4 {
		p := &h.Phases[i]
		if p.Count("teacher") != 2 || p.Count("student") != 1 || p.Calls[2].Way.Forwards() != 4 || p.Count("target") != 1 || p.Count("encode") != 1 {
			t.Errorf("%s: %+v", p.Name, p.Calls)
		}
	}
}

// One 80 GB device does not hold a generator and a fake score with AdamW in 32 bits; four do.
// SPO's adapters fit one, and not a card of 24 GB.
func TestWhatFits(t *testing.T) {
	const gb80, gb24 = 80e9, 24e9
	check := func(name string, shards int, device float64, want bool) {
		t.Helper()
		m, err := recipe(t, name).Memory(shards)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Total < device; got != want {
			t.Errorf("%s over %d: %.1f GB of %.0f (%.1f weights, %.1f gradients, %.1f optimiser, %.1f activations); fits: %v", name, shards, m.Total/1e9, device/1e9, m.Weights/1e9, m.Gradients/1e9, m.Optimiser/1e9, m.Activations/1e9, got)
		}
	}
	check("disback-sdxl", 1, gb80, false)
	check("disback-sdxl", 4, gb80, true)
	check("spo-sdxl", 1, gb80, true)
	check("spo-sdxl", 1, gb24, false)
}

// The toy: where the teacher's score fades near its data, going back along the path is quicker;
// where it reaches far, it is as quick.
func TestBacktrackingHelpsWhereScoresFade(t *testing.T) {
	for _, c := range []struct{ radius, low, high float64 }{{1, 2.3, 2.9}, {3, 0.98, 1.02}} {
		b := Backtracking{Dim: 8, Start: 3, Radius: c.radius, Rate: 0.05, Stop: 0.05}
		direct, ok := b.Iterations(0, 1, 5000)
		best, nodes, interval := b.Best(5000)
		t.Logf("radius %g: %d direct, %d by %d nodes of %d", c.radius, direct, best, nodes, interval)
		if ratio := float64(direct) / float64(best); !ok || ratio < c.low || ratio > c.high {
			t.Errorf("radius %g: %d direct, %d by %d nodes of %d: %.2f times", c.radius, direct, best, nodes, interval, ratio)
		}
	}
}

// Sampling, scoring and training alternate; at the gather all wait for the last, and nobody
// is in two places at once.
func TestTimelineAlternatesAndWaits(t *testing.T) {
	r := recipe(t, "spo-sd15")
	spans := r.Timeline(cost(t, "spo-sd15"), 3, 1)
	byDevice := map[int][]Span{}
	for _, s := range spans {
		byDevice[s.Device] = append(byDevice[s.Device], s)
	}
	if len(byDevice) != 4 {
		t.Fatalf("%d devices", len(byDevice))
	}
	for d, list := range byDevice {
		var phases []string
		for i, s := range list {
			if s.To < s.From || i > 0 && s.From != list[i-1].To {
				t.Fatalf("device %d: %+v follows %+v", d, s, list[max(i-1, 0)])
			}
			if s.Phase != "" && s.Phase != "preference model" {
				phases = append(phases, s.Phase)
			}
		}
		for i, p := range phases {
			if want := []string{"sample", "score", "train"}[i%3]; p != want {
				t.Fatalf("device %d: phases %v", d, phases)
			}
		}
		if len(phases) != 9 {
			t.Errorf("device %d: %v in three rounds", d, phases)
		}
	}
	if idle := Idle(spans); idle < 0.001 || idle > 0.2 {
		t.Errorf("devices wait for %.4f of their time", idle)
	}
}
