package validate

import (
	"math"
	"slices"

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

// swapped tells whether two policies change places that both worlds tell apart: in
// each they differ by more than the machine differs from itself, and really by more
// than the simulation may be off.
func swapped(a, b *Line) bool {
	apart := func(x, y report.Number, least float64) bool {
		doubt := max(max(float64(a.Noise), least)*float64(x), max(float64(b.Noise), least)*float64(y))
		return math.Abs(float64(x-y)) > doubt
	}
	return (a.Real < b.Real) != (a.Simulated < b.Simulated) && apart(a.Real, b.Real, a.Limit) && apart(a.Simulated, b.Simulated, 0)
}
