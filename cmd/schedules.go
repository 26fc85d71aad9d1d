package cmd

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"orrery/plan"
	"orrery/policies/lrsched"
	"orrery/report"
	"orrery/workloads/quality"
)

type schedulesFlags struct {
	names    []string
	batch    float64
	momentum float64
	steps    int
	budgets  []float64
	batches  []float64
	targets  []float64
	points   []int
	norms    string
	norm     string
	smooth   float64
	out      string
	force    bool
	json     bool
	all      bool
}

// Bounds of what is asked, that a typing error does not run for hours.
const (
	mostScheduleSteps = 200_000
	mostScheduleRows  = 64
	baseSchedule      = "linear"
	reflected         = "rex"
)

func (a *app) schedulesCmd() *cobra.Command {
	var f schedulesFlags
	c := &cobra.Command{
		Use:   "schedules",
		Short: "Say what schedules of the learning rate are worth, by budget and batch",
		Long: `Schedules compares schedules of the learning rate under the noisy quadratic model, in exact
second moments, each tuned for its run: the loss at the end of every budget over that of linear
decay, the ratio of REX to linear by batch, the shortest runs that reach a loss, what the same
number of samples buys at every batch, and what reading a schedule at few points does.

With --norms it refines a schedule from the norms of the gradients of an earlier run, CSV with
columns norm and step, and says why where that is no use.`,
		Example: `  orrery schedules
  orrery schedules --batch 256 --momentum 0.9 --schedule linear,rex,rex+warmup=0.05
  orrery schedules --norms norms.csv --steps 2000`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.schedules(c.Context(), &f, c.Flags().Changed("steps"))
		},
	}
	fs := c.Flags()
	fs.StringSliceVar(&f.names, "schedule", []string{"linear", "constant", "exponential", "step-50-75", "step-30-60-90", "cosine", "onecycle", "rex", "rex-0.9"}, "schedules to compare, with wrappers as in rex+warmup=0.05")
	fs.Float64Var(&f.batch, "batch", 16, "samples a step; the model's own critical batch is about 16")
	fs.Float64Var(&f.momentum, "momentum", 0, "momentum of SGD")
	fs.IntVar(&f.steps, "steps", 2000, "steps of the whole budget")
	fs.Float64SliceVar(&f.budgets, "budgets", []float64{1, 5, 10, 25, 50, 100}, "budgets, percent of the whole")
	fs.Float64SliceVar(&f.batches, "batches", []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512}, "batches of the map")
	fs.Float64SliceVar(&f.targets, "target", nil, "losses to reach (default: those that linear decay has at the budgets)")
	fs.IntSliceVar(&f.points, "points", []int{100, 20, 10, 4, 3, 2}, "numbers of points to read a schedule at")
	fs.StringVar(&f.norms, "norms", "", "CSV of norms of gradients to refine a schedule from")
	fs.StringVar(&f.norm, "norm", "l2", "which norm they are: l2, for SGD, or l1, for Adam")
	fs.Float64Var(&f.smooth, "smooth", 0.1, "share of the run over which the median of the norms is taken")
	fs.StringVarP(&f.out, "out", "o", "", "folder for the results (default: results/TIME-RUN)")
	fs.BoolVar(&f.force, "force", false, "replace the results that are in the folder")
	fs.BoolVar(&f.json, "json", false, "print JSON on standard output")
	fs.BoolVar(&f.all, "all", false, "print what few points do to every schedule, not to REX and linear alone")
	return c
}

// scheduleAnswer is what schedules writes: tables, or a refined schedule.
type scheduleAnswer interface {
	text(all bool) string
	plots() []report.Plot
}

func (a *app) schedules(ctx context.Context, f *schedulesFlags, sized bool) error {
	var answer scheduleAnswer
	var err error
	if f.norms != "" {
		answer, err = f.refine(sized)
	} else {
		answer, err = f.compare(ctx)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return errNothing
	case err != nil:
		return badInput{err}
	}
	path := f.out
	if path == "" {
		path = "results/" + report.FolderName(time.Now(), uuid.NewString())
	}
	folder, err := createFolder(path, f.force)
	if err != nil {
		return err
	}
	defer folder.Abort()
	data, err := encode(answer)
	if err != nil {
		return err
	}
	folder.Write(report.ResultFile, data)
	folder.Write("table.txt", []byte(answer.text(true)))
	for _, p := range answer.plots() {
		folder.Plot(p)
	}
	if err := folder.Commit(); err != nil {
		return err
	}
	return a.show(answer, answer.text(f.all), f.json, folder.Path())
}

// check returns an error for the first flag that makes no sense.
func (f *schedulesFlags) check() error {
	positive := func(x float64) bool { return x > 0 && x <= 1e9 }
	switch {
	case !positive(f.batch):
		return inputErrorf("--batch %g; want a positive number of samples", f.batch)
	case !(f.momentum >= 0 && f.momentum < 1):
		return inputErrorf("--momentum %g; want at least 0 and below 1", f.momentum)
	case f.steps < 1 || f.steps > mostScheduleSteps:
		return inputErrorf("--steps %d; want 1 to %d", f.steps, mostScheduleSteps)
	case max(len(f.names), len(f.batches), len(f.targets), len(f.points), len(f.budgets)) > mostScheduleRows:
		return inputErrorf("a flag with more than %d values; want fewer", mostScheduleRows)
	case len(f.budgets) == 0:
		return inputErrorf("--budgets is empty; want percent of the steps")
	case slices.ContainsFunc(f.batches, func(b float64) bool { return !positive(b) }):
		return inputErrorf("--batches %v; want positive numbers", f.batches)
	case slices.ContainsFunc(f.targets, func(l float64) bool { return !positive(l) }):
		return inputErrorf("--target %v; want positive losses", f.targets)
	case slices.ContainsFunc(f.points, func(n int) bool { return n < 1 }):
		return inputErrorf("--points %v; want positive numbers", f.points)
	}
	for i, b := range f.budgets {
		if !(b > 0 && b <= 100) || f.length(b) < 1 || i > 0 && f.length(b) <= f.length(f.budgets[i-1]) {
			return inputErrorf("--budgets %v; want percent of %d steps, each above the one before and at least a step", f.budgets, f.steps)
		}
	}
	return nil
}

// length is the steps of a budget in percent.
func (f *schedulesFlags) length(percent float64) int {
	return int(math.Round(percent / 100 * float64(f.steps)))
}

// named loads the schedules to compare; linear is always among them, and REX.
func (f *schedulesFlags) named() (list []plan.NamedSchedule, profiles []lrsched.Profile, err error) {
	names := slices.Clone(f.names)
	for _, always := range []string{baseSchedule, reflected} {
		if !slices.Contains(names, always) {
			names = append(names, always)
		}
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return nil, nil, inputErrorf("--schedule names %q twice", name)
		}
		p, err := lrsched.Load(name)
		if err != nil {
			return nil, nil, err
		}
		profiles = append(profiles, p)
		list = append(list, plan.NamedSchedule{Name: name, Schedule: lrsched.Of(p), Sampled: func(points int) quality.Schedule {
			return lrsched.Of(lrsched.Sampled(points, p))
		}})
	}
	return list, profiles, nil
}

// compare computes the tables.
func (f *schedulesFlags) compare(ctx context.Context) (*schedulesAnswer, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	list, profiles, err := f.named()
	if err != nil {
		return nil, err
	}
	const spectrum, bins, beyond = 1000, 80, 16 // runs are looked for up to so many whole budgets
	q := &plan.SchedulesQuestion{
		Schedules: list, Model: quality.Standard(spectrum, bins), Grid: quality.Grid(), Batch: f.batch, Batches: f.batches,
		Targets: f.targets, Points: f.points, Most: beyond * f.steps,
	}
	q.Model.Momentum = f.momentum
	for i, s := range list {
		switch s.Name {
		case baseSchedule:
			q.Base = i
		case reflected:
			q.Against = i
		}
	}
	for _, b := range f.budgets {
		q.Budgets = append(q.Budgets, f.length(b))
	}
	tables, err := plan.CompareSchedules(ctx, q)
	if err != nil {
		return nil, err
	}
	return newSchedulesAnswer(q, tables, profiles), nil
}

// refine reads norms and refines a schedule from them.
func (f *schedulesFlags) refine(sized bool) (*refinedAnswer, error) {
	of := lrsched.L2
	switch f.norm {
	case "l2":
	case "l1":
		of = lrsched.L1
	default:
		return nil, inputErrorf("--norm %s; want l2 or l1", f.norm)
	}
	steps := 0
	if sized {
		if steps = f.steps; steps < 1 {
			return nil, inputErrorf("--steps %d; want a positive number", steps)
		}
	}
	in, err := os.Open(f.norms)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	norms, err := quality.ReadNorms(f.norms, in, steps)
	if err != nil {
		return nil, err
	}
	r, err := lrsched.Refine(norms, f.smooth, of)
	if err != nil && !errors.Is(err, lrsched.ErrDegenerate) {
		return nil, errors.New(strings.TrimSpace(f.norms + ": " + err.Error()))
	}
	return newRefinedAnswer(norms, r, err), nil
}
