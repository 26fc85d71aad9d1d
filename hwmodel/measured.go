package hwmodel

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"time"
)

// Measured is a cost model made from whole iterations that were measured on one
// machine, for engines and processors whose kernels nobody has modelled one by one.
//
//	stage = Tokens(tokens of the batch)
//	      + Decode*decodes + DecodeContext*(sum of decode contexts)
//	      + Chunk*chunks + ChunkContext*(tokens before the chunks) + ChunkPair*(query-key pairs)
//	      + Logit*(sequences sampled)
//	host  = HostIteration + HostSequence*(decodes + chunks)
//
// Tokens is linear between measured numbers of tokens and never falls: it takes the
// cliffs of real kernels (a matrix times one vector streams, times two it is another
// kernel) as they are. All coefficients are seconds, 0 or more. Beyond the last
// number of tokens the curve goes on at its last slope, and Extrapolated counts it.
type Measured struct {
	Tokens                             Curve
	Decode, DecodeContext              float64
	Chunk, ChunkContext, ChunkPair     float64
	Logit, HostIteration, HostSequence float64

	// Fit is what the coefficients rest on.
	Fit Fit

	beyond int64
}

// Check refuses coefficients with which time could stand still or run backwards.
func (m *Measured) Check() error {
	if len(m.Tokens.X) == 0 || len(m.Tokens.X) != len(m.Tokens.Y) {
		return fmt.Errorf("measured: %d numbers of tokens with %d times; want as many of each, at least one", len(m.Tokens.X), len(m.Tokens.Y))
	}
	for _, v := range slices.Concat(m.Tokens.X, m.Tokens.Y, m.terms()) {
		if !(v >= 0) || math.IsInf(v, 0) {
			return fmt.Errorf("measured: a coefficient is %g, must be 0 or more", v)
		}
	}
	for i := 1; i < len(m.Tokens.X); i++ {
		if m.Tokens.X[i] <= m.Tokens.X[i-1] || m.Tokens.Y[i] < m.Tokens.Y[i-1] {
			return fmt.Errorf("measured: %g tokens take %g s and %g take %g s; want times that do not fall", m.Tokens.X[i-1], m.Tokens.Y[i-1], m.Tokens.X[i], m.Tokens.Y[i])
		}
	}
	if m.Tokens.Y[0] == 0 {
		return fmt.Errorf("measured: an iteration of %g tokens would take no time", m.Tokens.X[0])
	}
	return nil
}

func (m *Measured) terms() []float64 {
	return []float64{m.Decode, m.DecodeContext, m.Chunk, m.ChunkContext, m.ChunkPair, m.Logit, m.HostIteration, m.HostSequence}
}

// Seconds returns how long the devices compute b.
func (m *Measured) Seconds(b *Batch) float64 {
	s := m.curve(float64(b.Tokens()))
	s += float64(m.Decode*float64(b.Decodes)) + float64(m.DecodeContext*float64(b.DecodeContext))
	s += float64(m.Chunk*float64(b.Chunks)) + float64(m.ChunkContext*float64(b.ChunkContext)) + float64(m.ChunkPair*float64(b.ChunkPairs))
	return s + float64(m.Logit*float64(b.Logits))
}

// curve returns the time of n tokens, on the line through the last two numbers
// beyond the last, at the first below the first.
func (m *Measured) curve(n float64) float64 {
	x, y := m.Tokens.X, m.Tokens.Y
	last := len(x) - 1
	if n <= x[0] || last == 0 {
		return y[0]
	}
	i := min(sort.SearchFloat64s(x, n), last)
	return y[i] + float64((n-x[i])*((y[i]-y[i-1])/(x[i]-x[i-1])))
}

// Scaled returns the model of a machine on which everything takes factor times as long.
func (m *Measured) Scaled(factor float64) *Measured {
	n := *m
	n.Tokens.Y = slices.Clone(m.Tokens.Y)
	for i := range n.Tokens.Y {
		n.Tokens.Y[i] *= factor
	}
	for _, t := range []*float64{&n.Decode, &n.DecodeContext, &n.Chunk, &n.ChunkContext, &n.ChunkPair, &n.Logit, &n.HostIteration, &n.HostSequence} {
		*t *= factor
	}
	return &n
}

// Stages returns 1: whole iterations have no stages.
func (m *Measured) Stages() int { return 1 }

// Stage returns how long the devices compute b.
func (m *Measured) Stage(_ int, b *Batch) time.Duration {
	if float64(b.Tokens()) > m.Tokens.X[len(m.Tokens.X)-1] {
		m.beyond++
	}
	return max(nanoseconds(m.Seconds(b)), 1)
}

// Send returns 0.
func (m *Measured) Send(*Batch) time.Duration { return 0 }

// Host returns how long the host is busy with b, before and after the devices are.
func (m *Measured) Host(b *Batch) (time.Duration, bool) {
	return nanoseconds(m.HostIteration + float64(m.HostSequence*float64(b.Decodes+b.Chunks))), false
}

// Extrapolated returns how many prices went beyond the measured numbers of tokens.
func (m *Measured) Extrapolated() int64 { return m.beyond }
