package report

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"orrery/cluster"
	"orrery/policies/batch"
	"orrery/sim"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run with -update and read the diff\n got:\n%s\nwant:\n%s", path, got, want)
	}
}

// summary runs a toy cluster at some rate under an SLO.
func (y toy) summary(t *testing.T, n int, rate float64, slo SLO) *Result {
	t.Helper()
	y.late = slo.TBT
	cfg := y.config(traffic(n, rate, 1))
	m := NewMetrics(Config{Replicas: Specs(cfg.Replicas), SLO: slo})
	m.Close(y.run(t, traffic(n, rate, 1), m).End)
	r := m.Summary()
	r.Identity = Identity{
		RunID: "3e0c1f6a", Scenario: "toy", Seed: 1, Version: "test", Model: "Toy-1B", Device: "1 x TOY-80GB", Policy: "a policy under test",
		Traffic: "Poisson arrivals, uniform lengths", Flags: []string{"uncalibrated device: TOY-80GB has no measured profile"}, Notes: []string{},
	}
	return r
}

// Each cause of trouble is told apart in a run made to suffer from it.
func TestVerdictNamesTheCause(t *testing.T) {
	sarathi := func() batch.Policy { return &batch.Sarathi{MaxSeqs: 64, Budget: 128, Watermark: 0.01} }
	tight := SLO{TTFT: 500 * time.Millisecond, TBT: 20 * time.Millisecond}
	for _, c := range []struct {
		file  string
		y     toy
		rate  float64
		slo   SLO
		cause Cause
	}{
		{"held", toy{policy: sarathi, blocks: 5000}, 20, tight, NothingLimits},
		{"compute", toy{policy: sarathi, blocks: 5000}, 400, tight, Compute},
		{"kv-memory", toy{policy: sarathi, blocks: 150}, 150, tight, KVMemory},
		{"slots", toy{policy: func() batch.Policy { return &batch.Sarathi{MaxSeqs: 2, Budget: 128} }, blocks: 5000}, 100, tight, SequenceSlots},
		{"prefill-stalls", toy{policy: func() batch.Policy { return &batch.VLLM{MaxSeqs: 64} }, blocks: 5000}, 60, SLO{TBT: 5 * time.Millisecond}, PrefillStalls},
		{"decode-time", toy{policy: sarathi, blocks: 5000}, 10, SLO{TPOT: time.Millisecond}, DecodeTime},
		{"prefill-time", toy{policy: sarathi, blocks: 5000}, 1, SLO{TTFT: time.Millisecond}, PrefillTime},
		{"bubbles", toy{policy: sarathi, blocks: 5000, stages: 4, slowest: 4, until: sim.Seconds(3)}, 240, tight, Bubbles},
		{"cut", toy{policy: sarathi, blocks: 5000, until: sim.Seconds(2)}, 400, SLO{TTFT: 100 * time.Millisecond}, Compute},
		{"no-slo", toy{policy: sarathi, blocks: 5000}, 20, SLO{}, NothingLimits},
	} {
		r := c.y.summary(t, 1000, c.rate, c.slo)
		v := r.Verdict()
		golden(t, "verdict-"+c.file+".txt", v)
		if r.Limit.Cause != c.cause {
			t.Errorf("%s: the cause is %q, want %q\n%s", c.file, r.Limit.Cause, c.cause, v)
		}
		lines := strings.Split(strings.TrimSuffix(v, "\n"), "\n")
		if len(lines) > 30 {
			t.Errorf("%s: %d lines do not fit on a screen", c.file, len(lines))
		}
		for _, l := range lines {
			if utf8.RuneCountInString(l) > width {
				t.Errorf("%s: %q is wider than the screen", c.file, l)
			}
		}
	}
}

// Equal runs give equal bytes.
func TestResultIsDeterministic(t *testing.T) {
	y := toy{policy: policies()["vllm-v1"], blocks: 400, replicas: 2}
	a, _ := y.summary(t, 300, 60, SLO{TTFT: time.Second}).JSON()
	b, _ := y.summary(t, 300, 60, SLO{TTFT: time.Second}).JSON()
	if string(a) != string(b) {
		t.Error("two equal runs have different results")
	}
}

// Compacting the JSON changes white space outside strings only.
func TestJSONKeepsStrings(t *testing.T) {
	r := &Result{Identity: Identity{Notes: []string{`a "[1, 2]" \`, "[ 3, 4 ]"}}, Series: Series{Waiting: []float64{1, 2.5}}}
	b, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(b, &back); err != nil || !slices.Equal(back.Notes, r.Notes) {
		t.Errorf("%v: %q became %q", err, r.Notes, back.Notes)
	}
	if !strings.Contains(string(b), `"waiting": [1,2.5],`) {
		t.Errorf("arrays are not on one line:\n%s", b)
	}
}

// A request of 101 tokens has 100 gaps, of which one may be late at 0.99.
func TestSLOOfARequest(t *testing.T) {
	s := SLO{TTFT: 10 * time.Millisecond, TBT: time.Millisecond, TPOT: 2 * time.Millisecond, E2E: time.Second}
	base := *served(0, 10, 101, 0, 0, 10, 210, 101)
	for _, c := range []struct {
		name   string
		change func(r *cluster.Served)
		met    bool
	}{
		{"as it is", func(*cluster.Served) {}, true},
		{"one late gap of a hundred", func(r *cluster.Served) { r.LateGaps = 1 }, true},
		{"two", func(r *cluster.Served) { r.LateGaps = 2 }, false},
		{"first token late by 1 ns", func(r *cluster.Served) { r.First++ }, false},
		{"mean gap a nanosecond too long", func(r *cluster.Served) { r.Last++ }, false},
		{"one token, no gaps", func(r *cluster.Served) { r.Emitted, r.Output, r.Last = 1, 1, r.First }, true},
	} {
		r := base
		c.change(&r)
		if s.Met(&r) != c.met {
			t.Errorf("%s: met is %v", c.name, !c.met)
		}
	}
	if err := (SLO{Quantile: 99}).Check(); err == nil {
		t.Error("a quantile of 99 is accepted")
	}
	if err := (SLO{TTFT: -1}).Check(); err == nil {
		t.Error("a negative bound is accepted")
	}
}

// Figures are short and carry their units.
func TestFigures(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{seconds(0.0123456), "12.3 ms"}, {seconds(0.9999), "1.00 s"}, {seconds(123.4), "123 s"}, {seconds(1.5e-7), "150 ns"}, {seconds(None), "-"},
		{seconds(4321), "4,321 s"}, {percent(0.999), "99.9 %"}, {percent(0.05), "5.0 %"}, {percent(1), "100 %"}, {percent(0), "0 %"},
		{count(-1234567), "-1,234,567"}, {count(999), "999"}, {figure(0.00031), "0.00031"}, {figure(0.5), "0.50"}, {figure(12345.6), "12,346"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
