package serving

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"orrery/calibrate"
	"orrery/hwmodel"
	"orrery/workloads/llm"
)

// profiles returns the profiles that come with the program.
func profiles(t *testing.T) []*hwmodel.Profile {
	t.Helper()
	var out []*hwmodel.Profile
	for _, n := range hwmodel.Names() {
		p, err := hwmodel.Load(n)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// Published runs of three engines on H100: Llama-3.1-8B, Qwen3-32B and Qwen3-235B decided
// constants of engines or the skew of experts, gpt-oss-120b and MiniMax-M2.5 nothing. What
// was asked is a median error of 15 % in TPOT and throughput; where less was reached, that
// must stay.
func TestPublishedRuns(t *testing.T) {
	data := filepath.Join("..", "..", "..", "shared", "data")
	if _, err := os.Stat(data); err != nil {
		t.Skip("the published runs are not beside the repository: ", err)
	}
	rows, err := calibrate.ReadServing(calibrate.ServingFiles(data)...)
	if err != nil {
		t.Fatal(err)
	}
	priced, skipped, err := Score(context.Background(), rows, profiles(t))
	if err != nil {
		t.Fatal(err)
	}
	r := NewReport(priced, skipped)
	var text strings.Builder
	if err := r.WriteMarkdown(&text); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + text.String())
	for name, x := range map[string]struct {
		s                Summary
		runs             int
		tpot, throughput float64
	}{
		"all": {r.All, 530, 0.08, 0.08}, "fitted": {r.Fitted, 470, 0.08, 0.08}, "unseen": {r.Unseen, 60, 0.08, 0.08},
	} {
		if x.s.Runs < x.runs || x.s.TPOT > x.tpot || x.s.Throughput > x.throughput {
			t.Errorf("%s: median errors of %d runs are %.3f in TPOT and %.3f in throughput, want at least %d runs, at most %g and %g", name, x.s.Runs, x.s.TPOT, x.s.Throughput, x.runs, x.tpot, x.throughput)
		}
	}
	for _, l := range r.Lines {
		if l.Runs >= 10 && (l.TPOT > 0.15 || l.Throughput > 0.15) {
			t.Errorf("%s by %s on %s: median errors are %.3f in TPOT and %.3f in throughput, want at most 0.15", l.Model, l.Backend, l.GPU, l.TPOT, l.Throughput)
		}
	}
}

// row is a run of Llama-3.1-8B on one H100.
func row(t *testing.T, backend, origin string, prompt, output, clients int) *calibrate.ServingRow {
	t.Helper()
	m, err := llm.Load("llama-3.1-8b")
	if err != nil {
		t.Fatal(err)
	}
	return &calibrate.ServingRow{
		GPU: "h100_sxm", Device: "h100-sxm-80gb", Backend: backend, Name: m.Name, Model: m, Origin: origin, Prompt: prompt, Output: output, Clients: clients,
		Decode: calibrate.Workers{Number: 1, Tensor: 1, Attend: 1, Experts: 1, Pipeline: 1}, TTFT: 1, TPOT: 1, File: "f.csv", Line: 2,
	}
}

func simulate(t *testing.T, w *calibrate.ServingRow) (Times, hwmodel.CostModel) {
	t.Helper()
	p, err := hwmodel.Load(w.Device)
	if err != nil {
		t.Fatal(err)
	}
	e, err := hwmodel.LoadEngine(w.Engine())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Simulate(context.Background(), w, p, e)
	if err != nil {
		t.Fatal(err)
	}
	c, err := llm.NewCost(w.Model, llm.Parallel{Tensor: 1, Pipeline: 1}, p, e)
	if err != nil {
		t.Fatal(err)
	}
	return got, c
}

// A lone client waits for nobody: its first token comes after its prompt, and the gaps are
// those of a decode alone.
func TestLoneClientSeesItsOwnIterations(t *testing.T) {
	got, c := simulate(t, row(t, "vllm", "nvidia-aic", 2048, 128, 1))
	var prompt hwmodel.Batch
	prompt.AddChunk(2048, 0)
	prompt.Logits = 1
	host, _ := c.Host(&prompt)
	if want := (c.Stage(0, &prompt) + host).Seconds(); math.Abs(got.TTFT/want-1) > 1e-6 {
		t.Errorf("TTFT is %.4f s, a prompt takes %.4f", got.TTFT, want)
	}
	decode := hwmodel.Batch{Decodes: 1, DecodeContext: 2048 + 64, Logits: 1}
	host, _ = c.Host(&decode)
	if want := (c.Stage(0, &decode) + host).Seconds(); math.Abs(got.TPOT/want-1) > 0.01 {
		t.Errorf("TPOT is %.5f s, a decode takes %.5f", got.TPOT, want)
	}
}

// More clients get more tokens in all and fewer each, and the throughput is what Little's law
// makes of TTFT and TPOT.
func TestThroughputGrowsAndEachClientSlows(t *testing.T) {
	var last Times
	for _, n := range []int{1, 8, 64} {
		w := row(t, "trtllm", "inferencex", 1024, 256, n)
		got, _ := simulate(t, w)
		if got.Throughput <= last.Throughput || got.TPOT <= last.TPOT {
			t.Errorf("%d clients: %+v after %+v of fewer", n, got, last)
		}
		if want := float64(n) * 256 / (got.TTFT + 255*got.TPOT); math.Abs(got.Throughput/want-1) > 1e-9 {
			t.Errorf("%d clients get %.1f tokens/s, want %.1f", n, got.Throughput, want)
		}
		last = got
	}
}

// The same run is the same to the last bit.
func TestSimulationsRepeat(t *testing.T) {
	w := row(t, "sglang", "inferencex", 512, 64, 16)
	a, _ := simulate(t, w)
	if b, _ := simulate(t, w); a != b {
		t.Errorf("%+v, then %+v", a, b)
	}
}

// What cannot be simulated is passed over with a reason, and the rest is not.
func TestRunsArePassedOverWithAReason(t *testing.T) {
	rows := []calibrate.ServingRow{*row(t, "vllm", "nvidia-aic", 128, 32, 2)}
	for _, change := range []func(w *calibrate.ServingRow){
		func(w *calibrate.ServingRow) { w.Device = "" },
		func(w *calibrate.ServingRow) { w.Model = nil },
		func(w *calibrate.ServingRow) { w.Apart = true },
		func(w *calibrate.ServingRow) { w.Clients = 0 },
		func(w *calibrate.ServingRow) { w.Decode.Tensor = 16 },
		func(w *calibrate.ServingRow) { w.Prompt = 10_000_000 },
		func(w *calibrate.ServingRow) { w.Decode.Experts, w.Decode.Tensor = 3, 4 },
	} {
		w := rows[0]
		change(&w)
		rows = append(rows, w)
	}
	priced, skipped, err := Score(context.Background(), rows, profiles(t))
	if err != nil || len(priced) != 1 || len(skipped) != len(rows)-1 {
		t.Fatalf("%d simulated and %d passed over of %d: %v", len(priced), len(skipped), len(rows), err)
	}
	for i, want := range []string{"no profile", "not modelled", "workers of their own", "number of clients", "larger than a node", "room for", "3 ranks"} {
		if !strings.Contains(skipped[i].Reason, want) {
			t.Errorf("reason %d is %q, want %q in it", i, skipped[i].Reason, want)
		}
	}
}
