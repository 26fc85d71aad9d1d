package jobs

import (
	"math"
	"time"

	"orrery/sim"
)

// begin sets a new pace: progress at a rate from a moment on.
func (j *job) begin(now, from sim.Time, rate float64) {
	j.update(now)
	j.from, j.base, j.rate = from, j.Done, rate
	if from > now || j.kept > j.Done {
		// A restart comes out of a checkpoint.
		j.kept, j.unsaved = j.Done, 0
	}
	j.segment = j.newSegment()
}

// newSegment ends the stretch of work if there is any, and returns where the next begins.
func (j *job) newSegment() float64 {
	if j.Done > j.segment && j.hold.Width > 0 {
		if n := len(j.Segments); n > 0 && j.Segments[n-1].To == j.segment && j.Segments[n-1].Type == j.hold.Type && j.Segments[n-1].Width == j.hold.Width {
			j.Segments[n-1].To = j.Done
		} else {
			j.Segments = append(j.Segments, Segment{j.hold.Type, j.hold.Width, j.segment, j.Done})
		}
	}
	return j.Done
}

// cycle is a stretch of running and the checkpoint behind it.
func (j *job) cycle() time.Duration { return j.Checkpoint + j.CheckpointCost }

// progress returns the running time of the job from its present pace on until now, without
// checkpoints, and how much of it is in one.
func (j *job) progress(now sim.Time) (ran, inCheckpoint float64) {
	t := now.Sub(j.from)
	if t <= 0 {
		return 0, 0
	}
	if j.Checkpoint == 0 {
		return t.Seconds(), 0
	}
	cycles := t / j.cycle()
	rest := min(t-cycles*j.cycle(), j.Checkpoint)
	inCheckpoint = (cycles * j.Checkpoint).Seconds()
	return inCheckpoint + rest.Seconds(), inCheckpoint
}

// update brings the accounts up to now.
func (j *job) update(now sim.Time) {
	if j.hold.Width > 0 && now > j.updated {
		devices := float64(j.hold.Width) * j.share
		all := now.Sub(j.updated).Seconds()
		restart := max(min(j.from, now).Sub(j.updated).Seconds(), 0)
		ran, saved := j.progress(now)
		ranBefore, savedBefore := j.progress(j.updated)
		useful := devices * (ran - ranBefore)
		j.Restarting += devices * restart
		j.Useful += useful
		j.Saving += max(devices*(all-restart)-useful, 0)
		j.Cost += devices * all / 3600 * j.price
		j.Done = min(j.base+j.rate*ran, j.Work)
		if saved > savedBefore {
			j.kept = min(j.base+j.rate*saved, j.Work)
			j.unsaved = devices * (ran - saved)
		} else {
			j.unsaved += useful
		}
	}
	j.updated = now
}

// finishAt returns when the work is done at the present pace, -1 if never.
func (j *job) finishAt() sim.Time {
	if j.rate <= 0 {
		return -1
	}
	left := math.Ceil((j.Work - j.base) / j.rate * 1e9)
	if left < 0 {
		left = 0
	}
	if !(left < math.MaxInt64/4) {
		return -1
	}
	t := time.Duration(left)
	if j.Checkpoint > 0 && t > 0 {
		t += (t - 1) / j.Checkpoint * j.CheckpointCost
	}
	return j.from.Add(t)
}

// lose throws away what is in no checkpoint.
func (j *job) lose() {
	j.Lost += j.unsaved
	j.Useful -= j.unsaved
	j.unsaved = 0
	j.Done, j.base = j.kept, j.kept
	// Segments of work that is lost are no work.
	for n := len(j.Segments); n > 0 && j.Segments[n-1].To > j.kept; n = len(j.Segments) {
		if s := &j.Segments[n-1]; s.From < j.kept {
			s.To = j.kept
			break
		}
		j.Segments = j.Segments[:n-1]
	}
	j.segment = min(j.segment, j.kept)
}
