// Package denoise decides what a device of a pool of step-wise models does next:
// which waiting images (or clips) it starts, with which alternative of their class,
// and whether the batch runs to its end in one go or step by step.
//
// A [Policy] is shown a [Plan] and fills it. The plan does the sums, so no policy can
// overrun a device's memory or mix images that cannot share a step. The number of
// steps is part of what a client asks for, so estimates here are no oracle; when
// requests will arrive is never shown.
//
// Read [Policy] and [Plan] first, then [Continuous], the shortest complete example.
package denoise

import (
	"time"

	"orrery/sim"
)

// Policy decides for all devices of one pool. One value serves one pool of one run.
type Policy interface {
	// MaxBatch returns the largest number of images that share a step.
	MaxBatch() int
	// Gather is told of every arrival (the newest is last in the queue) and of every
	// wake-up it asked for. It may set the Batch of waiting jobs. It returns when it
	// wants to be woken, [sim.Forever] for not before the next arrival.
	Gather(now sim.Time, queue []Job) sim.Time
	// Plan decides what a free device does. It is called whenever a device can begin
	// something, empty devices first. Images that run there go on by another step
	// unless the plan says otherwise; a plan that starts nothing on an empty device
	// lets it wait.
	Plan(p Plan)
}

// Escalator is a [Policy] that may send an image through another alternative once the
// first has ended, as a cascade does.
type Escalator interface {
	// Escalate returns the alternative with which the job goes back to the end of the
	// queue, or false for an image that is good enough.
	Escalate(j *Job) (rung int32, again bool)
}

// Job is what a policy may know of an image (or clip) to be made.
type Job struct {
	ID      int64
	Arrived sim.Time
	// Deadline is when the class wants it done, [sim.Forever] if it names none.
	Deadline sim.Time
	Class    int32
	// Group is that of its class's first alternative: jobs of one group can share a step.
	Group int32
	// Rung is the alternative that it runs or must run; waiting jobs that have not been
	// through one have NoRung and leave the choice to the policy.
	Rung  int32
	Steps int32 // steps of the alternative, 0 as long as none is chosen
	Done  int32 // of those, done
	Batch int64 // the policy's own mark, 0 at first
}

// NoRung is the rung of a job for which the policy has yet to choose.
const NoRung int32 = -1

// Plan is a decision in the making for one free device.
type Plan interface {
	Now() sim.Time
	// Queue returns the waiting jobs in the order in which they came. Indices stay
	// valid while the plan is made.
	Queue() []Job
	// Running returns the jobs that are under way on the device.
	Running() []Job
	// Rungs returns the number of alternatives of a class, best quality first.
	Rungs(class int32) int
	// Estimate returns how long a batch of n jobs like this takes from its first
	// encoding to the decoded image if it runs alone.
	Estimate(class, rung int32, n int) time.Duration
	// Start starts waiting job i with the given alternative, unless the job must run
	// another. It returns false, and does nothing, where memory or the batch limit does
	// not allow it, where the job has started already, or where what is in the batch
	// belongs to another group.
	Start(i int, rung int32) bool
	// Whole runs the batch to its end in one go: nothing joins or leaves. Its images
	// must have begun together, with one alternative of one class.
	Whole()
}

// passive is embedded by policies that gather nothing.
type passive struct{}

// Gather implements [Policy].
func (passive) Gather(sim.Time, []Job) sim.Time { return sim.Forever }
