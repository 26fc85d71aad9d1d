package trace

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat/distuv"

	"orrery/sim"
)

// Poisson arrivals are independent of one another: exponential gaps, CV 1. It is
// what many users who know nothing of each other look like.
type Poisson struct {
	Rate float64 // requests per second
}

// Times implements [Arrivals].
func (a Poisson) Times(seed uint64) (func() (sim.Time, bool), error) {
	return renewal("Poisson", a.Rate, seed, nil, (*rand.Rand).ExpFloat64)
}

// Gamma arrivals have gamma-distributed gaps: bursty for CV above 1, regular
// below, Poisson at 1. ServeGen (Xiang et al., arXiv 2505.09999) finds gamma or
// Weibull gaps in production traffic.
type Gamma struct {
	Rate float64 // requests per second
	CV   float64 // standard deviation of the gaps over their mean
}

// Times implements [Arrivals].
func (a Gamma) Times(seed uint64) (func() (sim.Time, bool), error) {
	err := between("Gamma.CV", a.CV, 0.001, 1000, "standard deviation over mean of the gaps")
	return renewal("Gamma", a.Rate, seed, err, gammaGaps(a.CV))
}

// gammaGaps returns a source of gamma variates of mean 1 and the given
// coefficient of variation: shape 1/CV^2, scale CV^2.
func gammaGaps(cv float64) func(*rand.Rand) float64 {
	shape := 1 / (cv * cv)
	return func(rng *rand.Rand) float64 {
		return distuv.Gamma{Alpha: shape, Beta: shape, Src: rng}.Rand()
	}
}

// Weibull arrivals have Weibull-distributed gaps: bursty for Shape below 1,
// Poisson at 1, regular above.
type Weibull struct {
	Rate  float64 // requests per second
	Shape float64 // exponent k of the survival function exp(-(t/scale)^k)
}

// Times implements [Arrivals].
func (a Weibull) Times(seed uint64) (func() (sim.Time, bool), error) {
	// Below 0.006 the mean of the unscaled gap overflows.
	err := between("Weibull.Shape", a.Shape, 0.01, 1000, "exponent of the survival function")
	// A Weibull variate is E^(1/k) with E exponential; its mean is Gamma(1+1/k).
	scale, power := 1/math.Gamma(1+1/a.Shape), 1/a.Shape
	return renewal("Weibull", a.Rate, seed, err, func(rng *rand.Rand) float64 {
		return scale * math.Pow(rng.ExpFloat64(), power)
	})
}

// ClippedExponential arrivals have exponential gaps cut at three mean gaps:
// min(Exp(1), 3)/Rate. The artefact of "Taming Throughput-Latency Tradeoff in LLM
// Inference with Sarathi-Serve" (OSDI 2024) generates its load so. Since the long
// gaps are shortened and nothing makes up for them, the mean gap is
// (1-exp(-3))/Rate: it offers 1.052 times the nominal rate, with a CV of 0.880.
type ClippedExponential struct {
	Rate float64 // nominal requests per second
}

// clipAt is the artefact's longest gap, in nominal mean gaps.
const clipAt = 3

// Times implements [Arrivals].
func (a ClippedExponential) Times(seed uint64) (func() (sim.Time, bool), error) {
	return renewal("ClippedExponential", a.Rate, seed, nil, func(rng *rand.Rand) float64 {
		return min(rng.ExpFloat64(), clipAt)
	})
}

// Constant arrivals come at equal gaps, the first one gap after the start.
type Constant struct {
	Rate float64 // requests per second
}

// Times implements [Arrivals].
func (a Constant) Times(seed uint64) (func() (sim.Time, bool), error) {
	return renewal("Constant", a.Rate, seed, nil, func(*rand.Rand) float64 { return 1 })
}

// maxRate is the highest rate of arrivals, one a tick of the clock: above it time
// would stand still.
const maxRate = 1e9

// renewal returns the arrival times of a process with independent gaps of mean 1
// at a rate of 1. It sums the gaps before it divides by the rate, so that a seed
// gives the same pattern at every rate, and rounds to nanoseconds only the sum,
// so that errors do not add up.
func renewal(name string, rate float64, seed uint64, err error, gap func(*rand.Rand) float64) (func() (sim.Time, bool), error) {
	if !(rate > 0 && rate <= maxRate) {
		return nil, fmt.Errorf("%s.Rate is %v; want a number above 0 and at most %v (requests per second)", name, rate, float64(maxRate))
	}
	if err != nil {
		return nil, err
	}
	rng, sum := sim.Stream(seed, "arrivals"), 0.0
	return func() (sim.Time, bool) {
		sum += gap(rng)
		t := sim.Seconds(sum / rate)
		return t, t < sim.Forever
	}, nil
}
