package sim

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestEventsFireByTimeRankAndOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type key struct {
			at   Time
			rank Rank
			n    int
		}
		var g Engine
		var got, want []key
		var keys []key
		var actions [numRanks]Action
		for r := range numRanks {
			actions[r] = g.On(r, "note", func(_ Time, arg uint32) { got = append(got, keys[arg]) })
		}
		for n := range rapid.IntRange(0, 200).Draw(t, "events") {
			k := key{Time(rapid.IntRange(0, 20).Draw(t, "at")), Rank(rapid.IntRange(0, int(numRanks)-1).Draw(t, "rank")), n}
			keys = append(keys, k)
			g.At(k.at, actions[k.rank], uint32(n))
		}
		want = slices.Clone(keys)
		slices.SortFunc(want, func(a, b key) int {
			switch {
			case a.at != b.at:
				return int(a.at - b.at)
			case a.rank != b.rank:
				return int(a.rank) - int(b.rank)
			}
			return a.n - b.n
		})
		g.Run(Forever)
		if !slices.Equal(got, want) {
			t.Fatalf("fired %v, want %v", got, want)
		}
	})
}

func TestRunStopsAtItsHorizon(t *testing.T) {
	var g Engine
	n := 0
	var tick Action
	tick = g.On(Decide, "tick", func(Time, uint32) {
		n++
		g.After(10, tick, 0)
	})
	g.At(0, tick, 0)
	g.Run(95)
	if n != 10 || g.Now() != 90 || g.Pending() != 1 {
		t.Errorf("%d ticks, now %v, %d pending; want 10, 90ns, 1", n, g.Now(), g.Pending())
	}
	g.Run(100)
	if n != 11 {
		t.Errorf("%d ticks after going on, want 11", n)
	}
}

func TestThePastIsRefused(t *testing.T) {
	var g Engine
	late := g.On(Decide, "late", func(now Time, _ uint32) { g.At(now-1, 0, 0) })
	g.At(5, late, 0)
	defer func() {
		if recover() == nil {
			t.Error("an event in the past was accepted")
		}
	}()
	g.Run(Forever)
}

func TestStreamsAreIndependentAndRepeatable(t *testing.T) {
	a, b, c := Stream(7, "arrivals"), Stream(7, "arrivals"), Stream(7, "lengths")
	equal, n := 0, 1000
	var ab, ac float64
	for range n {
		x, y, z := a.Float64(), b.Float64(), c.Float64()
		if x == y {
			equal++
		}
		ab += (x - 0.5) * (y - 0.5)
		ac += (x - 0.5) * (z - 0.5)
	}
	if equal != n {
		t.Error("one seed and name gave two streams")
	}
	if r := ac / ab; math.Abs(r) > 0.12 { // four standard errors of a correlation of 1000 pairs
		t.Errorf("streams of two names correlate: %v", r)
	}
}

// A stream's numbers are part of every result; they must never change.
func TestStreamsAreTheSameEverywhere(t *testing.T) {
	rng := Stream(1, "golden")
	got := []uint64{rng.Uint64(), rng.Uint64(), rng.Uint64()}
	if want := []uint64{0xfea1f577d8264141, 0x532fe34c8d08a89f, 0x38a3cc3a7d2f7972}; !slices.Equal(got, want) {
		t.Errorf("stream golden begins %#x, want %#x", got, want)
	}
}

func TestLedgerCannotBeOverdrawn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.Int64Range(0, 50).Draw(t, "capacity")
		l := NewLedger(capacity)
		var used, peak int64
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			n := rapid.Int64Range(-3, 30).Draw(t, "n")
			give := rapid.Bool().Draw(t, "give")
			ok := n >= 0 && (give && n <= used || !give && n <= capacity-used)
			func() {
				defer func() {
					if (recover() == nil) != ok {
						t.Fatalf("n=%d give=%v with %d of %d used: accepted is %v, want %v", n, give, used, capacity, !ok, ok)
					}
				}()
				if give {
					l.Give(n)
				} else {
					l.Take(n)
				}
			}()
			if ok && give {
				used -= n
			} else if ok {
				used += n
			}
			peak = max(peak, used)
			if l.Used() != used || l.Free() != capacity-used || l.Peak() != peak || l.Capacity() != capacity {
				t.Fatalf("ledger says %+v, want %d used, peak %d", l, used, peak)
			}
		}
	})
}

func TestSketchQuantilesAreWithinTheirBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scale := rapid.Float64Range(0, 40).Draw(t, "scale")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var s, left, right Sketch
		var all []int64
		for i := range rapid.IntRange(1, 500).Draw(t, "n") {
			v := int64(math.Exp(rng.Float64() * scale))
			n := 1 + rng.Int64N(3)
			s.Add(v, n)
			if i%2 == 0 {
				left.Add(v, n)
			} else {
				right.Add(v, n)
			}
			for range n {
				all = append(all, v)
			}
		}
		slices.Sort(all)
		left.Merge(&right)
		for _, p := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
			rank := min(max(int(math.Ceil(p*float64(len(all))*(1-1e-14))), 1), len(all))
			want := float64(all[rank-1])
			got := s.Quantile(p)
			if math.Abs(got-want) > SketchError*want+0.5 {
				t.Fatalf("quantile %v of %d samples is %v, want %v", p, len(all), got, want)
			}
			if m := left.Quantile(p); m != got {
				t.Fatalf("quantile %v is %v after a merge, %v before", p, m, got)
			}
		}
		if s.Count() != int64(len(all)) || s.Min() != all[0] || s.Max() != all[len(all)-1] {
			t.Fatal("count, min or max is wrong")
		}
		last := 0.0
		for v, share := range s.CDF {
			if v < 0 || share <= last {
				t.Fatal("the CDF does not rise")
			}
			last = share
		}
		if last != 1 {
			t.Fatalf("the CDF ends at %v", last)
		}
	})
}

// Ranks are those of decimals, not of their rounded products: 0.07*100 is 7.
func TestSketchRanksAreExact(t *testing.T) {
	var s Sketch
	for v := range int64(100) {
		s.Add(v+1, 1)
	}
	for p := 1; p <= 100; p++ {
		if got := s.Quantile(float64(p) / 100); got != float64(p) {
			t.Errorf("the %d %% quantile of 1 to 100 is %v", p, got)
		}
	}
}

func TestSketchSizeIsBounded(t *testing.T) {
	var s Sketch
	s.Add(math.MaxInt64, 1)
	if n := len(s.counts); n > 58_000 {
		t.Errorf("%d counters", n)
	}
	if got := s.Above(1 << 40); got != 1 {
		t.Errorf("%d samples above, want 1", got)
	}
}

func TestSecondsSaturates(t *testing.T) {
	for _, c := range []struct {
		s    float64
		want Time
	}{{1.5, 1_500_000_000}, {1e-9, 1}, {1e300, Forever}, {0, 0}} {
		if got := Seconds(c.s); got != c.want {
			t.Errorf("Seconds(%v) = %d, want %d", c.s, got, c.want)
		}
	}
}

func TestNothingIsAllocatedPerEvent(t *testing.T) {
	var g Engine
	var hop Action
	hop = g.On(Finish, "hop", func(_ Time, arg uint32) { g.After(10, hop, arg) })
	for i := range uint32(100) {
		g.At(Time(i), hop, i)
	}
	g.Run(1000)
	if n := testing.AllocsPerRun(10, func() { g.Run(g.Now() + 1000) }); n != 0 {
		t.Errorf("%v allocations in %d events", n, 10_000)
	}
}
