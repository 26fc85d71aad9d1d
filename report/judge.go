package report

import (
	"math"
)

// series fills in the run over time.
func (m *Metrics) series(r *Result) {
	s := &r.Series
	width := float64(m.bins.width())
	s.BinS = width / 1e9
	var blocks, stages float64
	for i := range m.replicas {
		blocks += float64(m.replicas[i].spec.KVBlocks)
		stages += float64(m.replicas[i].spec.Stages)
	}
	runs := float64(m.runs)
	n := 0
	if m.end > 0 {
		n = min(int((m.end-1)>>m.bins.shift)+1, numBins)
	}
	rows := []*[]float64{&s.Waiting, &s.Running, &s.KVShare, &s.BusyShare, &s.OutputTokensPerS, &s.ArrivedPerS}
	for _, row := range rows {
		*row = make([]float64, n)
	}
	share := func(x, of float64) float64 {
		if of == 0 {
			return 0
		}
		return round6(x / of)
	}
	if m.away {
		s.Provisioned = make([]float64, n)
	}
	for i := range n {
		b := &m.bins.bin[i]
		d := min(width, float64(m.end)-float64(i)*width) // the last bin is cut by the end
		s.Waiting[i] = round6(waiting(b) / d / runs)
		s.Running[i] = round6(b.running / d / runs)
		s.KVShare[i] = share(b.kv, d*blocks)
		s.BusyShare[i] = share(b.busy, d*stages)
		s.OutputTokensPerS[i] = round6(b.tokens / d * 1e9 / runs)
		s.ArrivedPerS[i] = round6(b.arrivals / d * 1e9 / runs)
		if m.away {
			s.Provisioned[i] = round6((float64(len(m.replicas)) - b.away/d) / runs)
		}
	}
}

// waiting returns the request-nanoseconds of a bin that were spent in queues.
func waiting(b *bin) float64 { return max(b.system-b.running, 0) }

// growth fills in whether the run had a steady state, from the second half of the
// time in which requests arrived, by least-squares slopes.
//
// The queues grew without end if over that half they grew by more than three standard
// deviations of a Poisson count of the arrivals, and by 2 % of them: a median delay in
// a short run looks harmless long after the queue has lost its steady state.
//
// The system was still filling up if the number of running requests grew by more than
// a tenth of its mean, and by three standard deviations of a Poisson count of that
// mean (that of M/G/infinity): what was measured is then too good to last.
func (m *Metrics) growth(r *Result) {
	from := (m.cfg.WarmUp + m.lastIn) / 2
	lo, hi := int(from>>m.bins.shift)+1, int(m.lastIn>>m.bins.shift) // whole bins only
	r.Load.WaitingSlopePerS = None
	if hi-lo < 4 {
		return
	}
	width := float64(m.bins.width())
	unit := width * float64(m.runs)
	queue, running, arrived := make([]float64, 0, numBins), make([]float64, 0, numBins), 0.0
	for i := lo; i < hi; i++ {
		b := &m.bins.bin[i]
		queue = append(queue, waiting(b)/unit)
		running = append(running, b.running/unit)
		arrived += b.arrivals / float64(m.runs)
	}
	n := float64(hi - lo)
	slope, _ := trend(queue)
	r.Load.WaitingSlopePerS = Number(slope / (width / 1e9))
	r.Load.Growing = slope*n > max(3*math.Sqrt(arrived), 0.02*arrived)
	slope, mean := trend(running)
	r.Load.Filling = slope*n > max(3*math.Sqrt(mean), 0.1*mean)
}

// trend returns the least-squares slope of y by its index, and its mean.
func trend(y []float64) (slope, mean float64) {
	middle := float64(len(y)-1) / 2
	var sxx, sxy float64
	for i, v := range y {
		x := float64(i) - middle
		mean += v / float64(len(y))
		sxx += x * x
		sxy += x * v
	}
	return sxy / sxx, mean
}

// judge compares the run with its SLO, and its tiers with theirs: all of them must hold.
func (m *Metrics) judge(r *Result) {
	slo, tiers := m.cfg.SLO, false
	for i := range r.Tiers {
		tiers = tiers || r.Tiers[i].SLO != nil
	}
	if !slo.Stated() && !tiers {
		return
	}
	q := slo.quantile()
	j := newJudgement(slo, m.counts.finished > 0)
	f, u := &m.finished, &m.cut
	j.bound("ttft", q, slo.TTFT, &f.ttft, &u.ttft)
	j.bound("tbt", q, slo.TBT, &m.tbt, &m.openTBT)
	j.bound("tpot", q, slo.TPOT, &f.tpot, &u.tpot)
	j.bound("e2e", q, slo.E2E, &f.e2e, &u.e2e)
	j.bound("scheduling_delay", 0.5, slo.SchedulingDelayMedian, &f.scheduling, &u.scheduling)
	for i := range r.Tiers {
		if t := r.Tiers[i].SLO; t != nil {
			j.result.Met = j.result.Met && t.Met
			for _, b := range t.Bounds {
				b.Tier = r.Tiers[i].Name
				j.result.Bounds = append(j.result.Bounds, b)
			}
		}
	}
	if slo.perRequest() || tiers {
		j.good(m.window.met, m.window.arrived, m.span)
	}
	r.SLO = j.result
}
