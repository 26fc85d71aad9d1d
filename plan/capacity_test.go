package plan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"orrery/sim"
)

// A toy server: Poisson arrivals, service of exactly one second over speed, first
// come first served. Its mean wait is known in closed form.
const (
	serviceS  = 0.25
	boundS    = 0.5 // objective: mean wait of at most this
	customers = 200_000
)

// meanWait returns the mean wait of an M/D/1 queue, by Lindley's recursion. The k-th
// unit gap depends on the seed only, so the wait is monotone in the rate.
func meanWait(rate float64, seed uint64) float64 {
	gaps := sim.Stream(seed, "gaps")
	var wait, sum float64
	for range customers {
		sum += wait
		wait = max(0, wait+serviceS-gaps.ExpFloat64()/rate)
	}
	return sum / customers
}

func toy(_ context.Context, rate float64, seed uint64) (Observation, error) {
	return Observation{Met: meanWait(rate, seed) <= boundS}, nil
}

func seeds(n int) []uint64 {
	s := make([]uint64, n)
	for i := range s {
		s[i] = uint64(i + 1)
	}
	return s
}

// The mean wait of M/D/1 is rho*D/(2*(1-rho)) (Pollaczek and Khinchine), so the
// bound W holds up to rho = 2W/(D+2W). The search must find that rate to within one
// step, from starts far below and far above, and for each seed it must enclose the
// exact threshold of that seed's own arrivals.
func TestCapacityOfMD1IsFoundWithinOneStep(t *testing.T) {
	want := 2 * boundS / (serviceS + 2*boundS) / serviceS
	for _, start := range []float64{want / 50, want * 9} {
		c, err := FindCapacity(t.Context(), toy, Search{Seeds: seeds(5), Start: start})
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(c.PerS); math.Abs(got/want-1) > c.Tolerance {
			t.Errorf("from %.3g: capacity %.4g, want %.4g within %.1f %%", start, got, want, 100*c.Tolerance)
		}
		if c.Partial || c.Interval.N != 5 || !(c.Interval.Low <= c.PerS && c.PerS <= c.Interval.High) {
			t.Errorf("from %.3g: interval %+v around %v, partial %v", start, c.Interval, c.PerS, c.Partial)
		}
		for _, s := range c.Seeds {
			exact := bisect(s.Seed, want)
			if !(float64(s.Held) <= exact && exact <= float64(s.Failed)) {
				t.Errorf("seed %d: bracket %.5g to %.5g misses its threshold %.5g", s.Seed, s.Held, s.Failed, exact)
			}
			if step := float64(s.Failed / s.Held); math.Abs(step-1-c.Tolerance) > 1e-9 {
				t.Errorf("seed %d: bracket %.5g to %.5g is not one step of %g", s.Seed, s.Held, s.Failed, c.Tolerance)
			}
			if s.Contradictions != 0 {
				t.Errorf("seed %d: %d contradictions in a monotone system", s.Seed, s.Contradictions)
			}
		}
	}
}

// bisect returns the exact threshold of one seed.
func bisect(seed uint64, about float64) float64 {
	lo, hi := about/2, min(about*2, 0.999/serviceS)
	for range 24 {
		if mid := (lo + hi) / 2; meanWait(mid, seed) <= boundS {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// noisy holds below 10/s and fails above, but near that rate the answer at each
// point is a coin that depends on the point alone.
func noisy(_ context.Context, rate float64, seed uint64) (Observation, error) {
	coin := sim.Stream(seed, fmt.Sprint(rate)).Float64()
	return Observation{Met: coin < 1/(1+math.Exp((rate-10)/0.3))}, nil
}

func TestSearchToleratesNoiseThatIsNotMonotone(t *testing.T) {
	var contradictions int
	for k := range 20 {
		start := 3 + float64(k) // so that each search walks a grid of its own
		c, err := FindCapacity(t.Context(), noisy, Search{Seeds: seeds(9), Start: start})
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(c.PerS); got < 9.4 || got > 10.4 {
			t.Errorf("start %g: capacity %.4g, want about 10", start, got)
		}
		for _, s := range c.Seeds {
			contradictions += s.Contradictions
			if got := float64(s.Held); got < 8 || got > 12 {
				t.Errorf("start %g, seed %d: %.4g, want about 10", start, s.Seed, got)
			}
		}
	}
	if contradictions == 0 {
		t.Error("no contradiction was reported, though the answers are not monotone")
	}
}

// A start that fails by bad luck, far below the capacity, must not decide.
func TestOneUnluckyRunDoesNotDecide(t *testing.T) {
	p := func(_ context.Context, rate float64, _ uint64) (Observation, error) {
		return Observation{Met: rate < 10 && math.Abs(rate-8) > 0.1}, nil
	}
	c, err := FindCapacity(t.Context(), p, Search{Seeds: seeds(1), Start: 8})
	if err != nil {
		t.Fatal(err)
	}
	if got := float64(c.PerS); got < 10/1.026 || got >= 10 {
		t.Errorf("capacity %g, want just below 10", got)
	}
}

func TestAnswersDoNotDependOnTheNumberOfWorkers(t *testing.T) {
	var first *Capacity
	for _, n := range []int{1, 2, 16} {
		c, err := FindCapacity(t.Context(), noisy, Search{Seeds: seeds(5), Start: 2, Workers: NewWorkers(n)})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = c
		} else if !reflect.DeepEqual(c, first) {
			t.Errorf("%d workers: %+v, one worker: %+v", n, c, first)
		}
	}
}

func TestNoPointIsProbedTwice(t *testing.T) {
	var mu sync.Mutex
	runs := map[point]int{}
	running, most := 0, 0
	p := func(ctx context.Context, rate float64, seed uint64) (Observation, error) {
		mu.Lock()
		runs[point{rate, seed}]++
		running++
		most = max(most, running)
		mu.Unlock()
		defer func() { mu.Lock(); running--; mu.Unlock() }()
		return noisy(ctx, rate, seed)
	}
	c, err := FindCapacity(t.Context(), p, Search{Seeds: seeds(5), Workers: NewWorkers(3)})
	if err != nil {
		t.Fatal(err)
	}
	for pt, n := range runs {
		if n != 1 {
			t.Errorf("%+v ran %d times", pt, n)
		}
	}
	if most > 3 {
		t.Errorf("%d probes at a time on 3 workers", most)
	}
	if len(runs) < c.Probes {
		t.Errorf("%d probes are claimed and %d ran", c.Probes, len(runs))
	}
}

func TestObjectivesThatHoldNowhereOrEverywhere(t *testing.T) {
	for _, met := range []bool{false, true} {
		p := func(context.Context, float64, uint64) (Observation, error) { return Observation{Met: met}, nil }
		c, err := FindCapacity(t.Context(), p, Search{Seeds: seeds(2)})
		if err != nil {
			t.Fatal(err)
		}
		if c.Unbounded() != met || met != (c.PerS > 1e5) || !met && c.PerS != 0 {
			t.Errorf("met %v: capacity %v, unbounded %v", met, c.PerS, c.Unbounded())
		}
	}
}

func TestRulesMayLookAtTheQueue(t *testing.T) {
	p := func(_ context.Context, rate float64, _ uint64) (Observation, error) {
		return Observation{Met: rate < 10, Growing: rate > 7}, nil
	}
	loose, err := FindCapacity(t.Context(), p, Search{Seeds: seeds(3)})
	if err != nil {
		t.Fatal(err)
	}
	steady, err := FindCapacity(t.Context(), p, Search{Seeds: seeds(3), Rule: MetAndSteady})
	if err != nil {
		t.Fatal(err)
	}
	if loose.Growing != 3 || loose.PerS < 9.7 {
		t.Errorf("by objective alone: %v with %d growing queues, want about 10 with 3", loose.PerS, loose.Growing)
	}
	if steady.Growing != 0 || steady.PerS < 6.8 || steady.PerS > 7 {
		t.Errorf("steady: %v with %d growing queues, want about 7 with 0", steady.PerS, steady.Growing)
	}
}

func TestCancelledSearchKeepsWhatIsKnown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var n atomic.Int64
	p := func(ctx context.Context, rate float64, seed uint64) (Observation, error) {
		if seed == 2 && n.Add(1) == 5 {
			cancel()
		}
		return Observation{Met: rate < 10}, nil
	}
	c, err := FindCapacity(ctx, p, Search{Seeds: []uint64{2}, Start: 4, Workers: NewWorkers(1)})
	if err != nil {
		t.Fatal(err)
	}
	s := c.Seeds[0]
	if !c.Partial || s.Complete || c.PerS.Exists() {
		t.Errorf("partial %v, complete %v, capacity %v; want a partial search without a result", c.Partial, s.Complete, c.PerS)
	}
	if text := c.Text(); !strings.Contains(text, "unknown") || !strings.Contains(text, "about 8.19 to 11.6") || !strings.Contains(text, "PARTIAL") {
		t.Errorf("%q does not say what is known", text)
	}
	if s.Probes != 4 || !(s.Held < 10 && s.Failed > 10) {
		t.Errorf("bracket %v to %v after %d probes, want what 4 probes know of 10", s.Held, s.Failed, s.Probes)
	}
}

func TestFailedProbeEndsTheSearch(t *testing.T) {
	broken := errors.New("no such model")
	p := func(_ context.Context, rate float64, seed uint64) (Observation, error) {
		if seed == 3 {
			return Observation{}, broken
		}
		return Observation{Met: rate < 10}, nil
	}
	if _, err := FindCapacity(t.Context(), p, Search{Seeds: seeds(5)}); !errors.Is(err, broken) {
		t.Errorf("error %v, want that of the probe", err)
	}
	for _, s := range []Search{{}, {Seeds: seeds(1), Start: -1}, {Seeds: seeds(1), Start: math.NaN()}, {Seeds: seeds(1), Tolerance: 3}} {
		if _, err := FindCapacity(t.Context(), p, s); err == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
}

// settle against its definition, over all patterns of eight answers.
func TestThresholdContradictsTheFewestProbes(t *testing.T) {
	for pattern := range 1 << 8 {
		b := &bracket{search: &Search{Rule: Met}, seen: map[int]Observation{}}
		for k := range 8 {
			b.seen[k] = Observation{Met: pattern>>k&1 == 1}
			b.order = append(b.order, k)
		}
		b.settle()
		wrong := func(threshold int) (n int) {
			for k := range 8 {
				if (k <= threshold) != b.seen[k].Met {
					n++
				}
			}
			return n
		}
		best := 9
		var equal []int
		for k := range 8 {
			if b.seen[k].Met && wrong(k) < best {
				best, equal = wrong(k), nil
			}
			if b.seen[k].Met && wrong(k) == best {
				equal = append(equal, k)
			}
		}
		if b.any != (pattern > 0) || b.any && b.held != equal[(len(equal)-1)/2] {
			t.Fatalf("pattern %08b: threshold %d (any %v), want the middle of %v", pattern, b.held, b.any, equal)
		}
		if !slices.IsSorted(b.order) {
			t.Fatal("the probes are not in order")
		}
	}
}
