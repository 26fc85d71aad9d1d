package replay

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"orrery/cluster"
	"orrery/report"
	"orrery/sim"
)

// Frame is what a result says of the run beside what was measured.
type Frame struct {
	SLO    report.SLO
	WarmUp sim.Time
	report.Identity
	API     string
	Prompts string // how prompts were made
}

// Result measures a run with the recorder that measures simulated ones. The recorders
// in watch are shown the same records.
func (o *Outcome) Result(f Frame, watch ...cluster.Recorder) *report.Result {
	slo := f.SLO
	if slo.SchedulingDelayMedian > 0 {
		slo.SchedulingDelayMedian = 0
		f.Notes = append(f.Notes, "the bound on the scheduling delay is left out: no client sees it")
	}
	m := report.NewMetrics(report.Config{Replicas: make([]report.ReplicaSpec, 1), SLO: slo, WarmUp: f.WarmUp, Outside: true})
	o.Log(slo.TBT, append([]cluster.Recorder{m}, watch...)...)
	m.Close(o.End)
	r := m.Summary()
	r.Identity = f.Identity
	r.Partial = o.Stopped || o.Aborted != nil
	x := o.measurement(r)
	x.API, x.Prompts = f.API, f.Prompts
	r.Measurement = x
	r.Flags = append(r.Flags, o.doubts(x)...)
	return r
}

// measurement sums up what only a measurement has.
func (o *Outcome) measurement(r *report.Result) *report.Measurement {
	m := &report.Measurement{
		Target: r.Device, Began: o.Began.UTC().Format(time.RFC3339), InFlightPeak: o.InFlightPeak, Failures: []report.Failure{},
	}
	var late sim.Sketch
	for _, a := range o.Answers {
		if a.Sent != never {
			late.Add(int64(max(0, a.Sent-a.Arrived)), 1)
		}
		m.Chunks += int64(len(a.Chunks))
		m.Tokens += a.Tokens()
		if a.Failure != None {
			m.Fail(string(a.Failure), a.Detail)
			continue
		}
		m.AnswerAsked += int64(a.Output)
		if a.Tokens() < int64(a.Output) {
			m.Short++
		}
		if a.Usage {
			m.Counted++
			m.PromptAsked += int64(a.Prompt)
			m.PromptServed += int64(a.PromptTokens)
		}
	}
	m.Lateness = report.QuantilesOf(&late)
	m.Trusted = trusted(m.Lateness, r.Latency.TTFT.Quantiles)
	slices.SortStableFunc(m.Failures, func(a, b report.Failure) int { return strings.Compare(a.Kind, b.Kind) })
	return m
}

// A generator is late by too much if its lateness makes up more than this share of the
// time to the first token, in the middle or in the tail. What is below noLatenessS is less
// than a network's jitter and harms nothing.
const (
	tooLate     = 0.1
	noLatenessS = 0.002
)

// trusted tells whether the generator kept its own times well enough. A run without a
// first token has no figures to harm.
func trusted(late, ttft report.Quantiles) bool {
	if late.Count == 0 || ttft.Count == 0 {
		return true
	}
	little := func(late, of report.Number) bool { return late <= noLatenessS || late <= tooLate*of }
	return little(late.P50S, ttft.P50S) && little(late.P99S, ttft.P99S)
}

// doubts says in words what the figures suffer from.
func (o *Outcome) doubts(m *report.Measurement) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if o.Aborted != nil {
		add("given up: %v", o.Aborted)
	}
	if !m.Trusted {
		add("the generator itself was late: p99 of its sends %.3g ms after they were due; do not trust these latencies, use a faster or idler machine", 1e3*float64(m.Lateness.P99S))
	}
	complete := int64(0)
	for _, a := range o.Answers {
		if a.Failure == None {
			complete++
		}
	}
	if m.Short > 0 {
		add("%d of %d answers are shorter than asked for", m.Short, complete)
	}
	if d := m.Tokens - m.Chunks; m.Counted > 0 && 100*max(d, -d) > m.Tokens {
		add("%d tokens came in %d chunks: tokens are the server's count, spread evenly over the chunks of an answer, so single gaps (TBT) are not exact", m.Tokens, m.Chunks)
	}
	if d := m.PromptServed - m.PromptAsked; 20*max(d, -d) > m.PromptAsked {
		add("prompts were %+.0f %% of the wanted tokens off", 100*float64(d)/float64(m.PromptAsked))
	}
	return out
}
