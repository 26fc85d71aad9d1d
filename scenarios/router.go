package scenarios

import (
	"fmt"
	"math/rand/v2"
	"time"

	"orrery/policies/route"
)

// This file is how the settings of routers stand in scenarios; the table is in names.go.

// router is a router before its random numbers are known. Its toml tags are its settings.
type router interface {
	// policy returns the router of one run, which draws from rng.
	policy(rng *rand.Rand) route.Policy
}

// maxViewDelay bounds the age of the router's view, so that messages arrive within the
// range of the clock.
const maxViewDelay = Duration(24 * time.Hour)

// plain makes a router without settings.
func plain(f func(*rand.Rand) route.Policy) func() router {
	return func() router { return &plainRouter{make: f} }
}

type plainRouter struct {
	make func(*rand.Rand) route.Policy
}

func (p *plainRouter) policy(rng *rand.Rand) route.Policy { return p.make(rng) }

// leastRouter is [route.Least] in a scenario.
type leastRouter struct {
	// Speeds are those of the groups, relative, in their order: load counts by what a
	// group can do. Default: all alike.
	Speeds []float64 `toml:"speeds"`

	by     route.Measure
	oracle bool
}

func least(by route.Measure) func() router {
	return func() router { return &leastRouter{by: by} }
}

func oracleLeast() router { return &leastRouter{by: route.Work, oracle: true} }

func (p *leastRouter) policy(*rand.Rand) route.Policy {
	l := route.Least{By: p.by, Speeds: p.Speeds}
	if p.oracle {
		l.Guess = route.Oracle{}
	}
	return l
}

// Check returns an error unless the router can route.
func (p *leastRouter) Check() error {
	for i, x := range p.Speeds {
		if !(x >= 1e-6 && x <= 1e6) {
			return fmt.Errorf("speeds[%d] is %s; want 1e-6 to 1e6, relative to the other groups", i, floatText(x))
		}
	}
	return nil
}

// powerOf is [route.PowerOf] in a scenario.
type powerOf struct {
	Choices int `toml:"choices"` // replicas drawn, default 3
}

func (p *powerOf) policy(rng *rand.Rand) route.Policy {
	return &route.PowerOf{Choices: p.Choices, Rand: rng}
}

// Check returns an error unless the router can route.
func (p *powerOf) Check() error {
	if p.Choices < 1 || p.Choices > 1000 {
		return fmt.Errorf("choices is %d; want 1 to 1000", p.Choices)
	}
	return nil
}

type sharedQueue struct{ route.SharedQueue }

func (q *sharedQueue) policy(*rand.Rand) route.Policy { return q.SharedQueue }

// indexParts is how many parts of prompts a router remembers of each replica unless told
// otherwise: the default of llm-d's prefix scorer.
const indexParts = 31250

type prefixAffinity struct{ route.PrefixAffinity }

// newPrefixAffinity has the defaults of SGLang's router.
func newPrefixAffinity() router {
	return &prefixAffinity{route.PrefixAffinity{MinMatch: 0.5, ImbalanceRequests: 32, ImbalanceRatio: 1.0001, IndexParts: indexParts}}
}

func (p *prefixAffinity) policy(*rand.Rand) route.Policy {
	fresh := p.PrefixAffinity // the scenario's own never routes, so it has no state yet
	return &fresh
}

type prefixCost struct{ route.PrefixCost }

func (p *prefixCost) policy(*rand.Rand) route.Policy {
	fresh := p.PrefixCost
	return &fresh
}

type sessionAffinity struct{ route.SessionAffinity }

func (p *sessionAffinity) policy(*rand.Rand) route.Policy {
	fresh := p.SessionAffinity
	return &fresh
}

// weighted is [route.Weighted] in a scenario: a weight for each scorer, 0 for without.
type weighted struct {
	QueueWeight  float64 `toml:"queue_weight"`  // of the length of the queue, default 2
	KVWeight     float64 `toml:"kv_weight"`     // of the free share of the KV cache, default 2
	PrefixWeight float64 `toml:"prefix_weight"` // of the share of the prompt that is probably cached, default 3
	LoadWeight   float64 `toml:"load_weight"`   // of the queue up to load_limit, default 0
	LoadLimit    int32   `toml:"load_limit"`    // requests, default 128
	IndexParts   int     `toml:"index_parts"`   // parts of prompts remembered of each replica, default 31250
}

// newWeighted has the weights of llm-d's guides and the defaults of its scorers.
func newWeighted() router {
	return &weighted{QueueWeight: 2, KVWeight: 2, PrefixWeight: 3, LoadLimit: 128, IndexParts: indexParts}
}

func (p *weighted) policy(rng *rand.Rand) route.Policy {
	w := &route.Weighted{Rand: rng}
	for _, t := range []route.Term{
		{Scorer: route.QueueScore{}, Weight: p.QueueWeight},
		{Scorer: route.MemoryScore{}, Weight: p.KVWeight},
		{Scorer: &route.PrefixScore{Index: route.PrefixIndex{Parts: p.IndexParts}}, Weight: p.PrefixWeight},
		{Scorer: route.LoadScore{Limit: p.LoadLimit}, Weight: p.LoadWeight},
	} {
		if t.Weight > 0 {
			w.Terms = append(w.Terms, t)
		}
	}
	return w
}

// Check returns an error unless the router can route.
func (p *weighted) Check() error {
	for _, f := range fields(p) {
		if x := f.value; x.CanFloat() && !(x.Float() >= 0 && x.Float() <= 1e6) {
			return fmt.Errorf("%s is %s; want a weight of 0 to 1e6", f.key, floatText(x.Float()))
		}
	}
	switch {
	case p.QueueWeight+p.KVWeight+p.PrefixWeight+p.LoadWeight == 0:
		return fmt.Errorf("queue_weight is 0 like all other weights; want one of them above 0")
	case p.LoadLimit < 1:
		return fmt.Errorf("load_limit is %d; want at least 1 request", p.LoadLimit)
	case p.IndexParts < 0:
		return fmt.Errorf("index_parts is %d; want at least 0, which is for any number", p.IndexParts)
	}
	return nil
}
