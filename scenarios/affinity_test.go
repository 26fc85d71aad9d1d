package scenarios

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"orrery/report"
)

// under runs a scenario under some router.
func under(t *testing.T, name, router string, settings ...string) *report.Result {
	t.Helper()
	s, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = s.With(append(settings, "policy.route="+router)...); err != nil {
		t.Fatal(err)
	}
	r, _, err := Run(context.Background(), s, 1, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func hits(r *report.Result) float64 { return float64(r.Tokens.Cached) / float64(r.Tokens.Prompt) }

// better fails unless a router finds at least so many times the cached tokens of least
// outstanding, and shortens the median TTFT to the given share of its.
func better(t *testing.T, router string, base, r *report.Result, times, share float64) {
	t.Helper()
	was, is := float64(base.Latency.TTFT.P50S), float64(r.Latency.TTFT.P50S)
	t.Logf("%s: hits %.1f %% against %.1f %%, median TTFT %.1f ms against %.1f ms", router, 100*hits(r), 100*hits(base), is*1e3, was*1e3)
	if hits(r) < times*hits(base) || is > share*was {
		t.Errorf("%s: want %v times the hits and %v of the TTFT", router, times, share)
	}
}

// Going where the conversation is cached raises hits and shortens TTFT.
func TestAffinityServesConversations(t *testing.T) {
	short := "traffic.duration=2m"
	base := under(t, "affinity", "least-outstanding", short)
	for _, router := range []string{"prefix-affinity", "prefix-cost", "session-affinity", "weighted"} {
		better(t, router, base, under(t, "affinity", router, short), 2, 0.5)
	}
}

// So it does on a recorded trace with block ids.
func TestAffinityOnMooncake(t *testing.T) {
	file, err := filepath.Abs("../../shared/data/traces/mooncake_conversation_0000_2400s.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Skip("needs the trace of Mooncake: ", err)
	}
	mooncake := []string{"traffic.source=replay", "traffic.file=" + file, "traffic.jitter=3s", "traffic.rate=0", "model.max_len=131072", "hardware.replicas=16"}
	base := under(t, "affinity", "least-outstanding", mooncake...)
	for _, router := range []string{"prefix-affinity", "prefix-cost", "weighted"} {
		better(t, router, base, under(t, "affinity", router, mooncake...), 3, 0.85)
	}
}

// Where one prompt is much more popular than others, affinity that heeds no load overruns
// its replica: the tail of TTFT is many times that by load, and heeding load cures it.
func TestAffinityAloneOverrunsTheReplicaOfAPopularPrompt(t *testing.T) {
	base := under(t, "affinity-hot", "least-outstanding")
	alone := under(t, "affinity-hot", "prefix-affinity", "policy.imbalance_requests=1000000")
	heeding := under(t, "affinity-hot", "prefix-affinity", "policy.imbalance_requests=4")
	was, worst, cured := base.Latency.TTFT.WithUnfinished.P99S, alone.Latency.TTFT.WithUnfinished.P99S, heeding.Latency.TTFT.WithUnfinished.P99S
	if worst < 10*was || cured > was {
		t.Errorf("p99 TTFT %v s by load, %v s by affinity alone, %v s by affinity that heeds load; want the second ten times the first, and the third no worse", was, worst, cured)
	}
}

// Every router that scenarios know runs under the laws, and says the same twice.
func TestEveryRouterRuns(t *testing.T) {
	s, err := Load("affinity")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, r := range Routers() {
		settings := []string{"policy.route=" + r.Name, "policy.view_delay=20ms", "traffic.sessions=100"}
		if r.Name == "shared-queue" {
			settings = append(settings, "policy.slots=2") // more are never full, and then it is as least-outstanding
		}
		own, err := s.With(settings...)
		if err != nil {
			t.Fatal(err)
		}
		once, again := run(t, own, 3), run(t, own, 3)
		if once != again {
			t.Errorf("%s: fingerprint %s, the second time %s", r.Name, once, again)
		}
		if other, ok := seen[once]; ok {
			t.Errorf("%s routes as %s does", r.Name, other)
		}
		seen[once] = r.Name
	}
}

// A wrong setting of a router is one line that says what would be right.
func TestRouterSettings(t *testing.T) {
	for _, c := range []struct{ route, setting, want string }{
		{"shared-queue", "slots=0", `policy.slots is 0; want 1 to 1073741824`},
		{"power-of-d", "choices=0", `policy.choices is 0; want 1 to 1000`},
		{"least-tokens", "speeds=[1, 0]", `policy.speeds[1] is 0.0; want 1e-6 to 1e6, relative to the other groups`},
		{"prefix-affinity", "min_match=1", `policy.min_match is 1; want a share of the prompt from 0 up to, but not, 1`},
		{"prefix-affinity", "imbalance_ratio=0.5", `policy.imbalance_ratio is 0.5; want a factor of 1 to 1e6`},
		{"prefix-cost", "match_weight=-1", `policy.match_weight is -1; want 0 to 1e6 tokens of load for a cached one`},
		{"session-affinity", "sessions_kept=-1", `policy.sessions_kept is -1; want 0 to 1073741824`},
		{"weighted", "kv_weight=-2", `policy.kv_weight is -2.0; want a weight of 0 to 1e6`},
		{"weighted", "load_limit=0", `policy.load_limit is 0; want at least 1 request`},
		{"random", "view_delay=25h", `policy.view_delay is "25h0m0s"; want at most "24h0m0s"`},
		{"random", "view_delay=-1s", `policy.view_delay is -1s; want a duration of at least 0`},
	} {
		s, err := Load("affinity")
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.With("policy.route="+c.route, "policy."+c.setting)
		e, ok := err.(*Error)
		if !ok || e.Msg != c.want {
			t.Errorf("%s, %s: %v; want %s", c.route, c.setting, err, c.want)
		}
	}
}
