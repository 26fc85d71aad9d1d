package report

import (
	"math"

	"orrery/sim"
)

// Summary returns the result of a run whose metrics are closed. The caller fills
// in the identity.
func (m *Metrics) Summary() *Result {
	if !m.closed {
		panic("report: summary of metrics that are not closed")
	}
	c, w := &m.counts, &m.window
	r := &Result{
		Schema: Schema, EndS: m.end.Seconds(), WarmUpS: m.cfg.WarmUp.Seconds(), WindowS: m.span.Seconds(), Runs: m.runs,
		Identity: Identity{Flags: []string{}, Notes: []string{}},
		Requests: Requests{
			Arrived: c.arrived, Finished: c.finished, Rejected: c.rejected, Failed: c.failed, Unfinished: c.unfinished,
			RejectedBy: []Rejection{}, Measured: w.measured,
			Preemptions: c.preemptions, Swaps: c.swaps, PreemptedRepeatedly: c.restartedTwice, ReplicasLost: c.lost, AdapterLoads: c.loads,
		},
		Tokens: Tokens{Prompt: c.prompt, Output: c.output, Cached: c.cached, Loaded: c.loaded, Recomputed: c.recomputed, Lost: c.lostTokens},
	}
	for _, reason := range sorted(c.reasons) {
		r.Requests.RejectedBy = append(r.Requests.RejectedBy, Rejection{reason, c.reasons[reason]})
	}
	for _, reason := range sorted(c.failures) {
		r.Requests.FailedBy = append(r.Requests.FailedBy, Rejection{reason, c.failures[reason]})
	}
	f, u := &m.finished, &m.cut
	r.Latency = Latency{
		TTFT: delay(&f.ttft, &u.ttft), TBT: delay(&m.tbt, &m.openTBT), TPOT: delay(&f.tpot, &u.tpot),
		E2E: delay(&f.e2e, &u.e2e), SchedulingDelay: delay(&f.scheduling, &u.scheduling),
	}
	r.Curves = Curves{
		TTFT: curve(&f.ttft), TBT: curve(&m.tbt), TPOT: curve(&f.tpot), E2E: curve(&f.e2e), SchedulingDelay: curve(&f.scheduling),
	}
	var all tally
	for i := range m.replicas {
		all.add(&m.replicas[i].total)
	}
	span := m.span.Seconds()
	r.Throughput = Throughput{
		ArrivedPerS:      ratio(float64(w.arrived), span),
		RequestsPerS:     ratio(float64(w.completed), span),
		OutputTokensPerS: ratio(float64(all.emitted), span),
		TotalTokensPerS:  ratio(float64(all.emitted+w.prompts), span),
	}
	r.Load.SystemMean = ratio(m.level.area, float64(m.span))
	r.Load.SystemPeak = m.level.peak
	if w.present > 0 {
		rate := float64(w.present) / span
		r.Load.LittleMean = Number(rate * (w.sojourn / 1e9 / float64(w.present)))
	} else {
		r.Load.LittleMean = r.Load.SystemMean
	}
	r.Load.RunningMean = ratio(all.running, float64(m.span))
	r.Load.WaitingMean = Number(math.Max(0, float64(r.Load.SystemMean-r.Load.RunningMean)))
	r.Load.WaitingPeak = int64(all.queuePeak)
	r.Iterations = iterations(&all)
	m.byClass(r)
	m.byTier(r)
	m.use(r)
	m.cost(r)
	m.series(r)
	m.growth(r)
	m.judge(r)
	if m.cfg.Outside {
		r.unseen()
		r.Limit = m.outsideLimit(r)
		return r
	}
	r.Limit = m.limit(r, &all)
	return r
}

func iterations(t *tally) Iterations {
	n := float64(t.iterations)
	return Iterations{
		Count: t.iterations, TokensMean: ratio(float64(t.chunkTokens+t.decodes), n), BatchMean: ratio(float64(t.chunks+t.decodes), n),
		DecodesMean: ratio(float64(t.decodes), n), LengthMeanS: ratio(float64(t.wall)/1e9, n),
		HostShare: ratio(float64(t.host), float64(t.wall)), ExposedHost: None,
	}
}

// use fills in how busy and how full the replicas were, each over the window of
// its own run.
func (m *Metrics) use(r *Result) {
	var busy, bubble, kv, room, stages, exposed, spans float64
	peak := None
	pipelines := false
	r.Replicas = []Replica{}
	for i := range m.replicas {
		u := &m.replicas[i]
		span := u.span
		rep := Replica{
			KVBlocks:     u.spec.KVBlocks,
			KVMeanShare:  ratio(u.total.kv, float64(u.spec.KVBlocks)*float64(span)),
			KVPeakShare:  ratio(float64(u.total.kvPeak), float64(u.spec.KVBlocks)),
			RunningMean:  ratio(u.total.running, float64(span)),
			Iterations:   u.total.iterations,
			ProvisionedS: span.Seconds(),
		}
		for s := range u.stages {
			st := Stage{u.busyShare(s), u.bubbleShare(s)}
			rep.Stages = append(rep.Stages, st)
			if st.BusyShare.Exists() {
				weight := float64(span) / float64(u.window) // 1 but for those that came or went
				busy += weight * float64(st.BusyShare)
				bubble += weight * float64(st.BubbleShare)
				stages += weight
			}
		}
		pipelines = pipelines || len(u.stages) > 1
		exposed += u.exposedHost().Seconds()
		kv += u.total.kv
		room += float64(u.spec.KVBlocks) * float64(span)
		spans += span.Seconds()
		if rep.KVPeakShare.Exists() && !(peak >= rep.KVPeakShare) {
			peak = rep.KVPeakShare
		}
		r.Replicas = append(r.Replicas, rep)
	}
	r.Load.BusyShare = ratio(busy, stages)
	r.Load.BubbleShare = ratio(bubble, stages)
	r.Load.KVMeanShare = ratio(kv, room)
	r.Load.KVPeakShare = peak
	if !pipelines {
		r.Iterations.ExposedHost = ratio(exposed, spans)
	}
}

// quantiles summarises a sketch.
func quantiles(s *sim.Sketch) Quantiles {
	q := Quantiles{Count: s.Count(), MeanS: None, MaxS: None}
	at := func(p float64) Number { return Number(s.Quantile(p) / 1e9) }
	q.P50S, q.P90S, q.P99S, q.P999S = at(0.5), at(0.9), at(0.99), at(0.999)
	if q.Count > 0 {
		q.MeanS, q.MaxS = Number(s.Mean()/1e9), Number(float64(s.Max())/1e9)
	}
	return q
}

// both returns the samples of two sketches in one.
func both(a, b *sim.Sketch) *sim.Sketch {
	var s sim.Sketch
	s.Merge(a)
	s.Merge(b)
	return &s
}

func delay(finished, cut *sim.Sketch) Delay {
	d := Delay{Quantiles: quantiles(finished)}
	d.WithUnfinished = d.Quantiles
	if cut.Count() > 0 {
		d.WithUnfinished = quantiles(both(finished, cut))
	}
	return d
}

// curve thins a distribution to points at least 1/300 of all samples apart, with
// finer steps in the last percent, which is the part that people look for.
func curve(s *sim.Sketch) []Point {
	var points []Point
	last, final := 0.0, Point{}
	s.CDF(func(v, share float64) bool {
		final = Point{v / 1e9, share}
		step := 1.0 / 300
		if share > 0.99 {
			step = 1.0 / 10000
		}
		if len(points) == 0 || share-last >= step {
			points = append(points, final)
			last = share
		}
		return true
	})
	if n := len(points); n > 0 && points[n-1] != final {
		points = append(points, final)
	}
	return points
}
