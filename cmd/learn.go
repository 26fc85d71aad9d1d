package cmd

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"orrery/policies/lrsched"
	"orrery/workloads/quality"
)

func (a *app) learnCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "learn",
		Short: "Train small classifiers for real, to see what schedules of the learning rate are worth",
		Long: `Learn trains on this machine's processor, on small public tables or one's own, and says what
schedules of the learning rate make of a budget. Tables of one's own are files in CSV (the class
last), ARFF or LIBSVM format, perhaps packed by gzip.`,
		Args: func(c *cobra.Command, args []string) error {
			return inputErrorf("want a question, such as %s schedules", c.CommandPath())
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	c.AddCommand(a.learnSchedulesCmd(), a.learnRefinedCmd())
	return c
}

// learnFlags are what both questions have.
type learnFlags struct {
	optimiser string
	rates     []float64
	batch     int
	runs      int
	seed      uint64
	json      bool
}

func (f *learnFlags) add(c *cobra.Command, batch, runs int) {
	fs := c.Flags()
	fs.StringVar(&f.optimiser, "optimiser", "sgd", "sgd or adam")
	fs.Float64SliceVar(&f.rates, "rates", nil, "peak rates, of which each schedule takes its best (default: by optimiser)")
	fs.IntVar(&f.batch, "batch", batch, "samples of a step")
	fs.IntVar(&f.runs, "runs", runs, "runs that each figure is the mean of")
	fs.Uint64Var(&f.seed, "seed", 1, "seed of splits, first weights and batches")
	fs.BoolVar(&f.json, "json", false, "print JSON on standard output")
}

func (f *learnFlags) check() error {
	switch {
	case f.optimiser != "sgd" && f.optimiser != "adam":
		return inputErrorf("--optimiser %s; want sgd or adam", f.optimiser)
	case f.batch < 1:
		return inputErrorf("--batch %d; want 1 or more", f.batch)
	case f.runs < 2:
		return inputErrorf("--runs %d; want 2 or more, for a standard error", f.runs)
	}
	for _, r := range f.rates {
		if !(r > 0 && r <= math.MaxFloat64) {
			return inputErrorf("--rates %g; want positive numbers", r)
		}
	}
	return nil
}

// tables reads those that are named, shipped ones or files.
func tables(named []string) ([]*quality.Dataset, error) {
	var out []*quality.Dataset
	for _, name := range named {
		load := quality.Table
		if strings.ContainsAny(name, "./") {
			load = quality.OpenDataset
		}
		d, err := load(name)
		if err != nil {
			return nil, badInput{err}
		}
		out = append(out, d)
	}
	return out, nil
}

// contenders loads schedules by name.
func contenders(named []string) ([]quality.Contender, error) {
	var out []quality.Contender
	for _, name := range named {
		p, err := lrsched.Load(name)
		if err != nil {
			return nil, badInput{err}
		}
		out = append(out, quality.Contender{Name: name, Schedule: lrsched.Of(p)})
	}
	return out, nil
}

type learnSchedulesFlags struct {
	learnFlags
	schedules []string
	budgets   []int
	hidden    int
}

// learnSchedulesAnswer is what learn schedules prints with --json.
type learnSchedulesAnswer struct {
	Optimiser string        `json:"optimiser"`
	Runs      int           `json:"runs"`
	Seed      uint64        `json:"seed"`
	Schedules []string      `json:"schedules"`
	Tables    []string      `json:"tables"`
	Budgets   []learnBudget `json:"budgets"`
	MeanRanks []float64     `json:"mean_ranks"`
	Cells     []learnCell   `json:"cells"`
	found     *quality.Comparison
}

type learnBudget struct {
	Steps int       `json:"steps"`
	Ranks []float64 `json:"ranks"`
	Edges []int     `json:"at_the_edge_of_rates"`
}

type learnCell struct {
	Table    string  `json:"table"`
	Steps    int     `json:"steps"`
	Schedule string  `json:"schedule"`
	Loss     float64 `json:"loss"`
	Error    float64 `json:"test_error"`
	ErrorSE  float64 `json:"test_error_se"`
	Peak     float64 `json:"peak_rate"`
	Edge     bool    `json:"at_the_edge_of_rates"`
}

func (a *app) learnSchedulesCmd() *cobra.Command {
	var f learnSchedulesFlags
	c := &cobra.Command{
		Use:   "schedules [TABLE|FILE...]",
		Short: "Rank schedules of the learning rate by the loss they end with at each budget",
		Long: `Schedules trains a classifier with one hidden layer on 70 % of each table, with every schedule
stretched to every budget and at the best of several peak rates, and ranks the schedules by the final loss
on these samples. Errors on the other 30 % come with their standard errors; they rarely tell
schedules apart.`,
		Example: `  orrery learn schedules
  orrery learn schedules vowel glass --optimiser adam --budgets 100,1000
  orrery learn schedules mine.csv --schedules linear,rex,cosine --runs 5`,
		RunE: func(c *cobra.Command, args []string) error { return a.learnSchedules(c.Context(), args, &f) },
	}
	f.add(c, 32, 3)
	fs := c.Flags()
	fs.StringSliceVar(&f.schedules, "schedules", []string{"constant", "exponential", "step-50-75", "step-30-60-90", "cosine", "onecycle", "linear", "rex"}, "schedules; orrery list schedules")
	fs.IntSliceVar(&f.budgets, "budgets", []int{10, 50, 100, 250, 500, 1000}, "steps")
	fs.IntVar(&f.hidden, "hidden", 32, "units of the hidden layer, 0 for none")
	return c
}

// suite makes the comparison that the flags ask for.
func (f *learnSchedulesFlags) suite(args []string) (*quality.Suite, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.hidden < 0 || f.hidden > 4096 {
		return nil, inputErrorf("--hidden %d; want 0 to 4096", f.hidden)
	}
	for _, steps := range f.budgets {
		if steps < 1 {
			return nil, inputErrorf("--budgets %d; want 1 step or more", steps)
		}
	}
	if len(args) == 0 {
		args = []string{"digits", "vehicle", "vowel", "satellite", "letter", "dna", "ionosphere", "glass"}
	}
	data, err := tables(args)
	if err != nil {
		return nil, err
	}
	schedules, err := contenders(f.schedules)
	if err != nil {
		return nil, err
	}
	s := &quality.Suite{Tables: data, Schedules: schedules, Optimiser: quality.SGD(0.9), Grid: []float64{.03, .1, .3, .9},
		Budgets: f.budgets, Hidden: f.hidden, Batch: f.batch, TrainShare: 0.7, Runs: f.runs, Seed: f.seed}
	if f.optimiser == "adam" {
		s.Optimiser, s.Grid = quality.Adam(), []float64{1e-3, 3e-3, 1e-2, 3e-2}
	}
	if len(f.rates) > 0 {
		s.Grid = slices.Sorted(slices.Values(f.rates))
	}
	return s, nil
}

func (a *app) learnSchedules(ctx context.Context, args []string, f *learnSchedulesFlags) error {
	s, err := f.suite(args)
	if err != nil {
		return err
	}
	a.note("training %d classifiers", len(s.Tables)*len(s.Schedules)*len(s.Budgets)*len(s.Grid)*s.Runs)
	found, err := s.Run(ctx)
	switch {
	case ctx.Err() != nil:
		return errNothing
	case err != nil:
		return badInput{err}
	}
	answer := &learnSchedulesAnswer{Optimiser: f.optimiser, Runs: f.runs, Seed: f.seed, Schedules: found.Schedules,
		Tables: found.Tables, MeanRanks: found.MeanRanks(), found: found}
	answer.fill()
	return a.showPlain(answer, answer.text(), f.json)
}

// showPlain prints an answer for which nothing is written.
func (a *app) showPlain(answer any, text string, asJSON bool) error {
	if asJSON {
		data, err := encode(answer)
		if err != nil {
			return err
		}
		text = string(data)
	}
	_, err := fmt.Fprint(a.out, text)
	return err
}

func (x *learnSchedulesAnswer) fill() {
	for b, steps := range x.found.Budgets {
		row := learnBudget{Steps: steps, Ranks: x.found.Ranks(b)}
		for i := range x.Schedules {
			row.Edges = append(row.Edges, x.found.Edges(b, i))
		}
		x.Budgets = append(x.Budgets, row)
		for t, table := range x.Tables {
			for i, schedule := range x.Schedules {
				c := x.found.Cell(t, b, i)
				x.Cells = append(x.Cells, learnCell{table, steps, schedule, c.Loss, c.Error, c.ErrorSE, c.Peak, c.Edge})
			}
		}
	}
}

func (x *learnSchedulesAnswer) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Rank of the final loss on what was trained on, 1 is best: mean over %s; %s, %d runs, seed %d\n", count(len(x.Tables), "table"), x.Optimiser, x.Runs, x.Seed)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	duel := slices.Contains(x.Schedules, "rex") && slices.Contains(x.Schedules, "linear")
	fmt.Fprintf(w, "steps\t%s\t", strings.Join(x.Schedules, "\t"))
	if duel {
		fmt.Fprint(w, "rex/linear\twins\t")
	}
	fmt.Fprintln(w, "edges\t")
	for i, row := range x.Budgets {
		fmt.Fprintf(w, "%d\t%s", row.Steps, ranks(row.Ranks))
		if duel {
			ratio, wins := x.found.Duel(i, "rex", "linear")
			fmt.Fprintf(w, "%.3f\t%d of %d\t", ratio, wins, len(x.Tables))
		}
		edges := 0
		for _, e := range row.Edges {
			edges += e
		}
		fmt.Fprintf(w, "%d of %d\t\n", edges, len(x.Tables)*len(x.Schedules))
	}
	fmt.Fprintf(w, "all\t%s\n", ranks(x.MeanRanks))
	w.Flush() // to memory: it cannot fail
	b.WriteString("rex/linear is the geometric mean of the ratio of losses; edges counts best rates at the end of the grid.\n")
	x.errors(&b)
	return b.String()
}

// errors writes the errors on other samples after the longest budget.
func (x *learnSchedulesAnswer) errors(b *strings.Builder) {
	last := len(x.Budgets) - 1
	fmt.Fprintf(b, "\nErrors on the other samples after %d steps, %% +- standard error\n", x.Budgets[last].Steps)
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "table\t%s\t\n", strings.Join(x.Schedules, "\t"))
	for t, table := range x.Tables {
		fmt.Fprintf(w, "%s\t", table)
		for i := range x.Schedules {
			c := x.found.Cell(t, last, i)
			fmt.Fprintf(w, "%.1f +- %.1f\t", 100*c.Error, 100*c.ErrorSE)
		}
		fmt.Fprintln(w)
	}
	w.Flush() // to memory: it cannot fail
}

func ranks(all []float64) string {
	var b strings.Builder
	for _, r := range all {
		fmt.Fprintf(&b, "%.2f\t", r)
	}
	return b.String()
}
