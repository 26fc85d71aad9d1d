package denoise

import (
	"time"

	"orrery/sim"
)

// FIFO gives a free device the oldest waiting image and up to MaxBatch-1 others of
// the same class, and runs them to the end. It waits for nobody.
type FIFO struct {
	passive
	Batch int `toml:"max_batch"`
}

// MaxBatch implements [Policy].
func (f *FIFO) MaxBatch() int { return f.Batch }

// Plan implements [Policy].
func (f *FIFO) Plan(p Plan) {
	if startAlike(p, 0) > 0 {
		p.Whole()
	}
}

// startAlike starts the oldest job with the given alternative, and all of its class
// that must or may run the same, as many as fit. It returns how many.
func startAlike(p Plan, rung int32) int {
	q := p.Queue()
	if len(q) == 0 {
		return 0
	}
	head := q[0]
	if head.Rung != NoRung {
		rung = head.Rung
	}
	if !p.Start(0, rung) {
		return 0
	}
	n := 1
	for i := 1; i < len(q); i++ {
		if q[i].Class != head.Class || q[i].Rung != head.Rung {
			continue
		}
		if !p.Start(i, rung) {
			break
		}
		n++
	}
	return n
}

// BatchTimeout is the batcher of NVIDIA's MLPerf harness: one for the pool, before
// all devices. It emits a batch as soon as Batch images wait, or when Timeout has
// passed since it last emitted one and any wait. Batches go into one queue; a free
// device takes the oldest and runs it to the end, however small it is. Images of
// different classes do not share a batch.
type BatchTimeout struct {
	Batch   int           `toml:"max_batch"`
	Timeout time.Duration `toml:"timeout"`

	emitted int64    // batches so far
	sealed  []sealed // emitted and not yet taken, oldest first
	open    []open   // by class, in the order in which classes first came
	seen    int64    // jobs up to this ID have been counted
}

type sealed struct {
	number int64
	n      int
}

// open is what waits of one class for its batch to be emitted.
type open struct {
	class int32
	n     int
	since sim.Time // the latest emission, or zero
}

// MaxBatch implements [Policy].
func (b *BatchTimeout) MaxBatch() int { return b.Batch }

// Gather implements [Policy].
func (b *BatchTimeout) Gather(now sim.Time, queue []Job) sim.Time {
	fresh := len(queue)
	for fresh > 0 && queue[fresh-1].ID >= b.seen {
		fresh--
	}
	for i := fresh; i < len(queue); i++ {
		b.seen = queue[i].ID + 1
		o := b.of(queue[i].Class)
		o.n++
		if o.n == b.Batch {
			b.emit(now, o, queue[:i+1])
		}
	}
	wake := sim.Forever
	for i := range b.open {
		o := &b.open[i]
		if o.n == 0 {
			continue
		}
		due := o.since.Add(b.Timeout)
		if due <= now {
			b.emit(now, o, queue)
			continue
		}
		wake = min(wake, due)
	}
	return wake
}

func (b *BatchTimeout) of(class int32) *open {
	for i := range b.open {
		if b.open[i].class == class {
			return &b.open[i]
		}
	}
	b.open = append(b.open, open{class: class})
	return &b.open[len(b.open)-1]
}

// emit marks the jobs that wait for o, which are the youngest of its class.
func (b *BatchTimeout) emit(now sim.Time, o *open, queue []Job) {
	b.emitted++
	b.sealed = append(b.sealed, sealed{b.emitted, o.n})
	for i := len(queue) - 1; i >= 0 && o.n > 0; i-- {
		if queue[i].Class == o.class && queue[i].Batch == 0 {
			queue[i].Batch = b.emitted
			o.n--
		}
	}
	o.since = now
}

// Plan implements [Policy].
func (b *BatchTimeout) Plan(p Plan) {
	if len(b.sealed) == 0 || len(p.Running()) > 0 {
		return
	}
	s := &b.sealed[0]
	n := 0
	q := p.Queue()
	for i := 0; i < len(q) && n < s.n; i++ {
		if q[i].Batch != s.number {
			continue
		}
		if !p.Start(i, 0) {
			break // memory takes in a part of the batch; the rest goes next
		}
		n++
	}
	if n == 0 {
		return
	}
	p.Whole()
	if s.n -= n; s.n == 0 {
		b.sealed = b.sealed[1:]
	}
}
