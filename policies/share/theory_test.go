package share

import (
	"math"
	"math/rand/v2"
	"testing"

	"orrery/sim"
	"orrery/workloads/jobs"
)

// One device under shortest remaining time first is the M/G/1 queue under SRPT, whose mean
// response time Schrage and Miller gave in 1966; under FIFO it is Pollaczek and Khinchin's.
func TestOneDeviceFollowsTheory(t *testing.T) {
	const load, n = 0.8, 600_000
	rng := rand.New(sim.NewPCG(5, "theory"))
	list := make([]jobs.Job, n)
	at := 0.0
	for i := range list {
		at += rng.ExpFloat64() / load
		list[i] = jobs.Job{ID: int64(i), Arrived: sim.Seconds(at), Widths: []int{1}, Speed: [][]float64{{1}}, Total: rng.ExpFloat64()}
	}
	for _, c := range []struct {
		name   string
		policy Policy
		want   float64 // in units of the mean service time
	}{
		{"FIFO", FIFO{}, 1 / (1 - load)},
		{"SRPT", &SRTF{}, srpt(load)},
	} {
		b := bench{types: []Type{{Devices: 1}}}
		o := b.run(t, c.policy, list)
		t.Logf("%s: mean response time %.3f, theory %.3f", c.name, o.mean(), c.want)
		if math.Abs(o.mean()/c.want-1) > 0.03 {
			t.Errorf("%s: mean response time %.3f, theory says %.3f", c.name, o.mean(), c.want)
		}
	}
}

// srpt returns the mean response time of M/M/1 under SRPT for services of mean 1:
//
//	E[T(x)] = load (m2(x) + x^2 (1 - F(x))) / (2 (1 - rho(x))^2) + integral from 0 to x of dt / (1 - rho(t))
//
// with rho(x) the load, and m2(x) the second moment, of what is no longer than x.
func srpt(load float64) float64 {
	const dx = 1e-4
	rho, m2, stay, mean := 0.0, 0.0, 0.0, 0.0
	for x := dx / 2; x < 40; x += dx {
		f := math.Exp(-x)
		rho += load * x * f * dx
		m2 += x * x * f * dx
		stay += dx / (1 - rho)
		wait := load * (m2 + x*x*f) / (2 * (1 - rho) * (1 - rho))
		mean += (wait + stay) * f * dx
	}
	return mean
}
