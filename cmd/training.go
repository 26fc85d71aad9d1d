package cmd

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"orrery/cluster/jobs"
	"orrery/report"
	"orrery/report/chart"
	"orrery/scenarios"
	"orrery/sim"
)

// trainingOut is what run writes of a scenario of training jobs.
type trainingOut struct {
	*report.Jobs
	Serving *report.Result `json:"serving,omitzero"`
}

// runTraining runs a scenario of training jobs.
func (a *app) runTraining(ctx context.Context, name string, f *runFlags) error {
	t, err := scenarios.LoadTraining(name, f.sets...)
	if err != nil {
		return err
	}
	folder, err := f.folder(time.Now(), uuid.NewString())
	if err != nil {
		return err
	}
	defer folder.Abort()
	bar := a.newProgress("simulating")
	defer bar.end()
	over := devicesOver{types: t.Devices}
	r, out, err := trainOnce(ctx, t, over.record)
	bar.end()
	if err != nil {
		return err
	}
	over.lend(out)
	text := r.Text()
	if out.Serving != nil {
		text += "\nthe fleet beside them\n" + out.Serving.Verdict()
	}
	data, err := encode(trainingOut{r, out.Serving})
	if err != nil {
		return err
	}
	folder.Write(report.ResultFile, data)
	folder.Write("table.txt", []byte(text))
	for _, p := range r.Plots(over.series(float64(r.EndS))) {
		folder.Plot(p)
	}
	if err := folder.Commit(); err != nil {
		return err
	}
	if err := a.show(trainingOut{r, out.Serving}, text, f.json, folder.Path()); err != nil {
		return err
	}
	if r.Partial {
		return errInterrupted
	}
	return nil
}

func loadTraining(name string, f *common) (*scenarios.Training, error) {
	sets := f.sets
	if f.seedSet {
		sets = append(sets[:len(sets):len(sets)], fmt.Sprintf("seed=%d", f.seed))
	}
	return scenarios.LoadTraining(name, sets...)
}

// trainOnce carries a scenario out and sums it up.
func trainOnce(ctx context.Context, t *scenarios.Training, record func(jobs.Record)) (*report.Jobs, *scenarios.TrainingRun, error) {
	out, err := t.Run(ctx, record, nil)
	if err != nil {
		return nil, nil, badInput{err}
	}
	r := report.NewJobs(&out.Outcome, out.Types)
	r.Name, r.Policy, r.Seed, r.Version = t.Name, t.Policy, t.Seed, scenarios.Version()
	r.Flags = append(r.Flags, out.Flags...)
	for _, l := range out.Losses {
		for i := range r.Kinds {
			if k := &r.Kinds[i]; k.Name == l.Name {
				k.LossPlanned, k.LossRan, k.LossReplanned = report.Number(l.Planned), report.Number(l.Ran), report.Number(l.Replanned)
			}
		}
	}
	for i := range r.Types {
		r.Types[i].Lent = out.Lent[i] / 3600
	}
	return r, out, nil
}

// devicesOver notes how many devices jobs hold over time.
type devicesOver struct {
	types  []scenarios.TrainingDevice
	at     [][]float64
	held   [][]float64
	widths map[int64][2]int // of jobs that hold devices of their own, by type and width
	fleet  chart.Series
}

func (d *devicesOver) record(r jobs.Record) {
	if d.widths == nil {
		d.widths = map[int64][2]int{}
		d.at, d.held = make([][]float64, len(d.types)), make([][]float64, len(d.types))
	}
	switch r.What {
	case jobs.Started:
		if r.With < 0 || r.With > r.Job {
			d.widths[r.Job] = [2]int{r.Type, r.Width}
			d.add(r.At, r.Type, float64(r.Width))
		}
	case jobs.Stopped, jobs.Finished:
		if w, ok := d.widths[r.Job]; ok {
			delete(d.widths, r.Job)
			d.add(r.At, w[0], -float64(w[1]))
		}
	}
}

// add makes a stair, one step for all that changes at an instant.
func (d *devicesOver) add(at sim.Time, typ int, by float64) {
	n, last := len(d.held[typ]), 0.0
	if n > 0 {
		last = d.held[typ][n-1]
		if d.at[typ][n-1] == at.Seconds() {
			d.held[typ][n-1] += by
			return
		}
	}
	d.at[typ] = append(d.at[typ], at.Seconds(), at.Seconds())
	d.held[typ] = append(d.held[typ], last, last+by)
}

// lend adds the devices of the fleet.
func (d *devicesOver) lend(out *scenarios.TrainingRun) {
	d.fleet.Name = "the fleet"
	last := 0.0
	for _, s := range out.Held {
		d.fleet.X = append(d.fleet.X, s.At.Seconds(), s.At.Seconds())
		d.fleet.Y = append(d.fleet.Y, last, float64(s.Devices))
		last = float64(s.Devices)
	}
}

func (d *devicesOver) series(end float64) []chart.Series {
	var out []chart.Series
	for i, t := range d.types {
		if i < len(d.at) && len(d.at[i]) > 0 {
			n := len(d.held[i])
			out = append(out, chart.Series{Name: "jobs on " + t.Device, X: append(d.at[i], end), Y: append(d.held[i], d.held[i][n-1])})
		}
	}
	if len(d.fleet.X) > 0 {
		out = append(out, d.fleet)
	}
	return out
}

// jobsAnswer is what jobs writes and, with --json, prints.
type jobsAnswer struct {
	Name string         `json:"name"`
	Runs []*report.Jobs `json:"runs"`
}

func (a *app) jobsCmd() *cobra.Command {
	var f common
	c := &cobra.Command{
		Use:   "jobs SCENARIO",
		Short: "Compare the policies that share a cluster among training jobs",
		Long: `Jobs runs a scenario of training jobs under every policy that shares devices, with the same
jobs, and prints completion times, waits, deadlines, GPU-hours and cost side by side. A single
policy is run, with its plots, by orrery run.`,
		Example: `  orrery jobs training/mix
  orrery jobs training/mix --set mix.per_hour=12.0 --seed 3`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return inputErrorf("%d scenarios; want one, such as %s %s", len(args), c.CommandPath(), scenarios.Trainings()[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.compareJobs(c.Context(), args[0], &f) },
	}
	f.add(c, "")
	return c
}

func (a *app) compareJobs(ctx context.Context, name string, f *common) error {
	t, err := loadTraining(name, f)
	if err != nil {
		return err
	}
	folder, err := f.folder(time.Now(), uuid.NewString())
	if err != nil {
		return err
	}
	defer folder.Abort()
	bar := a.newProgress("comparing")
	defer bar.end()
	answer := &jobsAnswer{Name: t.Name}
	policies := scenarios.SharePolicies()
	for i, p := range policies {
		one, err := t.With(fmt.Sprintf("policy=%q", p.Name))
		if err != nil {
			return err
		}
		r, _, err := trainOnce(ctx, one, nil)
		switch {
		case ctx.Err() != nil:
			return errNothing
		case err != nil:
			return err
		}
		answer.Runs = append(answer.Runs, r)
		bar.set(int64(i+1), int64(len(policies)))
	}
	bar.end()
	data, err := encode(answer)
	if err != nil {
		return err
	}
	text := answer.text()
	folder.Write(report.ResultFile, data)
	folder.Write("table.txt", []byte(text))
	if err := folder.Commit(); err != nil {
		return err
	}
	return a.show(answer, text, f.json, folder.Path())
}

// text returns what is printed.
func (x *jobsAnswer) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d jobs under %d policies\n\n", x.Name, x.Runs[0].Arrived, len(x.Runs))
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "policy\tmean completion\tp99\tmean wait\tslowness p99\tdeadlines\tGPU-hours\tcost\tpre-emptions\t")
	for _, r := range x.Runs {
		met := "-"
		if r.Deadlines > 0 {
			met = fmt.Sprintf("%d of %d", r.Met, r.Deadlines)
		}
		fmt.Fprintf(t, "%s\t%.2f h\t%.2f h\t%.2f h\t%.3g\t%s\t%.4g\t%.2f\t%d\t\n", r.Policy, float64(r.JCT.Mean)/3600, float64(r.JCT.P99)/3600, float64(r.Wait.Mean)/3600, float64(r.SlowP99), met, float64(r.Hours.All), float64(r.Cost), r.Preemptions)
	}
	t.Flush()
	for _, f := range x.Runs[0].Flags {
		fmt.Fprintf(&b, "! %s\n", f)
	}
	return b.String()
}
