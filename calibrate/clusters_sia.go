package calibrate

import (
	"fmt"
	"path/filepath"
	"slices"

	"orrery/hwmodel"
	"orrery/workloads/training"
)

// siaSystems are the machines of Sia by their device, and siaSetups its networks. What a sample adds to a step
// tells in which format they ran: BERT and CIFAR-10 at the rate of 32-bit units, or of TF32 on A100;
// ResNet-50 beyond that on V100, in mixed precision; DeepSpeech2 as 32-bit units do, even on A100.
var (
	siaSystems = map[string]string{"rtx_2080ti": "sia-rtx", "a100_sxm_40g": "sia-dgx", "t4": "sia-aws", "quadro_rtx6000": "sia-quad", "v100_sxm_32g": "sia-azure"}
	siaSetups  = map[string]training.Setup{
		"bert":        {Network: "bert_base", Precision: training.TF32, Optimiser: training.Adam},
		"imagenet":    {Network: "resnet50", Precision: training.AMP, Optimiser: training.SGD},
		"cifar10":     {Network: "resnet18_cifar", Precision: training.TF32, Optimiser: training.SGD},
		"deepspeech2": {Network: "deepspeech2", Precision: training.FP32, Optimiser: training.SGD},
		"ncf":         {Network: "ncf_1m", Precision: training.FP32, Optimiser: training.Adam},
	}
)

// SiaRow is a step that Sia measured on some devices.
type SiaRow struct {
	GPU, Model, Placement string
	Setup                 training.Setup
	Seconds, Sync         float64 // of the step, and of the exchange as the program's clock had it
	Alone                 float64 // of the step of one device at that batch, between those that were measured
}

// ReadSia returns the steps of a model on more than one device, all models if model is
// empty. The steps of NCF on V100 waited for their hosts and are left out.
func ReadSia(data, model string) ([]SiaRow, error) {
	type point struct{ batch, seconds float64 }
	alone := map[string][]point{}
	var rows []SiaRow
	columns := []string{"gpu", "model", "placement", "nodes", "gpus", "local_bsz", "step_time_s", "sync_time_s"}
	err := ReadTable(filepath.Join(data, "engine", "training_steps_sia.csv"), columns, func(t *Table) error {
		r := SiaRow{GPU: t.Text("gpu"), Model: t.Text("model"), Placement: t.Text("placement"), Seconds: t.Number("step_time_s"), Sync: t.Number("sync_time_s")}
		s, ok := siaSetups[r.Model]
		if !ok || model != "" && r.Model != model || r.Model == "ncf" && r.GPU == "v100_sxm_32g" {
			return nil
		}
		s.Batch, s.Devices = int(t.Number("local_bsz")), int(t.Number("gpus"))
		nodes := int(t.Number("nodes"))
		s.PerNode = (s.Devices + nodes - 1) / nodes
		r.Setup = s
		if s.Devices == 1 {
			alone[r.GPU+r.Model] = append(alone[r.GPU+r.Model], point{float64(s.Batch), r.Seconds})
			return nil
		}
		rows = append(rows, r)
		return nil
	})
	for i := range rows {
		ps := alone[rows[i].GPU+rows[i].Model]
		slices.SortFunc(ps, func(a, b point) int { return int(a.batch - b.batch) })
		b := float64(rows[i].Setup.Batch)
		k := slices.IndexFunc(ps, func(p point) bool { return p.batch >= b })
		if k < 0 {
			k = len(ps) - 1
		}
		k = max(k, 1)
		rows[i].Alone = ps[k-1].seconds + (ps[k].seconds-ps[k-1].seconds)*(b-ps[k-1].batch)/(ps[k].batch-ps[k-1].batch)
	}
	return rows, err
}

// SiaSteps compares whole steps on several devices with what is predicted of them: wholly, or,
// where alone is given, on top of the measured step of one device, which is what exchanges are
// worth. links replaces those of the system, if not nil.
func SiaSteps(rows []SiaRow, profiles []*hwmodel.Profile, alone bool, links *training.Links) ([]Whole, error) {
	var out []Whole
	for i := range rows {
		r := &rows[i]
		system, err := training.LoadSystem(siaSystems[r.GPU])
		if err != nil {
			return nil, err
		}
		with := *system
		with.Links = links
		step, err := r.Setup.Step(profileFor(profiles, r.GPU, false), &with)
		if err != nil {
			return nil, err
		}
		predicted := step.Total.Seconds()
		if alone {
			predicted = r.Alone + step.Exposed.Seconds()
		}
		out = append(out, Whole{"sia " + r.Model, r.GPU, fmt.Sprintf("%s on %s, batch %d", r.Model, r.Placement, r.Setup.Batch), r.Seconds, predicted})
	}
	return out, nil
}
