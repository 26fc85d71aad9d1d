package cmd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"orrery/plan"
	"orrery/report"
	"orrery/scenarios"
)

type fleetFlags struct {
	common
	vary []string
}

// fleetOf is the answer for one setting.
type fleetOf struct {
	Setting string `json:"setting"`
	*plan.FleetAnswer
}

// fleetAnswer is what fleet writes and, with --json, prints.
type fleetAnswer struct {
	question
	Fleets []fleetOf `json:"fleets"`
}

func (a *app) fleetCmd() *cobra.Command {
	var f fleetFlags
	c := &cobra.Command{
		Use:   "fleet SCENARIO",
		Short: "Find the cheapest fleet of pools within the SLO",
		Long: `Fleet searches the numbers of devices of a scenario's pools, from least to most of each
[[pool]], for the cheapest with which the SLO holds at the mean over the seeds' merged
measurements, every class meets its deadline in the share of requests that slo.quantile
names, and the queue does not grow. It prints the fleets that can spare no device, the
cheapest first, and those next to them with why they miss. Prices are those of the
scenario. The settings are the scenario's [compare] variants, or those of --vary.`,
		Example: `  orrery fleet fleet
  orrery fleet fleet --set traffic.rate=2.0 --set pool.a100.price_per_hour=1.2`,
		Args: scenarioArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error { return a.fleet(c.Context(), args, &f) },
	}
	f.add(c, "runs of each fleet, merged (default: the scenario's)")
	c.Flags().StringArrayVar(&f.vary, "vary", nil, "values of a key to compare, as in traffic.rate=1.0,2.0 (repeatable: all combinations)")
	return c
}

func (a *app) fleet(ctx context.Context, args []string, f *fleetFlags) error {
	subjects, err := f.subjects(args, f.vary)
	if err != nil {
		return err
	}
	if anyKept(subjects) {
		return inputErrorf("a folder of results has no fleet; want a scenario")
	}
	for _, s := range subjects {
		switch {
		case len(s.scenario.Pools) == 0:
			return inputErrorf("%s has no pools; want [[pool]] sections, of which to have more or fewer devices", s.label)
		case !s.scenario.ReportSLO().Stated():
			return inputErrorf("%s has no SLO to keep; want bounds, such as --set slo.e2e=30s", s.label)
		}
	}
	first := subjects[0].scenario
	seeds := f.replications(first, first.Fleet.Seeds)
	answer := &fleetAnswer{question: newQuestion("fleet", subjects, seeds)}
	folder, err := f.folder(time.Now(), answer.RunID)
	if err != nil {
		return err
	}
	defer folder.Abort()
	bar := a.newProgress("searching")
	defer bar.end()
	tried := int64(0)
	for _, s := range subjects {
		found, err := plan.CheapestFleet(ctx, fleetPools(s.scenario), func(ctx context.Context, counts []int) (plan.FleetOutcome, error) {
			tried++
			bar.set(tried, -1)
			return tryFleet(ctx, s.scenario, counts, seeds)
		})
		switch {
		case ctx.Err() != nil:
			return errNothing
		case err != nil:
			return err
		}
		answer.Fleets = append(answer.Fleets, fleetOf{s.label, found})
	}
	bar.end()
	text := answer.text(subjects)
	if err := keep(folder, subjects, answer, text); err != nil {
		return err
	}
	return a.show(answer, text, f.json, folder.Path())
}

// text returns what is printed.
func (f *fleetAnswer) text(subjects []subject) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: the cheapest fleets, each of which can spare no device\nSLO: %s\n", subjects[0].scenario.Name, sharedSLO(subjects))
	for _, x := range f.Fleets {
		fmt.Fprintf(&b, "\n%s\n%s", x.Setting, x.Text())
	}
	return b.String()
}

// fleetPools returns the pools of a scenario with the numbers of devices to try.
func fleetPools(s *scenarios.Scenario) []plan.FleetPool {
	out := make([]plan.FleetPool, len(s.Pools))
	for i := range s.Pools {
		p := &s.Pools[i]
		most := p.Most
		if most == 0 {
			most = max(p.Count, p.Least)
		}
		out[i] = plan.FleetPool{Name: p.Name, Least: p.Least, Most: most, PricePerHr: p.PricePerHour}
	}
	return out
}

// tryFleet runs a scenario with other numbers of devices. Fleets that the scenario itself
// refuses, as those without a pool for a class, miss the objective.
func tryFleet(ctx context.Context, s *scenarios.Scenario, counts []int, seeds []uint64) (plan.FleetOutcome, error) {
	sized, err := s.WithFleet(counts)
	var refused *scenarios.Error
	switch {
	case errors.As(err, &refused):
		why, _, _ := strings.Cut(refused.Msg, "; want")
		return plan.FleetOutcome{Why: []string{why}}, nil
	case err != nil:
		return plan.FleetOutcome{}, err
	}
	var merged *report.Metrics
	for _, seed := range seeds {
		m, err := measure(ctx, sized, seed, scenarios.Options{})
		switch {
		case err != nil:
			return plan.FleetOutcome{}, err
		case merged == nil:
			merged = m
		default:
			merged.Merge(m)
		}
	}
	return fleetOutcome(merged.Summary(), s.SLO.Quantile), nil
}

// fleetOutcome judges a result.
func fleetOutcome(r *report.Result, quantile float64) plan.FleetOutcome {
	o := plan.FleetOutcome{E2EP50: float64(r.Latency.E2E.P50S), Busy: float64(r.Load.BusyShare)}
	for i := range r.SLO.Bounds {
		b := &r.SLO.Bounds[i]
		if strings.EqualFold(b.Metric, "e2e") {
			o.E2ES = float64(b.WithUnfinishedS)
		}
		if !b.Held {
			o.Why = append(o.Why, fmt.Sprintf("%s p%g is %.1f s, not %.1f", strings.ToUpper(b.Metric), math.Round(1000*b.Quantile)/10, float64(b.WithUnfinishedS), b.LimitS))
		}
	}
	for i := range r.Classes {
		c := &r.Classes[i]
		if late := c.Missed + c.Rejected; c.DeadlineS > 0 && float64(late) > (1-quantile)*float64(c.Arrived) {
			o.Why = append(o.Why, fmt.Sprintf("%.0f %% of %s late", 100*float64(late)/float64(c.Arrived), c.Name))
		}
	}
	if r.Load.Growing {
		o.Why = append(o.Why, "the queue grows")
	}
	o.Met = len(o.Why) == 0
	return o
}
