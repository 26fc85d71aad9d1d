package trace

import (
	"fmt"
	"math"
)

// Dist is a distribution of one number: a length in tokens, a count of turns.
type Dist interface {
	// At returns the value that a share Phi(z) of draws does not exceed, where
	// Phi is the distribution function of the standard normal: At(0) is the median.
	// Taking a normal score rather than a probability makes the common
	// distributions cheap and lets [Joint] correlate any two of them.
	At(z float64) float64
	// Check returns an error that names the field that is wrong.
	Check() error
}

// Fixed is always the same value.
type Fixed struct{ Value float64 }

// At implements [Dist].
func (d Fixed) At(float64) float64 { return d.Value }

// Check implements [Dist].
func (d Fixed) Check() error { return positive("Fixed.Value", d.Value, "tokens, or a count") }

// Normal is the normal distribution. Lengths below 1 become 1, so the mean of the
// lengths is a little above Mean if Std is not small against it.
type Normal struct{ Mean, Std float64 }

// At implements [Dist].
func (d Normal) At(z float64) float64 { return d.Mean + d.Std*z }

// Check implements [Dist].
func (d Normal) Check() error {
	return firstError(positive("Normal.Mean", d.Mean, "tokens, or a count"), notNegative("Normal.Std", d.Std, "as Mean"))
}

// LogNormal is the distribution whose logarithm is normal with mean ln(Median)
// and standard deviation Sigma.
type LogNormal struct{ Median, Sigma float64 }

// LogNormalOf returns the [LogNormal] of the given mean and standard deviation.
func LogNormalOf(mean, std float64) LogNormal {
	s2 := math.Log1p(std * std / (mean * mean))
	return LogNormal{Median: mean * math.Exp(-s2/2), Sigma: math.Sqrt(s2)}
}

// At implements [Dist].
func (d LogNormal) At(z float64) float64 { return d.Median * math.Exp(d.Sigma*z) }

// Check implements [Dist].
func (d LogNormal) Check() error {
	return firstError(positive("LogNormal.Median", d.Median, "tokens, or a count"),
		notNegative("LogNormal.Sigma", d.Sigma, "standard deviation of the logarithm"))
}

// Uniform takes every whole number from Min to Max equally often.
type Uniform struct{ Min, Max float64 }

// At implements [Dist].
func (d Uniform) At(z float64) float64 {
	return min(d.Min+math.Floor((d.Max-d.Min+1)*(1-above(z))), d.Max)
}

// Check implements [Dist].
func (d Uniform) Check() error {
	if err := firstError(positive("Uniform.Min", d.Min, "tokens, or a count"), positive("Uniform.Max", d.Max, "as Min")); err != nil {
		return err
	}
	if d.Max < d.Min || d.Min != math.Floor(d.Min) || d.Max != math.Floor(d.Max) {
		return fmt.Errorf("Uniform is %v to %v; want whole numbers, Max at least Min", d.Min, d.Max)
	}
	return nil
}

// Geometric is the number of trials up to the first success, 1 or more: of turns,
// if after each one the user stops with the same probability 1/Mean.
type Geometric struct{ Mean float64 }

// At implements [Dist].
func (d Geometric) At(z float64) float64 {
	if d.Mean == 1 {
		return 1
	}
	return math.Ceil(math.Log(above(z)) / math.Log1p(-1/d.Mean))
}

// Check implements [Dist].
func (d Geometric) Check() error {
	if d.Mean >= 1 && d.Mean <= math.MaxFloat64 {
		return nil
	}
	return fmt.Errorf("Geometric.Mean is %v; want a finite number, at least 1", d.Mean)
}

// above returns the probability that a standard normal variate exceeds z, without
// loss of digits in the upper tail.
func above(z float64) float64 { return math.Erfc(z/math.Sqrt2) / 2 }
