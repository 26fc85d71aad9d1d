package cmd

import (
	"context"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"orrery/calibrate"
	"orrery/hwmodel"
	"orrery/internal/whole"
	"orrery/report"
	"orrery/report/chart"
)

type fitFlags struct {
	out, report, gpu, donor string
	force                   bool
	budget, maxSeqs         int // of the engine whose requests were timed
}

func (a *app) calibrateFitCmd() *cobra.Command {
	var f fitFlags
	c := &cobra.Command{
		Use:   "fit FILES...",
		Short: "Make a profile of measurements",
		Long: `Fit makes the profile of the device that the files were measured on. What they do
not cover is derived from the device's nearest relatives by data sheet, and marked
as derived. Beside the profile it writes a report: errors on shapes held out of
the fit, plots of predicted over measured, the worst rows, and errors by size.

The profile is a TOML file that a scenario names as hardware.device.

Files with the times of requests, such as orrery replay writes, give the section
[cost] of a scenario instead: what an iteration of that engine takes.`,
		Example: `  orrery calibrate fit my-gpu.orrery
  orrery calibrate fit gemm.csv attention_decode.csv --gpu a100_sxm_80g --out my-a100.toml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return inputErrorf("fit wants one or more files of measurements")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.calibrateFit(c.Context(), args, &f) },
	}
	c.Flags().StringVarP(&f.out, "out", "o", "", "file of the profile (default the device's name, .toml)")
	c.Flags().StringVar(&f.report, "report", "", "folder of the report (default the profile's file without .toml, -report)")
	c.Flags().StringVar(&f.gpu, "gpu", "", "fit the rows of this GPU, if the files hold several")
	c.Flags().StringVar(&f.donor, "donor", "", "profile to derive from what was not measured (default the nearest relatives)")
	c.Flags().IntVar(&f.budget, "budget", 0, "token budget of the engine whose requests were timed (default unknown)")
	c.Flags().IntVar(&f.maxSeqs, "max-seqs", 0, "most sequences that it runs at a time (default unknown)")
	c.Flags().BoolVar(&f.force, "force", false, "replace a report that is there already")
	return c
}

func (a *app) calibrateFit(ctx context.Context, files []string, f *fitFlags) error {
	m, err := readMeasurements(files)
	if err != nil {
		return err
	}
	if len(m.Rows) == 0 && len(m.Requests) > 0 {
		return a.fitRequests(m, files, f)
	}
	if f.gpu != "" {
		if err := m.Only(f.gpu); err != nil {
			return badInput{err}
		}
	}
	d, err := m.DeviceOf()
	if err != nil {
		return badInput{err}
	}
	donors, err := donorsFor(&d, f.donor)
	if err != nil {
		return err
	}
	out := f.out
	if out == "" {
		out = d.Name + ".toml"
	}
	folder, err := fitFolder(out, f)
	if err != nil {
		return err
	}
	defer folder.Abort()

	bar := a.newProgress("fitting")
	defer bar.end()
	ops := calibrate.Operators()
	p, err := calibrate.FitMeasured(ctx, d, donors, m, func(done int, _ *calibrate.Operator) { bar.set(int64(done), int64(len(ops))) })
	bar.end()
	switch {
	case ctx.Err() != nil:
		return errNothing
	case err != nil:
		return badInput{err}
	}
	scores, _, err := calibrate.ScoreRows([]*hwmodel.Profile{p}, m, calibrate.ScoreOptions{AnyGPU: true, Baseline: true})
	if err != nil {
		return err
	}
	data, err := calibrate.EncodeProfile(p, "Fitted by orrery calibrate fit to "+strings.Join(files, ", ")+".")
	if err != nil {
		return err
	}
	if err := writeFitReport(folder, p, scores); err != nil {
		return err
	}
	// The profile is on the disk before its report takes its place, so that neither is
	// there without the other.
	file, err := whole.Create(out)
	if err != nil {
		return err
	}
	defer file.Abort()
	file.Write(data) // Flush has the error
	if err := file.Flush(); err != nil {
		return err
	}
	if err := folder.Commit(); err != nil {
		return err
	}
	if err := file.Commit(); err != nil {
		return err
	}
	fmt.Fprint(a.out, fitTable(p, scores))
	fmt.Fprintf(a.out, "\nprofile in %s, report in %s\n", out, folder.Path())
	return nil
}

func fitFolder(out string, f *fitFlags) (*report.Folder, error) {
	path := f.report
	if path == "" {
		path = strings.TrimSuffix(out, ".toml") + "-report"
	}
	return createFolder(path, f.force)
}

// donorsFor returns what constants a device without measurements of its own borrows.
func donorsFor(d *hwmodel.Device, named string) ([]*hwmodel.Profile, error) {
	if named != "" {
		return profilesNamed(named)
	}
	donors, err := calibrate.ShippedDonors(d)
	if err != nil {
		return nil, err
	}
	return donors, nil
}

// fitTable lists, for every operator measured, the error on shapes held out of the fit
// and that of the baseline.
func fitTable(p *hwmodel.Profile, scores []calibrate.Score) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "operator\tconstants\trows\theld out: MAPE\tmedian\tp90\troofline of three constants\tband\t")
	derived := map[string]int{}
	for _, o := range calibrate.Operators() {
		for _, f := range o.Fits(p) {
			if f.Fit.Derived {
				derived[o.Name]++
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%.1f %%\t%.1f %%\t%.1f %%\t%.1f %%\t±%.0f %%\t\n", o.Name, f.Name, f.Fit.Rows,
				100*f.Fit.HeldOutMean, 100*f.Fit.HeldOutMedian, 100*f.Fit.HeldOutP90, 100*f.Fit.Baseline, 100*math.Expm1(f.Fit.Band))
		}
	}
	w.Flush()
	for _, o := range calibrate.Operators() {
		if n := derived[o.Name]; n > 0 {
			fmt.Fprintf(&b, "%s: %d sets of constants derived, not measured\n", o.Name, n)
		}
	}
	return b.String()
}

// writeFitReport adds the report to its folder: report.md, result.json and a plot for
// each operator.
func writeFitReport(folder *report.Folder, p *hwmodel.Profile, scores []calibrate.Score) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Fit of %s\n\n```\n%s```\n", p.Device.Name, fitTable(p, scores))
	type opReport struct {
		calibrate.Score
		Strata []calibrate.Stratum `json:"strata"`
	}
	var all []opReport
	for i := range scores {
		s := &scores[i]
		strata := s.Strata()
		all = append(all, opReport{*s, strata})
		folder.Plot(report.Plot{Name: s.Op, Chart: fitPlot(s, p)})
		fmt.Fprintf(&b, "\n## %s\n\nOn the rows fitted: MAPE %.1f %%, median %.1f %%, bias %+.1f %%, %.0f %% of rows inside the stated band.\n\n![predicted over measured](%s.png)\n\n",
			s.Op, 100*s.Mean, 100*s.Median, 100*s.Bias, 100*s.Inside, s.Op)
		b.WriteString("| rows where | number | MAPE | bias |\n|---|--:|--:|--:|\n")
		for _, x := range strata {
			fmt.Fprintf(&b, "| %s | %d | %.1f %% | %+.1f %% |\n", x.Name, x.Rows, 100*x.Mean, 100*x.Bias)
		}
		b.WriteString("\n| worst rows | source | predicted us | measured us |\n|---|---|--:|--:|\n")
		for _, w := range s.Worst() {
			fmt.Fprintf(&b, "| %s | %s, %s:%d | %.4g | %.4g |\n", w.Describe(), w.Row.Source, w.Row.File, w.Row.Line, 1e6*w.Estimate.Seconds, 1e6*w.Row.Seconds)
		}
	}
	folder.Write("report.md", []byte(b.String()))
	data, err := encode(struct {
		Format string     `json:"format"`
		Device string     `json:"device"`
		Rows   []opReport `json:"rows"`
	}{scoreFormat, p.Device.Name, all})
	if err != nil {
		return err
	}
	folder.Write(report.ResultFile, data)
	return nil
}

// fitPlot draws predicted over measured times, a cloud for each source.
func fitPlot(s *calibrate.Score, p *hwmodel.Profile) chart.Lines {
	const most = 1500 // points a cloud; more cover one another
	c := chart.Lines{
		Title:    s.Op + " on " + p.Device.Name,
		Subtitle: fmt.Sprintf("%d rows, MAPE %.1f %%, median %.1f %%", s.Rows, 100*s.Mean, 100*s.Median),
		X:        chart.Axis{Label: "measured", Unit: chart.Seconds, Log: true}, Y: chart.Axis{Label: "predicted", Unit: chart.Seconds, Log: true},
		Width: 640, Height: 560,
	}
	rows := s.Priced()
	low, high := 0.0, 0.0
	clouds := map[string]int{}
	count := map[string]int{}
	for i := range rows {
		count[rows[i].Row.Source]++
	}
	seen := map[string]int{}
	for i := range rows {
		r := rows[i].Row
		if low == 0 || r.Seconds < low {
			low = r.Seconds
		}
		high = max(high, r.Seconds)
		j, ok := clouds[r.Source]
		if !ok {
			j = len(c.Series)
			clouds[r.Source] = j
			c.Series = append(c.Series, chart.Series{Name: r.Source, Cloud: true})
		}
		k := seen[r.Source]
		seen[r.Source]++
		if n := count[r.Source]; n > most && k*most/n == (k+1)*most/n {
			continue
		}
		c.Series[j].X, c.Series[j].Y = append(c.Series[j].X, r.Seconds), append(c.Series[j].Y, rows[i].Estimate.Seconds)
	}
	c.Series = append(c.Series, chart.Series{Name: "equal", X: []float64{low, high}, Y: []float64{low, high}})
	return c
}
