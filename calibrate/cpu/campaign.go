package cpu

import (
	"context"
	"time"

	"orrery/calibrate"
)

// point is one thing to measure.
type point struct {
	run    func() error                                 // does it once
	record func(m *calibrate.Measured, seconds float64) // adds it to the result
	// Work, for the peaks of the machine; 0 where it says nothing about them.
	flops, bytes float64
	dram         bool // the bytes come from and go to memory, not a cache

	reps    int       // runs in a sample
	samples []float64 // seconds of one run, a sample for each round
}

func (p *point) median() float64 { return median(p.samples) }

// campaign measures all points once a round until its time is over.
type campaign struct {
	points   []*point
	length   time.Duration
	progress func(done, total time.Duration)
	begun    time.Time
	rounds   int // that count
}

// run makes the rounds. What ends within a round does not count.
func (c *campaign) run(ctx context.Context) error {
	if err := c.round(ctx, (*point).warm); err != nil {
		return err
	}
	warm := time.Since(c.begun)
	for c.rounds < minRounds || c.rounds < maxRounds && time.Since(c.begun)+c.perRound(warm) < c.length {
		if err := c.round(ctx, (*point).sample); err != nil {
			for _, p := range c.points {
				p.samples = p.samples[:min(len(p.samples), c.rounds)]
			}
			return err
		}
		c.rounds++
	}
	return nil
}

// perRound returns how long a round takes, by those that were.
func (c *campaign) perRound(warm time.Duration) time.Duration {
	if c.rounds == 0 {
		return warm
	}
	return (time.Since(c.begun) - warm) / time.Duration(c.rounds)
}

func (c *campaign) round(ctx context.Context, measure func(*point) error) error {
	for i, p := range c.points {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := measure(p); err != nil {
			return err
		}
		c.report(float64(i+1) / float64(len(c.points)))
	}
	return nil
}

// report tells how far the campaign is, with a share of the present round done.
func (c *campaign) report(share float64) {
	if c.progress == nil {
		return
	}
	spent := time.Since(c.begun)
	total := c.length
	if c.rounds < minRounds { // it takes the least number of rounds, however slow
		total = max(total, time.Duration(float64(spent)*(1+minRounds)/(float64(c.rounds)+share)))
	}
	c.progress(min(spent, total), total)
}

// A sample lasts at least minSample, in as many runs as that takes, so that neither the
// clock nor the call shows. Runs shorter than warmBelow are preceded by one that is
// not timed, since in a model an operator's code and inputs are warm.
const (
	minSample = 400 * time.Microsecond
	maxReps   = 1000
	warmBelow = 5 * time.Millisecond
)

// warm runs p for the first time, finds out how many runs make a sample, and keeps no
// sample.
func (p *point) warm() error {
	if err := p.run(); err != nil { // touches its memory
		return err
	}
	begun := time.Now()
	if err := p.run(); err != nil {
		return err
	}
	p.reps = int(min(max(1, minSample/max(1, time.Since(begun))), maxReps))
	return nil
}

func (p *point) sample() error {
	if p.reps > 1 || len(p.samples) > 0 && p.samples[0] < warmBelow.Seconds() {
		if err := p.run(); err != nil {
			return err
		}
	}
	begun := time.Now()
	for range p.reps {
		if err := p.run(); err != nil {
			return err
		}
	}
	p.samples = append(p.samples, time.Since(begun).Seconds()/float64(p.reps))
	return nil
}
