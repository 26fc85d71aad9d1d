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

type learnRefinedFlags struct {
	learnFlags
	steps, epochs int
	then          int
	at            float64
	decay         float64
	replace       bool
	recordings    int
}

// learnRefinedAnswer is what learn refined prints with --json.
type learnRefinedAnswer struct {
	Optimiser string         `json:"optimiser"`
	Runs      int            `json:"runs"`
	Seed      uint64         `json:"seed"`
	Tables    []learnVerdict `json:"tables"`
	GeoMean   float64        `json:"geometric_mean_of_advice"`
}

type learnVerdict struct {
	Table    string         `json:"table"`
	Steps    int            `json:"steps"`
	Least    float64        `json:"least_loss"`
	Outcomes []learnOutcome `json:"outcomes"`
	Refused  string         `json:"refused,omitempty"`
	Advice   float64        `json:"advice_over_linear"`
}

type learnOutcome struct {
	Schedule string  `json:"schedule"`
	Gap      float64 `json:"gap"`
	SE       float64 `json:"gap_se"`
	Ratio    float64 `json:"over_linear"`
	Error    float64 `json:"error"`
	Peak     float64 `json:"peak_rate"`
	Edge     bool    `json:"at_the_edge_of_rates"`
}

func (a *app) learnRefinedCmd() *cobra.Command {
	var f learnRefinedFlags
	c := &cobra.Command{
		Use:   "refined [TABLE|FILE...]",
		Short: "Say what a schedule refined from the gradients of an earlier run is worth",
		Long: `Refined trains a linear classifier, whose least loss is known, with a linear schedule, records the
norms of its gradients, refines the schedule from them and trains again: by how much do these and
others miss the least loss? With --then the batch changes in the middle of the run, as it does where
devices are taken away or added.`,
		Example: `  orrery learn refined
  orrery learn refined glass vehicle --optimiser adam --epochs 20 --decay 0
  orrery learn refined heart pima --steps 1500 --batch 64 --then 2 --at 0.6 --decay 1e-3 --replace --recordings 4 --runs 4`,
		RunE: func(c *cobra.Command, args []string) error { return a.learnRefined(c.Context(), args, &f) },
	}
	f.add(c, 16, 8)
	fs := c.Flags()
	fs.IntVar(&f.steps, "steps", 0, "steps of a run (default: by --epochs)")
	fs.IntVar(&f.epochs, "epochs", 30, "times that a run goes through the table")
	fs.IntVar(&f.then, "then", 0, "samples of a step after the change (default: no change)")
	fs.Float64Var(&f.at, "at", 0.5, "share of the run at which the batch changes")
	fs.Float64Var(&f.decay, "decay", 1e-4, "weight decay")
	fs.BoolVar(&f.replace, "replace", false, "draw batches with replacement instead of in epochs")
	fs.IntVar(&f.recordings, "recordings", 1, "runs that the norms are averaged over")
	return c
}

func (f *learnRefinedFlags) check() error {
	switch {
	case f.steps < 0 || f.epochs < 1:
		return inputErrorf("--steps %d and --epochs %d; want 1 or more", f.steps, f.epochs)
	case f.then < 0:
		return inputErrorf("--then %d; want 1 or more", f.then)
	case !(f.at > 0 && f.at < 1):
		return inputErrorf("--at %g; want a share of the run, between 0 and 1", f.at)
	case !(f.decay >= 0 && f.decay <= math.MaxFloat64):
		return inputErrorf("--decay %g; want 0 or more", f.decay)
	case f.recordings < 1:
		return inputErrorf("--recordings %d; want 1 or more", f.recordings)
	}
	return f.learnFlags.check()
}

// trial makes that of one table.
func (f *learnRefinedFlags) trial(d *quality.Dataset) (*quality.Trial, error) {
	schedules, err := contenders([]string{"linear", "cosine", "rex"})
	if err != nil {
		return nil, err
	}
	steps := f.steps
	if steps == 0 {
		steps = max(1, f.epochs*d.Len()/f.batch)
	}
	t := &quality.Trial{Table: d.Scale(d.Scaling()), Optimiser: quality.SGD(0), Decay: f.decay, Steps: steps, Replace: f.replace,
		Batch: f.batches(steps), Grid: octaves(-9, 5), Schedules: schedules, Refine: refiner(lrsched.L2),
		Recordings: f.recordings, Runs: f.runs, Seed: f.seed}
	if f.optimiser == "adam" {
		t.Optimiser, t.SumAbs, t.Refine = quality.Adam(), true, refiner(lrsched.L1)
	}
	if len(f.rates) > 0 {
		t.Grid = slices.Sorted(slices.Values(f.rates))
	}
	return t, nil
}

// batches returns the samples by step.
func (f *learnRefinedFlags) batches(steps int) func(int) int {
	return func(step int) int {
		if f.then > 0 && float64(step) >= f.at*float64(steps) {
			return f.then
		}
		return f.batch
	}
}

// refiner takes the authors' smoothing, a median over a tenth of the run.
func refiner(of lrsched.Norm) func([]float64) (quality.Schedule, error) {
	return func(norms []float64) (quality.Schedule, error) {
		r, err := lrsched.Refine(norms, 0.1, of)
		if r == nil {
			return nil, err
		}
		return r, err
	}
}

// octaves returns 2^from to 2^to.
func octaves(from, to int) []float64 {
	var out []float64
	for k := from; k <= to; k++ {
		out = append(out, math.Exp2(float64(k)))
	}
	return out
}

func (a *app) learnRefined(ctx context.Context, args []string, f *learnRefinedFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"dna", "glass", "heart", "iris", "pima", "sonar", "vehicle", "vowel", "wine"}
	}
	data, err := tables(args)
	if err != nil {
		return err
	}
	answer := &learnRefinedAnswer{Optimiser: f.optimiser, Runs: f.runs, Seed: f.seed}
	logs := 0.0
	for _, d := range data {
		t, err := f.trial(d)
		if err != nil {
			return err
		}
		a.note("training on %s", d.Name)
		v, err := t.Run(ctx)
		switch {
		case ctx.Err() != nil:
			return errNothing
		case err != nil:
			return badInput{err}
		}
		answer.Tables = append(answer.Tables, newLearnVerdict(v, t.Steps))
		logs += math.Log(v.Safe().Gap / v.Outcomes[0].Gap)
	}
	answer.GeoMean = math.Exp(logs / float64(len(data)))
	return a.showPlain(answer, answer.text(), f.json)
}

func newLearnVerdict(v *quality.Verdict, steps int) learnVerdict {
	out := learnVerdict{Table: v.Table, Steps: steps, Least: v.Least, Advice: v.Safe().Gap / v.Outcomes[0].Gap}
	for _, o := range v.Outcomes {
		out.Outcomes = append(out.Outcomes, learnOutcome{o.Name, o.Gap, o.SE, o.Gap / v.Outcomes[0].Gap, o.Error, o.Peak, o.Edge})
	}
	if v.Refused != nil {
		out.Refused = v.Refused.Error()
	}
	return out
}

func (v *learnVerdict) outcome(name string) (learnOutcome, bool) {
	i := slices.IndexFunc(v.Outcomes, func(o learnOutcome) bool { return o.Schedule == name })
	if i < 0 {
		return learnOutcome{}, false
	}
	return v.Outcomes[i], true
}

func (x *learnRefinedAnswer) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Gap to the least loss, over that of the linear schedule; %s, %d runs, seed %d\n", x.Optimiser, x.Runs, x.Seed)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "table\tsteps\tlinear's gap\tcosine\trex\trefined\tadvice\terrors, %: linear\tadvised\t")
	for i := range x.Tables {
		v := &x.Tables[i]
		linear := v.Outcomes[0]
		fmt.Fprintf(w, "%s\t%d\t%.3g +- %.1g\t", v.Table, v.Steps, linear.Gap, linear.SE)
		for _, name := range []string{"cosine", "rex", "refined"} {
			o, ok := v.outcome(name)
			if !ok {
				fmt.Fprint(w, "-\t") // the norms could not be refined at all
				continue
			}
			fmt.Fprintf(w, "%.3g%s\t", o.Ratio, edge(o.Edge || linear.Edge))
		}
		advised := linear
		if refined, ok := v.outcome("refined"); ok && v.Refused == "" {
			advised = refined
		}
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t\n", advised.Schedule, 100*linear.Error, 100*advised.Error)
	}
	w.Flush() // to memory: it cannot fail
	fmt.Fprintf(&b, "Geometric mean of what follows the advice: %.3f. A * marks a best rate at the end of the grid.\n", x.GeoMean)
	return b.String()
}

func edge(is bool) string {
	if is {
		return "*"
	}
	return ""
}
