package cluster

import (
	"time"

	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/sim"
	"orrery/workloads"
)

// What says what a [Record] is about.
type What uint8

// The kinds of record, in the order in which one request meets them.
const (
	Arrived    What = iota // Request reached the gateway
	Rejected               // Request was refused for good; Reason says why
	Routed                 // Request joined the queue of Replica
	Scheduled              // tokens of Request run for the first time, in the iteration that starts at At
	Emitted                // N tokens appeared on Replica at At, each Gap after its request's previous one
	FirstToken             // Request's first token appeared
	Preempted              // Request lost N tokens of KV cache, or they were swapped out (Swap)
	Finished               // Request's last token appeared
	Unfinished             // the run ended while Request was under way; At is the end
	Iterated               // an iteration ended at At; Iteration describes it
	Lost                   // Request lost Replica and the N tokens that were computed there; it goes back to the gateway, or fails
	Failed                 // Request ended without success; Reason says why
	Moved                  // Replica is in State from At on; N is 1000 times how long everything takes, if it is slow or has just been
	Sent                   // the KV cache of Request, N bytes, begins to leave Replica for another
	Received               // it has arrived on Replica, which goes on with Request
	Loaded                 // LoRA adapter N is in Replica's memory, after Gap on the host link
	numWhat
)

var whatNames = [numWhat]string{"arrived", "rejected", "routed", "scheduled", "emitted", "first-token", "preempted", "finished", "unfinished", "iterated",
	"lost", "failed", "moved", "sent", "received", "loaded"}

// String returns the kind's name as it stands in logs.
func (w What) String() string { return whatNames[w] }

// Record is one entry of the log. Fields that its kind does not name are zero.
// Request and Iteration point into the replica and are valid only during the
// call of [Recorder.Record]; copy what must be kept.
//
// Records of one replica come in order of time but for Arrived, Routed and Rejected:
// a stretch of like iterations is logged when it has ended, after the arrival that
// may have cut it short. For the same reason replicas are not interleaved exactly.
type Record struct {
	What      What
	Swap      bool // of Preempted: to host memory rather than dropped
	State     State
	Replica   int32
	At        sim.Time
	N         int64
	Gap       time.Duration
	Reason    string
	Request   *Served
	Iteration *Iteration
}

// Recorder watches a run. It must not change what it is shown.
type Recorder interface{ Record(r *Record) }

// Never is the time of something that has not happened.
const Never sim.Time = -1

// Served is a request and what has become of it so far.
type Served struct {
	workloads.Request
	Replica     int32
	Routed      sim.Time // when it came to Replica
	Scheduled   sim.Time // start of its first iteration, on whatever replica, or Never
	First       sim.Time // first token (or end of prefill, see Config.FirstToken), or Never
	Last        sim.Time // latest token, or Never
	Emitted     int32    // tokens emitted
	Cached      int32    // prompt tokens found in the prefix cache instead of being computed
	Loaded      int32    // tokens whose KV blocks the prefix cache had to bring back from host memory
	Recomputed  int32    // tokens computed again after pre-emptions
	Preemptions int32
	LateGaps    int32 // gaps between tokens longer than Config.LateGap
	Retries     int32 // replicas lost
	lost        int32 // tokens that were computed on the last of them
	// Rung is the alternative of its class that a request of a pool runs. Output is then
	// what that takes, together with alternatives it has been through.
	Rung int32

	key  batch.Key // its place in the order of the gateway
	work int64     // predicted tokens still to do, as its replica's view counts them
}

// Span is a stretch of time on one pipeline stage.
type Span struct{ Start, End sim.Time }

// Iteration is one forward pass of a replica: one micro-batch through all its
// pipeline stages.
type Iteration struct {
	Number  int64         // of the replica, from 0
	Start   sim.Time      // when the policy decided; host work begins
	End     sim.Time      // when its tokens appeared
	Host    time.Duration // host time
	Batch   hwmodel.Batch
	Stages  []Span // device time by pipeline stage
	Running int32  // sequences admitted and not finished, after the decision
	Waiting int32  // sequences in the queue, after the decision
	KVUsed  int64  // KV blocks held, after the decision; of a pool's device, bytes
	// Steps is the number of denoising steps in a row that the Decodes images of a pool's
	// device went; 0 for replicas.
	Steps int32
}
