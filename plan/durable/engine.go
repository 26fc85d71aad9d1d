package durable

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"orrery/plan/sweep"
	"orrery/scenarios"
)

// Engine runs sweeps as workflows. It is a [sweep.Engine]. Exactly one of Server.Address and
// Daemon is set.
type Engine struct {
	ID      string     // of the sweep; equal sweeps of a folder are one workflow
	Results *sweep.Dir // which workers share
	Server  Server     // that is there already; workers are other processes
	Daemon  string     // program that serves, to start as a child; the worker is then this process
	Jobs    int        // runs at a time in this process, as many as there are cores if 0
	Pace    Pace
	Note    func(line string) // is told what the user should know; may be nil
}

// rounds is how often a workflow is started for cells that have no result though a workflow has
// ended: one that was running already may have been begun for others.
const rounds = 3

// Run implements [sweep.Engine]. When the context ends, a workflow on a server of its own waits for the
// next Run; on another's it goes on, and the next Run joins it.
func (e *Engine) Run(ctx context.Context, cells []sweep.Cell, sink func(sweep.Row)) error {
	if len(cells) == 0 {
		return ctx.Err()
	}
	if _, err := scenarios.ParseClosed("scenario.toml", cells[0].Scenario); err != nil {
		return fmt.Errorf("workers take scenarios that stand alone: %w", err)
	}
	queue, err := Place(e.Results.Path)
	if err != nil {
		return err
	}
	c, queue, stop, err := e.connect(ctx, queue)
	if err != nil {
		return err
	}
	defer stop()
	f := &follower{engine: e, client: c, queue: queue, sink: sink}
	for i := range cells {
		f.waiting = append(f.waiting, &cells[i])
	}
	for range rounds {
		if err := f.round(ctx); err != nil || len(f.waiting) == 0 {
			return err
		}
	}
	return fmt.Errorf("%d results are not in %s although the sweep ended; want workers that share this folder", len(f.waiting), e.Results.Path)
}

// connect returns a client of the server, the task queue to use, and what ends it all.
func (e *Engine) connect(ctx context.Context, queue string) (client.Client, string, func(), error) {
	server := e.Server
	stopServer := func() {}
	if e.Daemon != "" {
		// A queue for this sweep alone: sweeps that the user has left alone stay so, although
		// the server remembers them.
		queue += "-" + digest(e.ID)
		d, err := startDaemon(ctx, e.Daemon, e.Results.Path, e.note)
		if err != nil {
			return nil, "", nil, err
		}
		server, stopServer = Server{Address: d.address}, d.stop
	}
	c, err := server.dial(ctx)
	if err != nil {
		stopServer()
		return nil, "", nil, err
	}
	stopWork := func() {}
	if e.Daemon != "" {
		if _, stopWork, err = work(c, queue, e.Results, e.Jobs); err != nil {
			c.Close()
			stopServer()
			return nil, "", nil, err
		}
	}
	return c, queue, func() {
		stopWork()
		c.Close()
		stopServer()
	}, nil
}

func (e *Engine) note(format string, args ...any) {
	if e.Note != nil {
		e.Note(fmt.Sprintf(format, args...))
	}
}

// follower hands in results as they appear.
type follower struct {
	engine  *Engine
	client  client.Client
	queue   string
	sink    func(sweep.Row)
	waiting []*sweep.Cell // without a row, in the order of the plan
}

const (
	lookEvery = 500 * time.Millisecond
	// patience is how long nothing may be heard before the user is told.
	patience = 10 * time.Second
	// ahead is how many cells without a result are passed in looking for the next with one: about
	// those that workers have at a time. What is further away is found later.
	ahead = 2 * chunkCells
)

// round starts or joins the workflow and follows it to its end.
func (f *follower) round(ctx context.Context) error {
	run, err := f.start(ctx)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Get(ctx, nil) }() // waits for servers that are away
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	seen := silence{since: time.Now()}
	for {
		select {
		case err := <-ended:
			if ctx.Err() != nil {
				f.leave()
				return errors.Join(context.Cause(ctx), f.look(false))
			}
			if err != nil {
				return fmt.Errorf("the sweep ended early: %s", oneLine(err))
			}
			err = f.look(true)
			_ = os.RemoveAll(planFolder(f.engine.Results.Path, digest(f.engine.ID))) // of no use any more
			return err
		case <-tick.C:
			if err := f.watch(ctx, &seen); err != nil {
				return err
			}
		}
	}
}

// leave tells what becomes of a sweep that the user leaves.
func (f *follower) leave() {
	if address := f.engine.Server.Address; address != "" {
		f.engine.note("the sweep goes on at %s, and the same command joins it; `temporal workflow cancel --address %s --workflow-id %s` ends it", address, address, f.workflowID())
	}
}

// start starts the workflow, or joins the one that runs.
func (f *follower) start(ctx context.Context) (client.WorkflowRun, error) {
	id := digest(f.engine.ID)
	cells := make([]sweep.Cell, len(f.waiting))
	for i, c := range f.waiting {
		cells[i] = *c
	}
	hash, err := writePlan(f.engine.Results.Path, id, cells)
	if err != nil {
		return nil, err
	}
	run, err := f.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:        f.workflowID(),
		TaskQueue: f.queue,
		// A sweep that runs is joined. One that has ended is no obstacle: only what has no
		// result is run.
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
	}, "Sweep", Input{ID: id, Plan: hash, Cells: len(cells), Pace: f.engine.Pace})
	if err != nil {
		return nil, fmt.Errorf("the sweep cannot start: %s", oneLine(err))
	}
	return run, nil
}

// workflowID returns the name under which the server knows the sweep. The place is part of it: the same sweep
// into another folder, or by another build, is another.
func (f *follower) workflowID() string { return f.queue + "-" + digest(f.engine.ID) }

// silence is how long nothing was heard.
type silence struct {
	since time.Time
	done  int
	told  bool
}

// watch looks for new results if there are any, and tells the user of long silence.
func (f *follower) watch(ctx context.Context, s *silence) error {
	p, err := f.progress(ctx)
	switch {
	case err == nil && p.Done != s.done:
		*s = silence{since: time.Now(), done: p.Done}
		return f.look(false)
	case time.Since(s.since) < patience || s.told || ctx.Err() != nil:
	case err != nil && f.engine.Daemon == "" && !f.served(ctx):
		s.told = true
		f.engine.note("no worker has the work of this folder; start `orrery worker --temporal %s --results %s`, of this same build", f.engine.Server.Address, f.engine.Results.Path)
	case err != nil:
		s.told = true
		f.engine.note("the server does not answer (%s); waiting", oneLine(err))
	}
	return nil
}

// progress asks the workflow how far it is.
func (f *follower) progress(ctx context.Context) (p Progress, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	answer, err := f.client.QueryWorkflow(ctx, f.workflowID(), "", progressQuery)
	if err != nil {
		return p, err
	}
	return p, answer.Get(&p)
}

// served tells whether a worker looks for work here, or nobody can tell.
func (f *follower) served(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	q, err := f.client.DescribeTaskQueue(ctx, f.queue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
	return err != nil || len(q.GetPollers()) > 0
}

// look hands in the rows that are there. Errors that are found may be of an earlier attempt until
// the workflow has ended.
func (f *follower) look(ended bool) error {
	still := make([]*sweep.Cell, 0, len(f.waiting))
	for i, c := range f.waiting {
		if !ended && len(still) >= ahead {
			still = append(still, f.waiting[i:]...)
			break
		}
		r, ok, err := f.engine.Results.Get(c.Key)
		if err != nil {
			return err
		}
		if !ok || r.Error != "" && !ended {
			still = append(still, c)
			continue
		}
		f.sink(sweep.Row{Key: c.Key, Index: c.Index, Settings: c.Settings, Seed: c.Seed, Result: r})
	}
	f.waiting = still
	return nil
}

// ErrNoDaemon says that the program that serves is not installed.
var ErrNoDaemon = errors.New("orrery-sweepd is neither beside this program nor in PATH")
