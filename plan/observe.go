package plan

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"orrery/report"
)

// Probe runs one experiment at the given rate (requests per second) and seed. It
// must be a function of these two, and be safe to call from several goroutines. If
// the context ends it may return anything: the result is not used.
type Probe func(ctx context.Context, rate float64, seed uint64) (Observation, error)

// Observation is what is kept of one run.
type Observation struct {
	// Met tells whether the run met its service-level objective.
	Met bool
	// Growing tells that the queue grew all through the run, so that no steady state
	// exists at this rate even if the objective was met.
	Growing bool
	// Values has one figure for each of [Metrics], in that order; NaN if it does not
	// exist. It may be nil if only the two above are asked for.
	Values []float64
}

// Observe returns the observation of a result.
func Observe(r *report.Result) Observation {
	o := Observation{Met: r.SLO != nil && r.SLO.Met, Growing: r.Load.Growing, Values: make([]float64, len(metrics))}
	for i, m := range metrics {
		o.Values[i] = float64(m.of(r))
	}
	return o
}

// Value returns the figure with the given key of [Metrics], NaN if there is none.
func (o *Observation) Value(key string) float64 {
	for i, m := range metrics {
		if m.Key == key && i < len(o.Values) {
			return o.Values[i]
		}
	}
	return float64(report.None)
}

// same tells whether two runs gave the same figures, of which there must be some.
func (o *Observation) same(p *Observation) bool {
	return len(o.Values) > 0 && slices.EqualFunc(o.Values, p.Values, func(a, b float64) bool {
		return a == b || math.IsNaN(a) && math.IsNaN(b)
	})
}

// Unit says how a figure is written.
type Unit int

// The units of figures.
const (
	Seconds Unit = iota
	PerSecond
	Share
	Count
	Joules
)

// Metric is a figure that runs are compared by.
type Metric struct {
	Key   string // as in JSON
	Label string // as in tables
	Unit  Unit
	of    func(*report.Result) report.Number
}

// Metrics returns the figures of an observation. Delays count requests that were
// unfinished at the end of a run with the time they had waited by then: finished
// requests alone flatter an overloaded system.
func Metrics() []Metric { return metrics }

var metrics = []Metric{
	{"ttft_p50_s", "TTFT p50", Seconds, text(func(r *report.Result) report.Number { return r.Latency.TTFT.WithUnfinished.P50S })},
	{"ttft_p99_s", "TTFT p99", Seconds, text(func(r *report.Result) report.Number { return r.Latency.TTFT.WithUnfinished.P99S })},
	{"tbt_p50_s", "TBT p50", Seconds, text(func(r *report.Result) report.Number { return r.Latency.TBT.WithUnfinished.P50S })},
	{"tbt_p99_s", "TBT p99", Seconds, text(func(r *report.Result) report.Number { return r.Latency.TBT.WithUnfinished.P99S })},
	{"e2e_p50_s", "E2E p50", Seconds, func(r *report.Result) report.Number { return r.Latency.E2E.WithUnfinished.P50S }},
	{"e2e_p99_s", "E2E p99", Seconds, func(r *report.Result) report.Number { return r.Latency.E2E.WithUnfinished.P99S }},
	{"scheduling_delay_p50_s", "scheduling delay p50", Seconds, func(r *report.Result) report.Number {
		return r.Latency.SchedulingDelay.WithUnfinished.P50S
	}},
	{"requests_per_s", "requests finished", PerSecond, func(r *report.Result) report.Number { return r.Throughput.RequestsPerS }},
	{"output_tokens_per_s", "output tokens", PerSecond, text(func(r *report.Result) report.Number { return r.Throughput.OutputTokensPerS })},
	{"steps_per_s", "denoising steps", PerSecond, images(func(r *report.Result) report.Number { return r.Throughput.OutputTokensPerS })},
	{"goodput_per_s", "goodput", PerSecond, func(r *report.Result) report.Number {
		if r.SLO == nil {
			return report.None
		}
		return r.SLO.GoodputPerS
	}},
	{"kv_mean_share", "KV use, mean", Share, text(func(r *report.Result) report.Number { return r.Load.KVMeanShare })},
	{"image_memory_mean_share", "memory of images, mean", Share, images(func(r *report.Result) report.Number { return r.Load.KVMeanShare })},
	{"prefix_hit_share", "prefix hits", Share, func(r *report.Result) report.Number {
		if r.Tokens.Cached == 0 {
			return report.None
		}
		return report.Number(float64(r.Tokens.Cached) / float64(r.Tokens.Prompt))
	}},
	{"busy_share", "GPU busy", Share, func(r *report.Result) report.Number { return r.Load.BusyShare }},
	{"bubble_share", "GPU idle, work in flight", Share, func(r *report.Result) report.Number { return r.Load.BubbleShare }},
	{"preemptions", "pre-emptions", Count, func(r *report.Result) report.Number { return report.Number(r.Requests.Preemptions) }},
	{"joules_per_request", "energy of a request", Joules, func(r *report.Result) report.Number { return r.Cost.JoulesPerRequest }},
	{"joules_per_token", "energy of an output token", Joules, func(r *report.Result) report.Number { return r.Cost.JoulesPerToken }},
	{"joules_per_image", "energy of an image", Joules, func(r *report.Result) report.Number { return r.Cost.JoulesPerImage }},
	{"cost_per_request", "cost of a request", Count, func(r *report.Result) report.Number { return r.Cost.PricePerRequest }},
	{"cost_per_million_tokens", "cost of a million output tokens", Count, func(r *report.Result) report.Number { return r.Cost.PricePerMillionTokens }},
	{"cost_per_image", "cost of an image", Count, func(r *report.Result) report.Number { return r.Cost.PricePerImage }},
	{"unfinished", "unfinished requests", Count, func(r *report.Result) report.Number { return report.Number(r.Requests.Unfinished) }},
}

// text is a figure that runs of nothing but images do not have.
func text(of func(*report.Result) report.Number) func(*report.Result) report.Number {
	return func(r *report.Result) report.Number {
		if r.Images() {
			return report.None
		}
		return of(r)
	}
}

// images is a figure that only such runs have.
func images(of func(*report.Result) report.Number) func(*report.Result) report.Number {
	return func(r *report.Result) report.Number {
		if !r.Images() {
			return report.None
		}
		return of(r)
	}
}

// Text writes a figure of the unit with three significant digits.
func (u Unit) Text(v float64) string {
	if !report.Number(v).Exists() {
		return "-"
	}
	three := func(x float64) string { return significant(x, 3) }
	switch abs := max(v, -v); {
	case u == Seconds && v == 0:
		return "0 s"
	case u == Seconds && abs < 1e-3:
		return three(v*1e6) + " us"
	case u == Seconds && abs < 1:
		return three(v*1e3) + " ms"
	case u == Seconds:
		return three(v) + " s"
	case u == PerSecond:
		return three(v) + "/s"
	case u == Share:
		return fmt.Sprintf("%.1f %%", v*100)
	case u == Joules && abs >= 1e6:
		return three(v/1e6) + " MJ"
	case u == Joules && abs >= 1e3:
		return three(v/1e3) + " kJ"
	case u == Joules:
		return three(v) + " J"
	case u == Count && v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	default:
		return three(v)
	}
}

// significant writes x with n significant digits, and all digits before the point.
func significant(x float64, n int) string {
	if x == 0 {
		return "0"
	}
	// The exponent after rounding, so that 9.996 is 10.0 and not 10.00.
	_, exponent, _ := strings.Cut(strconv.FormatFloat(x, 'e', n-1, 64), "e")
	e, err := strconv.Atoi(exponent)
	if err != nil {
		return strconv.FormatFloat(x, 'g', n, 64)
	}
	return strconv.FormatFloat(x, 'f', max(0, n-1-e), 64)
}
