package calibrate

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"orrery/hwmodel"
	"orrery/workloads/llm"
)

// EnergyRow is a published mean power of devices at work, or an energy by which it is
// known since the time is.
type EnergyRow struct {
	Device string // profile of the devices
	Kind   string // text or image
	Model  string // by its shapes; rows of one are held out of a fit together
	Shape  string // the rest of what was asked, in words
	Watts  float64
	// Prompts and Steps are what one device did in the mean second: in iterations with prompts,
	// and in those of decodes alone; of images, all that was done is in Steps.
	Prompts, Steps hwmodel.Exertion

	File string
	Line int
}

// Error returns predicted/measured - 1 of the power, which is that of the energy of a
// token, a request or an image in the time that was measured.
func (r *EnergyRow) Error(p *hwmodel.Power) float64 { return r.Predict(p)/r.Watts - 1 }

// Predict returns the mean watts of one device.
func (r *EnergyRow) Predict(p *hwmodel.Power) float64 {
	return p.Idle + p.Joules(r.Prompts) + p.Joules(r.Steps)
}

// WithTime returns predicted/measured - 1 of the energy where the time is predicted too, as
// factor times the measured one: the same work in another time.
func (r *EnergyRow) WithTime(p *hwmodel.Power, factor float64) float64 {
	joules := p.Idle * factor
	for _, e := range []hwmodel.Exertion{r.Prompts, r.Steps} {
		e.Busy *= factor
		joules += p.Joules(e)
	}
	return joules/r.Watts - 1
}

// ReadEnergy reads what is published of power and energy on devices that have a profile,
// of models whose shapes are known.
func ReadEnergy(data string, profiles []*hwmodel.Profile) ([]EnergyRow, error) {
	q := &powerReader{NewPricer(profiles)}
	var out []EnergyRow
	for _, f := range []struct {
		path    string
		columns []string
		read    func(t *Table) (*EnergyRow, error)
	}{
		{"engine/llm_mlenergy_v2.csv", []string{"gpu", "task", "model", "tp", "pp", "avg_batch", "avg_tpot_s", "throughput_tok_s", "avg_output_tokens", "energy_per_req_j"}, q.mlEnergy2Power},
		{"engine/llm_mlenergy_v3.csv", []string{"gpu", "task", "model", "weights", "n_gpus", "avg_batch", "out_tok_s", "avg_output_len", "avg_power_w"}, q.mlEnergy3Power},
		{"engine/llm_splitwise.csv", []string{"gpu", "model", "tensor_parallel", "prompt_size", "batch_size", "token_size", "prompt_time_ms", "token_time_ms", "avg_power"}, q.splitwisePower},
		{"diffusion/ml_energy_v2.csv", append(slices.Clone(diffusionColumns), "energy_J"), imagePower},
	} {
		err := ReadTable(filepath.Join(data, filepath.FromSlash(f.path)), f.columns, func(t *Table) error {
			r, err := f.read(t)
			if err != nil || r == nil || t.err != nil {
				return err
			}
			if !(r.Watts > 0) || math.IsInf(r.Watts, 0) {
				return fmt.Errorf("the mean power is %g W, must be above 0", r.Watts)
			}
			r.File, r.Line = t.path, t.line
			out = append(out, *r)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// textRow is what the work of a text model's row is made of: rates of the whole replica.
type textRow struct {
	device     string
	engine     string // what ran, as package hwmodel knows it
	name       string
	bytes      int // of a weight
	par        llm.Parallel
	iterations float64 // a second
	tokens     float64 // decoded a second
	prompts    float64 // a second
	context    float64 // tokens that a decoding sequence has behind it
}

// energy returns a row with its work filled in, nil if there is no profile of the device or the
// model's shapes are not at hand.
func (q *powerReader) energy(w *textRow) (*EnergyRow, error) {
	a, err := q.machine(w.device, w.engine, w.name, w.bytes, w.par)
	if err != nil || a == nil {
		return nil, err
	}
	r := &EnergyRow{Device: a.device.Name, Kind: hwmodel.TextWork, Model: a.model}
	// As many prompts share an iteration as requests end in one of decodes.
	decodes := max(1, w.tokens/w.iterations)
	together := max(1, int(w.prompts/w.iterations+0.5))
	prompts := promptBatch(together, meanPrompt)
	each := w.prompts / float64(together)
	busy := min(a.seconds(prompts)*each, 0.9)
	r.Prompts = a.mean(prompts, each, busy)
	r.Steps = a.mean(decodeBatch(int(decodes+0.5), w.context), w.iterations, 1-busy)
	return r, nil
}

// powerReader reads rows of power; it prices iterations to know how long devices were busy.
type powerReader struct{ pricer *Pricer }

// machine is a replica whose iterations have a time and an effort.
type machine struct {
	device  *hwmodel.Device
	model   string
	devices float64
	cost    *llm.Cost
	effort  *llm.Effort
}

// machine returns a replica, nil if there is no profile of the device or the model's shapes
// are not at hand.
func (q *powerReader) machine(device, engine, name string, bytes int, par llm.Parallel) (*machine, error) {
	m, err := PublishedModel(name, bytes)
	if err != nil || m == nil || deviceOf(device) == "" {
		return nil, err
	}
	e, err := hwmodel.LoadEngine(engine)
	if err != nil {
		return nil, err
	}
	w := &EngineRow{Device: deviceOf(device), Model: m, Parallel: par}
	p, err := q.pricer.profile(w)
	if err != nil {
		return nil, err
	}
	cost, err := q.pricer.cost(w, e)
	if err != nil {
		return nil, err
	}
	return &machine{&p.Device, m.Name, float64(par.Devices()), cost, llm.NewEffort(m, &p.Device)}, nil
}

// seconds returns how long the devices compute b, one stage after the other.
func (a *machine) seconds(b *hwmodel.Batch) float64 {
	var sum float64
	for s := range a.cost.Stages() {
		sum += a.cost.Stage(s, b).Seconds()
	}
	return sum
}

// mean returns what one device does in a second with so many iterations of b, which it spends
// a share of the time on.
func (a *machine) mean(b *hwmodel.Batch, perSecond, busy float64) hwmodel.Exertion {
	c, m := a.effort.Exert(b)
	return hwmodel.Exertion{Busy: busy, Compute: c * perSecond / a.devices, Memory: m * perSecond / a.devices}
}

// mlEnergy2Power reads vLLM of mid-2024 with a batch kept full. All decoding sequences get a
// token each TPOT, stalls by prompts included.
func (q *powerReader) mlEnergy2Power(t *Table) (*EnergyRow, error) {
	rate, output := t.Number("throughput_tok_s"), t.Number("avg_output_tokens")
	w := textRow{
		device: t.Text("gpu"), engine: "vllm-v0", name: t.Text("model"), bytes: 2, par: llm.Parallel{Tensor: int(t.Number("tp")), Pipeline: int(t.Number("pp"))},
		iterations: 1 / t.Number("avg_tpot_s"), tokens: rate, prompts: rate / output, context: meanPrompt + output/2,
	}
	r, err := q.energy(&w)
	if r != nil {
		r.Watts = t.Number("energy_per_req_j") * rate / output / float64(w.par.Devices())
		r.Shape = fmt.Sprintf("%s, %v, batch %s", t.Text("task"), w.par, t.Text("avg_batch"))
	}
	return r, err
}

// mlEnergy3Power reads vLLM V1 with a batch kept full, of tasks without images, videos or
// whole files in the prompt. The context is that of [mlEnergy3Times].
func (q *powerReader) mlEnergy3Power(t *Table) (*EnergyRow, error) {
	bytes := map[string]int{"bfloat16": 2, "fp8": 1}[t.Text("weights")]
	if task := t.Text("task"); bytes == 0 || task != "lm-arena-chat" && task != "gpqa" {
		return nil, nil
	}
	rate, output := t.Number("out_tok_s"), t.Number("avg_output_len")
	w := textRow{
		device: t.Text("gpu"), engine: "vllm-v1", name: t.Text("model"), bytes: bytes, par: llm.Parallel{Tensor: int(t.Number("n_gpus")), Pipeline: 1},
		iterations: rate / t.Number("avg_batch"), tokens: rate, prompts: rate / output, context: meanPrompt + 0.75*output,
	}
	r, err := q.energy(&w)
	if r != nil {
		r.Watts = t.Number("avg_power_w") / float64(w.par.Devices())
		r.Shape = fmt.Sprintf("%s, %v, batch %s", t.Text("task"), w.par, t.Text("avg_batch"))
	}
	return r, err
}

// idleShare is the mean power, as a share of the limit, below which a row of Splitwise's
// cannot be of devices at work: three rows with prompts of 8192 tokens lie at 0.17 to 0.18, a
// third of all others. Their averages were taken after the end of the run, so that they
// tell what an A100 draws with a model loaded.
const idleShare = 0.25

// splitwisePower reads requests that ran from beginning to end, prompts and tokens.
func (q *powerReader) splitwisePower(t *Table) (*EnergyRow, error) {
	share := t.Number("avg_power")
	if share < idleShare { // 0: not taken
		return nil, nil
	}
	par := llm.Parallel{Tensor: int(t.Number("tensor_parallel")), Pipeline: 1}
	a, err := q.machine(t.Text("gpu"), "vllm-2023", t.Text("model"), 2, par)
	if err != nil || a == nil {
		return nil, err
	}
	n, prompt, output := int(t.Number("batch_size")), int(t.Number("prompt_size")), t.Number("token_size")
	seconds := 1e-3 * (t.Number("prompt_time_ms") + (output-1)*t.Number("token_time_ms"))
	r := &EnergyRow{Device: a.device.Name, Kind: hwmodel.TextWork, Model: a.model, Shape: fmt.Sprintf("%v, %d prompts of %d, %g tokens", par, n, prompt, output), Watts: share * a.device.Watts}
	first := 1e-3 * t.Number("prompt_time_ms") / seconds
	r.Prompts = a.mean(promptBatch(n, prompt), 1/seconds, first)
	r.Steps = a.mean(decodeBatch(n, float64(prompt)+output/2), (output-1)/seconds, 1-first)
	return r, nil
}

// imagePower reads batches of images and clips.
func imagePower(t *Table) (*EnergyRow, error) {
	run, err := diffusionRow(t, "diffusers")
	if err != nil || run == nil {
		return nil, err
	}
	energy, err := strconv.ParseFloat(t.Text("energy_J"), 64)
	if err != nil {
		return nil, fmt.Errorf("energy_J is %q, not a number", t.Text("energy_J"))
	}
	d, known := Board(run.Device)
	if !known {
		return nil, nil
	}
	work, err := run.Job.Effort(&d)
	if err != nil {
		return nil, err
	}
	work.Busy = run.Seconds
	return &EnergyRow{
		Device: run.Device, Kind: hwmodel.ImageWork, Model: strings.TrimSuffix(run.Model, "-XT"), Shape: fmt.Sprintf("batch %d", run.Job.Batch),
		Watts: energy * float64(run.Job.Batch) / run.Seconds, Steps: work.Times(1 / run.Seconds),
	}, nil
}
