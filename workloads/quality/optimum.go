package quality

import (
	"fmt"
	"math/rand/v2"

	"gonum.org/v1/gonum/optimize"
)

// Optimum returns the least loss that a linear classifier can have on a table, by L-BFGS. Where
// classes can be separated and there is no decay, the infimum is not attained: what is
// returned then is a loss close to it.
func Optimum(c Classifier, d *Dataset) (float64, error) {
	if c.Hidden > 0 {
		return 0, fmt.Errorf("%s: the least loss of a network with hidden units is not to be had; want a linear classifier", d.Name)
	}
	work, grad := c.scratch(), make([]float64, c.Weights())
	all := make([]int, d.Len())
	for i := range all {
		all[i] = i
	}
	problem := optimize.Problem{
		Func: func(w []float64) float64 { return work.Gradient(w, grad, d, all) },
		Grad: func(out, w []float64) { work.Gradient(w, out, d, all) },
	}
	settings := &optimize.Settings{GradientThreshold: 1e-9, MajorIterations: 3000, Converger: optimize.NeverTerminate{}}
	found, err := optimize.Minimize(problem, c.Init(rand.New(rand.NewPCG(0, 0))), settings, &optimize.LBFGS{})
	// Close to the optimum the line search can find no step that floating point would show:
	// what it has by then is the answer.
	if found == nil {
		return 0, fmt.Errorf("%s: the least loss: %w", d.Name, err)
	}
	return found.F, nil
}
