package llm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func hfFile(name string) string { return filepath.Join("testdata", "hf", name, "config.json") }

// TestFromHFAgreesWithTheModelFiles reads the config.json of models that come with
// the program, and of some that do not, whose published numbers of parameters it
// must give.
func TestFromHFAgreesWithTheModelFiles(t *testing.T) {
	params := map[string]int64{
		"falcon-7b":         6_921_720_704, // transformers ties the LM head, which the checkpoint stores twice
		"qwen1.5-moe-a2.7b": 14_315_784_192,
		"qwen3-8b":          8_190_735_360,
	}
	files, err := filepath.Glob(hfFile("*"))
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d files in testdata/hf: %v", len(files), err)
	}
	for _, file := range files {
		got := load(t, file)
		name := filepath.Base(filepath.Dir(file))
		if slices.Contains(Names(), name) {
			want := *load(t, name)
			want.Name, want.Source = got.Name, got.Source
			if *got != want {
				t.Errorf("%s:\ngot  %+v\nwant %+v", name, *got, want)
			}
			continue
		}
		if got.Params() != params[name] {
			t.Errorf("%s has %d parameters by its shapes, %d published", name, got.Params(), params[name])
		}
		if got.Name != name {
			t.Errorf("%s calls itself %q; want its folder's name", name, got.Name)
		}
	}
	if got := load(t, hfFile("llama-2-7b")).Name; got != "llama-2-7b-hf" {
		t.Errorf("name is %q; want what _name_or_path ends in, llama-2-7b-hf", got)
	}
}

func TestFromHFReadsFalconsVariants(t *testing.T) {
	base, err := os.ReadFile(hfFile("falcon-7b"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		edit            [2]string
		kv, norms       int
		parallel, biasd bool
	}{
		{[2]string{"", ""}, 1, 1, true, false},
		{[2]string{`"multi_query": true`, `"multi_query": false`}, 71, 1, true, false},
		{[2]string{`"parallel_attn": true`, `"parallel_attn": false`}, 1, 2, false, false},
		{[2]string{`"new_decoder_architecture": false`, `"new_decoder_architecture": true, "num_kv_heads": 71`}, 71, 2, true, false},
		{[2]string{`"alibi": false`, `"alibi": true, "num_ln_in_parallel_attn": null`}, 1, 1, true, false},
		{[2]string{`"bias": false`, `"bias": true`}, 1, 1, true, true},
		{[2]string{`"num_attention_heads": 71`, `"n_head": 71`}, 1, 1, true, false},
	} {
		m, err := FromHF([]byte(strings.Replace(string(base), c.edit[0], c.edit[1], 1)))
		if err != nil {
			t.Errorf("%s: %v", c.edit[1], err)
			continue
		}
		if m.KVHeads != c.kv || m.NormsPerLayer != c.norms || m.ParallelBlock != c.parallel || m.MLPBias != c.biasd || m.MaxLen != 2048 || m.Gated {
			t.Errorf("%s: read as %+v", c.edit[1], *m)
		}
	}
}

func TestFromHFStretchesTheLongestSequence(t *testing.T) {
	base, err := os.ReadFile(hfFile("qwen2.5-7b"))
	if err != nil {
		t.Fatal(err)
	}
	for scaling, want := range map[string]int{
		`null`: 131072,
		`{"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}`: 131072,
		`{"type": "linear", "factor": 2.0}`:                                          262144,
		`{"rope_type": "llama3", "factor": 8.0}`:                                     131072,
	} {
		m, err := FromHF([]byte(strings.Replace(string(base), "{", `{"rope_scaling": `+scaling+",", 1)))
		if err != nil || m.MaxLen != want {
			t.Errorf("rope_scaling %s: %v, %+v; want a max_len of %d", scaling, err, m, want)
		}
	}
}

func TestFromHFSaysWhatIsWrong(t *testing.T) {
	mistral, err := os.ReadFile(hfFile("mistral-7b"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, want string }{
		{"MistralForCausalLM", "BertModel", `architecture "BertModel" is not known; want one of FalconForCausalLM, `},
		{`"architectures": ["MistralForCausalLM"],`, "", "architectures is missing"},
		{`"hidden_size": 4096,`, "", "hidden_size is missing"},
		{`"num_key_value_heads": 8,`, "", "num_key_value_heads is missing"},
		{`"num_key_value_heads": 8`, `"num_key_value_heads": 7`, "want heads to be a multiple of kv_heads"},
		{`"num_hidden_layers": 32`, `"num_hidden_layers": -1`, "layers is -1; want a number from 1 to 4096"},
		{`"num_hidden_layers": 32`, `"num_hidden_layers": "32"`, "line 11: num_hidden_layers is a string; want an integer"},
		{`"num_hidden_layers": 32`, `"num_hidden_layers": 1e30`, "want an integer"},
		{`"num_attention_heads": 32`, `"num_attention_heads": 0`, "0 heads do not share the hidden width 4096 evenly"},
		{`"hidden_size": 4096`, `"hidden_size": 9999999`, "32 heads do not share the hidden width 9999999 evenly"},
		{`"torch_dtype": "bfloat16"`, `"torch_dtype": "int4"`, `torch_dtype is "int4"; want float16, bfloat16 or float32`},
		{`"use_cache": true`, `"quantization_config": {"quant_method": "awq"}`, `weights quantised by "awq" are not modelled`},
		{`"use_cache": true,`, `"use_cache": true`, "line 19: this is no JSON"},
		{`"use_cache": true`, `"rope_scaling": {"type": "linear", "factor": -1}`, "rope_scaling.factor is -1; want a number from 1 to 1024"},
	} {
		text := strings.Replace(string(mistral), c.from, c.to, 1)
		if text == string(mistral) {
			t.Fatalf("%q is not in the file", c.from)
		}
		_, err := FromHF([]byte(text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s -> %s:\ngot  %v\nwant one line with %q", c.from, c.to, err, c.want)
		}
	}
	for text, want := range map[string]string{
		"":     "line 1: this is no JSON",
		"[1]":  "line 1: this is a JSON array; want an object",
		"null": "architectures is missing",
	} {
		if _, err := FromHF([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

// FuzzFromHF checks that whatever is accepted can be used.
func FuzzFromHF(f *testing.F) {
	files, err := filepath.Glob(hfFile("*"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := FromHF(data)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of more than one line: %q", err)
			}
			return
		}
		if err := m.Validate(); err != nil {
			t.Error(err)
		}
		if m.Params() <= 0 || m.KVBytesPerToken() <= 0 || m.ActiveParams() > m.Params() {
			t.Errorf("%+v has %d parameters, %d of them active", m, m.Params(), m.ActiveParams())
		}
	})
}
