package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"orrery/plan"
	"orrery/scenarios"
)

type planFlags struct {
	common
	engineFlags
	runs string
}

// planAnswer is what plan writes and, with --json, prints.
type planAnswer struct {
	question
	RatePerS float64 `json:"rate_per_s"` // of the demand, with its growth
	*plan.Provision
	// Checks are runs of the cheapest fleet: with other seeds, and in other circumstances.
	Checks []planCheck `json:"checks"`
	Flags  []string    `json:"flags"` // doubts about the figures of the cheapest fleet
}

// planCheck is the cheapest fleet in some circumstances.
type planCheck struct {
	Name     string  `json:"name"`
	Replicas int     `json:"replicas"`
	Demand   float64 `json:"demand"` // times that of the plan
	plan.Candidate
}

func (a *app) planCmd() *cobra.Command {
	var f planFlags
	c := &cobra.Command{
		Use:   "plan SCENARIO",
		Short: "Find the cheapest fleet for a demand",
		Long: `Plan searches the cheapest fleet of like replicas that meets the scenario's SLO, of all
requests and of every tier, without a growing queue, with every seed: among the devices and
tensor-parallel degrees of [[plan.candidate]] and the policies of [[plan.policy]], for the
traffic times plan.growth. It rules out what cannot keep up by its speed alone and what would
be dearer than the best so far, and bisects the rest. The answer is run again with other
seeds, with one replica fewer, and with a fifth more and less traffic. The folder of results
has a page to decide by, plan.html.

With --runs DIR every finished run is kept in the folder, by its content: a plan that was
interrupted goes on, and one that asks again what was asked before is answered from there.
The runs may then be Temporal's to carry out, as those of orrery sweep.`,
		Example: `  orrery plan plan-language
  orrery plan plan-language --set plan.growth=5.0 --set plan.candidate.H100.price_per_hour=2.2`,
		Args: scenarioArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error { return a.plan(c.Context(), args[0], &f) },
	}
	f.add(c, "seeds with which a fleet must meet the SLO (default: the scenario's)")
	f.addEngine(c)
	c.Flags().Lookup("engine").DefValue = engineLocal
	f.engine = engineLocal
	c.Flags().StringVar(&f.runs, "runs", "", "keep finished runs in this `DIR`, and answer from it")
	return c
}

func (a *app) plan(ctx context.Context, name string, f *planFlags) error {
	s, err := f.load(name)
	if err != nil {
		return err
	}
	switch {
	case len(s.Plan.Candidates) == 0:
		return inputErrorf("%s has nothing to choose from; want [[plan.candidate]] sections with devices and prices", s.Name)
	case !s.Stated():
		return inputErrorf("%s has no SLO to keep; want bounds, such as --set slo.ttft=2s, or [[tier]] sections with some", s.Name)
	case s.Rate() == 0:
		return inputErrorf("%s has no rate of traffic that could grow; want traffic.rate", s.Name)
	}
	seeds := f.replications(s, s.Plan.Seeds)
	answer := &planAnswer{question: newQuestion("plan", []subject{{label: s.Name, scenario: s}}, seeds), RatePerS: s.Rate() * s.Plan.Growth}
	folder, err := f.folder(time.Now(), answer.RunID)
	if err != nil {
		return err
	}
	defer folder.Abort()
	runs, err := a.newPlanRuns(ctx, f, answer.RunID)
	if err != nil {
		return err
	}
	p := &planner{app: a, scenario: s, options: s.PlanOptions(), seeds: seeds, runs: runs}
	if err := p.search(ctx, answer); err != nil {
		return err
	}
	page, err := answer.page(s, p.options)
	if err != nil {
		return err
	}
	folder.Write("plan.html", page)
	text := answer.text(s)
	if err := keep(folder, []subject{{label: s.Name, scenario: s}}, answer, text); err != nil {
		return err
	}
	return a.show(answer, text, f.json, folder.Path())
}

// planner is a plan in the making.
type planner struct {
	app      *app
	scenario *scenarios.Scenario
	options  []scenarios.PlanOption
	seeds    []uint64
	runs     *planRuns
	done     int64
	bar      *progress
}

// search finds the cheapest fleet and tries it in other circumstances.
func (p *planner) search(ctx context.Context, answer *planAnswer) error {
	p.bar = p.app.newProgress("planning")
	defer p.bar.end()
	options := make([]plan.Option, len(p.options))
	for i, o := range p.options {
		options[i] = plan.Option{Name: o.Name, PerHour: o.PerHour, Most: o.Most, Refused: o.Refused}
		if o.Refused != "" {
			continue
		}
		one, err := p.scenario.PlanFleet(o, 1, 1)
		if err == nil {
			options[i].Least, err = one.LeastReplicas(p.seeds[0])
		}
		if err != nil {
			return err
		}
	}
	found, err := plan.Cheapest(ctx, options, p.seeds, func(ctx context.Context, option, replicas int, seeds []uint64) ([]plan.FleetRun, error) {
		return p.try(ctx, option, replicas, 1, seeds, answer)
	})
	if ctx.Err() != nil {
		return errNothing
	}
	if err != nil {
		return err
	}
	answer.Provision = found
	if len(found.Best) == 0 {
		return nil
	}
	best := found.Best[0]
	for _, c := range []struct {
		name     string
		replicas int
		demand   float64
		from     uint64
	}{
		{"with other seeds", best.Replicas, 1, 1000},
		{"one replica lost", best.Replicas - 1, 1, 0},
		{"a node of 8 devices lost", max(best.Replicas-max(8/p.options[best.Option].Tensor, 1), 0), 1, 0},
		{"a fifth more traffic", best.Replicas, 1.2, 0},
		{"a fifth less traffic", best.Replicas, 0.8, 0},
	} {
		check := planCheck{Name: c.name, Replicas: c.replicas, Demand: c.demand, Candidate: plan.Candidate{Option: best.Option, Replicas: c.replicas}}
		if c.replicas > 0 {
			seeds := make([]uint64, len(p.seeds))
			for i, seed := range p.seeds {
				seeds[i] = seed + c.from
			}
			if check.Runs, err = p.try(ctx, best.Option, c.replicas, c.demand, seeds, answer); err != nil {
				return err
			}
			check.Met = true
			for _, r := range check.Runs {
				check.Met = check.Met && r.Met
			}
		}
		answer.Checks = append(answer.Checks, check)
	}
	return nil
}

// try runs a fleet with seeds.
func (p *planner) try(ctx context.Context, option, replicas int, demand float64, seeds []uint64, answer *planAnswer) ([]plan.FleetRun, error) {
	s, err := p.scenario.PlanFleet(p.options[option], replicas, demand)
	if err != nil {
		return nil, err
	}
	results, err := p.runs.run(ctx, s, seeds)
	if err != nil {
		return nil, err
	}
	out := make([]plan.FleetRun, len(results))
	for i, r := range results {
		out[i] = fleetRun(r)
		answer.doubts(r.Doubt)
	}
	p.done += int64(len(results))
	p.bar.set(p.done, -1)
	return out, nil
}

// doubts keeps what makes the figures of the latest runs doubtful: those of the cheapest
// fleet, which is tried last.
func (p *planAnswer) doubts(text string) {
	p.Flags = []string{}
	if text != "" {
		p.Flags = strings.Split(text, "; ")
	}
}

// text returns what is printed.
func (p *planAnswer) text(s *scenarios.Scenario) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: the cheapest fleet for %.3g requests/s, %d seeds\n\n", s.Name, p.RatePerS, len(p.Seeds))
	if len(p.Best) == 0 {
		b.WriteString("no fleet within the bounds meets the SLO\n")
	} else {
		fmt.Fprintf(&b, "%-28s %8s %9s %22s %10s  %s\n", "", "replicas", "an hour", "requests within SLO", "TTFT p99", "what binds")
		for i := range p.Best {
			b.WriteString(p.row(&p.Best[i]))
		}
	}
	if len(p.Checks) > 0 {
		fmt.Fprintf(&b, "\nthe cheapest, %s:\n", p.Options[p.Best[0].Option].Name)
		for i := range p.Checks {
			c := &p.Checks[i]
			verdict := "meets the SLO"
			if !c.Met {
				verdict = "MISSES the SLO"
			}
			fmt.Fprintf(&b, "  %-24s %-15s %s\n", c.Name, verdict, p.figures(&c.Candidate))
		}
	}
	if len(p.Ruled) > 0 {
		b.WriteString("\nruled out:\n")
		for _, r := range p.Ruled {
			fmt.Fprintf(&b, "  %-28s %s\n", p.Options[r.Option].Name, r.Why)
		}
	}
	fmt.Fprintf(&b, "\n%d runs decided it; trying every fleet would have taken %d\n", p.Runs, p.All)
	for _, flag := range p.Flags {
		fmt.Fprintf(&b, "! %s\n", flag)
	}
	return b.String()
}

func (p *planAnswer) row(c *plan.Candidate) string {
	return fmt.Sprintf("%-28s %8d %9.2f %s\n", p.Options[c.Option].Name, c.Replicas, c.PerHour, p.figures(c))
}

// figures writes how a fleet did.
func (p *planAnswer) figures(c *plan.Candidate) string {
	if len(c.Runs) == 0 {
		return "nothing is left"
	}
	good := c.Good()
	text := fmt.Sprintf("%.1f %%", 100*float64(good.Mean))
	if good.Low.Exists() {
		text += fmt.Sprintf(" (%.1f to %.1f)", 100*float64(good.Low), 100*min(float64(good.High), 1))
	}
	return fmt.Sprintf("%22s %8.2f s  %s", text, c.LatencyS(), c.Runs[len(c.Runs)-1].Binds)
}
