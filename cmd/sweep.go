package cmd

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"orrery/plan/sweep"
	"orrery/scenarios"
)

type sweepFlags struct {
	common
	engineFlags
	vary   []string
	sample int
	method string
	jobs   int
	shard  string
	merge  bool

	given func(flag string) bool
}

func (a *app) sweepCmd() *cobra.Command {
	var f sweepFlags
	c := &cobra.Command{
		Use:   "sweep SCENARIO | --merge FOLDER...",
		Short: "Run a scenario over grids and samples of settings, into one table",
		Long: `Sweep runs a scenario at every combination of the values of some keys, or at points
drawn from ranges, each with the same seeds, so that all settings meet the same
traffic. It writes one tidy table, a row a run, as runs.parquet and runs.csv, the
means over the seeds with 95 % intervals as summary.csv, and what was run as
manifest.json.

Keys are varied over values (policy.batch=vllm,sarathi), over ranges with a number of
values (traffic.rate=1.0..8.0:15, or 4log for equal ratios), or over ranges alone
(policy.budget=256..4096, slo.ttft=100ms..2s:log), from which --sample draws points. Ranges
between whole numbers have whole values. Without --vary the scenario's section [sweep] says
what is varied.

Each finished run is kept at once under a hash of what it depends on: scenario, files, seed and
program. So the same command goes on after an interrupt, a larger sweep computes what is new,
and parts of a sweep (--shard 2/8) may run on several machines, into one folder or into several
that --merge brings together. The tables are the same to the byte in every case.

A setting that makes no sense, or a run that fails, is a row with an error. The rest is
finished, and the exit status is 1; it is 2 if every setting was refused.`,
		Example: `  orrery sweep quickstart --vary traffic.rate=1.0..6.0:6 --vary policy.batch=vllm,sarathi
  orrery sweep my.toml --vary hardware.replicas=1..8 --vary slo.ttft=200ms..2s:log --sample 100
  orrery sweep my.toml --shard 2/8 --out results/study
  orrery sweep --merge node1/study node2/study --out results/study`,
		Args: func(c *cobra.Command, args []string) error {
			if f.merge {
				return nil
			}
			return scenarioArgs(1, 1)(c, args)
		},
	}
	f.add(c, "runs of each setting, with the same seeds for all (default 3)")
	f.addSweep(c)
	f.addEngine(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if f.merge {
			return a.mergeSweep(args, &f)
		}
		return a.sweep(c.Context(), args[0], &f)
	}
	return c
}

func (f *sweepFlags) addSweep(c *cobra.Command) {
	fs := c.Flags()
	fs.StringArrayVar(&f.vary, "vary", nil, "a key and its values or range, as in traffic.rate=1.0..6.0:6 (repeatable: all combinations)")
	fs.IntVar(&f.sample, "sample", 0, "points to draw from the ranges that have no number of values")
	fs.StringVar(&f.method, "method", "", "how points are drawn: latin (hypercube) or random (default latin)")
	fs.IntVarP(&f.jobs, "jobs", "j", 0, "runs at a time (default: as many as there are cores)")
	fs.StringVar(&f.shard, "shard", "", "run one part only, such as 2/8 for the second of eight")
	fs.BoolVar(&f.merge, "merge", false, "bring the folders of a sweep's parts together")
	f.given = fs.Changed
	fs.Lookup("out").Usage = "folder of the sweep, in which earlier results count (default: results/sweep-ID)"
	if err := fs.MarkHidden("force"); err != nil { // nothing is replaced: results are kept by what they are of
		panic(err) // the flag was added above
	}
}

// errFailedRuns ends a sweep that finished, some of whose runs did not.
var errFailedRuns = errors.New("some runs have no result; the table says why, and has all others")

func (a *app) sweep(ctx context.Context, name string, f *sweepFlags) error {
	s, err := f.load(name)
	if err != nil {
		return err
	}
	spec, err := f.spec(s)
	if err != nil {
		return err
	}
	var part sweep.Shard
	if f.shard != "" {
		if part, err = sweep.ParseShard(f.shard); err != nil {
			return inputErrorf("--shard %w", err)
		}
	}
	if f.jobs < 0 {
		return inputErrorf("--jobs %d; want a positive number", f.jobs)
	}
	w, err := sweep.Plan(ctx, s, spec)
	switch {
	case ctx.Err() != nil:
		return errNothing
	case err != nil:
		return badInput{err}
	}
	if err := w.AllRefused(); err != nil {
		return badInput{err}
	}
	folder := f.out
	if folder == "" {
		folder = "results/sweep-" + w.ID[:12]
	}
	dir := a.sweepDir(folder)
	engine, err := a.sweepEngine(ctx, &f.engineFlags, w.ID+f.shard, dir, f.jobs)
	if err != nil {
		return err
	}
	o, err := a.runSweep(ctx, w, engine, dir, part)
	if ctx.Err() != nil && o != nil {
		return stopped(fmt.Sprintf("interrupted; %d of %d runs are there, in %s, and the same command goes on", len(o.Rows), len(w.Cells), folder))
	}
	if err != nil {
		return err
	}
	return a.showSweep(&w.Manifest, o, folder, f.json)
}

// stopped is an [errInterrupted] that says how far the command came.
type stopped string

func (s stopped) Error() string { return string(s) }

// Is makes the exit status that of an interrupt.
func (s stopped) Is(target error) bool { return target == errInterrupted }

// runSweep runs a part of a sweep on an engine, and shows how far it is.
func (a *app) runSweep(ctx context.Context, w *sweep.Sweep, engine sweep.Engine, dir *sweep.Dir, part sweep.Shard) (*sweep.Outcome, error) {
	bar := a.newProgress("sweeping")
	defer bar.end()
	return w.Run(ctx, engine, dir, part, func(done, total int) { bar.set(int64(done), int64(total)) })
}

// sweepDir returns the store of a folder, which says on standard error what it finds damaged.
func (a *app) sweepDir(folder string) *sweep.Dir {
	var mu sync.Mutex
	return &sweep.Dir{Path: folder, Note: func(line string) {
		mu.Lock()
		defer mu.Unlock()
		a.note("%s", line)
	}}
}

// spec returns what the flags ask for, and what they leave out as the scenario has it.
func (f *sweepFlags) spec(s *scenarios.Scenario) (spec sweep.Spec, err error) {
	own := s.Sweep
	spec = sweep.Spec{Sample: own.Sample, Method: sweep.Method(own.Method), Draw: s.Seed, Seeds: f.replications(s, own.Seeds)}
	texts := own.Vary
	if len(f.vary) > 0 {
		texts = f.vary
		spec.Sample = 0 // was about the scenario's ranges
	}
	if f.given("sample") {
		if spec.Sample = f.sample; f.sample < 1 {
			return spec, inputErrorf("--sample %d; want a positive number", f.sample)
		}
	}
	if f.given("method") {
		if spec.Method = sweep.Method(f.method); spec.Method != sweep.Latin && spec.Method != sweep.Random {
			return spec, inputErrorf("--method %s; want latin or random", f.method)
		}
	}
	for i, text := range texts {
		axis, err := sweep.ParseAxis(text)
		switch {
		case err != nil && len(f.vary) > 0:
			return spec, inputErrorf("--vary %w", err)
		case err != nil:
			return spec, s.ErrorAt(fmt.Sprintf("sweep.vary[%d]", i), "sweep.vary[%d]: %w", i, err)
		}
		spec.Axes = append(spec.Axes, axis)
	}
	return spec, nil
}

func (a *app) mergeSweep(folders []string, f *sweepFlags) error {
	if len(folders) == 0 {
		return inputErrorf("--merge of nothing; want the folders of a sweep's parts")
	}
	into := f.out
	if into == "" {
		into = folders[0]
	}
	m, o, err := sweep.Merge(folders, into, a.sweepDir(into).Note)
	if err != nil {
		return badInput{err}
	}
	return a.showSweep(m, o, into, f.json)
}
