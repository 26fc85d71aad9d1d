package solver

import "math"

// Unrolled is what a schedule does, whatever its steps are called: the points at which the model
// is evaluated, and how each of their states, and the end, is a sum of the noise at the start and of
// the images that were predicted before. Schedules with the same Unrolled have the same trajectories.
type Unrolled struct {
	LogSNR []float64   // of the evaluations, in their order
	Noise  []float64   // weight of the start in each state and, last, in the end, over sigma
	Images [][]float64 // weights of the predictions before, over alpha: one row for each state and the end
}

// Unroll follows a checked schedule.
func Unroll(s *Schedule) *Unrolled {
	p := compile(s)
	n := len(p.points)
	width := s.NFE()
	u := &Unrolled{}
	// A form is a sum: of the start, then of the evaluations.
	states, data, noise := make([][]float64, n), make([][]float64, n), make([][]float64, n)
	asked := 0
	keep := func(i int) {
		f, pt := states[i], &p.points[i]
		u.Noise = append(u.Noise, f[0]/pt.sigma)
		row := make([]float64, width)
		for j := range row {
			row[j] = f[1+j] / pt.alpha
		}
		u.Images = append(u.Images, row)
	}
	ask := func(i int) {
		keep(i)
		u.LogSNR = append(u.LogSNR, p.points[i].lambda)
		data[i] = make([]float64, 1+width)
		data[i][1+asked] = 1
		asked++
		noise[i] = combine(1/p.points[i].sigma, states[i], -p.points[i].alpha/p.points[i].sigma, data[i])
	}
	states[0] = make([]float64, 1+width)
	states[0][0] = 1
	switch pt := &p.points[0]; s.First {
	case Asked:
		ask(0)
	case Zero:
		noise[0] = states[0]
		data[0] = combine(1/pt.alpha, states[0], -pt.sigma/pt.alpha, states[0])
	case Mean: // a constant, which moves all trajectories alike
		data[0] = make([]float64, 1+width)
		noise[0] = combine(1/pt.sigma, states[0], 0, states[0])
	}
	apply := func(c *combination) []float64 {
		predictions := data
		if c.prediction == Noise {
			predictions = noise
		}
		out := combine(c.scale, states[c.from], 0, states[c.from])
		for k, at := range c.at {
			out = combine(1, out, c.weights[k], predictions[at])
		}
		return out
	}
	for i := range p.moves {
		m := &p.moves[i]
		states[i+1] = apply(&m.predict)
		if i == len(p.moves)-1 {
			break
		}
		ask(i + 1)
		if m.corrector == Uncorrected {
			continue
		}
		states[i+1] = apply(&m.correct)
		if m.corrector == Evaluated {
			ask(i + 1)
		}
	}
	keep(n - 1)
	return u
}

func combine(a float64, x []float64, b float64, y []float64) []float64 {
	out := make([]float64, len(x))
	for i := range out {
		out[i] = math.FMA(a, x[i], b*y[i])
	}
	return out
}
