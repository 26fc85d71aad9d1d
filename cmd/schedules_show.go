package cmd

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"orrery/plan"
	"orrery/policies/lrsched"
	"orrery/report"
	"orrery/report/chart"
)

// schedulesAnswer is what schedules writes and, with --json, prints, of a comparison.
type schedulesAnswer struct {
	Batch     float64           `json:"batch"`
	Momentum  float64           `json:"momentum"`
	Budgets   []int             `json:"budgets"` // steps
	Schedules []string          `json:"schedules"`
	Loss      [][]report.Number `json:"loss"`    // by schedule and budget
	Peak      [][]float64       `json:"peak_lr"` // by schedule and budget
	Edge      [][]bool          `json:"edge"`    // the best peak rate is the first or last tried
	Base      string            `json:"base"`
	Against   string            `json:"against"`
	Batches   []float64         `json:"batches"`
	Map       [][]report.Number `json:"map"` // Against over Base, by batch and budget
	Targets   []float64         `json:"targets"`
	Steps     [][]int           `json:"steps"` // by target and schedule, 0: none of the lengths tried
	Most      int               `json:"most_steps"`
	Samples   float64           `json:"samples"`
	Spent     [][]report.Number `json:"spent"` // by batch, losses of Base and Against
	Points    []int             `json:"points"`
	Sampled   [][][]float64     `json:"sampled"` // by schedule, budget and points
	base      int
	profiles  []lrsched.Profile
}

func newSchedulesAnswer(q *plan.SchedulesQuestion, t *plan.Schedules, profiles []lrsched.Profile) *schedulesAnswer {
	x := &schedulesAnswer{
		Batch: q.Batch, Momentum: q.Model.Momentum, Budgets: q.Budgets, Base: q.Schedules[q.Base].Name, Against: q.Schedules[q.Against].Name,
		Batches: q.Batches, Targets: t.Targets, Steps: t.Steps, Most: q.Most, Points: q.Points, Sampled: t.Sampled,
		Samples: q.Batch * float64(q.Budgets[len(q.Budgets)-1]), base: q.Base, profiles: profiles,
	}
	for i, s := range q.Schedules {
		x.Schedules = append(x.Schedules, s.Name)
		var loss []report.Number
		var peak []float64
		var edge []bool
		for _, tuned := range t.Final[i] {
			loss, peak, edge = append(loss, report.Number(tuned.Loss)), append(peak, tuned.Peak), append(edge, tuned.Edge)
		}
		x.Loss, x.Peak, x.Edge = append(x.Loss, loss), append(x.Peak, peak), append(x.Edge, edge)
	}
	for i := range q.Batches {
		var row []report.Number
		for _, ratio := range t.Map[i] {
			row = append(row, report.Number(ratio))
		}
		x.Map = append(x.Map, row)
		x.Spent = append(x.Spent, []report.Number{report.Number(t.Spent[i][0]), report.Number(t.Spent[i][1])})
	}
	return x
}

// text returns what is printed; all has the sampling of every schedule, not of the two that
// are compared alone.
func (x *schedulesAnswer) text(all bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Expected losses of tuned runs, noisy quadratic model, batch %g, momentum %g\n", x.Batch, x.Momentum)
	fmt.Fprintf(&b, "\nLoss at the end over that of %s decay\n", x.Base)
	table(&b, func(w *tabwriter.Writer) {
		fmt.Fprintf(w, "steps\t%s loss\t", x.Base)
		for i, name := range x.Schedules {
			if i != x.base {
				fmt.Fprintf(w, "%s\t", name)
			}
		}
		fmt.Fprintln(w)
		for j, steps := range x.Budgets {
			fmt.Fprintf(w, "%d\t%.5f%s\t", steps, x.Loss[x.base][j], edgeMark(x.Edge[x.base][j]))
			for i := range x.Schedules {
				if i != x.base {
					fmt.Fprintf(w, "%.3f%s\t", float64(x.Loss[i][j]/x.Loss[x.base][j]), edgeMark(x.Edge[i][j]))
				}
			}
			fmt.Fprintln(w)
		}
	})
	b.WriteString("^ the best peak rate is the first or the last that is tried\n")
	x.regimes(&b)
	x.shortest(&b)
	x.sampling(&b, all)
	return b.String()
}

// regimes prints the map by batch, and what the same samples buy.
func (x *schedulesAnswer) regimes(b *strings.Builder) {
	fmt.Fprintf(b, "\nWhere %s wins: its loss over that of %s, by batch and steps; and losses for %.0f samples\n", x.Against, x.Base, x.Samples)
	table(b, func(w *tabwriter.Writer) {
		fmt.Fprint(w, "batch\t")
		for _, steps := range x.Budgets {
			fmt.Fprintf(w, "%d\t", steps)
		}
		fmt.Fprintf(w, "\tsteps\t%s\t%s\t\n", x.Base, x.Against)
		for i, batch := range x.Batches {
			fmt.Fprintf(w, "%g\t", batch)
			for j := range x.Budgets {
				fmt.Fprintf(w, "%.3f\t", x.Map[i][j])
			}
			fmt.Fprintf(w, "\t%.0f\t%s\t%s\t\n", math.Floor(x.Samples/batch), lossText(x.Spent[i][0]), lossText(x.Spent[i][1]))
		}
	})
}

// shortest prints the shortest runs.
func (x *schedulesAnswer) shortest(b *strings.Builder) {
	b.WriteString("\nSteps of the shortest run that reaches a loss\n")
	table(b, func(w *tabwriter.Writer) {
		fmt.Fprint(w, "loss\t")
		for _, name := range x.Schedules {
			fmt.Fprintf(w, "%s\t", name)
		}
		fmt.Fprintln(w)
		for i, target := range x.Targets {
			fmt.Fprintf(w, "%.4g\t", target)
			for _, steps := range x.Steps[i] {
				if steps == 0 {
					fmt.Fprintf(w, "> %d\t", x.Most)
				} else {
					fmt.Fprintf(w, "%d\t", steps)
				}
			}
			fmt.Fprintln(w)
		}
	})
}

// sampling prints what few points do.
func (x *schedulesAnswer) sampling(b *strings.Builder, all bool) {
	if len(x.Points) == 0 {
		return
	}
	b.WriteString("\nLoss with the schedule read at so many points of the run, over that at every step\n")
	table(b, func(w *tabwriter.Writer) {
		fmt.Fprint(w, "schedule\tsteps\t")
		for _, n := range x.Points {
			fmt.Fprintf(w, "%d\t", n)
		}
		fmt.Fprintln(w)
		for i, name := range x.Schedules {
			if !all && name != x.Base && name != x.Against {
				continue
			}
			for j, steps := range x.Budgets {
				fmt.Fprintf(w, "%s\t%d\t", name, steps)
				for _, ratio := range x.Sampled[i][j] {
					fmt.Fprintf(w, "%.2f\t", ratio)
				}
				fmt.Fprintln(w)
			}
		}
	})
}

func table(b *strings.Builder, fill func(w *tabwriter.Writer)) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fill(w)
	w.Flush()
}

func edgeMark(edge bool) string {
	if edge {
		return "^"
	}
	return ""
}

func lossText(x report.Number) string {
	if !x.Exists() {
		return "-"
	}
	return fmt.Sprintf("%.5f", float64(x))
}

// plots draws the schedules, and the map.
func (x *schedulesAnswer) plots() []report.Plot {
	const points = 400
	l := chart.Lines{Title: "Schedules of the learning rate", X: chart.Axis{Label: "share of the run"}, Y: chart.Axis{Label: "rate, share of the peak"}}
	for i, name := range x.Schedules {
		s := chart.Series{Name: name}
		for k := range points {
			z := float64(k) / points
			s.X, s.Y = append(s.X, z), append(s.Y, x.profiles[i](z))
		}
		l.Series = append(l.Series, s)
	}
	m := chart.Lines{
		Title: "Where " + x.Against + " wins", Subtitle: fmt.Sprintf("noisy quadratic model, momentum %g, each tuned", x.Momentum),
		X: chart.Axis{Label: "steps", Log: true}, Y: chart.Axis{Label: "loss over that of " + x.Base},
		YMarks: []chart.Mark{{Value: 1, Label: x.Base}},
	}
	for i, batch := range x.Batches {
		s := chart.Series{Name: fmt.Sprintf("batch %g", batch), Points: true}
		for j, steps := range x.Budgets {
			if y := float64(x.Map[i][j]); !math.IsNaN(y) && !math.IsInf(y, 0) {
				s.X, s.Y = append(s.X, float64(steps)), append(s.Y, y)
			}
		}
		m.Series = append(m.Series, s)
	}
	return []report.Plot{{Name: "schedules", Chart: l}, {Name: "regimes", Chart: m}}
}
