package cmd

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"orrery/calibrate"
	"orrery/hwmodel"
	"orrery/plan/requestlog"
)

// requestEngine stands for what served logged requests unless another is named.
const requestEngine = "vllm-v1-async"

// scoreRequests replays the runs that files have requests of.
func scoreRequests(ctx context.Context, profiles []*hwmodel.Profile, m *calibrate.Measured, files []string, f *scoreFlags) ([]requestlog.Score, error) {
	if len(m.Requests) == 0 {
		return nil, nil
	}
	name := f.engine
	if name == "" {
		name = requestEngine
	}
	e, err := hwmodel.LoadEngine(name)
	if err != nil {
		return nil, badInput{err}
	}
	var scores []requestlog.Score
	for _, file := range files {
		path := requestlog.RunsFile(file)
		if _, err := os.Stat(path); err != nil {
			continue // this one has no requests, or nobody says what served them
		}
		runs, err := requestlog.ReadRuns(path)
		if err != nil {
			return nil, badInput{err}
		}
		for i := range runs {
			p := profileOf(profiles, runs[i].GPU, f.any)
			if p == nil || !logged(&runs[i], m.Requests) {
				continue
			}
			s, err := requestlog.Replay(ctx, &runs[i], m.Requests, p, e)
			if err != nil {
				return nil, badInput{fmt.Errorf("%s: %w", file, err)}
			}
			scores = append(scores, *s)
		}
	}
	return scores, nil
}

// profileOf returns the profile of a GPU as measurement files name it, nil if there is none.
func profileOf(profiles []*hwmodel.Profile, gpu string, any bool) *hwmodel.Profile {
	for _, p := range profiles {
		if any || p.Device.GPU == gpu || p.Device.Name == gpu {
			return p
		}
	}
	return nil
}

// logged tells whether the log has requests of the run.
func logged(run *requestlog.Run, log []calibrate.Timing) bool {
	for i := range log {
		if log[i].GPU == run.GPU && log[i].Model == run.Model {
			return true
		}
	}
	return false
}

// printRequestScores prints a line for each run that was replayed.
func (a *app) printRequestScores(scores []requestlog.Score) {
	if len(scores) == 0 {
		return
	}
	percent := func(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "requests replayed\tengine\tGPU\trequests\tTTFT\tTPOT\tE2E\tTTFT p99\tTPOT p99\tE2E p99\t")
	for _, s := range scores {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%+.1f %%\t%+.1f %%\t%+.1f %%\t\n", s.Model, s.Engine, s.GPU, s.Requests,
			percent(s.TTFT.Median), percent(s.TPOT.Median), percent(s.E2E.Median), 100*s.TTFT.P99, 100*s.TPOT.P99, 100*s.E2E.P99)
	}
	w.Flush()
}
