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
	Outstanding int32 // requests routed to it and not finished
	Tokens      int64 // prompt tokens of those requests
}

// Policy picks a replica for a request.
type Policy interface {
	// Route returns the index of the chosen replica, or -1 to keep the request and
	// all after it at the gateway until another request has finished. There is at
	// least one replica. The request's Output must not be looked at.
	Route(now sim.Time, r *workloads.Request, replicas []Replica) int
}

// RoundRobin takes the replicas in turn.
type RoundRobin struct{ next int }

// Route implements [Policy].
func (p *RoundRobin) Route(_ sim.Time, _ *workloads.Request, replicas []Replica) int {
	i := p.next % len(replicas)
	p.next = i + 1
	return i
}

// Random picks a replica uniformly.
type Random struct{ Rand *rand.Rand }

// Route implements [Policy].
func (p *Random) Route(_ sim.Time, _ *workloads.Request, replicas []Replica) int {
	return p.Rand.IntN(len(replicas))
}

// LeastOutstanding picks the replica with the fewest unfinished requests, waiting
// and running alike, the lowest index among equals.
type LeastOutstanding struct{}

// Route implements [Policy].
func (LeastOutstanding) Route(_ sim.Time, _ *workloads.Request, replicas []Replica) int {
	best := 0
	for i := range replicas {
		if replicas[i].Outstanding < replicas[best].Outstanding {
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
		return 0
	}
	i, j := p.Rand.IntN(n), p.Rand.IntN(n-1)
	if j >= i {
		j++
	}
	if replicas[j].Outstanding < replicas[i].Outstanding {
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
	if replicas[i].Outstanding >= p.Slots {
		return -1
	}
	return i
}
