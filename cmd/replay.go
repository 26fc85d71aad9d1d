package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"orrery/cluster"
	"orrery/internal/names"
	"orrery/replay"
	"orrery/report"
	"orrery/scenarios"
	"orrery/sim"
	"orrery/workloads/trace"
)

type replayFlags struct {
	common
	target      string
	api         string
	model       string
	keyEnv      string
	timeout     time.Duration
	drain       time.Duration
	maxInFlight int
	rate        float64
	rows        []string
}

func (a *app) replayCmd() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay SCENARIO --target URL",
		Short: "Put a scenario's traffic on a real server and measure it",
		Long: `Replay sends the requests of a scenario to a server that speaks the streaming API
of OpenAI, each when it is due, however many are unanswered, and measures what
clients see. Delays count from when a request was due. The folder of results is
like that of run, so that compare can put both beside each other; it also has
measurement.txt, from which the times of the server's iterations can be fitted.

Before the load it asks the server a handful of short questions: which fields it
takes, and how many tokens it makes of a word.`,
		Example: `  orrery replay quickstart --target http://localhost:8000 --rate 2
  orrery replay my.toml --target https://host/v1 --api chat --model my-model --api-key-env KEY
  orrery compare quickstart results/20260102-030405-0123abcd`,
		Args: scenarioArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error { return a.replay(c.Context(), args[0], &f) },
	}
	f.add(c, "")
	fs := c.Flags()
	fs.StringVar(&f.target, "target", "", "address of the server, as in http://localhost:8000")
	fs.StringVar(&f.api, "api", replay.Completions, "endpoint: completions or chat")
	fs.StringVar(&f.model, "model", "", "model as the server calls it (default: the first that it lists)")
	fs.StringVar(&f.keyEnv, "api-key-env", "", "environment variable that holds the API key")
	fs.DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long after it was due a request may take")
	fs.DurationVar(&f.drain, "drain", 5*time.Second, "how long unanswered requests may go on after an interrupt")
	fs.IntVar(&f.maxInFlight, "max-in-flight", 2048, "give up when this many requests are unanswered")
	fs.Float64Var(&f.rate, "rate", 0, "requests per second (default: the scenario's)")
	fs.StringSliceVar(&f.rows, "rows", []string{"csv"}, "write one row per request: csv, parquet or both")
	return c
}

// check refuses flags that make no sense.
func (f *replayFlags) check() error {
	switch {
	case f.target == "":
		return inputErrorf("which server? Want its address, as in --target http://localhost:8000")
	case !slices.Contains(replay.APIs(), f.api):
		return badInput{names.Unknown("endpoint", f.api, replay.APIs())}
	case f.timeout <= 0:
		return inputErrorf("--timeout %v; want a duration above 0, such as 60s", f.timeout)
	case f.drain < 0:
		return inputErrorf("--drain %v; want a duration, such as 5s", f.drain)
	case f.maxInFlight < 1:
		return inputErrorf("--max-in-flight %d; want a positive number", f.maxInFlight)
	case f.rate < 0 || f.rate > 1e6 || f.rate != f.rate:
		return inputErrorf("--rate %g; want requests per second above 0", f.rate)
	}
	return nil
}

func (a *app) replay(ctx context.Context, name string, f *replayFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	s, err := f.load(name)
	if err == nil && f.rate > 0 {
		s, err = s.AtRate(f.rate)
	}
	if err != nil {
		return err
	}
	if len(s.Classes) > 0 {
		return inputErrorf("%s asks for images, and a server is replayed with text; want a scenario without [[class]]", s.Name)
	}
	rows, err := rowFormats(f.rows)
	if err != nil {
		return err
	}
	target := replay.Target{URL: f.target, API: f.api, Model: f.model, Seed: s.Seed, Connections: f.maxInFlight}
	if f.keyEnv != "" {
		if target.Key = os.Getenv(f.keyEnv); target.Key == "" {
			return inputErrorf("--api-key-env %s; want a variable of the environment that is set", f.keyEnv)
		}
	}
	server, err := replay.Dial(ctx, target, f.timeout)
	switch {
	case ctx.Err() != nil:
		return errNothing
	case errors.Is(err, replay.ErrBadTarget):
		return badInput{err}
	case err != nil:
		return fmt.Errorf("the server cannot be measured: %w", err)
	}
	folder, err := f.folder(time.Now(), s.RunID(s.Seed))
	if err != nil {
		return err
	}
	defer folder.Abort()
	out, err := a.putLoad(ctx, s, server, f)
	if err != nil {
		return err
	}
	r, err := writeReplay(folder, s, server, out, f, rows)
	if err != nil {
		return err
	}
	if err := a.showRun(r, nil, nil, f.json, folder.Path()); err != nil {
		return err
	}
	switch {
	case out.Stopped:
		return errInterrupted
	case out.Aborted != nil:
		return fmt.Errorf("given up, and what was measured is kept: %w", out.Aborted)
	case r.Requests.Arrived > 0 && r.Requests.Finished == 0 && len(r.Measurement.Failures) > 0:
		x := &r.Measurement.Failures[0]
		return fmt.Errorf("no request got an answer: %s (%s)", x.Kind, x.Example)
	}
	return nil
}

// rowFormats checks the formats in which requests are to be written.
func rowFormats(rows []string) ([]string, error) {
	formats := []string{"csv", "parquet"}
	for _, r := range rows {
		if !slices.Contains(formats, r) {
			return nil, badInput{names.Unknown("format of rows", r, formats)}
		}
	}
	return rows, nil
}

// putLoad sends the scenario's traffic.
func (a *app) putLoad(ctx context.Context, s *scenarios.Scenario, server *replay.Server, f *replayFlags) (*replay.Outcome, error) {
	e, err := s.Build(s.Seed)
	if err != nil {
		return nil, err
	}
	bar := a.newProgress("replaying")
	defer bar.end()
	total := s.Requests()
	out := replay.Run(ctx, replay.Config{
		Source: e.Config.Source, Client: server, Timeout: f.timeout, Drain: f.drain, MaxInFlight: f.maxInFlight, Until: sim.Time(s.Run.Until),
		Progress: func(sent, ended int64) { bar.set(ended, total) },
	})
	if err := trace.Close(e.Config.Source); err != nil {
		return nil, err
	}
	if len(out.Answers) == 0 && out.Stopped {
		return nil, errNothing
	}
	return out, nil
}

// writeReplay makes the result of what was measured and writes the folder.
func writeReplay(folder *report.Folder, s *scenarios.Scenario, server *replay.Server, out *replay.Outcome, f *replayFlags, rows []string) (*report.Result, error) {
	e, err := s.Build(s.Seed)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	id := e.Identity
	prompts, doubts := server.Describe()
	id.RunID, id.Version = s.RunID(s.Seed), scenarios.Version()
	id.Model, id.Device, id.Policy = server.Model(), server.URL(), "the server's own"
	id.Flags, id.Notes = append([]string{}, doubts...), []string{"measured on a real server; the scenario gave the traffic and the SLO"}
	var watch []cluster.Recorder
	for _, format := range rows {
		w, err := folder.Requests("requests." + format)
		if err != nil {
			return nil, err
		}
		watch = append(watch, w)
	}
	r := out.Result(replay.Frame{SLO: e.SLO, WarmUp: e.WarmUp, Identity: id, API: f.api, Prompts: prompts}, watch...)
	folder.Write(report.ScenarioFile, s.Resolved())
	curves, err := json.Marshal(&r.Curves)
	if err != nil {
		return nil, err
	}
	folder.Write(report.CurvesFile, curves)
	if err := addResult(folder, r, s.Output.Plots); err != nil {
		return nil, err
	}
	folder.File(replay.MeasurementFile, out.Measured(deviceOf(s), id.Model, e.Identity.Policy, r).Write)
	return r, folder.Commit()
}

// deviceOf names what the scenario thinks the server runs on.
func deviceOf(s *scenarios.Scenario) string {
	if s.Hardware.Device != "" {
		return s.Hardware.Device
	}
	return filepath.Base(s.Name)
}
