package planning

import (
	"math"
	"testing"

	"orrery/hwmodel"
	"orrery/workloads/diffusion"
)

func price(t *testing.T, device, name string, s Setting, graphs bool) Cost {
	t.Helper()
	p, err := hwmodel.Load(device)
	if err != nil {
		t.Fatal(err)
	}
	f, err := hwmodel.LoadFramework("pytorch")
	if err != nil {
		t.Fatal(err)
	}
	q, err := diffusion.NewPricer(p, f)
	if err != nil {
		t.Fatal(err)
	}
	c, err := program(t, name, s).Price(q, f, graphs)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// An eager planner for one robot waits for its launches, so that latencies stand as counts
// of kernels do; recorded graphs and large batches make it wait for the device.
func TestPlannersAreBoundByLaunches(t *testing.T) {
	const device = "rtx-2080-ti-11gb"
	td := price(t, device, "trajectory-diffuser", Setting{}, false)
	for name, want := range map[string]float64{"diffuser": 5.26, "decision-diffuser": 9.67} {
		c := price(t, device, name, Setting{}, false)
		if !c.LaunchBound() {
			t.Errorf("%s waits for the device", name)
		}
		if got := c.Seconds / td.Seconds; math.Abs(got/want-1) > 0.05 {
			t.Errorf("%s takes %.2f times as long as Trajectory Diffuser, want %.2f", name, got, want)
		}
	}
	replayed := price(t, device, "trajectory-diffuser", Setting{}, true)
	if !td.LaunchBound() || replayed.LaunchBound() || replayed.Seconds > td.Seconds/3 {
		t.Errorf("eager %.1f ms, of which %.1f on the device; replayed %.1f ms", 1e3*td.Seconds, 1e3*td.Device, 1e3*replayed.Seconds)
	}
	crowd := price(t, device, "trajectory-diffuser", Setting{Robots: 64}, false)
	if crowd.LaunchBound() || crowd.Seconds > 64*td.Seconds {
		t.Errorf("a batch of 64 robots takes %.1f ms, one %.1f ms", 1e3*crowd.Seconds, 1e3*td.Seconds)
	}
	cached := price(t, device, "trajectory-diffuser", Setting{KVCache: true}, true)
	if cached.Seconds >= replayed.Seconds {
		t.Errorf("replayed with a cache %.2f ms, without %.2f ms", 1e3*cached.Seconds, 1e3*replayed.Seconds)
	}
}

// Kernels and phases add up to the whole, and nothing beats physics.
func TestCostsAddUp(t *testing.T) {
	for _, device := range []string{"rtx-2080-ti-11gb", "a100-sxm-80gb", "h100-sxm-80gb"} {
		p, err := hwmodel.Load(device)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range Names() {
			for _, graphs := range []bool{false, true} {
				s := Setting{Robots: 4}
				c := price(t, device, name, s, graphs)
				var seconds, work, launch, flops float64
				kernels := 0
				for _, k := range c.Kernels {
					launch += k.Launch
					work += k.Device
				}
				for _, phase := range c.Phases {
					seconds += phase.Seconds
					kernels += phase.Kernels
					flops += phase.FLOPs
				}
				near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(a, b) }
				if !near(seconds, c.Seconds) || !near(work, c.Device) || !near(launch, c.Launch) {
					t.Errorf("%s on %s: phases take %g of %g s, kernels %g of %g, launches %g of %g", name, device, seconds, c.Seconds, work, c.Device, launch, c.Launch)
				}
				if want := program(t, name, s).Kernels(); kernels != want || len(c.Kernels) != want {
					t.Errorf("%s: %d and %d kernels, want %d", name, kernels, len(c.Kernels), want)
				}
				// Convolutions may take a quarter of the multiplications (Winograd).
				if floor := flops / 4 / max(p.Device.FLOPs("fp32"), p.Device.TF32FLOPs); c.Device < floor {
					t.Errorf("%s on %s takes %g s, physics allows no less than %g", name, device, c.Device, floor)
				}
			}
		}
	}
}
