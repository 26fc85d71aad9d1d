// Package route decides which replica serves a request.
//
// Start at [Policy] and [Replica]: what a router is asked, and what it may know. A
// router that is a plain struct looks at all replicas for every request, which is
// easy to read and quick for some dozens; where there may be thousands it has an equal
// that keeps an index (see [Indexer]). What is told to routers beyond the request is in
// watch.go, and the guess at the length of answers in predict.go.
//
// Least picks by load, PowerOf by the load of a few that it draws, [SharedQueue] keeps
// requests back, [PrefixAffinity] goes where the prompt's beginning is cached, and
// [Weighted] adds up scores of all of these.
package route

import (
	"math/rand/v2"

	"orrery/sim"
	"orrery/workloads"
)

// Replica is what a router may know of a replica.
type Replica struct {
	Outstanding int32 // requests routed to it and not ended
	Queued      int32 // those of them that it has not admitted, for a router that wants reports
	Group       int32 // index of the group that it belongs to
	Ready       bool  // takes new requests; one that is not must not be chosen
	Tokens      int64 // prompt tokens of the outstanding requests
	Work        int64 // tokens that they are predicted to take: prompts not yet computed, and answers
	KVUsed      int64 // KV blocks held, for a router that wants reports
	KVBlocks    int64 // all its KV blocks
}

// Policy picks a replica for a request.
type Policy interface {
	// Route returns the index of the chosen replica, which must be ready, or -1 to keep
	// the request and all after it at the gateway until another request has ended or
	// a replica has become ready. There is at least one replica. The request's Output
	// must not be looked at.
	Route(now sim.Time, r *workloads.Request, replicas []Replica) int
}

// RoundRobin takes the replicas in turn.
type RoundRobin struct{ next int }

// Route implements [Policy].
func (p *RoundRobin) Route(_ sim.Time, _ *workloads.Request, replicas []Replica) int {
	for range replicas {
		i := p.next % len(replicas)
		p.next = i + 1
		if replicas[i].Ready {
			return i
		}
	}
	return -1
}

// Random picks a ready replica uniformly.
type Random struct{ Rand *rand.Rand }

// Route implements [Policy].
func (p *Random) Route(_ sim.Time, _ *workloads.Request, replicas []Replica) int {
	return draw(p.Rand, replicas, nil)
}

// SharedQueue keeps requests in one queue at the gateway and gives the oldest to
// the replica with the fewest unfinished requests as soon as that has fewer than
// Slots: late binding, at the price of a queue that all replicas share.
type SharedQueue struct {
	Slots int32 `toml:"slots"`
}

// Route implements [Policy].
func (p SharedQueue) Route(now sim.Time, r *workloads.Request, replicas []Replica) int {
	return p.bound(LeastOutstanding{}.Route(now, r, replicas), replicas)
}

// bound returns the least loaded replica i if it has a slot, else -1.
func (p SharedQueue) bound(i int, replicas []Replica) int {
	if i < 0 || replicas[i].Outstanding >= p.Slots {
		return -1
	}
	return i
}

// Indexed implements [Indexer].
func (p SharedQueue) Indexed() Policy { return &indexedQueue{p, indexedLeast{}} }

type indexedQueue struct {
	SharedQueue
	indexedLeast
}

func (p *indexedQueue) Route(now sim.Time, r *workloads.Request, replicas []Replica) int {
	return p.bound(p.indexedLeast.Route(now, r, replicas), replicas)
}
