package driver

import "testing"

// What devices are checked for is what the collectives' definitions leave with them.
func TestReceivedFollowsTheDefinitions(t *testing.T) {
	const count = 24
	for _, n := range []int{2, 4} {
		share := count / n
		for name, holds := range map[string]func(device, place int) float64{
			"all_reduce":     func(_, _ int) float64 { return sum(n) },
			"reduce_scatter": func(_, _ int) float64 { return sum(n) },
			"broadcast":      func(_, _ int) float64 { return 1 },
			"all_gather":     func(_, place int) float64 { return float64(place/share + 1) },
			"alltoall":       func(_, place int) float64 { return float64(place/share + 1) },
			"copy":           func(_, _ int) float64 { return 1 },
		} {
			checked := 0
			for i := range n {
				for _, w := range received(name, i, n, count) {
					checked++
					if w.at < 0 || w.at >= count || w.value != holds(i, int(w.at)) {
						t.Errorf("%s on device %d of %d: %g at %d, want %g", name, i, n, w.value, w.at, holds(i, int(w.at)))
					}
				}
			}
			if checked == 0 {
				t.Errorf("%s is not checked", name)
			}
		}
	}
}

// sum is what devices that send 1, 2, ... reduce to.
func sum(n int) float64 {
	s := 0.0
	for i := range n {
		s += float64(i + 1)
	}
	return s
}
