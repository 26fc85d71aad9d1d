package calibrate

import (
	"path/filepath"
	"testing"
)

// Language models on 8 to 512 devices. One constant was found on these rows, how
// much slower H100s run than in single kernels, on one of the nine sizes.
func TestFoundrySteps(t *testing.T) {
	dir, profiles := measurements(t), everyProfile(t)
	wholes, err := FoundrySteps(dir, profiles)
	if err != nil {
		t.Fatal(err)
	}
	if got := MedianError(wholes); len(wholes) < 150 || got > 0.10 {
		t.Errorf("median error %.1f %% over %d rows, allowed 10 %% over 150", 100*got, len(wholes))
	}
}

// Runs that were measured did fit into their devices.
func TestWhatRanFits(t *testing.T) {
	dir, profiles := measurements(t), everyProfile(t)
	rows, over := 0, 0
	columns := []string{"model", "seqlen", "n_gpus", "gpu", "micro_batch", "grad_accum", "sharding", "act_ckpt"}
	err := ReadTable(filepath.Join(dir, "engine", "training_llmfoundry.csv"), columns, func(r *Table) error {
		s := FoundrySetup(r)
		m, err := s.Memory()
		if err != nil {
			return err
		}
		rows++
		if p := profileFor(profiles, r.Text("gpu"), false); m.Total > p.Device.Memory {
			over++
			t.Logf("%s, %d tokens, batch %d on %d %s: %.1f GB of %.1f", s.Network, s.Sequence, s.Batch, s.Devices, p.Device.GPU, float64(m.Total)/1e9, float64(p.Device.Memory)/1e9)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if rows < 150 || over > rows/20 {
		t.Errorf("%d of %d runs would not have fit", over, rows)
	}
}
