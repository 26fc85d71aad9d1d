package quality

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// Trial asks what a schedule refined from the gradients of an earlier run is worth: it
// trains a linear classifier, whose least loss is known, with it and with others.
type Trial struct {
	Table     *Dataset
	Optimiser Optimiser
	Decay     float64
	Steps     int
	Batch     func(step int) int // samples of a step
	Replace   bool               // as in [Training]
	Grid      []float64          // peak rates, of which each schedule takes its best
	// Schedules are those to compare with. The first is the one of the runs whose norms are recorded.
	Schedules []Contender
	// Refine makes a schedule of the norms of the gradients of batches, by step. It returns an
	// error where they do not serve, and perhaps what it would have made of them with it.
	Refine func(norms []float64) (Schedule, error)
	SumAbs bool // Refine takes the sums of absolute values, not the Euclidean norms
	// Recordings is over how many runs the norms are averaged, Runs over how many others each
	// schedule is judged.
	Recordings, Runs int
	Seed             uint64
}

// Outcome is a schedule at its best peak rate.
type Outcome struct {
	Name    string
	Gap, SE float64 // mean of the loss over the least one, and the standard error of that
	Error   float64 // mean share of errors on the table
	Peak    float64
	Edge    bool // the peak rate is the lowest or the highest of the grid
}

// Verdict is what a trial found.
type Verdict struct {
	Table    string
	Least    float64   // loss
	Outcomes []Outcome // by schedule, and the refined one last if there is one
	Refused  error     // what Refine said
}

// Refined returns the outcome of the refined schedule, if there is one.
func (v *Verdict) Refined() (Outcome, bool) {
	last := v.Outcomes[len(v.Outcomes)-1]
	return last, last.Name == refinedName
}

// Ratio returns the gap of a schedule over that of the first.
func (v *Verdict) Ratio(name string) float64 {
	i := slices.IndexFunc(v.Outcomes, func(o Outcome) bool { return o.Name == name })
	if i < 0 {
		return math.NaN()
	}
	return v.Outcomes[i].Gap / v.Outcomes[0].Gap
}

// Safe returns the refined schedule's outcome, or the first's where the refinement was
// refused: what one gets who follows the advice.
func (v *Verdict) Safe() Outcome {
	if v.Refused != nil {
		return v.Outcomes[0]
	}
	return v.Outcomes[len(v.Outcomes)-1]
}

const refinedName = "refined"

// resolved is the smallest gap that the least loss is known well enough for.
const resolved = 1e-12

// recording keeps the seeds of recorded runs apart from those of the runs that judge.
const recording = 1000

// Run carries the trial out.
func (t *Trial) Run(ctx context.Context) (*Verdict, error) {
	if len(t.Schedules) == 0 || t.Recordings < 1 || t.Runs < 1 || len(t.Grid) == 0 {
		return nil, fmt.Errorf("%s: a trial of %d schedules, %d rates, %d recordings and %d runs; want at least one of each", t.Table.Name, len(t.Schedules), len(t.Grid), t.Recordings, t.Runs)
	}
	v := &Verdict{Table: t.Table.Name}
	var err error
	if v.Least, err = Optimum(t.model(), t.Table); err != nil {
		return nil, err
	}
	for _, c := range t.Schedules {
		o, err := t.tune(ctx, c, v.Least)
		if err != nil {
			return nil, err
		}
		v.Outcomes = append(v.Outcomes, o)
	}
	norms, err := t.record(t.Schedules[0].Schedule, v.Outcomes[0].Peak)
	if err != nil {
		return nil, err
	}
	refined, refused := t.Refine(norms)
	v.Refused = refused
	if refined == nil {
		return v, nil
	}
	o, err := t.tune(ctx, Contender{refinedName, refined}, v.Least)
	v.Outcomes = append(v.Outcomes, o)
	return v, err
}

func (t *Trial) model() Classifier {
	c := For(t.Table, 0)
	c.Decay = t.Decay
	return c
}

func (t *Trial) training(s Schedule, peak float64, seed uint64) *Training {
	return &Training{Model: t.model(), Optimiser: t.Optimiser, Steps: t.Steps, Batch: t.Batch, Replace: t.Replace,
		Peak: peak, Schedule: s, Seed: seed}
}

// tune judges a schedule at every peak rate and returns the best.
func (t *Trial) tune(ctx context.Context, c Contender, least float64) (Outcome, error) {
	if _, watches := c.Schedule.(observer); watches {
		return Outcome{}, fmt.Errorf("%s watches its run; want schedules that do not, as many runs share one", c.Name)
	}
	tried := make([]Outcome, len(t.Grid))
	err := inParallel(len(t.Grid), func(i int) error {
		losses, o := make([]float64, t.Runs), &tried[i]
		for r := range losses {
			if err := ctx.Err(); err != nil {
				return err
			}
			trained, err := t.training(c.Schedule, t.Grid[i], t.Seed+uint64(r)).Run(t.Table)
			if err != nil {
				return err
			}
			loss, wrong := trained.Evaluate(t.Table)
			losses[r] = max(loss-least, resolved)
			o.Error += wrong / float64(t.Runs)
		}
		o.Gap, o.SE = meanSE(losses)
		o.Name, o.Peak, o.Edge = c.Name, t.Grid[i], i == 0 || i == len(t.Grid)-1
		return nil
	})
	if err != nil {
		return Outcome{}, err
	}
	best := slices.IndexFunc(tried, func(o Outcome) bool { return !math.IsNaN(o.Gap) })
	for i, o := range tried {
		if best >= 0 && o.Gap < tried[best].Gap {
			best = i
		}
	}
	if best < 0 || math.IsInf(tried[best].Gap, 1) {
		return Outcome{}, errDiverged(t.Table.Name, c.Name, t.Grid)
	}
	return tried[best], nil
}

// record returns the norms of the gradients by step, averaged over runs.
func (t *Trial) record(s Schedule, peak float64) ([]float64, error) {
	norms := make([]float64, t.Steps)
	for r := range t.Recordings {
		training := t.training(s, peak, t.Seed+recording+uint64(r))
		training.Observe = func(step int, _ float64, grad []float64) {
			l2, l1 := Norms(grad)
			if t.SumAbs {
				l2 = l1
			}
			norms[step] += l2 / float64(t.Recordings)
		}
		if _, err := training.Run(t.Table); err != nil {
			return nil, err
		}
	}
	return norms, nil
}
