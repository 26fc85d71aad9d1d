package cmd

import (
	"fmt"

	"orrery/plan"
	"orrery/report"
	"orrery/report/chart"
	"orrery/scenarios"
)

// comparePlots returns the pictures of a comparison: distributions of the latencies
// by setting, and latency over rate if rates were asked for.
func comparePlots(subjects []subject, results []*report.Result, answer *compareAnswer) []report.Plot {
	first := subjects[0].scenario
	subtitle := fmt.Sprintf("%s, the same traffic for all, %d seeds", first.Name, len(answer.Comparison.Seeds))
	if answer.Partial {
		subtitle += " (partial)"
	}
	slo := commonBounds(subjects)
	cdf := func(title, axis string, bound float64, of func(*report.Result) []report.Point) chart.CDF {
		c := chart.CDF{
			Title: title, Subtitle: subtitle, YLabel: "share of samples", Tail: true,
			X: chart.Axis{Label: axis, Unit: chart.Seconds, Log: true},
		}
		for i, r := range results {
			s := chart.Series{Name: subjects[i].label}
			for _, p := range of(r) {
				if p.S > 0 { // not on a logarithmic axis
					s.X, s.Y = append(s.X, p.S), append(s.Y, p.P)
				}
			}
			c.Series = append(c.Series, s)
		}
		if bound > 0 {
			c.Marks = []chart.Mark{{Value: bound, Label: "SLO"}}
		}
		return c
	}
	plots := []report.Plot{
		{Name: "ttft", Chart: cdf("Time to first token", "TTFT", slo.TTFT.Seconds(), func(r *report.Result) []report.Point { return r.Curves.TTFT })},
		{Name: "tbt", Chart: cdf("Time between tokens", "TBT", slo.TBT.Seconds(), func(r *report.Result) []report.Point { return r.Curves.TBT })},
	}
	if len(answer.Curves) > 0 {
		plots = append(plots, ratePlots(first, slo, answer)...)
	}
	return plots
}

// commonBounds returns the bounds that all subjects are judged by: a line in a picture
// must hold for all that it crosses.
func commonBounds(subjects []subject) report.SLO {
	slo := subjects[0].scenario.ReportSLO()
	for _, s := range subjects {
		own := s.scenario.ReportSLO()
		if own.TTFT != slo.TTFT {
			slo.TTFT = 0
		}
		if own.TBT != slo.TBT {
			slo.TBT = 0
		}
	}
	return slo
}

// ratePlots are the throughput-latency curves of all settings: what the tails do as
// the rate grows, and where the throughput stops growing with it.
func ratePlots(first *scenarios.Scenario, slo report.SLO, answer *compareAnswer) []report.Plot {
	plot := func(name, title, key string, y chart.Axis, bound float64) report.Plot {
		c := chart.Lines{
			Title:    title,
			Subtitle: fmt.Sprintf("%s, means of %d seeds with 95 %% intervals", first.Name, len(answer.Seeds)),
			X:        chart.Axis{Label: "rate of the traffic, requests per second"},
			Y:        y,
		}
		for _, x := range answer.Curves {
			s := chart.Series{Name: x.Setting, Points: true}
			s.X, s.Y, s.Low, s.High = plan.Line(x.Points, key)
			c.Series = append(c.Series, s)
		}
		if bound > 0 {
			c.YMarks = []chart.Mark{{Value: bound, Label: "SLO"}}
		}
		return report.Plot{Name: name, Chart: c}
	}
	latency := func(label string) chart.Axis { return chart.Axis{Label: label, Unit: chart.Seconds, Log: true} }
	return []report.Plot{
		plot("ttft-over-rate", "Time to first token over load", "ttft_p99_s", latency("TTFT p99"), slo.TTFT.Seconds()),
		plot("tbt-over-rate", "Time between tokens over load", "tbt_p99_s", latency("TBT p99"), slo.TBT.Seconds()),
		plot("output-over-rate", "Throughput over load", "output_tokens_per_s", chart.Axis{Label: "output tokens per second"}, 0),
	}
}
