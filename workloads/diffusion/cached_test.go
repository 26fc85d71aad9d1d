package diffusion

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// withMethods sets a job's methods.
func withMethods(t *testing.T, texts ...string) func(*Job) {
	return func(j *Job) {
		for _, text := range texts {
			r, err := ParseMethod(text, j.Pipeline)
			if err != nil {
				t.Fatal(err)
			}
			j.Method.Rewrites = append(j.Method.Rewrites, r)
		}
	}
}

// work returns the multiply-adds of the denoiser over a whole run, and those of them
// that are no products of attention.
func work(stages []Stage) (all, unfused float64) {
	for _, s := range stages {
		if s.Phase != Denoise {
			continue
		}
		for i := range s.Graph.Ops {
			macs := float64(s.Times) * float64(s.Graph.Ops[i].MACs)
			all += macs
			if s.Graph.Ops[i].Kind != Attention {
				unfused += macs
			}
		}
	}
	return all, unfused
}

// The work of cached runs is what the methods' authors counted: T-GATE's page of the
// diffusers documentation, TMACs of whole runs without attention's own products; and ToCa's
// readme.
func TestCachedRunsDoThePublishedWork(t *testing.T) {
	table := "| run | setting | TMAC here | published | |\n|---|---|---|---|---|\n"
	for _, c := range []struct {
		name, pipeline string
		steps          int
		methods        []string
		tera           float64
		within         float64
	}{
		{"SD 2.1", "sd21", 25, nil, 38.041, 0.002},
		// The page's own setting is not printed: five steps before the gate are what its figure says.
		{"SD 2.1, T-GATE", "sd21", 25, []string{"tgate:5"}, 22.208, 0.005},
		{"SDXL", "sdxl", 25, nil, 149.438, 0.002},
		// DeepCache's branch is not printed either: its figure is that of the second.
		{"SDXL, DeepCache", "sdxl", 25, []string{"deepcache:3,1"}, 57.888, 0.005},
		// The gate opens with the first whole step after its tenth, the thirteenth.
		{"SDXL, both", "sdxl", 25, []string{"tgate:13", "deepcache:3,1"}, 43.868, 0.005},
		{"SDXL LCM", "sdxl-lcm", 4, nil, 11.955, 0.002},
		{"SDXL LCM, T-GATE", "sdxl-lcm", 4, []string{"tgate:1"}, 11.171, 0.005},
		{"PixArt", "pixart-alpha", 25, nil, 107.031, 0.002},
		{"PixArt, T-GATE", "pixart-alpha", 25, []string{"tgate:8"}, 65.318, 0.005},
		{"PixArt LCM", "pixart-delta", 4, nil, 8.563, 0.002},
		// ToCa's readme: TFLOPs, two for a multiply-add, attention's products among them. Which
		// steps are whole beside every N-th is not printed.
		{"FLUX.1-dev", "flux-dev", 50, nil, 3719.5 / 2, 0.002},
		{"FLUX.1-dev, ToCa", "flux-dev", 50, []string{"toca:4"}, 1263.22 / 2, 0.08},
		{"FLUX.1-dev, ToCa", "flux-dev", 50, []string{"toca:5"}, 1126.76 / 2, 0.08},
		{"FLUX.1-dev, ToCa", "flux-dev", 50, []string{"toca:6"}, 990.3 / 2, 0.08},
		{"FLUX.1-dev, FORA", "flux-dev", 50, []string{"fora:3"}, 1320. / 2, 0.08},
	} {
		j := job(t, c.pipeline, func(j *Job) { j.Steps = c.steps })
		if j.Pipeline.Name == "sdxl" || j.Pipeline.Name == "sd21" {
			j.Sampler = "dpm-solver++"
		}
		withMethods(t, c.methods...)(j)
		stages := stagesOf(t, j)
		all, got := work(stages)
		if c.pipeline == "flux-dev" {
			got = all
		}
		if off := got/(c.tera*1e12) - 1; math.Abs(off) > c.within {
			t.Errorf("%s: %.3f TMACs; published %.3f (%+.2f %%)", c.name, got/1e12, c.tera, 100*off)
		}
		for _, s := range stages {
			checkLifetimes(t, s.Graph)
		}
		setting := strings.Join(append([]string{fmt.Sprintf("%d steps", c.steps)}, c.methods...), ", ")
		table += fmt.Sprintf("| %s | %s | %.2f | %.2f | %+.2f %% |\n", c.name, setting, got/1e12, c.tera, 100*(got/(c.tera*1e12)-1))
	}
	checkDocs(t, "cached", table)
}

// A cached step runs a part of the whole step's operators, and holds what was kept.
func TestCachedStepsRunLess(t *testing.T) {
	for _, c := range []struct{ pipeline, method string }{
		{"sd15", "deepcache:5,1"}, {"svd", "deepcache:2"}, {"animatediff", "deepcache:2"}, {"pixart-alpha", "fora:3"},
		{"pixart-alpha", "toca:4"}, {"pixart-alpha", "skip:0.5"}, {"sd15", "tgate:20"},
		{"sd15", "tome:0.5"}, {"sdxl", "tome:0.5"},
	} {
		whole, all := work(stagesOf(t, job(t, c.pipeline, nil)))
		_ = all
		j := job(t, c.pipeline, withMethods(t, c.method))
		stages := stagesOf(t, j)
		cached, _ := work(stages)
		if cached >= whole || cached <= 0 {
			t.Errorf("%s with %s: %g MACs; want fewer than %g", c.pipeline, c.method, cached, whole)
		}
		steps, _ := j.SolverSteps()
		if got, want := evaluations(stages), Evaluations(steps); got != want {
			t.Errorf("%s with %s: %d calls; want %d", c.pipeline, c.method, got, want)
		}
		for _, s := range stages {
			checkLifetimes(t, s.Graph)
		}
	}
}

// What is given to a cut is no work any more, and what is not needed without it neither;
// to give nothing changes nothing but what had no use.
func TestCutsKeepWhatOutputsNeed(t *testing.T) {
	g := graphOf(t, "sd15_unet", Call{Passes: 2})
	if whole := g.cut(); whole.MACs() != g.MACs() || whole.Weights != g.Weights || whole.Kernels() != g.Kernels() {
		t.Errorf("cutting nothing: %d MACs, %d bytes, %d kernels; want %d, %d, %d", whole.MACs(), whole.Weights, whole.Kernels(), g.MACs(), g.Weights, g.Kernels())
	}
	if none := g.cut(g.Outputs...); len(none.Ops) != 0 {
		t.Errorf("giving the outputs leaves %d operators; want none", len(none.Ops))
	}
	last := -1.
	for _, i := range opsOf(g, skipName.MatchString) {
		part := g.cut(g.Ops[i].Reads[0])
		checkLifetimes(t, part)
		if share := float64(part.MACs()) / float64(g.MACs()); last >= 0 && share >= last {
			t.Errorf("%s: %g of the work; want less than %g, from a cut further out", g.Ops[i].Name, share, last)
		} else {
			last = share
		}
	}
}

// The share of cached steps is that asked for.
func TestSkipsAreSpreadEvenly(t *testing.T) {
	for _, share := range []float64{0, 0.25, 0.5, 2. / 3, 0.9} {
		r, n := Reuse{Skip: share}, 0
		for i := range 1000 {
			if r.skips(i) {
				n++
			}
		}
		if math.Abs(float64(n)-1000*share) > 1.5 {
			t.Errorf("%g: %d of 1000 steps are skipped", share, n)
		}
		if r.skips(0) {
			t.Errorf("%g: the first step is skipped", share)
		}
	}
}

// A schedule file may say how much of the network a step keeps from before.
func TestScheduledSharesAreKept(t *testing.T) {
	for _, pipeline := range []string{"sd15", "pixart-alpha"} {
		g, err := job(t, pipeline, nil).Denoiser(2)
		if err != nil {
			t.Fatal(err)
		}
		for _, share := range []float64{0.3, 0.6, 0.9} {
			part := g.without(share)
			checkLifetimes(t, part)
			if got := 1 - float64(part.MACs())/float64(g.MACs()); math.Abs(got-share) > 0.1 {
				t.Errorf("%s: %g of the work is kept; want about %g", pipeline, got, share)
			}
		}
	}
}

func TestMethodsSayWhatWouldBeRight(t *testing.T) {
	for _, c := range []struct{ pipeline, method, want string }{
		{"sd15", "deepcash:3", "did you mean deepcache"},
		{"sd15", "deepcache", "want deepcache:N"},
		{"sd15", "deepcache:x", "want deepcache:N"},
		{"sd15", "deepcache:1,2,3", "want deepcache:N"},
		{"sd15", "deepcache:0", "want 1 or more"},
		{"sd15", "deepcache:3,99", "12 skip connections"},
		{"pixart-alpha", "deepcache:3", "0 skip connections"},
		{"sd15", "tome:0.8", "up to 0.75"},
		{"pixart-alpha", "tome:0.5", "no transformer"},
		{"sd15", "fora:3", "want deepcache for a UNet"},
		{"sd15", "tgate:0", "want 1 or more"},
		{"pixart-alpha", "skip:1", "want an interval from 1, or a share"},
		{"pixart-alpha", "toca:3,1.5", "want a share from 0, below 1"},
		{"pixart-alpha", "teacache:0.2", "nothing was published for pixart-alpha"},
	} {
		j := job(t, c.pipeline, nil)
		r, err := ParseMethod(c.method, j.Pipeline)
		if err == nil {
			j.Method.Rewrites = []Rewrite{r}
			_, err = j.Stages()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v; want %q in it", c.method, err, c.want)
		}
	}
}

// Merging half of the tokens leaves a quarter of the products of self-attention at full
// size, and half of its projections, whether scores are materialised or not.
func TestTokenMerging(t *testing.T) {
	for _, scores := range []bool{false, true} {
		j := job(t, "sd15", func(j *Job) { j.Scores, j.Steps, j.Sampler = scores, 1, "ddim" })
		before := stagesOf(t, j)
		j.Method.Rewrites = []Rewrite{TokenMerge{Ratio: 0.5}}
		after := stagesOf(t, j)
		sum := func(stages []Stage, kind Kind) (macs int64) {
			for _, s := range stages {
				for i := range s.Graph.Ops {
					if op := &s.Graph.Ops[i]; op.Kind == kind && strings.HasPrefix(op.Name, "up3/attn1/block0/attn1/") && !strings.Contains(op.Name, "match") {
						macs += op.MACs
					}
				}
			}
			return macs
		}
		if a, b := sum(before, Attention), sum(after, Attention); a == 0 || 4*b != a {
			t.Errorf("scores %v: %d MACs of attention become %d; want a quarter", scores, a, b)
		}
		if a, b := sum(before, Linear), sum(after, Linear); a == 0 || 2*b != a {
			t.Errorf("scores %v: %d MACs of projections become %d; want half", scores, a, b)
		}
	}
}

// A whole step holds what it keeps until it ends.
func TestWholeStepsHoldWhatIsKept(t *testing.T) {
	plain := job(t, "sd15", nil)
	kept := job(t, "sd15", withMethods(t, "deepcache:3,5"))
	end := func(j *Job) int64 {
		for _, s := range stagesOf(t, j) {
			if s.Phase == Denoise {
				var sum int64
				for _, id := range s.Graph.Outputs {
					sum += s.Graph.Tensors[id].Bytes()
				}
				return sum
			}
		}
		return 0
	}
	// What comes into the third level from below: 1280 channels at half the latent's side,
	// for both passes.
	if got, want := end(kept)-end(plain), int64(2*1280*32*32*2); got != want {
		t.Errorf("%d bytes are kept; want %d", got, want)
	}
}
