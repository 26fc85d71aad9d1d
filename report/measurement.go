package report

import (
	"fmt"

	"orrery/cluster"
	"orrery/sim"
)

// Measurement is what the result of a measured server has beyond that of a simulated
// one: how the load was made, and what went wrong with it.
type Measurement struct {
	Target  string `json:"target"`
	API     string `json:"api"`
	Began   string `json:"began"` // wall clock, RFC 3339
	Prompts string `json:"prompts"`

	// Failures counts the requests without a complete answer, by kind.
	Failures []Failure `json:"failures"`
	// Lateness is how long after they were due the load generator itself sent
	// requests. Trusted tells that this was too little to matter beside the latencies.
	Lateness     Quantiles `json:"lateness"`
	Trusted      bool      `json:"trusted"`
	InFlightPeak int       `json:"in_flight_peak"`

	Chunks       int64 `json:"chunks"`           // parts of answers that arrived
	Tokens       int64 `json:"tokens"`           // of answers, as the server counts where it does
	Counted      int64 `json:"counted_requests"` // whose tokens the server counted
	Short        int64 `json:"short_answers"`    // complete, with fewer tokens than asked for
	AnswerAsked  int64 `json:"answer_tokens_asked"`
	PromptAsked  int64 `json:"prompt_tokens_asked"` // of the requests counted
	PromptServed int64 `json:"prompt_tokens_served"`
}

// Failure counts failures of one kind.
type Failure struct {
	Kind    string `json:"kind"`
	Count   int64  `json:"count"`
	Example string `json:"example"` // what the first one said
}

// Fail counts a failure.
func (m *Measurement) Fail(kind, detail string) {
	for i := range m.Failures {
		if m.Failures[i].Kind == kind {
			m.Failures[i].Count++
			return
		}
	}
	m.Failures = append(m.Failures, Failure{kind, 1, detail})
}

// QuantilesOf summarises a sketch.
func QuantilesOf(s *sim.Sketch) Quantiles { return quantiles(s) }

// reach moves a replica whose iterations nobody sees on to the stretch that holds t, so
// that tokens are booked when they appeared.
func (m *Metrics) reach(r *cluster.Record) {
	if u := &m.replicas[r.Replica]; r.At > u.until {
		m.flush(u)
		m.bins.at(r.At)
		m.open(u, r.At)
	}
}

// unseen takes out of a result what cannot be seen from outside a server. The
// series of the waiting are then of all requests in the system.
func (r *Result) unseen() {
	none := Quantiles{MeanS: None, P50S: None, P90S: None, P99S: None, P999S: None, MaxS: None}
	r.Latency.SchedulingDelay = Delay{none, none}
	r.Curves.SchedulingDelay = nil
	r.Iterations = Iterations{TokensMean: None, BatchMean: None, DecodesMean: None, LengthMeanS: None, HostShare: None, ExposedHost: None}
	l := &r.Load
	l.RunningMean, l.WaitingMean, l.KVMeanShare, l.KVPeakShare, l.BusyShare, l.BubbleShare = None, None, None, None, None, None
	r.Replicas = []Replica{}
	r.Cost = noCost()
	s := &r.Series
	s.Running, s.Waiting = s.Waiting, []float64{}
	s.KVShare, s.BusyShare = []float64{}, []float64{}
}

// outsideLimit is what can be said of a server's limits from outside.
func (m *Metrics) outsideLimit(r *Result) Limit {
	l := Limit{
		BlockedShare: None, BlockedByKV: None, BlockedBySlots: None,
		LateGaps: m.late.n, LateWithPrefill: None, LateAfterPreemption: None,
	}
	worst := r.worst()
	switch {
	case m.window.arrived == 0:
		l.Cause, l.Sentence = NothingArrived, "No request was sent in the measuring window, so there is nothing to judge."
	case worst == nil && r.Load.Growing:
		l.Cause, l.Sentence = Unseen, fmt.Sprintf("No SLO is stated, but unanswered requests pile up by %s a second: the server does not keep up.", figure(r.Load.WaitingSlopePerS))
	case worst == nil:
		l.Cause, l.Sentence = NothingLimits, "No SLO is stated; the server keeps up."
	case !worst.judged().Exists() && !worst.Held:
		l.Cause, l.Sentence = Unseen, fmt.Sprintf("The SLO does not hold: no request got as far as having a %s.", worst.label())
	case !worst.Held:
		l.Cause, l.Sentence = Unseen, fmt.Sprintf("The SLO does not hold: %s is %s against %s.", worst.label(), seconds(worst.judged()), seconds(Number(worst.LimitS)))
	case r.Load.Growing:
		l.Cause, l.Sentence = Unseen, fmt.Sprintf("The SLO holds only because the run is short: unanswered requests pile up by %s a second.", figure(r.Load.WaitingSlopePerS))
	default:
		l.Cause, l.Sentence = NothingLimits, fmt.Sprintf("The SLO holds: the tightest bound is %s (%s against %s).", worst.label(), seconds(worst.judged()), seconds(Number(worst.LimitS)))
	}
	return l
}

// measured adds to a verdict what takes the place of a simulated server's inside.
func (v *screen) measured(r *Result) {
	m := r.Measurement
	v.line("tokens", "%s in %s chunks; prompts of %s", count(m.Tokens), count(m.Chunks), m.Prompts)
	verdict := "little enough to trust the figures"
	if !m.Trusted {
		verdict = "TOO LATE to trust the figures"
	}
	v.line("sent", "p50 %s, p99 %s, max %s after due: %s; at most %s in flight",
		seconds(m.Lateness.P50S), seconds(m.Lateness.P99S), seconds(m.Lateness.MaxS), verdict, count(int64(m.InFlightPeak)))
	for i := range m.Failures {
		label := ""
		if i == 0 {
			label = "failures"
		}
		v.line(label, "%s: %s", count(m.Failures[i].Count), m.Failures[i].Kind)
	}
}
