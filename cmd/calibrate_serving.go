package cmd

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"orrery/calibrate"
	"orrery/hwmodel"
	"orrery/plan/serving"
)

type servingFlags struct {
	json  bool
	worst int
}

func (a *app) calibrateServingCmd() *cobra.Command {
	var f servingFlags
	c := &cobra.Command{
		Use:   "serving FILES...",
		Short: "Simulate published runs of serving engines and say how far they are off",
		Long: `Serving simulates every run of the files whose GPU has a profile and whose model is
known: so many clients keep an engine busy, each of which sends its next request when
it has the answer to the last. Files are tables of mean times to the first token
and between tokens by concurrency, with the columns of AIConfigurator's silicon samples.

  TPOT, throughput, TTFT   median and 90th percentile of |simulated/measured - 1|
  bias                     median of simulated/measured - 1

The throughput of a run follows from its times by Little's law. A star marks runs that
constants were fitted to; the others were predicted without a look at them.`,
		Example: `  orrery calibrate serving llm_serving_silicon.csv llm_serving_silicon_disagg.csv`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return inputErrorf("serving wants one or more files of published runs")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.calibrateServing(c.Context(), args, &f) },
	}
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	c.Flags().IntVar(&f.worst, "worst", 0, "list this many of the runs whose time between tokens is predicted worst")
	return c
}

func (a *app) calibrateServing(ctx context.Context, files []string, f *servingFlags) error {
	rows, err := calibrate.ReadServing(files...)
	if err != nil {
		return badInput{err}
	}
	var profiles []*hwmodel.Profile
	for _, name := range hwmodel.Names() {
		p, err := hwmodel.Load(name)
		if err != nil {
			return err
		}
		profiles = append(profiles, p)
	}
	priced, skipped, err := serving.Score(ctx, rows, profiles)
	if ctx.Err() != nil {
		return errNothing
	}
	if err != nil {
		return err
	}
	r := serving.NewReport(priced, skipped)
	if f.json {
		e := json.NewEncoder(a.out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	if err := r.WriteMarkdown(a.out); err != nil {
		return err
	}
	for i, p := range serving.Worst(priced, f.worst) {
		if i == 0 {
			fmt.Fprintln(a.out)
		}
		_, off, _ := p.Errors()
		fmt.Fprintf(a.out, "%+.0f %%  TPOT simulated %.4g ms, measured %.4g ms  %s (%s:%d)\n", 100*off, 1e3*p.Simulated.TPOT, 1e3*p.TPOT, p.Text(), p.File, p.Line)
	}
	return nil
}
