package calibrate

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"orrery/workloads/llm"
)

// ServingRow is a published run of a serving engine that a fixed number of clients kept
// busy: what it was asked, how it was spread over devices, and the mean times of its
// requests.
type ServingRow struct {
	GPU       string // as measurement files name it
	Device    string // profile of that GPU, empty if there is none
	Backend   string // vllm, sglang or trtllm
	Version   string // of the backend, empty if it was not published
	Name      string // of the model, as it was published
	Model     *llm.Model
	Precision string
	Origin    string // inferencex or nvidia-aic

	Prompt, Output int // tokens, the longest where lengths vary
	Clients        int // 0 if it was not published
	Prefill        Workers
	Decode         Workers
	Apart          bool // prompts and answers have workers of their own

	TTFT, TPOT float64 // seconds, means over requests

	File string
	Line int
}

// Workers are like groups of devices that each hold the whole model.
type Workers struct {
	Number   int // 0 if it was not published
	Tensor   int // devices of one
	Attend   int // devices that attend apart, each to sequences of its own; 1 if they share heads
	Experts  int // devices that the experts are divided among, 1 if each has a slice of all
	Pipeline int
}

// Devices returns the devices of one worker.
func (w Workers) Devices() int { return w.Tensor * max(1, w.Pipeline) }

// servingColumns tell the two kinds of file apart.
var (
	togetherColumns = []string{"gpu", "backend", "backend_version", "model", "precision", "isl", "osl", "tp_size", "pp_size", "attention_dp_size", "moe_ep_size", "concurrency", "ttft_ms", "tpot_ms", "origin"}
	apartColumns    = []string{
		"gpu", "backend", "backend_version", "model", "precision", "isl", "osl", "concurrency",
		"prefill_num_workers", "prefill_tp_size", "prefill_attention_dp_size", "prefill_moe_ep_size",
		"decode_num_workers", "decode_tp_size", "decode_attention_dp_size", "decode_moe_ep_size", "ttft_ms", "tpot_ms", "origin",
	}
)

// ServingFiles returns the paths of the published runs under the folder of measurements.
func ServingFiles(data string) []string {
	return []string{filepath.Join(data, "engine", "llm_serving_silicon.csv"), filepath.Join(data, "engine", "llm_serving_silicon_disagg.csv")}
}

// ReadServing reads files of published runs, with prompts and answers on the same workers
// or apart.
func ReadServing(paths ...string) ([]ServingRow, error) {
	var out []ServingRow
	for _, path := range paths {
		header, err := headerOf(path)
		if err != nil {
			return nil, err
		}
		columns, apart := togetherColumns, slices.Contains(header, "decode_tp_size")
		if apart {
			columns = apartColumns
		}
		err = ReadTable(path, columns, func(t *Table) error {
			w, err := servingRow(t, apart)
			if err == nil && t.err == nil {
				err = w.check()
			}
			out = append(out, w)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func servingRow(t *Table, apart bool) (ServingRow, error) {
	w := ServingRow{
		GPU: t.Text("gpu"), Backend: t.Text("backend"), Version: t.Text("backend_version"), Name: t.Text("model"), Precision: t.Text("precision"), Origin: t.Text("origin"),
		Prompt: int(t.Number("isl")), Output: int(t.Number("osl")), Clients: int(t.Number("concurrency")),
		TTFT: t.Number("ttft_ms") * 1e-3, TPOT: t.Number("tpot_ms") * 1e-3, Apart: apart, File: t.path, Line: t.line,
	}
	w.Device = deviceOf(w.GPU)
	if apart {
		w.Prefill, w.Decode = workers(t, "prefill_"), workers(t, "decode_")
	} else {
		w.Decode = workers(t, "")
	}
	var err error
	w.Model, err = servedModel(&w)
	return w, err
}

// workers reads the columns of one kind of worker. A worker of both kinds is one, and the
// number is 0 where it was not published.
func workers(t *Table, kind string) Workers {
	w := Workers{Number: 1, Pipeline: 1, Tensor: int(t.Number(kind + "tp_size")), Attend: max(1, int(t.Number(kind+"attention_dp_size"))), Experts: max(1, int(t.Number(kind+"moe_ep_size")))}
	if kind != "" {
		w.Number = int(t.Number(kind + "num_workers"))
		return w
	}
	w.Pipeline = int(t.Number("pp_size"))
	return w
}

// servedModel returns the model of a run in the precision that was served, nil if its
// shapes are not at hand.
func servedModel(w *ServingRow) (*llm.Model, error) {
	bytes := 2
	if w.Precision == "fp8" || w.Precision == "" && strings.HasSuffix(w.Name, "FP8") {
		bytes = 1
	}
	m, err := PublishedModel(w.Name, bytes)
	if m == nil || err != nil {
		return nil, err
	}
	if m.ExpertBits > 0 { // as its checkpoint has it: only its experts are packed
		m.WeightBytes = 2
	} else if w.Precision == "fp4" || w.Precision == "int4" {
		return nil, nil
	}
	if bytes == 1 && w.Backend == "trtllm" {
		m.KVBytes = 1 // as NVIDIA's checkpoints in fp8 have it
	}
	return m, nil
}

// check refuses what no run can be.
func (w *ServingRow) check() error {
	if w.GPU == "" || w.Backend == "" || w.Name == "" {
		return fmt.Errorf("gpu, backend and model must be named")
	}
	if w.Prompt < 1 || w.Output < 2 || w.Clients < 0 {
		return fmt.Errorf("isl is %d, osl %d and concurrency %d; want at least 1, 2 and 0", w.Prompt, w.Output, w.Clients)
	}
	if w.Decode.Tensor < 1 || w.Apart && w.Prefill.Tensor < 1 {
		return fmt.Errorf("a worker has no devices; want tp_size to be 1 or more")
	}
	if !(w.TTFT > 0) || !(w.TPOT > 0) {
		return fmt.Errorf("ttft_ms is %g and tpot_ms %g; want both above 0", 1e3*w.TTFT, 1e3*w.TPOT)
	}
	return nil
}

// Together tells whether the clients of a run began at once and were not replaced, rather
// than each sending its next request when it had its answer. SGLang's runs by NVIDIA are
// so: their mean TTFT is half of what all their prompts take.
func (w *ServingRow) Together() bool { return w.Backend == "sglang" && w.Origin == "nvidia-aic" }

// Engine names the engine of hwmodel that stands for what ran. vLLM schedules an iteration
// ahead by default from 0.14 on, and InferenceX had it do so before.
func (w *ServingRow) Engine() string {
	switch {
	case w.Backend != "vllm":
		return w.Backend
	case w.Origin == "inferencex":
		return "vllm-v1-async"
	}
	var minor int
	if n, _ := fmt.Sscanf(w.Version, "0.%d", &minor); n == 1 && minor >= 14 {
		return "vllm-v1-async"
	}
	return "vllm-v1"
}

// Text says in a line what was run.
func (w *ServingRow) Text() string {
	name := w.Name[strings.LastIndexByte(w.Name, '/')+1:]
	d := w.Decode
	return fmt.Sprintf("%s %s %s %s, %d/%d tokens, TP %d DP %d EP %d, %d clients", name, w.Precision, w.Backend, w.Version, w.Prompt, w.Output, d.Tensor, d.Attend, d.Experts, w.Clients)
}
