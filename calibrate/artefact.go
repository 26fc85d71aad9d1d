package calibrate

import (
	"fmt"
	"path/filepath"
	"slices"

	"orrery/hwmodel"
	"orrery/workloads/llm"
)

// FitArtefact makes the engine of the artefact's own runs from base, the engine of
// the experiments: the same but for its host time, which is what the published
// iterations of Yi-34B on two A100 take beyond their devices. These iterations
// span scheduling, calls to the workers and output processing, were run half a year
// after the experiments on the model's variant for 200,000 tokens, and cost the host
// three times what any measured profile of its parts says. Nothing explains their
// step of 20 ms between 4 and 8 sequences. Every second batch size is fitted, the
// others are held out.
func FitArtefact(data string, base *hwmodel.Engine, profiles []*hwmodel.Profile) (*hwmodel.Engine, error) {
	i := slices.IndexFunc(profiles, func(p *hwmodel.Profile) bool { return p.Device.Name == "a100-pcie-80gb" })
	if i < 0 {
		return nil, fmt.Errorf("calibrate: artefact: no profile of its device")
	}
	m, err := llm.Load("yi-34b")
	if err != nil {
		return nil, err
	}
	e := *base
	e.Hosts = nil
	cost, err := llm.NewCost(m, llm.Parallel{Tensor: 2, Pipeline: 1}, profiles[i], &e)
	if err != nil {
		return nil, err
	}
	const context = 1024
	var rows []Row
	err = ReadTable(filepath.Join(data, "llm_serving", "yi34b_tp2_iterations_artefact.csv"), []string{"kind", "decode_tokens", "iteration_ms", "note"}, func(t *Table) error {
		if t.Text("kind") != "decode" || t.Text("note") != "context 1024" {
			return nil
		}
		n := t.Number("decode_tokens")
		b := hwmodel.Batch{Decodes: int(n), DecodeContext: int64(n * context), Logits: int(n)}
		rows = append(rows, Row{
			Shape: fmt.Sprintf("iteration %v", n), Source: "artefact", Seconds: t.Number("iteration_ms") * 1e-3,
			Args: [13]float64{n, cost.Stage(0, &b).Seconds(), float64(len(rows) % 2)},
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	problem := Problem{
		Name: "host of the artefact", Rows: rows, Clean: []string{"artefact"},
		Hold: func(r *Row) bool { return r.Args[2] == 1 },
		Parameters: []Parameter{
			{Name: "fixed", Start: 1e-2, Low: 1e-5, High: 1, Logarithms: true},
			{Name: "per sequence", Start: 5e-4, Low: 1e-6, High: 1e-1, Logarithms: true},
		},
		Predict: func(p []float64, r *Row) float64 { return r.Args[1] + p[0] + float64(p[1]*r.Args[0]) },
	}
	res, err := problem.Solve()
	if err != nil {
		return nil, err
	}
	e.Name = "sarathi-artefact"
	e.Note = "as sarathi-2024, with the host time of the artefact's own iterations of mid-2024 rather than that measured part by part; fitted to whole iterations, not to parts"
	h := hwmodel.Host{Tensor: 1, Fixed: res.Values[0], PerSequence: res.Values[1], Fit: res.Fit}
	h.Source = "decode iterations of Yi-34B on two A100 in the Sarathi-Serve artefact, beyond the time of their devices; every second batch size fitted, errors of the whole iteration"
	e.Hosts = []hwmodel.Host{h}
	return &e, nil
}
