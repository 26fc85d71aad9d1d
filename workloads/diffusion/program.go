package diffusion

import (
	"errors"
	"fmt"
	"math"
	"time"

	"orrery/hwmodel"
)

// Program is what a job is to a pool of devices: how long its parts take and what they
// hold, by the number of images (or videos) in a batch.
type Program struct {
	Costs  []*JobCost // of batches of 1, 2, ...
	Fits   []Fit      // of the same batches, on a device to itself
	Weight int64      // bytes of all that its pipeline loads
	Peaks  []int64    // bytes allocated beside the weights at the peak

	encode, decode []time.Duration
	steps          [][]time.Duration // by batch and step
}

// NewProgram follows and prices a job for batches of 1 up to most images, or as many as run
// on a device with memory bytes. It fails if not even one does: the error wraps the
// [hwmodel.OutOfMemory] and names the operator that meets it.
func NewProgram(j *Job, q *Pricer, memory int64, most int) (*Program, error) {
	p := &Program{}
	for n := 1; n <= most; n++ {
		k := *j
		k.Batch = n
		if err := k.Validate(); err != nil {
			return nil, err
		}
		ok, err := p.follow(&k, memory)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		if err := p.price(&k, q); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// follow appends what a batch holds, unless it is a second or later one that the device
// does not run.
func (p *Program) follow(j *Job, memory int64) (bool, error) {
	f, err := j.Footprint()
	if err != nil {
		return false, err
	}
	free, err := f.Follow(MemoryOptions{Outside: Outside, Points: 1})
	if err != nil {
		return false, err
	}
	fit, run, err := f.On(memory, free)
	var full *hwmodel.OutOfMemory
	switch {
	case errors.As(err, &full) && j.Batch > 1:
		return false, nil
	case err != nil:
		return false, err
	}
	p.Fits = append(p.Fits, fit)
	p.Weight = free.Weights
	p.Peaks = append(p.Peaks, max(run.Peak.Allocated.Bytes-run.Weights, 0))
	return true, nil
}

// price appends what a batch costs. Host time beside launches counts with the encoders.
func (p *Program) price(j *Job, q *Pricer) error {
	steps, err := j.SolverSteps()
	if err != nil {
		return err
	}
	c, err := q.Job(j)
	if err != nil {
		return err
	}
	left := make([]int, len(steps)) // evaluations that each step has still to run
	for i := range steps {
		left[i] = steps[i].Evaluations
	}
	seconds := make([]float64, len(steps))
	for i := range c.Stages {
		s := &c.Stages[i]
		if s.Phase != Denoise {
			continue
		}
		at := s.Step
		for range s.Times {
			for at < len(left)-1 && left[at] == 0 {
				at++
			}
			seconds[at] += s.Seconds
			left[at]--
		}
	}
	row := make([]time.Duration, len(steps))
	for i, s := range seconds {
		row[i] = nanoseconds(s)
	}
	p.Costs = append(p.Costs, c)
	p.steps = append(p.steps, row)
	p.encode = append(p.encode, nanoseconds(c.Fixed+c.Phase(Encode)))
	p.decode = append(p.decode, nanoseconds(c.Phase(Decode)))
	return nil
}

func nanoseconds(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }

// Most returns the largest batch that runs.
func (p *Program) Most() int { return len(p.encode) }

// Steps returns the number of denoising steps of an image.
func (p *Program) Steps() int { return len(p.steps[0]) }

// Encode returns the time of all that comes before the first step of n images.
func (p *Program) Encode(n int) time.Duration { return p.encode[p.row(n)] }

// Step returns the time of step k, from 0, of a batch of n.
func (p *Program) Step(k, n int) time.Duration { return p.steps[p.row(n)][k] }

// Decode returns the time from latents to pixels of n images.
func (p *Program) Decode(n int) time.Duration { return p.decode[p.row(n)] }

// Memory returns the bytes of a batch of n, weights included: for none those of the weights
// alone, for more than run together more than any device has.
func (p *Program) Memory(n int) int64 {
	switch {
	case n == 0:
		return p.Weight
	case n > len(p.Peaks):
		return math.MaxInt64 / 4
	}
	return p.Weight + p.Peaks[n-1]
}

func (p *Program) row(n int) int {
	if n < 1 || n > len(p.encode) {
		panic(fmt.Sprintf("diffusion: a batch of %d, want 1 to %d", n, len(p.encode)))
	}
	return n - 1
}
