package admit

import (
	"fmt"
	"math"

	"orrery/policies/route"
	"orrery/sim"
	"orrery/workloads"
)

// QueueCap refuses requests while Max of them are under way: at the gateway, in the queues
// of replicas and running there.
type QueueCap struct {
	Max int64

	inside int64
}

// Admit implements [Policy].
func (q *QueueCap) Admit(sim.Time, *Request, []route.Replica) Verdict {
	if q.inside >= q.Max {
		return Verdict{Reject: "too many requests are under way"}
	}
	q.inside++
	return Verdict{}
}

// Routed implements [Watcher].
func (q *QueueCap) Routed(sim.Time, *workloads.Request, int) {}

// Prefilled implements [Watcher].
func (q *QueueCap) Prefilled(sim.Time, *workloads.Request, int, sim.Time) {}

// Lost implements [Watcher].
func (q *QueueCap) Lost(sim.Time, *workloads.Request, int) {}

// Ended implements [Watcher].
func (q *QueueCap) Ended(sim.Time, *workloads.Request, int, int32) { q.inside-- }

// Check returns an error unless the policy can let anything in.
func (q *QueueCap) Check() error {
	if q.Max < 1 || q.Max > 1<<40 {
		return fmt.Errorf("admit_max is %d; want at least 1 request", q.Max)
	}
	return nil
}

// Shed refuses requests of low priority first as the load goes up: while Max requests are
// under way none is let in, and one of a priority k below Top only while there are fewer
// than Max x Share^k.
type Shed struct {
	QueueCap
	Share float64
	Top   int32 // the highest priority
}

// Admit implements [Policy].
func (s *Shed) Admit(now sim.Time, r *Request, replicas []route.Replica) Verdict {
	if float64(s.inside) >= float64(s.Max)*math.Pow(s.Share, float64(s.Top-r.Priority)) {
		return Verdict{Reject: "too many requests are under way for its priority"}
	}
	return s.QueueCap.Admit(now, r, replicas)
}

// Check returns an error unless the policy can let anything in.
func (s *Shed) Check() error {
	if !(s.Share > 0 && s.Share <= 1) {
		return fmt.Errorf("admit_share is %v; want a share above 0, up to 1", s.Share)
	}
	return s.QueueCap.Check()
}
