package report

import (
	"fmt"

	"orrery/report/chart"
)

// Plot is a picture of a result and the name of its file, without extension.
type Plot struct {
	Name  string
	Chart chart.Charter
}

// Plots returns the pictures of a result: the distributions of latencies, and the
// run over time. Pictures for which there is no data are left out.
func (r *Result) Plots() []Plot {
	var plots []Plot
	if c := r.latencyPlot(); len(c.Series) > 0 {
		plots = append(plots, Plot{"latency", c})
	}
	if len(r.Series.Running) > 1 {
		plots = append(plots, Plot{"over-time", r.timePlot()})
	}
	return plots
}

// subtitle names what is drawn.
func (r *Result) subtitle() string {
	s := fmt.Sprintf("%s on %s, %s, %s requests/s", r.Model, r.Device, r.Policy, figure(r.Throughput.ArrivedPerS))
	if r.Partial {
		s += " (partial)"
	}
	return s
}

func (r *Result) latencyPlot() chart.CDF {
	c := chart.CDF{
		Title: "Latency", Subtitle: r.subtitle(), YLabel: "share of samples", Tail: true,
		X: chart.Axis{Label: "latency", Unit: chart.Seconds, Log: true},
	}
	add := func(name string, points []Point) {
		s := chart.Series{Name: name}
		for _, p := range points {
			if p.S > 0 { // not on a logarithmic axis
				s.X, s.Y = append(s.X, p.S), append(s.Y, p.P)
			}
		}
		if len(s.X) > 1 {
			c.Series = append(c.Series, s)
		}
	}
	if r.Images() { // which have no first token, and steps where texts have tokens
		add("between steps", r.Curves.TBT)
		add("scheduling delay", r.Curves.SchedulingDelay)
	} else {
		add("TBT", r.Curves.TBT)
		add("scheduling delay", r.Curves.SchedulingDelay)
		add("TTFT", r.Curves.TTFT)
	}
	add("E2E", r.Curves.E2E)
	longest := 0.0
	for _, s := range c.Series {
		longest = max(longest, s.X[len(s.X)-1])
	}
	c.X.Min, c.X.Max = shortest(c.Series, longest), longest
	if r.SLO != nil {
		for i := range r.SLO.Bounds {
			b := &r.SLO.Bounds[i]
			c.Marks = append(c.Marks, chart.Mark{Value: b.LimitS, Label: b.label() + " SLO"})
			c.X.Max = max(c.X.Max, b.LimitS)
		}
	}
	return c
}

// shortest returns where the axis of latencies begins: at the shortest one, but no
// more than five decades below the longest, since delays of a few nanoseconds would
// push all that matters to the right.
func shortest(series []chart.Series, longest float64) float64 {
	x := longest
	for _, s := range series {
		x = min(x, s.X[0])
	}
	return max(x, longest/1e5)
}

func (r *Result) timePlot() chart.Panels {
	s := &r.Series
	x := make([]float64, len(s.Running))
	for i := range x {
		x[i] = (float64(i) + 0.5) * s.BinS
	}
	x[len(x)-1] = min(x[len(x)-1], r.EndS)
	line := func(name string, y []float64) []chart.Series { return []chart.Series{{Name: name, X: x, Y: y}} }
	share := chart.Axis{Unit: chart.Percent, Max: 1}
	memory, unit := "KV memory in use", "tokens per second"
	if r.Images() {
		memory, unit = "Memory beside the models in use", "denoising steps per second"
	}
	c := chart.Panels{
		Title: "The run over time", Subtitle: r.subtitle(), X: chart.Axis{Label: "simulated time", Unit: chart.Seconds, Max: r.EndS},
		Panels: []chart.Panel{
			{Title: "Requests", Series: append(line("waiting", s.Waiting), line("running", s.Running)...)},
			{Title: memory, Y: share, Series: line("", s.KVShare)},
			{Title: "Devices busy", Y: share, Series: line("", s.BusyShare)},
			{Title: "Output", Y: chart.Axis{Label: unit}, Series: line("", s.OutputTokensPerS)},
		},
	}
	if len(s.Provisioned) > 0 {
		c.Panels = append(c.Panels, chart.Panel{Title: "Replicas that have their devices", Series: line("", s.Provisioned)})
	}
	if r.Measurement != nil { // of which nobody saw the inside
		c.X.Label = "time"
		c.Panels = []chart.Panel{
			{Title: "Requests in flight", Series: line("", s.Running)},
			{Title: "Arrivals", Y: chart.Axis{Label: "requests per second"}, Series: line("", s.ArrivedPerS)},
			c.Panels[3],
		}
	}
	if r.WarmUpS > 0 {
		c.XMarks = []chart.Mark{{Value: r.WarmUpS, Label: "warm-up ends"}}
	}
	return c
}
