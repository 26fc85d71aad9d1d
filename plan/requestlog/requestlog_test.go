package requestlog

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"orrery/calibrate"
	"orrery/hwmodel"
)

func loaded(t *testing.T, device, engine string) (*hwmodel.Profile, *hwmodel.Engine) {
	t.Helper()
	p, err := hwmodel.Load(device)
	if err != nil {
		t.Fatal(err)
	}
	e, err := hwmodel.LoadEngine(engine)
	if err != nil {
		t.Fatal(err)
	}
	return p, e
}

// Real runs of vLLM 0.19. The host of vllm-v1-async was fitted to the iterations of the
// first of them; nothing was fitted to the two others.
func TestRequestsOfVLLM(t *testing.T) {
	path := filepath.Join("..", "..", "..", "shared", "data", "engine", "llm_requests_vllm.csv")
	if _, err := os.Stat(path); err != nil {
		t.Skip("the measurements are not there: ", err)
	}
	m, err := calibrate.ReadMeasurements(path)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := ReadRuns(RunsFile(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		gpu, model, device string
		ttft, tpot, e2e    float64
	}{
		{"rtx_pro_6000", "Llama-3.1-8B", "rtx-pro-6000-96gb", 0.15, 0.10, 0.10},
		{"rtx_4090", "Llama-3.1-8B", "rtx-4090-24gb", 0.15, 0.10, 0.10},
		// A known miss: the constants of layers of experts on this board are those of another,
		// by which decodes come out up to twice as slow as they are. That experts are drawn
		// unevenly, which runs on H100 bear out, makes it a little worse.
		{"rtx_pro_6000", "Qwen3-30B-A3B-Instruct-2507", "rtx-pro-6000-96gb", 0.55, 0.95, 0.95},
	} {
		t.Run(x.gpu+" "+x.model, func(t *testing.T) {
			p, e := loaded(t, x.device, "vllm-v1-async")
			for i := range runs {
				if runs[i].GPU != x.gpu || runs[i].Model != x.model {
					continue
				}
				s, err := Replay(context.Background(), &runs[i], m.Requests, p, e)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%d requests: TTFT %+v, TPOT %+v, E2E %+v", s.Requests, s.TTFT, s.TPOT, s.E2E)
				if s.Requests != 300 || s.TTFT.Median > x.ttft || s.TPOT.Median > x.tpot || s.E2E.Median > x.e2e {
					t.Errorf("median errors: TTFT %.3f, TPOT %.3f, E2E %.3f of %d requests", s.TTFT.Median, s.TPOT.Median, s.E2E.Median, s.Requests)
				}
				return
			}
			t.Fatal("the run is not in the list of runs")
		})
	}
}

// The log of a simulation replayed with the same prices is off by nothing, and by a tenth in
// all decoding times if the log was a tenth slower.
func TestReplayOfItsOwnLog(t *testing.T) {
	p, e := loaded(t, "a100-sxm-80gb", "vllm-v1")
	run := &Run{GPU: "g", Model: "Llama-3.1-8B", Tensor: 1, MaxSeqs: 64, Budget: 2048, KVTokens: 200_000}
	var log []calibrate.Timing
	for i := range 80 {
		log = append(log, calibrate.Timing{GPU: "g", Model: run.Model, Request: int64(i), Arrival: float64(i) / 4, Prompt: 100 + 13*i, Output: 50 + i, First: 1, Last: 2})
	}
	// What the simulator says of these arrivals becomes the log.
	times, err := simulated(run, log, p, e)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Replay(context.Background(), run, times, p, e)
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]Error{"TTFT": s.TTFT, "TPOT": s.TPOT, "E2E": s.E2E} {
		if x.Median > 1e-6 || x.P90 > 1e-6 || math.Abs(x.P99) > 1e-6 {
			t.Errorf("%s of its own log is off: %+v", name, x)
		}
	}
	for i := range times {
		times[i].Last = times[i].First + 1.1*(times[i].Last-times[i].First)
	}
	if s, err = Replay(context.Background(), run, times, p, e); err != nil {
		t.Fatal(err)
	}
	if want := 1 - 1/1.1; math.Abs(s.TPOT.Median-want) > 1e-6 || math.Abs(s.TPOT.P99+want) > 1e-6 || s.TTFT.Median > 1e-6 {
		t.Errorf("a log a tenth slower: TPOT %+v, want %.4f", s.TPOT, want)
	}
}

// simulated replaces the times of a log by those that the simulator gives it.
func simulated(run *Run, log []calibrate.Timing, p *hwmodel.Profile, e *hwmodel.Engine) ([]calibrate.Timing, error) {
	kept, err := simulate(context.Background(), run, log, p, e)
	out := append([]calibrate.Timing(nil), log...)
	for i := range out {
		s := kept[int64(i)]
		out[i].First, out[i].Last = s.First.Seconds(), s.Last.Seconds()
	}
	return out, err
}

func TestTogetherCountsWhoDecodesAtOnce(t *testing.T) {
	ts := []calibrate.Timing{{First: 0, Last: 2}, {First: 1, Last: 3}, {First: 2, Last: 4}, {First: 5, Last: 6}}
	if n := together(ts); n != 2 { // the third begins as the first ends
		t.Errorf("%d at once, want 2", n)
	}
}

func TestRunsAreRefused(t *testing.T) {
	const header = "gpu,model,tp,max_num_seqs,max_num_batched_tokens,max_model_len,kv_tokens\n"
	for _, x := range []struct{ text, want string }{
		{"gpu,model\na,b\n", `no column "tp"`},
		{header + "g,m,0,128,2048,,\n", "runs.csv:2: gpu and model must be named"},
		{header + "g,m,1,many,2048,,\n", `runs.csv:2: `},
	} {
		path := filepath.Join(t.TempDir(), "runs.csv")
		if err := os.WriteFile(path, []byte(x.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRuns(path); err == nil || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, want %q", x.text, err, x.want)
		}
	}
	p, e := loaded(t, "a100-sxm-80gb", "vllm-v1")
	run := &Run{GPU: "g", Model: "nobody's", Tensor: 1, MaxSeqs: 8, Budget: 512}
	if _, err := Replay(context.Background(), run, []calibrate.Timing{{GPU: "g", Model: "nobody's", Prompt: 1, Output: 1}}, p, e); err == nil || !strings.Contains(err.Error(), "shapes of model nobody's") {
		t.Errorf("a model without shapes: %v", err)
	}
	if _, err := Replay(context.Background(), run, nil, p, e); err == nil || !strings.Contains(err.Error(), "no request") {
		t.Errorf("an empty log: %v", err)
	}
}
