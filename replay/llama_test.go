package replay

import (
	"bufio"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"orrery/calibrate"
	"orrery/replay/internal/gguf"
)

// nodeLlama is the environment variable that says where node-llama-cpp is installed: a
// folder with node_modules in it, as made by
//
//	npm install --prefix FOLDER --ignore-scripts --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1
const nodeLlama = "ORRERY_NODE_LLAMA"

// startLlama serves a model of random weights by llama.cpp in a process of its own and
// returns its address.
func startLlama(t *testing.T, sequences string) string {
	t.Helper()
	folder := os.Getenv(nodeLlama)
	if folder == "" {
		t.Skipf("%s is not set; it names the folder where npm has put node-llama-cpp", nodeLlama)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "random.gguf")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	model := gguf.Model{Layers: 6, Hidden: 384, Heads: 6, KVHeads: 2, Intermediate: 1024, Context: 1024, Seed: 1}
	if err := model.Write(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("node", filepath.Join("testdata", "llama_server.mjs"), filepath.Join(folder, "node_modules"), path, sequences)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server did not start: %v", err)
	}
	return "http://127.0.0.1:" + strings.TrimSpace(port)
}

// A real engine in a process of its own is measured: every answer arrives, has as many
// tokens as asked for, to prompts of about the wanted length, and the iterations come out
// of the measurement.
func TestLlamaCPP(t *testing.T) {
	s, err := Dial(t.Context(), Target{URL: startLlama(t, "4"), API: Completions, Seed: 1, Connections: 100}, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(s.Describe())
	if s.prompt.perWord < 3 || s.prompt.perWord > 7 {
		t.Errorf("words of a letter a token have %g tokens", s.prompt.perWord)
	}
	c := load(source(t, 100, 15, 100, 30), s)
	out := Run(t.Context(), c)
	r := out.Result(Frame{})
	t.Logf("\n%s", r.Verdict())
	if r.Requests.Finished != 100 || r.Tokens.Output != 3000 || r.Measurement.Counted != 100 {
		t.Fatalf("%+v %+v", r.Requests, r.Measurement)
	}
	if off := math.Abs(float64(r.Measurement.PromptServed)/float64(r.Measurement.PromptAsked) - 1); off > 0.05 {
		t.Errorf("prompts are %.1f %% off", 100*off)
	}
	ttft, tpot, e2e := float64(r.Latency.TTFT.P50S), float64(r.Latency.TPOT.P50S), float64(r.Latency.E2E.P50S)
	if !(ttft > 0 && tpot > 0 && e2e >= ttft+tpot) {
		t.Errorf("TTFT %g, TPOT %g, E2E %g", ttft, tpot, e2e)
	}
	m := out.Measured("cpu", "random", "llama.cpp", r)
	fit, err := calibrate.FitRequests(m.Requests, calibrate.Rules{Budget: 512, MaxSeqs: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v; held out: decode %.1f %%, prefill %.1f %%", fit.Cost, 100*fit.Decode.HeldOutMedian, 100*fit.Prefill.HeldOutMedian)
	if fit.Decode.HeldOutMedian > 0.5 {
		t.Errorf("the iterations of a real engine are not found: %+v", fit.Decode)
	}
}
