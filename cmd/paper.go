package cmd

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"orrery/internal/names"
	"orrery/plan"
	"orrery/report"
	"orrery/report/chart"
	"orrery/scenarios"
)

// paperFolder is where the shipped scenarios of the paper are.
const paperFolder = "papers/sarathi/"

type paperFlags struct {
	common
	published string
}

// paperCell is one bar of the paper's figures, ours and theirs.
type paperCell struct {
	Scenario  string        `json:"scenario"`
	System    string        `json:"system"`
	SLO       string        `json:"slo"`
	Published report.Number `json:"published_per_s"` // null if it is not known
	Error     report.Number `json:"relative_error"`  // ours over theirs, less 1
	*plan.Capacity
}

// paperAnswer is what paper writes and, with --json, prints.
type paperAnswer struct {
	question
	Cells []paperCell `json:"cells"`
	// MeanAbsError is the mean of the absolute relative errors.
	MeanAbsError report.Number `json:"mean_absolute_relative_error"`
}

func (a *app) paperCmd() *cobra.Command {
	var f paperFlags
	chats := paperScenarios("-chat")
	c := &cobra.Command{
		Use:   "paper [SCENARIO...]",
		Short: "Reproduce the capacities of the Sarathi-Serve paper",
		Long: `Paper searches the capacities of figures 10 and 11 of Agrawal et al., "Taming
Throughput-Latency Tradeoff in LLM Inference with Sarathi-Serve" (OSDI 2024), by
the rules of its artefact, and prints them beside the published figures if a file
has them: a CSV with the columns model, dataset, slo, orca_qps, vllm_qps and
sarathi_qps. By default it does the chat experiments:
` + strings.Join(chats, ", ") + ".",
		Example: `  orrery paper
  orrery paper mistral-7b-chat yi-34b-chat --published capacity_fig10_fig11.csv
  orrery paper mistral-7b-chat --seeds 7 --json`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = chats
			}
			return a.paper(c.Context(), args, &f)
		},
	}
	f.add(c, "independent searches (default: the scenario's)")
	c.Flags().StringVar(&f.published, "published", "", "CSV file of the published capacities")
	c.ValidArgsFunction = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return paperScenarios(""), cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

// paperScenarios returns the names of the paper's capacity experiments that end as
// given. The sweep over objectives is a question for capacity.
func paperScenarios(suffix string) []string {
	var list []string
	for _, name := range scenarios.Names() {
		if short, ok := strings.CutPrefix(name, paperFolder); ok && short != "slo-sweep" && strings.HasSuffix(short, suffix) {
			list = append(list, short)
		}
	}
	return list
}

func (a *app) paper(ctx context.Context, args []string, f *paperFlags) error {
	theirs := published{}
	if f.published != "" {
		var err error
		if theirs, err = readPublished(f.published); err != nil {
			return err
		}
	}
	answer := &paperAnswer{MeanAbsError: report.None}
	var subjects []subject
	for _, name := range args {
		name = strings.TrimPrefix(name, paperFolder)
		if known := paperScenarios(""); !slices.Contains(known, name) {
			return badInput{names.Unknown("scenario of the paper", name, known)}
		}
		s, err := f.load(paperFolder + name)
		if err != nil {
			return err
		}
		for _, v := range s.Variants() {
			c, err := cellOf(name, v.Label)
			if err != nil {
				return err
			}
			subjects = append(subjects, subject{label: name + " " + v.Label, scenario: v.Scenario})
			answer.Cells = append(answer.Cells, paperCell{Scenario: name, System: c.system, SLO: c.slo, Published: theirs.of(c), Error: report.None})
		}
	}
	first := subjects[0].scenario
	seeds := f.replications(first, first.Capacity.Seeds)
	answer.question = newQuestion("paper", subjects, seeds)
	folder, err := f.folder(time.Now(), answer.RunID)
	if err != nil {
		return err
	}
	defer folder.Abort()

	// The artefact's rule is the objective alone, whatever the queue does.
	found, err := a.searchAll(ctx, subjects, func(s *scenarios.Scenario) plan.Search {
		return plan.Search{Seeds: seeds, Tolerance: s.Capacity.Tolerance, Start: startOf(s)}
	})
	if err != nil {
		return err
	}
	answer.fill(found)
	text := answer.text()
	for _, p := range answer.plots() {
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

func (p published) of(c cell) report.Number {
	if qps, ok := p[c]; ok {
		return report.Number(qps)
	}
	return report.None
}

// fill puts in what was found, and how far it is from what was published.
func (p *paperAnswer) fill(found []*plan.Capacity) {
	var total float64
	n := 0
	for i, c := range found {
		x := &p.Cells[i]
		x.Capacity = c
		x.Error = c.PerS/x.Published - 1
		p.Partial = p.Partial || c.Partial
		if x.Error.Exists() {
			total += math.Abs(float64(x.Error))
			n++
		}
	}
	if n > 0 {
		p.MeanAbsError = report.Number(total / float64(n))
	}
}

// find returns a cell by its names.
func (p *paperAnswer) find(scenario, slo, system string) *paperCell {
	for i := range p.Cells {
		if c := &p.Cells[i]; c.Scenario == scenario && c.SLO == slo && c.System == system {
			return c
		}
	}
	return nil
}

// text returns the table of cells, and of the ratios that the paper claims.
func (p *paperAnswer) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Sarathi-Serve (OSDI 2024), figures 10 and 11: capacity in requests/s, %d seeds from %d\n\n", len(p.Seeds), p.Seeds[0])
	fmt.Fprintf(&b, "%-18s %-8s %-8s %8s  %-16s %9s %7s\n", "scenario", "SLO", "system", "ours", "95 % interval", "published", "error")
	for i := range p.Cells {
		c := &p.Cells[i]
		fmt.Fprintf(&b, "%-18s %-8s %-8s %8s  %-16s %9s %7s\n", c.Scenario, c.SLO, c.System, two(c.PerS),
			two(c.Interval.Low)+" to "+two(c.Interval.High), two(c.Published), perCent(c.Error))
	}
	fmt.Fprintf(&b, "\n%-18s %-8s %-16s %8s %9s %7s\n", "ratio", "SLO", "", "ours", "published", "error")
	for i := range p.Cells {
		c := &p.Cells[i]
		if c.System != "sarathi" {
			continue
		}
		for _, other := range []string{"vllm", "orca"} {
			if o := p.find(c.Scenario, c.SLO, other); o != nil {
				ours, theirs := c.PerS/o.PerS, c.Published/o.Published
				fmt.Fprintf(&b, "%-18s %-8s %-16s %8s %9s %7s\n", c.Scenario, c.SLO, "sarathi/"+other, two(ours), two(theirs), perCent(ours/theirs-1))
			}
		}
	}
	if p.MeanAbsError.Exists() {
		fmt.Fprintf(&b, "\nmean absolute error %.0f %%\n", 100*p.MeanAbsError)
	}
	if p.Partial {
		b.WriteString("\nPARTIAL: interrupted before every search had ended\n")
	}
	return b.String()
}

func two(n report.Number) string {
	if !n.Exists() {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(n))
}

func perCent(n report.Number) string {
	if !n.Exists() {
		return "-"
	}
	return fmt.Sprintf("%+.0f %%", math.Round(100*float64(n))+0) // adding 0 makes -0 plain
}

// plots returns for each scenario the bars of the paper, ours beside theirs.
func (p *paperAnswer) plots() []report.Plot {
	var plots []report.Plot
	for from := 0; from < len(p.Cells); {
		to := from
		for to < len(p.Cells) && p.Cells[to].Scenario == p.Cells[from].Scenario {
			to++
		}
		plots = append(plots, paperPlot(p.Cells[from:to], len(p.Seeds)))
		from = to
	}
	return plots
}

func paperPlot(cells []paperCell, seeds int) report.Plot {
	ours, theirs := chart.BarSeries{Name: "Orrery"}, chart.BarSeries{Name: "published"}
	bars := chart.Bars{
		Title:    "Capacity by system and SLO",
		Subtitle: fmt.Sprintf("%s, rules of the Sarathi-Serve artefact; median and 95 %% interval of %d seeds", cells[0].Scenario, seeds),
		Y:        chart.Axis{Label: "requests per second"},
	}
	known := false
	for _, c := range cells {
		bars.Groups = append(bars.Groups, c.System+" "+c.SLO)
		ours.Y = append(ours.Y, float64(c.PerS))
		ours.Low, ours.High = append(ours.Low, float64(c.Interval.Low)), append(ours.High, float64(c.Interval.High))
		theirs.Y = append(theirs.Y, float64(c.Published))
		known = known || c.Published.Exists()
	}
	bars.Series = []chart.BarSeries{ours}
	if known {
		bars.Series = append(bars.Series, theirs)
	}
	return report.Plot{Name: "capacity-" + cells[0].Scenario, Chart: bars}
}
