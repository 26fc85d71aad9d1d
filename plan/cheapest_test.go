package plan

import (
	"context"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// toyFleet is an option whose fleets meet the objective from a number of replicas on that
// depends on the seed.
type toyFleet struct {
	option Option
	need   int
	wobble int // with odd seeds it needs so many more
}

func drawToys(t *rapid.T) []toyFleet {
	toys := make([]toyFleet, rapid.IntRange(1, 6).Draw(t, "options"))
	for i := range toys {
		need := rapid.IntRange(1, 20).Draw(t, "need")
		toys[i] = toyFleet{
			option: Option{PerHour: float64(rapid.IntRange(0, 40).Draw(t, "price")) / 4, Least: rapid.IntRange(0, need).Draw(t, "bound"), Most: rapid.IntRange(1, 25).Draw(t, "most")},
			need:   need, wobble: rapid.IntRange(0, 3).Draw(t, "wobble"),
		}
	}
	return toys
}

// The search finds what trying every fleet finds, with fewer runs.
func TestCheapestIsThatOfBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		toys := drawToys(t)
		var options []Option
		for _, x := range toys {
			options = append(options, x.option)
		}
		probe := func(_ context.Context, i, n int, seeds []uint64) (runs []FleetRun, err error) {
			for _, seed := range seeds {
				met := n >= toys[i].need+int(seed%2)*toys[i].wobble
				runs = append(runs, FleetRun{Met: met, Good: 1, LatencyS: 10 / float64(n)})
			}
			return runs, nil
		}
		seeds := []uint64{1, 2, 3}
		found, err := Cheapest(context.Background(), options, seeds, probe)
		if err != nil {
			t.Fatal(err)
		}
		best := math.Inf(1)
		for i := range toys {
			for n := 1; n <= options[i].Most; n++ {
				if n >= toys[i].need+toys[i].wobble {
					best = min(best, float64(n)*options[i].PerHour)
				}
			}
		}
		switch {
		case math.IsInf(best, 1) && len(found.Best) > 0, !math.IsInf(best, 1) && (len(found.Best) == 0 || found.Best[0].PerHour != best):
			t.Fatalf("the cheapest is %v, found %+v", best, found.Best)
		case found.Runs > found.All || found.All == 0:
			t.Fatalf("%d runs of %d", found.Runs, found.All)
		case len(found.Best)+len(found.Ruled) != len(options):
			t.Fatalf("%d best and %d ruled out of %d", len(found.Best), len(found.Ruled), len(options))
		}
		for k := 1; k < len(found.Front); k++ {
			if a, b := found.Front[k-1], found.Front[k]; !(a.PerHour <= b.PerHour && a.LatencyS() > b.LatencyS()) {
				t.Fatalf("%+v and %+v on one front", a, b)
			}
		}
	})
}

func TestCheapestRefusesNothingAtAll(t *testing.T) {
	if _, err := Cheapest(context.Background(), nil, []uint64{1}, nil); err == nil {
		t.Error("no options: no error")
	}
	if _, err := Cheapest(context.Background(), []Option{{PerHour: math.NaN(), Most: 1}}, []uint64{1}, nil); err == nil {
		t.Error("no price: no error")
	}
}
