package calibrate

import (
	"path/filepath"

	"orrery/hwmodel"
	"orrery/workloads/llm"
)

// wholeEngine is an engine whose host is known from whole iterations only.
type wholeEngine struct {
	engine     hwmodel.Engine
	source     string // what the constants were fitted to
	parameters []Parameter
	set        func(e *hwmodel.Engine, v []float64, f hwmodel.Fit)
	rows       func(w *EngineRow) bool
}

// engineFiles are the published iteration times, in the folder of measurements.
var engineFiles = []string{
	"llm_serving/yi34b_tp2_iterations_artefact.csv", "llm_serving/hybrid_batch_cost_fig9.csv",
	"engine/llm_splitwise.csv", "engine/host_overheads_vidur.csv", "engine/llm_gptfast.csv", "engine/gpt_fastertransformer.csv",
	"engine/layer_gpt3_llmcompass.csv", "engine/llm_mlenergy_v2.csv", "engine/llm_mlenergy_v3.csv", "engine/llm_serving_silicon.csv",
}

// EngineFiles returns the paths of the published iteration times under the folder of
// measurements.
func EngineFiles(data string) []string {
	var out []string
	for _, f := range engineFiles {
		out = append(out, filepath.Join(data, filepath.FromSlash(f)))
	}
	return out
}

// The constants of a host, with ranges that hold for engines in C++ and in Python.
var (
	fixedTime    = Parameter{Name: "fixed", Start: 1e-3, Low: 1e-6, High: 1, Logarithms: true}
	workerTime   = Parameter{Name: "each further worker", Start: 1e-3, Low: 1e-6, High: 1, Logarithms: true}
	sequenceTime = Parameter{Name: "per sequence", Start: 3e-5, Low: 1e-7, High: 1e-1, Logarithms: true}
	promptTime   = Parameter{Name: "iteration with prompts", Start: 1e-2, Low: 1e-6, High: 1, Logarithms: true}
	operatorTime = Parameter{Name: "launch of an operator", Start: 2e-5, Low: 1e-7, High: 1e-3, Logarithms: true}
	gapTime      = Parameter{Name: "gap between operators", Start: 2e-6, Low: 1e-9, High: 1e-3, Logarithms: true}
	slower       = Parameter{Name: "processor of the other machine", Start: 0.8, Low: 0.1, High: 4, Logarithms: true}
)

// wholeEngines lists the engines fitted to whole iterations. Base is the Python engine of
// early 2024, on whose host parts the oldest of them rests.
func wholeEngines(base *hwmodel.Engine) []wholeEngine {
	served := func(name string) func(*EngineRow) bool {
		return func(w *EngineRow) bool { return w.Engine == name }
	}
	one := func(e *hwmodel.Engine, v []float64, f hwmodel.Fit) {
		e.Hosts = []hwmodel.Host{{Tensor: 1, Fixed: v[0], PerSequence: v[1], Fit: f}}
	}
	return []wholeEngine{
		{
			engine: hwmodel.Engine{
				Name: "vllm-2023", Attention: base.Attention, GEMM: "vllm", AllReduce: "nccl", MemoryFraction: 0.9, PadTokens: 8, Launch: base.Launch, Hosts: base.Hosts,
				Note: "vLLM of 2023 as Splitwise measured it: eager kernels, Ray workers; host parts of the Python engine of January 2024, launches, prompts and the quicker processor of DGX H100 from whole iterations",
			},
			source:     "prompt and token times of Llama-2-70B on DGX A100 and DGX H100 (Splitwise); held out by tensor-parallel degree",
			parameters: []Parameter{operatorTime, promptTime, slower},
			set: func(e *hwmodel.Engine, v []float64, f hwmodel.Fit) {
				e.Launch.Operator, e.Launch.Fit = v[0], f
				for i := range e.Hosts {
					e.Hosts[i].Prompt = v[1]
				}
				e.Machines = []hwmodel.Machine{{Device: "h100-sxm-80gb", Slower: v[2], Fit: f}}
			},
			rows: served("vllm-2023"),
		},
		{
			engine: hwmodel.Engine{
				Name: "vllm-v0", Attention: "fa2-gqa", GEMM: "vllm", AllReduce: "custom", MemoryFraction: 0.9, PadTokens: 8, Launch: graphsForDecodes(base),
				Note: "vLLM V0 of mid-2024 behind its HTTP server: CUDA graphs for decode-only iterations; scheduling, detokenising and streaming in one Python process while the devices wait",
			},
			source:     "mean times between tokens of ten models of 7 to 141 billion parameters on A100-40GB and H100 with full batches (ML.ENERGY leaderboard 2, prompts taken as 200 tokens); held out by model",
			parameters: []Parameter{fixedTime, workerTime, sequenceTime, slower},
			set: func(e *hwmodel.Engine, v []float64, f hwmodel.Fit) {
				e.Hosts = nil
				for _, n := range []int{1, 2, 4, 8} {
					e.Hosts = append(e.Hosts, hwmodel.Host{Tensor: n, Fixed: Round(v[0] + float64(v[1]*float64(n-1))), PerSequence: v[2], Fit: f})
				}
				e.Machines = []hwmodel.Machine{{Device: "h100-sxm-80gb", Slower: v[3], Fit: f}}
			},
			rows: func(w *EngineRow) bool { return w.Engine == "vllm-v0" && w.Parallel.Pipeline == 1 },
		},
		{
			engine: hwmodel.Engine{
				Name: "vllm-v1", Attention: "vllm", Together: true, GEMM: "vllm", AllReduce: "custom", MemoryFraction: 0.9, PadTokens: 8, Launch: hwmodel.Launch{Graphs: "all"},
				Note: "vLLM V1 of 2025 (0.11, 0.12): CUDA graphs; the devices wait while the engine's process samples, schedules and builds inputs, a cost a sequence",
			},
			source:     "median times between tokens of dense models of 8 to 70 billion parameters (ML.ENERGY leaderboard 3, prompts taken as 200 tokens) and mean ones of Qwen3-32B on 2 to 8 devices (AIConfigurator's silicon samples, vLLM 0.12), all on H100; held out by model and degree",
			parameters: []Parameter{fixedTime, sequenceTime}, set: one,
			rows: func(w *EngineRow) bool {
				return w.Engine == "vllm-v1" && w.GPU == "h100_sxm" && w.Model.WeightBytes == 2 && w.Model.Experts == 0
			},
		},
		{
			engine: hwmodel.Engine{
				Name: "sglang", Attention: "vllm", GEMM: "vllm", AllReduce: "custom", MemoryFraction: 0.88, PadTokens: 8, Launch: hwmodel.Launch{Graphs: "decode"},
				Note: "SGLang 0.5: CUDA graphs for decodes, prompts in iterations of their own, host mostly hidden behind the devices; FlashAttention-3 as vLLM's on Hopper, where it was measured whole",
			},
			source:     "mean times between tokens of Qwen3-32B on 1 to 8 H100 (AIConfigurator's silicon samples, SGLang 0.5.1 and 0.5.8); held out by degree",
			parameters: []Parameter{fixedTime, sequenceTime}, set: one,
			rows: func(w *EngineRow) bool { return w.Engine == "sglang" && w.GPU == "h100_sxm" },
		},
		{
			engine: hwmodel.Engine{
				Name: "trtllm", Attention: "trtllm", GEMM: "trtllm", AllReduce: "custom", MemoryFraction: 0.9, PadTokens: 8, Fused: true, Launch: hwmodel.Launch{Graphs: "all"},
				Note: "TensorRT-LLM 1.0: CUDA graphs, C++ runtime, host mostly hidden behind the devices; norms and additions within the all-reduce, rotary embedding and KV copy within attention",
			},
			source:     "mean times between tokens of Llama-3.1-8B and Qwen3-32B (fp8) on 1 to 8 H100 (AIConfigurator's silicon samples, TensorRT-LLM 1.0.0rc3); held out by model and degree",
			parameters: []Parameter{fixedTime, sequenceTime}, set: one,
			rows: func(w *EngineRow) bool {
				return w.Engine == "trtllm" && w.GPU == "h100_sxm" && w.Model.Experts == 0
			},
		},
		{
			engine: hwmodel.Engine{
				Name: "gpt-fast", Attention: "vllm", GEMM: "vllm", AllReduce: "custom", MemoryFraction: 0.95, PadTokens: 1, Launch: hwmodel.Launch{Graphs: "all"},
				Note: "gpt-fast: compiled PyTorch, one sequence at a time, replayed from a graph",
			},
			source:     "decode rates of Llama models on 1 to 4 A100 (gpt-fast's README); held out by model and weight format",
			parameters: []Parameter{fixedTime, gapTime},
			set: func(e *hwmodel.Engine, v []float64, f hwmodel.Fit) {
				e.Hosts = []hwmodel.Host{{Tensor: 1, Fixed: v[0], Fit: f}}
				e.Launch.Gap, e.Launch.Fit = v[1], f
			},
			rows: func(w *EngineRow) bool { return w.Engine == "gpt-fast" && w.Model.Experts == 0 },
		},
		{
			engine: hwmodel.Engine{
				Name: "fastertransformer", Attention: "vllm", GEMM: "vllm", AllReduce: "nccl", MemoryFraction: 0.95, PadTokens: 1, Launch: hwmodel.Launch{Graphs: "all"},
				Note: "FasterTransformer 5: C++, kernels launched one by one ahead of the device, a batch computed from beginning to end",
			},
			source:     "answers of GPT models of 350 million to 530 billion parameters on 1 to 24 A100 (FasterTransformer's GPT guide); held out by model and degree",
			parameters: []Parameter{fixedTime, sequenceTime, gapTime},
			set: func(e *hwmodel.Engine, v []float64, f hwmodel.Fit) {
				e.Hosts = []hwmodel.Host{{Tensor: 1, Fixed: v[0], PerSequence: v[1], Fit: f}}
				e.Launch.Gap, e.Launch.Fit = v[2], f
			},
			rows: served("fastertransformer"),
		},
	}
}

func graphsForDecodes(base *hwmodel.Engine) hwmodel.Launch {
	l := base.Launch
	l.Graphs = "decode"
	return l
}

// fitWholeEngines fits every engine of wholeEngines.
func fitWholeEngines(data string, profiles []*hwmodel.Profile, base *hwmodel.Engine) ([]*hwmodel.Engine, error) {
	rows, err := ReadEngineRows(EngineFiles(data)...)
	if err != nil {
		return nil, err
	}
	p := NewPricer(profiles)
	var out []*hwmodel.Engine
	for _, w := range wholeEngines(base) {
		e, err := w.fit(p, rows)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	newest, err := fitRequestEngine(data, p)
	return append(out, newest), err
}

func (w *wholeEngine) fit(p *Pricer, rows []EngineRow) (*hwmodel.Engine, error) {
	f := EngineFit{Engine: w.engine, Parameters: w.parameters, Set: func(e *hwmodel.Engine, v []float64) { w.set(e, v, hwmodel.Fit{}) }}
	for i := range rows {
		if r := &rows[i]; r.Device != "" && r.Model != nil && w.rows(r) {
			f.Rows = append(f.Rows, *r)
		}
	}
	values, fit, err := f.Solve(p)
	if err != nil {
		return nil, err
	}
	fit.Source = w.source
	for i, v := range values {
		if v < 1.1*w.parameters[i].Low { // the data have no use for it
			values[i] = 0
		}
	}
	e := w.engine
	e.Hosts = append([]hwmodel.Host(nil), e.Hosts...)
	w.set(&e, values, fit)
	return &e, nil
}

// fitRequestEngine fits the newest vLLM to the requests of one run. Two further runs are left
// for tests to replay.
func fitRequestEngine(data string, p *Pricer) (*hwmodel.Engine, error) {
	m, err := ReadMeasurements(filepath.Join(data, "engine", "llm_requests_vllm.csv"))
	if err != nil {
		return nil, err
	}
	var ts []Timing
	for _, t := range m.Requests {
		if t.GPU == "rtx_pro_6000" && t.Model == "Llama-3.1-8B" {
			ts = append(ts, t)
		}
	}
	model, err := llm.Load("llama-3.1-8b")
	if err != nil {
		return nil, err
	}
	w := wholeEngine{
		engine: hwmodel.Engine{
			Name: "vllm-v1-async", Attention: "vllm", Together: true, GEMM: "vllm", AllReduce: "custom", MemoryFraction: 0.9, PadTokens: 8, Launch: hwmodel.Launch{Graphs: "all"},
			Note: "vLLM V1 of 2026 (0.19), which schedules an iteration ahead: CUDA graphs, host hidden behind the devices but for sampling",
		},
		source:     "iterations of Llama-3.1-8B on RTX PRO 6000, from the requests of one run of vLLM 0.19 (LLMServingSim), windows of twenty; held out by sixths of the run",
		parameters: []Parameter{fixedTime, sequenceTime},
		set: func(e *hwmodel.Engine, v []float64, f hwmodel.Fit) {
			e.Hosts = []hwmodel.Host{{Tensor: 1, Fixed: v[0], PerSequence: v[1], Fit: f}}
		},
		rows: func(*EngineRow) bool { return true },
	}
	rows, err := RequestRows(ts, RequestRun{Rules{Budget: 2048, MaxSeqs: 128}, w.engine.Name, model, llm.Parallel{Tensor: 1, Pipeline: 1}})
	if err != nil {
		return nil, err
	}
	return w.fit(p, rows)
}
