package cmd

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"orrery/plan"
	"orrery/plan/sweep"
	"orrery/scenarios"
)

// planRuns carries out the runs of a plan as cells of a sweep: a run whose result is in the
// store is answered from there, others are run by an engine, here or on workers.
type planRuns struct {
	store  sweep.Store
	engine func(ctx context.Context, wave string) (sweep.Engine, error)
	id     string // of the plan
	waves  int
}

// newPlanRuns returns what carries out the runs of a plan. Without a folder nothing is kept
// beyond the plan.
func (a *app) newPlanRuns(ctx context.Context, f *planFlags, id string) (*planRuns, error) {
	p := &planRuns{id: id}
	if f.runs == "" {
		if f.temporal != "" || f.engine != engineLocal {
			return nil, inputErrorf("--temporal and --engine need a folder that keeps the runs; want --runs DIR as well")
		}
		kept := &memoryStore{}
		p.store = kept
		p.engine = func(context.Context, string) (sweep.Engine, error) { return &sweep.Local{Store: kept}, nil }
		return p, nil
	}
	if f.temporal != "" {
		f.engine = engineAuto // that server, rather than this process
	}
	dir := &sweep.Dir{Path: f.runs, Note: func(line string) { a.note("%s", line) }}
	p.store = dir
	p.engine = func(ctx context.Context, wave string) (sweep.Engine, error) {
		return a.sweepEngine(ctx, &f.engineFlags, wave, dir, 0)
	}
	_, err := p.engine(ctx, id) // refuses what the flags cannot mean
	return p, err
}

// run runs a scenario with seeds and returns the results in their order.
func (p *planRuns) run(ctx context.Context, s *scenarios.Scenario, seeds []uint64) ([]sweep.Result, error) {
	results, text := make([]sweep.Result, len(seeds)), s.Resolved()
	var todo []sweep.Cell
	for i, seed := range seeds {
		key, err := sweep.Key(s, seed)
		if err != nil {
			return nil, err
		}
		kept, ok, err := p.store.Get(key)
		if err != nil {
			return nil, err
		}
		if ok && kept.Error == "" {
			results[i] = kept
			continue
		}
		todo = append(todo, sweep.Cell{Key: key, Index: i, Seed: seed, Scenario: text})
	}
	if len(todo) > 0 {
		p.waves++
		engine, err := p.engine(ctx, fmt.Sprintf("%s-%d-%s", p.id, p.waves, todo[0].Key[:16]))
		if err != nil {
			return nil, err
		}
		if err := engine.Run(ctx, todo, func(r sweep.Row) { results[r.Index] = r.Result }); err != nil {
			return nil, err
		}
	}
	for i := range results {
		if results[i].Error != "" {
			return nil, fmt.Errorf("a run with seed %d: %s", seeds[i], results[i].Error)
		}
	}
	return results, ctx.Err()
}

// fleetRun reads what a plan needs to know of a run.
func fleetRun(r sweep.Result) plan.FleetRun {
	figure := func(name string) float64 {
		i := slices.IndexFunc(sweep.Columns(), func(f sweep.Figure) bool { return f.Name == name })
		return float64(r.Figures[i])
	}
	return plan.FleetRun{
		Met: figure("met") == 1 && figure("growing") == 0, Good: figure("good_share"), LatencyS: figure("ttft_p99_s"),
		Busy: figure("busy_share"), Binds: r.Tightest,
	}
}

// memoryStore keeps results as long as the program runs.
type memoryStore struct {
	mu      sync.Mutex
	results map[string]sweep.Result
}

// Get implements [sweep.Store].
func (m *memoryStore) Get(key string) (sweep.Result, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.results[key]
	return r, ok, nil
}

// Put implements [sweep.Store].
func (m *memoryStore) Put(key string, r sweep.Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.results == nil {
		m.results = map[string]sweep.Result{}
	}
	m.results[key] = r
	return nil
}
