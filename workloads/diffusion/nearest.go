package diffusion

import (
	"fmt"
	"slices"
	"strings"
)

// Ladder is the settings that need less memory than a job's, the nearest first.
type Ladder struct {
	rungs []*rung
}

// tileSide is the side in pixels of the tiles that are tried: that at which the
// autoencoders of Stable Diffusion were trained, and what diffusers takes.
const tileSide = 512

// rung is a setting: a job, how it differs from the first one, and what it needs, which
// is found out when it is first asked for.
type rung struct {
	job  *Job
	what []string
	need *Footprint
	err  error
}

// Ladder returns what to fall back on where a job does not run. Rungs that change no
// result, or hardly, come first and are kept by those after them: images decoded one at a
// time, features sliced (with the given rewrites, if any), a batch of one, images decoded
// in tiles. Then follow, each for itself, fewer frames and smaller sizes.
func (j *Job) Ladder(slicing ...Rewrite) *Ladder {
	l := &Ladder{}
	at := &rung{job: j}
	if j.Batch*max(j.Frames, 1) > 1 && j.DecodeAtOnce != 1 {
		at = l.add(at, "one image decoded at a time", func(k *Job) { k.DecodeAtOnce = 1 })
	}
	if len(slicing) > 0 {
		at = l.add(at, "features sliced", func(k *Job) { k.Method.Rewrites = slices.Concat(k.Method.Rewrites, slicing) })
	}
	whole := at
	for n := j.Batch / 2; n >= 1; n /= 2 {
		at = l.add(whole, fmt.Sprintf("a batch of %d", n), func(k *Job) { k.Batch = n })
	}
	if j.Tile == 0 && max(j.Width, j.Height) > tileSide {
		at = l.add(at, fmt.Sprintf("images decoded in tiles of %d pixels", tileSide), func(k *Job) { k.Tile = tileSide })
	}
	for _, n := range j.fewerFrames() {
		l.add(at, fmt.Sprintf("%d frames", n), func(k *Job) { k.Frames = n })
	}
	pixels := j.Width * j.Height
	for eighths := 7; eighths >= 2; eighths-- {
		w, h := nearest(j.Width*eighths/8, j.Pipeline.Multiple), nearest(j.Height*eighths/8, j.Pipeline.Multiple)
		if w*h < pixels {
			pixels = w * h
			l.add(at, fmt.Sprintf("%dx%d pixels", w, h), func(k *Job) { k.Width, k.Height = w, h })
		}
	}
	return l
}

// add adds a rung that changes from in one thing, and returns it; or from, if there is no such job.
func (l *Ladder) add(from *rung, what string, change func(*Job)) *rung {
	job := *from.job
	change(&job)
	if job.Validate() != nil {
		return from
	}
	r := &rung{job: &job, what: append(slices.Clone(from.what), what)}
	l.rungs = append(l.rungs, r)
	return r
}

// fewerFrames returns numbers of frames that the pipeline takes, in falling order, each
// about three quarters of the one before it.
func (j *Job) fewerFrames() []int {
	var fewer []int
	unit := max(j.Pipeline.FrameStep, 1)
	for n := j.Frames; n > 1; {
		n = max(1, min(n-unit, 1+(n*3/4-1)/unit*unit))
		fewer = append(fewer, n)
	}
	return fewer
}

// Nearest returns, in words, the first rung that runs on a card with memory bytes, of which
// outside lie beside the allocator; "" if none does.
func (l *Ladder) Nearest(memory, outside int64) string {
	for _, r := range l.rungs {
		if r.runs(memory - outside) {
			return strings.Join(r.what, ", ")
		}
	}
	return ""
}

// runs says whether a rung completes with capacity bytes for the allocator.
func (r *rung) runs(capacity int64) bool {
	if r.need == nil && r.err == nil {
		r.need, r.err = r.job.Footprint()
	}
	if r.err != nil || capacity <= 0 {
		return false
	}
	_, err := r.need.Follow(MemoryOptions{Capacity: capacity})
	return err == nil
}
