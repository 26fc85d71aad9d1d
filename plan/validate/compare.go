package validate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"orrery/hwmodel"
	"orrery/report"
)

// Limits are the largest errors that pass, as shares of the real figure. A figure
// without limit is shown and not judged.
type Limits struct {
	TTFT       float64 // of the median
	TBT        float64 // of the median and the 99th percentile
	Throughput float64
}

// DefaultLimits are those that the simulator is to hold against a machine that it was
// calibrated on.
var DefaultLimits = Limits{TTFT: 0.15, TBT: 0.10, Throughput: 0.05}

// Verdict says what came of a figure.
type Verdict string

// The verdicts. Noisy is given where the simulation misses the limit but the real
// machine differs from itself by more than the limit, so that the miss proves nothing.
const (
	OK       Verdict = "ok"
	Off      Verdict = "off"
	Noisy    Verdict = "machine too noisy"
	Unjudged Verdict = ""
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

	runs []plotted
}

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

// metric is one figure of a result.
type metric struct {
	name  string
	get   func(r *report.Result) report.Number
	limit func(l *Limits) float64 // nil for none
	order bool                    // policies are ordered by it
}

var metrics = []metric{
	{"TTFT p50", func(r *report.Result) report.Number { return r.Latency.TTFT.P50S }, func(l *Limits) float64 { return l.TTFT }, true},
	{"TTFT p90", func(r *report.Result) report.Number { return r.Latency.TTFT.P90S }, nil, false},
	{"TTFT p99", func(r *report.Result) report.Number { return r.Latency.TTFT.P99S }, nil, false},
	{"TBT p50", func(r *report.Result) report.Number { return r.Latency.TBT.P50S }, func(l *Limits) float64 { return l.TBT }, true},
	{"TBT p90", func(r *report.Result) report.Number { return r.Latency.TBT.P90S }, nil, false},
	{"TBT p99", func(r *report.Result) report.Number { return r.Latency.TBT.P99S }, func(l *Limits) float64 { return l.TBT }, true},
	{"E2E p50", func(r *report.Result) report.Number { return r.Latency.E2E.P50S }, nil, false},
	{"E2E p90", func(r *report.Result) report.Number { return r.Latency.E2E.P90S }, nil, false},
	{"E2E p99", func(r *report.Result) report.Number { return r.Latency.E2E.P99S }, nil, false},
	{"output tokens/s", func(r *report.Result) report.Number { return r.Throughput.OutputTokensPerS }, func(l *Limits) float64 { return l.Throughput }, false},
}

// Order compares how one figure orders the policies, smallest first.
type Order struct {
	Metric    string   `json:"metric"`
	Real      []string `json:"real"`
	Simulated []string `json:"simulated"`
	// Agrees is false if two policies change places that differ in the real runs by
	// more than those differ among themselves.
	Agrees bool `json:"agrees"`
}

// report simulates what was run and compares.
func (v *validation) report(ctx context.Context) (*Report, error) {
	fit := &v.cost.Fit
	r := &Report{OrderHolds: true, Calibration: Calibration{
		Iterations: len(v.ladder.samples), Error: report.Number(fit.HeldOutMedian), ErrorP90: report.Number(fit.HeldOutP90), HostS: report.Number(v.host.seconds()),
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

// policy compares the runs of one policy at one load.
func (v *validation) policy(name string, real []*outcome, sims []simulated) Policy {
	p := Policy{Name: name}
	var all []priced
	var busy float64
	for i, run := range real {
		p.Real = append(p.Real, summary(run))
		p.Simulated = append(p.Simulated, summary(sims[i].mean))
		busy += float64(run.result.Load.BusyShare) / float64(len(real))
		for _, it := range run.iterations {
			all = append(all, priced{it, mean(run.slowness[:]) * v.cost.Seconds(&it.batch)})
		}
	}
	p.RealBusy = report.Number(busy)
	p.Shapes = shapes(all)
	for _, m := range metrics {
		p.Lines = append(p.Lines, m.line(real, sims, &v.Limits))
	}
	return p
}

func summary(o *outcome) Summary {
	return Summary{report.Number(mean(o.slowness[:])), o.end.Seconds(), o.result.Latency, o.result.Throughput, o.result.Iterations}
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// line compares what several real runs say of a figure with what their simulations
// say.
func (m *metric) line(real []*outcome, sims []simulated, limits *Limits) Line {
	var ran, said []float64
	drift := 0.0
	for i, run := range real {
		ran = append(ran, float64(m.get(run.result)))
		s := &sims[i]
		said = append(said, float64(m.get(s.mean.result)))
		drift = max(drift, math.Abs(float64(m.get(s.after.result)-m.get(s.before.result)))/said[i])
	}
	limit := 0.0
	if m.limit != nil {
		limit = m.limit(limits)
	}
	return judge(m.name, ran, said, drift, limit)
}

// judge makes the line of a figure that real runs and simulations gave.
func judge(name string, ran, said []float64, drift, limit float64) Line {
	r, s := mean(ran), mean(said)
	err, noise := s/r-1, max(drift, (slices.Max(ran)-slices.Min(ran))/r)
	l := Line{Metric: name, Real: report.Number(r), Simulated: report.Number(s), Error: report.Number(err), Noise: report.Number(noise), Limit: limit}
	switch {
	case limit == 0:
	case math.Abs(err) <= limit: // false if there is no figure
		l.Verdict = OK
	case noise > limit:
		l.Verdict = Noisy
	default:
		l.Verdict = Off
	}
	return l
}

// orders compares the orders of the policies, if there are several.
func orders(policies []Policy) []Order {
	if len(policies) < 2 {
		return nil
	}
	var out []Order
	for m := range metrics {
		if metrics[m].order {
			out = append(out, order(m, policies))
		}
	}
	return out
}

func order(m int, policies []Policy) Order {
	o := Order{Metric: metrics[m].name, Agrees: true}
	sorted := func(get func(l *Line) report.Number) (names []string) {
		ranked := slices.Clone(policies)
		slices.SortStableFunc(ranked, func(a, b Policy) int {
			x, y := get(&a.Lines[m]), get(&b.Lines[m])
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		})
		for i := range ranked {
			names = append(names, ranked[i].Name)
		}
		return names
	}
	o.Real = sorted(func(l *Line) report.Number { return l.Real })
	o.Simulated = sorted(func(l *Line) report.Number { return l.Simulated })
	for i := range policies {
		for k := range i {
			a, b := &policies[i].Lines[m], &policies[k].Lines[m]
			o.Agrees = o.Agrees && !swapped(a, b)
		}
	}
	return o
}

// swapped tells whether two policies change places that the real runs tell apart.
// They do if the two differ by more than either's runs do among themselves, and by
// more than the simulation may be off.
func swapped(a, b *Line) bool {
	gap := math.Abs(float64(a.Real - b.Real))
	doubt := max(float64(a.Noise*a.Real), float64(b.Noise*b.Real), a.Limit*float64(a.Real), b.Limit*float64(b.Real))
	return gap > doubt && (a.Real < b.Real) != (a.Simulated < b.Simulated)
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
