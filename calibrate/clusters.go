package calibrate

import (
	"fmt"
	"path/filepath"

	"orrery/hwmodel"
	"orrery/workloads/training"
)

// FoundrySteps compares training steps of language models on 8 to 512 devices as MosaicML
// measured their throughput, in seconds a step. Rows in 8 bits are left out.
func FoundrySteps(data string, profiles []*hwmodel.Profile) ([]Whole, error) {
	var out []Whole
	columns := []string{"model", "seqlen", "n_gpus", "gpu", "micro_batch", "grad_accum", "tok_per_s_gpu", "precision", "sharding", "act_ckpt"}
	err := ReadTable(filepath.Join(data, "engine", "training_llmfoundry.csv"), columns, func(t *Table) error {
		p := profileFor(profiles, t.Text("gpu"), false)
		if p == nil || t.Text("precision") == "amp_fp8" {
			return nil
		}
		s := FoundrySetup(t)
		system, err := training.LoadSystem(map[bool]string{true: "mosaicml-h100", false: "mosaicml-a100"}[p.Device.GPU == "h100_sxm"])
		if err != nil {
			return err
		}
		step, err := s.Step(p, system)
		if err != nil {
			return err
		}
		tokens := float64(s.Batch * s.Accumulate * s.Sequence)
		what := fmt.Sprintf("%s, %d tokens, %d devices, %s", s.Network, s.Sequence, s.Devices, s.Sharding)
		if s.Checkpoint {
			what += ", checkpoints"
		}
		out = append(out, Whole{"llm-foundry", t.Text("gpu"), what, tokens / t.Number("tok_per_s_gpu"), step.Total.Seconds()})
		return nil
	})
	return out, err
}

// FoundrySetup returns the setup of a row of llm-foundry's table.
func FoundrySetup(t *Table) training.Setup {
	s := training.Setup{
		Network: "mpt-" + t.Text("model"), Sequence: int(t.Number("seqlen")), Batch: int(t.Number("micro_batch")), Accumulate: int(t.Number("grad_accum")),
		Devices: int(t.Number("n_gpus")), PerNode: 8, Precision: training.AMP, Optimiser: training.Adam, Checkpoint: t.Text("act_ckpt") == "True",
		Sharding: training.FSDP,
	}
	if t.Text("sharding") == "SHARD_GRAD_OP" {
		s.Sharding = training.ZeRO2
	}
	return s
}
