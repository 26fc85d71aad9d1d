package route

import (
	"math/rand/v2"

	"orrery/sim"
	"orrery/workloads"
)

// Scorer rates replicas for a request.
type Scorer interface {
	// Score adds weight times a score from 0 to 1, 1 for the best, to the totals of the
	// ready replicas. What it adds to others does not count.
	Score(r *workloads.Request, replicas []Replica, weight float64, totals []float64)
}

// Chooser is a [Scorer] that learns which replica a request went to.
type Chooser interface {
	Chosen(r *workloads.Request, replica int)
}

// Term is a scorer and the weight of its scores.
type Term struct {
	Scorer
	Weight float64
}

// Weighted picks the replica with the highest sum of weighted scores, one drawn from the
// best if there are several: filter, score and pick, as in llm-d's scheduler. It looks
// at every replica for every request.
type Weighted struct {
	Terms []Term
	Rand  *rand.Rand

	totals []float64
}

// Route implements [Policy].
func (p *Weighted) Route(_ sim.Time, r *workloads.Request, replicas []Replica) int {
	if len(p.totals) < len(replicas) {
		p.totals = make([]float64, len(replicas))
	}
	totals := p.totals[:len(replicas)]
	clear(totals)
	for _, t := range p.Terms {
		t.Score(r, replicas, t.Weight, totals)
	}
	best := p.pick(replicas, totals)
	for _, t := range p.Terms {
		if c, ok := t.Scorer.(Chooser); ok && best >= 0 {
			c.Chosen(r, best)
		}
	}
	return best
}

// pick draws one of the ready replicas with the highest total, -1 if none is ready.
func (p *Weighted) pick(replicas []Replica, totals []float64) int {
	best, ties := -1, 0
	for i := range replicas {
		switch {
		case !replicas[i].Ready:
		case best < 0 || totals[i] > totals[best]:
			best, ties = i, 1
		case totals[i] == totals[best]:
			// The n-th of the best so far takes the place with probability 1/n.
			if ties++; p.Rand.IntN(ties) == 0 {
				best = i
			}
		}
	}
	return best
}

// Changed implements [Watcher].
func (p *Weighted) Changed(replicas []Replica, i int) {
	for _, t := range p.Terms {
		if w, ok := t.Scorer.(Watcher); ok {
			w.Changed(replicas, i)
		}
	}
}

// Reports implements [Reporting]: what its scorers look at.
func (p *Weighted) Reports() (fields Reports) {
	for _, t := range p.Terms {
		if r, ok := t.Scorer.(Reporting); ok {
			fields |= r.Reports()
		}
	}
	return fields
}

// The scorers below have the formulas of llm-d's scheduler.

// QueueScore rates by the queue: the shortest gets 1, the longest 0.
type QueueScore struct{}

// Reports implements [Reporting].
func (QueueScore) Reports() Reports { return Queue }

// Score implements [Scorer].
func (QueueScore) Score(_ *workloads.Request, replicas []Replica, weight float64, totals []float64) {
	first := true
	var lo, hi int32
	for i := range replicas {
		switch q := replicas[i].Queued; {
		case !replicas[i].Ready:
		case first:
			lo, hi, first = q, q, false
		default:
			lo, hi = min(lo, q), max(hi, q)
		}
	}
	for i := range replicas {
		score := 1.0
		if hi > lo {
			score = float64(hi-replicas[i].Queued) / float64(hi-lo)
		}
		totals[i] += weight * score
	}
}

// MemoryScore rates by the share of KV blocks that are free.
type MemoryScore struct{}

// Reports implements [Reporting].
func (MemoryScore) Reports() Reports { return Memory }

// Score implements [Scorer].
func (MemoryScore) Score(_ *workloads.Request, replicas []Replica, weight float64, totals []float64) {
	for i := range replicas {
		totals[i] += weight * (1 - float64(replicas[i].KVUsed)/float64(max(1, replicas[i].KVBlocks)))
	}
}

// LoadScore rates by the queue up to a Limit: half for none, nothing from the limit on.
type LoadScore struct{ Limit int32 }

// Reports implements [Reporting].
func (LoadScore) Reports() Reports { return Queue }

// Score implements [Scorer].
func (s LoadScore) Score(_ *workloads.Request, replicas []Replica, weight float64, totals []float64) {
	for i := range replicas {
		totals[i] += weight * 0.5 * (1 - float64(min(replicas[i].Queued, s.Limit))/float64(s.Limit))
	}
}

// PrefixScore rates by the share of the prompt that is probably cached.
type PrefixScore struct{ Index PrefixIndex }

// Score implements [Scorer].
func (s *PrefixScore) Score(r *workloads.Request, _ []Replica, weight float64, totals []float64) {
	known := parts(r)
	s.Index.Matched(known, func(i, n int) {
		totals[i] += weight * float64(n) / float64(len(known))
	})
}

// Chosen implements [Chooser].
func (s *PrefixScore) Chosen(r *workloads.Request, replica int) { s.Index.Add(replica, parts(r)) }

// Changed implements [Watcher].
func (s *PrefixScore) Changed(replicas []Replica, i int) {
	if !replicas[i].Ready {
		s.Index.Forget(i)
	}
}
