package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"orrery/hwmodel"
	"orrery/sim"
)

// This file is the other world: the same cluster on the wall clock, with iterations
// that really run.

// Executor runs iterations for real. What it is given is what a policy has decided;
// the policy cannot tell that there is an executor.
type Executor interface {
	// Run carries out one iteration and returns when its tokens are there. It is called
	// on a goroutine of its own, once at a time for each replica, and must return soon
	// after ctx ends. The step is the executor's until it returns. An error ends the
	// run.
	Run(ctx context.Context, s *ExecStep) (Ran, error)
}

// ExecStep is one iteration for an [Executor].
type ExecStep struct {
	Start time.Time     // when the policy was asked
	Batch hwmodel.Batch // the sums that a cost model would see
	// Freed are the slots whose sequences have ended or been pre-empted since the
	// iteration before. Their KV cache is to be given back before anything else; a
	// slot may be in Parts again, with another sequence or from its first token on.
	Freed []int32
	Parts []ExecPart // prompt chunks in the order of the plan, then decodes, oldest first
}

// ExecPart is what one sequence computes in an iteration.
type ExecPart struct {
	Slot    int32 // of the sequence on the replica; small numbers, used again
	Request int64 // its request's ID
	Prompt  int32 // tokens of the request's own prompt
	Before  int32 // tokens in the KV cache
	Tokens  int32 // tokens to compute behind them: a chunk, or 1 to decode
	Sample  bool  // whether the next token is wanted
}

// Ran is what an executor says of an iteration. The iteration itself lasts until the
// end of [Executor.Run].
type Ran struct {
	Host       time.Duration // the host's work, including that beside the devices'
	Begin, End time.Time     // of the devices' work
}

// worker is the executor of a replica, with what is in its hands.
type worker struct {
	executor Executor
	step     ExecStep
	freed    []int32 // since the step was given out
	ran      Ran     // of the latest step, valid when its promise has been kept
	err      error
}

// Live runs cfg on the wall clock, from now on. Replicas that have an executor run
// their iterations on it; others take the time that their cost model says. What
// Run says of errors holds here as well; an error of an executor ends the run.
func Live(ctx context.Context, cfg Config) (Outcome, error) {
	cfg.Step = true // what has not happened yet cannot be crossed in one jump
	if len(cfg.Pools) > 0 {
		return Outcome{}, errors.New("cluster: pools have no executors; want Run, not Live")
	}
	c, err := newCluster(cfg)
	if err != nil {
		return Outcome{}, err
	}
	defer context.AfterFunc(ctx, func() { c.stop.Store(true) })()
	inner, cancel := context.WithCancel(ctx)
	c.live = &liveRun{ctx: inner}
	c.initLife()
	c.scheduleArrival()
	c.engine.Live(ctx, c.until())
	cancel()
	c.live.running.Wait()
	c.halted = c.halted || ctx.Err() != nil
	return c.close(c.until())
}

// liveRun is what the executors of one run share.
type liveRun struct {
	ctx     context.Context
	running sync.WaitGroup
}

// check refuses what an executor cannot do.
func (w *worker) check(cfg *ReplicaConfig, stages int, swaps bool) error {
	switch {
	case stages > 1:
		return fmt.Errorf("an executor runs whole iterations, not %d pipeline stages; want 1", stages)
	case cfg.PrefixCache:
		return errors.New("an executor does not share prefixes; want a replica without prefix cache")
	case swaps:
		return errors.New("an executor does not swap; want a policy that recomputes")
	}
	return nil
}

// execute hands m to the executor.
func (r *replica) execute(m *microBatch) {
	w, c := r.worker, r.c
	m.steps = append(m.steps[:0], step{end: sim.Forever}) // nobody knows yet
	s := &w.step
	s.Start = c.engine.Wall(m.it.Start)
	s.Batch = m.it.Batch
	s.Freed, w.freed = w.freed, s.Freed[:0]
	s.Parts = r.parts(s.Parts[:0], m)
	end := c.engine.Promise(c.finish, uint32(r.index))
	c.live.running.Go(func() {
		w.ran, w.err = w.executor.Run(c.live.ctx, s)
		c.engine.Keep(end)
	})
}

// parts lists what the sequences of m compute.
func (r *replica) parts(list []ExecPart, m *microBatch) []ExecPart {
	for _, k := range m.chunks {
		s := &r.seqs[k.slot]
		list = append(list, ExecPart{
			Slot: k.slot, Request: s.ID, Prompt: s.out.Request.Prompt, Before: k.from, Tokens: k.upTo - k.from, Sample: k.last,
		})
	}
	if m.group == nil {
		return list
	}
	for slot := r.held.head; slot != none; slot = r.seqs[slot].next {
		s := &r.seqs[slot]
		if s.group != m.group {
			continue
		}
		// Members are synced when they leave; the token being planned is in the count.
		before := s.Computed + int32(m.group.count-s.joined) - 1
		list = append(list, ExecPart{Slot: slot, Request: s.ID, Prompt: s.out.Request.Prompt, Before: before, Tokens: 1, Sample: true})
	}
	return list
}

// ran notes what the executor did of the iteration in flight, which ends now. It
// reports false if that failed.
func (r *replica) ran(now sim.Time) bool {
	w, c := r.worker, r.c
	if w.err != nil {
		if c.live.ctx.Err() == nil {
			c.fault = fmt.Errorf("cluster: the executor of replica %d: %w", r.index, w.err)
		}
		c.halted = c.live.ctx.Err() != nil
		c.engine.Stop()
		return false
	}
	m := &r.flights[r.first]
	begin := min(max(c.engine.FromWall(w.ran.Begin), m.it.Start), now)
	done := min(max(c.engine.FromWall(w.ran.End), begin), now)
	m.steps[0] = step{end: now, host: max(w.ran.Host, 0), device: begin, done: done}
	r.stageFree[0] = now
	return true
}
