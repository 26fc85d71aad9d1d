package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"orrery/calibrate"
	"orrery/hwmodel"
	"orrery/plan/requestlog"
)

// scoreFormat names the JSON form of scores.
const scoreFormat = "orrery-score/1"

type scoreFlags struct {
	by       string
	any      bool
	baseline bool
	worst    int
	json     bool
	engine   string // of whole iterations and requests, "" for the one that ran them
}

func (a *app) calibrateScoreCmd() *cobra.Command {
	var f scoreFlags
	c := &cobra.Command{
		Use:   "score PROFILE FILES...",
		Short: "Say how far a profile is off on measurements",
		Long: `Score predicts every row of the files and prints the errors, a line for each
operator and GPU. PROFILE is the name of a device, a profile's file, or "all" for
the profile of each row's own GPU. Files are measurement files or CSV tables with
the columns of one operator (see the package documentation of calibrate).

  MAPE, median, p90   of |predicted/measured - 1|
  bias                median of predicted/measured - 1
  in band             share of rows inside the 90 % band that the profile states,
                      and half the width of that band
  derived             share of rows whose constants were not measured on the GPU

Published times of whole iterations (the columns of the files in ../shared/data/engine)
are predicted from the operators and the host of the engine that ran them, a line for
each file, engine, GPU and kind of time. Rows of GPUs, models or engines that Orrery
does not have are counted as skipped.

The requests of a run of vLLM are replayed by arrival. What served them stands in a file
beside them: requests_runs.csv for requests.csv, with the columns gpu, model, tp,
max_num_seqs, max_num_batched_tokens, max_model_len and kv_tokens.`,
		Example: `  orrery calibrate score a100-sxm-80gb gemm.csv attention_decode.csv
  orrery calibrate score all measurements/*.csv --by source
  orrery calibrate score my-gpu.toml my-gpu.orrery --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return inputErrorf("score wants a profile (or all) and one or more files of measurements")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return a.calibrateScore(c.Context(), args[0], args[1:], &f)
		},
	}
	c.Flags().StringVar(&f.by, "by", "", "split the lines further: source, dtype or both")
	c.Flags().BoolVar(&f.any, "any-gpu", false, "price rows of every GPU with the one profile")
	c.Flags().BoolVar(&f.baseline, "baseline", false, "compare with a roofline of three constants fitted to these rows (slow)")
	c.Flags().IntVar(&f.worst, "worst", 0, "list this many of the worst predicted rows of each line, at most 20")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	c.Flags().StringVar(&f.engine, "engine", "", "predict whole iterations and requests by this engine instead of the one that ran them")
	return c
}

func (a *app) calibrateScore(ctx context.Context, profile string, files []string, f *scoreFlags) error {
	switch f.by {
	case "", "source", "dtype", "both":
	default:
		return inputErrorf("--by is %q, want source, dtype or both", f.by)
	}
	if f.worst < 0 || f.worst > 20 {
		return inputErrorf("--worst %d; want a number of rows from 0 to 20", f.worst)
	}
	profiles, err := profilesNamed(profile)
	if err != nil {
		return err
	}
	if f.any && len(profiles) > 1 {
		return inputErrorf("--any-gpu prices all rows with one profile; name one instead of %q", profile)
	}
	var whole, parts []string // files of iterations, of operators
	for _, path := range files {
		if calibrate.IsEngineFile(path) {
			whole = append(whole, path)
		} else {
			parts = append(parts, path)
		}
	}
	iterations, err := scoreIterations(profiles, whole, f)
	if err != nil {
		return err
	}
	var scores []calibrate.Score
	var logs []requestlog.Score
	foreign, requests := 0, 0
	if len(parts) > 0 {
		m, err := readMeasurements(parts)
		if err != nil {
			return err
		}
		requests = len(m.Requests)
		if logs, err = scoreRequests(ctx, profiles, m, parts, f); err != nil {
			return err
		}
		scores, foreign, err = calibrate.ScoreRows(profiles, m, calibrate.ScoreOptions{By: f.by, AnyGPU: f.any, Baseline: f.baseline})
		if err != nil {
			return badInput{err}
		}
	}
	if len(scores) == 0 && len(iterations) == 0 && len(logs) == 0 {
		if requests > 0 {
			return inputErrorf("nothing says what served the requests on a GPU that profile %s is for; want %s, see --help", profile, requestlog.RunsFile(parts[0]))
		}
		return inputErrorf("no row of %s is of a GPU that profile %s is for; --any-gpu prices them all the same", strings.Join(files, ", "), profile)
	}
	if f.json {
		return a.printScoresJSON(scores, iterations, logs, foreign)
	}
	if len(scores) > 0 {
		a.printScores(scores, f)
	}
	a.printIterationScores(iterations, f.worst)
	a.printRequestScores(logs)
	if foreign > 0 {
		a.note("%d rows are of other GPUs and were passed over", foreign)
	}
	return nil
}

// profilesNamed returns a profile by its device's name or its file, or all that come
// with the program.
func profilesNamed(name string) ([]*hwmodel.Profile, error) {
	var list []string
	switch {
	case name == "all":
		list = hwmodel.Names()
	case strings.HasSuffix(name, ".toml"):
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, badInput{err}
		}
		p, err := hwmodel.ParseProfile(data, name)
		if err != nil {
			return nil, badInput{err}
		}
		return []*hwmodel.Profile{p}, nil
	default:
		list = []string{name}
	}
	var out []*hwmodel.Profile
	for _, n := range list {
		p, err := hwmodel.Load(n)
		if err != nil {
			return nil, badInput{err}
		}
		out = append(out, p)
	}
	return out, nil
}

// readMeasurements reads files of measurements. What is wrong with them is the
// user's to mend.
func readMeasurements(files []string) (*calibrate.Measured, error) {
	m, err := calibrate.ReadMeasurements(files...)
	if err != nil {
		return nil, badInput{err}
	}
	rows := 0
	for _, o := range calibrate.Operators() {
		rows += len(m.Rows[o.Name])
	}
	if rows == 0 && len(m.Requests) == 0 {
		return nil, badInput{errors.New(strings.Join(files, ", ") + " has no rows of any operator")}
	}
	return m, nil
}

func (a *app) printScoresJSON(scores []calibrate.Score, iterations []calibrate.EngineScore, logs []requestlog.Score, foreign int) error {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Format     string                  `json:"format"`
		Rows       []calibrate.Score       `json:"rows"`
		Iterations []calibrate.EngineScore `json:"iterations,omitempty"`
		Requests   []requestlog.Score      `json:"requests,omitempty"`
		Foreign    int                     `json:"foreign_rows"` // of GPUs that no profile is of
	}{scoreFormat, scores, iterations, logs, foreign})
}

func (a *app) printScores(scores []calibrate.Score, f *scoreFlags) {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := "operator\tGPU\t"
	if f.by != "" {
		head += f.by + "\t"
	}
	head += "rows\tMAPE\tmedian\tp90\tbias\tin band\tband\tderived\t"
	if f.baseline {
		head += "baseline\t"
	}
	fmt.Fprintln(w, head+"skipped\t")
	for i := range scores {
		s := &scores[i]
		fmt.Fprintf(w, "%s\t%s\t", s.Op, s.GPU)
		if f.by != "" {
			fmt.Fprintf(w, "%s\t", s.Group)
		}
		if s.Rows > 0 {
			fmt.Fprintf(w, "%d\t%.1f %%\t%.1f %%\t%.1f %%\t%+.1f %%\t%.0f %%\t±%.0f %%\t%.0f %%\t", s.Rows, 100*s.Mean, 100*s.Median, 100*s.P90, 100*s.Bias, 100*s.Inside, 100*s.Band, 100*s.Derived)
		} else {
			fmt.Fprint(w, "0\t-\t-\t-\t-\t-\t-\t-\t") // all were skipped: nothing is known of the errors
		}
		switch {
		case f.baseline && s.Rows > 0:
			fmt.Fprintf(w, "%.1f %%\t", 100*s.Baseline)
		case f.baseline:
			fmt.Fprint(w, "-\t")
		}
		fmt.Fprintf(w, "%d\t\n", s.Skipped)
	}
	w.Flush()
	for i := range scores {
		a.printWorst(&scores[i], f.worst)
	}
}

func (a *app) printWorst(s *calibrate.Score, n int) {
	worst := s.Worst()
	worst = worst[:min(n, len(worst))]
	for i := range worst {
		p := &worst[i]
		if i == 0 {
			fmt.Fprintf(a.out, "\nworst of %s on %s %s\n", s.Op, s.GPU, s.Group)
		}
		fmt.Fprintf(a.out, "  %+6.0f %%  predicted %.4g us, measured %.4g us  %s (%s, %s:%d)\n", 100*(p.Estimate.Seconds/p.Row.Seconds-1),
			1e6*p.Estimate.Seconds, 1e6*p.Row.Seconds, p.Describe(), p.Row.Source, p.Row.File, p.Row.Line)
	}
}
