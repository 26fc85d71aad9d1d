package cmd

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"orrery/plan"
	"orrery/report"
	"orrery/scenarios"
)

// crash is a run that panicked, which it does when a law of the model is broken. It
// says how to repeat it.
type crash struct {
	scenario string
	seed     uint64
	cause    any
	stack    []byte
}

func (c *crash) Error() string {
	return fmt.Sprintf("a mistake in this program: %v\nrepeat it with the scenario below, seed %d, version %s\n--- stack\n%s--- scenario\n%s",
		c.cause, c.seed, scenarios.Version(), c.stack, c.scenario)
}

// guarded calls a run and turns a panic into an error, in whatever goroutine it is.
func guarded(s *scenarios.Scenario, seed uint64, run func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = &crash{string(s.Resolved()), seed, cause, debug.Stack()}
		}
	}()
	err = run()
	var broken *scenarios.BrokenLaw
	if errors.As(err, &broken) {
		err = &crash{string(s.Resolved()), seed, broken.Err, nil}
	}
	return err
}

// simulate carries a scenario out once.
func simulate(ctx context.Context, s *scenarios.Scenario, seed uint64, o scenarios.Options) (r *report.Result, err error) {
	err = guarded(s, seed, func() error {
		var err error
		r, _, err = scenarios.Run(ctx, s, seed, o)
		return err
	})
	return r, err
}

// measure is simulate for runs that are merged.
func measure(ctx context.Context, s *scenarios.Scenario, seed uint64, o scenarios.Options) (m *report.Metrics, err error) {
	err = guarded(s, seed, func() error {
		var err error
		m, _, err = scenarios.Measure(ctx, s, seed, o)
		return err
	})
	return m, err
}

// atRates is a scenario at any rate, each read once.
type atRates struct {
	base   *scenarios.Scenario
	slower float64 // factor on all prices, 0 counts as 1
	mu     sync.Mutex
	have   map[float64]*scenarios.Scenario
}

func newRates(s *scenarios.Scenario) *atRates {
	return &atRates{base: s, have: make(map[float64]*scenarios.Scenario)}
}

func (a *atRates) at(rate float64) (*scenarios.Scenario, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s, ok := a.have[rate]; ok {
		return s, nil
	}
	s, err := a.base.AtRate(rate)
	if err == nil {
		a.have[rate] = s
	}
	return s, err
}

// probe is the scenario as package plan asks it.
func (a *atRates) probe(ctx context.Context, rate float64, seed uint64) (plan.Observation, error) {
	s, err := a.at(rate)
	if err != nil {
		return plan.Observation{}, err
	}
	r, err := simulate(ctx, s, seed, scenarios.Options{Slower: a.slower})
	if err != nil {
		return plan.Observation{}, err
	}
	return plan.Observe(r), nil
}
