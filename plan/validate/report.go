package validate

import (
	"context"
	"errors"
	"fmt"

	"orrery/calibrate"
	"orrery/hwmodel"
	"orrery/report"
)

// Report is what a validation found.
type Report struct {
	Calibration Calibration `json:"calibration"`
	Loads       []Load      `json:"loads"`
	// OK, Off and Noisy count the verdicts.
	OK    int `json:"ok"`
	Off   int `json:"off"`
	Noisy int `json:"noisy"`
	// OrderHolds tells that policies stand in the same order in both worlds
	// wherever the real runs tell them apart.
	OrderHolds bool `json:"order_holds"`

	runs    []plotted
	samples []calibrate.IterationSample
}

// Samples returns the iterations that were measured.
func (r *Report) Samples() []calibrate.IterationSample { return r.samples }

// Calibration says what the prices of the simulation rest on.
type Calibration struct {
	Iterations int           `json:"iterations"` // measured and fitted
	Error      report.Number `json:"held_out_median_error"`
	ErrorP90   report.Number `json:"held_out_p90_error"`
	HostS      report.Number `json:"host_s"` // per iteration
	// Executed is the number of iterations that the real runs made, Known the share
	// of those whose batch was also among the measured ones.
	Executed int           `json:"executed"`
	Known    report.Number `json:"executed_share_measured_before"`
}

// Load is what was run at one load.
type Load struct {
	Share    float64  `json:"share"` // of the lowest capacity of a policy
	RatePerS float64  `json:"rate_per_s"`
	Requests int64    `json:"requests"`
	Policies []Policy `json:"policies"`
	Orders   []Order  `json:"orders"`
}

// Policy compares the two worlds under one policy.
type Policy struct {
	Name      string        `json:"name"`
	RealBusy  report.Number `json:"real_busy_share"`
	Lines     []Line        `json:"lines"`
	Shapes    []Shape       `json:"iterations"`
	Real      []Summary     `json:"real"`
	Simulated []Summary     `json:"simulated"` // one for each real run, at its speed
}

// Summary is the rest of what one run came to.
type Summary struct {
	// Slowness is how long measured iterations took around the real run, over their mean
	// in the whole validation: above 1 the machine was slow.
	Slowness   report.Number     `json:"slowness"`
	EndS       float64           `json:"end_s"`
	Latency    report.Latency    `json:"latency"`
	Throughput report.Throughput `json:"throughput"`
	Iterations report.Iterations `json:"iterations"`
}

// Line compares one figure.
type Line struct {
	Metric    string        `json:"metric"`
	Real      report.Number `json:"real"`      // mean of the real runs; seconds or per second
	Simulated report.Number `json:"simulated"` // mean of the simulations
	Error     report.Number `json:"error"`     // simulated over real, less 1
	Noise     report.Number `json:"noise"`     // largest difference of two real runs, over their mean
	Limit     float64       `json:"limit"`     // 0 for none
	Verdict   Verdict       `json:"verdict"`
}

// report simulates what was run and compares.
func (v *validation) report(ctx context.Context) (*Report, error) {
	fit := &v.cost.Fit
	r := &Report{OrderHolds: true, samples: v.ladder.samples, Calibration: Calibration{
		Iterations: fit.Rows, Error: report.Number(fit.HeldOutMedian), ErrorP90: report.Number(fit.HeldOutP90), HostS: report.Number(v.host.seconds()),
	}}
	known := v.ladder.known()
	var met int
	for i := range v.loads {
		l := &v.loads[i]
		load := Load{Share: l.share, RatePerS: l.rate, Requests: l.requests}
		for s := range v.subjects {
			simulated, err := v.simulate(ctx, l, s)
			if err != nil {
				return nil, err
			}
			p := v.policy(v.subjects[s].Name, l.real[s], simulated)
			for _, line := range p.Lines {
				r.count(line.Verdict)
			}
			for _, run := range l.real[s] {
				for _, it := range run.iterations {
					r.Calibration.Executed++
					if known[it.batch] {
						met++
					}
				}
			}
			load.Policies = append(load.Policies, p)
			r.runs = append(r.runs, plotted{l.share, p.Name, l.real[s][0].result, simulated[0].mean.result})
		}
		load.Orders = orders(load.Policies)
		for _, o := range load.Orders {
			r.OrderHolds = r.OrderHolds && o.Agrees
		}
		r.Loads = append(r.Loads, load)
	}
	r.Calibration.Known = report.Number(float64(met) / float64(max(r.Calibration.Executed, 1)))
	return r, nil
}

// simulated are the simulations of one real run: at the speed that the machine had
// before it, at that which it had after, and at their mean.
type simulated struct{ before, after, mean *outcome }

// simulate simulates what was really run, each repetition at the speed that the machine
// had.
func (v *validation) simulate(ctx context.Context, l *load, subject int) ([]simulated, error) {
	var out []simulated
	for _, real := range l.real[subject] {
		at := func(slowness float64) (*outcome, error) {
			o, err := v.run(ctx, l, subject, v.cost.Scaled(slowness))
			if err == nil {
				o.slowness = [2]float64{slowness, slowness}
			}
			return o, err
		}
		var s simulated
		var errs [3]error
		s.before, errs[0] = at(real.slowness[0])
		s.after, errs[1] = at(real.slowness[1])
		s.mean, errs[2] = at(mean(real.slowness[:]))
		if err := errors.Join(errs[:]...); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// known returns the batches that were measured.
func (l *ladder) known() map[hwmodel.Batch]bool {
	known := make(map[hwmodel.Batch]bool, len(l.samples))
	for i := range l.samples {
		known[l.samples[i].Batch] = true
	}
	return known
}

func (r *Report) count(v Verdict) {
	switch v {
	case OK:
		r.OK++
	case Off:
		r.Off++
	case Noisy:
		r.Noisy++
	}
}

// Summarise says in one sentence how it went.
func (r *Report) Summarise() string {
	judged := r.OK + r.Off + r.Noisy
	text := fmt.Sprintf("%d of %d figures within their limits", r.OK, judged)
	if r.Off > 0 {
		text += fmt.Sprintf(", %d off", r.Off)
	}
	if r.Noisy > 0 {
		text += fmt.Sprintf(", %d where the machine is too noisy to tell", r.Noisy)
	}
	if len(r.Loads) > 0 && len(r.Loads[0].Orders) > 0 {
		if r.OrderHolds {
			text += "; the policies stand in the same order"
		} else {
			text += "; the policies do NOT stand in the same order"
		}
	}
	return text
}
