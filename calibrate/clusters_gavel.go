package calibrate

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"orrery/hwmodel"
	"orrery/workloads/training"
)

// gavelSetups are the jobs of Gavel whose networks are described, gavelSystems and
// gavelDevices its machines by their board.
var (
	gavelSetups = map[string]training.Setup{
		"ResNet-18":   {Network: "resnet18_cifar", Precision: training.FP32, Optimiser: training.SGD},
		"ResNet-50":   {Network: "resnet50", Precision: training.FP32, Optimiser: training.SGD},
		"Transformer": {Network: "transformer_base", Precision: training.FP32, Optimiser: training.Adam},
		"LM":          {Network: "lstm_lm", Precision: training.FP32, Optimiser: training.SGD},
	}
	gavelSystems = map[string]string{"p100": "gavel", "v100": "gavel-v100"}
	gavelDevices = map[string]string{"p100": "p100_pcie_16g", "v100": "v100_sxm_16g"}
)

// gavelJob is a job's name in Gavel's files and its batch, 0 if it has but one.
type gavelJob struct {
	name  string
	batch float64
}

func parseGavelJob(s string) gavelJob {
	name, rest, ok := strings.Cut(s, " (batch size ")
	var j gavelJob
	if j.name = name; ok {
		fmt.Sscanf(rest, "%g", &j.batch)
	}
	return j
}

// gavelAlone holds the seconds of steps of jobs that have a device to themselves, by device
// and job, as batches and seconds.
type gavelAlone map[string]map[string][2][]float64

func readGavelAlone(data string) (gavelAlone, error) {
	out := gavelAlone{}
	err := ReadTable(filepath.Join(data, "engine", "training_steps_gavel.csv"), []string{"gpu", "job", "gpus", "steps_per_s"}, func(t *Table) error {
		if t.Text("gpus") != "1" {
			return nil
		}
		gpu, j := t.Text("gpu"), parseGavelJob(t.Text("job"))
		if out[gpu] == nil {
			out[gpu] = map[string][2][]float64{}
		}
		ps := out[gpu][j.name]
		ps[0], ps[1] = append(ps[0], j.batch), append(ps[1], 1/t.Number("steps_per_s"))
		out[gpu][j.name] = ps
		return nil
	})
	return out, err
}

// at returns the seconds of a step that was measured.
func (g gavelAlone) at(gpu string, j gavelJob) (float64, bool) {
	ps := g[gpu][j.name]
	i := slices.Index(ps[0], j.batch)
	if i < 0 {
		return 0, false
	}
	return ps[1][i], true
}

// between returns the seconds of a step at a batch on the line through those that were
// measured.
func (g gavelAlone) between(gpu string, j gavelJob) (float64, bool) {
	if t, ok := g.at(gpu, j); ok {
		return t, true
	}
	ps := g[gpu][j.name]
	if len(ps[0]) < 2 {
		return 0, false
	}
	b := slope(ps[0], ps[1])
	t := mean(ps[1]) + b*(j.batch-mean(ps[0]))
	return t, t > 0
}

// GavelPairs compares the speeds of two jobs that shared a device, as Gavel measured them, with what
// is predicted from each alone. measured tells to leave out jobs whose speed alone is
// not in the table, but only on the line through other batches. Pairs that did not run are left out.
func GavelPairs(data string, measured bool) ([]Whole, error) {
	alone, err := readGavelAlone(data)
	if err != nil {
		return nil, err
	}
	find := alone.between
	if measured {
		find = alone.at
	}
	var out []Whole
	columns := []string{"gpu", "job_a", "job_b", "steps_per_s_a", "steps_per_s_b"}
	err = ReadTable(filepath.Join(data, "engine", "training_colocation_gavel.csv"), columns, func(t *Table) error {
		gpu := t.Text("gpu")
		jobs := [2]gavelJob{parseGavelJob(t.Text("job_a")), parseGavelJob(t.Text("job_b"))}
		rates := [2]float64{t.Number("steps_per_s_a"), t.Number("steps_per_s_b")}
		var each [2]training.Alone
		for i, j := range jobs {
			seconds, ok := find(gpu, j)
			if !ok || rates[i] == 0 {
				return nil
			}
			ps := alone[gpu][j.name]
			each[i] = training.Alone{Seconds: seconds, Busy: training.BusyFromSteps(ps[0], ps[1], j.batch)}
		}
		a, b := training.Together(each[0], each[1], math.MaxInt64)
		for i, kept := range []float64{a, b} {
			what := fmt.Sprintf("%s beside %s", t.Text([]string{"job_a", "job_b"}[i]), t.Text([]string{"job_b", "job_a"}[i]))
			out = append(out, Whole{"gavel pairs", gpu, what, 1 / rates[i], each[i].Seconds / kept})
		}
		return nil
	})
	return out, err
}

// GavelSteps compares steps on several devices, in one node or one in each, with the measured
// step of one device and the exchange that is predicted on top. Gavel counts the steps of
// all devices.
func GavelSteps(data string, profiles []*hwmodel.Profile, links *training.Links) ([]Whole, error) {
	alone, err := readGavelAlone(data)
	if err != nil {
		return nil, err
	}
	var out []Whole
	columns := []string{"gpu", "job", "gpus", "steps_per_s", "steps_per_s_unconsolidated"}
	err = ReadTable(filepath.Join(data, "engine", "training_steps_gavel.csv"), columns, func(t *Table) error {
		j := parseGavelJob(t.Text("job"))
		s, ok := gavelSetups[j.name]
		p := profileFor(profiles, gavelDevices[t.Text("gpu")], false)
		seconds, known := alone.between(t.Text("gpu"), j)
		if !ok || !known || p == nil || t.Text("gpus") == "1" {
			return nil
		}
		system, err := training.LoadSystem(gavelSystems[t.Text("gpu")])
		if err != nil {
			return err
		}
		with := *system
		with.Links = links
		s.Batch, s.Devices = int(j.batch), int(t.Number("gpus"))
		for _, column := range columns[3:] {
			if t.Text(column) == "" || t.Number(column) == 0 {
				continue
			}
			s.PerNode = s.Devices
			if column == "steps_per_s_unconsolidated" {
				s.PerNode = 1
			}
			step, err := s.Step(p, &with)
			if err != nil {
				return err
			}
			what := fmt.Sprintf("%s on %d of %d a node", t.Text("job"), s.Devices, s.PerNode)
			out = append(out, Whole{"gavel", t.Text("gpu"), what, float64(s.Devices) / t.Number(column), seconds + step.Exposed.Seconds()})
		}
		return nil
	})
	return out, err
}

// GavelFits counts the pairs of jobs that are described by whether they ran beside each other
// and whether by their memory they fit: ran and fit, ran and did not, did not run and
// fit, neither.
func GavelFits(data string, profiles []*hwmodel.Profile) (counts [4]int, err error) {
	columns := []string{"gpu", "job_a", "job_b", "steps_per_s_a"}
	err = ReadTable(filepath.Join(data, "engine", "training_colocation_gavel.csv"), columns, func(t *Table) error {
		p := profileFor(profiles, gavelDevices[t.Text("gpu")], false)
		var each [2]training.Alone
		for i, column := range columns[1:3] {
			j := parseGavelJob(t.Text(column))
			s, ok := gavelSetups[j.name]
			if !ok {
				return nil
			}
			s.Batch = int(j.batch)
			m, err := s.Memory()
			if err != nil {
				return err
			}
			each[i].Memory = m.Total
		}
		i := 0
		if t.Number("steps_per_s_a") == 0 {
			i = 2
		}
		if kept, _ := training.Together(each[0], each[1], p.Device.Memory); kept == 0 {
			i++
		}
		counts[i]++
		return nil
	})
	return counts, err
}
