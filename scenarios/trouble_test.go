package scenarios

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"orrery/cluster"
)

const troubled = `
[model]
name    = "llama-3.1-8b"
max_len = 8192
[hardware]
device = "a100-sxm-80gb"
[traffic]
rate     = 4.0
requests = 400
[faults]
crash_every = "1m"
crash_for   = "10s"
[[faults.event]]
at    = "20s"
kind  = "node"
group = "b"
for   = "5s"
[[group]]
name     = "a"
replicas = 1
[[group]]
name     = "b"
replicas = 2
start_up = "3s"
node_devices = 1
scale    = { requests = 10.0, most = 4, every = "5s" }
`

// Everything that is said of faults and scaling arrives at the cluster, and survives being
// resolved.
func TestTroubleIsBuilt(t *testing.T) {
	s := parseText(t, troubled)
	e, err := s.Build(1)
	if err != nil {
		t.Fatal(err)
	}
	r := e.Config.Replicas
	if len(r) != 5 || r[2].Off || !r[3].Off || !r[4].Off || r[1].StartUp != 3*time.Second || r[4].Nodes[0] != 4 {
		t.Errorf("replicas %+v", r)
	}
	if got := r[0].StartUp.Seconds(); got < 7.5 || got > 8.5 { // 16 GB at 2 GB/s
		t.Errorf("llama-3.1-8b starts in %v s", got)
	}
	if x := e.Config.Scalers; len(x) != 1 || x[0].Group != 1 || x[0].Most != 4 || x[0].Least != 1 || x[0].Every != 5*time.Second {
		t.Errorf("scalers %+v", x)
	}
	var node cluster.Fault
	for {
		f, ok := e.Config.Faults.Next()
		if !ok || f.At > 10*60e9 {
			break
		}
		if f.Kind == cluster.NodeLoss {
			node = f
		}
	}
	if node.At != 20e9 || node.Target != 1 || node.For != 5*time.Second {
		t.Errorf("the node's fault is %+v", node)
	}
	again := parseText(t, string(s.Resolved()))
	if a, b := s.Resolved(), again.Resolved(); !bytes.Equal(a, b) {
		t.Errorf("resolved once:\n%s\ntwice:\n%s", a, b)
	}
}

// The same seed gives the same run, and requests that lose their replica are served
// elsewhere.
func TestTroubleRuns(t *testing.T) {
	s := parseText(t, troubled)
	var prints []string
	for range 2 {
		r, _, err := Run(context.Background(), s, 5, Options{Fingerprint: true})
		if err != nil {
			t.Fatal(err)
		}
		if r.Requests.Finished != 400 || r.Requests.ReplicasLost == 0 || r.Tokens.Lost == 0 || len(r.Series.Provisioned) == 0 {
			t.Errorf("requests %+v, tokens %+v", r.Requests, r.Tokens)
		}
		prints = append(prints, r.Fingerprint)
	}
	if prints[0] != prints[1] {
		t.Error("two runs differ")
	}
	r, _, err := Run(context.Background(), parseText(t, troubled, `faults.retry="fail"`), 5, Options{})
	if err != nil || r.Requests.Failed == 0 || len(r.Requests.FailedBy) == 0 {
		t.Errorf("without retries: %+v, %v", r.Requests, err)
	}
}

func TestTroubleRefuses(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{`crash_every = "1m"`, ``, "faults.crash_for is 10s without crash_every; want that as well"},
		{`crash_every = "1m"`, `crash_every = "1us"`, "test.toml:11: faults.crash_every is 1µs; want at least 1s"},
		{`crash_every = "1m"`, "crash_every = \"1m\"\nretry = \"rsume\"", `there is no retry named "rsume"; did you mean resume?`},
		{`crash_every = "1m"`, "crash_every = \"1m\"\nslow_factor = -1.0", "faults.slow_factor is -1.0; want how many times as long everything takes, above 0"},
		{`kind  = "node"`, `kind  = "fire"`, `test.toml:15: faults.event[0].kind: there is no fault named "fire"`},
		{`group = "b"`, `group = "c"`, `test.toml:16: faults.event[0].group: there is no group named "c"`},
		{`group = "b"`, "group = \"b\"\nreplica = 4", "faults.event[0].replica is 4; want 0 to 3"},
		{`most = 4`, `most = 1`, "group[1].replicas is 2, above scale.most, 1; want at most that many"},
		{`requests = 10.0, `, ``, "group[1].scale.requests is missing; want the requests that each replica should have, or kv"},
		{`requests = 10.0, `, `policy = "reactve", `, `there is no policy of scaling named "reactve"; did you mean reactive?`},
		{`requests = 10.0, `, `high = 10.0, `, `group[1].scale.high does not apply here; it belongs to policy = "reactive"`},
		{`every = "5s"`, `every = "0s"`, "group[1].scale.every is 0s; want at least 1ms"},
		{`node_devices = 1`, "node_devices = 1\nnodes = 3", "group[1].nodes is 3, on which 3 of 4 replicas find room; want more"},
		{`node_devices = 1`, `place = "stack"`, `group[1].place is "stack"; want one of [pack spread]`},
	} {
		_, err := Parse("test.toml", []byte(strings.Replace(troubled, c.from, c.to, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", c.to, err, c.want)
		}
	}
}

const apart = `
[model]
name    = "llama-3.1-8b"
max_len = 8192
[hardware]
device = "a100-sxm-80gb"
[traffic]
rate     = 4.0
requests = 200
[network]
gbps    = 100.0
overlap = 0.5
[[group]]
name = "answers"
role = "decode"
[[group]]
name     = "prompts"
role     = "prefill"
replicas = 2
`

// Groups that decode come last, whatever their order in the file, and every answer of more
// than one token comes from there.
func TestRolesAreBuilt(t *testing.T) {
	s := parseText(t, apart)
	e, err := s.Build(1)
	if err != nil {
		t.Fatal(err)
	}
	if g := e.Config.Groups; g[0].Role != cluster.Prefill || g[1].Role != cluster.Decode || e.Config.Replicas[2].Group != 1 {
		t.Errorf("groups %+v", g)
	}
	if n := e.Config.Nodes; len(n) != 2 || n[0].Out != 12.5e9 || e.Config.Overlap != 0.5 {
		t.Errorf("network %+v, overlap %v", n, e.Config.Overlap)
	}
	r, _, err := Run(context.Background(), s, 1, Options{})
	if err != nil || r.Requests.Finished != 200 || r.Replicas[2].Iterations == 0 {
		t.Errorf("%+v, %v", r.Requests, err)
	}
	if again := parseText(t, string(s.Resolved())); !bytes.Equal(s.Resolved(), again.Resolved()) {
		t.Error("resolving it twice gives another scenario")
	}
}

func TestNetworkRefuses(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{`gbps    = 100.0`, `gbps    = -1.0`, "test.toml:11: network.gbps is -1.0; want a finite number, at least 0"},
		{`overlap = 0.5`, `overlap = 2.0`, "test.toml:12: network.overlap is 2.0; want a share of the KV cache, 0 to 1"},
		{`overlap = 0.5`, `inside_gbps = 0.0`, "test.toml:12: network.inside_gbps is 0.0; want Gbit/s, above 0"},
		{"role = \"decode\"", ``, "of the roles prefill and decode one is missing"},
		{"[network]", "[run]\nfirst_token = \"decode\"\n[network]", `run.first_token is "decode", but with groups that only decode`},
	} {
		_, err := Parse("test.toml", []byte(strings.Replace(apart, c.from, c.to, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", c.to, err, c.want)
		}
	}
}
