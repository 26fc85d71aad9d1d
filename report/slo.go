package report

import (
	"fmt"
	"time"

	"orrery/cluster"
)

// SLO is a service-level objective: upper bounds on latencies. A bound of zero is
// not stated.
//
// A request meets it if each stated bound holds for that request; for TBT, if at
// most the share 1-Quantile of its own gaps between tokens is late, as counted by
// [cluster.Served.LateGaps]. So [cluster.Config.LateGap] of the run must be TBT. A
// request that is rejected or unfinished does not meet it.
//
// A run meets it if the stated quantile of each stated metric is within its bound.
type SLO struct {
	TTFT, TBT, TPOT, E2E time.Duration
	// SchedulingDelayMedian bounds the median time from arrival to first being
	// scheduled, for the run only: the capacity rule of the Sarathi-Serve paper
	// (Agrawal et al., OSDI 2024, section 5.1) asks for 2 s.
	SchedulingDelayMedian time.Duration
	// Quantile is the share of samples that must be within bounds, 0.99 if zero.
	Quantile float64
	// IgnoreUnfinished judges the run by finished requests only, as the paper's
	// artefact does. Otherwise the waits of requests that were unfinished when the
	// run was cut count as if they had ended then, which is the best they can become.
	IgnoreUnfinished bool
}

// Stated tells whether s has any bound.
func (s SLO) Stated() bool {
	return s.perRequest() || s.SchedulingDelayMedian > 0
}

func (s SLO) perRequest() bool { return s.TTFT > 0 || s.TBT > 0 || s.TPOT > 0 || s.E2E > 0 }

func (s SLO) quantile() float64 {
	if s.Quantile == 0 {
		return 0.99
	}
	return s.Quantile
}

// Check returns an error if s makes no sense.
func (s SLO) Check() error {
	if q := s.quantile(); !(q > 0 && q < 1) {
		return fmt.Errorf("quantile %g of the SLO must lie between 0 and 1, such as 0.99", s.Quantile)
	}
	for _, b := range []struct {
		name  string
		bound time.Duration
	}{{"ttft", s.TTFT}, {"tbt", s.TBT}, {"tpot", s.TPOT}, {"e2e", s.E2E}, {"scheduling delay", s.SchedulingDelayMedian}} {
		if b.bound < 0 {
			return fmt.Errorf("%s bound %v of the SLO must be positive", b.name, b.bound)
		}
	}
	return nil
}

// Met tells whether a finished request met every stated bound.
func (s SLO) Met(r *cluster.Served) bool {
	gaps := gaps(r)
	switch {
	case s.TTFT > 0 && r.First.Sub(r.Arrived) > s.TTFT,
		s.E2E > 0 && r.Last.Sub(r.Arrived) > s.E2E,
		s.TPOT > 0 && gaps > 0 && int64(r.Last.Sub(r.First)) > int64(s.TPOT)*gaps:
		return false
	}
	// A hair of slack lets 1-0.99 of 100 gaps be one gap in floating point.
	return s.TBT == 0 || float64(r.LateGaps) <= (1-s.quantile())*float64(gaps)+1e-9
}

// gaps returns the number of gaps between tokens of r so far: one fewer than its
// tokens. (Under [cluster.WithDecode] the time from the end of the prefill to the
// first token is one more; it is left out there as well, since it is not measured.)
func gaps(r *cluster.Served) int64 { return max(int64(r.Emitted)-1, 0) }
