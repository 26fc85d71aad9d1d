package validate

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"orrery/calibrate"
	"orrery/cluster"
	"orrery/hwmodel"
	"orrery/sim"
)

// ladder measures iterations of sequences of its own, which it draws so that every
// number of decodes, length of chunk and depth of context that the policies allow
// is met, in all mixes: not those of a run, but those that runs lie between.
type ladder struct {
	machine  Machine
	seed     uint64
	rng      *rand.Rand
	maxSeqs  int
	maxChunk int // tokens of prompts in an iteration
	maxLen   int

	slots   []rung
	freed   []int32
	next    int64 // request
	wanted  int   // sequences to hold at present
	left    int   // iterations until that changes
	samples []calibrate.IterationSample
	gauges  []gauge
}

// gauge is a stretch of samples that is measured over and over with the same
// iterations, to follow the speed of the machine.
type gauge struct{ from, to int }

// rung is a sequence of the ladder; the zero rung is empty.
type rung struct {
	request              int64
	context, prompt, end int32 // tokens in memory, of the prompt, and when it is dropped
}

// newLadder returns a ladder over what the subjects may do.
func newLadder(m Machine, subjects []Subject, seed uint64) (*ladder, error) {
	l := &ladder{machine: m, seed: seed, rng: sim.Stream(seed, "ladder")}
	for _, s := range subjects {
		t, err := s.Build(1, 1, seed)
		if err != nil {
			return nil, err
		}
		r := &t.Config.Replicas[0]
		limits := r.Policy.Limits(r.MaxLen)
		l.maxSeqs = max(l.maxSeqs, limits.MaxSeqs)
		l.maxLen = max(l.maxLen, r.MaxLen)
		l.maxChunk = max(l.maxChunk, limits.MaxTokens)
		// Sequences of the greatest length must fit.
		l.maxSeqs = min(l.maxSeqs, max(1, int(r.Blocks)*r.BlockTokens/r.MaxLen))
		n := len(t.Config.Replicas)
		if err := t.Close(); err != nil {
			return nil, err
		}
		if n != 1 {
			return nil, fmt.Errorf("validate: %s has %d replicas; want one", s.Name, n)
		}
	}
	l.maxChunk = min(l.maxChunk, 2*l.maxLen) // two prompts at once say what three do
	l.slots = make([]rung, l.maxSeqs)
	return l, nil
}

// measure runs iterations for a while, at most n if that is above 0. The machine holds
// nothing before.
func (l *ladder) measure(ctx context.Context, d time.Duration, n int) error {
	clear(l.slots)
	l.freed = l.freed[:0]
	l.left = 0
	for begun, i := time.Now(), 0; time.Since(begun) < d && (n == 0 || i < n); i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := l.draw()
		ran, err := l.run(ctx, s)
		if err != nil {
			return err
		}
		l.samples = append(l.samples, calibrate.IterationSample{Batch: s.Batch, Seconds: ran.End.Sub(ran.Begin).Seconds()})
	}
	return nil
}

// run runs an iteration on a goroutine of its own, as the cluster does: it may then find
// itself on another processor, with cold caches, which costs a processor some percent.
func (l *ladder) run(ctx context.Context, s *cluster.ExecStep) (ran cluster.Ran, err error) {
	done := make(chan struct{})
	go func() {
		ran, err = l.machine.Run(ctx, s)
		close(done)
	}()
	<-done
	return ran, err
}

// gauge measures the iterations of the first gauge again, which are those of about d.
func (l *ladder) gauge(ctx context.Context, d time.Duration) error {
	l.rng = sim.Stream(l.seed, "gauge")
	g := gauge{from: len(l.samples)}
	n := 0
	if len(l.gauges) > 0 {
		n = l.gauges[0].to - l.gauges[0].from
		d *= 4 // should the machine be slower now
	}
	err := l.measure(ctx, d, n)
	g.to = len(l.samples)
	l.gauges = append(l.gauges, g)
	return err
}

// slowness returns how long the iterations of a gauge took over what a cost model
// says of them. A stall counts for four times its price at most, as in the fit.
func (l *ladder) slowness(cost *hwmodel.Measured, k int) float64 {
	var took, said float64
	for _, s := range l.samples[l.gauges[k].from:l.gauges[k].to] {
		p := cost.Seconds(&s.Batch)
		said += p
		took += min(s.Seconds, 4*p)
	}
	if said == 0 {
		return 1
	}
	return took / said
}

// draw returns the next iteration.
func (l *ladder) draw() *cluster.ExecStep {
	for {
		if l.left--; l.left < 0 {
			l.left = 4 + l.rng.IntN(12)
			l.wanted = l.octaves(1, l.maxSeqs)
			l.shrink()
		}
		s := &cluster.ExecStep{Start: time.Now()}
		decodes := l.rng.IntN(4) > 0 // or chunks alone
		budget := 0
		if l.grow() || l.rng.IntN(2) == 0 {
			budget = l.octaves(1, l.maxChunk)
		}
		for i := range l.slots {
			budget -= l.step(s, i, budget, decodes)
		}
		if len(s.Parts) == 0 {
			continue
		}
		s.Freed, l.freed = l.freed, nil
		l.drop()
		return s
	}
}

// step adds what slot i computes in an iteration, and returns how many prompt tokens
// that takes.
func (l *ladder) step(s *cluster.ExecStep, i, budget int, decodes bool) int {
	q := &l.slots[i]
	left := q.prompt - q.context
	switch n := min(left, int32(budget)); {
	case q.request == 0:
	case left > 0 && n > 0:
		s.Batch.AddChunk(int(n), int64(q.context))
		l.add(s, i, n, n == left)
		return int(n)
	case left <= 0 && decodes:
		l.add(s, i, 1, true)
		s.Batch.Decodes++
		s.Batch.DecodeContext += int64(q.context)
	}
	return 0
}

// add makes slot i compute n tokens.
func (l *ladder) add(s *cluster.ExecStep, i int, n int32, sample bool) {
	q := &l.slots[i]
	s.Parts = append(s.Parts, cluster.ExecPart{
		Slot: int32(i), Request: q.request, Prompt: q.prompt, Before: q.context, Tokens: n, Sample: sample,
	})
	if sample {
		s.Batch.Logits++
	}
	q.context += n
}

// grow begins sequences until as many are held as wanted, and tells whether there were
// any to begin.
func (l *ladder) grow() (some bool) {
	held := 0
	for i := range l.slots {
		if l.slots[i].request > 0 {
			held++
		}
	}
	for i := range l.slots {
		if q := &l.slots[i]; held < l.wanted && q.request == 0 {
			l.next++
			prompt := int32(l.octaves(1, l.maxLen-1))
			*q = rung{request: l.next, prompt: prompt, end: min(prompt+int32(l.octaves(4, l.maxLen)), int32(l.maxLen))}
			held++
			some = true
		}
	}
	return some
}

// drop ends sequences that have run long enough. Their memory is given back by the
// iteration after the one being drawn.
func (l *ladder) drop() {
	for i := range l.slots {
		if q := &l.slots[i]; q.request > 0 && q.context >= q.end {
			*q = rung{}
			l.freed = append(l.freed, int32(i))
		}
	}
}

// shrink ends the sequences beyond those wanted.
func (l *ladder) shrink() {
	held := 0
	for i := range l.slots {
		q := &l.slots[i]
		if q.request == 0 {
			continue
		}
		if held++; held > l.wanted {
			if q.context > 0 {
				l.freed = append(l.freed, int32(i))
			}
			*q = rung{}
		}
	}
}

// octaves draws from low to high such that every octave is met as often.
func (l *ladder) octaves(low, high int) int {
	if high <= low {
		return low
	}
	x := float64(low) * math.Pow(float64(high+1)/float64(low), l.rng.Float64())
	return min(int(x), high)
}
