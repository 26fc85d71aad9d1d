package calibrate

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"orrery/hwmodel"
	"orrery/workloads/net"
)

// Whole is something larger than an operator that was timed and predicted: a training
// step, an inference, an iteration.
type Whole struct {
	Set       string // of measurements
	GPU       string
	What      string
	Measured  float64 // seconds, or a ratio
	Predicted float64
}

// Error returns |predicted/measured - 1|.
func (w *Whole) Error() float64 { return abs(w.Predicted/w.Measured - 1) }

func abs(v float64) float64 { return max(v, -v) }

// netSources prefers, among the measurements that an operator's constants stand for,
// those that time kernels alone: a framework launches ahead of the device in a step of
// any size.
var netSources = []string{"deepbench", "kperf", "vidur", "gpu-benches", "neusight"}

// StepSeconds prices operators one after another on the device of p. precision is fp16
// (operators run in 16 bits but for what must not), tf32 (products on tensor cores) or
// fp32.
func StepSeconds(p *hwmodel.Profile, ops []net.Op, precision string) (float64, error) {
	var sum float64
	for i := range ops {
		op := &ops[i]
		o, ok := FindOperator(op.Table)
		if !ok {
			return 0, fmt.Errorf("calibrate: no operator %q", op.Table)
		}
		r := Row{GPU: p.Device.GPU, DType: precision, Words: [2]string{op.Word}, Args: op.Sizes}
		switch {
		case op.Float32, precision == "tf32" && op.Table != "gemm" && op.Table != "conv2d":
			r.DType = "fp32"
		case precision == "tf32" && op.Table == "conv2d":
			r.DType = "fp32_tf32ok" // as measurements of the library have it
		}
		e, err := o.first(p, &r, netSources)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", o.describe(&r), err)
		}
		sum += e.Seconds * float64(max(op.Count, 1))
	}
	return sum, nil
}

// first prices a row by the constants of the first of the sources that gives a
// measured price, or else a derived one.
func (o *Operator) first(p *hwmodel.Profile, r *Row, sources []string) (hwmodel.Estimate, error) {
	var best hwmodel.Estimate
	var failed error
	for _, s := range sources {
		r.Source = s
		e, err := o.Predict(p, r)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if !e.Derived {
			return e, nil
		}
		if best.Seconds == 0 {
			best = e
		}
	}
	if best.Seconds == 0 {
		return best, failed
	}
	return best, nil
}

// SiaSlopes compares the time an image takes in a training step of ResNet-50, the slope
// of step time over batch, on single GPUs as Sia measured it. Its V100 would exceed the
// peak of its 32-bit units at the rates seen, so that the steps ran in mixed precision.
// Slopes are free of what a step costs whatever its size: launches, data loading, the
// optimiser.
func SiaSlopes(data string, profiles []*hwmodel.Profile) ([]Whole, error) {
	type point struct{ batch, seconds float64 }
	points := map[string][]point{}
	err := ReadTable(filepath.Join(data, "engine", "training_steps_sia.csv"), []string{"gpu", "model", "placement", "local_bsz", "step_time_s"}, func(t *Table) error {
		if t.Text("model") == "imagenet" && t.Text("placement") == "1" {
			points[t.Text("gpu")] = append(points[t.Text("gpu")], point{t.Number("local_bsz"), t.Number("step_time_s")})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	n, err := net.Load("resnet50")
	if err != nil {
		return nil, err
	}
	var out []Whole
	for _, gpu := range sortedKeys(points) {
		p := profileFor(profiles, gpu, false)
		if p == nil {
			continue
		}
		var x, y, z []float64
		for _, q := range points[gpu] {
			s, err := StepSeconds(p, n.Train(int(q.batch), net.SGD), "fp16")
			if err != nil {
				return nil, err
			}
			x, y, z = append(x, q.batch), append(y, q.seconds), append(z, s)
		}
		out = append(out, Whole{"sia slopes", gpu, "resnet50 training, seconds an image", slope(x, y), slope(x, z)})
	}
	return out, nil
}

// slope returns the least-squares slope of y over x.
func slope(x, y []float64) float64 {
	mx, my := mean(x), mean(y)
	var xy, xx float64
	for i := range x {
		xy += (x[i] - mx) * (y[i] - my)
		xx += (x[i] - mx) * (x[i] - mx)
	}
	return xy / xx
}

// Ratios returns the ratios of all pairs of wholes, those of one predicted against those
// measured.
func Ratios(wholes []Whole) []Whole {
	var out []Whole
	for i, a := range wholes {
		for _, b := range wholes[i+1:] {
			out = append(out, Whole{a.Set, a.GPU + " : " + b.GPU, a.What, a.Measured / b.Measured, a.Predicted / b.Predicted})
		}
	}
	return out
}

// LambdaSteps compares training steps of ResNet-50 and BERT on single GPUs as Lambda
// measured their throughput.
func LambdaSteps(data string, profiles []*hwmodel.Profile, gpus ...string) ([]Whole, error) {
	nets := map[string]struct {
		name string
		opt  net.Optimiser
	}{"resnet50": {"resnet50", net.SGD}, "bert_base_squad": {"bert_base", net.Adam}, "bert_large_squad": {"bert_large", net.Adam}}
	var out []Whole
	columns := []string{"gpu", "n_gpus", "model", "precision", "batch_per_gpu", "throughput"}
	err := ReadTable(filepath.Join(data, "engine", "training_throughput_lambda.csv"), columns, func(t *Table) error {
		m, ok := nets[t.Text("model")]
		p := profileFor(profiles, t.Text("gpu"), false)
		if !ok || p == nil || t.Text("n_gpus") != "1" || !slices.Contains(gpus, t.Text("gpu")) {
			return nil
		}
		n, err := net.Load(m.name)
		if err != nil {
			return err
		}
		precision := "fp16"
		switch {
		case t.Text("precision") != "FP32":
		case p.Device.TF32FLOPs > 0:
			precision = "tf32" // the containers' default where the board has it
		default:
			precision = "fp32"
		}
		batch := t.Number("batch_per_gpu")
		s, err := StepSeconds(p, n.Train(int(batch), m.opt), precision)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%s training %s, batch %g", m.name, precision, batch)
		out = append(out, Whole{"lambda", t.Text("gpu"), what, batch / t.Number("throughput"), s})
		return nil
	})
	return out, err
}

// CNNSteps compares inference and training steps of image networks on single GPUs as
// the pytorch-gpu-benchmark measured them at batch 12, on the wall clock. Small networks
// wait for the host there, which launches each operator by itself: launch is what that
// takes, seconds an operator and pass.
func CNNSteps(data string, profiles []*hwmodel.Profile, launch float64, gpus ...string) ([]Whole, error) {
	var out []Whole
	columns := []string{"gpu", "n_gpus", "dtype", "mode", "model", "median_ms", "batch_per_gpu"}
	err := ReadTable(filepath.Join(data, "engine", "cnn_ryujaehun.csv"), columns, func(t *Table) error {
		p := profileFor(profiles, t.Text("gpu"), false)
		if p == nil || t.Text("n_gpus") != "1" || !slices.Contains(gpus, t.Text("gpu")) {
			return nil
		}
		n, err := net.Load(t.Text("model"))
		if err != nil {
			return nil // not among those described
		}
		ops := n.Forward(int(t.Number("batch_per_gpu")))
		if t.Text("mode") == "training" {
			ops = n.Train(int(t.Number("batch_per_gpu")), net.SGD)
		}
		s, err := StepSeconds(p, ops, t.Text("dtype"))
		if err != nil {
			return err
		}
		s = max(s, launch*float64(len(ops)))
		out = append(out, Whole{"cnn", t.Text("gpu"), fmt.Sprintf("%s %s %s", t.Text("model"), t.Text("mode"), t.Text("dtype")), t.Number("median_ms") * 1e-3, s})
		return nil
	})
	return out, err
}

// MedianError returns the median of the errors of wholes.
func MedianError(wholes []Whole) float64 {
	var errs []float64
	for i := range wholes {
		errs = append(errs, wholes[i].Error())
	}
	if len(errs) == 0 {
		return 0
	}
	return median(errs)
}
