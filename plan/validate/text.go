package validate

import (
	"fmt"
	"math"
	"strings"

	"orrery/report"
	"orrery/report/chart"
)

// Text returns the report as a table for a terminal.
func (r *Report) Text() string {
	var b strings.Builder
	c := &r.Calibration
	fmt.Fprintf(&b, "prices fitted to %d measured iterations, held-out error %s (p90 %s), host %s an iteration\n",
		c.Iterations, percent(c.Error), percent(c.ErrorP90), seconds(c.HostS))
	fmt.Fprintf(&b, "%d iterations executed, %s of them in batches measured before\n", c.Executed, percent(c.Known))
	for i := range r.Loads {
		r.Loads[i].write(&b)
	}
	fmt.Fprintf(&b, "\n%s\n", r.Summarise())
	return b.String()
}

func (l *Load) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n%.0f %% load: %.3g requests/s, %d requests\n", 100*l.Share, l.RatePerS, l.Requests)
	for i := range l.Policies {
		p := &l.Policies[i]
		fmt.Fprintf(b, "\n%-28s %10s %10s %8s %8s %8s\n", p.Name, "real", "simulated", "error", "noise", "limit")
		for k := range p.Lines {
			n := &p.Lines[k]
			limit, format := "", seconds
			if n.Limit > 0 {
				limit = fmt.Sprintf("%.0f %%", 100*n.Limit)
			}
			if !isTime(n.Metric) {
				format = func(v report.Number) string { return fmt.Sprintf("%.4g", float64(v)) }
			}
			row := fmt.Sprintf("  %-26s %10s %10s %8s %8s %8s  %s", n.Metric, format(n.Real), format(n.Simulated), signed(n.Error), percent(n.Noise), limit, n.Verdict)
			fmt.Fprintln(b, strings.TrimRight(row, " "))
		}
		fmt.Fprintf(b, "  %-26s %10s %10s %8s %8s\n", "iterations", "real", "priced", "error", "count")
		for k := range p.Shapes {
			s := &p.Shapes[k]
			fmt.Fprintf(b, "  %-26s %10s %10s %8s %8d\n", s.Name(), seconds(s.RealS), seconds(s.PricedS), signed(s.Error), s.Count)
		}
	}
	for _, o := range l.Orders {
		agrees := "same order"
		if !o.Agrees {
			agrees = "NOT the same order"
		}
		fmt.Fprintf(b, "\n%s: real %s; simulated %s: %s", o.Metric, strings.Join(o.Real, " < "), strings.Join(o.Simulated, " < "), agrees)
	}
	if len(l.Orders) > 0 {
		b.WriteByte('\n')
	}
}

// isTime tells whether a metric is in seconds.
func isTime(metric string) bool { return !strings.HasSuffix(metric, "/s") }

func seconds(v report.Number) string {
	s := float64(v)
	switch {
	case math.IsNaN(s):
		return "-"
	case s < 1e-3:
		return fmt.Sprintf("%.0f us", s*1e6)
	case s < 1:
		return fmt.Sprintf("%.4g ms", s*1e3)
	}
	return fmt.Sprintf("%.4g s", s)
}

func percent(v report.Number) string {
	if math.IsNaN(float64(v)) {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(v))
}

func signed(v report.Number) string {
	if math.IsNaN(float64(v)) {
		return "-"
	}
	return fmt.Sprintf("%+.1f %%", 100*float64(v))
}

// plotted is a pair of runs to draw.
type plotted struct {
	share           float64
	name            string
	real, simulated *report.Result
}

// Plots returns, for each load, the distributions of TTFT and TBT of both worlds.
func (r *Report) Plots() []report.Plot {
	var plots []report.Plot
	for _, l := range r.Loads {
		for _, m := range []struct {
			name, label string
			curve       func(c *report.Curves) []report.Point
		}{
			{"ttft", "TTFT", func(c *report.Curves) []report.Point { return c.TTFT }},
			{"tbt", "TBT", func(c *report.Curves) []report.Point { return c.TBT }},
		} {
			c := chart.CDF{
				Title: m.label + ", simulated and real", Subtitle: fmt.Sprintf("%.0f %% load, %.3g requests/s", 100*l.Share, l.RatePerS),
				YLabel: "share of samples", X: chart.Axis{Label: m.label, Unit: chart.Seconds, Log: true},
			}
			for i := range r.runs {
				if run := &r.runs[i]; run.share == l.Share {
					c.Series = append(c.Series, curve(run.name+", real", m.curve(&run.real.Curves)), curve(run.name+", simulated", m.curve(&run.simulated.Curves)))
				}
			}
			plots = append(plots, report.Plot{Name: fmt.Sprintf("%s-%.0f", m.name, 100*l.Share), Chart: c})
		}
	}
	return plots
}

func curve(name string, points []report.Point) chart.Series {
	s := chart.Series{Name: name}
	for _, p := range points {
		if p.S > 0 { // not on a logarithmic axis
			s.X, s.Y = append(s.X, p.S), append(s.Y, p.P)
		}
	}
	return s
}
