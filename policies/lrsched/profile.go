package lrsched

import "math"

// Schedule is a learning rate over a run.
type Schedule interface {
	// LR returns the rate of step, 0 to total-1, as a share of the peak rate. It is a function of
	// its arguments, but for schedules that are [Adaptive].
	LR(step, total int) float64
}

// Adaptive is a schedule that watches the run.
type Adaptive interface {
	Schedule
	// Observe is told what a step brought, in order of the steps: the loss before it and the
	// norm of its gradient.
	Observe(step int, loss, norm float64)
}

// Profile is a curve of the rate: the share of the peak at z, the share of the run that is
// done, from 0 up to 1.
type Profile func(z float64) float64

// Constant is no schedule at all.
func Constant(float64) float64 { return 1 }

// Linear falls to zero at the end.
func Linear(z float64) float64 { return 1 - z }

// Cosine falls to zero along half a wave (Loshchilov and Hutter, 2017).
func Cosine(z float64) float64 { return (1 + math.Cos(math.Pi*z)) / 2 }

// Exponential falls to exp(-decay).
func Exponential(decay float64) Profile {
	return func(z float64) float64 { return math.Exp(-decay * z) }
}

// REX is the reflected exponential of Chen, Wolfe and Kyrillidis (MLSys 2022):
// (1-z) / ((1-beta) + beta (1-z)). The paper's beta is 1/2; beta 0 is linear, and the larger
// it is, the later the rate falls. Much-copied code has 0.9.
func REX(beta float64) Profile {
	return func(z float64) float64 { return (1 - z) / ((1 - beta) + beta*(1-z)) }
}

// Steps divides the rate by ten at every share of the run that is named.
func Steps(at ...float64) Profile {
	return func(z float64) float64 {
		rate := 1.0
		for _, a := range at {
			if z >= a {
				rate /= 10
			}
		}
		return rate
	}
}

// OneCycle rises to the peak and falls again, a triangle over the first nine tenths of the
// run, and anneals in the last (Smith and Topin, 2019). It starts at a tenth of the peak, comes back
// to that, and ends at a thousandth.
// [OneCycleMomentum] is the other half of the method.
func OneCycle(z float64) float64 {
	const low, end, anneal = 0.1, 0.001, 0.9
	switch {
	case z < anneal/2:
		return low + (1-low)*z/(anneal/2)
	case z < anneal:
		return 1 - (1-low)*(z-anneal/2)/(anneal/2)
	}
	return end + (low-end)*(1-z)/(1-anneal)
}

// Polynomial rises linearly to the peak in the first warm share of the run and falls as the
// power of what is left.
func Polynomial(warm, power float64) Profile {
	return WarmUp(warm, func(z float64) float64 { return math.Pow(1-z, power) })
}

// WarmUp rises linearly to the peak in the first share of the run, over what remains of
// which p is stretched.
func WarmUp(share float64, p Profile) Profile {
	return func(z float64) float64 {
		if z < share {
			return z / share * p(0)
		}
		if share >= 1 {
			return p(1)
		}
		return p((z - share) / (1 - share))
	}
}

// Cyclic runs p so many times over.
func Cyclic(times int, p Profile) Profile {
	return func(z float64) float64 {
		k := z * float64(times)
		return p(k - math.Floor(k))
	}
}

// Sampled reads p at so many points of the run only, and keeps the rate until the next:
// the sampling rate of the REX paper. 0 reads it at every step.
func Sampled(points int, p Profile) Profile {
	if points == 0 {
		return p
	}
	k := float64(points)
	return func(z float64) float64 { return p(math.Floor(z*k) / k) }
}

// Of makes a schedule of a profile.
func Of(p Profile) Schedule { return profiled{p} }

type profiled struct{ p Profile }

// LR implements [Schedule].
func (s profiled) LR(step, total int) float64 { return s.p(float64(step) / float64(total)) }
