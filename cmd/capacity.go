package cmd

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"orrery/plan"
	"orrery/report"
	"orrery/report/chart"
	"orrery/scenarios"
)

type capacityFlags struct {
	common
	vary    []string
	tol     float64
	start   float64
	sloOnly bool
	// calibration asks for the band in which prices can be trusted.
	calibration bool
}

// capacityOf is the capacity of one setting.
type capacityOf struct {
	Setting string `json:"setting"`
	*plan.Capacity
}

// capacityAnswer is what capacity writes and, with --json, prints.
type capacityAnswer struct {
	question
	Rule       string       `json:"rule"` // what a rate must satisfy, in words
	Capacities []capacityOf `json:"capacities"`
}

func (a *app) capacityCmd() *cobra.Command {
	var f capacityFlags
	c := &cobra.Command{
		Use:   "capacity SCENARIO...",
		Short: "Find the highest rate within the SLO",
		Long: `Capacity searches for the highest rate of the traffic at which the SLO of the
scenario holds and the queue has a steady state. Every seed is searched on its
own, with the same traffic at all rates and for all settings; the result is the
median over the seeds, with a 95 % interval of the mean. The settings are the
scenario's [compare] variants, or those of --vary, or several scenarios.`,
		Example: `  orrery capacity capacity
  orrery capacity quickstart --set slo.tbt=50ms --seeds 7
  orrery capacity quickstart --vary hardware.device=a100-pcie-80gb,h100-sxm-80gb
  orrery capacity papers/sarathi/mistral-7b-chat --slo-only`,
		Args: scenarioArgs(1, 0),
		RunE: func(c *cobra.Command, args []string) error { return a.capacity(c.Context(), args, &f) },
	}
	f.add(c, "independent searches (default: the scenario's)")
	c.Flags().StringArrayVar(&f.vary, "vary", nil, "values of a key to compare, as in policy.batch=vllm,sarathi (repeatable: all combinations)")
	c.Flags().Float64Var(&f.tol, "tolerance", 0, "relative width of the final bracket (default: the scenario's)")
	c.Flags().Float64Var(&f.start, "start", 0, "first rate tried, requests per second (default: the scenario's)")
	c.Flags().BoolVar(&f.calibration, "calibration", true, "search once more at the ends of the band in which prices can be trusted")
	c.Flags().BoolVar(&f.sloOnly, "slo-only", false, "let the queue grow, as long as the run ends within the SLO")
	return c
}

func (a *app) capacity(ctx context.Context, args []string, f *capacityFlags) error {
	subjects, err := f.subjects(args, f.vary)
	if err != nil {
		return err
	}
	if anyKept(subjects) {
		return inputErrorf("a folder of results has no capacity; want scenarios")
	}
	for _, s := range subjects {
		if !s.scenario.Stated() {
			return inputErrorf("%s has no SLO to keep; want bounds, such as --set slo.tbt=100ms --set slo.ttft=2s", s.label)
		}
	}
	if f.tol != 0 && !(f.tol >= 1e-4 && f.tol <= 1) || f.start < 0 || math.IsInf(f.start, 0) {
		return inputErrorf("--tolerance %g --start %g; want a tolerance from 0.0001 to 1 and a positive rate", f.tol, f.start)
	}
	first := subjects[0].scenario
	seeds := f.replications(first, first.Capacity.Seeds)
	answer := &capacityAnswer{question: newQuestion("capacity", subjects, seeds), Rule: "the SLO holds and the queue has a steady state"}
	rule := plan.MetAndSteady
	if f.sloOnly {
		answer.Rule, rule = "the SLO holds", plan.Met
	}
	folder, err := f.folder(time.Now(), answer.RunID)
	if err != nil {
		return err
	}
	defer folder.Abort()

	how := func(s *scenarios.Scenario) plan.Search {
		search := plan.Search{Seeds: seeds, Rule: rule, Tolerance: s.Capacity.Tolerance, Start: startOf(s)}
		if f.tol > 0 {
			search.Tolerance = f.tol
		}
		if f.start > 0 {
			search.Start = f.start
		}
		return search
	}
	found, err := a.searchAll(ctx, subjects, how)
	if err != nil {
		return err
	}
	if f.calibration {
		if err := a.capacityBands(ctx, subjects, found, how); err != nil {
			return err
		}
	}
	for i, c := range found {
		answer.Capacities = append(answer.Capacities, capacityOf{subjects[i].label, c})
		answer.Partial = answer.Partial || c.Partial
	}
	text := answer.text(subjects)
	folder.Plot(answer.plot(subjects))
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

// startOf returns the first rate to try: the scenario's, or the middle of its bracket,
// or one request per second.
func startOf(s *scenarios.Scenario) float64 {
	switch c := &s.Capacity; {
	case c.Start > 0:
		return c.Start
	case c.Low > 0 && c.High > 0:
		return math.Sqrt(c.Low * c.High)
	case s.Rate() > 0:
		return s.Rate()
	}
	return 1
}

// searchAll searches the capacities of all subjects at the same time, sharing the
// cores.
func (a *app) searchAll(ctx context.Context, subjects []subject, how func(*scenarios.Scenario) plan.Search) ([]*plan.Capacity, error) {
	bar := a.newProgress("searching")
	defer bar.end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := plan.NewWorkers(0)
	done, expected := make([]int, len(subjects)), make([]int, len(subjects))
	found, errs := make([]*plan.Capacity, len(subjects)), make([]error, len(subjects))
	searches := make([]plan.Search, len(subjects))
	for i, s := range subjects {
		searches[i] = how(s.scenario)
		searches[i].Workers = workers
		expected[i] = searches[i].Expected()
	}
	var mu sync.Mutex // of done and expected, once the searches run
	var wg sync.WaitGroup
	for i, s := range subjects {
		search := searches[i]
		search.Progress = func(d, e int) {
			mu.Lock()
			defer mu.Unlock()
			done[i], expected[i] = max(done[i], d), max(expected[i], e)
			bar.set(sum(done), sum(expected))
		}
		wg.Go(func() {
			found[i], errs[i] = plan.FindCapacity(ctx, newRates(s.scenario).probe, search)
			if errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	probes := 0
	for i, err := range errs {
		if err != nil {
			return nil, err
		}
		probes += found[i].Probes
	}
	if probes == 0 {
		return nil, errNothing
	}
	return found, nil
}

func sum(v []int) (n int64) {
	for _, x := range v {
		n += int64(x)
	}
	return n
}

// text returns what is printed.
func (c *capacityAnswer) text(subjects []subject) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: highest rate at which %s\nSLO: %s\n\n", subjects[0].scenario.Name, c.Rule, sharedSLO(subjects))
	width := 0
	for _, x := range c.Capacities {
		width = max(width, len(x.Setting))
	}
	for _, x := range c.Capacities {
		fmt.Fprintf(&b, "%-*s  %s\n", width, x.Setting, x.Text())
	}
	fmt.Fprintf(&b, "\nmedian over the seeds; the interval is that of their mean and includes the search step of %.2g %%\n", 100*c.Capacities[0].Tolerance)
	for _, x := range c.Capacities {
		if x.Calibration != nil {
			b.WriteString("± is of seeds and calibration together, a band for nine true capacities in ten\n")
			break
		}
	}
	if c.Partial {
		b.WriteString("PARTIAL: interrupted before every search had ended\n")
	}
	return b.String()
}

// sloText names the bounds of an objective.
func sloText(s report.SLO) string {
	var parts []string
	add := func(name string, bound time.Duration) {
		if bound > 0 {
			parts = append(parts, fmt.Sprintf("%s within %v", name, bound))
		}
	}
	q := s.Quantile
	if q == 0 {
		q = 0.99
	}
	p := fmt.Sprintf(" p%g", math.Round(q*1e4)/100)
	add("TTFT"+p, s.TTFT)
	add("TBT"+p, s.TBT)
	add("TPOT"+p, s.TPOT)
	add("E2E"+p, s.E2E)
	add("scheduling delay p50", s.SchedulingDelayMedian)
	return strings.Join(parts, ", ")
}

// sharedSLO names the bounds that the subjects are judged by.
func sharedSLO(subjects []subject) string {
	text := sloText(subjects[0].scenario.ReportSLO())
	for _, s := range subjects {
		if sloText(s.scenario.ReportSLO()) != text {
			return "of each setting its own"
		}
	}
	return text
}

// plot returns the capacities as bars.
func (c *capacityAnswer) plot(subjects []subject) report.Plot {
	bars := chart.Bars{
		Title:    "Capacity",
		Subtitle: fmt.Sprintf("%s: %s; median and 95 %% interval, %d seeds", subjects[0].scenario.Name, sharedSLO(subjects), len(c.Seeds)),
		Y:        chart.Axis{Label: "requests per second"},
		Series:   []chart.BarSeries{barsOf("capacity", c.Capacities)},
	}
	for _, x := range c.Capacities {
		bars.Groups = append(bars.Groups, x.Setting)
	}
	return report.Plot{Name: "capacity", Chart: bars}
}

// barsOf returns capacities as bars with their intervals.
func barsOf(name string, found []capacityOf) chart.BarSeries {
	s := chart.BarSeries{Name: name}
	for _, c := range found {
		s.Y = append(s.Y, float64(c.PerS))
		s.Low, s.High = append(s.Low, float64(c.Interval.Low)), append(s.High, float64(c.Interval.High))
	}
	return s
}
