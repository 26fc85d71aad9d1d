package cmd

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"orrery/plan/durable"
	"orrery/plan/sweep"
)

func (a *app) workerCmd() *cobra.Command {
	var results string
	var w durable.Worker
	c := &cobra.Command{
		Use:   "worker --temporal HOST:PORT --results FOLDER",
		Short: "Run what sweeps hand out through a Temporal server",
		Long: `Worker runs the cells of sweeps that were started with --temporal, into a folder of
results that it shares with them. Start any number, on any machines; it serves until
it is interrupted, and hands back what it has begun.

A worker takes the work of its own folder and of its own build of orrery only, since another
build may come to other results. It takes scenarios as data: one that names files is refused.`,
		Example: `  orrery worker --temporal temporal:7233 --results /shared/study
  orrery worker --temporal 127.0.0.1:7233 --results study --jobs 4 --idle 5m`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case results == "":
				return inputErrorf("which folder? Want --results FOLDER, the one that orrery sweep has as --out")
			case w.Server.Address == "":
				return inputErrorf("which server? Want --temporal HOST:PORT")
			case w.Jobs < 0:
				return inputErrorf("--jobs %d; want a positive number", w.Jobs)
			case w.Idle < 0:
				return inputErrorf("--idle %v; want a time such as 5m", w.Idle)
			}
			if err := checkAddress(w.Server.Address); err != nil {
				return err
			}
			return a.work(c.Context(), &w, a.sweepDir(results))
		},
	}
	fs := c.Flags()
	fs.StringVar(&w.Server.Address, "temporal", "", "the server, `HOST:PORT`")
	fs.StringVar(&w.Server.Namespace, "namespace", "", "namespace of the server (default: default)")
	fs.StringVar(&results, "results", "", "the `folder` of results that workers and sweeps share")
	fs.IntVarP(&w.Jobs, "jobs", "j", 0, "runs at a time (default: as many as there are cores)")
	fs.DurationVar(&w.Idle, "idle", 0, "end after this time without work (default: never)")
	return c
}

// work serves until the context ends, or there is no more to do.
func (a *app) work(ctx context.Context, w *durable.Worker, dir *sweep.Dir) error {
	w.Results = dir
	begun := time.Now()
	err := w.Serve(ctx)
	if err == nil {
		a.note("worked for %v", time.Since(begun).Round(time.Second))
	}
	return err
}
