package cmd

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"strings"
	"time"

	"orrery/plan"
	"orrery/report/chart"
	"orrery/scenarios"
)

//go:embed plan.html
var planPage string

// planView is what the page of a plan shows.
type planView struct {
	Name, Description, Model, Traffic string
	Rate                              string
	Tiers                             []planTier
	Best                              []planRow
	Checks                            []planRow
	Front                             []planRow
	Ruled                             []planRow
	Runs, All, Seeds                  int
	Flags                             []string
	Costs, Trade                      template.HTML // charts
	Version                           string
}

// planTier is an objective in words.
type planTier struct{ Name, Bounds string }

// planRow is a line of a table.
type planRow struct {
	Name, Replicas, PerHour, Good, TTFT, Busy, Binds string
	Met                                              bool
}

// page returns the page of a plan.
func (p *planAnswer) page(s *scenarios.Scenario, options []scenarios.PlanOption) ([]byte, error) {
	v := planView{
		Name: s.Name, Description: s.Description, Model: s.Model.Name, Rate: fmt.Sprintf("%.3g", p.RatePerS),
		Runs: p.Runs, All: p.All, Seeds: len(p.Seeds), Flags: p.Flags, Version: scenarios.Version(), Tiers: planTiers(s),
	}
	for i := range p.Best {
		v.Best = append(v.Best, p.viewRow(&p.Best[i]))
	}
	for i := range p.Front {
		v.Front = append(v.Front, p.viewRow(&p.Front[i]))
	}
	for i := range p.Checks {
		row := p.viewRow(&p.Checks[i].Candidate)
		row.Name = p.Checks[i].Name
		v.Checks = append(v.Checks, row)
	}
	for _, r := range p.Ruled {
		v.Ruled = append(v.Ruled, planRow{Name: p.Options[r.Option].Name, Binds: r.Why})
	}
	if len(p.Best) > 0 {
		var err error
		if v.Costs, err = inline(p.costs()); err != nil {
			return nil, err
		}
		if v.Trade, err = inline(p.trade()); err != nil {
			return nil, err
		}
	}
	t, err := template.New("plan").Parse(planPage)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// planTiers puts the objectives into words.
func planTiers(s *scenarios.Scenario) []planTier {
	var out []planTier
	if text := sloText(s.ReportSLO()); text != "" {
		out = append(out, planTier{"all requests", text})
	}
	for i := range s.Tiers {
		t := &s.Tiers[i]
		slo := s.ReportSLO()
		slo.TTFT, slo.TBT, slo.TPOT, slo.E2E, slo.SchedulingDelayMedian, slo.Quantile = time.Duration(t.TTFT), 0, time.Duration(t.TPOT), time.Duration(t.E2E), 0, t.Quantile
		out = append(out, planTier{fmt.Sprintf("%s (%.0f %%)", t.Name, 100*t.Share), sloText(slo)})
	}
	return out
}

func (p *planAnswer) viewRow(c *plan.Candidate) planRow {
	if len(c.Runs) == 0 {
		return planRow{Name: p.Options[c.Option].Name, Replicas: fmt.Sprint(c.Replicas), Binds: "nothing is left"}
	}
	good := c.Good()
	row := planRow{
		Name: p.Options[c.Option].Name, Replicas: fmt.Sprint(c.Replicas), PerHour: fmt.Sprintf("%.2f", float64(c.Replicas)*p.Options[c.Option].PerHour),
		Good: fmt.Sprintf("%.1f %%", 100*float64(good.Mean)), TTFT: fmt.Sprintf("%.2f s", c.LatencyS()), Binds: c.Runs[len(c.Runs)-1].Binds, Met: c.Met,
	}
	if good.Low.Exists() {
		row.Good += fmt.Sprintf(" (%.1f–%.1f)", 100*float64(good.Low), 100*min(float64(good.High), 1))
	}
	busy := 0.0
	for i := range c.Runs {
		busy += c.Runs[i].Busy / float64(len(c.Runs))
	}
	row.Busy = fmt.Sprintf("%.0f %%", 100*busy)
	return row
}

// costs draws what the smallest fleet of each option costs.
func (p *planAnswer) costs() chart.Charter {
	bars := chart.Bars{Title: "What meets the objective", Subtitle: "the cheapest fleet of each kind of replica that was not ruled out, under its best policy", Y: chart.Axis{Label: "price per hour"}}
	series := chart.BarSeries{Name: "price per hour"}
	drawn := map[string]bool{}
	for i := range p.Best {
		c := &p.Best[i]
		kind, _, _ := strings.Cut(p.Options[c.Option].Name, ", ")
		if drawn[kind] {
			continue
		}
		drawn[kind] = true
		bars.Groups = append(bars.Groups, fmt.Sprintf("%d x %s", c.Replicas, kind))
		series.Y = append(series.Y, c.PerHour)
	}
	bars.Series = []chart.BarSeries{series}
	return bars
}

// trade draws the front of cost against latency.
func (p *planAnswer) trade() chart.Charter {
	s := chart.Series{Name: "fleets", Points: true}
	for i := range p.Front {
		s.X, s.Y = append(s.X, p.Front[i].PerHour), append(s.Y, p.Front[i].LatencyS())
	}
	return chart.Lines{
		Title: "More money, less waiting", Subtitle: "of the fleets that were tried and meet the objective, those that no other beats in both",
		X: chart.Axis{Label: "price per hour"}, Y: chart.Axis{Label: "TTFT p99", Unit: chart.Seconds}, Series: []chart.Series{s},
	}
}

// inline returns a chart as SVG for a page. What it writes as text is escaped by package
// chart.
func inline(c chart.Charter) (template.HTML, error) {
	var b bytes.Buffer
	if err := c.Render(&b, chart.SVG); err != nil {
		return "", err
	}
	return template.HTML(b.String()), nil
}
