// Package admit decides at the gateway whether a request is taken in at all: now, later
// or never. Read [Policy] and [Verdict] first, then [QueueCap], the shortest example.
package admit

import (
	"orrery/policies/route"
	"orrery/sim"
	"orrery/workloads"
)

// Policy decides about each text that arrives, and again about those that it holds, when
// their time has come. Requests that have lost their replica are not asked about again.
// A policy must not look at Request.Output. One value serves one run.
type Policy interface {
	Admit(now sim.Time, r *Request, replicas []route.Replica) Verdict
}

// Request is what a policy may know of a request.
type Request struct {
	*workloads.Request
	Priority int32    // of its tier, higher before lower
	Deadline sim.Time // of its first token, [sim.Forever] if it has none
	Held     bool     // it was held before
}

// Verdict is what becomes of a request; the zero value takes it in.
type Verdict struct {
	Reject string   // why it is refused for good, empty if it is not
	Until  sim.Time // hold it, and ask again at this time if it is later than now
}

// Watcher is a [Policy] that is told what becomes of the requests that it let in. First
// tokens and ends pass through the gateway, so they are known there without delay.
type Watcher interface {
	Policy
	// Routed tells that r has been given to a replica.
	Routed(now sim.Time, r *workloads.Request, replica int)
	// Prefilled tells that the first token of r, given to the replica at the time routed,
	// has appeared.
	Prefilled(now sim.Time, r *workloads.Request, replica int, routed sim.Time)
	// Ended tells that r has ended, one way or other, with so many tokens emitted;
	// replica is -1 if it was on none.
	Ended(now sim.Time, r *workloads.Request, replica int, emitted int32)
	// Lost tells that r has lost its replica, and will be routed again or end.
	Lost(now sim.Time, r *workloads.Request, replica int)
}
