package plan

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// monotone draws a rule that a device more never breaks: each of a few demands is met by a
// weighted sum of the counts.
func monotone(t *rapid.T, pools int) FleetProbe {
	seed := rapid.Uint64().Draw(t, "seed")
	rng := rand.New(rand.NewPCG(seed, 1))
	demands := make([][]float64, 1+rng.IntN(3))
	for i := range demands {
		demands[i] = make([]float64, pools+1)
		for k := range demands[i] {
			demands[i][k] = float64(rng.IntN(5))
		}
		demands[i][pools] = float64(rng.IntN(25))
	}
	return func(_ context.Context, counts []int) (FleetOutcome, error) {
		for _, d := range demands {
			sum := 0.0
			for k, n := range counts {
				sum += d[k] * float64(n)
			}
			if sum < d[pools] {
				return FleetOutcome{Why: []string{"late"}}, nil
			}
		}
		return FleetOutcome{Met: true}, nil
	}
}

// all calls f with every fleet within the bounds.
func all(pools []FleetPool, counts []int, f func([]int)) {
	if len(counts) == len(pools) {
		f(counts)
		return
	}
	for n := pools[len(counts)].Least; n <= pools[len(counts)].Most; n++ {
		all(pools, append(slices.Clone(counts), n), f)
	}
}

// The search finds what trying every fleet finds, with fewer trials, and every fleet that
// it names can spare no device.
func TestCheapestFleetIsTheCheapest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pools := make([]FleetPool, rapid.IntRange(1, 3).Draw(t, "pools"))
		for i := range pools {
			pools[i].Least = rapid.IntRange(0, 2).Draw(t, "least")
			pools[i].Most = pools[i].Least + rapid.IntRange(0, 6).Draw(t, "more")
			pools[i].PricePerHr = float64(rapid.IntRange(0, 9).Draw(t, "price"))
		}
		probe := monotone(t, len(pools))
		best, fleets := -1.0, 0
		all(pools, nil, func(c []int) {
			fleets++
			price := 0.0
			for i, n := range c {
				price += float64(n) * pools[i].PricePerHr
			}
			if o, _ := probe(context.Background(), c); o.Met && (best < 0 || price < best) {
				best = price
			}
		})
		a, err := CheapestFleet(context.Background(), pools, probe)
		if err != nil {
			t.Fatal(err)
		}
		if found := len(a.Meeting) > 0; found != (best >= 0) || found && a.Meeting[0].PerHour != best {
			t.Fatalf("found %+v; the cheapest of all costs %g", a.Meeting, best)
		}
		if a.Tried > fleets {
			t.Fatalf("%d trials of %d fleets", a.Tried, fleets)
		}
		for _, m := range a.Meeting {
			for i := range m.Counts {
				c := slices.Clone(m.Counts)
				if c[i]--; c[i] < pools[i].Least {
					continue
				}
				if o, _ := probe(context.Background(), c); o.Met {
					t.Fatalf("%v meets the objective, but so does %v", m.Counts, c)
				}
			}
		}
		for _, m := range a.Missing {
			if m.Met || len(m.Why) == 0 {
				t.Fatalf("%+v is said to miss", m)
			}
		}
	})
}

// Errors of a trial end the search, and bounds that make no sense are refused.
func TestCheapestFleetRefuses(t *testing.T) {
	broken := errors.New("broken")
	fail := func(context.Context, []int) (FleetOutcome, error) { return FleetOutcome{}, broken }
	if _, err := CheapestFleet(context.Background(), []FleetPool{{Name: "a", Most: 3}}, fail); !errors.Is(err, broken) {
		t.Errorf("%v; want the error of the trial", err)
	}
	if _, err := CheapestFleet(context.Background(), nil, fail); err == nil {
		t.Error("a fleet of no pools was searched")
	}
	if _, err := CheapestFleet(context.Background(), []FleetPool{{Name: "a", Least: 3, Most: 2}}, fail); err == nil {
		t.Error("a pool of at least 3 and at most 2 was searched")
	}
}

// The table names what each fleet costs and why it misses.
func TestFleetText(t *testing.T) {
	probe := func(_ context.Context, c []int) (FleetOutcome, error) {
		if c[0]+3*c[1] < 4 {
			return FleetOutcome{E2EP50: 5, E2ES: 40, Busy: 0.99, Why: []string{"E2E p95 40.0 s of 30.0 s"}}, nil
		}
		return FleetOutcome{Met: true, E2EP50: 2, E2ES: 20, Busy: 0.5}, nil
	}
	a, err := CheapestFleet(context.Background(), []FleetPool{{Name: "small", Most: 8, PricePerHr: 0.2}, {Name: "large", Most: 3, PricePerHr: 1}}, probe)
	if err != nil {
		t.Fatal(err)
	}
	text := a.Text()
	for _, want := range []string{"    4      0       0.80", "E2E p95 40.0 s of 30.0 s", "misses:"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
