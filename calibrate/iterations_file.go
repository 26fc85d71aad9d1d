package calibrate

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"orrery/hwmodel"
	"orrery/workloads/llm"
)

// engineTable reads one kind of file of published times, recognised by its columns.
type engineTable struct {
	columns []string
	// read returns the times of a record, none if it is not of use.
	read func(t *Table) ([]EngineRow, error)
	// sums adds rows made of those of the whole file, nil if there are none.
	sums func(rows []EngineRow) []EngineRow
}

// engineTables lists the files that [ReadEngineRows] knows, as ../shared/data describes them.
var engineTables = []engineTable{
	{[]string{"kind", "prefill_tokens", "decode_tokens", "iteration_ms", "note"}, artefactTimes, nil},
	{[]string{"model", "token_budget", "context_len", "decode_batch", "decode_only_ms", "decode_plus_chunk_ms", "decode_plus_full_prefill_ms"}, hybridTimes, nil},
	{[]string{"gpu", "model", "tensor_parallel", "prompt_size", "batch_size", "token_size", "prompt_time_ms", "token_time_ms"}, splitwiseTimes, nil},
	{append([]string{"gpu", "profiled", "model", "tp", "batch", "step_model_ms"}, hostParts...), hostTimes, nil},
	{[]string{"gpu", "tp", "model", "weights", "batch", "decode_tok_s"}, gptFastTimes, nil},
	{[]string{"gpu", "model", "layers", "heads", "head_dim", "batch", "input_len", "output_len", "variant", "latency_ms"}, fasterTransformerTimes, nil},
	{[]string{"gpu", "task", "model", "tp", "pp", "avg_batch", "avg_tpot_s", "avg_output_tokens"}, mlEnergy2Times, nil},
	{[]string{"gpu", "task", "model", "weights", "n_gpus", "avg_batch", "median_itl_ms", "avg_output_len"}, mlEnergy3Times, nil},
	{[]string{"gpu", "backend", "model", "precision", "isl", "osl", "tp_size", "pp_size", "concurrency", "tpot_ms"}, siliconTimes, nil},
	{[]string{"gpu", "tp", "model", "phase", "op", "time_ms"}, layerTimes, layerSums},
}

// ReadEngineRows reads files of published iteration times, each recognised by its columns.
func ReadEngineRows(paths ...string) ([]EngineRow, error) {
	var out []EngineRow
	for _, path := range paths {
		table, err := engineTableOf(path)
		if err != nil {
			return nil, err
		}
		var rows []EngineRow
		err = ReadTable(path, table.columns, func(t *Table) error {
			ws, err := table.read(t)
			if err != nil {
				return err
			}
			for _, w := range ws { // a torn number is reported below, and makes times of 0
				w.File, w.Line = t.path, t.line
				if w.Device == "" {
					w.Device = deviceOf(w.GPU)
				}
				if !(w.Seconds > 0) && t.err == nil {
					return fmt.Errorf("%s time is %g s, must be above 0", w.Kind, w.Seconds)
				}
				rows = append(rows, w)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if table.sums != nil && len(rows) > 0 {
			rows = table.sums(rows)
		}
		out = append(out, rows...)
	}
	return out, nil
}

// IsEngineFile tells whether the file has the columns of published iteration times.
func IsEngineFile(path string) bool {
	_, err := engineTableOf(path)
	return err == nil
}

// engineTableOf finds the reader of the file by its header.
func engineTableOf(path string) (*engineTable, error) {
	header, err := headerOf(path)
	if err != nil {
		return nil, err
	}
	for i := range engineTables {
		t := &engineTables[i]
		if !slices.ContainsFunc(t.columns, func(c string) bool { return !slices.Contains(header, c) }) {
			return t, nil
		}
	}
	return nil, fmt.Errorf("%s:1: the columns %s are those of no file of iteration times", filepath.Base(path), strings.Join(header, ","))
}

// headerOf returns the names of a file's columns.
func headerOf(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.Split(strings.TrimSpace(line), ","), nil
}

// deviceOf returns the profile of a GPU as measurement files name it, or "".
func deviceOf(gpu string) string {
	if d, ok := Board(strings.TrimSuffix(gpu, "_330w")); ok { // decoding does not reach the limit
		return d.Name
	}
	return ""
}

// publishedModels maps models as measurement files name them to those of package llm
// with the same shapes.
var publishedModels = map[string]string{
	"llama2-70b": "llama-2-70b", "Llama-2-7B": "llama-2-7b", "Llama-2-70B": "llama-2-70b", "Llama-3.1-8B": "llama-3.1-8b", "Mixtral-8x7B": "mixtral-8x7b",
	"Mistral-7B_1xA100": "mistral-7b", "LLaMA2-70B_4xA100_TP4": "llama-2-70b",
	"CodeLlama-34b-Instruct-hf": "codellama-34b", "Llama-2-7b-hf": "llama-2-7b", "Llama-2-70b-hf": "llama-2-70b",

	"codellama/CodeLlama-7b-hf": "llama-2-7b", "codellama/CodeLlama-13b-hf": "llama-2-13b", "codellama/CodeLlama-34b-hf": "codellama-34b",
	"codellama/CodeLlama-70b-hf":            "llama-2-70b",
	"meta-llama/Meta-Llama-3.1-8B-Instruct": "llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct": "llama-3.1-8b", "meta-llama/Llama-3.3-70B-Instruct": "llama-3.1-70b",
	"meta-llama/Meta-Llama-3.1-70B-Instruct": "llama-3.1-70b", "meta-llama/Meta-Llama-3.1-405B-Instruct": "llama-3.1-405b",
	"mistralai/Mistral-7B-Instruct-v0.3": "mistral-7b", "mistralai/Mistral-Nemo-Instruct-2407": "mistral-nemo-12b", "mistralai/Mistral-Large-Instruct-2407": "mistral-large-123b",
	"mistralai/Mixtral-8x7B-Instruct-v0.1": "mixtral-8x7b", "mistralai/Mixtral-8x22B-Instruct-v0.1": "mixtral-8x22b", "mistralai/Mixtral-8x22B-Instruct-v0.1-pp1": "mixtral-8x22b",
	"Qwen/Qwen3-8B": "qwen3-8b", "Qwen/Qwen3-14B": "qwen3-14b", "Qwen/Qwen3-32B": "qwen3-32b", "Qwen/Qwen3-30B-A3B-Instruct-2507": "qwen3-30b-a3b",
	"Qwen/Qwen3-30B-A3B-Thinking-2507": "qwen3-30b-a3b", "Qwen/Qwen3-235B-A22B-Instruct-2507": "qwen3-235b-a22b", "Qwen/Qwen3-235B-A22B-Thinking-2507": "qwen3-235b-a22b",
	"nvidia/Llama-3.3-70B-Instruct-FP8": "llama-3.1-70b", "MiniMaxAI/MiniMax-M2": "minimax-m2.5", "MiniMaxAI/MiniMax-M2.1": "minimax-m2.5",
	"Qwen/Qwen3-235B-A22B-FP8": "qwen3-235b-a22b", "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8": "qwen3-235b-a22b", "Qwen/Qwen3-235B-A22B-Thinking-2507-FP8": "qwen3-235b-a22b",
}

// PublishedModel returns the model that a file names, with weights of so many bytes, or nil
// if its shapes are not at hand.
func PublishedModel(name string, weightBytes int) (*llm.Model, error) {
	known, ok := publishedModels[name]
	if !ok {
		known = strings.ToLower(name[strings.LastIndexByte(name, '/')+1:])
		for _, variant := range []string{"-fp8", "-2507", "-instruct", "-thinking"} { // of the same shapes
			known = strings.TrimSuffix(known, variant)
		}
		if !slices.Contains(llm.Names(), known) {
			return nil, nil
		}
	}
	m, err := llm.Load(known)
	if err != nil {
		return nil, err
	}
	m.WeightBytes = weightBytes
	return m, nil
}

// artefactTimes reads iterations of Yi-34B on two bridged A100 in the Sarathi-Serve
// artefact. Its first batch, which warmed up, and runs slowed by timing each operator are
// passed over.
func artefactTimes(t *Table) ([]EngineRow, error) {
	m, err := llm.Load("yi-34b")
	if err != nil {
		return nil, err
	}
	w := EngineRow{GPU: "a100_pcie_80g", Engine: "sarathi-artefact", Model: m, Parallel: llm.Parallel{Tensor: 2, Pipeline: 1}, Kind: t.Text("kind"), Seconds: t.Number("iteration_ms") * 1e-3}
	var b *hwmodel.Batch
	switch {
	case t.Text("note") == "context 1024" && w.Kind == "decode":
		b = decodeBatch(int(t.Number("decode_tokens")), 1024)
	case t.Text("note") == "" && w.Kind == "prefill":
		b = promptBatch(1, int(t.Number("prefill_tokens")))
	default:
		return nil, nil
	}
	w.Shape = fmt.Sprintf("%d decodes, %d prompt tokens", b.Decodes, b.ChunkTokens)
	w.Part = w.Shape
	w.Predict = ofBatch(b)
	return []EngineRow{w}, nil
}

// ofBatch predicts the time of one iteration.
func ofBatch(b *hwmodel.Batch) func(*Iterations) float64 {
	return func(p *Iterations) float64 { return p.Time(b) }
}

// hybridTimes reads iterations of decodes alone, with a chunk that fills the token
// budget, and with a whole prompt: Fig. 9 of the Sarathi-Serve paper.
func hybridTimes(t *Table) ([]EngineRow, error) {
	m, err := PublishedModel(t.Text("model"), 2)
	if err != nil || m == nil {
		return nil, err
	}
	budget, context, n := int(t.Number("token_budget")), int(t.Number("context_len")), int(t.Number("decode_batch"))
	w := EngineRow{GPU: "a100_pcie_80g", Engine: "sarathi-2024", Model: m, Parallel: llm.Parallel{Tensor: 1, Pipeline: 1}, Part: m.Name}
	if t.Text("model") == "LLaMA2-70B_4xA100_TP4" {
		w.Parallel.Tensor = 4
	}
	var out []EngineRow
	for _, x := range []struct {
		kind, column        string
		chunk, cached, last int
	}{
		{"decode", "decode_only_ms", 0, 0, 0},
		{"decode+chunk", "decode_plus_chunk_ms", budget - n, context - budget, 0},
		{"decode+prompt", "decode_plus_full_prefill_ms", context, 0, 1},
	} {
		b := decodeBatch(n, float64(context))
		if x.chunk > 0 {
			b.AddChunk(x.chunk, int64(x.cached))
			b.Logits += x.last
		}
		w.Kind, w.Seconds, w.Predict = x.kind, t.Number(x.column)*1e-3, ofBatch(b)
		w.Shape = fmt.Sprintf("%d decodes at %d, %d prompt tokens", n, context, b.ChunkTokens)
		out = append(out, w)
	}
	return out, nil
}

// splitwiseTimes reads prompt and token times of Llama-2-70B on DGX A100 and H100.
func splitwiseTimes(t *Table) ([]EngineRow, error) {
	m, err := PublishedModel(t.Text("model"), 2)
	if err != nil {
		return nil, err
	}
	prompt, n, tokens := int(t.Number("prompt_size")), int(t.Number("batch_size")), t.Number("token_size")
	w := EngineRow{GPU: t.Text("gpu"), Engine: "vllm-2023", Model: m, Parallel: llm.Parallel{Tensor: int(t.Number("tensor_parallel")), Pipeline: 1}}
	w.Shape = fmt.Sprintf("TP %d, %d prompts of %d, %g tokens", w.Parallel.Tensor, n, prompt, tokens)
	w.Part = fmt.Sprint(w.Parallel.Tensor)
	token := w
	w.Kind, w.Seconds, w.Predict = "prompt", t.Number("prompt_time_ms")*1e-3, ofBatch(promptBatch(n, prompt))
	// Answers end early where 512 tokens or more were asked for.
	token.Kind, token.Seconds, token.Predict = "decode", t.Number("token_time_ms")*1e-3, ofBatch(decodeBatch(n, float64(prompt)+tokens/2))
	return []EngineRow{w, token}, nil
}

// hostTimes reads the host's time of a decode iteration, and where it was taken the time
// of the model's step. The prompts had 256 tokens.
func hostTimes(t *Table) ([]EngineRow, error) {
	engine := "sarathi-2024-05"
	if strings.HasPrefix(t.Text("profiled"), "2024-01") {
		engine = "sarathi-2024"
	}
	m, err := PublishedModel(t.Text("model"), 2)
	if err != nil {
		return nil, err
	}
	n := int(t.Number("batch"))
	b := decodeBatch(n, 256)
	w := EngineRow{GPU: t.Text("gpu"), Engine: engine, Model: m, Parallel: llm.Parallel{Tensor: int(t.Number("tp")), Pipeline: 1}, Kind: "host"}
	w.Shape = fmt.Sprintf("%s, %d decodes, profile of %s", t.Text("model"), n, t.Text("profiled"))
	w.Part = t.Text("model")
	for _, c := range hostParts {
		w.Seconds += t.Number(c) * 1e-3
	}
	w.Predict = func(p *Iterations) float64 { return p.Host(b) }
	out := []EngineRow{w}
	if ms := t.Number("step_model_ms"); ms > 0 {
		w.Kind, w.Seconds = "model step", ms*1e-3
		w.Predict = func(p *Iterations) float64 { return p.Devices(b) }
		out = append(out, w)
	}
	return out, nil
}

// gptFastTimes reads the decode rate of one sequence in compiled PyTorch: a prompt of 5
// tokens and 200 of answer. Weights of four bits in groups are passed over, since they
// are a format of their own.
func gptFastTimes(t *Table) ([]EngineRow, error) {
	bytes := 2
	switch t.Text("weights") {
	case "int8":
		bytes = 1
	case "bf16":
	default:
		return nil, nil
	}
	m, err := PublishedModel(t.Text("model"), bytes)
	if err != nil {
		return nil, err
	}
	tp := int(t.Number("tp"))
	return []EngineRow{{
		GPU: t.Text("gpu"), Engine: "gpt-fast", Model: m, Parallel: llm.Parallel{Tensor: tp, Pipeline: 1}, Kind: "decode",
		Shape: fmt.Sprintf("%s, %s, TP %d", t.Text("model"), t.Text("weights"), tp), Part: fmt.Sprintf("%s %s", t.Text("model"), t.Text("weights")),
		Seconds: 1 / t.Number("decode_tok_s"), Predict: ofBatch(decodeBatch(int(t.Number("batch")), 105)),
	}}, nil
}

// fasterTransformerTimes reads how long whole answers of GPT models took on a node of eight
// A100. Rows of Megatron-LM and of groups that span nodes are passed over.
func fasterTransformerTimes(t *Table) ([]EngineRow, error) {
	variant, name := strings.Join(strings.Fields(t.Text("variant")), " "), t.Text("model")
	if strings.Contains(variant, "Megatron") {
		return nil, nil
	}
	layers, heads, dim := int(t.Number("layers")), int(t.Number("heads")), int(t.Number("head_dim"))
	p := llm.Parallel{Tensor: 1, Pipeline: 1}
	switch {
	case name == "Megatron-530B": // arXiv:2201.11990
		if _, err := fmt.Sscanf(variant, "Latency of TP-%d, PP-%d", &p.Tensor, &p.Pipeline); err != nil || p.Tensor > 8 {
			return nil, err
		}
		layers, heads, dim = 105, 128, 160
	case strings.HasPrefix(variant, "Latency of") && strings.Contains(variant, "-way TP"):
		if _, err := fmt.Sscanf(variant, "Latency of %d-way", &p.Tensor); err != nil {
			return nil, err
		}
	case name == "GPT-175B" || name == "GPT-89B":
		p.Tensor = 8
	}
	n, in, out := int(t.Number("batch")), int(t.Number("input_len")), int(t.Number("output_len"))
	return []EngineRow{{
		GPU: t.Text("gpu"), Engine: "fastertransformer", Model: gpt(name, layers, heads, dim), Parallel: p, Kind: "answer",
		Shape: fmt.Sprintf("%s, %v, %d prompts of %d, %d tokens", name, p, n, in, out), Part: fmt.Sprintf("%s %v", name, p),
		Seconds: t.Number("latency_ms") * 1e-3, Predict: func(p *Iterations) float64 { return generation(p, n, in, out) },
	}}, nil
}

// gpt returns a model of the GPT-3 family by its shapes (arXiv:2005.14165).
func gpt(name string, layers, heads, dim int) *llm.Model {
	return &llm.Model{
		Name: name, Layers: layers, Hidden: heads * dim, Heads: heads, KVHeads: heads, HeadDim: dim, Intermediate: 4 * heads * dim, Vocab: 51200, MaxLen: 2048,
		NormsPerLayer: 2, NormBias: true, QKVBias: true, OutBias: true, MLPBias: true, TiedEmbedding: true, WeightBytes: 2, KVBytes: 2,
	}
}

// meanPrompt stands for the prompts of the ML.ENERGY tasks, whose lengths were not
// published: a few hundred tokens of chat or code.
const meanPrompt = 200

// mlEnergy2Times reads the mean time between tokens of vLLM of mid-2024 with a batch kept
// full.
func mlEnergy2Times(t *Table) ([]EngineRow, error) {
	m, err := PublishedModel(t.Text("model"), 2)
	if err != nil {
		return nil, err
	}
	s := steady{clients: int(t.Number("avg_batch") + 0.5), prompt: meanPrompt, output: max(1, int(t.Number("avg_output_tokens")+0.5)), budget: 8192, apart: true}
	p := llm.Parallel{Tensor: int(t.Number("tp")), Pipeline: int(t.Number("pp"))}
	return []EngineRow{{
		GPU: t.Text("gpu"), Engine: "vllm-v0", Model: m, Parallel: p, Kind: "TPOT",
		Shape: fmt.Sprintf("%s, %v, batch %d", t.Text("model"), p, s.clients), Part: t.Text("model"),
		Seconds: t.Number("avg_tpot_s"), Predict: s.tpot,
	}}, nil
}

// mlEnergy3Times reads the median time between tokens of vLLM V1 with a batch kept full:
// half of the iterations or more have no prompts. The context of a sequence met at
// random is its prompt and, since long answers are met more often, three quarters of the
// mean answer (answers as long as their coefficient of variation is 0.7).
func mlEnergy3Times(t *Table) ([]EngineRow, error) {
	bytes := 2
	switch t.Text("weights") {
	case "bfloat16":
	case "fp8":
		bytes = 1
	default:
		return nil, nil
	}
	if task := t.Text("task"); task != "lm-arena-chat" && task != "gpqa" {
		return nil, nil // prompts of images, videos or whole files
	}
	m, err := PublishedModel(t.Text("model"), bytes)
	if err != nil {
		return nil, err
	}
	n, context := int(t.Number("avg_batch")+0.5), meanPrompt+0.75*t.Number("avg_output_len")
	p := llm.Parallel{Tensor: int(t.Number("n_gpus")), Pipeline: 1}
	return []EngineRow{{
		GPU: t.Text("gpu"), Engine: "vllm-v1", Model: m, Parallel: p, Kind: "ITL median",
		Shape: fmt.Sprintf("%s, %v, %s, batch %d", t.Text("model"), p, t.Text("task"), n), Part: t.Text("model"),
		Seconds: t.Number("median_itl_ms") * 1e-3, Predict: ofBatch(decodeBatch(n, context)),
	}}, nil
}

// siliconTimes reads the mean time between tokens of engines with a fixed number of
// clients and answers of equal length.
func siliconTimes(t *Table) ([]EngineRow, error) {
	bytes := 2
	switch t.Text("precision") {
	case "":
	case "fp8":
		bytes = 1
	default:
		return nil, nil
	}
	m, err := PublishedModel(t.Text("model"), bytes)
	if err != nil {
		return nil, err
	}
	if m != nil && bytes == 1 && t.Text("backend") == "trtllm" {
		m.KVBytes = 1 // as NVIDIA's checkpoints in fp8 have it
	}
	engine := t.Text("backend")
	if engine == "vllm" {
		engine = "vllm-v1"
	}
	s := steady{clients: int(t.Number("concurrency")), prompt: int(t.Number("isl")), output: int(t.Number("osl")), budget: 8192}
	// SGLang computes prompts in iterations of their own. Its time to the first
	// token is half of what all clients' prompts take: they were sent together.
	s.apart, s.together = engine == "sglang", engine == "sglang"
	p := llm.Parallel{Tensor: int(t.Number("tp_size")), Pipeline: int(t.Number("pp_size"))}
	return []EngineRow{{
		GPU: t.Text("gpu"), Engine: engine, Model: m, Parallel: p, Kind: "TPOT",
		Shape: fmt.Sprintf("%s, %v, %d clients, %d in, %d out", t.Text("model"), p, s.clients, s.prompt, s.output), Part: fmt.Sprintf("%s %v", t.Text("model"), p),
		Seconds: t.Number("tpot_ms") * 1e-3, Predict: s.tpot,
	}}, nil
}
