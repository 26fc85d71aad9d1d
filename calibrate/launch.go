package calibrate

import (
	"fmt"
	"path/filepath"
	"slices"

	"orrery/hwmodel"
	"orrery/workloads/llm"
)

// FitLaunch finds how long the Python engines of 2023 and 2024 take to launch an
// operator and a collective eagerly, and how these launches overlap with the
// device's work.
//
// A collective's launch is the floor under small all-reduces between two bridged
// devices, whose own time is a quarter of it. An operator's shows in iterations that
// the devices alone would finish sooner: decode iterations of Llama-2-70B with one
// sequence on 2, 4 and 8 A100 (Splitwise, vLLM of 2023), hardly quicker on 8 devices
// than on 2, and model steps of CodeLlama-34B on two A100 (Vidur's host profile, early
// 2024). The devices' part comes from the fitted operators, the host's from its own
// profile.
func FitLaunch(data string, profiles []*hwmodel.Profile, hosts []hwmodel.Host) (*hwmodel.Launch, error) {
	collective, err := collectiveLaunch(data)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(profiles, func(p *hwmodel.Profile) bool { return p.Device.Name == "a100-sxm-80gb" })
	if i < 0 {
		return nil, fmt.Errorf("calibrate: launch: no profile of the device the iterations ran on")
	}
	rows, err := splitwiseRows(data, profiles[i], hosts)
	if err != nil {
		return nil, err
	}
	steps, err := stepRows(data, profiles[i])
	if err != nil {
		return nil, err
	}
	rows = balance(append(rows, steps...))

	var best *hwmodel.Launch
	var loss float64
	for _, norm := range []int{0, 2, 4} {
		problem := Problem{
			Name: "launch", Rows: rows, Clean: []string{"splitwise", "vidur"},
			Parameters: []Parameter{{Name: "operator", Start: 3e-5, Low: 1e-6, High: 1e-3, Logarithms: true}},
			Predict: func(p []float64, r *Row) float64 {
				// Layers, device seconds, host seconds.
				launches := r.Args[0] * (12*p[0] + 2*collective)
				return hwmodel.Overlap(launches, r.Args[1], norm) + r.Args[2]
			},
		}
		res, err := problem.Solve()
		if err != nil {
			return nil, err
		}
		if best == nil || res.Loss < loss {
			best, loss = &hwmodel.Launch{Graphs: "none", Operator: res.Values[0], Collective: collective, Norm: norm, Fit: res.Fit}, res.Loss
		}
	}
	best.Source = "collective: median all-reduce of 16 KiB to 5 MiB between two bridged A100 measured by vidur; operator: decode iterations of Llama-2-70B with one sequence on 2, 4 and 8 A100 (Splitwise) and model steps of CodeLlama-34B on two A100 (vidur), 12 operators and 2 collectives a layer"
	return best, nil
}

// collectiveLaunch returns the flat part of the time of small all-reduces.
func collectiveLaunch(data string) (float64, error) {
	rows, err := CommRows(data, "a100_pcie_80g", "all_reduce", "nvlink_pair", 2, []string{"vidur"})
	if err != nil {
		return 0, err
	}
	var floor []float64
	for _, r := range rows {
		if r.Args[0] >= 16<<10 && r.Args[0] <= 5<<20 {
			floor = append(floor, r.Seconds)
		}
	}
	if len(floor) == 0 {
		return 0, fmt.Errorf("calibrate: launch: no small all-reduces")
	}
	return Round(median(floor)), nil
}

// splitwiseRows reads decode iterations with one sequence. Args are the layers, the
// seconds of the devices and those of the host.
func splitwiseRows(data string, p *hwmodel.Profile, hosts []hwmodel.Host) ([]Row, error) {
	m, err := llm.Load("llama-2-70b")
	if err != nil {
		return nil, err
	}
	var rows []Row
	columns := []string{"gpu", "model", "tensor_parallel", "prompt_size", "batch_size", "token_size", "token_time_ms"}
	err = ReadTable(filepath.Join(data, "engine", "llm_splitwise.csv"), columns, func(t *Table) error {
		if t.Text("gpu") != "a100_sxm_80g" || t.Text("model") != "llama2-70b" || t.Number("batch_size") != 1 {
			return nil
		}
		tensor := int(t.Number("tensor_parallel"))
		context := int(t.Number("prompt_size") + t.Number("token_size")/2)
		device, err := deviceTime(m, tensor, p, "fa2", 1, context)
		if err != nil {
			return err
		}
		e := hwmodel.Engine{Hosts: hosts}
		h := e.HostFor("", tensor)
		rows = append(rows, Row{
			Shape: fmt.Sprintf("splitwise %d %d", tensor, context), Source: "splitwise", Seconds: t.Number("token_time_ms") * 1e-3,
			Args: [13]float64{float64(m.Layers), device, h.Fixed + h.PerSequence},
		})
		return nil
	})
	return rows, err
}

// stepRows reads model steps, which leave the host's other work out. Args are those
// of splitwiseRows.
func stepRows(data string, p *hwmodel.Profile) ([]Row, error) {
	m := &llm.Model{
		Name: "codellama-34b", Layers: 48, Hidden: 8192, Heads: 64, KVHeads: 8, HeadDim: 128, Intermediate: 22016, Vocab: 32000,
		Gated: true, WeightBytes: 2, KVBytes: 2,
	}
	const prompt = 256 // tokens, as the profile was taken
	var rows []Row
	err := ReadTable(filepath.Join(data, "engine", "host_overheads_vidur.csv"), []string{"model", "tp", "batch", "step_model_ms"}, func(t *Table) error {
		if t.Number("step_model_ms") == 0 {
			return nil
		}
		n := int(t.Number("batch"))
		device, err := deviceTime(m, int(t.Number("tp")), p, "fa2-gqa", n, prompt)
		if err != nil {
			return err
		}
		rows = append(rows, Row{
			Shape: fmt.Sprintf("step %d", n), Source: "vidur", Seconds: t.Number("step_model_ms") * 1e-3,
			Args: [13]float64{float64(m.Layers), device, 0},
		})
		return nil
	})
	return rows, err
}

// deviceTime returns the seconds of an iteration of n decodes at a context on the
// devices alone.
func deviceTime(m *llm.Model, tensor int, p *hwmodel.Profile, attention string, n, context int) (float64, error) {
	e := &hwmodel.Engine{Name: "devices alone", Attention: attention, GEMM: "vllm", AllReduce: "nccl", PadTokens: 8, Launch: hwmodel.Launch{Graphs: "all"}}
	c, err := llm.NewCost(m, llm.Parallel{Tensor: tensor, Pipeline: 1}, p, e)
	if err != nil {
		return 0, err
	}
	b := hwmodel.Batch{Decodes: n, DecodeContext: int64(n) * int64(context), Logits: n}
	return c.Stage(0, &b).Seconds(), nil
}
