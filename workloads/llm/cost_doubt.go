package llm

import (
	"math"

	"orrery/hwmodel"
)

// Doubt returns how far off the time of iterations like b may be as a whole: the relative
// standard error of the scale of time, the part that many iterations do not average out.
//
// It adds up, as if independent, the errors of the operators, each weighed by its share of
// the time, and that of the engine's host. An operator's error is the spread between models
// that its fit states. All of the band counts of constants that were derived, or fitted to
// another library; where a fit states no spread, the median error on shapes held out stands
// for it.
func (c *Cost) Doubt(b *hwmodel.Batch) float64 {
	var total, squares float64
	add := func(seconds float64, f *hwmodel.Fit, exact bool) {
		total += seconds
		e := seconds * systematic(f, exact)
		squares += e * e
	}
	t := c.padded(b.Tokens())
	if t == 0 {
		return 0
	}
	layers := float64(c.model.Layers)
	products, ffn := c.projectionTime(t), c.feedForwardTime(t)
	head := c.lmHead(b.Logits)
	if c.model.Experts > 0 {
		fit, exact := c.experts.Constants()
		add(layers*c.routedTime(b.Tokens()), fit, exact)
	}
	fit, exact := c.product.Fit()
	add(layers*(products+ffn)+head, fit, exact)
	add(layers*c.moveTime(t), &c.move.norm.Fit, true)
	add(layers*c.reduceTime(t), &c.reduce.Fit, true)
	context := min(b.DecodeContext, int64(b.Decodes)*c.windowOr(b))
	if b.Decodes+b.Chunks > 0 {
		add(layers*c.attend(b), c.attention.fit(b, context), true)
	}
	host, _ := c.Host(b)
	total += host.Seconds()
	if total == 0 {
		return 0
	}
	return math.Sqrt(squares/(total*total) + c.hostDoubt(host.Seconds()/total))
}

// hostDoubt returns the squared relative error that the engine adds, where its host takes
// the given share of the time. Constants fitted to whole iterations state the spread of
// these; constants of the host's own parts err in proportion to their share.
func (c *Cost) hostDoubt(share float64) float64 {
	if s := max(c.host.Fit.Spread, c.engine.Launch.Fit.Spread); s > 0 {
		return s * s
	}
	e := share * systematic(&c.host.Fit, true)
	return e * e
}

// bandToSigma turns the half-width of a 90 % band into a standard deviation.
const bandToSigma = 1 / 1.645

// unstated is the relative error taken for constants that state none: that of the
// operators that are known least.
const unstated = 0.25

// systematic returns the relative standard error that all calls with the constants share,
// or with exact false all calls of another library or precision than they were fitted to.
func systematic(f *hwmodel.Fit, exact bool) float64 {
	switch {
	case (f.Derived || !exact) && f.Band > 0:
		return max(f.Band*bandToSigma, f.Spread)
	case f.Spread > 0:
		return f.Spread
	case f.HeldOutMedian > 0:
		return f.HeldOutMedian
	}
	return unstated
}
