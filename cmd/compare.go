package cmd

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"orrery/plan"
	"orrery/report"
	"orrery/scenarios"
)

type compareFlags struct {
	common
	vary  []string
	rates []float64
}

// curve is the throughput-latency curve of one setting.
type curve struct {
	Setting string           `json:"setting"`
	Points  []plan.RatePoint `json:"points"`
}

// compareAnswer is what compare writes and, with --json, prints.
type compareAnswer struct {
	question
	Comparison *plan.Comparison `json:"comparison"`
	Curves     []curve          `json:"curves"`
}

func (a *app) compareCmd() *cobra.Command {
	var f compareFlags
	c := &cobra.Command{
		Use:   "compare SCENARIO|FOLDER...",
		Short: "Put settings beside each other under the same traffic",
		Long: `Compare runs several settings with the same seeds, so that all of them meet the
same requests at the same times, and prints for each metric the mean over the
seeds and the change from the first setting, seed by seed, with 95 % intervals.
The settings are the variants that the scenario has in its [compare] section,
or those of --vary, or several scenarios.

A folder of results stands beside them as it is: what a real server did (see
replay), or an earlier run.`,
		Example: `  orrery compare vllm-vs-sarathi
  orrery compare quickstart --vary policy.batch=vllm,sarathi,vllm-v1
  orrery compare quickstart --vary policy.budget=512,2048 --rates 1,2,3,4 --seeds 3
  orrery compare a.toml b.toml --json
  orrery compare results/measured my.toml`,
		Args: scenarioArgs(1, 0),
		RunE: func(c *cobra.Command, args []string) error { return a.compare(c.Context(), args, &f) },
	}
	f.add(c, "runs of each setting (default: the scenario's)")
	c.Flags().StringArrayVar(&f.vary, "vary", nil, "values of a key to compare, as in policy.batch=vllm,sarathi (repeatable: all combinations)")
	c.Flags().Float64SliceVar(&f.rates, "rates", nil, "also draw latency over these rates, requests per second")
	return c
}

func (a *app) compare(ctx context.Context, args []string, f *compareFlags) error {
	subjects, err := f.subjects(args, f.vary)
	if err != nil {
		return err
	}
	if len(subjects) < 2 {
		return inputErrorf("%s has one setting only; want variants in its [compare] section, --vary, or several scenarios", args[0])
	}
	for _, r := range f.rates {
		if !(r > 0) || math.IsInf(r, 0) {
			return inputErrorf("--rates %g; want positive rates in requests per second", r)
		}
	}
	first := subjects[0].scenario
	seeds := f.seedsFor(subjects)
	if len(f.rates) > 0 && anyKept(subjects) {
		return inputErrorf("--rates runs every setting at several rates; want scenarios with it, not folders of results")
	}
	answer := &compareAnswer{question: newQuestion("compare", subjects, seeds), Curves: []curve{}}
	folder, err := f.folder(time.Now(), answer.RunID)
	if err != nil {
		return err
	}
	defer folder.Abort()

	results, err := a.compareRuns(ctx, subjects, seeds, answer)
	if err != nil {
		return err
	}
	if len(answer.Comparison.Seeds) == 0 {
		return errNothing
	}
	answer.Partial = answer.Comparison.Partial
	if len(f.rates) > 0 && !answer.Partial {
		if err := a.curves(ctx, subjects, f.rates, seeds, answer); err != nil {
			return err
		}
	}
	text := answer.text(first) + keptText(subjects)
	for _, p := range comparePlots(subjects, results, answer) {
		folder.Plot(p)
	}
	if err := keep(folder, subjects, answer, text); err != nil {
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

// compareRuns runs all settings with all seeds, and returns for each setting the
// measurements of its seeds merged.
func (a *app) compareRuns(ctx context.Context, subjects []subject, seeds []uint64, answer *compareAnswer) ([]*report.Result, error) {
	bar := a.newProgress("comparing")
	defer bar.end()
	var mu sync.Mutex
	type run struct {
		setting int
		seed    uint64
	}
	kept := make(map[run]*report.Metrics)
	variants := make([]plan.Variant, len(subjects))
	for i, s := range subjects {
		if s.kept != nil {
			variants[i] = plan.Variant{Name: s.label, Run: func(context.Context, uint64) (plan.Observation, error) {
				return plan.Observe(s.kept), nil
			}}
			continue
		}
		variants[i] = plan.Variant{Name: s.label, Run: func(ctx context.Context, seed uint64) (plan.Observation, error) {
			m, err := measure(ctx, s.scenario, seed, scenarios.Options{})
			if err != nil {
				return plan.Observation{}, err
			}
			o := plan.Observe(m.Summary())
			mu.Lock()
			kept[run{i, seed}] = m
			mu.Unlock()
			return o, nil
		}}
	}
	var err error
	answer.Comparison, err = plan.Compare(ctx, variants, plan.Replication{Seeds: seeds, Progress: func(done, expected int) {
		bar.set(int64(done), int64(expected))
	}})
	if err != nil || len(answer.Comparison.Seeds) == 0 {
		return nil, err
	}
	results := make([]*report.Result, len(subjects))
	for i := range subjects {
		if results[i] = subjects[i].kept; results[i] != nil {
			continue
		}
		var all *report.Metrics
		for _, seed := range answer.Comparison.Seeds {
			if m := kept[run{i, seed}]; all == nil {
				all = m
			} else {
				all.Merge(m)
			}
		}
		results[i] = all.Summary()
	}
	return results, nil
}

// curves follows every setting over the rates.
func (a *app) curves(ctx context.Context, subjects []subject, rates []float64, seeds []uint64, answer *compareAnswer) error {
	bar := a.newProgress("following the rates")
	defer bar.end()
	for i, s := range subjects {
		points, partial, err := plan.Curve(ctx, newRates(s.scenario).probe, rates, plan.Replication{Seeds: seeds, Progress: func(done, expected int) {
			bar.set(int64(i*expected+done), int64(expected*len(subjects)))
		}})
		if err != nil {
			return err
		}
		answer.Curves = append(answer.Curves, curve{s.label, points})
		answer.Partial = answer.Partial || partial
	}
	return nil
}

// text returns what is printed: what was compared, and the table.
func (c *compareAnswer) text(first *scenarios.Scenario) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d settings, %d seeds from %d\n", first.Name, len(c.Settings), len(c.Comparison.Seeds), c.Seeds[0])
	fmt.Fprintf(&b, "means over seeds; below, the change from %q with its 95 %% interval, * if that leaves out zero\n", c.Settings[0])
	if c.Partial {
		fmt.Fprintf(&b, "PARTIAL: interrupted; %d of %d seeds are complete\n", len(c.Comparison.Seeds), len(c.Seeds))
	}
	fmt.Fprintf(&b, "\n%s", c.Comparison.Text())
	return b.String()
}

// seedsFor returns the seeds to compare with: beside a run that is over its own, which
// gives the others the same arrivals, unless more are asked for.
func (f *compareFlags) seedsFor(subjects []subject) []uint64 {
	first := subjects[0].scenario
	i := slices.IndexFunc(subjects, func(s subject) bool { return s.kept != nil })
	if i < 0 {
		return f.replications(first, first.Compare.Seeds)
	}
	n := max(f.seeds, 1)
	if !slices.ContainsFunc(subjects, func(s subject) bool { return s.kept == nil }) {
		n = 1 // there is nothing to run
	}
	seeds := make([]uint64, n)
	for k := range seeds {
		seeds[k] = subjects[i].kept.Seed + uint64(k)
	}
	return seeds
}

func anyKept(subjects []subject) bool {
	return slices.ContainsFunc(subjects, func(s subject) bool { return s.kept != nil })
}

// keptText says what the settings are that were not run.
func keptText(subjects []subject) string {
	var b strings.Builder
	for _, s := range subjects {
		switch {
		case s.kept == nil:
			continue
		case s.kept.Measurement == nil:
			fmt.Fprintf(&b, "%q is of a run that is over, seed %d", s.label, s.kept.Seed)
		default:
			fmt.Fprintf(&b, "%q was measured at %s, %s, seed %d", s.label, s.kept.Measurement.Target, s.kept.Measurement.Began, s.kept.Seed)
			if !s.kept.Measurement.Trusted {
				b.WriteString("; its load generator was too late to be trusted")
			}
		}
		if s.kept.Partial {
			b.WriteString("; it is partial")
		}
		b.WriteByte('\n')
	}
	return b.String()
}
