package cmd

import (
	"context"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"orrery/plan"
	"orrery/report"
	"orrery/report/chart"
	"orrery/scenarios"
)

type budgetFlags struct {
	sets  []string
	out   string
	force bool
	json  bool
	all   bool
}

// budgetAnswer is what budget writes and, with --json, prints.
type budgetAnswer struct {
	Name     string         `json:"name"`
	Version  string         `json:"version"`
	Network  string         `json:"network"`
	Goal     string         `json:"goal"`
	Options  []budgetOption `json:"options"`
	Rows     []budgetRow    `json:"rows"`
	Residual report.Number  `json:"quality_residual"` // of the fit to the job's curves
	Flags    []string       `json:"flags"`
	curves   []chart.Series
}

// budgetOption is a step on some devices.
type budgetOption struct {
	Device  string  `json:"device"`
	Width   int     `json:"width"`
	Batch   int     `json:"batch"`
	StepS   float64 `json:"step_s"`
	SyncS   float64 `json:"exposed_sync_s"`
	HostS   float64 `json:"host_s"`
	PerHour float64 `json:"price_per_hour"`
	Refused string  `json:"refused,omitempty"`
}

// budgetRow is a job under a schedule.
type budgetRow struct {
	Device      string        `json:"device"`
	Width       int           `json:"width"`
	Schedule    string        `json:"schedule"`
	Batch       int           `json:"batch"`
	Steps       int           `json:"steps"`
	WallS       float64       `json:"wall_s"`
	DeviceHours float64       `json:"gpu_hours"`
	Cost        float64       `json:"cost"`
	Loss        report.Number `json:"loss"`
	Met         bool          `json:"met"`
	Front       bool          `json:"front"`
	Why         string        `json:"why,omitempty"`
}

func (a *app) budgetCmd() *cobra.Command {
	var f budgetFlags
	c := &cobra.Command{
		Use:   "budget QUESTION",
		Short: "Say what a training job costs by schedule, number of devices and device",
		Long: `Budget answers for a training job and a goal, a file or a shipped one: steps, wall time,
GPU-hours, cost and expected loss for every schedule of the learning rate, number of devices and
kind of device. With a loss to reach it looks for the shortest run that reaches it; with a
deadline, GPU-hours or money alone, for the lowest loss that these buy. What a step takes is
priced on the calibrated device; what steps make of the loss comes from a noisy quadratic
model, fitted to the job's own loss curves or standing for them. Schedules are tuned each.`,
		Example: `  orrery budget budget/resnet50
  orrery budget budget/resnet50 --set loss=0.0 --set gpu_hours=2.0
  orrery budget my.toml --json | jq .rows[0]`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return inputErrorf("%d questions; want one, such as %s %s", len(args), c.CommandPath(), scenarios.Budgets()[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.budget(c.Context(), args[0], &f) },
	}
	fs := c.Flags()
	fs.StringArrayVarP(&f.sets, "set", "s", nil, "override a key of the question, as in loss=0.05 (repeatable)")
	fs.StringVarP(&f.out, "out", "o", "", "folder for the results (default: results/TIME-RUN)")
	fs.BoolVar(&f.force, "force", false, "replace the results that are in the folder")
	fs.BoolVar(&f.json, "json", false, "print JSON on standard output")
	fs.BoolVar(&f.all, "all", false, "print every combination, those that miss the goal too")
	return c
}

func (a *app) budget(ctx context.Context, name string, f *budgetFlags) error {
	b, err := scenarios.LoadBudget(name, f.sets...)
	if err != nil {
		return err
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
	answer, err := askBudget(ctx, b)
	switch {
	case ctx.Err() != nil:
		return errNothing
	case err != nil:
		return badInput{err}
	}
	data, err := encode(answer)
	if err != nil {
		return err
	}
	text := answer.text(f.all)
	folder.Write(report.ResultFile, data)
	folder.Write("table.txt", []byte(answer.text(true)))
	for _, p := range answer.plots() {
		folder.Plot(p)
	}
	if err := folder.Commit(); err != nil {
		return err
	}
	return a.show(answer, text, f.json, folder.Path())
}

// askBudget prices the options and asks for the rows.
func askBudget(ctx context.Context, b *scenarios.Budget) (*budgetAnswer, error) {
	choices, err := b.Choices()
	if err != nil {
		return nil, err
	}
	learner, err := b.Learner()
	if err != nil {
		return nil, err
	}
	x := &budgetAnswer{Name: b.Name, Version: scenarios.Version(), Network: b.Network, Goal: b.Goal(), Flags: b.Flags(), Residual: report.None}
	if fit := b.Fit(); fit != nil {
		x.Residual = report.Number(fit.Residual)
	}
	options := make([]plan.BudgetOption, len(choices))
	derived := map[string]bool{}
	for i, c := range choices {
		step := c.Step.Total.Seconds()
		options[i] = plan.BudgetOption{Device: c.Device, Width: c.Width, Batch: c.Batch, StepS: step, PerHour: c.PerHour, Refused: c.Refused}
		x.Options = append(x.Options, budgetOption{c.Device, c.Width, c.Batch, step, c.Step.Exposed.Seconds(), c.Step.Host.Seconds(), c.PerHour, c.Refused})
		if c.Step.Derived && !derived[c.Device] {
			derived[c.Device] = true
			x.Flags = append(x.Flags, fmt.Sprintf("times on %s are partly derived from other boards", c.Device))
		}
	}
	rows, err := plan.Budget(ctx, options, len(b.Schedules), plan.BudgetGoal{Loss: b.Loss, Deadline: time.Duration(b.Deadline), DeviceHours: b.GPUHours, Cost: b.Cost}, learner)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		o := &options[r.Option]
		x.Rows = append(x.Rows, budgetRow{o.Device, o.Width, b.Schedules[r.Schedule], o.Batch, r.Steps, r.WallS, r.DeviceHours, r.Cost, report.Number(r.Loss), r.Met, r.Front, r.Why})
	}
	if len(rows) > 0 && options[rows[0].Option].Refused == "" {
		x.curves = lossCurves(b, &options[rows[0].Option], learner)
	}
	if x.Flags == nil {
		x.Flags = []string{}
	}
	return x, nil
}

// lossCurves returns the loss over GPU-hours under every schedule, each point a run of its
// own length, on one option.
func lossCurves(b *scenarios.Budget, o *plan.BudgetOption, l *scenarios.Learner) []chart.Series {
	var out []chart.Series
	for s, name := range b.Schedules {
		series := chart.Series{Name: name}
		for k := 0; ; k++ {
			steps := int(math.Round(20 * math.Pow(2, float64(k)/2)))
			if steps > l.Most(o.Batch) || steps > 20000 {
				break
			}
			series.X = append(series.X, float64(steps)*o.StepS/3600*float64(o.Width))
			series.Y = append(series.Y, l.Loss(s, o.Batch, steps))
		}
		out = append(out, series)
	}
	return out
}

// fewRows is how many of the rows that meet the goal are printed unless all are asked for.
const fewRows = 12

// text returns what is printed.
func (x *budgetAnswer) text(all bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s\n", x.Name, x.Network, x.Goal)
	if x.Residual.Exists() {
		fmt.Fprintf(&b, "quality: a noisy quadratic model, %.1f %% off the loss curves\n", 100*float64(x.Residual))
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tdevices\tschedule\tbatch\tsteps\tstep\twall\tGPU-hours\tcost\tloss\t")
	left := 0
	for i := range x.Rows {
		r := &x.Rows[i]
		if !all && (i >= fewRows || !r.Met) {
			left++
			continue
		}
		mark := ""
		switch {
		case r.Front:
			mark = "*"
		case !r.Met:
			mark = "-"
		}
		cost := "-"
		if r.Cost > 0 {
			cost = fmt.Sprintf("%.2f", r.Cost)
		}
		step, loss, wall, hours := "-", "-", "-", "-"
		if r.Steps > 0 {
			step, wall, hours = millis(report.Number(r.WallS/float64(r.Steps))), roundWall(r.WallS), fmt.Sprintf("%.3g", r.DeviceHours)
			loss = fmt.Sprintf("%.4g", float64(r.Loss))
		}
		fmt.Fprintf(t, "%s\t%d x %s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t", mark, r.Width, r.Device, r.Schedule, r.Batch, r.Steps, step, wall, hours, cost, loss)
		if r.Why != "" && (all || !r.Met) {
			fmt.Fprintf(t, " %s", r.Why)
		}
		fmt.Fprintln(t)
	}
	t.Flush()
	b.WriteString("\n* none is both quicker and cheaper\n")
	if left > 0 {
		fmt.Fprintf(&b, "%d more, or short of the goal; --all prints them\n", left)
	}
	for _, f := range x.Flags {
		fmt.Fprintf(&b, "! %s\n", f)
	}
	return b.String()
}

func roundWall(s float64) string {
	d := time.Duration(s * 1e9)
	switch {
	case d >= time.Hour:
		return d.Round(time.Minute).String()[:len(d.Round(time.Minute).String())-2]
	case d >= time.Minute:
		return d.Round(time.Second).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// plots draws cost over wall time, and the loss over GPU-hours.
func (x *budgetAnswer) plots() []report.Plot {
	var out []report.Plot
	trade := chart.Lines{
		Title: "What a shorter wait costs", Subtitle: x.Name + ": " + x.Goal,
		X: chart.Axis{Label: "wall time", Unit: chart.Seconds, Log: true}, Y: chart.Axis{Label: "GPU-hours", Log: true},
	}
	priced := false
	for i := range x.Rows {
		priced = priced || x.Rows[i].Cost > 0
	}
	if priced {
		trade.Y.Label = "cost"
	}
	series := map[string]int{}
	for i := range x.Rows {
		r := &x.Rows[i]
		if r.Steps == 0 || !r.Met {
			continue
		}
		at, ok := series[r.Device]
		if !ok {
			at = len(trade.Series)
			series[r.Device] = at
			trade.Series = append(trade.Series, chart.Series{Name: r.Device, Points: true})
		}
		y := r.DeviceHours
		if priced {
			y = r.Cost
		}
		trade.Series[at].X = append(trade.Series[at].X, r.WallS)
		trade.Series[at].Y = append(trade.Series[at].Y, y)
	}
	if len(trade.Series) > 0 {
		out = append(out, report.Plot{Name: "cost-over-time", Chart: trade})
	}
	if len(x.curves) > 0 {
		r := &x.Rows[0]
		out = append(out, report.Plot{Name: "loss-over-budget", Chart: chart.Lines{
			Title: "What a budget buys", Subtitle: fmt.Sprintf("%s on %d x %s; every point a run of its own length, tuned", x.Network, r.Width, r.Device),
			X: chart.Axis{Label: "GPU-hours", Log: true}, Y: chart.Axis{Label: "loss at the end", Log: true}, Series: x.curves,
		}})
	}
	return out
}
