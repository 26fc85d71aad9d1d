package report

import (
	"slices"

	"orrery/cluster"
	"orrery/sim"
)

// Config says what [Metrics] measures.
type Config struct {
	// Replicas describes the replicas, in order; see [Specs].
	Replicas []ReplicaSpec
	Classes  []ClassSpec // of images, if there are pools; see [ClassSpecs]
	Tiers    []TierSpec  // of texts, if they are told apart
	SLO      SLO
	// WarmUp is the start of the measuring window, which ends with the run.
	// Requests that arrive before it are counted but not measured: they would find
	// the system emptier than it is. Gaps between tokens, rates, shares and means
	// cover the window.
	WarmUp sim.Time
	// Outside tells that the log is of a server that was watched by its clients: it has
	// no iterations, and no starts of first iterations.
	Outside bool
}

// Metrics measures a run as a [cluster.Recorder], in memory that does not grow with
// the run. When the run has ended call [Metrics.Close], then [Metrics.Summary].
//
// Records of one replica must come in order of time; how replicas are interleaved
// does not matter.
type Metrics struct {
	cfg      Config
	replicas []use
	bins     bins
	counts   counts
	window   windowCounts
	level    level
	finished latencies // of finished requests
	cut      latencies // of requests unfinished at the end: lower bounds
	tbt      sim.Sketch
	openTBT  sim.Sketch // gaps that were open at the end: lower bounds
	late     lateGaps
	classes  []classUse
	tiers    []tierUse
	span     sim.Time // length of the window
	end      sim.Time
	lastIn   sim.Time // last arrival
	asked    int64    // prompt tokens of all that arrived
	runs     int      // merged into one
	away     bool     // some replica was without devices
	closed   bool
}

// latencies are the delays of requests.
type latencies struct{ ttft, tpot, e2e, scheduling sim.Sketch }

func (l *latencies) merge(o *latencies) {
	l.ttft.Merge(&o.ttft)
	l.tpot.Merge(&o.tpot)
	l.e2e.Merge(&o.e2e)
	l.scheduling.Merge(&o.scheduling)
}

// lateGaps counts gaps longer than the TBT bound, and what happened in them.
type lateGaps struct{ n, withPrefill, afterPreemption int64 }

// NewMetrics returns a recorder for one run. A replica without stages has one.
func NewMetrics(cfg Config) *Metrics {
	m := &Metrics{cfg: cfg, bins: newBins(), runs: 1}
	m.replicas = make([]use, len(cfg.Replicas))
	for i := range m.replicas {
		u := &m.replicas[i]
		u.spec = cfg.Replicas[i]
		u.spec.Stages = max(u.spec.Stages, 1)
		u.stages = make([]int64, u.spec.Stages)
		u.now.stages = make([]int64, u.spec.Stages)
		m.open(u, 0)
	}
	return m
}

// Record adds one entry of the log. It costs a few nanoseconds for [cluster.Iterated]
// and [cluster.Emitted], of which there are most, and allocates nothing.
func (m *Metrics) Record(r *cluster.Record) {
	switch r.What {
	case cluster.Iterated:
		m.iterated(&m.replicas[r.Replica], r.Iteration)
	case cluster.Emitted:
		if m.cfg.Outside {
			m.reach(r)
		}
		u := &m.replicas[r.Replica]
		u.now.emitted += r.N
		if r.At >= m.cfg.WarmUp {
			m.tbt.Add(int64(r.Gap), r.N)
			if m.cfg.SLO.TBT > 0 && r.Gap > m.cfg.SLO.TBT {
				m.wasLate(u, r)
			}
		}
	case cluster.Moved:
		m.moved(&m.replicas[r.Replica], r)
	case cluster.Loaded:
		m.counts.loads++
	default:
		m.request(r)
	}
}

// moved takes in that a replica is in another state.
func (m *Metrics) moved(u *use, r *cluster.Record) {
	m.away = m.away || !r.State.Provisioned()
	if u.state.Provisioned() != r.State.Provisioned() {
		u.without = m.absent(u, r.At)
		m.bookAway(u, r.At)
		u.gone = r.At
	}
	u.state = r.State
}

// bookAway books the time up to now in which a replica had no devices.
func (m *Metrics) bookAway(u *use, now sim.Time) {
	if u.state.Provisioned() {
		return
	}
	m.bins.at(now)
	m.pieces(u.gone, now, func(from, to sim.Time) { m.bins.at(from).away += float64(to - from) })
}

// absent returns how long, up to now, a replica had no devices in the window.
func (m *Metrics) absent(u *use, now sim.Time) sim.Time {
	if u.state.Provisioned() {
		return u.without
	}
	return u.without + max(now-max(u.gone, m.cfg.WarmUp), 0)
}

// wasLate asks what else went on during a late gap: a prompt chunk that the batch
// computed before or with the token, a pre-emption that made a request start again.
// Both may be true.
func (m *Metrics) wasLate(u *use, r *cluster.Record) {
	began := r.At.Add(-r.Gap)
	m.late.n += r.N
	if u.lastChunk > began {
		m.late.withPrefill += r.N
	}
	// Those pre-empted come back one by one, each with its own gap.
	if r.N == 1 && u.lastPreemption > 0 && u.lastPreemption >= began {
		m.late.afterPreemption++
	}
}

// Close ends the measurement at the end of the run, after the last record.
func (m *Metrics) Close(end sim.Time) {
	if m.closed {
		panic("report: metrics closed twice")
	}
	m.closed = true
	m.end = end
	m.span = max(end-m.cfg.WarmUp, 0)
	m.step(end, 0)
	for i := range m.replicas {
		u := &m.replicas[i]
		m.bookAway(u, end)
		u.span, u.window = m.span-m.absent(u, end), m.span
		m.flush(u)
		m.bins.at(end)
		m.last(u, u.start, min(end, u.end))
		m.cutShort(u, end)
	}
}

// cutShort books the iteration that was under way at the end of the run, of which the log
// says nothing but who was left. If all of those began after the last one that it tells
// of, nobody ran in between.
func (m *Metrics) cutShort(u *use, end sim.Time) {
	if len(u.cut) == 0 || u.end >= end {
		return
	}
	from := max(u.end, slices.Min(u.cut))
	u.running = 0
	if from > u.end {
		u.waiting, u.kv = 0, 0
	}
	m.last(u, from, end)
	for _, at := range u.cut {
		m.pieces(max(u.end, at), end, func(from, to sim.Time) { m.post(u, from, &tally{running: float64(to - from)}) })
	}
}

// last books the state after the last decision until the end of the run.
func (m *Metrics) last(u *use, from, to sim.Time) {
	m.pieces(from, to, func(from, to sim.Time) {
		t := tally{}
		m.hold(u, &t, from, to)
		m.post(u, from, &t)
	})
}

// Merge adds another closed measurement, of a run with other seeds or of other
// replicas, as one more independent run: samples are pooled, replicas are
// listed side by side, and rates become means over the runs.
func (m *Metrics) Merge(o *Metrics) {
	if !m.closed || !o.closed {
		panic("report: metrics must be closed before they are merged")
	}
	m.replicas = append(m.replicas, o.replicas...)
	m.bins.merge(&o.bins)
	m.counts.merge(&o.counts)
	m.window.merge(&o.window)
	m.level.area += o.level.area
	m.level.peak = max(m.level.peak, o.level.peak)
	m.finished.merge(&o.finished)
	m.cut.merge(&o.cut)
	m.tbt.Merge(&o.tbt)
	m.openTBT.Merge(&o.openTBT)
	m.late.n += o.late.n
	m.late.withPrefill += o.late.withPrefill
	m.late.afterPreemption += o.late.afterPreemption
	for i := range o.classes {
		for i >= len(m.classes) {
			m.classes = append(m.classes, classUse{})
		}
		m.classes[i].merge(&o.classes[i])
	}
	for i := range o.tiers {
		for i >= len(m.tiers) {
			m.tiers = append(m.tiers, tierUse{})
		}
		m.tiers[i].merge(&o.tiers[i])
	}
	m.span += o.span
	m.end = max(m.end, o.end)
	m.lastIn = max(m.lastIn, o.lastIn)
	m.away = m.away || o.away
	m.runs += o.runs
}
