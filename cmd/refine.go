package cmd

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"orrery/hwmodel"
	"orrery/internal/names"
	"orrery/report"
	"orrery/workloads/diffusion"
	"orrery/workloads/planning"
	"orrery/workloads/planning/refine"
)

type refineFlags struct {
	refine.Setting
	gpu, framework string
	json           bool
}

// refineAnswer is what refine prints with --json.
type refineAnswer struct {
	Horizon   int         `json:"horizon"`
	Starts    int         `json:"starts"`
	Memory    int         `json:"memory"`
	Level     float64     `json:"level"`
	Seed      uint64      `json:"seed"`
	GPU       string      `json:"gpu"`
	Framework string      `json:"framework"`
	Ways      []refineWay `json:"ways"`
	Derived   bool        `json:"derived"`
}

type refineWay struct {
	Name     string        `json:"name"`
	Passes   int           `json:"sequence_passes"`
	Steps    int           `json:"denoising_steps"`
	RMSE     report.Number `json:"rmse"`
	Surprise float64       `json:"surprise"`
	Hits     float64       `json:"hits"`
	Spread   float64       `json:"spread"`
	Kernels  int           `json:"kernels"` // of Trajectory Diffuser's networks
	Seconds  float64       `json:"seconds"`
}

func (a *app) refineCmd() *cobra.Command {
	f := refineFlags{Setting: refine.Usual}
	c := &cobra.Command{
		Use:   "refine",
		Short: "Say what a guessed plan is worth that a few denoising steps refine",
		Long: `Refine makes plans for walks around an obstacle, whose diffusion model is known in closed form: a
guess point by point, the guess refined in a few denoising steps, and the same from noise in few
steps and in many. It says how far each ends from the exact flow, how likely the plans are, and how
many go through the obstacle; and what each would cost with the networks of Trajectory Diffuser.`,
		Example: `  orrery refine
  orrery refine --level 0.1 --few 2 --gpu a100-sxm-80gb`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return inputErrorf("%d arguments; want none, only flags", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return a.refine(c.Context(), &f) },
	}
	fs := c.Flags()
	fs.IntVar(&f.Horizon, "horizon", f.Horizon, "points of a plan")
	fs.IntVar(&f.Starts, "starts", f.Starts, "starts that plans are made from")
	fs.IntVar(&f.Memory, "memory", f.Memory, "points that the guess looks back on")
	fs.IntVar(&f.Few, "few", f.Few, "denoising steps of a refinement, and of a short run from noise")
	fs.IntVar(&f.Many, "many", f.Many, "denoising steps of a long run")
	fs.Float64Var(&f.Level, "level", f.Level, "level of noise at which a guess is put in, 0 to 1")
	fs.Uint64Var(&f.Seed, "seed", f.Seed, "seed of starts and noises")
	fs.StringVar(&f.gpu, "gpu", "rtx-2080-ti-11gb", "device that plans are priced on")
	fs.StringVar(&f.framework, "framework", "diffusers", "framework that runs them: "+strings.Join(hwmodel.Frameworks(), ", "))
	fs.BoolVar(&f.json, "json", false, "print JSON on standard output")
	return c
}

func (a *app) refine(ctx context.Context, f *refineFlags) error {
	if err := f.Check(); err != nil {
		return badInput{err}
	}
	prices, err := newRefinePrices(f)
	if err != nil {
		return err
	}
	ways, err := refine.Compare(ctx, f.Setting)
	switch {
	case ctx.Err() != nil:
		return errNothing
	case err != nil:
		return badInput{err}
	}
	x := &refineAnswer{Horizon: f.Horizon, Starts: f.Starts, Memory: f.Memory, Level: f.Level, Seed: f.Seed, GPU: f.gpu, Framework: f.framework}
	for _, w := range ways {
		row := refineWay{Name: w.Name, Passes: w.Passes, Steps: w.Steps, RMSE: report.Number(w.RMSE), Surprise: w.Surprise, Hits: w.Hits, Spread: w.Spread}
		if err := prices.of(&row); err != nil {
			return err
		}
		x.Ways = append(x.Ways, row)
	}
	x.Derived = prices.derived
	return a.showPlain(x, x.text(), f.json)
}

// refinePrices are the phases of Trajectory Diffuser, priced: those of a sequence model's pass
// and of a denoising step add up.
type refinePrices struct {
	q         *diffusion.Pricer
	framework *hwmodel.Framework
	horizon   int
	derived   bool
}

func newRefinePrices(f *refineFlags) (*refinePrices, error) {
	p, err := hwmodel.Load(f.gpu)
	if err != nil {
		return nil, badInput{names.Unknown("device", f.gpu, hwmodel.Names())}
	}
	framework, err := hwmodel.LoadFramework(f.framework)
	if err != nil {
		return nil, badInput{err}
	}
	q, err := diffusion.NewPricer(p, framework)
	if err != nil {
		return nil, badInput{err}
	}
	return &refinePrices{q: q, framework: framework, horizon: f.Horizon}, nil
}

// of says how many kernels a way's plan takes, and how long.
func (r *refinePrices) of(w *refineWay) error {
	if w.Passes == 0 && w.Steps == 0 {
		return nil // a draw from the model is no plan that anybody could make
	}
	p, err := planning.Load("trajectory-diffuser")
	if err != nil {
		return err
	}
	program, err := p.Program(planning.Setting{Horizon: r.horizon, Steps: max(w.Steps, 1)})
	if err != nil {
		return badInput{err}
	}
	cost, err := program.Price(r.q, r.framework, false)
	if err != nil {
		return badInput{err}
	}
	r.derived = r.derived || cost.Derived
	for _, phase := range cost.Phases {
		if phase.Name == "generate" && w.Passes == 0 || phase.Name == "refine" && w.Steps == 0 {
			continue
		}
		w.Kernels += program.PhaseKernels(phase.Name)
		w.Seconds += phase.Seconds
	}
	return nil
}

// text returns what is printed.
func (x *refineAnswer) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Plans of %d points from %d starts; guesses look back on %d points and are put in at level %g\n\n", x.Horizon, x.Starts, x.Memory, x.Level)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "plan\tpasses\tsteps\toff the flow\tsurprise\thit\tspread\tkernels\ta plan\t\n")
	for _, w := range x.Ways {
		off, kernels, seconds := "-", "-", "-"
		if w.Steps > 0 {
			off = fmt.Sprintf("%.4f", float64(w.RMSE))
		}
		if w.Kernels > 0 {
			kernels, seconds = fmt.Sprint(w.Kernels), millis(report.Number(w.Seconds))
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%+.2f\t%.1f %%\t%.2f\t%s\t%s\t\n", w.Name, w.Passes, w.Steps, off, w.Surprise, 100*w.Hits, w.Spread, kernels, seconds)
	}
	t.Flush()
	fmt.Fprintf(&b, "\noff the flow: RMSE from where the exact flow ends. surprise: nats a number above a walk of the model,\nless is likelier. hit: plans through the obstacle. kernels and time: Trajectory Diffuser's networks on %s\n", x.GPU)
	if x.Derived {
		fmt.Fprintf(&b, "! times on %s are derived from other boards\n", x.GPU)
	}
	return b.String()
}
