package quality

import (
	"fmt"
	"math"

	"orrery/sim"
)

// Optimiser makes the update of so many weights, which keeps what it must remember.
type Optimiser func(weights int) Update

// Update changes weights w by a step of rate lr along the gradient.
type Update func(w, grad []float64, lr float64)

// SGD is stochastic gradient descent, its momentum as PyTorch has it: v' = b v + g,
// w' = w - lr v'.
func SGD(momentum float64) Optimiser {
	return func(weights int) Update {
		v := make([]float64, weights)
		return func(w, grad []float64, lr float64) {
			for i, g := range grad {
				v[i] = float64(momentum*v[i]) + g
				w[i] -= float64(lr * v[i])
			}
		}
	}
}

// Adam is that of Kingma and Ba (2015) with their constants.
func Adam() Optimiser {
	const b1, b2, epsilon = 0.9, 0.999, 1e-8
	return func(weights int) Update {
		m, v := make([]float64, weights), make([]float64, weights)
		left1, left2 := 1.0, 1.0
		return func(w, grad []float64, lr float64) {
			left1, left2 = left1*b1, left2*b2
			rate, scale := lr/(1-left1), 1/(1-left2)
			for i, g := range grad {
				m[i] = float64(b1*m[i]) + float64((1-b1)*g)
				v[i] = float64(b2*v[i]) + float64((1-b2)*g*g)
				w[i] -= float64(rate*m[i]) / (math.Sqrt(v[i]*scale) + epsilon)
			}
		}
	}
}

// Training is one run of an optimiser over a table, done for real.
type Training struct {
	Model     Classifier
	Optimiser Optimiser
	Steps     int
	Batch     func(step int) int // samples of a step
	// Replace draws every sample of a batch from all of them. Otherwise the table is gone
	// through in epochs, each in a new order.
	Replace  bool
	Peak     float64 // rate that the schedule is a share of
	Schedule Schedule
	// Seed and the table's name determine the first weights and the batches: runs that
	// differ in schedule or rate share them.
	Seed uint64
	// Observe, if any, is shown the loss of each batch and its gradient before the step, which
	// it must not keep.
	Observe func(step int, loss float64, grad []float64)
}

// Trained is what a run leaves.
type Trained struct {
	Model    Classifier
	W        []float64
	Diverged bool // the loss became infinite; W are the weights of then
}

// observer is a schedule that watches the run, as lrsched.Adaptive.
type observer interface {
	Observe(step int, loss, norm float64)
}

// Run trains. Its result is a function of the training and the table, whatever else runs.
func (t *Training) Run(d *Dataset) (Trained, error) {
	if t.Steps < 1 || d.Len() == 0 {
		return Trained{}, fmt.Errorf("%s: %d steps on %d samples; want at least one of each", d.Name, t.Steps, d.Len())
	}
	if t.Model.In != len(d.Features) || t.Model.Classes < len(d.Classes) {
		return Trained{}, fmt.Errorf("%s: a classifier of %d features and %d classes for %d and %d", d.Name, t.Model.In, t.Model.Classes, len(d.Features), len(d.Classes))
	}
	w := t.Model.Init(sim.Stream(t.Seed, d.Name+"/weights"))
	c, grad, update := t.Model.scratch(), make([]float64, len(w)), t.Optimiser(len(w))
	next := t.batches(d)
	watching, watched := t.Schedule.(observer)
	for step := range t.Steps {
		n := t.Batch(step)
		if n < 1 {
			return Trained{}, fmt.Errorf("%s: a batch of %d samples at step %d; want at least one", d.Name, n, step)
		}
		loss := c.Gradient(w, grad, d, next(n))
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return Trained{t.Model, w, true}, nil
		}
		if t.Observe != nil {
			t.Observe(step, loss, grad)
		}
		if watched {
			l2, _ := Norms(grad)
			watching.Observe(step, loss, l2)
		}
		update(w, grad, t.Peak*t.Schedule.LR(step, t.Steps))
	}
	return Trained{Model: t.Model, W: w}, nil
}

// batches returns what draws the samples of the next batch.
func (t *Training) batches(d *Dataset) func(n int) []int {
	draws := sim.Stream(t.Seed, d.Name+"/batches")
	var rows, epoch []int
	return func(n int) []int {
		rows = rows[:0]
		for len(rows) < n {
			if t.Replace {
				rows = append(rows, draws.IntN(d.Len()))
				continue
			}
			if len(epoch) == 0 {
				epoch = draws.Perm(d.Len())
			}
			rows, epoch = append(rows, epoch[0]), epoch[1:]
		}
		return rows
	}
}

// Evaluate returns the loss of a trained classifier on a table, and the share of samples
// that it takes for another class.
func (t Trained) Evaluate(d *Dataset) (loss, wrong float64) {
	if t.Diverged {
		return math.Inf(1), 1
	}
	loss, wrong = t.Model.scratch().Evaluate(t.W, d)
	if math.IsNaN(loss) {
		loss = math.Inf(1)
	}
	return loss, wrong
}

// Norms returns the Euclidean norm of a gradient and the sum of its absolute values.
func Norms(grad []float64) (l2, l1 float64) {
	for _, g := range grad {
		l2 += float64(g * g)
		l1 += math.Abs(g)
	}
	return math.Sqrt(l2), l1
}
