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

	"orrery/cluster/loop"
	"orrery/report"
	"orrery/scenarios"
	"orrery/sim"
)

type robotsFlags struct {
	sets  []string
	out   string
	force bool
	json  bool
}

// robotsAnswer is what robots writes and, with --json, prints.
type robotsAnswer struct {
	Scenario    string       `json:"scenario"`
	Version     string       `json:"version"`
	Device      string       `json:"device"`
	Policy      string       `json:"policy"`
	Processes   bool         `json:"processes"`
	EndS        float64      `json:"end_s"`
	Robots      []robotRow   `json:"robots"`
	Utilisation float64      `json:"utilisation"`      // what the plans ask for, times as long as they take alone
	DeviceShare float64      `json:"device_share"`     // of that, time on the device
	Busy        float64      `json:"busy_share"`       // of the run, with plans
	Serving     *servingRow  `json:"serving,omitzero"` // nil without text
	WhatIf      []robotsIf   `json:"what_if"`
	Curves      []robotCurve `json:"curves"`
	Flags       []string     `json:"flags"`
	Partial     bool         `json:"partial"`
}

type robotRow struct {
	Name        string        `json:"name"`
	Count       int           `json:"count"`
	Planner     string        `json:"planner"`
	Hz          float64       `json:"hz"`
	Kernels     int           `json:"kernels"`
	PlanS       float64       `json:"plan_s"`   // of one plan, or of one batch, alone
	DeviceS     float64       `json:"device_s"` // of that, on the device
	LaunchBound bool          `json:"launch_bound"`
	Met         int64         `json:"met"`
	Missed      int64         `json:"missed"`
	Skipped     int64         `json:"skipped"`
	MissShare   report.Number `json:"miss_share"`
	P50S        report.Number `json:"response_p50_s"`
	P99S        report.Number `json:"response_p99_s"`
	MaxS        report.Number `json:"response_max_s"`
}

type servingRow struct {
	Model      string  `json:"model"`
	TokensPerS float64 `json:"tokens_per_s"`
	AlonePerS  float64 `json:"alone_per_s"`
}

// robotsIf is the scenario with one thing changed.
type robotsIf struct {
	Change      string        `json:"change"`
	Utilisation float64       `json:"utilisation"`
	DeviceShare float64       `json:"device_share"`
	MissShare   report.Number `json:"miss_share"`
	P99S        report.Number `json:"response_p99_s"` // of the slowest kind of robot
	TokensPerS  float64       `json:"tokens_per_s"`
}

// robotCurve is the share of missed deadlines over the rate of plans, under one policy.
type robotCurve struct {
	Policy string    `json:"policy"`
	Times  []float64 `json:"times"` // as many plans a second as the scenario asks for
	Missed []float64 `json:"miss_share"`
}

func (a *app) robotsCmd() *cobra.Command {
	var f robotsFlags
	c := &cobra.Command{
		Use:   "robots SCENARIO",
		Short: "Run control loops: robots whose planners share a device",
		Long: `Robots runs a scenario of control loops, a file or a shipped one: robots that ask for a
plan once a period and need it by a deadline, with planners whose kernels are priced on the
device, from one process or from one each, beside a text model or not. It prints response
times and missed deadlines, whether a plan waits for its launches or for the device, what a
change would make of it (CUDA graphs, a KV cache, shorter horizons, fewer steps, one batch, a
process each, another policy), and misses over the rate of plans, with a plot.`,
		Example: `  orrery robots robots/arms
  orrery robots robots/arms --set robot.arm.hz=2.0 --set robot.arm.graphs=true
  orrery robots robots/mixed --json | jq .robots`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return inputErrorf("%d scenarios; want one, such as %s %s", len(args), c.CommandPath(), scenarios.RobotScenarios()[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.robots(c.Context(), args[0], &f) },
	}
	fs := c.Flags()
	fs.StringArrayVarP(&f.sets, "set", "s", nil, "override a key of the scenario, as in robot.arm.hz=2.0 (repeatable)")
	fs.StringVarP(&f.out, "out", "o", "", "folder for the results (default: results/TIME-RUN)")
	fs.BoolVar(&f.force, "force", false, "replace the results that are in the folder")
	fs.BoolVar(&f.json, "json", false, "print JSON on standard output")
	return c
}

func (a *app) robots(ctx context.Context, name string, f *robotsFlags) error {
	r, err := scenarios.LoadRobots(name, f.sets...)
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
	answer, err := runRobots(ctx, r)
	if err != nil {
		return err
	}
	bar := a.newProgress("what if")
	defer bar.end()
	if err := answer.explore(ctx, r, func(done, all int) { bar.set(int64(done), int64(all)) }); err != nil {
		return err
	}
	bar.end()
	data, err := encode(answer)
	if err != nil {
		return err
	}
	text := answer.text()
	folder.Write(report.ResultFile, data)
	folder.Write("table.txt", []byte(text))
	folder.Plot(answer.plot())
	if err := folder.Commit(); err != nil {
		return err
	}
	if err := a.show(answer, text, f.json, folder.Path()); err != nil {
		return err
	}
	if answer.Partial {
		return errInterrupted
	}
	return nil
}

// runRobots runs the scenario itself.
func runRobots(ctx context.Context, r *scenarios.Robots) (*robotsAnswer, error) {
	run, err := r.Build()
	if err != nil {
		return nil, badInput{err}
	}
	out, err := loop.Run(ctx, run.Config)
	if err != nil {
		return nil, badInput{err}
	}
	end := time.Duration(r.For).Seconds()
	x := &robotsAnswer{
		Scenario: r.Name, Version: scenarios.Version(), Device: r.Device, Policy: r.Policy, Processes: r.Processes, EndS: end,
		Busy: out.Busy.Seconds() / end, Flags: run.Flags, Partial: out.Partial, WhatIf: []robotsIf{}, Curves: []robotCurve{},
	}
	if x.Flags == nil {
		x.Flags = []string{}
	}
	for i := range r.Robots {
		b, plan, res := &r.Robots[i], &run.Plans[i], &out.Loops[i]
		rate := b.Hz
		if !b.Batch {
			rate *= float64(b.Count)
		}
		x.Utilisation += rate * plan.Seconds
		x.DeviceShare += rate * plan.Device
		x.Robots = append(x.Robots, robotRow{
			Name: b.Name, Count: b.Count, Planner: b.Planner, Hz: b.Hz, Kernels: len(plan.Kernels), PlanS: plan.Seconds, DeviceS: plan.Device, LaunchBound: plan.LaunchBound(),
			Met: res.Met, Missed: res.Missed, Skipped: res.Skipped, MissShare: report.Number(res.MissShare()),
			P50S: report.Number(res.Response.Quantile(0.5) / 1e9), P99S: report.Number(res.Response.Quantile(0.99) / 1e9), MaxS: slowest(&res.Response),
		})
	}
	if s := run.Config.Server; s != nil {
		whole := (time.Duration(s.Kernels) * s.Kernel).Seconds()
		x.Serving = &servingRow{Model: r.Serving.Model, TokensPerS: float64(out.Served) * run.Tokens / end, AlonePerS: run.Tokens / whole}
	}
	return x, nil
}

func slowest(s *sim.Sketch) report.Number {
	if s.Count() == 0 {
		return report.None
	}
	return report.Number(float64(s.Max()) / 1e9)
}

// missed returns the share of periods without a plan in time, over all robots, and the
// slowest kind's 99th percentile.
func (x *robotsAnswer) missed() (share, p99 report.Number) {
	late, all := int64(0), int64(0)
	p99 = report.None
	for i := range x.Robots {
		r := &x.Robots[i]
		late += r.Missed + r.Skipped
		all += r.Met + r.Missed + r.Skipped
		if r.P99S.Exists() && (!p99.Exists() || r.P99S > p99) {
			p99 = r.P99S
		}
	}
	return report.Number(float64(late) / float64(all)), p99
}

// text returns what is printed.
func (x *robotsAnswer) text() string {
	var b strings.Builder
	how := "all plans from one process"
	if x.Processes {
		how = "a process each"
	}
	fmt.Fprintf(&b, "%s: robots on %s, %s, %s, %g s\n\n", x.Scenario, x.Device, x.Policy, how, x.EndS)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "robot\tplanner\thz\tkernels\tplan\ton the device\twaits for\tp50\tp99\tmissed\t")
	for i := range x.Robots {
		r := &x.Robots[i]
		waits := "device"
		if r.LaunchBound {
			waits = "launches"
		}
		fmt.Fprintf(t, "%d x %s\t%s\t%g\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.Count, r.Name, r.Planner, r.Hz, r.Kernels, millis(report.Number(r.PlanS)), millis(report.Number(r.DeviceS)), waits, millis(r.P50S), millis(r.P99S), percentOf(r.MissShare))
	}
	t.Flush()
	fmt.Fprintf(&b, "\nplans ask for %.2f of the time as they run alone, %.2f on the device itself\n%s\n", x.Utilisation, x.DeviceShare, x.theory())
	if s := x.Serving; s != nil {
		fmt.Fprintf(&b, "%s beside them: %.0f tokens/s of the %.0f it makes alone\n", s.Model, s.TokensPerS, s.AlonePerS)
	}
	for _, f := range x.Flags {
		fmt.Fprintf(&b, "! %s\n", f)
	}
	if len(x.WhatIf) > 0 {
		b.WriteString("\nwhat if\n")
		t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "\tasked for\ton the device\tmissed\tp99\ttext\t")
		for _, w := range x.WhatIf {
			tokens := "-"
			if w.TokensPerS > 0 {
				tokens = fmt.Sprintf("%.0f tok/s", w.TokensPerS)
			}
			fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%s\t%s\t%s\t\n", w.Change, w.Utilisation, w.DeviceShare, percentOf(w.MissShare), millis(w.P99S), tokens)
		}
		t.Flush()
	}
	return b.String()
}

// theory says what the theory of periodic tasks says of the utilisation.
func (x *robotsAnswer) theory() string {
	n := 0
	for i := range x.Robots {
		n += x.Robots[i].Count
	}
	bound := float64(n) * (math.Pow(2, 1/float64(n)) - 1)
	switch {
	case x.Processes:
		return "from a process each, the device is what is shared: launches of one plan hide behind kernels of others"
	case x.Utilisation > 1:
		return "that is more than there is: no policy meets all deadlines"
	case x.Policy == "edf":
		return "no more than there is: EDF meets all deadlines that are ends of periods (Liu and Layland, 1973)"
	case x.Policy == "rate-monotonic" && x.Utilisation <= bound:
		return fmt.Sprintf("below %.2f, up to which rate-monotonic priorities meet all deadlines that are ends of periods", bound)
	}
	return "no more than there is, but this policy may miss deadlines that EDF meets"
}

func millis(n report.Number) string {
	if !n.Exists() {
		return "-"
	}
	return fmt.Sprintf("%.3g ms", 1e3*float64(n))
}

func percentOf(n report.Number) string {
	if !n.Exists() {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n))
}
