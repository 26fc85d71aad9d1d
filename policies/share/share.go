// Package share decides how training jobs share the devices of a cluster: which of them
// run, on how many devices of which type, and which two on the same ones. [Policy] is the
// one interface; a policy sees a [View] and writes its wishes into a [Plan], which keeps
// the sums, so that none can hand out what is not there.
package share

import "orrery/sim"

// Type is one kind of device.
type Type struct {
	Name    string
	Devices int     // in service and not taken by what goes before jobs
	Node    int     // devices of one node
	Price   float64 // of one device for an hour
}

// Hold is what a job has or is given: Width devices of a type. Width 0 is nothing.
type Hold struct {
	Type, Width int
	With        int // index in View.Jobs of the job it shares them with, -1 for none
}

// Job is what a policy may know of a job that has arrived and not ended.
type Job struct {
	ID       int64
	Arrived  sim.Time
	Weight   float64  // of its owner, above 0
	Deadline sim.Time // 0 for none
	Budget   float64  // device-hours it may cost, 0 for no limit
	Widths   []int    // devices it can run on, increasing; one for a rigid gang
	// Speed is the progress a second, in units of the job's work, by type and index of
	// Widths, 0 where it does not fit; what larger batches lose in progress a sample is
	// taken off already. Samples is the same without that loss.
	Speed, Samples [][]float64
	Held           Hold
	Attained       float64 // device-seconds so far
	Spent          float64 // price of those
	Done           float64 // units of work so far
	// Total is the work in all, as its owner declared it; 0 if that is not known.
	Total   float64
	Restart float64 // seconds that starting anew or changing the width costs
}

// View is the cluster as a policy sees it.
type View struct {
	Now   sim.Time
	Types []Type
	Jobs  []Job // in order of arrival
	// Together returns the share of its speed alone that each of two jobs keeps on the same
	// devices of a type, 0 and 0 if they do not fit together; nil if nothing is known.
	Together func(a, b, typ int) (float64, float64)
}

// Policy shares the devices out. What it does not give a job, the job loses.
type Policy interface{ Share(v *View, p *Plan) }
