package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"orrery/cluster"
	"orrery/plan"
	"orrery/report"
	"orrery/report/timeline"
	"orrery/scenarios"
	"orrery/sim"
)

// wholeRun is the value of --timeline without a window.
const wholeRun = "all"

type runFlags struct {
	common
	rows        []string
	timeline    string
	calibration bool
}

func (a *app) runCmd() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run SCENARIO",
		Short: "Simulate a scenario and say how it went",
		Long: `Run simulates a scenario, a file or a shipped one, and prints the verdict on one
screen: latencies, throughput, goodput, and whether the objective holds and what
limits it. Where the prices of iterations state how far they can be trusted, the run is
repeated with all of them lower and higher, which gives its figures a band. A folder of results keeps the figures (result.json), the scenario as
it was understood (scenario.toml), plots, and on request rows and a timeline.`,
		Example: `  orrery run quickstart
  orrery run quickstart --set traffic.rate=6 --set policy.batch=vllm
  orrery run my.toml --rows parquet --timeline=10s..20s --out results/my
  orrery run training/troughs
  orrery run my.toml --seeds 5 --json | jq .latency.ttft.p99_s`,
		Args: scenarioArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if kind := scenarios.Kind(args[0]); kind != "" {
				return a.runOther(c, kind, args[0], &f)
			}
			return a.run(c.Context(), args[0], &f)
		},
	}
	f.add(c, "run with this many seeds and merge the measurements (default 1)")
	c.Flags().StringSliceVar(&f.rows, "rows", nil, "write one row per request: csv, parquet or both")
	c.Flags().StringVar(&f.timeline, "timeline", "", "write a timeline for ui.perfetto.dev, all of it or a window as in 10s..20s")
	c.Flags().BoolVar(&f.calibration, "calibration", true, "repeat the run at the ends of the band in which its prices can be trusted")
	c.Flags().Lookup("timeline").NoOptDefVal = wholeRun
	return c
}

// runOther runs a scenario that is not of requests.
func (a *app) runOther(c *cobra.Command, kind, name string, f *runFlags) error {
	for _, flag := range []string{"seeds", "rows", "timeline", "calibration"} {
		if c.Flags().Changed(flag) {
			return inputErrorf("--%s is of scenarios of requests; want it left out for %s", flag, name)
		}
	}
	if f.seedSet && kind != "budget" {
		f.sets = append(f.sets, fmt.Sprintf("seed=%d", f.seed))
	}
	switch kind {
	case "training":
		return a.runTraining(c.Context(), name, f)
	case "robots":
		return a.robots(c.Context(), name, &robotsFlags{sets: f.sets, out: f.out, force: f.force, json: f.json})
	}
	return a.budget(c.Context(), name, &budgetFlags{sets: f.sets, out: f.out, force: f.force, json: f.json})
}

func (a *app) run(ctx context.Context, name string, f *runFlags) error {
	s, err := f.load(name)
	if err != nil {
		return err
	}
	rows, window, err := f.outputs(s)
	if err != nil {
		return err
	}
	seeds := f.replications(s, 1)
	if len(seeds) > 1 && (len(rows) > 0 || window != nil) {
		return inputErrorf("--rows and --timeline are of one run; want --seeds 1 with them, not %d", len(seeds))
	}
	folder, err := f.folder(time.Now(), s.RunID(s.Seed))
	if err != nil {
		return err
	}
	defer folder.Abort()

	var r *report.Result
	var over *plan.Comparison
	if len(seeds) == 1 {
		r, err = a.runOnce(ctx, s, folder, rows, window)
	} else {
		r, over, err = a.runSeeds(ctx, s, seeds)
	}
	if err != nil {
		return err
	}
	var band *plan.Calibration
	if f.calibration {
		if band, err = a.calibration(ctx, s, seeds, r); err != nil {
			return err
		}
	}
	folder.Write(report.ScenarioFile, s.Resolved())
	if err := addResult(folder, r, s.Output.Plots); err != nil {
		return err
	}
	if err := addAnswers(folder, over, band); err != nil {
		return err
	}
	if err := folder.Commit(); err != nil {
		return err
	}
	if err := a.showRun(r, over, band, f.json, folder.Path()); err != nil {
		return err
	}
	if r.Partial {
		return errInterrupted
	}
	return nil
}

// addAnswers adds what rests on several runs, where there were several.
func addAnswers(folder *report.Folder, over *plan.Comparison, band *plan.Calibration) error {
	if over != nil {
		data, err := encode(over)
		if err != nil {
			return err
		}
		folder.Write("seeds.json", data)
	}
	if band != nil {
		data, err := encode(band)
		if err != nil {
			return err
		}
		folder.Write("calibration.json", data)
	}
	return nil
}

// showRun prints a result, over the seeds if there were several, and how far prices can
// be trusted if that is known.
func (a *app) showRun(r *report.Result, over *plan.Comparison, band *plan.Calibration, asJSON bool, folder string) error {
	if asJSON {
		data, err := r.JSON()
		if err != nil {
			return err
		}
		if _, err := a.out.Write(data); err != nil {
			return err
		}
		a.note("results in %s", folder)
		return nil
	}
	text := r.Verdict()
	if over != nil {
		text += fmt.Sprintf("\nMeans over %d seeds, with 95 %% intervals\n%s", len(over.Seeds), over.Text())
	}
	if band != nil {
		text += "\n" + band.Text()
	}
	_, err := fmt.Fprintf(a.out, "%s\nresults in %s\n", text, folder)
	return err
}

// addResult adds result.json, and the plots if they are wanted.
func addResult(folder *report.Folder, r *report.Result, plots bool) error {
	if plots {
		folder.Result(r)
		return nil
	}
	data, err := r.JSON()
	if err != nil {
		return err
	}
	folder.Write(report.ResultFile, data)
	return nil
}

// outputs returns what to write of single requests: the formats of the rows, and the
// window of the timeline, nil for none. Flags come before the scenario's wishes.
func (f *runFlags) outputs(s *scenarios.Scenario) (rows []string, window *timeline.Window, err error) {
	rows = f.rows
	if rows == nil {
		rows = s.Output.Rows
	}
	if rows, err = rowFormats(rows); err != nil {
		return nil, nil, err
	}
	switch {
	case f.timeline == "" && !s.Output.Timeline:
		return rows, nil, nil
	case f.timeline == "" || f.timeline == wholeRun:
		return rows, &timeline.Window{}, nil
	}
	window, err = parseWindow(f.timeline)
	return rows, window, err
}

// parseWindow reads a window of simulated time such as 10s..20s.
func parseWindow(text string) (*timeline.Window, error) {
	from, to, ok := strings.Cut(text, "..")
	lo, errLo := time.ParseDuration(from)
	hi, errHi := time.ParseDuration(to)
	if !ok || errLo != nil || errHi != nil || lo < 0 || hi <= lo {
		return nil, inputErrorf("--timeline=%s; want a window of simulated time such as --timeline=10s..20s", text)
	}
	return &timeline.Window{From: sim.Time(lo), To: sim.Time(hi)}, nil
}

// runOnce carries out one run, writing what is wanted of single requests.
func (a *app) runOnce(ctx context.Context, s *scenarios.Scenario, folder *report.Folder, rows []string, window *timeline.Window) (*report.Result, error) {
	var watch []cluster.Recorder
	for _, format := range rows {
		w, err := folder.Requests("requests." + format)
		if err != nil {
			return nil, err
		}
		watch = append(watch, w)
	}
	if window != nil {
		w, err := folder.Timeline("timeline.pftrace", *window)
		if err != nil {
			return nil, err
		}
		watch = append(watch, w)
	}
	bar := a.newProgress("simulating")
	defer bar.end()
	until, total := sim.Time(s.Run.Until), s.Requests()
	return simulate(ctx, s, s.Seed, scenarios.Options{
		Recorders:   watch,
		Fingerprint: true,
		Progress: func(now sim.Time, arrived, ended int64) {
			switch { // arrivals are what is left of a run that is cut at a time, too
			case total > 0 && (until == 0 || float64(arrived)/float64(total) > float64(now)/float64(until)):
				bar.set(ended, total)
			case until > 0:
				bar.set(int64(now), int64(until))
			default:
				bar.set(ended, -1)
			}
		},
	})
}

// runSeeds runs every seed and merges their measurements. What an interrupt cut
// short is left out, unless nothing else is there.
func (a *app) runSeeds(ctx context.Context, s *scenarios.Scenario, seeds []uint64) (*report.Result, *plan.Comparison, error) {
	bar := a.newProgress("simulating")
	defer bar.end()
	kept := make([]*report.Metrics, len(seeds))
	number := make(map[uint64]int, len(seeds))
	for i, seed := range seeds {
		number[seed] = i
	}
	over, err := plan.Compare(ctx, []plan.Variant{{Name: s.Name, Run: func(ctx context.Context, seed uint64) (plan.Observation, error) {
		m, err := measure(ctx, s, seed, scenarios.Options{})
		if err != nil {
			return plan.Observation{}, err
		}
		if ctx.Err() == nil {
			kept[number[seed]] = m
		}
		return plan.Observe(m.Summary()), nil
	}}}, plan.Replication{Seeds: seeds, Progress: func(done, expected int) { bar.set(int64(done), int64(expected)) }})
	if err != nil {
		return nil, nil, err
	}
	if len(over.Seeds) == 0 {
		return nil, nil, errNothing
	}
	var all *report.Metrics
	for _, m := range kept { // in order of the seeds, so that the result does not depend on the cores
		switch {
		case m == nil:
		case all == nil:
			all = m
		default:
			all.Merge(m)
		}
	}
	e, err := s.Build(s.Seed)
	if err != nil {
		return nil, nil, err
	}
	defer e.Close()
	r := all.Summary()
	r.Identity = e.Identity
	r.Version, r.RunID, r.Partial = scenarios.Version(), s.RunID(s.Seed), over.Partial
	r.Notes = append(r.Notes, fmt.Sprintf("%d seeds from %d, measurements merged", len(over.Seeds), s.Seed))
	return r, over, nil
}
