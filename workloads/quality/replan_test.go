package quality

import (
	"math"
	"testing"

	"orrery/policies/lrsched"
)

// A job whose batch changes on the way, planned with linear decay at the peak rate that is best
// for the batch that it began with: 2,000 steps. Re-planning by predicted norms is compared with going on,
// and with the rule of thumb that the rate is proportional to the batch, which has most of the gain when
// devices are lost and less of it when they are gained early.
func TestReplanningAfterAChangeOfWidth(t *testing.T) {
	q, grid := Standard(1000, 80), Grid()
	const steps = 2000
	linear := schedule(t, "linear")
	for _, c := range []struct {
		from, to, at    float64
		goingOn, byRule float64 // the loss re-planned is to be below these shares of the others'
	}{
		{64, 2, 0.6, 0.17, 1.24},
		{64, 16, 0.6, 0.63, 1.01},
		{16, 2, 0.6, 0.38, 1.05},
		{256, 4, 0.5, 0.16, 1.21},
		{64, 64, 0.5, 1 + 1e-9, 1 + 1e-9},
		{2, 64, 0.3, 0.33, 0.92},
		{16, 64, 0.5, 1.06, 1.03}, // gained late, a higher rate costs a little
	} {
		done := int(c.at * steps)
		left := make([]float64, steps-done)
		for i := range left {
			left[i] = c.to
		}
		batch := func(t int) float64 {
			if t < done {
				return c.from
			}
			return c.to
		}
		peak := q.Tune(linear, steps, Constant(c.from), grid).Peak
		loss := func(rate func(step int) float64) (float64, Run) {
			r := Run{Steps: steps, LR: func(t int) float64 { return peak * rate(t) }, Batch: batch}
			return q.Loss(r), r
		}
		on := func(t int) float64 { return linear.LR(t, steps) }
		goingOn, run := loss(on)
		byRule, _ := loss(func(t int) float64 { return on(t) * min(batch(t)/c.from, peakOver(on(t))) })

		norm := q.Norms(run)[done-1]
		noise := 2 * q.loss(q.moments()) // sum of h, the variance of a sample's gradient
		r, err := lrsched.Replan(done, c.from, left, lrsched.Noise{Signal: norm*norm - noise/c.from, PerSample: noise})
		if err != nil {
			t.Fatal(err)
		}
		replanned, _ := loss(func(t int) float64 { return r.LR(t, steps) })
		t.Logf("batch %g to %g after %g %%: re-planned %.3f of going on, %.3f of the rule", c.from, c.to, 100*c.at, replanned/goingOn, replanned/byRule)
		if replanned > c.goingOn*goingOn || replanned > c.byRule*byRule {
			t.Errorf("batch %g to %g after %g %%: re-planned %.5f, going on %.5f, rate by batch %.5f", c.from, c.to, 100*c.at, replanned, goingOn, byRule)
		}
		if c.from == c.to && math.Abs(replanned/goingOn-1) > 1e-9 {
			t.Errorf("with no change it ends at %g times linear", replanned/goingOn)
		}
	}
}

// peakOver is what a rate may be multiplied by up to the peak.
func peakOver(rate float64) float64 {
	if rate == 0 {
		return 1
	}
	return 1 / rate
}
