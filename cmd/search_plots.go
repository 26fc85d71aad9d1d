package cmd

import (
	"fmt"
	"math"
	"slices"

	"orrery/report"
	"orrery/report/chart"
	"orrery/workloads/diffusion/solver"
)

// plots draws the error over evaluations, the search, and where schedules have their times.
func (x *searchAnswer) plots() []report.Plot {
	out := []report.Plot{x.tracePlot()}
	if len(x.Results) > 1 {
		out = append(out, report.Plot{Name: "error", Chart: x.errorPlot()})
	}
	for i := range x.Results {
		out = append(out, x.timesPlot(&x.Results[i]))
	}
	return out
}

// errorPlot compares the searched schedules with the best fixed one at each NFE and with some
// that have a name.
func (x *searchAnswer) errorPlot() chart.Charter {
	l := chart.Lines{Title: "Distance from the exact flow", Subtitle: x.Model + ", " + x.What, X: chart.Axis{Label: "network evaluations (NFE)"}, Y: chart.Axis{Label: "RMSE", Log: true}}
	searched, best := chart.Series{Name: "searched", Points: true}, chart.Series{Name: "best fixed", Points: true}
	for _, r := range x.Results {
		searched.X, searched.Y = append(searched.X, float64(r.NFE)), append(searched.Y, r.Score.RMSE)
		best.X, best.Y = append(best.X, float64(r.NFE)), append(best.Y, r.Fixed[0].Score.RMSE)
	}
	l.Series = append(l.Series, searched, best)
	for _, name := range []string{"ddim", "2m++", "unipc-3"} {
		s := chart.Series{Name: name + " on logsnr", Points: true}
		for _, r := range x.Results {
			i := slices.IndexFunc(r.Fixed, func(f searchFixed) bool { return f.Solver == name && f.Grid == "logsnr" })
			if i >= 0 {
				s.X, s.Y = append(s.X, float64(r.NFE)), append(s.Y, r.Fixed[i].Score.RMSE)
			}
		}
		l.Series = append(l.Series, s)
	}
	return l
}

// tracePlot shows how the least error falls while schedules are tried.
func (x *searchAnswer) tracePlot() report.Plot {
	l := chart.Lines{Title: "The search", Subtitle: x.Model, X: chart.Axis{Label: "schedules tried"}, Y: chart.Axis{Label: "least RMSE", Log: true}}
	for _, r := range x.Results {
		s := chart.Series{Name: fmt.Sprintf("NFE %d", r.NFE)}
		for i, v := range r.Trace {
			if !math.IsInf(v, 0) {
				s.X, s.Y = append(s.X, float64(i+1)), append(s.Y, v)
			}
		}
		l.Series = append(l.Series, s)
	}
	return report.Plot{Name: "search", Chart: l}
}

// timesPlot shows the noise level over the way through a schedule, the searched one and grids.
func (x *searchAnswer) timesPlot(r *searchFound) report.Plot {
	l := chart.Lines{Title: fmt.Sprintf("Where %d evaluations are spent", r.NFE), Subtitle: words(r.schedule), X: chart.Axis{Label: "step"}, Y: chart.Axis{Label: "noise level (999 is noise)"}}
	add := func(name string, times []float64) {
		s := chart.Series{Name: name, Points: true}
		for i, t := range times {
			s.X, s.Y = append(s.X, float64(i)), append(s.Y, solver.Discrete(t))
		}
		l.Series = append(l.Series, s)
	}
	add("searched", r.schedule.Times)
	for _, g := range solver.Grids() {
		add(g.Name, g.Times(len(r.schedule.Steps)))
	}
	return report.Plot{Name: fmt.Sprintf("times-%d", r.NFE), Chart: l}
}

// words spells a schedule: for each step its prediction and order, and a c where it is corrected.
func words(s *solver.Schedule) string {
	out := ""
	switch s.First {
	case solver.Zero:
		out = "first step analytical (zero); "
	case solver.Mean:
		out = "first step analytical (mean); "
	}
	for i, step := range s.Steps {
		if i > 0 {
			out += ", "
		}
		out += fmt.Sprintf("%s %d", step.Prediction, step.Order)
		if step.Corrector != solver.Uncorrected {
			out += "c"
		}
	}
	return out
}
