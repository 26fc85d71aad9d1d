package route

import (
	"orrery/sim"
	"orrery/workloads"
)

// PrefixAffinity sends a request where the beginning of its prompt is probably cached:
// to the replica that was sent the longest beginning, the one with the fewest
// unfinished requests among several. It goes by load instead, to the replica with
// the fewest unfinished requests,
//
//   - if no more than MinMatch of the prompt is known anywhere, or
//   - if the loads are out of balance: the largest exceeds the smallest by more than
//     ImbalanceRequests, and by more than the factor ImbalanceRatio.
//
// These are the rules of SGLang's cache-aware router.
type PrefixAffinity struct {
	MinMatch          float64 `toml:"min_match"`
	ImbalanceRequests int     `toml:"imbalance_requests"`
	ImbalanceRatio    float64 `toml:"imbalance_ratio"`
	// IndexParts is how many parts of prompts the router remembers of each replica, 0 for
	// any number.
	IndexParts int `toml:"index_parts"`

	index PrefixIndex
	loads extremes
}

// Changed implements [Watcher].
func (p *PrefixAffinity) Changed(replicas []Replica, i int) {
	p.loads.changed(replicas, i)
	if !replicas[i].Ready {
		p.index.Forget(i) // it will come back with an empty cache
	}
}

// Route implements [Policy].
func (p *PrefixAffinity) Route(_ sim.Time, r *workloads.Request, replicas []Replica) int {
	p.index.Parts = p.IndexParts
	known := parts(r)
	best := p.loads.least.winner()
	if best < 0 {
		return -1
	}
	if p.balanced(replicas) {
		if i := p.holder(known, replicas); i >= 0 {
			best = i
		}
	}
	p.index.Add(best, known)
	return best
}

func (p *PrefixAffinity) balanced(replicas []Replica) bool {
	least, most := replicas[p.loads.least.winner()].Outstanding, replicas[p.loads.most.winner()].Outstanding
	return int(most-least) <= p.ImbalanceRequests || float64(most) <= float64(least)*p.ImbalanceRatio
}

// holder returns the least loaded of the replicas that hold most of a prompt, -1 if too
// little of it is known.
func (p *PrefixAffinity) holder(known []uint64, replicas []Replica) int {
	best := -1
	p.index.Deepest(known, int(p.MinMatch*float64(len(known)))+1, func(i int) bool {
		if replicas[i].Ready && (best < 0 || lighter(replicas, i, best)) {
			best = i
		}
		return replicas[i].Ready
	})
	return best
}

// lighter orders replicas by unfinished requests, then by index.
func lighter(replicas []Replica, i, j int) bool {
	a, b := replicas[i].Outstanding, replicas[j].Outstanding
	return a < b || a == b && i < j
}

// extremes knows the ready replicas with the fewest and the most unfinished requests.
type extremes struct{ least, most tournament }

func (e *extremes) changed(replicas []Replica, i int) {
	if len(e.least.members) < len(replicas) {
		all := make([]int32, len(replicas))
		for k := range all {
			all[k] = int32(k)
		}
		e.least, e.most = newTournament(all), newTournament(all)
	}
	least, most := absent, absent
	if replicas[i].Ready {
		least, most = int64(replicas[i].Outstanding), -int64(replicas[i].Outstanding)
	}
	e.least.set(int32(i), least)
	e.most.set(int32(i), most)
}

// PrefixCost picks the replica with the least work, counting what the request would
// add to it: the prompt less MatchWeight times what is probably cached there. Load and
// cache are weighed in one currency, tokens, so it needs no thresholds; this is the rule
// of NVIDIA Dynamo's KV router, with predicted tokens in place of blocks.
type PrefixCost struct {
	MatchWeight float64   `toml:"match_weight"` // tokens of load that a cached token is worth
	IndexParts  int       `toml:"index_parts"`  // as for PrefixAffinity
	Guess       Predictor // nil for a [MeanAnswer]

	index PrefixIndex
	least indexedLeast
}

// Predictor implements [Predicting].
func (p *PrefixCost) Predictor() Predictor { return Least{Guess: p.Guess}.Predictor() }

// Changed implements [Watcher].
func (p *PrefixCost) Changed(replicas []Replica, i int) {
	p.least.By = Work
	p.least.Changed(replicas, i)
	if !replicas[i].Ready {
		p.index.Forget(i)
	}
}

// Route implements [Policy].
func (p *PrefixCost) Route(now sim.Time, r *workloads.Request, replicas []Replica) int {
	p.index.Parts = p.IndexParts
	known := parts(r)
	best := p.least.Route(now, r, replicas)
	if best < 0 {
		return -1
	}
	// Who holds nothing of the prompt costs what it has to do; the least of those is known.
	cost := float64(replicas[best].Work)
	p.index.Matched(known, func(i, n int) {
		saved := p.MatchWeight * float64(n) * float64(r.PrefixBlock)
		if c := float64(replicas[i].Work) - saved; replicas[i].Ready && (c < cost || c == cost && i < best) {
			best, cost = i, c
		}
	})
	p.index.Add(best, known)
	return best
}
