package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// FleetPool is one kind of device of which a fleet may have more or fewer.
type FleetPool struct {
	Name       string  `json:"name"`
	Least      int     `json:"least"`
	Most       int     `json:"most"`
	PricePerHr float64 `json:"price_per_hour"` // of one device
}

// FleetOutcome is how one fleet did.
type FleetOutcome struct {
	Met    bool     `json:"met"`
	E2EP50 float64  `json:"e2e_p50_s"`
	E2ES   float64  `json:"e2e_s"` // at the objective's quantile
	Busy   float64  `json:"busy_share"`
	Why    []string `json:"why"` // what it misses; empty if it met the objective
}

// FleetTrial is a fleet that was tried.
type FleetTrial struct {
	Counts  []int   `json:"counts"` // by pool
	PerHour float64 `json:"price_per_hour"`
	FleetOutcome
}

// FleetProbe tries a fleet of so many devices of each pool. It must be a function of the
// counts.
type FleetProbe func(ctx context.Context, counts []int) (FleetOutcome, error)

// FleetAnswer is what a search has found.
type FleetAnswer struct {
	Pools []FleetPool `json:"pools"`
	// Meeting are the fleets that meet the objective and would not with a device fewer of any
	// kind, cheapest first. The first is the cheapest of all.
	Meeting []FleetTrial `json:"meeting"`
	// Missing are the fleets next to those, with one device fewer, and the largest of each
	// kind alone where that misses too; dearest first.
	Missing []FleetTrial `json:"missing"`
	Tried   int          `json:"tried"`
}

// CheapestFleet finds the cheapest fleet that meets an objective, and with it all fleets
// of which no device can be spared. It takes for granted that a device more never makes a
// fleet miss what it met, which queues are expected to obey but for chance: compared
// fleets must see the same traffic.
func CheapestFleet(ctx context.Context, pools []FleetPool, probe FleetProbe) (*FleetAnswer, error) {
	if len(pools) == 0 {
		return nil, errors.New("plan: a fleet of no pools")
	}
	for _, p := range pools {
		if p.Least < 0 || p.Most < p.Least {
			return nil, fmt.Errorf("plan: pool %s of %d to %d devices", p.Name, p.Least, p.Most)
		}
	}
	f := &fleetSearch{pools: pools, probe: probe, done: map[string]FleetTrial{}}
	if err := f.walk(ctx, make([]int, 0, len(pools))); err != nil {
		return nil, err
	}
	if err := f.around(ctx); err != nil {
		return nil, err
	}
	f.sort()
	return &FleetAnswer{Pools: pools, Meeting: f.meeting, Missing: f.missing, Tried: len(f.done)}, nil
}

// fleetSearch is a search under way.
type fleetSearch struct {
	pools   []FleetPool
	probe   FleetProbe
	done    map[string]FleetTrial
	meeting []FleetTrial
	missing []FleetTrial
}

// walk goes through all counts of the pools but the last, and for each finds the fewest of
// the last that meet the objective. Counts rise, so that of a fleet to which earlier ones
// add nothing is known that it needs no more of the last than they do.
func (f *fleetSearch) walk(ctx context.Context, counts []int) error {
	if at := len(counts); at < len(f.pools)-1 {
		for n := f.pools[at].Least; n <= f.pools[at].Most; n++ {
			if err := f.walk(ctx, append(counts, n)); err != nil {
				return err
			}
		}
		return nil
	}
	last := f.pools[len(counts)]
	low, high := last.Least, last.Most+1 // the answer is in low to high; high alone stands for none
	for i := range f.meeting {
		if m := f.meeting[i].Counts; dominates(counts, m[:len(counts)]) {
			high = min(high, m[len(counts)])
		}
	}
	known := high // an answer that needs no probe
	for low < high {
		middle := (low + high) / 2
		t, err := f.try(ctx, append(slices.Clone(counts), middle))
		if err != nil {
			return err
		}
		if t.Met {
			high = middle
		} else {
			low = middle + 1
		}
	}
	if high > last.Most || high == known {
		return nil // none, or no fewer than with fewer devices of another kind
	}
	t, err := f.try(ctx, append(slices.Clone(counts), high))
	if err == nil {
		f.meeting = append(f.meeting, t)
	}
	return err
}

// dominates tells whether a has at least as many of each as b.
func dominates(a, b []int) bool {
	for i := range a {
		if a[i] < b[i] {
			return false
		}
	}
	return true
}

// try tries a fleet, once.
func (f *fleetSearch) try(ctx context.Context, counts []int) (FleetTrial, error) {
	key := fmt.Sprint(counts)
	if t, ok := f.done[key]; ok {
		return t, nil
	}
	if err := ctx.Err(); err != nil {
		return FleetTrial{}, err
	}
	t := FleetTrial{Counts: counts}
	for i, n := range counts {
		t.PerHour += float64(n) * f.pools[i].PricePerHr
	}
	var err error
	if t.FleetOutcome, err = f.probe(ctx, counts); err != nil {
		return t, err
	}
	f.done[key] = t
	return t, nil
}

// around tries what is next to the fleets that meet the objective, and each kind alone.
func (f *fleetSearch) around(ctx context.Context) error {
	var next [][]int
	for _, t := range f.meeting {
		for i, n := range t.Counts {
			if n > f.pools[i].Least {
				c := slices.Clone(t.Counts)
				c[i]--
				next = append(next, c)
			}
		}
	}
	for i := range f.pools {
		c := make([]int, len(f.pools))
		for k := range c {
			c[k] = f.pools[k].Least
		}
		c[i] = f.pools[i].Most
		next = append(next, c)
	}
	seen := map[string]bool{}
	for _, c := range next {
		t, err := f.try(ctx, c)
		if err != nil {
			return err
		}
		if key := fmt.Sprint(c); !t.Met && !seen[key] {
			seen[key] = true
			f.missing = append(f.missing, t)
		}
	}
	return nil
}

// sort puts the cheapest first, of equally cheap ones that with fewer of the first pools.
func (f *fleetSearch) sort() {
	by := func(sign float64) func(a, b FleetTrial) int {
		return func(a, b FleetTrial) int {
			switch d := sign * (a.PerHour - b.PerHour); {
			case d < 0:
				return -1
			case d > 0:
				return 1
			}
			return slices.Compare(a.Counts, b.Counts)
		}
	}
	slices.SortFunc(f.meeting, by(1))
	slices.SortFunc(f.missing, by(-1))
}

// Text returns a table of the fleets.
func (a *FleetAnswer) Text() string {
	var b strings.Builder
	head := ""
	for _, p := range a.Pools {
		head += fmt.Sprintf("%*s  ", max(len(p.Name), 3), p.Name)
	}
	fmt.Fprintf(&b, "%s%9s  %9s  %9s  %5s\n", head, "an hour", "E2E p50", "E2E at q", "busy")
	row := func(t FleetTrial) {
		for i, n := range t.Counts {
			fmt.Fprintf(&b, "%*d  ", max(len(a.Pools[i].Name), 3), n)
		}
		fmt.Fprintf(&b, "%9.2f  ", t.PerHour)
		if t.E2ES > 0 {
			fmt.Fprintf(&b, "%7.1f s  %7.1f s  %3.0f %%", t.E2EP50, t.E2ES, 100*t.Busy)
		} else {
			fmt.Fprintf(&b, "%9s  %9s  %5s", "-", "-", "-")
		}
		if len(t.Why) > 0 {
			fmt.Fprintf(&b, "  %s", strings.Join(t.Why, "; "))
		}
		b.WriteByte('\n')
	}
	if len(a.Meeting) == 0 {
		b.WriteString("no fleet within the bounds meets the objective\n")
	}
	for _, t := range a.Meeting {
		row(t)
	}
	if len(a.Missing) > 0 {
		b.WriteString("misses:\n")
	}
	for _, t := range a.Missing {
		row(t)
	}
	fmt.Fprintf(&b, "%d fleets tried\n", a.Tried)
	return b.String()
}
