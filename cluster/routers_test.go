package cluster

import (
	"orrery/policies/route"
	"orrery/sim"
)

// anyRouter returns one of the routers, drawn by the seed, with settings that small
// clusters bring to their limits.
func anyRouter(seed uint64) route.Policy {
	rng := sim.Stream(seed, "which router")
	draws := sim.Stream(seed, "route")
	list := []route.Policy{
		&route.RoundRobin{}, &route.Random{Rand: draws}, &route.PowerOfTwo{Rand: draws}, &route.PowerOf{Choices: 3, By: route.Work, Rand: draws},
		route.LeastOutstanding{}, route.Least{By: route.Tokens}, route.Least{By: route.Work}, route.Least{Speeds: []float64{2}}, route.SharedQueue{Slots: 5},
		&route.PrefixAffinity{MinMatch: 0.3, ImbalanceRequests: 3, ImbalanceRatio: 1.2, IndexParts: 20}, &route.PrefixCost{MatchWeight: 1, IndexParts: 20},
		&route.SessionAffinity{Sessions: 4}, route.SessionHash{},
		&route.Weighted{Rand: draws, Terms: []route.Term{{Scorer: route.QueueScore{}, Weight: 2}, {Scorer: &route.PrefixScore{}, Weight: 3}}},
		&route.Weighted{Rand: draws, Terms: []route.Term{{Scorer: route.MemoryScore{}, Weight: 2}, {Scorer: route.LoadScore{Limit: 4}, Weight: 1}}},
	}
	return list[rng.IntN(len(list))]
}
