package llm

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func load(t *testing.T, name string) *Model {
	t.Helper()
	m, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestParamsAreThoseOfTheCheckpoints compares what follows from the shapes with the
// number of parameters that each checkpoint's publisher states (safetensors
// metadata).
func TestParamsAreThoseOfTheCheckpoints(t *testing.T) {
	published := map[string]int64{
		"mistral-7b":    7_241_732_096,
		"llama-2-7b":    6_738_415_616,
		"llama-2-70b":   68_976_648_192,
		"llama-3.1-8b":  8_030_261_248,
		"llama-3.1-70b": 70_553_706_496,
		"yi-34b":        34_388_917_248,
		"falcon-180b":   179_522_565_120,
		"qwen2.5-7b":    7_615_616_512,
		"qwen2.5-72b":   72_706_203_648,
		"mixtral-8x7b":  46_702_792_704,
		"orrery-25m":    25_698_816, // that package infer makes

		"codellama-34b":      33_743_970_304,
		"llama-2-13b":        13_015_864_320,
		"llama-3.1-405b":     405_853_388_800,
		"mistral-large-123b": 122_610_069_504,
		"mistral-nemo-12b":   12_247_782_400,
		"mixtral-8x22b":      140_620_634_112,
		"qwen3-8b":           8_190_735_360,
		"qwen3-14b":          14_768_307_200,
		"qwen3-32b":          32_762_123_264,
		"qwen3-30b-a3b":      30_532_122_624,
		"qwen3-235b-a22b":    235_093_634_560,
	}
	// Published in billions, or with what the shapes leave out: within 0.05 %.
	rounded := map[string]float64{"gpt-oss-120b": 116.83e9, "gpt-oss-20b": 20.91e9, "minimax-m2.5": 228.7e9}
	for _, name := range Names() {
		want, ok := published[name]
		if about := rounded[name]; about > 0 {
			if got := float64(load(t, name).Params()); math.Abs(got/about-1) > 5e-4 {
				t.Errorf("%s has %.0f parameters by its shapes, about %.0f published", name, got, about)
			}
			continue
		}
		if !ok {
			t.Errorf("%s has no published number of parameters in this test", name)
			continue
		}
		m := load(t, name)
		if got := m.Params(); got != want {
			t.Errorf("%s has %d parameters by its shapes, %d published", name, got, want)
		}
		if m.Name != name || m.Source == "" {
			t.Errorf("%s calls itself %q, source %q; want its file's name and a source", name, m.Name, m.Source)
		}
		if m.Experts == 0 && m.ActiveParams() != m.Params() {
			t.Errorf("%s is dense, yet only %d of its parameters compute a token", name, m.ActiveParams())
		}
	}
	// arXiv:2401.04088, section 2: "47B parameters, but only uses 13B active".
	if got := load(t, "mixtral-8x7b").ActiveParams(); got != 12_879_925_248 {
		t.Errorf("mixtral-8x7b has %d active parameters, want 12,879,925,248", got)
	}
}

func TestKVBytesPerToken(t *testing.T) {
	for name, want := range map[string]int64{
		"mistral-7b": 131_072, "yi-34b": 245_760, "llama-2-70b": 327_680, "falcon-180b": 163_840,
		"llama-2-7b": 524_288, "qwen2.5-7b": 57_344,
	} {
		if got := load(t, name).KVBytesPerToken(); got != want {
			t.Errorf("%s keeps %d bytes of KV a token, want %d", name, got, want)
		}
	}
}

func TestLoadSuggestsWhatWasMeant(t *testing.T) {
	for name, want := range map[string]string{
		"mixtral-8x":          `there is no model named "mixtral-8x"; did you mean mixtral-8x7b or `,
		"Llama2-70B":          `there is no model named "Llama2-70B"; did you mean llama-2-70b or llama-2-7b`,
		"gpt-4":               `there is no model named "gpt-4"; want one of codellama-34b, falcon-180b, `,
		"nowhere/config.json": "nowhere/config.json: no such file or directory",
	} {
		_, err := Load(name)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Load(%q): %v; want one line with %q", name, err, want)
		}
	}
}

const tiny = `name = "tiny"
layers = 2
hidden = 64
heads = 4
intermediate = 256
vocab = 100
max_len = 128
`

func TestParseTOMLFillsInWhatIsUsual(t *testing.T) {
	m, err := ParseTOML([]byte(tiny))
	if err != nil {
		t.Fatal(err)
	}
	if m.KVHeads != 4 || m.HeadDim != 16 || m.WeightBytes != 2 || m.KVBytes != 2 || m.NormsPerLayer != 2 {
		t.Errorf("defaults are %+v", m)
	}
	path := filepath.Join(t.TempDir(), "tiny.toml")
	if err := os.WriteFile(path, []byte(tiny), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := Load(path); err != nil || m.Name != "tiny" {
		t.Errorf("Load of its file: %v, %v", m, err)
	}
}

func TestParseTOMLSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{strings.Replace(tiny, "layers", "layer", 1), `line 2: there is no key named "layer"; did you mean layers`},
		{strings.Replace(tiny, "layers = 2", "layers = 2.5", 1), "line 2"},
		{strings.Replace(tiny, "layers = 2", "layers = ", 1), "line 2"},
		{strings.Replace(tiny, "layers = 2", "layers = -2", 1), "layers is -2; want a number from 1 to 4096"},
		{strings.Replace(tiny, "layers = 2\n", "", 1), "layers is missing"},
		{strings.Replace(tiny, "heads = 4", "heads = 5", 1), "5 heads do not share the hidden width 64 evenly"},
		{tiny + "kv_heads = 3\n", "heads is 4 and kv_heads 3; want heads to be a multiple of kv_heads"},
		{tiny + "experts = 4\n", "experts_per_token is 0; want a number from 1 to the 4 experts"},
		{tiny + "[extra]\na = 1\n", `line 8: there is no key named "extra"`},
		{"", "name is missing"},
	} {
		_, err := ParseTOML([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q:\ngot  %v\nwant one line with %q", c.text, err, c.want)
		}
	}
}

func TestLineOfNamesTheLine(t *testing.T) {
	text := []byte("a = 1\n\n [b.c]\n\"d\" = 2\nmodel.x = 3\n")
	for key, want := range map[string]int{"a": 1, "b": 3, "b.c": 3, "d": 4, "model.x": 5, "e": 0} {
		if got := lineOf(text, key); got != want {
			t.Errorf("%s is on line %d, want %d", key, got, want)
		}
	}
}

func TestCanSplitFollowsTheHeads(t *testing.T) {
	for _, c := range []struct {
		model string
		p     Parallel
		want  string // "" if it can
	}{
		{"mistral-7b", Parallel{1, 1}, ""},
		{"mistral-7b", Parallel{16, 1}, ""}, // two copies of each of 8 KV heads
		{"mistral-7b", Parallel{3, 1}, "tensor-parallel degree 3 does not divide the 32 heads of mistral-7b"},
		{"qwen2.5-7b", Parallel{7, 1}, "tensor-parallel degree 7 is neither a divisor nor a multiple of the 4 key/value heads of qwen2.5-7b"},
		{"falcon-180b", Parallel{4, 2}, ""},
		{"falcon-180b", Parallel{16, 1}, "tensor-parallel degree 16 does not divide the 232 heads of falcon-180b"},
		{"mistral-7b", Parallel{1, 33}, "33 pipeline stages are more than the 32 layers of mistral-7b"},
		{"mistral-7b", Parallel{0, 1}, "parallel degrees are TP 0 x PP 1; want at least 1 each"},
	} {
		err := load(t, c.model).CanSplit(c.p)
		if got := errText(err); got != c.want {
			t.Errorf("%s with %v: %q, want %q", c.model, c.p, got, c.want)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestStagesShareTheLayers(t *testing.T) {
	m := load(t, "mistral-7b")
	for stages := 1; stages <= m.Layers; stages++ {
		sum, least, most := 0, m.Layers, 0
		for s := range stages {
			n := m.StageLayers(stages, s)
			sum, least, most = sum+n, min(least, n), max(most, n)
		}
		if sum != m.Layers || most-least > 1 {
			t.Errorf("%d stages have %d layers in all, from %d to %d; want %d, alike", stages, sum, least, most, m.Layers)
		}
		if last := m.StageLayers(stages, stages-1); last != least {
			t.Errorf("the last of %d stages has %d layers, another %d; it has the LM head, want no more", stages, last, least)
		}
	}
}
