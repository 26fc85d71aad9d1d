package lrsched

import (
	"fmt"
	"math"
)

// Plateau lowers the rate whenever the loss has not fallen for a while. It depends on what
// the run measures and is no function of time, so it is no [Profile].
type Plateau struct {
	Factor   float64 // by which it lowers the rate, below 1
	Patience int     // checks without an improvement before it does
	Every    int     // steps of one check, whose mean loss counts
	Epsilon  float64 // improvement that counts, as a share of the best loss

	rate, best, sum float64
	seen, bad       int
	begun           bool
}

// Check returns an error unless p can only lower the rate.
func (p *Plateau) Check() error {
	switch {
	case !(p.Factor > 0 && p.Factor < 1):
		return fmt.Errorf("plateau: a factor of %g; want above 0 and below 1", p.Factor)
	case p.Patience < 0 || p.Every < 0:
		return fmt.Errorf("plateau: a patience of %d checks of %d steps; want neither negative", p.Patience, p.Every)
	case !(p.Epsilon >= 0 && p.Epsilon < 1):
		return fmt.Errorf("plateau: an epsilon of %g; want a share, at least 0 and below 1", p.Epsilon)
	}
	return nil
}

// LR implements [Schedule]. It is that of the latest step observed.
func (p *Plateau) LR(int, int) float64 {
	if !p.begun {
		return 1
	}
	return p.rate
}

// Observe implements [Adaptive]. A loss that is not finite counts as no improvement.
func (p *Plateau) Observe(_ int, loss, _ float64) {
	if !p.begun {
		p.begun, p.rate, p.best = true, 1, math.Inf(1)
	}
	p.sum += loss
	if p.seen++; p.seen < max(p.Every, 1) {
		return
	}
	mean := p.sum / float64(p.seen)
	p.sum, p.seen = 0, 0
	if mean < p.best*(1-p.Epsilon) || math.IsInf(p.best, 1) && mean < p.best {
		p.best, p.bad = mean, 0
		return
	}
	if p.bad++; p.bad >= max(p.Patience, 1) {
		p.rate *= p.Factor
		p.bad = 0
	}
}

// OneCycleMomentum is the momentum that goes with [OneCycle]: high where the rate is low.
func OneCycleMomentum(low, high float64) Profile {
	return func(z float64) float64 { return high - (high-low)*OneCycle(z) }
}
