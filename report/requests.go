package report

import (
	"sort"

	"orrery/cluster"
	"orrery/sim"
)

// counts cover the whole run, so that they add up.
type counts struct {
	arrived, finished, rejected, failed, unfinished int64
	loads                                           int64 // of adapters
	lost, lostTokens                                int64 // replicas that requests lost, and their tokens on them
	reasons, failures                               map[string]int64
	preemptions, swaps                              int64
	prompt, output, cached, loaded, recomputed      int64 // tokens, of requests that ended or were cut
	restartedTwice                                  int64 // requests pre-empted more than once
}

func (c *counts) merge(o *counts) {
	c.arrived += o.arrived
	c.finished += o.finished
	c.rejected += o.rejected
	c.failed += o.failed
	c.lost += o.lost
	c.loads += o.loads
	c.lostTokens += o.lostTokens
	c.unfinished += o.unfinished
	c.preemptions += o.preemptions
	c.swaps += o.swaps
	c.prompt += o.prompt
	c.output += o.output
	c.cached += o.cached
	c.loaded += o.loaded
	c.recomputed += o.recomputed
	c.restartedTwice += o.restartedTwice
	for _, reason := range sorted(o.reasons) {
		c.reject(reason, o.reasons[reason])
	}
	for _, reason := range sorted(o.failures) {
		c.fail(reason, o.failures[reason])
	}
}

func (c *counts) fail(reason string, n int64) {
	if c.failures == nil {
		c.failures = make(map[string]int64)
	}
	c.failures[reason] += n
}

func (c *counts) reject(reason string, n int64) {
	if c.reasons == nil {
		c.reasons = make(map[string]int64)
	}
	c.reasons[reason] += n
}

// sorted returns the reasons that were given, in alphabetical order.
func sorted(reasons map[string]int64) []string {
	names := make([]string, 0, len(reasons))
	for name := range reasons {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// windowCounts cover the measuring window.
type windowCounts struct {
	arrived   int64   // requests that arrived in it
	measured  int64   // of those, finished
	met       int64   // of those, within the SLO
	completed int64   // requests that finished in it, whenever they arrived
	images    int64   // of those, requests of pools
	prompts   int64   // prompt tokens whose prefill ended in it
	present   int64   // requests that were in the system at some time in it
	sojourn   float64 // ns they spent there
}

func (w *windowCounts) merge(o *windowCounts) {
	w.arrived += o.arrived
	w.measured += o.measured
	w.met += o.met
	w.completed += o.completed
	w.images += o.images
	w.prompts += o.prompts
	w.present += o.present
	w.sojourn += o.sojourn
}

// level is the number of requests in the system as a function of time.
type level struct {
	n, peak int64
	since   sim.Time
	area    float64 // request-ns in the window
}

// step moves the level to time t and changes it there.
func (m *Metrics) step(t sim.Time, by int64) {
	l := &m.level
	if l.n > 0 && t > l.since {
		m.bins.at(t)
		n := float64(l.n)
		m.pieces(l.since, t, func(from, to sim.Time) {
			a := float64(n * float64(to-from))
			m.bins.at(from).system += a
			if from >= m.cfg.WarmUp {
				l.area += a
			}
		})
	}
	l.since = max(l.since, t)
	l.n += by
	if t >= m.cfg.WarmUp {
		l.peak = max(l.peak, l.n)
	}
}

// request takes in a record of one request's life.
func (m *Metrics) request(r *cluster.Record) {
	c, w, s := &m.counts, &m.window, r.Request
	warm := r.At >= m.cfg.WarmUp
	switch {
	case s.Class > 0:
		m.class(r)
	case len(m.cfg.Tiers) > 0:
		m.tier(r)
	}
	switch r.What {
	case cluster.Arrived:
		c.arrived++
		if warm {
			w.arrived++
		}
		m.lastIn = max(m.lastIn, r.At)
		m.asked += int64(s.Prompt)
		m.step(r.At, 1)
		m.bins.at(r.At).arrivals++
	case cluster.Rejected:
		c.rejected++
		c.reject(r.Reason, 1)
		m.left(s, r.At)
	case cluster.Failed:
		c.failed++
		c.fail(r.Reason, 1)
		m.ended(s)
		m.left(s, r.At)
	case cluster.Lost:
		c.lost++
		c.lostTokens += r.N
	case cluster.FirstToken:
		if m.cfg.Outside {
			m.reach(r)
		}
		u := &m.replicas[r.Replica]
		u.now.emitted += int64(s.Emitted)
		if warm {
			w.prompts += int64(s.Prompt)
			if s.Emitted == 0 {
				// Under cluster.WithDecode the end of the prefill is no token, but the artefact
				// that this reproduces notes a gap of zero there.
				m.tbt.Add(0, 1)
			}
		}
	case cluster.Preempted:
		c.preemptions++
		if r.Swap {
			c.swaps++
		}
		m.replicas[r.Replica].lastPreemption = r.At
	case cluster.Finished:
		c.finished++
		if u := &m.replicas[r.Replica]; len(u.stages) > 1 {
			u.ended = append(u.ended, r.At)
		}
		m.ended(s)
		m.left(s, r.At)
		if warm {
			w.completed++
		}
		if s.Arrived >= m.cfg.WarmUp {
			w.measured++
			if m.cfg.SLO.Met(s) && (s.Class > 0 || m.tierSLO(s).Met(s)) {
				w.met++
			}
			m.finished.add(s)
		}
	case cluster.Unfinished:
		c.unfinished++
		if r.Replica >= 0 && s.Scheduled != cluster.Never {
			u := &m.replicas[r.Replica]
			u.cut = append(u.cut, max(s.Scheduled, s.Routed))
		}
		m.ended(s)
		m.left(s, r.At)
		if s.Arrived >= m.cfg.WarmUp {
			m.cut.addCut(s, r.At)
		}
		if s.First != cluster.Never && r.At >= s.Last && warm {
			m.openTBT.Add(int64(r.At.Sub(s.Last)), 1)
		}
	}
}

// ended adds the tokens of a request that will get no more.
func (m *Metrics) ended(s *cluster.Served) {
	c := &m.counts
	c.output += int64(s.Emitted)
	c.cached += int64(s.Cached)
	c.loaded += int64(s.Loaded)
	c.recomputed += int64(s.Recomputed)
	if s.First != cluster.Never {
		c.prompt += int64(s.Prompt)
	}
	if s.Preemptions > 1 {
		c.restartedTwice++
	}
}

// left takes a request out of the system.
func (m *Metrics) left(s *cluster.Served, at sim.Time) {
	m.step(at, -1)
	if at < m.cfg.WarmUp {
		return
	}
	m.window.present++
	m.window.sojourn += float64(at - max(s.Arrived, m.cfg.WarmUp))
}

// add adds the delays of a finished request.
func (l *latencies) add(s *cluster.Served) {
	if s.Scheduled != cluster.Never { // clients do not see it
		l.scheduling.Add(int64(s.Scheduled.Sub(s.Arrived)), 1)
	}
	l.ttft.Add(int64(s.First.Sub(s.Arrived)), 1)
	l.e2e.Add(int64(s.Last.Sub(s.Arrived)), 1)
	if n := gaps(s); n > 0 {
		l.tpot.Add(int64(s.Last.Sub(s.First))/n, 1)
	}
}

// addCut adds the delays of a request that the end of the run cut short: those
// that are known, and for the others the wait so far, which they exceed.
func (l *latencies) addCut(s *cluster.Served, end sim.Time) {
	known := func(t sim.Time) sim.Time {
		if t == cluster.Never {
			return end
		}
		return t
	}
	l.scheduling.Add(int64(known(s.Scheduled).Sub(s.Arrived)), 1)
	l.ttft.Add(int64(known(s.First).Sub(s.Arrived)), 1)
	l.e2e.Add(int64(end.Sub(s.Arrived)), 1)
	if n := gaps(s); n > 0 {
		l.tpot.Add(int64(s.Last.Sub(s.First))/n, 1)
	}
}
