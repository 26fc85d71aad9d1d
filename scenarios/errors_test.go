package scenarios

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// good is a scenario that the cases of [TestErrors] spoil. Its lines are counted in
// their messages.
const good = `
[model]
name = "mistral-7b"
max_len = 8192
[hardware]
device = "a100-pcie-80gb"
[policy]
batch = "sarathi"
budget = 512
[traffic]
rate = 2.0
requests = 100
[slo]
tbt = "100ms"
`

// Every mistake is answered by one line that says where it is and what would be
// right.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	empty := write("empty.csv", "arrived_at_s,prompt_tokens,output_tokens\n")
	torn := write("torn.csv", "arrived_at_s,prompt_tokens,output_tokens\n0,10,10\n1,10\n")
	write("fine.csv", "arrived_at_s,prompt_tokens,output_tokens\n0,10,10\n1,10,9\n")
	write("config.json", `{"architectures": ["GPT2LMHeadModel"]}`)

	for _, c := range []struct {
		name     string
		old, new string   // replaced in good; an empty old appends
		sets     []string // overrides
		want     string   // DIR stands for the folder of the file, "..." at the end for a list that another package owns
	}{
		{"not toml", "budget = 512", "budget = 5 12", nil,
			"s.toml:9: not TOML: expected a top-level item to end with a newline, comment, or EOF, but got '1' instead"},
		{"key twice", "budget = 512", "budget = 512\nbudget = 256", nil,
			"s.toml:10: not TOML: Key 'policy.budget' has already been defined."},
		{"unknown key", "budget = 512", "bugdet = 512", nil,
			"s.toml:9: there is no key policy.bugdet; did you mean budget?"},
		{"unknown key of a model", "max_len = 8192", "colour = 1", nil,
			"s.toml:4: there is no key model.colour; keys of [model] are max_len, name"},
		{"unknown section", "[traffic]", "[trafic]", nil,
			"s.toml:10: there is no section [trafic]; did you mean traffic?"},
		{"unknown section like no other", "[slo]", "[goals]", nil,
			"s.toml:13: there is no section [goals]; sections and keys of the top level are capacity, class, compare, cost, description, device, faults, fleet, group, hardware, model, name, network, output, plan, policy, pool, run, seed, slo, sweep, tier, traffic"},
		{"unknown key by override", "", "", []string{"policy.bugdet=4"},
			"--set policy.bugdet=4: there is no key policy.bugdet; did you mean budget?"},
		{"the first mistake of two", "name = \"mistral-7b\"", "nam = 1", []string{"slo.tbt=1"},
			"s.toml:3: there is no key model.nam; did you mean name?"},
		{"key of another policy", "budget = 512", "long_prefill = 512", nil,
			`s.toml:9: policy.long_prefill does not apply here; it belongs to batch = "vllm-v1"; want it removed, or that chosen`},
		{"key of another arrival process", "rate = 2.0", "rate = 2.0\ncv = 2.0", nil,
			`s.toml:12: traffic.cv does not apply here; it belongs to arrivals = "gamma"; want it removed, or that chosen`},
		{"key of another source", "rate = 2.0", "rate = 2.0\nclients = 4", nil,
			`s.toml:12: traffic.clients does not apply here; it belongs to source = "closed-loop"; want it removed, or that chosen`},
		{"wrong type", "budget = 512", `budget = "512"`, nil,
			`s.toml:9: policy.budget is the string "512"; want a whole number`},
		{"float for a count", "requests = 100", "requests = 1e2", nil,
			"s.toml:12: traffic.requests is 100.0; want a whole number"},
		{"number for a duration", `tbt = "100ms"`, "tbt = 0.1", nil,
			`s.toml:14: slo.tbt is 0.1; want a duration in quotes, such as "200ms" or "1m30s"`},
		{"not a duration", `tbt = "100ms"`, `tbt = "100"`, nil,
			`s.toml:14: slo.tbt is "100"; want a duration in quotes, such as "200ms" or "1m30s"`},
		{"negative duration", `tbt = "100ms"`, `tbt = "-1s"`, nil,
			"s.toml:14: slo.tbt is -1s; want a duration of at least 0"},
		{"value for a section", "\n[model]\nname = \"mistral-7b\"\nmax_len = 8192", "model = \"mistral-7b\"", nil,
			`s.toml:1: model is the string "mistral-7b"; want a table`},
		{"negative seed", "\n[model]", "seed = -1\n[model]", nil,
			"s.toml:1: seed is -1; want a whole number, at least 0"},
		{"negative rate", "rate = 2.0", "rate = -2.0", nil,
			"s.toml:11: traffic.rate is -2.0; want requests per second, above 0 and at most 1e9"},
		{"no rate", "rate = 2.0", "", nil,
			"s.toml:10: traffic.rate is missing; want requests per second, above 0"},
		{"rate zero", "rate = 2.0", "rate = 0", nil,
			"s.toml:11: traffic.rate is 0.0; want requests per second, above 0 and at most 1e9"},
		{"rate nan", "", "", []string{"traffic.rate=nan"},
			"--set traffic.rate=nan: traffic.rate is nan; want requests per second, above 0 and at most 1e9"},
		{"rate infinite", "rate = 2.0", "rate = inf", nil,
			"s.toml:11: traffic.rate is inf; want requests per second, above 0 and at most 1e9"},
		{"unknown model", "mistral-7b", "mistral-8b", nil,
			`s.toml:3: model.name: there is no model named "mistral-8b"; did you mean mistral-7b or mixtral-8x7b or mixtral-8x22b? (or give the path of a .toml or config.json)`},
		{"unknown architecture", `"mistral-7b"`, `"config.json"`, nil,
			`s.toml:3: model.name: DIR/config.json: architecture "GPT2LMHeadModel" is not known; want one of ...`},
		{"unknown device", "a100-pcie-80gb", "a100-80gb", nil,
			`s.toml:6: hardware.device: there is no device named "a100-80gb"; did you mean a100-sxm-80gb or a100-pcie-80gb?`},
		{"no device", `device = "a100-pcie-80gb"`, "", nil,
			"s.toml:5: hardware.device is missing; want one of a100-pcie-40gb, ..."},
		{"unknown engine", "", "", []string{"hardware.engine=vllm-v2"},
			`--set hardware.engine=vllm-v2: hardware.engine: there is no engine named "vllm-v2"; did you mean vllm-v0 or vllm-v1?`},
		{"unknown policy", `"sarathi"`, `"sarathy"`, nil,
			`s.toml:8: policy.batch: there is no batch policy named "sarathy"; did you mean sarathi?`},
		{"unknown router", "budget = 512", `route = "robin"`, nil,
			`s.toml:9: policy.route: there is no router named "robin"; did you mean round-robin?`},
		{"unknown table", "rate = 2.0", "rate = 2.0\nlengths = \"chats\"", nil,
			`s.toml:12: traffic.lengths: there is no table or distribution of lengths named "chats"; did you mean chat?`},
		{"unknown arrivals", "", "", []string{"traffic.arrivals=poison"},
			`--set traffic.arrivals=poison: traffic.arrivals: there is no arrival process named "poison"; did you mean poisson?`},
		{"unknown source", "", "", []string{"traffic.source=reply"},
			`--set traffic.source=reply: traffic.source: there is no traffic source named "reply"; did you mean replay?`},
		{"unknown cost", "", "", []string{"cost.kind=table"},
			`--set cost.kind=table: cost.kind: there is no cost model named "table"; did you mean tables?`},
		{"unknown link", "", "", []string{"hardware.link=nvlink"},
			`--set hardware.link=nvlink: hardware.link: there is no link named "nvlink"; did you mean nvlink-pair or nvlink-mesh?`},
		{"link the device has not", "", "", []string{"hardware.tensor=2", "hardware.link=nvswitch"},
			`--set hardware.link=nvswitch: hardware.link: there is no all-reduce link of a100-pcie-80gb named "nvswitch"; want one of ...`},
		{"model does not fit", `"mistral-7b"`, `"llama-2-70b"`, nil,
			"s.toml:6: hardware.device: llama-2-70b does not fit on a100-pcie-80gb with TP 1 x PP 1: needs 128.6 GiB a device, has 71.2; 2 devices (TP 2 x PP 1) would do"},
		{"heads not divided", "", "", []string{"hardware.tensor=3"},
			"--set hardware.tensor=3: hardware.tensor: tensor-parallel degree 3 does not divide the 32 heads of mistral-7b; want a degree that does, such as 1, 2, 4, 8, 16"},
		{"more stages than layers", "", "", []string{"hardware.pipeline=33"},
			"--set hardware.pipeline=33: hardware.pipeline: 33 pipeline stages are more than the 32 layers of mistral-7b; want a degree that does, such as 1 to 32"},
		{"no replicas", "", "", []string{"hardware.replicas=0"},
			"--set hardware.replicas=0: hardware.replicas is 0; want 1 to 100000"},
		{"memory fraction", "", "", []string{"hardware.memory_fraction=1.1"},
			"--set hardware.memory_fraction=1.1: hardware.memory_fraction is 1.1; want a share above 0, at most 1"},
		{"vllm cannot take the longest prompt", "budget = 512", "max_tokens = 4096", []string{"policy.batch=vllm"},
			"s.toml:9: policy.max_tokens is 4096, less than the longest sequence; want at least max_len, 8192, since prompts are computed whole (or 0 for max_len)"},
		{"no budget", "budget = 512", "budget = 0", nil,
			"s.toml:9: policy.budget is 0; want 1 to 16777216"},
		{"watermark", "budget = 512", "watermark = 1.0", nil,
			"s.toml:9: policy.watermark is 1; want a share from 0 up to, but not, 1"},
		{"orca cannot reserve", "", "", []string{"policy.batch=orca", "policy.max_seqs=63"},
			"--set policy.batch=orca: policy.batch is \"orca\", which reserves 512 KV blocks for each sequence, but a replica has 334; want a lower model.max_len or policy.max_seqs, or more memory"},
		{"host memory for no prefix cache", "", "", []string{"hardware.offload_gib=4"},
			"--set hardware.offload_gib=4: hardware.offload_gib is 4.0, but there is no prefix cache to keep parts of; want 0, or policy.prefix_cache = true"},
		{"swap without a policy that does", "", "", []string{"hardware.swap_gib=4"},
			"--set hardware.swap_gib=4: hardware.swap_gib is 4.0, but the batch policy sarathi does not swap; want 0, or policy.swap = true with vllm"},
		{"swap without room", "", "", []string{"policy.batch=vllm", "policy.swap=true"},
			"s.toml:5: hardware.swap_gib is 0, but the batch policy swaps; want the host memory of a replica, such as 4.0"},
		{"lengths beyond max_len", "", "", []string{"traffic.lengths=fixed", "traffic.prompt=8192", "traffic.output=1"},
			"--set traffic.lengths=fixed: traffic.lengths gives requests of at least 8193 tokens, beyond the longest sequence served; want at most model.max_len, 8192"},
		{"cap beyond max_len", "", "", []string{"traffic.max_total=9000"},
			"--set traffic.max_total=9000: traffic.max_total is 9000, beyond the longest sequence served; want at most model.max_len, 8192"},
		{"empty trace", "", "", []string{"traffic.source=replay", "traffic.file=" + empty},
			"--set traffic.file=DIR/empty.csv: traffic.file: DIR/empty.csv:2: the file has a header but no requests; want at least one line after it"},
		{"torn trace", "", "", []string{"traffic.source=replay", "traffic.file=" + torn},
			"--set traffic.file=DIR/torn.csv: traffic.file: DIR/torn.csv:3: the line has 2 fields; want 3 as in the header"},
		{"no such trace", "rate = 2.0", "source = \"replay\"\nfile = \"gone.csv\"", nil,
			"s.toml:12: traffic.file: open DIR/gone.csv: no such file or directory"},
		{"no trace", "rate = 2.0", `source = "replay"`, nil,
			"s.toml:10: traffic.file is missing; want the path of a trace, as in --set traffic.file=PATH"},
		{"window the wrong way round", "rate = 2.0", "source = \"replay\"\nfile = \"fine.csv\"\nstart = \"2m\"\nend = \"1m\"", nil,
			`s.toml:14: traffic.end is "1m0s", not after traffic.start, "2m0s"; want a later time, or "0s" for the end of the file`},
		{"window beyond the trace", "rate = 2.0", "source = \"replay\"\nfile = \"fine.csv\"\nstart = \"2m\"", nil,
			"s.toml:12: traffic.file: DIR/fine.csv: no request between traffic.start 120 and traffic.end 0 s; the last one of the file is at 1 s"},
		{"endless", "requests = 100", "", nil,
			`s.toml: run.until is not set and nothing else ends the run; want run.until = "10m", say, or a last request by way of [traffic]`},
		{"warm-up beyond the end", "", "[run]\nuntil = \"1m\"\nwarm_up = \"2m\"", nil,
			`s.toml:17: run.warm_up is "2m0s", not before run.until, "1m0s"; want less`},
		{"first token", "", "[run]\nfirst_token = \"late\"", nil,
			`s.toml:16: run.first_token is "late"; want "prefill" (as engines do) or "decode"`},
		{"quantile", `tbt = "100ms"`, "quantile = 99.0", nil,
			"s.toml:14: slo.quantile is 99.0; want a share between 0 and 1, such as 0.99"},
		{"rows", "", "[output]\nrows = [\"csv\", \"xls\"]", nil,
			`s.toml:16: output.rows[1] is "xls"; want "csv" or "parquet"`},
		{"bracket", "", "[capacity]\nlow = 4.0\nhigh = 2.0", nil,
			"s.toml:17: capacity.high is 2.0, not above capacity.low, 4.0; want more, or 0 for unknown"},
		{"variant without a label", "", "[[compare.variant]]\nset = {}", nil,
			"s.toml:15: compare.variant[0].label is missing; want a name for the variant"},
		{"mistake in a variant", "", "[[compare.variant]]\nlabel = \"a\"\n[[compare.variant]]\nlabel = \"b\"\nset = { policy.batch = \"vlm\" }", nil,
			`s.toml:19: variant "b": policy.batch: there is no batch policy named "vlm"; did you mean vllm?`},
		{"affine without blocks", "", "", []string{"cost.kind=affine", "cost.iteration=0.01", `model.name=""`, `hardware.device=""`},
			"s.toml:5: hardware.kv_blocks is missing; want the KV blocks of a replica, or [model] and hardware.device to count them by"},
		{"affine that runs backwards", "", "", []string{"cost.kind=affine", "cost.iteration=-0.01"},
			"--set cost.iteration=-0.01: cost.iteration is -0.01 seconds, must be 0 or more"},
		{"tables without a folder", "", "", []string{"cost.kind=tables"},
			"--set cost.kind=tables: cost.folder is missing; want the path of a folder of Vidur profiles"},
		{"no override", "", "", []string{"rate"},
			`--set rate: not an override; want key=value, such as traffic.rate=2.5 or policy.batch="vllm"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if c.old == "" {
				text = good + c.new
			} else if !strings.Contains(good, c.old) {
				t.Fatalf("the case replaces %q, which is not there", c.old)
			}
			_, err := Parse(filepath.Join(dir, "s.toml"), []byte(text), c.sets...)
			if err == nil {
				t.Fatal("was accepted")
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error of type %T", err)
			}
			got := strings.ReplaceAll(strings.ReplaceAll(err.Error(), filepath.Join(dir, "s.toml"), "s.toml"), dir, "DIR")
			if start, open := strings.CutSuffix(c.want, "..."); got != c.want && !(open && strings.HasPrefix(got, start)) {
				t.Errorf("said\n\t%s\nwant\n\t%s", got, c.want)
			}
			if strings.ContainsAny(got, "\n\r") {
				t.Error("more than one line")
			}
		})
	}
	if _, err := Parse("s.toml", []byte(good)); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// A scenario that is not there is answered with those that are.
func TestNoSuchScenario(t *testing.T) {
	for name, want := range map[string]string{
		"quikstart":   "quikstart: there is no such file, nor a shipped scenario of that name; did you mean quickstart?",
		"my/own.toml": "my/own.toml: there is no such file, nor a shipped scenario of that name; shipped are " + strings.Join(Names(), ", "),
	} {
		if _, err := Load(name); err == nil || err.Error() != want {
			t.Errorf("%s: %v; want %s", name, err, want)
		}
	}
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "cannot be read: is a directory") {
		t.Errorf("a folder: %v", err)
	}
}
