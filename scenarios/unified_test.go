package scenarios

import "testing"

// An adapter for all step counts is never slower in the tail than one for each, at equal
// traffic, whatever the policy and as soon as swaps take time; where they take none, both are
// the same to the nanosecond under a policy that batches by class.
func TestUnifiedAdapterIsNoSlower(t *testing.T) {
	each := []string{`class.one.adapter="1"`, `class.two.adapter="2"`, `class.four.adapter="4"`, `class.eight.adapter="8"`}
	tail := func(sets ...string) float64 {
		t.Helper()
		s, err := Load("images-unified", append(sets, "traffic.requests=600")...)
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := Run(t.Context(), s, 1, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return float64(r.Latency.E2E.P90S)
	}
	for _, policy := range []string{"fifo", "step-level"} {
		for _, swap := range []string{"50ms", "400ms"} {
			base := []string{`pool.a100.policy="` + policy + `"`, `pool.a100.swap="` + swap + `"`}
			unified, split := tail(base...), tail(append(base, each...)...)
			if unified >= split {
				t.Errorf("%s, swaps of %s: %.2f s with one adapter, %.2f s with four", policy, swap, unified, split)
			}
		}
	}
	none := []string{`pool.a100.swap="0s"`}
	if a, b := tail(none...), tail(append(none, each...)...); a != b {
		t.Errorf("without swaps %.3f s with one adapter, %.3f s with four", a, b)
	}
}
