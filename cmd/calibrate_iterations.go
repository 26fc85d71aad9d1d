package cmd

import (
	"fmt"
	"text/tabwriter"

	"orrery/calibrate"
	"orrery/hwmodel"
)

// scoreIterations predicts the published times of whole iterations in files.
func scoreIterations(profiles []*hwmodel.Profile, files []string, f *scoreFlags) ([]calibrate.EngineScore, error) {
	if len(files) == 0 {
		return nil, nil
	}
	rows, err := calibrate.ReadEngineRows(files...)
	if err != nil {
		return nil, badInput{err}
	}
	if f.engine != "" {
		for i := range rows {
			rows[i].Engine = f.engine
		}
	}
	var engines []*hwmodel.Engine
	for _, name := range hwmodel.Engines() {
		e, err := hwmodel.LoadEngine(name)
		if err != nil {
			return nil, err
		}
		engines = append(engines, e)
	}
	if f.engine != "" {
		if _, err := hwmodel.LoadEngine(f.engine); err != nil {
			return nil, badInput{err}
		}
	}
	scores, err := calibrate.ScoreEngines(calibrate.NewPricer(profiles), engines, rows)
	if err != nil {
		return nil, badInput{err}
	}
	return scores, nil
}

// printIterationScores prints a line for each file, engine, GPU and kind of time, and
// the worst rows of each.
func (a *app) printIterationScores(scores []calibrate.EngineScore, worst int) {
	if len(scores) == 0 {
		return
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "iterations of\tengine\tGPU\ttime\trows\tMAPE\tmedian\tp90\tbias\tin band\tband\tskipped\t")
	for i := range scores {
		s := &scores[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t", s.File, s.Engine, s.GPU, s.Kind, s.Rows)
		if s.Rows > 0 {
			fmt.Fprintf(w, "%.1f %%\t%.1f %%\t%.1f %%\t%+.1f %%\t%.0f %%\t±%.0f %%\t", 100*s.Mean, 100*s.Median, 100*s.P90, 100*s.Bias, 100*s.Inside, 100*s.Band)
		} else {
			fmt.Fprint(w, "-\t-\t-\t-\t-\t-\t")
		}
		fmt.Fprintf(w, "%d\t\n", s.Skipped)
	}
	w.Flush()
	for i := range scores {
		s := &scores[i]
		for j := range min(worst, len(s.Priced)) {
			p := &s.Priced[j]
			if j == 0 {
				fmt.Fprintf(a.out, "\nworst of %s, %s on %s, %s\n", s.File, s.Engine, s.GPU, s.Kind)
			}
			fmt.Fprintf(a.out, "  %+6.0f %%  predicted %.4g ms, measured %.4g ms  %s (%s:%d)\n", 100*p.Error(), 1e3*p.Predicted, 1e3*p.Seconds, p.Shape, p.File, p.Line)
		}
	}
}
