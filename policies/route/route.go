// Package route decides which replica serves a request. There are four policies,
// all in this file; [Policy] is the one interface.
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
	// Route returns the index of the chosen replica. There is at least one. The
	// request's Output must not be looked at.
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
