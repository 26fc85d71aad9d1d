// Package control decides which plan of a control loop a device works on first. [Policy]
// is the one interface; [EDF], [RateMonotonic] and [FIFO] are the classics of real-time
// scheduling (Liu and Layland, 1973).
package control

import (
	"time"

	"orrery/sim"
)

// Job is what a policy may know of a plan that has been asked for and is not ready.
type Job struct {
	Loop, Robot int32
	Released    sim.Time // when it was asked for
	Deadline    sim.Time
	Period      time.Duration // of its loop
}

// Policy orders jobs.
type Policy interface {
	// Before tells whether a goes before b. Where neither goes before the other, the one that
	// was released first does, and of those the one of the first loop and robot.
	Before(a, b *Job) bool
	// Preempts tells whether a job that goes before the running one takes its place, at the
	// end of the kernel, or waits for its end.
	Preempts() bool
}

// EDF runs what is due first. On one device no policy meets deadlines that it misses.
type EDF struct{}

// Before implements [Policy].
func (EDF) Before(a, b *Job) bool { return a.Deadline < b.Deadline }

// Preempts implements [Policy].
func (EDF) Preempts() bool { return true }

// RateMonotonic runs the loop with the shortest period first.
type RateMonotonic struct{}

// Before implements [Policy].
func (RateMonotonic) Before(a, b *Job) bool { return a.Period < b.Period }

// Preempts implements [Policy].
func (RateMonotonic) Preempts() bool { return true }

// FIFO runs what was asked for first, to its end.
type FIFO struct{}

// Before implements [Policy].
func (FIFO) Before(a, b *Job) bool { return false }

// Preempts implements [Policy].
func (FIFO) Preempts() bool { return false }
