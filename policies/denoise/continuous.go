package denoise

import (
	"math/rand/v2"
	"slices"
)

// Continuous batches step by step: images join between two steps, as many as memory
// and the batch limit allow, each goes its own steps, and leaves with its last. The
// oldest go first, and those behind one that cannot join wait with it: none is starved.
type Continuous struct {
	passive
	Batch int `toml:"max_batch"`
}

// MaxBatch implements [Policy].
func (c *Continuous) MaxBatch() int { return c.Batch }

// Plan implements [Policy].
func (c *Continuous) Plan(p Plan) {
	for i := range p.Queue() {
		if !p.Start(i, 0) {
			return
		}
	}
}

// Shortest is [Continuous] with the shortest job first: that with the least work, by
// the estimate for it alone. Aging takes seconds off for every second waited; a job
// that has waited its work off, and cannot join what runs for want of memory or for
// being of another group, is not overtaken any more. So none is starved. 0 is the
// plain rule, which may starve long jobs.
type Shortest struct {
	passive
	Batch int     `toml:"max_batch"`
	Aging float64 `toml:"aging"`

	tried   []bool // scratch: by index in the queue
	refused []kind // scratch: what cannot join now
}

// kind is one alternative of a class.
type kind struct{ class, rung int32 }

// MaxBatch implements [Policy].
func (s *Shortest) MaxBatch() int { return s.Batch }

// Plan implements [Policy]. It looks through the queue once for each place that is
// free, and once for each kind of job that cannot join.
func (s *Shortest) Plan(p Plan) {
	q := p.Queue()
	s.tried = slices.Grow(s.tried[:0], len(q))[:len(q)]
	clear(s.tried)
	s.refused = s.refused[:0]
	for room := s.Batch - len(p.Running()); room > 0; {
		best, least := s.first(p, q)
		if best < 0 {
			return
		}
		s.tried[best] = true
		if p.Start(best, 0) {
			room--
			continue
		}
		if s.Aging > 0 && least <= 0 {
			return
		}
		s.refused = append(s.refused, kindOf(&q[best]))
	}
}

func kindOf(j *Job) kind { return kind{j.Class, max(j.Rung, 0)} }

// first returns the job that goes first of those that may join, and its work in seconds
// less what it has waited off; -1 if there is none.
func (s *Shortest) first(p Plan, q []Job) (best int, least float64) {
	best = -1
	for i := range q {
		k := kindOf(&q[i])
		if s.tried[i] || slices.Contains(s.refused, k) {
			continue
		}
		work := p.Estimate(k.class, k.rung, 1).Seconds()
		work -= float64(s.Aging * p.Now().Sub(q[i].Arrived).Seconds())
		if best < 0 || work < least {
			best, least = i, work
		}
	}
	return best, least
}

// Ladder keeps deadlines by quality: the oldest image gets the best alternative of
// its class that a batch started now would still finish in time, or the fastest if
// none would. The batch is filled with images of the same class and run to the end.
// Which rung was taken is in the log.
type Ladder struct {
	passive
	Batch int `toml:"max_batch"`
}

// MaxBatch implements [Policy].
func (l *Ladder) MaxBatch() int { return l.Batch }

// Plan implements [Policy].
func (l *Ladder) Plan(p Plan) {
	q := p.Queue()
	if len(q) == 0 || len(p.Running()) > 0 {
		return
	}
	head := &q[0]
	n := 0
	for i := 0; i < len(q) && n < l.Batch; i++ {
		if q[i].Class == head.Class && q[i].Rung == head.Rung {
			n++
		}
	}
	rung := int32(0)
	last := int32(p.Rungs(head.Class)) - 1
	for rung < last && p.Now().Add(p.Estimate(head.Class, rung, n)) > head.Deadline {
		rung++
	}
	if startAlike(p, rung) > 0 {
		p.Whole()
	}
}

// Cascade makes every image with the first alternative of its class, a cheap model,
// and sends the share of those that are judged not good enough through the second.
// The judge is a draw from a stream of its own: what it would say is not known here.
type Cascade struct {
	FIFO
	Share float64    `toml:"share"`
	Rand  *rand.Rand `toml:"-"`
}

// Escalate implements [Escalator].
func (c *Cascade) Escalate(j *Job) (int32, bool) {
	return 1, j.Rung == 0 && c.Rand.Float64() < c.Share
}

var (
	_ Policy    = (*FIFO)(nil)
	_ Policy    = (*BatchTimeout)(nil)
	_ Policy    = (*Continuous)(nil)
	_ Policy    = (*Shortest)(nil)
	_ Policy    = (*Ladder)(nil)
	_ Policy    = (*Cascade)(nil)
	_ Escalator = (*Cascade)(nil)
)
