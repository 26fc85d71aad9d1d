package calibrate

import (
	"fmt"
	"path/filepath"

	"orrery/hwmodel"
	"orrery/workloads/training"
)

// lambdaTokens are the tokens of a sample of networks whose throughput is counted in them:
// sentences of both languages, and segments.
var lambdaTokens = map[string]float64{"gnmt": 2 * 27, "transformerxlbase": 192, "transformerxllarge": 384}

// SingleSteps compares training steps on one device with what Sia, Lambda and Gavel measured,
// in seconds a step. Devices without a profile and networks that are not described are
// left out, and NCF on Sia's V100, which waited for its host.
func SingleSteps(data string, profiles []*hwmodel.Profile) ([]Whole, error) {
	var out []Whole
	for _, read := range []func(string, []*hwmodel.Profile) ([]Whole, error){siaSingle, lambdaSingle, gavelSingle} {
		wholes, err := read(data, profiles)
		if err != nil {
			return nil, err
		}
		out = append(out, wholes...)
	}
	return out, nil
}

// StepSlopes compares what a sample adds to a step of one of Sia's networks, the slope of step
// time over batch, on each device: seconds a sample, free of what a step costs
// whatever its size.
func StepSlopes(data, model string, profiles []*hwmodel.Profile) ([]Whole, error) {
	type line struct{ batch, measured, predicted []float64 }
	lines := map[string]*line{}
	err := eachSiaSingle(data, profiles, func(gpu, name string, batch int, measured, predicted float64) {
		if name != model {
			return
		}
		if lines[gpu] == nil {
			lines[gpu] = &line{}
		}
		l := lines[gpu]
		l.batch, l.measured, l.predicted = append(l.batch, float64(batch)), append(l.measured, measured), append(l.predicted, predicted)
	})
	var out []Whole
	for _, gpu := range sortedKeys(lines) {
		l := lines[gpu]
		out = append(out, Whole{"sia slopes", gpu, model + ", seconds a sample", slope(l.batch, l.measured), slope(l.batch, l.predicted)})
	}
	return out, err
}

// singleStep prices a step in the hands of a system of that name.
func singleStep(s training.Setup, p *hwmodel.Profile, system string) (float64, error) {
	sys, err := training.LoadSystem(system)
	if err != nil {
		return 0, err
	}
	step, err := s.Step(p, sys)
	return step.Total.Seconds(), err
}

func siaSingle(data string, profiles []*hwmodel.Profile) ([]Whole, error) {
	var out []Whole
	err := eachSiaSingle(data, profiles, func(gpu, model string, batch int, measured, predicted float64) {
		out = append(out, Whole{"sia " + model, gpu, fmt.Sprintf("%s, batch %d", model, batch), measured, predicted})
	})
	return out, err
}

// eachSiaSingle calls row with the seconds of each of Sia's steps on one device.
func eachSiaSingle(data string, profiles []*hwmodel.Profile, row func(gpu, model string, batch int, measured, predicted float64)) error {
	columns := []string{"gpu", "model", "gpus", "local_bsz", "step_time_s"}
	return ReadTable(filepath.Join(data, "engine", "training_steps_sia.csv"), columns, func(t *Table) error {
		gpu, model := t.Text("gpu"), t.Text("model")
		s, ok := siaSetups[model]
		p := profileFor(profiles, gpu, false)
		if !ok || p == nil || t.Text("gpus") != "1" || model == "ncf" && gpu == "v100_sxm_32g" {
			return nil
		}
		s.Batch = int(t.Number("local_bsz"))
		seconds, err := singleStep(s, p, siaSystems[gpu])
		if err != nil {
			return err
		}
		row(gpu, model, s.Batch, t.Number("step_time_s"), seconds)
		return nil
	})
}

func lambdaSingle(data string, profiles []*hwmodel.Profile) ([]Whole, error) {
	var out []Whole
	columns := []string{"gpu", "n_gpus", "model", "precision", "batch_per_gpu", "throughput"}
	err := ReadTable(filepath.Join(data, "engine", "training_throughput_lambda.csv"), columns, func(t *Table) error {
		model, p := t.Text("model"), profileFor(profiles, t.Text("gpu"), false)
		s, ok := lambdaSetups[model]
		if !ok || p == nil || t.Text("n_gpus") != "1" || t.Number("throughput") == 0 {
			return nil
		}
		s.Batch, s.Precision = int(t.Number("batch_per_gpu")), training.TF32
		if t.Text("precision") != "FP32" {
			s.Precision = training.AMP
		}
		seconds, err := singleStep(s, p, "lambda")
		if err != nil {
			return err
		}
		of := max(lambdaTokens[model], 1)
		what := fmt.Sprintf("%s %s, batch %d", model, t.Text("precision"), s.Batch)
		out = append(out, Whole{"lambda " + model, t.Text("gpu"), what, float64(s.Batch) * of / t.Number("throughput"), seconds})
		return nil
	})
	return out, err
}

func gavelSingle(data string, profiles []*hwmodel.Profile) ([]Whole, error) {
	var out []Whole
	columns := []string{"gpu", "job", "gpus", "steps_per_s"}
	err := ReadTable(filepath.Join(data, "engine", "training_steps_gavel.csv"), columns, func(t *Table) error {
		gpu, j := t.Text("gpu"), parseGavelJob(t.Text("job"))
		s, ok := gavelSetups[j.name]
		p := profileFor(profiles, gavelDevices[gpu], false)
		if !ok || p == nil || t.Text("gpus") != "1" {
			return nil
		}
		s.Batch = int(j.batch)
		seconds, err := singleStep(s, p, gavelSystems[gpu])
		out = append(out, Whole{"gavel " + j.name, gpu, t.Text("job"), 1 / t.Number("steps_per_s"), seconds})
		return err
	})
	return out, err
}
