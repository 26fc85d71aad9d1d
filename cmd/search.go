package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"orrery/hwmodel"
	"orrery/plan/solvers"
	"orrery/report"
	"orrery/workloads/diffusion"
	"orrery/workloads/diffusion/solver"
)

func (a *app) searchCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "search",
		Short: "Search for better schedules than the published ones",
		Long:  `Search looks for schedules; what can be searched is its own command.`,
		Args: func(c *cobra.Command, args []string) error {
			return inputErrorf("want what to search, such as %s solver", c.CommandPath())
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	c.AddCommand(a.searchSolverCmd())
	return c
}

type searchFlags struct {
	nfe         string
	within      time.Duration
	pipeline    string
	gpu         string
	framework   string
	evaluations int
	unguided    bool
	seed        uint64
	journal     string
	out         string
	force       bool
	json        bool
}

func (a *app) searchSolverCmd() *cobra.Command {
	var f searchFlags
	c := &cobra.Command{
		Use:   "solver [MODEL]",
		Short: "Search for the solver schedule that ends nearest to a diffusion model's exact flow",
		Long: `Solver searches, at so many network evaluations (NFE), for the times, orders, predictions and
correctors that take noise nearest to where the exact flow of an analytic diffusion model takes it, and
compares what it found with DDIM, DPM-Solver++, DEIS, UniPC, Heun and others on four grids. The
folder of results has a schedule file for each NFE, which diffusion scenarios take as their sampler.
A search that was interrupted goes on from its journal.

Models: ` + strings.Join(solvers.Beds(), ", ") + `.`,
		Example: `  orrery search solver
  orrery search solver digits --nfe 3-8
  orrery search solver ring --within 300ms --pipeline sd15 --gpu rtx-2080-ti-11gb`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return inputErrorf("%d models; want one of %s", len(args), strings.Join(solvers.Beds(), ", "))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			model := "digits"
			if len(args) == 1 {
				model = args[0]
			}
			if c.Flags().Changed("within") && c.Flags().Changed("nfe") {
				return inputErrorf("--within and --nfe together; want one of them")
			}
			return a.searchSolver(c.Context(), model, &f)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.nfe, "nfe", "5", "network evaluations: a number, a range such as 3-8, or a list")
	fs.DurationVar(&f.within, "within", 0, "search at the most evaluations that make an image in this time, instead of --nfe")
	fs.StringVar(&f.pipeline, "pipeline", "sd15", "pipeline whose images are priced")
	fs.StringVar(&f.gpu, "gpu", "a100-sxm-80gb", "device that they are priced on")
	fs.StringVar(&f.framework, "framework", "diffusers", "framework that runs them: "+strings.Join(hwmodel.Frameworks(), ", "))
	fs.IntVar(&f.evaluations, "evaluations", 600, "schedules that a search tries")
	fs.BoolVar(&f.unguided, "unguided", false, "evolve without a predictor")
	fs.Uint64Var(&f.seed, "seed", 1, "seed of the search and of the noises")
	fs.StringVar(&f.journal, "journal", "", "file that keeps what was tried, to go on from (default: OUT.journal, removed at the end)")
	fs.StringVarP(&f.out, "out", "o", "", "folder for the results (default: results/TIME-RUN)")
	fs.BoolVar(&f.force, "force", false, "replace the results that are in the folder")
	fs.BoolVar(&f.json, "json", false, "print JSON on standard output")
	return c
}

// parseNFE reads 5, 3-8 and 3,5,8.
func parseNFE(text string) ([]int, error) {
	const most = 50
	bad := inputErrorf("--nfe %q; want a number of evaluations from 1 to %d, a range such as 3-8, or a list such as 3,5,8", text, most)
	var out []int
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		from, err := strconv.Atoi(strings.TrimSpace(low))
		to := from
		if err == nil && isRange {
			to, err = strconv.Atoi(strings.TrimSpace(high))
		}
		if err != nil || from < 1 || to > most || to < from {
			return nil, bad
		}
		for n := from; n <= to; n++ {
			if !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

func (a *app) searchSolver(ctx context.Context, model string, f *searchFlags) error {
	bed, err := solvers.OpenBed(model)
	if err != nil {
		return badInput{err}
	}
	if f.evaluations < 1 || f.evaluations > 1_000_000 {
		return inputErrorf("--evaluations %d; want 1 to 1000000", f.evaluations)
	}
	counts, err := f.counts()
	if err != nil {
		return err
	}
	path := f.out
	if path == "" {
		path = "results/" + report.FolderName(time.Now(), uuid.NewString())
	}
	folder, err := createFolder(path, f.force)
	if err != nil {
		return err
	}
	defer folder.Abort()
	journal, temporary := f.journal, f.journal == ""
	if temporary {
		journal = filepath.Clean(path) + ".journal"
	}
	answer := &searchAnswer{Model: model, What: bed.What, Seed: f.seed, Evaluations: f.evaluations, Unguided: f.unguided, Pipeline: f.pipeline, GPU: f.gpu, Framework: f.framework}
	for _, nfe := range counts {
		s := &solvers.Search{Bed: bed, NFE: nfe, Evaluations: f.evaluations, Unguided: f.unguided, Seed: f.seed}
		if err := a.searchOne(ctx, s, journal, answer); err != nil {
			if errors.Is(err, context.Canceled) {
				a.note("orrery search solver ... --seed %d --journal %s goes on from here", f.seed, journal)
				return errJournal
			}
			return err
		}
	}
	if err := answer.price(f); err != nil {
		return err
	}
	if err := answer.write(folder); err != nil {
		return err
	}
	if temporary {
		if err := os.Remove(journal); err != nil {
			a.note("the journal stays: %v", err)
		}
	}
	return a.show(answer, answer.text(), f.json, folder.Path())
}

// counts are the evaluations to search at.
func (f *searchFlags) counts() ([]int, error) {
	if f.within < 0 {
		return nil, inputErrorf("--within %v; want a time", f.within)
	}
	if f.within == 0 {
		if _, err := f.seconds(dearest(1)); err != nil { // before a long search, not after it
			return nil, err
		}
		return parseNFE(f.nfe)
	}
	best := 0
	for nfe := 1; nfe <= 50; nfe++ {
		seconds, err := f.seconds(dearest(nfe))
		if err != nil {
			return nil, err
		}
		if seconds > f.within.Seconds() {
			if best == 0 {
				return nil, inputErrorf("--within %v; want at least %s, which one evaluation of %s takes on %s", f.within, millis(report.Number(seconds)), f.pipeline, f.gpu)
			}
			break
		}
		best = nfe
	}
	return []int{best}, nil
}

// dearest is a schedule that no other of so many evaluations takes longer than: all orders and
// correctors, and an analytical first step beside.
func dearest(nfe int) *solver.Schedule {
	g := solver.Grids()[0]
	s := &solver.Schedule{Times: g.Times(nfe + 1), First: solver.Zero}
	for i := range nfe + 1 {
		step := solver.Step{Order: min(i+1, solver.MaxOrder)}
		if i < nfe {
			step.Corrector = solver.Pseudo
		}
		s.Steps = append(s.Steps, step)
	}
	return s
}

// seconds prices an image by a schedule.
func (f *searchFlags) seconds(s *solver.Schedule) (float64, error) {
	dir, err := os.MkdirTemp("", "orrery-schedule-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "schedule.toml")
	if err := os.WriteFile(file, solver.Encode(s, solver.Note{}), 0o600); err != nil {
		return 0, err
	}
	p, err := diffusion.LoadPipeline(f.pipeline)
	if err != nil {
		return 0, badInput{err}
	}
	j := p.Job()
	j.Sampler, j.Steps = file, len(s.Steps)
	if err := j.Validate(); err != nil {
		return 0, inputErrorf("--pipeline %s: %s", f.pipeline, strings.ReplaceAll(err.Error(), file, "a searched schedule"))
	}
	cost, err := price(j, f.gpu, f.framework)
	if err != nil {
		return 0, err
	}
	return cost.Seconds, nil
}

// searchOne adds the result of a search to the answer.
func (a *app) searchOne(ctx context.Context, s *solvers.Search, journal string, x *searchAnswer) error {
	if err := os.MkdirAll(filepath.Dir(journal), 0o755); err != nil {
		return err
	}
	j, err := solvers.OpenJournal(journal, s)
	if err != nil {
		return badInput{err}
	}
	defer j.Close()
	if j.Damaged > 0 {
		a.note("%s: %d lines are damaged; what they had is tried again", journal, j.Damaged)
	}
	bar := a.newProgress(fmt.Sprintf("NFE %d", s.NFE))
	s.Known, s.Progress = j, func(p solvers.Progress) { bar.set(int64(p.Done), int64(p.Of)) }
	r, err := s.Run(ctx)
	bar.end()
	if err != nil {
		return err
	}
	equal, name, err := s.Bed.Equal(ctx, r.Test.RMSE, s.Seed, s.NFE, max(4*s.NFE, 12))
	if err != nil {
		return err
	}
	x.add(r, equal, name)
	return nil
}

// searchAnswer is what search solver writes and, with --json, prints.
type searchAnswer struct {
	Model       string        `json:"model"`
	What        string        `json:"what"`
	Seed        uint64        `json:"seed"`
	Evaluations int           `json:"evaluations"`
	Unguided    bool          `json:"unguided"`
	Pipeline    string        `json:"pipeline"`
	GPU         string        `json:"gpu"`
	Framework   string        `json:"framework"`
	Results     []searchFound `json:"results"`
}

type searchFound struct {
	NFE      int           `json:"nfe"`
	File     string        `json:"file"`
	Score    solvers.Score `json:"score"`
	FellBack string        `json:"fell_back_on,omitempty"`
	Fixed    []searchFixed `json:"fixed"` // the best first
	Naive    solvers.Score `json:"dpm_solver_pp_2m_logsnr"`
	Tau      float64       `json:"tau"`
	Equal    int           `json:"equal_fixed_nfe"` // 0: none up to four times as many
	EqualBy  string        `json:"equal_fixed,omitempty"`
	Seconds  float64       `json:"seconds"` // of an image
	EqualS   float64       `json:"equal_fixed_seconds"`
	Trace    []float64     `json:"least_rmse_by_evaluation"`
	schedule *solver.Schedule
}

type searchFixed struct {
	Solver string        `json:"solver"`
	Grid   string        `json:"grid"`
	Score  solvers.Score `json:"score"`
}

func (x *searchAnswer) add(r *solvers.Result, equal int, by string) {
	f := searchFound{NFE: r.NFE, File: fmt.Sprintf("schedule-%d.toml", r.NFE), Score: r.Test, FellBack: r.FellBack, Naive: r.Naive, Tau: r.Tau, Equal: equal, EqualBy: by, Trace: r.Trace, schedule: r.Winner}
	for _, k := range r.Fixed {
		f.Fixed = append(f.Fixed, searchFixed{k.Solver, k.Grid, k.Score})
	}
	x.Results = append(x.Results, f)
}

// price says what an image by each schedule takes, and by the fixed one that equals it.
func (x *searchAnswer) price(f *searchFlags) error {
	for i := range x.Results {
		r := &x.Results[i]
		var err error
		if r.Seconds, err = f.seconds(r.schedule); err != nil {
			return err
		}
		if r.Equal == 0 {
			continue
		}
		name, grid, _ := strings.Cut(r.EqualBy, " on ")
		fixed, err := solver.LoadFixed(name)
		if err != nil {
			return err
		}
		g, err := solver.LoadGrid(grid)
		if err != nil {
			return err
		}
		s, err := fixed.Schedule(r.Equal, g)
		if err != nil {
			return err
		}
		if r.EqualS, err = f.seconds(s); err != nil {
			return err
		}
	}
	return nil
}

// note is what a schedule's file says beside it.
func (x *searchAnswer) note(r *searchFound) solver.Note {
	best := r.Fixed[0]
	source := fmt.Sprintf("orrery search solver %s --nfe %d --evaluations %d --seed %d", x.Model, r.NFE, x.Evaluations, x.Seed)
	if r.FellBack != "" {
		source += "; nothing was better than " + r.FellBack
	}
	return solver.Note{Source: source, Quality: []solver.Figure{
		{Name: "rmse", Value: r.Score.RMSE}, {Name: "frechet", Value: r.Score.Frechet},
		{Name: "best_fixed_rmse", Value: best.Score.RMSE}, {Name: "image_seconds", Value: r.Seconds},
	}}
}

func (x *searchAnswer) write(folder *report.Folder) error {
	data, err := encode(x)
	if err != nil {
		return err
	}
	folder.Write(report.ResultFile, data)
	folder.Write("table.txt", []byte(x.text()))
	for i := range x.Results {
		r := &x.Results[i]
		folder.Write(r.File, solver.Encode(r.schedule, x.note(r)))
	}
	for _, p := range x.plots() {
		folder.Plot(p)
	}
	return folder.Commit()
}

// text returns what is printed.
func (x *searchAnswer) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\nRMSE from the exact flow, on noises that the search has not seen; images by %s on %s\n\n", x.Model, x.What, x.Pipeline, x.GPU)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "NFE\tsearched\tFrechet\tbest fixed\tFrechet\tby\ttimes\t2M++, log SNR\ttimes\timage\tfixed that equals it\timage\t")
	for i := range x.Results {
		r := &x.Results[i]
		best := r.Fixed[0]
		equal, seconds := "-", "-"
		if r.Equal > 0 {
			equal, seconds = fmt.Sprintf("NFE %d", r.Equal), millis(report.Number(r.EqualS))
		}
		fmt.Fprintf(t, "%d\t%.4f\t%.2g\t%.4f\t%.2g\t%s\t%.2f\t%.4f\t%.2f\t%s\t%s\t%s\t\n", r.NFE, r.Score.RMSE, r.Score.Frechet, best.Score.RMSE, best.Score.Frechet,
			best.Solver+" on "+best.Grid, r.Score.RMSE/best.Score.RMSE, r.Naive.RMSE, r.Score.RMSE/r.Naive.RMSE, millis(report.Number(r.Seconds)), equal, seconds)
	}
	t.Flush()
	for i := range x.Results {
		if r := &x.Results[i]; r.FellBack != "" {
			fmt.Fprintf(&b, "\nNFE %d: nothing that was found is better than %s on fresh noises, so the schedule is that one", r.NFE, r.FellBack)
		}
	}
	fmt.Fprintf(&b, "\ntimes: searched over fixed. Use a schedule in a scenario with sampler = \"FOLDER/schedule-NFE.toml\" and steps = those that the file has.\n")
	return b.String()
}
