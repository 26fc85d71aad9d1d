package calibrate

import (
	"fmt"
	"path/filepath"
	"slices"

	"orrery/hwmodel"
)

// hostParts are the columns of the measured host time of a decode iteration that
// add up to it.
var hostParts = []string{"schedule_ms", "prepare_inputs_ms", "sampler_ms", "process_outputs_ms", "engine_worker_comm_ms"}

// HostRows reads the measured host time per decode iteration on machines with the
// given GPU, at a tensor-parallel degree and of one day's profile.
func HostRows(data, gpu, day string, tensor int) ([]Row, error) {
	var rows []Row
	err := ReadTable(filepath.Join(data, "engine", "host_overheads_vidur.csv"), append([]string{"gpu", "profiled", "model", "tp", "batch"}, hostParts...), func(t *Table) error {
		if t.Text("gpu") != gpu || t.Text("profiled") != day || int(t.Number("tp")) != tensor {
			return nil
		}
		var ms float64
		for _, c := range hostParts {
			ms += t.Number(c)
		}
		rows = append(rows, Row{
			Shape: fmt.Sprintf("host %s %d %v", t.Text("model"), tensor, t.Number("batch")), Source: day,
			Seconds: ms * 1e-3, Args: [13]float64{t.Number("batch")},
		})
		return nil
	})
	return rows, err
}

// FitHost fits the host's time as a part an iteration and a part a sequence.
func FitHost(device string, tensor int, rows []Row) (*hwmodel.Host, error) {
	if len(rows) == 0 {
		return nil, fmt.Errorf("calibrate: no host times beside %s at tensor-parallel degree %d", device, tensor)
	}
	problem := Problem{
		Name: fmt.Sprintf("host at tensor-parallel degree %d", tensor), Rows: rows, Clean: []string{rows[0].Source},
		Parameters: []Parameter{
			{Name: "fixed", Start: 3e-3, Low: 1e-6, High: 1, Logarithms: true},
			{Name: "per sequence", Start: 1e-4, Low: 1e-7, High: 1e-1, Logarithms: true},
		},
		Predict: func(p []float64, r *Row) float64 { return p[0] + float64(p[1]*r.Args[0]) },
	}
	res, err := problem.Solve()
	if err != nil {
		return nil, err
	}
	h := &hwmodel.Host{Device: device, Tensor: tensor, Fixed: res.Values[0], PerSequence: res.Values[1], Fit: res.Fit}
	h.Source = fmt.Sprintf("schedule, prepare inputs, sample, process outputs and worker communication of the early-2024 Python engine, profile of %s by vidur", rows[0].Source)
	return h, nil
}

// FitEngines makes the engines that come with the program. They need the profiles,
// since what a launch or a host costs shows in iterations only.
func FitEngines(data string, profiles []*hwmodel.Profile) ([]*hwmodel.Engine, error) {
	january, err := fitHosts(data, "2024-01-02")
	if err != nil {
		return nil, err
	}
	launch, err := FitLaunch(data, profiles, january)
	if err != nil {
		return nil, err
	}
	may, err := fitHosts(data, "2024-05-13")
	if err != nil {
		return nil, err
	}
	engines := []*hwmodel.Engine{
		{
			Name: "sarathi-2024", Attention: "fa2", GEMM: "vllm", AllReduce: "nccl", MemoryFraction: 0.85, PadTokens: 8, Launch: *launch, Hosts: january,
			Note: "the Python engine of the Sarathi-Serve experiments (OSDI'24): eager kernels, FlashAttention-2 with a tile a query head, Ray workers, host time added; host times of January 2024, the profile nearest to the paper's first version and its iteration times",
		},
		{
			Name: "sarathi-2024-05", Attention: "fa2", GEMM: "vllm", AllReduce: "nccl", MemoryFraction: 0.85, PadTokens: 8, Launch: *launch, Hosts: may,
			Note: "as sarathi-2024, with the host time of May 2024, the last profile before the artefact came out in June: the engine of the capacity experiments, which were measured anew after the paper's first version of March 2024",
		},
		{
			Name: "ideal", Attention: "vllm", GEMM: "vllm", AllReduce: "custom", MemoryFraction: 0.9, PadTokens: 1, Overlap: true, Launch: hwmodel.Launch{Graphs: "all"},
			Note: "no host time at all: what the devices alone would do",
		},
	}
	artefact, err := FitArtefact(data, engines[0], profiles)
	if err != nil {
		return nil, err
	}
	fitted, err := fitWholeEngines(data, profiles, engines[0])
	return append(append(engines, artefact), fitted...), err
}

// fitHosts fits the host's time for every machine and degree measured on a day.
// The machines with A100 boards stand in for those that were not measured.
func fitHosts(data, day string) ([]hwmodel.Host, error) {
	var out []hwmodel.Host
	for _, m := range []struct {
		gpu, device string
		degrees     []int
	}{{"a100_sxm_80g", "", []int{1, 2, 4}}, {"a40", "a40-48gb", []int{1, 2, 4, 8}}} {
		for _, n := range m.degrees {
			rows, err := HostRows(data, m.gpu, day, n)
			if err != nil {
				return nil, err
			}
			h, err := FitHost(m.device, n, rows)
			if err != nil {
				return nil, err
			}
			out = append(out, *h)
		}
	}
	return slices.Clip(out), nil
}
