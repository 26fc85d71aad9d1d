package solver

import (
	"fmt"

	"orrery/workloads/diffusion/analytic"
)

// blockRows is how many rows go through a schedule together: so few that all that is kept of
// them stays in a processor's first cache.
const blockRows = 32

// Sampler is a schedule ready to be run on a model. It may be used by several goroutines at once.
type Sampler struct {
	program *program
	model   *analytic.Mixture
	at      []*analytic.Prepared // by point; the last one is not evaluated
	first   First
	mean    []float64
}

// NewSampler checks a schedule and prepares it for a model.
func NewSampler(m *analytic.Mixture, s *Schedule) (*Sampler, error) {
	return NewTimes(m).Sampler(s)
}

// Times keeps a model prepared at the times it was asked for: schedules that share times, as those
// of a search do, need not prepare them anew. It is for one goroutine.
type Times struct {
	model *analytic.Mixture
	mean  []float64
	at    map[float64]*analytic.Prepared
}

// NewTimes returns an empty store for a model.
func NewTimes(m *analytic.Mixture) *Times {
	return &Times{m, m.Mean(), map[float64]*analytic.Prepared{}}
}

// keptTimes bounds what is kept.
const keptTimes = 1024

// Sampler checks a schedule and prepares it for the model.
func (k *Times) Sampler(s *Schedule) (*Sampler, error) {
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("solver schedule: %w", err)
	}
	r := &Sampler{program: compile(s), model: k.model, first: s.First, mean: k.mean}
	if len(k.at) > keptTimes {
		clear(k.at)
	}
	for _, t := range s.Times[:len(s.Steps)] {
		p, ok := k.at[t]
		if !ok {
			p = k.model.At(t)
			k.at[t] = p
		}
		r.at = append(r.at, p)
	}
	return r, nil
}

// Run takes rows of noise, an array [rows][dim], to data, in place.
func (r *Sampler) Run(x []float64) {
	dim := r.model.Dim()
	n := len(r.program.points)
	size := min(blockRows*dim, len(x))
	b := &block{states: make([][]float64, n), noise: make([][]float64, n), data: make([][]float64, n)}
	store := make([]float64, 3*n*size)
	for from := 0; from < len(x); from += size {
		rows := x[from:min(from+size, len(x))]
		for i := range n {
			at := store[3*i*size:]
			b.states[i], b.noise[i], b.data[i] = at[:len(rows)], at[size:size+len(rows)], at[2*size:2*size+len(rows)]
		}
		copy(b.states[0], rows)
		r.run(b)
		copy(rows, b.states[n-1])
	}
}

// block is what is kept of some rows: at each point their state, and the model's answer as noise
// and as data.
type block struct{ states, noise, data [][]float64 }

func (r *Sampler) run(b *block) {
	r.begin(b)
	last := len(r.program.moves) - 1
	for i := range r.program.moves {
		m := &r.program.moves[i]
		b.apply(&m.predict, i+1)
		if i == last {
			return
		}
		r.ask(b, i+1)
		if m.corrector == Uncorrected {
			continue
		}
		b.apply(&m.correct, i+1)
		if m.corrector == Evaluated {
			r.ask(b, i+1)
		}
	}
}

// begin finds the answer at pure noise.
func (r *Sampler) begin(b *block) {
	p := &r.program.points[0]
	x, noise, data := b.states[0], b.noise[0], b.data[0]
	switch r.first {
	case Asked:
		r.ask(b, 0)
	case Zero:
		for i := range x {
			noise[i], data[i] = x[i], (1-p.sigma)/p.alpha*x[i]
		}
	case Mean:
		for i := range x {
			data[i] = r.mean[i%len(r.mean)]
			noise[i] = (x[i] - p.alpha*data[i]) / p.sigma
		}
	}
}

// ask evaluates the model at a point.
func (r *Sampler) ask(b *block, i int) {
	p := &r.program.points[i]
	r.at[i].Eps(b.noise[i], b.states[i])
	x, noise, data := b.states[i], b.noise[i], b.data[i]
	for j := range x {
		data[j] = (x[j] - p.sigma*noise[j]) / p.alpha
	}
}

// apply writes the state at a point.
func (b *block) apply(c *combination, end int) {
	predictions := b.data
	if c.prediction == Noise {
		predictions = b.noise
	}
	dst := b.states[end]
	for j, v := range b.states[c.from] {
		dst[j] = c.scale * v
	}
	for k, at := range c.at {
		w := c.weights[k]
		for j, v := range predictions[at] {
			dst[j] += w * v
		}
	}
}
