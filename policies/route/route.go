// Package route decides which replica serves a request. The policies are all in
// this file; [Policy] is the one interface.
package route

import (
	"math/rand/v2"

	"orrery/sim"
	"orrery/workloads"
)

// Replica is what a router may know of a replica.
type Replica struct {
	Outstanding int32 // requests routed to it and not ended
	Queued      int32 // those of them that it had not admitted when it last told
	Group       int32 // index of the group that it belongs to
	Ready       bool  // takes new requests; one that is not must not be chosen
	Tokens      int64 // prompt tokens of the outstanding requests
	Work        int64 // tokens that they are predicted to take, prompts and answers
	KVUsed      int64 // KV blocks held when it last told
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

// Random picks a replica uniformly.
type Random struct{ Rand *rand.Rand }

// Route implements [Policy].
func (p *Random) Route(_ sim.Time, _ *workloads.Request, replicas []Replica) int {
	i := p.Rand.IntN(len(replicas))
	if replicas[i].Ready {
		return i
	}
	// The draw fell on one that is not there: another draw, among those that are.
	ready := 0
	for k := range replicas {
		if replicas[k].Ready {
			ready++
		}
	}
	if ready == 0 {
		return -1
	}
	return nth(replicas, p.Rand.IntN(ready))
}

// nth returns the index of the n-th ready replica, from 0.
func nth(replicas []Replica, n int) int {
	for i := range replicas {
		if !replicas[i].Ready {
			continue
		}
		if n == 0 {
			return i
		}
		n--
	}
	return -1
}

// LeastOutstanding picks the replica with the fewest unfinished requests, waiting
// and running alike, the lowest index among equals.
type LeastOutstanding struct{}

// Route implements [Policy].
func (LeastOutstanding) Route(_ sim.Time, _ *workloads.Request, replicas []Replica) int {
	best := -1
	for i := range replicas {
		if replicas[i].Ready && (best < 0 || replicas[i].Outstanding < replicas[best].Outstanding) {
			best = i
		}
	}
	return best
}

// PowerOfTwo draws two different replicas and picks the one with fewer unfinished
// requests (Mitzenmacher, 2001).
type PowerOfTwo struct{ Rand *rand.Rand }

// Route implements [Policy].
func (p *PowerOfTwo) Route(_ sim.Time, _ *workloads.Request, replicas []Replica) int {
	n := len(replicas)
	if n == 1 {
		return LeastOutstanding{}.Route(0, nil, replicas)
	}
	i, j := p.Rand.IntN(n), p.Rand.IntN(n-1)
	if j >= i {
		j++
	}
	switch {
	case !replicas[i].Ready && !replicas[j].Ready:
		return LeastOutstanding{}.Route(0, nil, replicas)
	case !replicas[i].Ready || replicas[j].Ready && replicas[j].Outstanding < replicas[i].Outstanding:
		return j
	}
	return i
}

// SharedQueue keeps requests in one queue at the gateway and gives the oldest to
// the replica with the fewest unfinished requests as soon as that has fewer than
// Slots: late binding, at the price of a queue that all replicas share.
type SharedQueue struct {
	Slots int32 `toml:"slots"`
}

// Route implements [Policy].
func (p SharedQueue) Route(now sim.Time, r *workloads.Request, replicas []Replica) int {
	i := LeastOutstanding{}.Route(now, r, replicas)
	if i < 0 || replicas[i].Outstanding >= p.Slots {
		return -1
	}
	return i
}
