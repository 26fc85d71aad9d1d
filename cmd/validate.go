package cmd

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"orrery/calibrate"
	"orrery/cluster/processor"
	"orrery/infer"
	"orrery/plan/validate"
	"orrery/scenarios"
	"orrery/workloads/llm"
)

// measurementFile has the iterations that a validation measured.
const measurementFile = "measurement.txt"

// defaultValidation is the scenario of validate if none is named.
const defaultValidation = "cpu"

type validateFlags struct {
	common
	options      validate.Options
	blas         string
	threads      int
	gpu          int // -1 for the processor
	measurements []string
}

// validateAnswer is what validate writes and, with --json, prints.
type validateAnswer struct {
	question
	Machine string `json:"machine"`
	*validate.Report
}

func (a *app) validateCmd() *cobra.Command {
	var f validateFlags
	c := &cobra.Command{
		Use:   "validate [SCENARIO]",
		Short: "Run a scenario simulated and for real, and compare",
		Long: `Validate runs the model of a scenario on this machine's processor, with random
weights, under the scenario's policies and with the scenario's lengths, and
simulates the same requests under the same policies. The simulator's prices come
from iterations of other sequences that are measured on the machine between the runs;
the folder of results keeps them as measurement.txt, which is good for --measurements
and for cost.kind = "measured" in a scenario.
Each run is repeated; where the repetitions differ by more than the limit of a
figure, the machine is too noisy to judge it: stop what else is running.

Loads are shares of the rate at which the policy that serves least keeps up.`,
		Example: `  orrery validate
  orrery validate cpu --loads 0.7 --length 20s
  orrery validate my.toml --blas openblas --json
  orrery validate cpu --measurements results/20260102-030405-0123abcd/measurement.txt`,
		Args: scenarioArgs(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			name := defaultValidation
			if len(args) == 1 {
				name = args[0]
			}
			return a.validate(c.Context(), name, &f)
		},
	}
	f.add(c, "")
	fs, o := c.Flags(), &f.options
	fs.Float64SliceVar(&o.Loads, "loads", []float64{0.5, 0.9}, "shares of the capacity to run at")
	fs.DurationVar(&o.Length, "length", 3*time.Second, "how long requests arrive in each run")
	fs.DurationVar(&o.Calibration, "calibration", 15*time.Second, "how long iterations are measured, in all")
	fs.IntVar(&o.Repeats, "repeats", 2, "real runs of each policy at each load, 2 or more")
	fs.StringSliceVar(&f.measurements, "measurements", nil, "take prices from these files instead, such as an earlier measurement.txt")
	fs.StringVar(&f.blas, "blas", "auto", "gonum, openblas, or auto for OpenBLAS where it is installed")
	fs.IntVar(&f.gpu, "gpu", -1, "run on this NVIDIA GPU, counted from 0, rather than on the processor")
	fs.IntVar(&f.threads, "threads", 1, "threads that compute; one leaves the others to the rest of the machine")
	return c
}

func (a *app) validate(ctx context.Context, name string, f *validateFlags) error {
	subjects, err := f.subjects([]string{name}, nil)
	if err != nil {
		return err
	}
	first := subjects[0].scenario
	machine, board, text, err := f.machine(first)
	if err != nil {
		return badInput{err}
	}
	o := f.options
	o.Seed = first.Seed
	if o.Measured, err = measuredIterations(f.measurements, first); err != nil {
		return err
	}
	if err := o.Check(); err != nil {
		return badInput{err}
	}
	answer := &validateAnswer{question: newQuestion("validate", subjects, []uint64{first.Seed}), Machine: text}
	folder, err := f.folder(time.Now(), answer.RunID)
	if err != nil {
		return err
	}
	defer folder.Abort()

	bar := a.newProgress("validating")
	o.Progress = func(_ string, done, total time.Duration) { bar.set(int64(done), int64(total)) }
	answer.Report, err = validate.Run(ctx, machine, validationSubjects(subjects), o)
	bar.end()
	if ctx.Err() != nil {
		return errNothing
	}
	if err != nil {
		return err
	}
	table := fmt.Sprintf("%s on %s\n%s", first.Name, text, answer.Text())
	for _, p := range answer.Plots() {
		folder.Plot(p)
	}
	folder.File(measurementFile, measurementOf(answer, first, board).Write)
	if err := keep(folder, subjects, answer, table); err != nil {
		return err
	}
	return a.show(answer, table, f.json, folder.Path())
}

// measuredIterations reads iterations of the scenario's model that were measured
// before, none if there are no files.
func measuredIterations(files []string, s *scenarios.Scenario) ([]calibrate.IterationSample, error) {
	if len(files) == 0 {
		return nil, nil
	}
	m, err := calibrate.ReadMeasurements(files...)
	if err != nil {
		return nil, badInput{err}
	}
	model, _, _ := s.Replica()
	out := m.IterationsOf(model.Name, 1)
	if len(out) == 0 {
		return nil, inputErrorf("%s: no iteration of %s on one device; want a file that validate wrote for it", strings.Join(files, ", "), model.Name)
	}
	return out, nil
}

// measurementOf returns what a validation measured, for later ones.
func measurementOf(v *validateAnswer, s *scenarios.Scenario, board string) *calibrate.Measured {
	model, _, _ := s.Replica()
	m := &calibrate.Measured{
		Facts: []calibrate.Fact{
			{Key: "tool", Value: "orrery validate " + v.Version}, {Key: "machine", Value: v.Machine},
			{Key: "clock", Value: "the executor's own, without the host's work around it"},
			{Key: scenarios.HostFact, Value: strconv.FormatFloat(float64(v.Calibration.HostS), 'g', 4, 64)},
		},
		Iterations: slices.Clone(v.Samples()),
	}
	for i := range m.Iterations {
		n := &m.Iterations[i]
		n.GPU, n.Model, n.Engine, n.Tensor, n.Source = board, model.Name, "orrery", 1, "orrery-validate"
	}
	return m
}

// validationSubjects wires scenarios for validation, at any rate.
func validationSubjects(subjects []subject) []validate.Subject {
	out := make([]validate.Subject, len(subjects))
	for i, s := range subjects {
		out[i] = validate.Subject{Name: s.label, Build: func(rate float64, n int64, seed uint64) (*validate.Trial, error) {
			at, err := s.scenario.AtRate(rate)
			if err != nil {
				return nil, err
			}
			if at, err = at.With(fmt.Sprintf("traffic.requests=%d", n)); err != nil {
				return nil, err
			}
			e, err := at.Build(seed)
			if err != nil {
				return nil, err
			}
			return &validate.Trial{Config: e.Config, Specs: e.Specs, SLO: e.SLO, Close: e.Close}, nil
		}}
	}
	return out
}

// machine returns the executor that the flags name, the board it runs on as measurement
// files name it, and what it is in words.
func (f *validateFlags) machine(s *scenarios.Scenario) (e *processor.Executor, board, text string, err error) {
	if f.gpu >= 0 {
		return realGPU(s, f.gpu)
	}
	e, text, err = realMachine(s, f.blas, f.threads)
	return e, "cpu", text, err
}

// realMachine returns an executor for the model of a scenario on this processor, and
// says in words what it is.
func realMachine(s *scenarios.Scenario, blas string, threads int) (*processor.Executor, string, error) {
	model, blocks, blockTokens := s.Replica()
	if model == nil {
		return nil, "", fmt.Errorf("%s names no model to run; want model.name, such as orrery-25m", s.Name)
	}
	if err := runnable(model); err != nil {
		return nil, "", err
	}
	m, err := infer.New(infer.Config{
		Layers: model.Layers, Hidden: model.Hidden, Heads: model.Heads, KVHeads: model.KVHeads, HeadDim: model.HeadDim,
		Intermediate: model.Intermediate, Vocab: model.Vocab,
		BlockTokens: blockTokens, Blocks: int(blocks), BLAS: blas, Threads: threads, Seed: s.Seed,
	})
	if err != nil {
		return nil, "", err
	}
	text := fmt.Sprintf("%s with random weights, %d of %d processors (%s), BLAS %s", model.Name, m.Threads(), runtime.NumCPU(), runtime.GOARCH, m.BLAS())
	return processor.New(m, model.Vocab, s.Seed), text, nil
}

// runnable refuses shapes that the executor has no operators for.
func runnable(m *llm.Model) error {
	for _, f := range []struct {
		what string
		has  bool
	}{
		{"experts", m.Experts > 0}, {"a sliding window", m.SlidingWindow > 0}, {"biases", m.QKVBias || m.OutBias || m.MLPBias},
		{"an MLP without gate", !m.Gated}, {"parallel blocks", m.ParallelBlock}, {"norms of heads", m.QKNorm},
	} {
		if f.has {
			return fmt.Errorf("%s has %s, which the executor does not compute; want a model of Llama's shape, such as orrery-25m", m.Name, f.what)
		}
	}
	return nil
}
