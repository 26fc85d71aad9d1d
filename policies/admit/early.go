package admit

import (
	"fmt"
	"time"

	"orrery/policies/route"
	"orrery/sim"
	"orrery/workloads"
)

// Early refuses a request at once if its first token would come too late, rather than
// after it has waited (early rejection, Qin et al., "Mooncake", FAST 2025, section 7.3). The
// time to the first token is predicted as that of computing all prompts that the least
// busy replica has yet to compute, and its own, at the speed that replicas have shown.
//
// It costs time in proportion to the number of replicas for each arrival.
type Early struct {
	Target time.Duration // to the first token, for requests whose tier has no deadline; 0 to let them in
	// Slack is how many times the target the prediction may be.
	Slack float64
	// Prior is the time that a prompt token is taken to need before any was seen; 0 to let
	// requests in until one was.
	Prior time.Duration

	ahead  []int64         // by replica: prompt tokens given to it and not computed
	owed   map[int64]int64 // by request: what was ahead of it, its own prompt included
	pace   float64         // seconds a prompt token, a moving average
	primed bool
}

// paceMemory is how many first tokens the moving average of the pace rests on, about.
const paceMemory = 32

// Admit implements [Policy].
func (e *Early) Admit(now sim.Time, r *Request, replicas []route.Replica) Verdict {
	deadline := r.Deadline
	if deadline == sim.Forever && e.Target > 0 {
		deadline = r.Arrived.Add(e.Target)
	}
	if deadline == sim.Forever {
		return Verdict{}
	}
	if !e.primed {
		e.pace, e.primed = e.Prior.Seconds(), true
	}
	least, any := int64(0), false
	for i := range replicas {
		if a := e.before(i); replicas[i].Ready && (!any || a < least) {
			least, any = a, true
		}
	}
	wait := e.pace * float64(least+int64(r.Prompt))
	if any && wait > e.Slack*deadline.Sub(r.Arrived).Seconds() {
		return Verdict{Reject: "its first token would come too late"}
	}
	return Verdict{}
}

// before returns the prompt tokens that a replica has yet to compute.
func (e *Early) before(replica int) int64 {
	if replica < len(e.ahead) {
		return e.ahead[replica]
	}
	return 0
}

// Routed implements [Watcher].
func (e *Early) Routed(_ sim.Time, r *workloads.Request, replica int) {
	for replica >= len(e.ahead) {
		e.ahead = append(e.ahead, 0)
	}
	if e.owed == nil {
		e.owed = map[int64]int64{}
	}
	e.ahead[replica] += int64(r.Prompt)
	e.owed[r.ID] = e.ahead[replica]
}

// Prefilled implements [Watcher].
func (e *Early) Prefilled(now sim.Time, r *workloads.Request, replica int, routed sim.Time) {
	owed, ok := e.owed[r.ID]
	if !ok {
		return
	}
	e.Lost(now, r, replica)
	seen := now.Sub(routed).Seconds() / float64(owed)
	if e.pace == 0 {
		e.pace = seen
	}
	e.pace += (seen - e.pace) / paceMemory
}

// Lost implements [Watcher].
func (e *Early) Lost(_ sim.Time, r *workloads.Request, replica int) {
	if _, ok := e.owed[r.ID]; ok {
		e.ahead[replica] -= int64(r.Prompt)
		delete(e.owed, r.ID)
	}
}

// Ended implements [Watcher].
func (e *Early) Ended(now sim.Time, r *workloads.Request, replica int, _ int32) {
	e.Lost(now, r, replica)
}

// Check returns an error unless the policy can decide.
func (e *Early) Check() error {
	switch {
	case e.Target < 0:
		return fmt.Errorf("admit_ttft is %v; want at least 0, which is for the deadlines of tiers alone", e.Target)
	case !(e.Slack >= 0.01 && e.Slack <= 1000):
		return fmt.Errorf("admit_slack is %v; want 0.01 to 1000 times the target", e.Slack)
	}
	return nil
}
