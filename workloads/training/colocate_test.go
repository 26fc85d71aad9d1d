package training

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// What the device does for both is no more than it can, neither job gains by company, a job that
// never leaves the device halves another of the kind, and order does not matter.
func TestTogether(t *testing.T) {
	const memory = 1 << 30
	rapid.Check(t, func(t *rapid.T) {
		a := Alone{1, rapid.Float64Range(0, 1).Draw(t, "a"), 1}
		b := Alone{2, rapid.Float64Range(0, 1).Draw(t, "b"), 1}
		ka, kb := Together(a, b, memory)
		if work := ka*a.Busy + kb*b.Busy; work > 1+1e-12 || ka > 1 || kb > 1 || ka < 0.5 || kb < 0.5 {
			t.Fatalf("%g and %g kept, the device works %g of the time", ka, kb, work)
		}
		if kb2, ka2 := Together(b, a, memory); ka2 != ka || kb2 != kb {
			t.Fatal("the order of jobs matters")
		}
		busier := a
		busier.Busy = math.Min(1, a.Busy+0.1)
		if k, _ := Together(busier, b, memory); k > ka {
			t.Fatalf("more work for the device, and %g kept rather than %g", k, ka)
		}
	})
	if a, b := Together(Alone{1, 1, 0}, Alone{1, 1, 0}, memory); a != 0.5 || b != 0.5 {
		t.Errorf("two jobs that never leave the device keep %g and %g", a, b)
	}
	if a, b := Together(Alone{1, 0.1, memory}, Alone{1, 0.1, 1}, memory); a != 0 || b != 0 {
		t.Errorf("two jobs that do not fit keep %g and %g", a, b)
	}
}

// A simulation of two jobs that draw exponential times on their hosts and on a device that
// both share agrees with the closed form.
func TestTogetherAgainstSimulation(t *testing.T) {
	for _, c := range [][2]float64{{0.9, 0.8}, {0.3, 0.9}, {0.5, 0.5}} {
		got := simulateTogether(c[0], c[1], 400_000)
		want, _ := Together(Alone{1, c[0], 0}, Alone{1, c[1], 0}, 1)
		if math.Abs(got/want-1) > 0.01 {
			t.Errorf("busy %v: simulated %g, closed form %g", c, got, want)
		}
	}
}

// simulateTogether returns the speed that the first of two jobs keeps, by uniformised steps of
// the chain over who is on the device.
func simulateTogether(a, b float64, steps int) float64 {
	busy := [2]float64{a, b}
	var on [2]bool
	var clock, done float64
	state := uint64(12345)
	uniform := func() float64 { // a linear congruential generator, Knuth's MMIX
		state = state*6364136223846793005 + 1442695040888963407
		return (float64(state>>11) + 0.5) / (1 << 53)
	}
	for range steps {
		var rate [2]float64
		for i := range rate {
			switch {
			case !on[i]:
				rate[i] = 1 / (1 - busy[i])
			case on[0] && on[1]:
				rate[i] = 0.5 / busy[i]
			default:
				rate[i] = 1 / busy[i]
			}
		}
		sum := rate[0] + rate[1]
		clock += -math.Log(uniform()) / sum
		i := 0
		if uniform()*sum > rate[0] {
			i = 1
		}
		if on[i] && i == 0 {
			done++ // a step of one second alone
		}
		on[i] = !on[i]
	}
	return done / clock
}
