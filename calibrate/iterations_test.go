package calibrate

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"orrery/hwmodel"
	"orrery/workloads/llm"
)

// shipped returns a pricer and the engines that come with the program.
func shipped(t *testing.T) (*Pricer, []*hwmodel.Engine) {
	t.Helper()
	var profiles []*hwmodel.Profile
	for _, n := range hwmodel.Names() {
		p, err := hwmodel.Load(n)
		if err != nil {
			t.Fatal(err)
		}
		profiles = append(profiles, p)
	}
	var engines []*hwmodel.Engine
	for _, n := range hwmodel.Engines() {
		e, err := hwmodel.LoadEngine(n)
		if err != nil {
			t.Fatal(err)
		}
		engines = append(engines, e)
	}
	return NewPricer(profiles), engines
}

// Published times of whole iterations, answers and steady batches of nine engines. What
// each engine's constants were fitted to stands in its file; Fig. 9 had no part in any.
func TestScoreOfEngines(t *testing.T) {
	data := filepath.Join("..", "..", "shared", "data")
	if _, err := os.Stat(data); err != nil {
		t.Skip("the published iteration times are not beside the repository: ", err)
	}
	rows, err := ReadEngineRows(EngineFiles(data)...)
	if err != nil {
		t.Fatal(err)
	}
	p, engines := shipped(t)
	scores, err := ScoreEngines(p, engines, rows)
	if err != nil {
		t.Fatal(err)
	}
	// The median error asked for is 15 %; where less was reached, that must stay.
	limit := map[string]float64{
		"yi34b_tp2_iterations_artefact.csv": 0.15, "hybrid_batch_cost_fig9.csv": 0.15, "llm_splitwise.csv": 0.15, "layer_gpt3_llmcompass.csv": 0.15,
		"llm_gptfast.csv": 0.15, "gpt_fastertransformer.csv": 0.15, "llm_mlenergy_v2.csv": 0.15, "llm_mlenergy_v3.csv": 0.15, "llm_serving_silicon.csv": 0.15,
	}
	seen := map[string]bool{}
	for _, s := range scores {
		if s.Rows == 0 {
			continue
		}
		t.Logf("%-34s %-17s %-18s %-13s %4d rows  MAPE %5.1f  median %5.1f  p90 %5.1f  bias %+6.1f  in band %3.0f of ±%.0f  skipped %d", s.File, s.Engine, s.GPU, s.Kind, s.Rows, 100*s.Mean, 100*s.Median, 100*s.P90, 100*s.Bias, 100*s.Inside, 100*s.Band, s.Skipped)
		seen[s.File] = true
		if most, ok := limit[s.File]; ok && s.Median > most {
			t.Errorf("%s: the median error of %s by %s on %s is %.1f %%, want at most %.0f %%", s.File, s.Kind, s.Engine, s.GPU, 100*s.Median, 100*most)
		}
	}
	for f := range limit {
		if !seen[f] {
			t.Errorf("no row of %s was scored", f)
		}
	}
}

// A steady engine with times that can be worked out by hand: 20 ms for any decodes and 100 ms
// more for a prompt. Ten clients with answers of 50 tokens then see a fifth of a prompt
// in every gap.
func TestSteadyTimeBetweenTokens(t *testing.T) {
	p := &Iterations{cost: &hwmodel.Affine{Iteration: 20e-3, PrefillToken: 100e-6}}
	s := steady{clients: 10, prompt: 1000, output: 50, budget: 8192}
	// A request takes 50 gaps of 20 ms + D/50*100 ms, and 130 ms for its prompt and half an
	// iteration before it: D = 10*answer/(answer+0.13).
	d := 10.0
	for range 100 {
		answer := 50*20e-3 + d*100e-3
		d = 10 * answer / (answer + 0.13)
	}
	want := 20e-3 + math.Round(d)/50*100e-3
	if got := s.tpot(p); math.Abs(got/want-1) > 0.02 {
		t.Errorf("TPOT is %.2f ms, want %.2f", 1e3*got, 1e3*want)
	}
	s.together = true // half of nine other prompts, over 50 gaps
	if got, want := s.tpot(p), 20e-3+9*100e-3/100; math.Abs(got-want) > 1e-9 {
		t.Errorf("TPOT of clients that began together is %.3f ms, want %.3f", 1e3*got, 1e3*want)
	}
	if got, want := generation(p, 4, 100, 11), 20e-3+400*100e-6+10*20e-3; math.Abs(got-want) > 1e-9 {
		t.Errorf("a generation takes %.3f ms, want %.3f", 1e3*got, 1e3*want)
	}
}

// The constants with which times were made come back from the times, and the error on parts
// held out is none.
func TestEngineFitFindsTheHost(t *testing.T) {
	p, engines := shipped(t)
	truth := *engines[0]
	for _, e := range engines {
		if e.Name == "vllm-v1" {
			truth = *e
		}
	}
	truth.Hosts = []hwmodel.Host{{Tensor: 1, Fixed: 2e-3, PerSequence: 5e-5}}
	m, err := llm.Load("llama-3.1-8b")
	if err != nil {
		t.Fatal(err)
	}
	f := EngineFit{
		Engine: truth, Parameters: []Parameter{fixedTime, sequenceTime},
		Set: func(e *hwmodel.Engine, v []float64) {
			e.Hosts = []hwmodel.Host{{Tensor: 1, Fixed: v[0], PerSequence: v[1]}}
		},
	}
	for _, n := range []int{1, 4, 16, 64, 256} {
		w := EngineRow{Device: "a100-sxm-80gb", Model: m, Parallel: llm.Parallel{Tensor: 1, Pipeline: 1}, Predict: ofBatch(decodeBatch(n, 500)), Part: strings.Repeat("x", n)}
		if w.Seconds, err = p.Price(&w, &truth); err != nil {
			t.Fatal(err)
		}
		f.Rows = append(f.Rows, w)
	}
	v, fit, err := f.Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(v[0]/2e-3-1) > 0.02 || math.Abs(v[1]/5e-5-1) > 0.02 || fit.HeldOutP90 > 0.05 || fit.HeldOutRows != 5 {
		t.Errorf("fixed %g, per sequence %g, made with 0.002 and 5e-05; held out: %+v", v[0], v[1], fit)
	}
	f.Rows = f.Rows[:1]
	if _, _, err := f.Solve(p); err == nil || !strings.Contains(err.Error(), "2 or more") {
		t.Errorf("one part is fitted: %v", err)
	}
}

// Files that cannot be what they seem are refused in a line that names the place.
func TestEngineFilesAreRefused(t *testing.T) {
	const header = "gpu,model,tensor_parallel,prompt_size,batch_size,token_size,prompt_time_ms,token_time_ms\n"
	for _, x := range []struct{ text, want string }{
		{header + "a100_sxm_80g,llama2-70b,2,128,1,128,x,53\n", "f.csv:2: prompt_time_ms is \"x\", not a number"},
		{header + "a100_sxm_80g,llama2-70b,2,128,1,128,81,-53\n", "f.csv:2: decode time is -0.053 s, must be above 0"},
		{header + "a100_sxm_80g,llama2-70b,2\n", "f.csv: record on line 2: wrong number of fields"},
		{"gpu,time\na,1\n", "f.csv:1: the columns gpu,time are those of no file of iteration times"},
	} {
		path := filepath.Join(t.TempDir(), "f.csv")
		if err := os.WriteFile(path, []byte(x.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadEngineRows(path); err == nil || err.Error() != x.want {
			t.Errorf("%q: got %v, want %s", x.text, err, x.want)
		}
	}
}
