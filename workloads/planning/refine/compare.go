package refine

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"orrery/workloads/diffusion/analytic"
	"orrery/workloads/diffusion/solver"
)

// Setting is what is compared.
type Setting struct {
	Horizon int
	Starts  int     // walks begin at so many points
	Memory  int     // points that the guess looks back on
	Few     int     // denoising steps of a refinement, and of a short run from noise
	Many    int     // of a long one
	Level   float64 // time at which a guess is put in, between data (0) and noise (1)
	Seed    uint64
}

// Usual are Trajectory Diffuser's sizes for a hopper, and a level at which the model still knows
// the guess's route.
var Usual = Setting{Horizon: 16, Starts: 400, Memory: 4, Few: 5, Many: 20, Level: 0.3, Seed: 1}

// Way is a way to make a plan, and what its plans are worth.
type Way struct {
	Name   string
	Passes int // of the sequence model
	Steps  int // of denoising
	// RMSE is the distance from where the exact flow takes the same beginning, the root of the mean
	// square over points: what the steps lose. NaN where there are none.
	RMSE float64
	// Surprise is the mean over plans of the negative log density, a number, above that of walks
	// drawn from the model.
	Surprise float64
	Hits     float64 // share of plans that go through the obstacle
	Spread   float64 // of all plans about their mean, the root of the mean square over points
}

// Check returns an error unless the setting makes sense.
func (s Setting) Check() error {
	switch {
	case s.Horizon < 4 || s.Horizon > 64:
		return fmt.Errorf("a horizon of %d points; want 4 to 64", s.Horizon)
	case s.Starts < 1 || s.Starts > 100_000:
		return fmt.Errorf("%d starts; want 1 to 100000", s.Starts)
	case s.Memory < 1 || s.Memory >= s.Horizon:
		return fmt.Errorf("a memory of %d points; want 1 to %d", s.Memory, s.Horizon-1)
	case s.Few < 1 || s.Many < 1 || s.Few > 1000 || s.Many > 1000:
		return fmt.Errorf("%d and %d steps; want 1 to 1000", s.Few, s.Many)
	case !(s.Level > analytic.DataTime && s.Level <= 1):
		return fmt.Errorf("a level of %g; want above %g, at most 1", s.Level, analytic.DataTime)
	}
	return nil
}

// Compare makes plans from the same starts in four ways, a guess, the guess refined in a few steps, a
// few steps from noise, and many, and draws walks of the model itself, the last of the answer. All steps
// are those of DPM-Solver++ 2M on a quadratic grid. A context that ends ends it with its error.
func Compare(ctx context.Context, s Setting) ([]Way, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	r, err := NewRoutes(s.Horizon)
	if err != nil {
		return nil, err
	}
	c := &comparison{Setting: s, routes: r, draw: rand.New(rand.NewPCG(s.Seed, 1)), ways: []Way{
		{Name: "guess", Passes: s.Horizon - 1, RMSE: math.NaN()},
		{Name: "guess, refined", Passes: s.Horizon - 1, Steps: s.Few},
		{Name: "from noise", Steps: s.Few},
		{Name: "from noise", Steps: s.Many},
		{Name: "drawn from the model", RMSE: math.NaN()},
	}}
	for range s.Starts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := c.start(); err != nil {
			return nil, err
		}
	}
	n := float64(s.Starts)
	for i := range c.ways {
		w := &c.ways[i]
		w.RMSE = math.Sqrt(w.RMSE / n)
		w.Surprise, w.Hits, w.Spread = w.Surprise/n, w.Hits/n, spread(c.plans[i])
	}
	for i := range c.ways {
		c.ways[i].Surprise -= c.ways[len(c.ways)-1].Surprise
	}
	return c.ways, nil
}

// comparison is a Compare under way; sums stand in the ways.
type comparison struct {
	Setting
	routes *Routes
	draw   *rand.Rand
	ways   []Way
	plans  [5][][]float64 // of each way
}

// start makes plans from one start in all ways.
func (c *comparison) start() error {
	x, y := c.routes.Start(c.draw)
	m, err := c.routes.From(x, y)
	if err != nil {
		return err
	}
	guess, err := c.routes.Guess(x, y, c.Memory)
	if err != nil {
		return err
	}
	noise := make([]float64, m.Dim())
	for i := range noise {
		noise[i] = c.draw.NormFloat64()
	}
	truth := make([]float64, m.Dim())
	m.Draw(c.draw, truth)
	alpha, _ := analytic.Noise(c.Level)
	placed := make([]float64, len(guess)) // as the mean of what noise would make of it
	for i, v := range guess {
		placed[i] = alpha * v
	}
	for i, from := range []struct {
		begin []float64
		level float64
	}{{guess, 0}, {placed, c.Level}, {noise, 1}, {noise, 1}, {truth, 0}} {
		w := &c.ways[i]
		plan := append([]float64{}, from.begin...)
		if w.Steps > 0 {
			if err := run(m, steps(w.Steps, from.level), plan); err != nil {
				return err
			}
			exact := append([]float64{}, from.begin...)
			if err := run(m, solver.Reference(referenceSteps).From(from.level), exact); err != nil {
				return err
			}
			w.RMSE += square(plan, exact) / float64(c.Horizon-1)
		}
		w.Surprise += surprise(m, plan)
		if Hits(plan) {
			w.Hits++
		}
		c.plans[i] = append(c.plans[i], plan)
	}
	return nil
}

// spread is how unlike plans are.
func spread(plans [][]float64) float64 {
	mean := make([]float64, len(plans[0]))
	for _, p := range plans {
		for i, v := range p {
			mean[i] += v / float64(len(plans))
		}
	}
	sum := 0.0
	for _, p := range plans {
		sum += square(p, mean)
	}
	return math.Sqrt(sum / float64(len(plans)) / float64(len(mean)/2))
}

// referenceSteps follow the exact flow.
const referenceSteps = 100

// steps is the schedule of n steps down from a level.
func steps(n int, level float64) *solver.Schedule {
	f, err := solver.LoadFixed("2m++")
	if err != nil {
		panic(err) // it is one of the table
	}
	g, err := solver.LoadGrid("quadratic")
	if err != nil {
		panic(err)
	}
	s, err := f.Schedule(n, g)
	if err != nil {
		panic(err) // Check has bounded n
	}
	return s.From(level)
}

func run(m *analytic.Mixture, s *solver.Schedule, x []float64) error {
	r, err := solver.NewSampler(m, s)
	if err != nil {
		return err
	}
	r.Run(x)
	return nil
}

func square(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += (v - b[i]) * (v - b[i])
	}
	return sum
}

// surprise is the negative log density at a point, over its dimensions, but for a constant.
func surprise(m *analytic.Mixture, x []float64) float64 {
	return -m.LogDensity(x, analytic.DataTime) / float64(m.Dim())
}
