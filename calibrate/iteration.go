package calibrate

import (
	"fmt"
	"math"
	"slices"

	"orrery/hwmodel"
)

// IterationSample is one measured iteration.
type IterationSample struct {
	GPU, Model, Engine string // as measurement files name them; they may be empty elsewhere
	Tensor             int    // tensor-parallel degree
	Source             string // who measured it
	Batch              hwmodel.Batch
	Seconds            float64 // that the devices computed
}

// The least that FitIterations takes: fewer samples than that say little about
// the dozen numbers that matter.
const minIterations = 30

// FitIterations makes a cost model from measured iterations: time as a curve over the
// tokens of the batch, plus terms for what attention and sampling add, by least
// squares of relative errors under the constraint that nothing ever saves time.
// Outliers (another process had the processor) count by their size, not its
// square. What they add on average comes back in the end as a common factor, since
// they will be met again.
//
// The errors in Fit are of samples held out in five folds.
func FitIterations(samples []IterationSample) (*hwmodel.Measured, error) {
	if err := checkIterations(samples); err != nil {
		return nil, err
	}
	m := fitIterations(samples)
	var errs []float64
	for fold := range iterationFolds {
		var fitted, held []IterationSample
		for i, s := range samples {
			if i%iterationFolds == fold {
				held = append(held, s)
			} else {
				fitted = append(fitted, s)
			}
		}
		f := fitIterations(fitted)
		for i := range held {
			errs = append(errs, math.Abs(f.Seconds(&held[i].Batch)/held[i].Seconds-1))
		}
	}
	slices.Sort(errs)
	m.Fit = hwmodel.Fit{
		Source: "whole iterations measured on the machine", Rows: len(samples), HeldOutRows: len(samples),
		HeldOutMean: mean(errs), HeldOutMedian: errs[len(errs)/2], HeldOutP90: errs[len(errs)*9/10],
	}
	return m, m.Check()
}

const iterationFolds = 5

func checkIterations(samples []IterationSample) error {
	for i := range samples {
		s := &samples[i]
		if !(s.Seconds > 0) || math.IsInf(s.Seconds, 0) {
			return fmt.Errorf("calibrate: iteration %d of %d took %g s, must be above 0", i+1, len(samples), s.Seconds)
		}
		if s.Batch.Tokens() < 1 {
			return fmt.Errorf("calibrate: iteration %d of %d has no tokens", i+1, len(samples))
		}
	}
	if len(samples) < minIterations {
		return fmt.Errorf("calibrate: %d measured iterations are too few to fit; want %d or more", len(samples), minIterations)
	}
	return nil
}

// fitIterations solves for the steps of the curve and the other terms. All unknowns
// are 0 or more, so that the curve cannot fall.
func fitIterations(samples []IterationSample) *hwmodel.Measured {
	knots := tokenKnots(samples)
	rows := make([][]float64, len(samples))
	weight := make([]float64, len(samples))
	for i := range samples {
		rows[i] = iterationRow(knots, &samples[i])
		weight[i] = 1
	}
	p := newNonNegative(len(rows[0]))
	var x []float64
	for range 8 { // reweighting: squares near zero, sizes beyond twice the usual error
		p.clear()
		for i := range rows {
			p.add(rows[i], 1, weight[i])
		}
		x = p.solve()
		var errs []float64
		for i := range rows {
			errs = append(errs, math.Abs(dot(rows[i], x)-1))
		}
		usual := max(median(errs), 0.002)
		for i, e := range errs {
			weight[i] = min(1, 2*usual/max(e, 1e-9))
		}
	}
	return measuredFrom(knots, x, samples)
}

// iterationRow returns the row of the system for one sample, over its time: the
// solution's product with it is 1 if the model is exact.
func iterationRow(knots []float64, s *IterationSample) []float64 {
	b := &s.Batch
	n := float64(b.Tokens())
	row := []float64{1}
	for i := 1; i < len(knots); i++ { // how much of the step from one knot to the next
		row = append(row, min(max((n-knots[i-1])/(knots[i]-knots[i-1]), 0), 1))
	}
	row = append(row, float64(b.Decodes), float64(b.DecodeContext), float64(b.Chunks), float64(b.ChunkContext), float64(b.ChunkPairs), float64(b.Logits))
	for i := range row {
		row[i] /= s.Seconds
	}
	return row
}

func measuredFrom(knots, x []float64, samples []IterationSample) *hwmodel.Measured {
	m := &hwmodel.Measured{Tokens: hwmodel.Curve{Name: "iterations", Unit: "tokens", X: knots}}
	sum := 0.0
	for _, step := range x[:len(knots)] {
		sum += step
		m.Tokens.Y = append(m.Tokens.Y, sum)
	}
	terms := []*float64{&m.Decode, &m.DecodeContext, &m.Chunk, &m.ChunkContext, &m.ChunkPair, &m.Logit}
	for i, t := range terms {
		*t = x[len(knots)+i]
	}
	var took, said float64
	for i := range samples {
		p := m.Seconds(&samples[i].Batch)
		said += p
		took += min(samples[i].Seconds, 4*p) // one long stall shall not decide
	}
	scale := took / said
	for i := range m.Tokens.Y {
		m.Tokens.Y[i] *= scale
	}
	for _, t := range terms {
		*t *= scale
	}
	return m
}

// tokenKnots returns the numbers of tokens between which the curve is linear: each
// that occurs up to 4, since kernels change there, then eight to the octave at most,
// with four samples each.
func tokenKnots(samples []IterationSample) []float64 {
	counts := make([]float64, len(samples))
	for i := range samples {
		counts[i] = float64(samples[i].Batch.Tokens())
	}
	slices.Sort(counts)
	last := counts[len(counts)-1]
	var knots []float64
	since := 0
	for i, n := range counts {
		since++
		end := i+1 == len(counts) || counts[i+1] != n
		far := len(knots) == 0 || n <= 4 && n > knots[len(knots)-1] || n >= knots[len(knots)-1]*math.Pow(2, 1.0/8) && n >= knots[len(knots)-1]+1
		if end && far && (since >= 4 || len(knots) == 0) {
			knots = append(knots, n)
			since = 0
		}
	}
	if knots[len(knots)-1] < last {
		if len(knots) > 1 && last < knots[len(knots)-1]*1.1 {
			knots = knots[:len(knots)-1]
		}
		knots = append(knots, last)
	}
	return knots
}

func dot(a, b []float64) float64 {
	var s float64
	for i := range a {
		s += float64(a[i] * b[i])
	}
	return s
}
