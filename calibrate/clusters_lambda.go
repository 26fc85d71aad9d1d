package calibrate

import (
	"fmt"
	"path/filepath"
	"strings"

	"orrery/hwmodel"
	"orrery/workloads/training"
)

// lambdaSetups are the networks of Lambda's benchmark that are described, in NVIDIA's
// reference implementations.
var lambdaSetups = map[string]training.Setup{
	"resnet50":           {Network: "resnet50", Optimiser: training.SGD},
	"SSD":                {Network: "ssd300", Optimiser: training.SGD},
	"bert_base_squad":    {Network: "bert_base", Optimiser: training.Adam},
	"bert_large_squad":   {Network: "bert_large", Optimiser: training.Adam},
	"gnmt":               {Network: "gnmt", Optimiser: training.Adam},
	"ncf":                {Network: "ncf", Optimiser: training.Adam},
	"transformerxlbase":  {Network: "transformerxl_base", Optimiser: training.Adam},
	"transformerxllarge": {Network: "transformerxl_large", Optimiser: training.Adam},
}

// LambdaClusters compares throughput on several devices of one machine, as Lambda measured
// it, with that of one device of the same kind at the same batch and precision times what is
// predicted to be left of it: seconds a sample of the whole machine. Rows without such a
// device alone, or of boards without a profile, are left out.
func LambdaClusters(data string, profiles []*hwmodel.Profile) ([]Whole, error) {
	file := filepath.Join(data, "engine", "training_throughput_lambda.csv")
	columns := []string{"gpu", "n_gpus", "link", "model", "precision", "batch_per_gpu", "throughput"}
	key := func(t *Table) string {
		return strings.Join([]string{t.Text("gpu"), t.Text("model"), t.Text("precision"), t.Text("batch_per_gpu")}, " ")
	}
	alone := map[string][]float64{}
	err := ReadTable(file, columns, func(t *Table) error {
		if t.Text("n_gpus") == "1" && t.Number("throughput") > 0 {
			alone[key(t)] = append(alone[key(t)], t.Number("throughput"))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	system, err := training.LoadSystem("lambda")
	if err != nil {
		return nil, err
	}
	var out []Whole
	err = ReadTable(file, columns, func(t *Table) error {
		s, ok := lambdaSetups[t.Text("model")]
		p := profileFor(profiles, t.Text("gpu"), false)
		one := alone[key(t)]
		if !ok || p == nil || len(one) == 0 || t.Text("n_gpus") == "1" || t.Number("throughput") == 0 {
			return nil
		}
		s.Batch, s.Precision = int(t.Number("batch_per_gpu")), training.TF32
		if t.Text("precision") != "FP32" {
			s.Precision = training.AMP
		}
		lone, err := s.Step(p, system)
		if err != nil {
			return err
		}
		s.Devices = int(t.Number("n_gpus"))
		step, err := s.Step(linked(p, t.Text("link")), system)
		if err != nil {
			return err
		}
		predicted := median(one) * step.Rate() / lone.Rate()
		what := fmt.Sprintf("%s %s, batch %d, %d devices %s", t.Text("model"), t.Text("precision"), s.Batch, s.Devices, t.Text("link"))
		out = append(out, Whole{"lambda clusters", t.Text("gpu"), strings.TrimSpace(what), 1 / t.Number("throughput"), 1 / predicted})
		return nil
	})
	return out, err
}

// linked returns p with pairs bridged, where a row says so and p has constants for that.
func linked(p *hwmodel.Profile, link string) *hwmodel.Profile {
	if _, _, err := p.AllReduce(hwmodel.NVLinkPair, "nccl", 2); link != "nvlink" || p.Device.Group != hwmodel.PCIe || err != nil {
		return p
	}
	q := *p
	q.Device.Group = hwmodel.NVLinkPair
	return &q
}
