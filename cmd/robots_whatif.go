package cmd

import (
	"context"
	"fmt"
	"time"

	"orrery/cluster/loop"
	"orrery/report"
	"orrery/report/chart"
	"orrery/scenarios"
	"orrery/sim"
	"orrery/workloads/planning"
)

// change is what may be asked of a scenario of robots.
type change struct {
	label string
	sets  []string
}

// changes returns what makes sense to ask of the scenario.
func changes(r *scenarios.Robots) []change {
	var out []change
	each := func(label, key string, value func(b *scenarios.Robot) string) {
		c := change{label: label}
		for i := range r.Robots {
			if v := value(&r.Robots[i]); v != "" {
				c.sets = append(c.sets, fmt.Sprintf("robot.%s.%s=%s", r.Robots[i].Name, key, v))
			}
		}
		if len(c.sets) > 0 {
			out = append(out, c)
		}
	}
	when := func(ok bool) string {
		if ok {
			return "true"
		}
		return ""
	}
	each("CUDA graphs", "graphs", func(b *scenarios.Robot) string { return when(!b.Graphs) })
	each("a KV cache", "kv_cache", func(b *scenarios.Robot) string { return when(!b.KVCache && planning.Sequence(b.Planner)) })
	each("half the horizon", "horizon", func(b *scenarios.Robot) string { return half(b.Horizon, usual(b).Horizon, 4) })
	each("half the denoising steps", "steps", func(b *scenarios.Robot) string { return half(b.Steps, usual(b).Steps, 2) })
	each("one batch of each kind", "batch", func(b *scenarios.Robot) string { return when(!b.Batch && b.Count > 1) })
	if r.Processes {
		out = append(out, change{"all from one process", []string{"processes=false"}})
	} else {
		out = append(out, change{"a process each", []string{"processes=true"}})
	}
	for _, p := range scenarios.ControlPolicies() {
		if p.Name != r.Policy {
			out = append(out, change{p.Name, []string{fmt.Sprintf("policy=%q", p.Name)}})
		}
	}
	if r.Serving.Model != "" {
		if r.Serving.Yields == "kernel" {
			out = append(out, change{"text yields after an iteration", []string{`serving.yields="iteration"`}})
		}
		out = append(out, change{"no text", []string{`serving.model=""`}})
	}
	return out
}

// usual returns the planner's own setting.
func usual(b *scenarios.Robot) planning.Setting {
	p, err := planning.Load(b.Planner)
	if err != nil {
		return planning.Setting{} // refused before
	}
	return p.Usual
}

// half returns half of a number, empty if it is too small to have one.
func half(set, usual, least int) string {
	if set == 0 {
		set = usual
	}
	if set/2 < least {
		return ""
	}
	return fmt.Sprint(set / 2)
}

// explore runs the scenario with one thing changed at a time, and at other rates of plans.
func (x *robotsAnswer) explore(ctx context.Context, r *scenarios.Robots, progress func(done, all int)) error {
	list := changes(r)
	policies := scenarios.ControlPolicies()
	all := len(list) + len(policies)
	x.WhatIf = append(x.WhatIf, x.as("as it is"))
	for i, c := range list {
		changed, err := r.With(c.sets...)
		if err != nil {
			return err
		}
		run, err := runRobots(ctx, changed)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			x.Partial = true
			return nil
		}
		x.WhatIf = append(x.WhatIf, run.as(c.label))
		progress(i+1, all)
	}
	for i, p := range policies {
		changed, err := r.With(fmt.Sprintf("policy=%q", p.Name))
		if err != nil {
			return err
		}
		curve, err := rates(ctx, changed)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			x.Partial = true
			return nil
		}
		x.Curves = append(x.Curves, curve)
		progress(len(list)+i+1, all)
	}
	return nil
}

// as sums up an answer under a name.
func (x *robotsAnswer) as(change string) robotsIf {
	w := robotsIf{Change: change, Utilisation: x.Utilisation, DeviceShare: x.DeviceShare}
	w.MissShare, w.P99S = x.missed()
	if x.Serving != nil {
		w.TokensPerS = x.Serving.TokensPerS
	}
	return w
}

// longest is how long the runs of a curve are at most.
const longest = 20 * time.Second

// rates runs the scenario at a fraction and at a multiple of its rates of plans.
func rates(ctx context.Context, r *scenarios.Robots) (robotCurve, error) {
	run, err := r.Build()
	if err != nil {
		return robotCurve{}, badInput{err}
	}
	curve := robotCurve{Policy: r.Policy}
	for _, times := range []float64{0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.4, 1.7, 2, 2.5, 3} {
		cfg := run.Config
		cfg.Until = min(cfg.Until, sim.Time(longest))
		cfg.Loops = make([]loop.Loop, len(run.Config.Loops))
		for i, l := range run.Config.Loops {
			l.Period = time.Duration(float64(l.Period) / times)
			l.Deadline = min(l.Deadline, l.Period)
			cfg.Loops[i] = l
		}
		out, err := loop.Run(ctx, cfg)
		if err != nil {
			return robotCurve{}, err
		}
		if ctx.Err() != nil {
			return curve, nil
		}
		late, all := int64(0), int64(0)
		for i := range out.Loops {
			late += out.Loops[i].Missed + out.Loops[i].Skipped
			all += out.Loops[i].Met + out.Loops[i].Missed + out.Loops[i].Skipped
		}
		if all > 0 {
			curve.Times = append(curve.Times, times)
			curve.Missed = append(curve.Missed, float64(late)/float64(all))
		}
	}
	return curve, nil
}

// plot draws misses over the rate of plans.
func (x *robotsAnswer) plot() report.Plot {
	l := chart.Lines{
		Title: "Missed deadlines over the rate of plans", Subtitle: x.Scenario + " on " + x.Device,
		X: chart.Axis{Label: "plans a second, times those of the scenario"}, Y: chart.Axis{Label: "plans that are late or left out", Unit: chart.Percent},
	}
	for _, c := range x.Curves {
		l.Series = append(l.Series, chart.Series{Name: c.Policy, X: c.Times, Y: c.Missed, Points: true})
	}
	if u := x.Utilisation; !x.Processes && u > 0 && 1/u < 3 {
		l.XMarks = []chart.Mark{{Value: 1 / u, Label: "utilisation 1"}}
	}
	return report.Plot{Name: "misses", Chart: l}
}
