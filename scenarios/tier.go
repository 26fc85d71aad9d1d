package scenarios

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"orrery/cluster"
	"orrery/report"
	"orrery/sim"
	"orrery/workloads"
)

// Tier is a service class of texts: one [[tier]] of a scenario. Bounds that are 0 are
// not stated; [slo] holds for all texts beside them.
type Tier struct {
	Name     string   `toml:"name"`
	Share    float64  `toml:"share"`    // of the texts; all shares make 1
	Priority int      `toml:"priority"` // higher goes first where a policy heeds it, default 0
	TTFT     Duration `toml:"ttft"`     // policies that heed deadlines take it for that of the first token
	TPOT     Duration `toml:"tpot"`
	E2E      Duration `toml:"e2e"`
	Quantile float64  `toml:"quantile"` // share of samples within the bounds, default that of [slo]
}

// tiers checks the service classes.
func (c *checker) tiers(s *Scenario) {
	sum := 0.0
	for i := range s.Tiers {
		t := &s.Tiers[i]
		at := c.in(fmt.Sprintf("tier[%d]", i))
		at.named(t.Name, i, func(j int) string { return s.Tiers[j].Name })
		if !(t.Share >= 0 && t.Share <= 1) {
			at.fail("share", "is %s; want a share of the texts, 0 to 1", floatText(t.Share))
		}
		at.between("priority", t.Priority, -1000, 1000)
		if t.Quantile == 0 && !at.given("quantile") {
			t.Quantile = s.SLO.Quantile
		}
		if !(t.Quantile > 0 && t.Quantile < 1) {
			at.fail("quantile", "is %s; want a share between 0 and 1, such as 0.99", floatText(t.Quantile))
		}
		sum += t.Share
	}
	const slack = 1e-9
	switch {
	case len(s.Tiers) == 0 || len(c.d.errs) > 0:
	case !s.text:
		c.d.errorf("tier[0]", "[[tier]] is about text, which this scenario does not serve; want it removed")
	case sum < 1-slack || sum > 1+slack:
		c.in(fmt.Sprintf("tier[%d]", len(s.Tiers)-1)).fail("share", "brings the shares of all tiers to %s; want 1 in all", short(sum))
	}
}

// clusterTiers returns the tiers as package cluster takes them.
func (s *Scenario) clusterTiers() []cluster.Tier {
	var out []cluster.Tier
	for i := range s.Tiers {
		t := &s.Tiers[i]
		out = append(out, cluster.Tier{Name: t.Name, Priority: int32(t.Priority), Deadline: time.Duration(t.TTFT)})
	}
	return out
}

// reportTiers returns the tiers as package report takes them.
func (s *Scenario) reportTiers() []report.TierSpec {
	var out []report.TierSpec
	for i := range s.Tiers {
		t := &s.Tiers[i]
		out = append(out, report.TierSpec{Name: t.Name, SLO: report.SLO{
			TTFT: time.Duration(t.TTFT), TPOT: time.Duration(t.TPOT), E2E: time.Duration(t.E2E),
			Quantile: t.Quantile, IgnoreUnfinished: s.SLO.IgnoreUnfinished,
		}})
	}
	return out
}

// Stated tells whether the scenario has an objective, of all requests or of a tier.
func (s *Scenario) Stated() bool {
	stated := s.ReportSLO().Stated()
	for _, t := range s.reportTiers() {
		stated = stated || t.SLO.Stated()
	}
	return stated
}

// tags gives the texts of a source one of several tags, by independent draws from a stream
// of its own: the times of arrivals stay what they are. A conversation keeps its tag.
type tags struct {
	workloads.Source
	rng    *rand.Rand
	seed   uint64
	shares []float64 // of the tags, 1 in all
	set    func(r *workloads.Request, tag int32)
}

// tier returns the source with the scenario's tiers, or as it is if it has fewer than
// two.
func (s *Scenario) tier(src workloads.Source, seed uint64) workloads.Source {
	if len(s.Tiers) < 2 {
		return src
	}
	var shares []float64
	for i := range s.Tiers {
		shares = append(shares, s.Tiers[i].Share)
	}
	return tagged(src, sim.Stream(seed, "tier"), seed, shares, func(r *workloads.Request, i int32) { r.Tier = i })
}

// tagged returns the source with tags.
func tagged(src workloads.Source, rng *rand.Rand, seed uint64, shares []float64, set func(*workloads.Request, int32)) workloads.Source {
	t := tags{Source: src, rng: rng, seed: seed, shares: shares, set: set}
	if r, ok := src.(workloads.Responder); ok {
		return &tagsOfResponder{t, r}
	}
	return &t
}

// Next implements [workloads.Source].
func (t *tags) Next() workloads.Request {
	r := t.Source.Next()
	if r.Session == 0 {
		t.set(&r, t.pick(t.rng.Float64()))
	} else {
		t.set(&r, t.pick(fraction(t.seed, uint64(r.Session))))
	}
	return r
}

// pick returns the tag at which the shares reach u.
func (t *tags) pick(u float64) int32 {
	last := 0
	for i, share := range t.shares {
		if share == 0 {
			continue
		}
		if u < share {
			return int32(i)
		}
		u -= share
		last = i
	}
	return int32(last) // what rounding leaves of the shares
}

// fraction returns a number from 0 to 1 that depends on a seed and a key and looks
// random (the finaliser of SplitMix64, Steele et al., 2014).
func fraction(seed, key uint64) float64 {
	z := seed + key*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return float64((z^z>>31)>>11) / (1 << 53)
}

// Close passes on to the source.
func (t *tags) Close() error {
	if c, ok := t.Source.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Err passes on to the source.
func (t *tags) Err() error {
	if f, ok := t.Source.(interface{ Err() error }); ok {
		return f.Err()
	}
	return nil
}

// tagsOfResponder is a source that waits for answers.
type tagsOfResponder struct {
	tags
	responder workloads.Responder
}

// Done implements [workloads.Responder].
func (t *tagsOfResponder) Done(r *workloads.Request, now sim.Time) { t.responder.Done(r, now) }
