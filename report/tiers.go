package report

import (
	"fmt"
	"time"

	"orrery/cluster"
	"orrery/sim"
)

// TierSpec is what recorders must know of a service class of texts beforehand. Its SLO
// has no bound on TBT: a replica counts late gaps by one bound for all.
type TierSpec struct {
	Name string
	SLO  SLO
}

// Tier is what became of the texts of one service class. Counts cover the whole run;
// latencies are of requests that arrived in the window.
type Tier struct {
	Name       string     `json:"name"`
	Arrived    int64      `json:"arrived"`
	Finished   int64      `json:"finished"`
	Rejected   int64      `json:"rejected"`
	Failed     int64      `json:"failed"`
	Unfinished int64      `json:"unfinished"`
	TTFT       Delay      `json:"ttft"`
	TPOT       Delay      `json:"tpot"`
	E2E        Delay      `json:"e2e"`
	SLO        *SLOResult `json:"slo"` // null if none is stated
}

// tierUse measures one tier.
type tierUse struct {
	arrived, finished, rejected, failed, unfinished int64
	asked, met                                      int64 // in the window
	done, cut                                       latencies
}

// tier takes in a record of the life of a text.
func (m *Metrics) tier(r *cluster.Record) {
	s := r.Request
	for int(s.Tier) >= len(m.tiers) {
		m.tiers = append(m.tiers, tierUse{})
	}
	t := &m.tiers[s.Tier]
	measured := s.Arrived >= m.cfg.WarmUp
	switch r.What {
	case cluster.Arrived:
		t.arrived++
		if measured {
			t.asked++
		}
	case cluster.Rejected:
		t.rejected++
	case cluster.Failed:
		t.failed++
	case cluster.Finished:
		t.finished++
		if measured {
			t.done.add(s)
			if m.tierSLO(s).Met(s) {
				t.met++
			}
		}
	case cluster.Unfinished:
		t.unfinished++
		if measured {
			t.cut.addCut(s, r.At)
		}
	}
}

func (t *tierUse) merge(o *tierUse) {
	t.arrived += o.arrived
	t.finished += o.finished
	t.rejected += o.rejected
	t.failed += o.failed
	t.unfinished += o.unfinished
	t.asked += o.asked
	t.met += o.met
	t.done.merge(&o.done)
	t.cut.merge(&o.cut)
}

// tierSpec returns the spec of a tier, without an objective if there is none.
func (m *Metrics) tierSpec(i int) TierSpec {
	if i < len(m.cfg.Tiers) {
		return m.cfg.Tiers[i]
	}
	return TierSpec{Name: fmt.Sprintf("tier %d", i)}
}

// tierSLO returns the objective of a text's tier, of which nothing is stated if there is
// none.
func (m *Metrics) tierSLO(s *cluster.Served) SLO {
	if int(s.Tier) < len(m.cfg.Tiers) {
		return m.cfg.Tiers[s.Tier].SLO
	}
	return SLO{}
}

// byTier fills in what became of the tiers, those without requests included.
func (m *Metrics) byTier(r *Result) {
	if len(m.cfg.Tiers) == 0 {
		return
	}
	for i := range max(len(m.tiers), len(m.cfg.Tiers)) {
		spec, t := m.tierSpec(i), &tierUse{}
		if i < len(m.tiers) {
			t = &m.tiers[i]
		}
		r.Tiers = append(r.Tiers, Tier{
			Name: spec.Name, Arrived: t.arrived, Finished: t.finished, Rejected: t.rejected, Failed: t.failed, Unfinished: t.unfinished,
			TTFT: delay(&t.done.ttft, &t.cut.ttft), TPOT: delay(&t.done.tpot, &t.cut.tpot), E2E: delay(&t.done.e2e, &t.cut.e2e),
			SLO: m.judgeTier(spec.SLO, t),
		})
	}
}

// judgeTier compares a tier with its objective. A request that failed was not served at
// all, which no latency shows: the share of requests that met the bounds does.
func (m *Metrics) judgeTier(slo SLO, t *tierUse) *SLOResult {
	if !slo.Stated() {
		return nil
	}
	j := newJudgement(slo, t.finished > 0)
	q := slo.quantile()
	j.bound("ttft", q, slo.TTFT, &t.done.ttft, &t.cut.ttft)
	j.bound("tpot", q, slo.TPOT, &t.done.tpot, &t.cut.tpot)
	j.bound("e2e", q, slo.E2E, &t.done.e2e, &t.cut.e2e)
	if slo.perRequest() {
		j.good(t.met, t.asked, m.span)
	}
	return j.result
}

// judgement is a comparison with an objective under way.
type judgement struct {
	slo    SLO
	any    bool // some request finished
	result *SLOResult
}

func newJudgement(slo SLO, any bool) *judgement {
	return &judgement{slo, any, &SLOResult{Met: true, Bounds: []Bound{}, GoodputPerS: None, GoodShare: None}}
}

// bound compares one quantile with its bound, if there is one.
func (j *judgement) bound(metric string, quantile float64, limit time.Duration, finished, cut *sim.Sketch) {
	if limit <= 0 {
		return
	}
	b := Bound{Metric: metric, Quantile: quantile, LimitS: limit.Seconds()}
	all := both(finished, cut)
	b.ValueS = Number(finished.Quantile(quantile) / 1e9)
	b.WithUnfinishedS = Number(all.Quantile(quantile) / 1e9)
	judged := b.WithUnfinishedS
	if j.slo.IgnoreUnfinished {
		judged = b.ValueS
	}
	// No gaps at all happen when every answer is one token: nothing is late then.
	gapsOnly := metric == "tbt" || metric == "tpot"
	b.Held = float64(judged) <= limit.Seconds() || !judged.Exists() && gapsOnly && j.any
	j.result.Met = j.result.Met && b.Held
	j.result.Bounds = append(j.result.Bounds, b)
}

// good fills in the rate and the share of requests that met all their bounds.
func (j *judgement) good(met, asked int64, span sim.Time) {
	j.result.GoodputPerS = ratio(float64(met), span.Seconds())
	j.result.GoodShare = ratio(float64(met), float64(asked))
}

// tiers adds a line for each tier.
func (v *screen) tiers(r *Result) {
	for i := range r.Tiers {
		t := &r.Tiers[i]
		text := fmt.Sprintf("%s: %s served of %s, TTFT %s (p99), TPOT %s (p99)", t.Name, count(t.Finished), count(t.Arrived), seconds(t.TTFT.P99S), seconds(t.TPOT.P99S))
		switch {
		case t.SLO == nil:
		case t.SLO.Met:
			text += fmt.Sprintf("; meets its SLO, %s of the requests do", percent(t.SLO.GoodShare))
		default:
			text += fmt.Sprintf("; misses its SLO, %s of the requests meet it", percent(t.SLO.GoodShare))
		}
		v.line("tier", "%s", text)
	}
}
