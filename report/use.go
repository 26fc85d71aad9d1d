package report

import (
	"time"

	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/sim"
)

// use is what is known of one replica.
type use struct {
	spec ReplicaSpec

	// now sums up what happened since from. Nothing in it reaches beyond until,
	// the next edge of a bin or of the window, so that it can be booked as a whole.
	now         tally
	from, until sim.Time

	total  tally            // in the window
	images hwmodel.Exertion // of images that left it in the window
	stages []int64          // busy nanoseconds of each stage in the window

	// What the last decision left, which holds until the next one, or until its
	// iteration ends and nothing follows.
	start, end       sim.Time
	running, waiting int32
	kv               int64
	// ended has when requests finished since start, in pipelines only: a decision
	// counts those as running that finish with an earlier micro-batch, before the next
	// decision. Their KV blocks count until then, since the log does not say how many
	// they are.
	ended []sim.Time

	lastChunk      sim.Time // end of the last iteration with prompt chunks
	lastPreemption sim.Time
	cut            []sim.Time // when requests were scheduled that the end of the run cut off
	state          cluster.State
	gone           sim.Time // since when it has no devices, if it has none
	without        sim.Time // how long it had none in the window before
	span           sim.Time // how long it had its devices in the window, once closed,
	window         sim.Time // and the length of the window of its run
}

// tally is what a replica did in some stretch of time.
type tally struct {
	active       int64   // ns with an iteration in flight
	running      float64 // sequence-ns
	kv           float64 // block-ns
	blocked      int64   // ns with a queue after the decision,
	blockedKV    int64   // of those with memory full,
	blockedSlots int64   // of those with all sequence slots taken
	stages       []int64 // busy ns by stage, not in totals

	iterations, chunkTokens, decodes, chunks int64
	emitted                                  int64   // output tokens
	joules                                   float64 // of iterations of text, above idling
	host, wall                               int64   // ns of host work, and of iterations from decision to end

	kvPeak    int64
	queuePeak int32
}

func (t *tally) add(o *tally) {
	t.active += o.active
	t.running += o.running
	t.kv += o.kv
	t.blocked += o.blocked
	t.blockedKV += o.blockedKV
	t.blockedSlots += o.blockedSlots
	t.iterations += o.iterations
	t.chunkTokens += o.chunkTokens
	t.decodes += o.decodes
	t.chunks += o.chunks
	t.emitted += o.emitted
	t.joules += o.joules
	t.host += o.host
	t.wall += o.wall
	t.kvPeak = max(t.kvPeak, o.kvPeak)
	t.queuePeak = max(t.queuePeak, o.queuePeak)
}

// iterated takes in an iteration. Nearly always it falls into the stretch under
// way; otherwise it is cut at the edges.
func (m *Metrics) iterated(u *use, it *cluster.Iteration) {
	if it.End > u.until {
		m.crossing(u, it)
	} else {
		m.hold(u, &u.now, u.start, min(it.Start, u.end))
		for s := range it.Stages {
			u.now.stages[s] += int64(it.Stages[s].End - it.Stages[s].Start)
		}
	}
	t := &u.now
	t.iterations++
	t.chunkTokens += int64(it.Batch.ChunkTokens)
	t.decodes += int64(it.Batch.Decodes)
	t.chunks += int64(it.Batch.Chunks)
	u.spend(it)
	t.host += int64(it.Host)
	t.wall += int64(it.End - it.Start)
	t.kvPeak = max(t.kvPeak, it.KVUsed)
	t.queuePeak = max(t.queuePeak, it.Waiting)
	if it.Batch.Chunks > 0 {
		u.lastChunk = it.End
	}
	if len(u.ended) > 0 {
		kept := u.ended[:0]
		for _, e := range u.ended {
			if e > it.Start {
				kept = append(kept, e)
			}
		}
		u.ended = kept
	}
	u.start, u.end = it.Start, it.End
	u.running, u.waiting, u.kv = it.Running, it.Waiting, it.KVUsed
}

// hold books the state after the last decision for the time between two instants.
func (m *Metrics) hold(u *use, t *tally, from, to sim.Time) {
	d := int64(to - from)
	if d <= 0 {
		return
	}
	t.active += d
	t.running += float64(float64(u.running) * float64(d))
	for _, e := range u.ended {
		if e > u.start && e < to {
			t.running -= float64(to - max(e, from))
		}
	}
	t.kv += float64(float64(u.kv) * float64(d))
	t.kvPeak = max(t.kvPeak, u.kv) // of a decision before the window, maybe
	if u.waiting == 0 {
		return
	}
	t.blocked += d
	switch {
	case u.spec.MaxSeqs > 0 && int(u.running) >= u.spec.MaxSeqs:
		t.blockedSlots += d
	case u.spec.full(u.kv, m.asked, m.counts.arrived):
		t.blockedKV += d
	}
}

// crossing books the times of an iteration that ends beyond the stretch under way,
// piece by piece, and opens the stretch in which it starts.
func (m *Metrics) crossing(u *use, it *cluster.Iteration) {
	m.flush(u)
	m.bins.at(it.End)
	m.pieces(u.start, min(it.Start, u.end), func(from, to sim.Time) {
		var t tally
		m.hold(u, &t, from, to)
		m.post(u, from, &t)
	})
	for s, span := range it.Stages {
		m.pieces(span.Start, span.End, func(from, to sim.Time) { m.busy(u, s, from, int64(to-from)) })
	}
	m.open(u, it.Start)
}

// open begins a stretch at t.
func (m *Metrics) open(u *use, t sim.Time) { u.from, u.until = t, m.edge(t) }

// edge returns the next edge after t, of a bin or of the window.
func (m *Metrics) edge(t sim.Time) sim.Time {
	e := m.bins.edge(t)
	if w := m.cfg.WarmUp; t < w && w < e {
		return w
	}
	return e
}

// pieces cuts a stretch of time at the edges. The bins must reach its end.
func (m *Metrics) pieces(from, to sim.Time, do func(from, to sim.Time)) {
	for from < to {
		e := min(m.edge(from), to)
		do(from, e)
		from = e
	}
}

// flush books the stretch under way and empties it.
func (m *Metrics) flush(u *use) {
	t := &u.now
	m.post(u, u.from, t)
	for s, d := range t.stages {
		m.busy(u, s, u.from, d)
	}
	stages := t.stages
	clear(stages)
	*t = tally{stages: stages}
}

// post books a tally of a stretch that begins at from and crosses no edge.
func (m *Metrics) post(u *use, from sim.Time, t *tally) {
	b := m.bins.at(from)
	b.running += t.running
	b.kv += t.kv
	b.tokens += float64(t.emitted)
	if from >= m.cfg.WarmUp {
		u.total.add(t)
	}
}

func (m *Metrics) busy(u *use, stage int, from sim.Time, d int64) {
	m.bins.at(from).busy += float64(d)
	if from >= m.cfg.WarmUp {
		u.stages[stage] += d
	}
}

// busyShare returns the share of the window that a stage works.
func (u *use) busyShare(stage int) Number { return ratio(float64(u.stages[stage]), float64(u.span)) }

// bubbleShare returns the share of the window in which a stage idles although the
// replica has work in flight. Since a replica decides as soon as it can, work is in
// flight whenever a request runs or waits there.
func (u *use) bubbleShare(stage int) Number {
	return ratio(max(float64(u.total.active-u.stages[stage]), 0), float64(u.span))
}

// exposedHost returns how long iterations of a replica without pipeline took
// beyond their device time, which is host work that nothing hides.
func (u *use) exposedHost() time.Duration {
	if len(u.stages) != 1 {
		return 0
	}
	return time.Duration(max(u.total.active-u.stages[0], 0))
}
