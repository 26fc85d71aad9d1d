package cmd

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"orrery/policies/lrsched"
	"orrery/report"
	"orrery/report/chart"
)

// refinedAnswer is what schedules writes of a refined schedule.
type refinedAnswer struct {
	Norms   int       `json:"norms"`
	WarmUp  float64   `json:"warm_up"` // share of the run up to the peak
	Spread  float64   `json:"spread"`  // largest weight over the median one
	Gain    float64   `json:"bound_over_linear"`
	Refused string    `json:"refused,omitempty"` // why it is not to be used
	Use     string    `json:"use"`               // refined, or linear where that is refused
	Rates   []float64 `json:"rates"`             // of the refined one, by norm, the largest 1
	norms   []float64
}

func newRefinedAnswer(norms []float64, r *lrsched.Refined, refused error) *refinedAnswer {
	x := &refinedAnswer{Norms: len(norms), WarmUp: r.WarmUp, Spread: r.Spread, Gain: r.Bound / r.LinearBound, Use: "refined", norms: norms}
	if refused != nil {
		x.Refused, x.Use = refused.Error(), baseSchedule
	}
	for i := range norms {
		x.Rates = append(x.Rates, r.LR(i, len(norms)))
	}
	return x
}

// text returns what is printed.
func (x *refinedAnswer) text(bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Schedule refined from %d norms\n\n", x.Norms)
	fmt.Fprintf(&b, "peak after     %.1f %% of the run\n", 100*x.WarmUp)
	fmt.Fprintf(&b, "bound          %.3f of that of linear decay, for steps of the same norms\n", x.Gain)
	fmt.Fprintf(&b, "weights        the largest is %.3g times the median\n", x.Spread)
	fmt.Fprintf(&b, "use            %s\n", x.Use)
	if x.Refused != "" {
		fmt.Fprintf(&b, "               %s\n", x.Refused)
	}
	b.WriteString("\n")
	table(&b, func(w *tabwriter.Writer) {
		fmt.Fprint(w, "run\tnorm\trate\t\n")
		const rows = 10
		for k := range rows {
			i := k * x.Norms / rows
			fmt.Fprintf(w, "%d %%\t%.4g\t%.3f\t\n", 100*k/rows, x.norms[i], x.Rates[i])
		}
	})
	return b.String()
}

// plots draws the schedule beside linear decay.
func (x *refinedAnswer) plots() []report.Plot {
	refined, linear := chart.Series{Name: "refined"}, chart.Series{Name: baseSchedule}
	for i, rate := range x.Rates {
		z := float64(i) / float64(len(x.Rates))
		refined.X, refined.Y = append(refined.X, z), append(refined.Y, rate)
		linear.X, linear.Y = append(linear.X, z), append(linear.Y, 1-z)
	}
	return []report.Plot{{Name: "refined", Chart: chart.Lines{
		Title: "A schedule refined from norms of gradients", X: chart.Axis{Label: "share of the run"}, Y: chart.Axis{Label: "rate, share of the peak"},
		Series: []chart.Series{refined, linear},
	}}}
}
