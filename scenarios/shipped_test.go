package scenarios

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"orrery/sim"
)

// brief cuts a scenario so that it runs in milliseconds.
func brief(t *testing.T, s *Scenario) *Scenario {
	t.Helper()
	var err error
	if s.Traffic.Source == sessions {
		s, err = s.With("traffic.sessions=20")
	} else {
		s, err = s.With("traffic.requests=60")
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run carries a scenario out, under the eyes of the laws.
func run(t *testing.T, s *Scenario, seed uint64) string {
	t.Helper()
	r, out, err := Run(context.Background(), s, seed, Options{Fingerprint: true})
	if err != nil {
		t.Fatalf("%s: %v", s.Name, err)
	}
	if out.Finished == 0 || r.Requests.Arrived != out.Arrived || r.Latency.E2E.Count != out.Finished {
		t.Errorf("%s: %+v, but the result has %+v", s.Name, out, r.Requests)
	}
	return r.Fingerprint
}

// Every scenario that comes with the program loads, obeys the laws and says the same
// twice, as do its variants.
func TestShippedScenariosRun(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			if s.Description == "" {
				t.Error("has no description")
			}
			all := append(s.Variants(), Variant{"itself", s})
			for _, v := range all {
				b := brief(t, v.Scenario)
				if once, again := run(t, b, 7), run(t, b, 7); once != again {
					t.Errorf("%s: fingerprint %s, the second time %s", v.Label, once, again)
				}
			}
		})
	}
}

// A resolved scenario says everything: loaded again it is the same, to the byte, and
// its run is the same, to the nanosecond.
func TestResolvedLoadsBack(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			s = brief(t, s)
			again, err := Parse("again.toml", s.Resolved())
			if err != nil {
				t.Fatalf("%v\n%s", err, s.Resolved())
			}
			if !bytes.Equal(s.Resolved(), again.Resolved()) {
				t.Errorf("resolved to\n%s\nthen to\n%s", s.Resolved(), again.Resolved())
			}
			if s.RunID(3) != again.RunID(3) || s.RunID(3) == s.RunID(4) {
				t.Errorf("run ids %s, %s and with another seed %s", s.RunID(3), again.RunID(3), s.RunID(4))
			}
			if a, b := run(t, s, 3), run(t, again, 3); a != b {
				t.Errorf("fingerprints %s and %s", a, b)
			}
		})
	}
}

// Files of the repository are the shipped ones, whatever the way of naming them.
func TestNamesOfAScenario(t *testing.T) {
	for _, name := range []string{"quickstart", "quickstart.toml", "scenarios/quickstart.toml", "./quickstart.toml", "papers/sarathi/yi-34b-chat"} {
		if _, err := Load(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The artefact's rules, as section 2 of the paper's setup has them.
func TestPaperScenariosFollowTheArtefact(t *testing.T) {
	for _, name := range Names() {
		if !strings.HasPrefix(name, "papers/sarathi/") {
			continue
		}
		sweep := name == "papers/sarathi/slo-sweep" // figure 12 varies the caps
		s, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		var labels []string
		for _, v := range s.Variants() {
			labels = append(labels, v.Label)
			e, err := v.Scenario.Build(1)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			l := e.Config.Replicas[0].Policy.Limits(s.Model.MaxLen)
			switch {
			case strings.HasPrefix(v.Label, "vllm") && (l.MaxSeqs != 128 && !sweep || l.MaxTokens != s.Model.MaxLen),
				strings.HasPrefix(v.Label, "sarathi") && (l.MaxSeqs != 128 || l.MaxTokens > 2048),
				strings.HasPrefix(v.Label, "orca") && (l.MaxSeqs > 16 || l.MaxTokens != l.MaxSeqs*s.Model.MaxLen):
				t.Errorf("%s, %s: limits %+v", name, v.Label, l)
			}
			if e.SLO.SchedulingDelayMedian.Seconds() != 2 || e.SLO.TBT == 0 || !e.SLO.IgnoreUnfinished || e.Config.Until != sim.Seconds(1800) {
				t.Errorf("%s, %s: objective %+v, until %v", name, v.Label, e.SLO, e.Config.Until)
			}
		}
		if got, want := strings.Join(labels, ", "), "orca strict, vllm strict, sarathi strict, orca relaxed, vllm relaxed, sarathi relaxed"; got != want && !sweep {
			t.Errorf("%s compares %s; want %s", name, got, want)
		}
	}
}

// data returns the path of a public trace, or skips the test where there is none.
func data(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; !exists(filepath.Join(dir, "go.mod")); dir = filepath.Dir(dir) {
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
	}
	p := filepath.Join(dir, "..", "shared", "data", name)
	if !exists(p) {
		t.Skipf("the public trace %s is not here", name)
	}
	return p
}

func exists(p string) bool {
	_, err := os.Stat(p)
	return err == nil
}

// The stand-in for a trace resembles the trace, and the trace takes its place when it
// is given.
func TestAzureConversations(t *testing.T) {
	file := data(t, "traces/azure_llm_2023_conv_0000_2400s.csv.gz")
	stand, err := Load("azure-conv")
	if err != nil {
		t.Fatal(err)
	}
	real, err := stand.With("traffic.file=" + file)
	if err != nil {
		t.Fatal(err)
	}
	a, _, err := Run(context.Background(), stand, 1, Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := Run(context.Background(), real, 1, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if b.Requests.Arrived != 14176 || b.Requests.Finished != 14176 {
		t.Errorf("replayed %+v; want all 14176 requests of the trace", b.Requests)
	}
	flagged := func(flags []string) bool { return strings.Contains(strings.Join(flags, "\n"), "stand in") }
	if !flagged(a.Flags) || flagged(b.Flags) {
		t.Errorf("flags of the stand-in %q, of the trace %q", a.Flags, b.Flags)
	}
	ratio := float64(a.Throughput.TotalTokensPerS) / float64(b.Throughput.TotalTokensPerS)
	if ratio < 0.9 || ratio > 1.1 {
		t.Errorf("the stand-in offers %.3f times the tokens of the trace", ratio)
	}
	half, err := real.AtRate(3)
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := Run(context.Background(), half, 1, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if rate := float64(c.Requests.Arrived) / c.EndS; rate < 2.9 || rate > 3.1 {
		t.Errorf("at a rate of 3 it replays %.3f requests a second", rate)
	}
}

// All public traces run as they are.
func TestTracesRun(t *testing.T) {
	if testing.Short() {
		t.Skip("replays hours of traffic")
	}
	for _, name := range []string{"azure_llm_2023_code", "mooncake_conversation_0000_2400s", "mooncake_synthetic", "servegen_reasoning_10h_11h"} {
		t.Run(name, func(t *testing.T) {
			file := data(t, "traces/"+name+".csv.gz")
			s, err := Load("azure-conv", "traffic.file="+file, "traffic.end=10m", "model.max_len=131072", "hardware.replicas=16", "policy.prefix_cache=true")
			if err != nil {
				t.Fatal(err)
			}
			run(t, s, 1)
		})
	}
}

// An override belongs to the policy that the file chose; a variant that chooses
// another drops it, as it would drop the file's own key.
func TestVariantsDropOverridesOfTheFormerChoice(t *testing.T) {
	s, err := Load("papers/sarathi/mistral-7b-chat", "policy.budget=1024")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range s.Variants() {
		if strings.HasPrefix(v.Label, "orca") && strings.Contains(string(v.Scenario.Resolved()), "budget") {
			t.Errorf("%s kept Sarathi's budget", v.Label)
		}
	}
	if _, err := Load("quickstart", "policy.batch=orca", "policy.budget=1024"); err == nil {
		t.Error("two overrides that contradict each other were accepted")
	}
}
