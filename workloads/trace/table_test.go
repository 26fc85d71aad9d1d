package trace

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const (
	azure    = "Patel et al., Splitwise: Efficient generative LLM inference using phase splitting, ISCA 2024"
	mooncake = "Qin et al., Mooncake: Trading more storage for less computation, FAST 2025"
	servegen = "Xiang et al., ServeGen, arXiv 2505.09999"
)

// tableSources says what each embedded table is derived from.
var tableSources = []struct {
	name, file string
	Quantiles
}{
	{"chat", "lengths_sharegpt_openchat_8k.csv.gz", Quantiles{
		Title:  "chat rounds of openchat_sharegpt4, Llama-2 tokens, total at most 8192: the chat workload of the Sarathi-Serve paper",
		Source: "github.com/microsoft/sarathi-serve, data/processed_traces/sharegpt_8k_filtered_stats_llama2_tokenizer.csv", Licence: "Apache-2.0", MaxTotal: 8192}},
	{"arxiv-16k", "lengths_arxiv_summarization_16k_fitted.csv.gz", Quantiles{
		Title:  "synthetic: fitted to the published quantiles of arxiv_summarization, total at most 16384",
		Source: "published statistics (Sarathi-Serve, OSDI 2024, table 2); the shortest 17 % of prompts follow the data of arxiv-4k", Licence: "that of this project; the part from arxiv-4k MIT", MaxTotal: 16384}},
	{"arxiv-4k", "lengths_arxiv_summarization_4k.csv.gz", Quantiles{
		Title:  "article summarisation, arxiv_summarization, Llama-2 tokens, total at most 4096",
		Source: "github.com/microsoft/vidur, data/processed_traces/arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv", Licence: "MIT", MaxTotal: 4096}},
	{"bwb", "lengths_bwb_4k.csv.gz", Quantiles{
		Title:  "document translation (BWB), Llama-2 tokens, total at most 4096; outputs longer than prompts",
		Source: "github.com/project-etalon/etalon, data/processed_traces/bwb_stats_llama2_tokenizer_filtered_v2.csv", Licence: "Apache-2.0", MaxTotal: 4096}},
	{"azure-code", "azure_llm_2023_code.csv.gz", Quantiles{
		Title:  "production code completion, 2023-11-16",
		Source: "github.com/Azure/AzurePublicDataset, data/AzureLLMInferenceTrace_code.csv", Licence: "CC-BY-4.0", Cite: azure}},
	{"azure-conv", "azure_llm_2023_conv_0000_2400s.csv.gz", Quantiles{
		Title:  "production chat, 2023-11-16, first 2,400 s",
		Source: "github.com/Azure/AzurePublicDataset, data/AzureLLMInferenceTrace_conv.csv", Licence: "CC-BY-4.0", Cite: azure}},
	{"mooncake-conv", "mooncake_conversation_0000_2400s.csv.gz", Quantiles{
		Title:  "production chat with long contexts, first 2,400 s",
		Source: "github.com/kvcache-ai/Mooncake, FAST25-release/traces", Licence: "Apache-2.0", Cite: mooncake}},
	{"servegen-language", "servegen_language_large_d4_10h_12h_x0.05.csv.gz", Quantiles{
		Title:  "language service (large model), day 4, 10 to 12 h, a twentieth of it, drawn from the published per-client statistics",
		Source: "github.com/alibaba/ServeGen, data", Licence: "Apache-2.0", Cite: servegen}},
	{"servegen-reasoning", "servegen_reasoning_10h_11h.csv.gz", Quantiles{
		Title:  "reasoning service (DeepSeek-R1), 10 to 11 h, drawn from the published per-client statistics",
		Source: "github.com/alibaba/ServeGen, data", Licence: "Apache-2.0", Cite: servegen}},
}

// readPairs returns the lengths of a file in its own order.
func readPairs(t testing.TB, path string) []pair {
	t.Helper()
	in, err := openFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	var rows []pair
	for {
		w, err := in.next()
		if err == io.EOF {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, pair{w.prompt, w.output})
	}
}

func TestTablesAreDerivedFromTheirSources(t *testing.T) {
	for _, src := range tableSources {
		t.Run(src.name, func(t *testing.T) {
			q := fitTable(src.Quantiles, readPairs(t, dataFile(t, src.file)))
			want := writeTable(&q)
			path := filepath.Join("tables", src.name+".toml")
			if *update {
				if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: %d bytes", path, len(want))
				return
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != want {
				t.Errorf("%s is not what its source gives; run with -update and read the difference", path)
			}
		})
	}
}

// A grid of 2048 x 512 midpoints of the unit square stands for all draws, so
// that the comparison has no statistical error.
func TestTablesMatchTheirSources(t *testing.T) {
	if *update {
		t.Skip("the embedded tables are those of before the update")
	}
	for _, name := range Tables() {
		t.Run(name, func(t *testing.T) {
			q, err := LoadTable(name)
			if err != nil {
				t.Fatal(err)
			}
			s, rows := q.sampler(), []pair(nil)
			for u := range 2048 {
				for v := range 512 {
					p, o := s.at((float64(u)+0.5)/2048, (float64(v)+0.5)/512)
					rows = append(rows, pair{p, o})
				}
			}
			prompts, outputs := columns(rows)
			matchMoments(t, "prompt", moments(prompts), q.Prompt)
			matchMoments(t, "output", moments(outputs), q.Output)
			if r := rankCorrelation(rows); math.Abs(r-q.RankCorrelation) > 0.03 {
				t.Errorf("rank correlation is %.3f, of the source %.3f; want within 0.03", r, q.RankCorrelation)
			} else {
				t.Logf("rank correlation %.3f, of the source %.3f", r, q.RankCorrelation)
			}
			for _, r := range rows {
				if r.prompt < 1 || r.output < 1 || q.MaxTotal > 0 && int(r.prompt+r.output) > q.MaxTotal {
					t.Fatalf("drew %+v; want lengths of at least 1 that total at most %d", r, q.MaxTotal)
				}
			}
		})
	}
}

// matchMoments wants every moment within 2 %, or within 1 token, which is what
// rounding may do to a median of 13.
func matchMoments(t *testing.T, what string, got, want Moments) {
	t.Helper()
	t.Logf("%s: got %.1f, of the source %.1f", what, got, want)
	for _, m := range []struct {
		name      string
		got, want float64
	}{{"mean", got.Mean, want.Mean}, {"std", got.Std, want.Std}, {"median", got.Median, want.Median}, {"p90", got.P90, want.P90}} {
		slack := 0.02 * m.want
		if m.name == "median" || m.name == "p90" {
			slack = max(slack, 1)
		}
		if math.Abs(m.got-m.want) > slack {
			t.Errorf("%s: %s is %.2f, of the source %.2f (%+.1f %%); want within 2 %%", what, m.name, m.got, m.want, 100*(m.got/m.want-1))
		}
	}
}

func TestTablesNameTheirSource(t *testing.T) {
	var names []string
	for _, src := range tableSources {
		names = append(names, src.name)
	}
	slices.Sort(names)
	if !slices.Equal(names, Tables()) {
		t.Errorf("tables %v are embedded, but %v have a source", Tables(), names)
	}
	for _, name := range Tables() {
		q, err := LoadTable(name)
		if err != nil {
			t.Fatal(err)
		}
		if q.Title == "" || q.Source == "" || q.Licence == "" || q.Rows < 1000 {
			t.Errorf("table %s lacks its title, source, licence or rows: %+v", name, *q)
		}
	}
}
