package report

import (
	"fmt"
)

// Limit says in words whether the run did what was asked of it and what kept it
// from doing better, with the facts that this was concluded from.
type Limit struct {
	Cause    Cause  `json:"cause"`
	Sentence string `json:"sentence"`

	// BlockedShare is the share of replica time in which a queue was left standing
	// by a decision. BlockedByKV and BlockedBySlots are the parts of it in which too few
	// KV blocks were free for a prompt of mean length, and in which all sequence slots
	// were taken; otherwise the iteration itself was full.
	BlockedShare   Number `json:"blocked_share"`
	BlockedByKV    Number `json:"blocked_by_kv_share"`
	BlockedBySlots Number `json:"blocked_by_slots_share"`
	// LateGaps counts gaps longer than the TBT bound. LateWithPrefill and
	// LateAfterPreemption are the parts of them during which the replica ended an iteration with
	// prompt chunks, and in which the request itself may have been pre-empted.
	LateGaps            int64  `json:"late_gaps"`
	LateWithPrefill     Number `json:"late_with_prefill_share"`
	LateAfterPreemption Number `json:"late_after_preemption_share"`
}

// Cause names what limits a run.
type Cause string

// The causes.
const (
	NothingLimits  Cause = "nothing"
	KVMemory       Cause = "kv-memory"       // the queue waits, or requests are pre-empted, for KV blocks
	SequenceSlots  Cause = "sequence-slots"  // the policy's cap on sequences
	Compute        Cause = "compute"         // devices are busy all the time
	Bubbles        Cause = "bubbles"         // pipeline stages wait for each other
	HostOverhead   Cause = "host-overhead"   // devices wait for the host
	Imbalance      Cause = "imbalance"       // some replicas queue while others idle
	Bursts         Cause = "bursts"          // arrivals cluster; devices idle between
	PrefillStalls  Cause = "prefill-stalls"  // decodes wait for prompt chunks
	PrefillTime    Cause = "prefill-time"    // prompts take long even without a queue
	DecodeTime     Cause = "decode-time"     // decode iterations take long
	ImageTime      Cause = "image-time"      // steps take long even without a queue
	NothingArrived Cause = "nothing-arrived" // no request in the window
	Unseen         Cause = "unseen"          // something within a server that only its clients watched
)

// saturated is the busy share of devices that cannot take much more. Other conclusions
// ask for a majority: of the time with a queue, of the late gaps, of the idle time.
const saturated = 0.85

// limit concludes what limits the run: first from what failed, a queue or the gaps
// between tokens, then from what stood in the way while it failed.
func (m *Metrics) limit(r *Result, all *tally) Limit {
	l := Limit{
		BlockedByKV:         ratio(float64(all.blockedKV), float64(all.blocked)),
		BlockedBySlots:      ratio(float64(all.blockedSlots), float64(all.blocked)),
		LateGaps:            m.late.n,
		LateWithPrefill:     ratio(float64(m.late.withPrefill), float64(m.late.n)),
		LateAfterPreemption: ratio(float64(m.late.afterPreemption), float64(m.late.n)),
	}
	var span float64
	for i := range m.replicas {
		span += float64(m.replicas[i].span)
	}
	l.BlockedShare = ratio(float64(all.blocked), span)

	worst := r.worst()
	var why string
	switch {
	case m.window.arrived == 0:
		l.Cause, l.Sentence = NothingArrived, "No request arrived in the measuring window, so there is nothing to judge."
		return l
	case r.Load.Growing:
		l.Cause, why = r.queueCause(&l)
	case worst == nil || worst.Held:
		l.Cause = NothingLimits
	case worst.Metric == "tbt" || worst.Metric == "tpot":
		l.Cause, why = r.gapCause(&l)
	case r.queued(worst):
		l.Cause, why = r.queueCause(&l)
	case worst.Metric == "ttft":
		l.Cause = PrefillTime
		why = fmt.Sprintf("the prefill itself takes that long (median scheduling delay is only %s)", seconds(r.Latency.SchedulingDelay.P50S))
	case r.Images():
		l.Cause = ImageTime
		why = fmt.Sprintf("images take that long to make (median scheduling delay is only %s)", seconds(r.Latency.SchedulingDelay.P50S))
	default:
		l.Cause = DecodeTime
		why = fmt.Sprintf("answers take that long to decode (median TPOT %s)", seconds(r.Latency.TPOT.P50S))
	}
	l.Sentence = r.sentence(worst, why)
	return l
}

// worst returns the bound that is exceeded most, or comes closest to being so, nil
// if no SLO is stated. A bound on nothing measured counts as exceeded most.
func (r *Result) worst() *Bound {
	if r.SLO == nil {
		return nil
	}
	var worst *Bound
	score := -1.0
	for i := range r.SLO.Bounds {
		b := &r.SLO.Bounds[i]
		s := float64(b.judged()) / b.LimitS
		switch {
		case !b.judged().Exists() && b.Held:
			s = 0
		case !b.judged().Exists():
			s = 1e18
		case b.Held:
			s = min(s, 1)
		default:
			s = max(s, 1+1e-9)
		}
		if s > score {
			worst, score = b, s
		}
	}
	return worst
}

// Tightest names the bound of the objective that is exceeded most, or comes closest to
// being so, and how far it is used; or says that the queue grows. It is empty without an
// objective.
func (r *Result) Tightest() string {
	worst := r.worst()
	switch {
	case r.Load.Growing:
		return "the queue grows"
	case worst == nil:
		return ""
	case !worst.judged().Exists():
		return worst.label() + " has nothing to show"
	}
	return fmt.Sprintf("%s at %.0f %% of its bound", worst.label(), 100*float64(worst.judged())/worst.LimitS)
}

// judged returns the value that decided whether b held.
func (b *Bound) judged() Number {
	if b.WithUnfinishedS.Exists() && (float64(b.WithUnfinishedS) <= b.LimitS) == b.Held {
		return b.WithUnfinishedS
	}
	return b.ValueS
}

// queued tells whether a late first token or end is mostly a matter of waiting to
// be scheduled.
func (r *Result) queued(b *Bound) bool {
	wait := r.Latency.SchedulingDelay.WithUnfinished.P99S
	return b.Metric == "scheduling_delay" || float64(wait) > 0.5*float64(b.judged()) || !b.judged().Exists()
}

// queueCause says why requests wait to be scheduled.
func (r *Result) queueCause(l *Limit) (Cause, string) {
	busy, idle := percent(r.Load.BusyShare), 1-r.Load.BusyShare
	switch {
	case l.BlockedBySlots > 0.5:
		return SequenceSlots, fmt.Sprintf("all sequence slots are taken during %s of the time with a queue", percent(l.BlockedBySlots))
	case l.BlockedByKV > 0.5:
		why := fmt.Sprintf("KV memory is full during %s of the time with a queue (peak %s)", percent(l.BlockedByKV), percent(r.Load.KVPeakShare))
		if r.Requests.Preemptions > 0 {
			why += fmt.Sprintf(" and %s pre-empted", plural(r.Requests.Preemptions, "request was", "requests were"))
		}
		return KVMemory, why
	case r.Load.BusyShare >= saturated:
		return Compute, "compute is saturated: devices are " + busy + " busy"
	case r.pipelined() && r.Load.BubbleShare > idle/2:
		return Bubbles, fmt.Sprintf("pipeline stages idle %s of the time while work is in flight", percent(r.Load.BubbleShare))
	case r.Iterations.ExposedHost > idle/2:
		return HostOverhead, fmt.Sprintf("devices wait for the host %s of the time", percent(r.Iterations.ExposedHost))
	}
	if low, high := r.busyRange(); high-low > 0.3 {
		return Imbalance, fmt.Sprintf("load is spread unevenly: the busiest replica works %s of the time, the idlest %s", percent(high), percent(low))
	}
	return Bursts, "arrivals come in bursts: a queue builds although devices are only " + busy + " busy over the run"
}

// busyRange returns the busy shares of the idlest and the busiest replica.
func (r *Result) busyRange() (low, high Number) {
	low = 1
	for _, rep := range r.Replicas {
		b := Number(0)
		for _, s := range rep.Stages {
			b = max(b, s.BusyShare)
		}
		low, high = min(low, b), max(high, b)
	}
	return low, high
}

// gapCause says why tokens come late.
func (r *Result) gapCause(l *Limit) (Cause, string) {
	switch {
	case l.LateAfterPreemption > 0.5:
		return KVMemory, fmt.Sprintf("pre-emptions for want of KV memory lie in %s of the late gaps", percent(l.LateAfterPreemption))
	case l.LateWithPrefill > 0.5:
		return PrefillStalls, fmt.Sprintf("prefills stall decodes: %s of the late gaps contain prompt work", percent(l.LateWithPrefill))
	case r.Iterations.HostShare > 0.5:
		return HostOverhead, fmt.Sprintf("host work fills %s of the iteration time", percent(r.Iterations.HostShare))
	}
	return DecodeTime, fmt.Sprintf("decode iterations themselves are long (mean %s with %s sequences)", seconds(r.Iterations.LengthMeanS), figure(r.Iterations.BatchMean))
}

func (r *Result) pipelined() bool {
	for _, rep := range r.Replicas {
		if len(rep.Stages) > 1 {
			return true
		}
	}
	return false
}

// sentence puts the conclusion in one sentence.
func (r *Result) sentence(worst *Bound, why string) string {
	grows := fmt.Sprintf("the queue grows by %s requests a second", figure(r.Load.WaitingSlopePerS))
	filling := ""
	if r.Load.Filling {
		filling = ", but the system was still filling up when arrivals ended, so that a longer run would be worse"
	}
	switch {
	case worst == nil && r.Load.Growing:
		return fmt.Sprintf("No SLO is stated, but %s without a steady state, because %s.", grows, why)
	case worst == nil:
		return "No SLO is stated; the queue is stable" + filling + "."
	case !worst.Held && !worst.judged().Exists():
		return fmt.Sprintf("The SLO does not hold: no request got as far as having a %s, because %s.", worst.label(), why)
	case !worst.Held && r.Load.Growing:
		return fmt.Sprintf("The SLO does not hold: %s is %s against %s and %s, because %s.",
			worst.label(), seconds(worst.judged()), seconds(Number(worst.LimitS)), grows, why)
	case !worst.Held:
		return fmt.Sprintf("The SLO does not hold: %s is %s against %s, because %s.",
			worst.label(), seconds(worst.judged()), seconds(Number(worst.LimitS)), why)
	case r.Load.Growing:
		return fmt.Sprintf("The SLO holds only because the run is short: %s without a steady state, because %s.", grows, why)
	case !worst.judged().Exists() || worst.judged() == 0:
		return "The SLO holds: nothing limits it at this load" + filling + "."
	}
	headroom := worst.LimitS / float64(worst.judged())
	return fmt.Sprintf("The SLO holds and nothing limits it at this load: the tightest bound, %s, has a headroom of %.3gx (%s against %s)%s.",
		worst.label(), headroom, seconds(worst.judged()), seconds(Number(worst.LimitS)), filling)
}

// label names the quantity of a bound, such as "TBT p99".
func (b *Bound) label() string {
	name := map[string]string{"ttft": "TTFT", "tbt": "TBT", "tpot": "TPOT", "e2e": "E2E", "scheduling_delay": "scheduling delay"}[b.Metric]
	if b.Tier != "" {
		name = b.Tier + " " + name
	}
	if b.Quantile == 0.5 {
		return "median " + name
	}
	return fmt.Sprintf("%s p%g", name, float64(int(b.Quantile*1e6+0.5))/1e4)
}
