package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"orrery/cluster"
)

// Every way of writing a key, with the line that it stands on.
func TestLinesOf(t *testing.T) {
	text := strings.Join([]string{
		`# a = 1`, // 1
		`a = 1 # [not.a.table]`,
		`"b c" . d = "x = 1 # no"`,
		`m = """`,
		`[no]`, // 5
		`no = 1"""`,
		`n = '''it's'''''`,
		`list = [`,
		`  { x = 1, y = 2 },`,
		`  # x = 3`, // 10
		`  { x = "}]" },`,
		`]`,
		`e.f = { g.h = 1, i = [1, 2] }`,
		`[t]`,
		`k = 1979-05-27`, // 15
		`[t.u]`,
		`k = -1.5e3`,
		`[[v]]`,
		`k = 1`,
		`[[v.w]]`, // 20
		`k = 1`,
		`[[ v ]]`,
		`k = true`,
		`[v.z]`,
		`"k.k" = 'x'`, // 25
	}, "\n")
	if _, err := toml.Decode(text, new(map[string]any)); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{
		"a": 2, "b c": 3, "b c.d": 3, "m": 4, "n": 7, "list": 8, "list[0]": 9, "list[0].x": 9, "list[0].y": 9,
		"list[1]": 11, "list[1].x": 11, "e": 13, "e.f": 13, "e.f.g": 13, "e.f.g.h": 13, "e.f.i": 13, "e.f.i[0]": 13, "e.f.i[1]": 13,
		"t": 14, "t.k": 15, "t.u": 16, "t.u.k": 17, "v": 18, "v[0]": 18, "v[0].k": 19, "v[0].w": 20, "v[0].w[0]": 20, "v[0].w[0].k": 21,
		"v[1]": 22, "v[1].k": 23, "v[1].z": 24, "v[1].z.k.k": 25,
	}
	got := linesOf(text)
	for path, line := range want {
		if got[path] != line {
			t.Errorf("%s is on line %d; want %d", path, got[path], line)
		}
	}
	if len(got) != len(want) {
		t.Errorf("found %d paths, want %d: %v", len(got), len(want), got)
	}
}

// An override of a choice drops the keys of the part that it replaces, if they stand
// in the file; it is no licence to misspell.
func TestOverrideReplacesAPart(t *testing.T) {
	s, err := Parse("s.toml", []byte(good), "policy.batch=orca", "traffic.arrivals=gamma", "traffic.cv=2")
	if err != nil {
		t.Fatal(err)
	}
	if s.Policy.Batch != "orca" || bytes.Contains(s.Resolved(), []byte("budget")) {
		t.Errorf("resolved to %s", s.Resolved())
	}
	if s, err = s.With("policy.batch=sarathi"); err != nil || !bytes.Contains(s.Resolved(), []byte("budget = 512")) {
		t.Errorf("and back: %v, %s", err, s.Resolved())
	}
	if _, err := s.With("policy.batch=orca", "policy.budget=3"); err == nil {
		t.Error("an override of a key that orca has not was accepted")
	}
	closed, err := Parse("s.toml", []byte(good), "traffic.source=closed-loop")
	if err != nil {
		t.Fatal(err)
	}
	want := `traffic.rate=3.0: traffic.rate does not apply here; it belongs to source = "replay" or arrivals = "poisson"`
	if _, err := closed.AtRate(3); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a closed loop at a rate: %v", err)
	}
}

// Overrides are TOML; what is not, is a string.
func TestOverrides(t *testing.T) {
	s, err := Parse("s.toml", []byte(good),
		"slo.ttft=2s", `slo.tpot = "50ms"`, "name=a b", "traffic.rate=3", "output.rows=['csv']", "policy.prefix_cache=true", "slo.tbt=1s", "slo.tbt=70ms")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`ttft = "2s"`, `tpot = "50ms"`, `name = "a b"`, "rate = 3.0", `rows = ["csv"]`, "prefix_cache = true", `tbt = "70ms"`} {
		if !bytes.Contains(s.Resolved(), []byte(want+"\n")) {
			t.Errorf("no %s in\n%s", want, s.Resolved())
		}
	}
}

// Paths in a file start at its folder, those of overrides where the program runs.
func TestRelativePaths(t *testing.T) {
	dir := t.TempDir()
	text := strings.Replace(good, "rate = 2.0", "rate = 2.0\nlengths = \"file\"\nfile = \"lengths.csv\"", 1)
	var e *Error
	_, err := Parse(filepath.Join(dir, "s.toml"), []byte(text))
	if !errors.As(err, &e) || !strings.Contains(e.Msg, filepath.Join(dir, "lengths.csv")) {
		t.Errorf("in the file: %v", err)
	}
	here, _ := filepath.Abs("lengths.csv")
	_, err = Parse(filepath.Join(dir, "s.toml"), []byte(text), "traffic.file=lengths.csv")
	if !errors.As(err, &e) || !strings.Contains(e.Msg, here) {
		t.Errorf("by override: %v", err)
	}
}

// With affine costs and KV blocks given, a run needs neither model nor device, and its
// times can be worked out by hand.
func TestAffineByHand(t *testing.T) {
	s, err := Parse("s.toml", []byte(`
[model]
max_len = 1000
[hardware]
kv_blocks = 100
[cost]
kind = "affine"
iteration = 0.010
prefill_token = 0.0001
sequence = 0.001
[policy]
batch = "sarathi"
budget = 200
[traffic]
arrivals = "constant"
rate = 0.5
lengths = "fixed"
prompt = 300
output = 3
requests = 2
`))
	if err != nil {
		t.Fatal(err)
	}
	r, out, err := Run(context.Background(), s, 1, Options{})
	if err != nil {
		t.Fatal(err)
	}
	// The prompt takes chunks of 200 and 100 tokens: 31 and 21 ms; two more tokens take
	// 11 ms each. The second request comes at 4 s.
	const ttft, tbt = 0.052, 0.011
	if got := float64(r.Latency.TTFT.MeanS); !near(got, ttft) {
		t.Errorf("TTFT %v s; want %v", got, ttft)
	}
	if got := float64(r.Latency.TBT.MaxS); !near(got, tbt) {
		t.Errorf("TBT %v s; want %v", got, tbt)
	}
	if got, want := out.End.Seconds(), 4+ttft+2*tbt; got != want {
		t.Errorf("ended at %v s; want %v", got, want)
	}
}

func near(a, b float64) bool { return a > 0.99*b && a < 1.01*b }

// JSON has the keys and the values of TOML.
func TestJSON(t *testing.T) {
	s, err := Load("vllm-vs-sarathi", "policy.batch=sarathi-dynamic")
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var fromJSON, fromTOML map[string]any
	if err := json.Unmarshal(data, &fromJSON); err != nil {
		t.Fatal(err)
	}
	if _, err := toml.Decode(string(s.Resolved()), &fromTOML); err != nil {
		t.Fatal(err)
	}
	// By way of JSON all numbers are floats.
	if data, err = json.Marshal(fromTOML); err != nil {
		t.Fatal(err)
	}
	fromTOML = nil
	if err := json.Unmarshal(data, &fromTOML); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(fromJSON, fromTOML) {
		t.Errorf("JSON has\n%v\nTOML has\n%v", fromJSON, fromTOML)
	}
}

// A cancelled run is not an error: what was finished is kept, marked partial.
func TestCancelledRunIsPartial(t *testing.T) {
	s, err := Load("quickstart")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stop := recorder(func(r *cluster.Record) {
		if r.What == cluster.Finished && r.Request.ID == 100 {
			cancel()
		}
	})
	r, out, err := Run(ctx, s, 1, Options{Recorders: []cluster.Recorder{stop}})
	if err != nil || !out.Stopped || !r.Partial || out.Finished < 50 || out.Finished >= 2000 {
		t.Errorf("%v, %+v, partial %v", err, out, r.Partial)
	}
}

type recorder func(r *cluster.Record)

func (f recorder) Record(r *cluster.Record) { f(r) }

// Random routers draw from a stream of their own: traffic is the same under each.
func TestRoutersShareTraffic(t *testing.T) {
	base, err := Load("multi-replica", "traffic.requests=2000")
	if err != nil {
		t.Fatal(err)
	}
	type request struct{ at, prompt, output int64 }
	var first []request
	for _, v := range base.Variants() {
		var got []request
		_, _, err := Run(context.Background(), v.Scenario, 5, Options{Recorders: []cluster.Recorder{recorder(func(r *cluster.Record) {
			if r.What == cluster.Arrived {
				got = append(got, request{int64(r.At), int64(r.Request.Prompt), int64(r.Request.Output)})
			}
		})}})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = got
		}
		for i := range first {
			if got[i] != first[i] {
				t.Fatalf("%s: request %d is %v; %v under the first router", v.Label, i, got[i], first[i])
			}
		}
	}
}

// Whatever the text, the answer is a scenario or one line; and a scenario that
// is accepted resolves to one that is accepted, and is the same.
func FuzzParse(f *testing.F) {
	for _, name := range Names() {
		data, err := shipped.ReadFile(name + ".toml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data), "")
	}
	f.Add(good, "policy.batch=orca")
	f.Add(good, `traffic={source="sessions",rate=1,sessions=2}`)
	f.Add(good, "compare.variant=[{label='x',set={slo={tbt='1s'}}}]")
	f.Fuzz(func(t *testing.T, text, set string) {
		var sets []string
		if set != "" {
			sets = []string{set}
		}
		s, err := Parse("fuzz.toml", []byte(text), sets...)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("error %T: %q", err, err)
			}
			return
		}
		again, err := Parse("again.toml", s.Resolved())
		if err != nil {
			t.Fatalf("accepted, but its resolved form is not: %v\n%s", err, s.Resolved())
		}
		if !bytes.Equal(again.Resolved(), s.Resolved()) {
			t.Fatalf("resolved to\n%s\nthen to\n%s", s.Resolved(), again.Resolved())
		}
	})
}
