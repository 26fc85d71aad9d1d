package jobs

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"orrery/policies/share"
	"orrery/sim"
)

// Job is what arrives.
type Job struct {
	ID       int64
	Name     string // of its kind
	Arrived  sim.Time
	Weight   float64  // of its owner, 0 counts as 1
	Deadline sim.Time // 0 for none
	Budget   float64  // device-hours, 0 for no limit
	Widths   []int    // devices it can run on, increasing
	// Speed is the progress a second by type and index of Widths, 0 where it does not fit;
	// Samples the same before what larger batches lose, nil where they lose nothing.
	Speed, Samples [][]float64
	Work           float64       // units to do
	Secret         bool          // policies are not told how much that is
	Spread         float64       // share of its speed where a gang that would fit into a node is spread over several, 0 counts as 1
	Restart        time.Duration // what starting costs, and every change of devices
	// Checkpoint is how often progress is kept, in running time, and CheckpointCost how long that
	// takes. Without one a failure loses all; leaving devices on request keeps everything.
	Checkpoint, CheckpointCost time.Duration
	Kind                       int // for what is known of jobs side by side
}

// Source gives jobs in order of arrival.
type Source interface {
	Next() (Job, bool)
}

// Config is everything that decides a run.
type Config struct {
	Types  []share.Type
	Source Source
	Policy share.Policy
	Round  time.Duration // the policy is asked at least so often while there are jobs; 0: when something happens
	// Together returns the shares of their speeds that jobs of two kinds keep on the same
	// devices; nil if none share.
	Together func(kindA, kindB, typ int) (float64, float64)
	// Failing is the mean time between failures of one device, 0 for none; Repair how long one is away.
	Failing, Repair time.Duration
	Changes         []Change // of what there is for jobs, in order
	Until           sim.Time // cut the run at this time, 0 for when all jobs have ended
	Seed            uint64
	Record          func(Record)
	Progress        func(now sim.Time, arrived, ended int64)
}

// Change says how many devices of a type there are for jobs from a moment on; the others
// are somebody else's.
type Change struct {
	At      sim.Time
	Type    int
	Devices int
}

// What says what a [Record] is about.
type What uint8

// The kinds of record.
const (
	Arrived  What = iota
	Refused       // no device can ever hold the gang
	Started       // the job has Width devices of Type from At on; it runs after its restart
	Stopped       // it has lost them; Lost units of work were in no checkpoint
	Failed        // a device of it has failed; it is stopped at the same instant
	Finished      // its work is done
	Open          // the run ended while it was under way
)

var whatNames = [...]string{"arrived", "refused", "started", "stopped", "failed", "finished", "open"}

// String returns the kind's name as it stands in logs.
func (w What) String() string { return whatNames[w] }

// Record is an entry of the log.
type Record struct {
	At          sim.Time
	What        What
	Job         int64
	Type, Width int
	With        int64 // ID of the job it shares its devices with, -1 for none
	Nodes       int   // that the gang stands on
	Lost        float64
}

// Ended is what became of a job.
type Ended struct {
	Job                                       // as it arrived
	First                            sim.Time // first start, -1 for never
	End                              sim.Time // -1 for not
	Refused                          bool
	Done                             float64 // units of work
	Useful, Restarting, Saving, Lost float64 // device-seconds; of those it shared, half
	Starts, Failures                 int
	Cost                             float64
	Segments                         []Segment
}

// Segment is a stretch of work on the same devices.
type Segment struct {
	Type, Width int
	From, To    float64 // units of work
}

// JCT is the job's completion time, -1 if it has not ended.
func (e *Ended) JCT() time.Duration {
	if e.End < 0 {
		return -1
	}
	return e.End.Sub(e.Arrived)
}

// DeviceSeconds are all that the job had.
func (e *Ended) DeviceSeconds() float64 { return e.Useful + e.Restarting + e.Saving + e.Lost }

// Outcome is what became of a run.
type Outcome struct {
	Jobs        []Ended // in the order in which they ended, those under way behind
	Start, End  sim.Time
	Capacity    float64 // device-seconds that were there for jobs, failed devices left out
	Held        float64 // of those, held by jobs
	Asked       int64   // decisions of the policy
	Failures    int64   // of devices
	Partial     bool
	ByType      []float64 // device-seconds held, by type
	Preemptions int64     // of running jobs by the policy
}

func (c *Config) check() error {
	if c.Policy == nil || c.Source == nil || len(c.Types) == 0 {
		return errors.New("jobs: want devices, a source of jobs and a policy")
	}
	for _, t := range c.Types {
		if t.Devices < 0 || t.Node < 0 || t.Devices > 1<<22 {
			return fmt.Errorf("type %s has %d devices, %d of a node; want none below 0", t.Name, t.Devices, t.Node)
		}
	}
	if c.Round < 0 || c.Failing < 0 || c.Repair < 0 {
		return errors.New("jobs: want no negative times")
	}
	return nil
}

// check refuses jobs that make no sense.
func (j *Job) check(types int) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("job %d (%s): %s", j.ID, j.Name, fmt.Sprintf(format, args...))
	}
	switch {
	case !(j.Work > 0 && j.Work <= math.MaxFloat64):
		return bad("has %g units of work; want more than 0", j.Work)
	case len(j.Widths) == 0 || !slices.IsSorted(j.Widths) || j.Widths[0] < 1:
		return bad("runs on %v devices; want numbers of 1 or more, increasing", j.Widths)
	case len(j.Speed) != types || j.Samples != nil && len(j.Samples) != types:
		return bad("has speeds on %d types of device; want %d", len(j.Speed), types)
	case j.Budget < 0 || j.Weight < 0 || j.Deadline < 0:
		return bad("has a budget of %g, a weight of %g and a deadline of %v; want none below 0", j.Budget, j.Weight, j.Deadline)
	case j.Restart < 0 || j.Checkpoint < 0 || j.CheckpointCost < 0:
		return bad("has a negative time; want 0 or more")
	case j.Checkpoint == 0 && j.CheckpointCost > 0:
		return bad("says what a checkpoint costs and not how often one is taken; want both")
	case !(j.Spread >= 0 && j.Spread <= 1):
		return bad("keeps %g of its speed when spread; want a share", j.Spread)
	}
	for _, row := range j.Speed {
		if len(row) != len(j.Widths) {
			return bad("has %d speeds for %d widths", len(row), len(j.Widths))
		}
		for _, s := range row {
			if !(s >= 0 && s <= math.MaxFloat64) {
				return bad("has a speed of %g; want 0 or more", s)
			}
		}
	}
	return nil
}
