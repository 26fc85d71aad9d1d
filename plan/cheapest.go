package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Option is one way of building a fleet of like replicas: a device, how a replica is
// spread over devices, and a policy.
type Option struct {
	Name    string  `json:"name"`
	PerHour float64 `json:"per_hour"` // price of one replica
	// Least is a number of replicas below which none can meet the objective, by a bound
	// in closed form, and Most the largest number allowed.
	Least int `json:"least"`
	Most  int `json:"most"`
	// Refused says why no fleet of the option can serve at all, empty if one may.
	Refused string `json:"refused,omitempty"`
}

// FleetRun is how a fleet did with one seed.
type FleetRun struct {
	Met bool `json:"met"`
	// Good is the share of requests that met the objective, and LatencyS the figure that a
	// Pareto front is drawn by.
	Good     float64 `json:"good_share"`
	LatencyS float64 `json:"latency_s"`
	Busy     float64 `json:"busy_share"`
	Binds    string  `json:"binds"` // what limits it, in words
}

// Candidate is a fleet that was tried.
type Candidate struct {
	Option   int        `json:"option"`
	Replicas int        `json:"replicas"`
	PerHour  float64    `json:"per_hour"`
	Met      bool       `json:"met"` // with every seed
	Runs     []FleetRun `json:"runs"`
}

// Good returns the interval of the share of good requests over the seeds.
func (c *Candidate) Good() Interval {
	v := make([]float64, len(c.Runs))
	for i := range c.Runs {
		v[i] = c.Runs[i].Good
	}
	return NewInterval(v)
}

// LatencyS returns the median over the seeds.
func (c *Candidate) LatencyS() float64 {
	v := make([]float64, len(c.Runs))
	for i := range c.Runs {
		v[i] = c.Runs[i].LatencyS
	}
	slices.Sort(v)
	return median(v)
}

// Provision is what a search for the cheapest fleet has found.
type Provision struct {
	Options []Option `json:"options"`
	// Best has for every option the smallest fleet that met the objective with every seed,
	// the cheapest first; options that were ruled out are not among them.
	Best []Candidate `json:"best"`
	// Ruled says of every other option why it is not.
	Ruled []RuledOut `json:"ruled_out"`
	// Front are the fleets of which no other that was tried is both cheaper and quicker.
	Front []Candidate `json:"front"`
	// Runs is the number of simulations, and All the number that trying every fleet of
	// every option with every seed would have taken.
	Runs int `json:"runs"`
	All  int `json:"all_runs"`
}

// RuledOut is an option that has no fleet among the best.
type RuledOut struct {
	Option int    `json:"option"`
	Why    string `json:"why"`
}

// ProvisionProbe runs a fleet of so many replicas of an option with seeds and returns the
// runs in their order. It must be a function of these, and compared fleets must see the
// same traffic.
type ProvisionProbe func(ctx context.Context, option, replicas int, seeds []uint64) ([]FleetRun, error)

// Cheapest searches the cheapest fleet of like replicas that meets an objective with
// every seed. It takes for granted that a replica more never makes a fleet miss what it
// met, which holds but for chance.
//
// Options are tried in the order of what they cost at least; one is left when its bound is
// dearer than the best fleet found so far. Within an option the smallest fleet is found by
// bisection between its bound and the size at which it would be dearer than the best,
// and a fleet is given up if it misses with the first seed.
func Cheapest(ctx context.Context, options []Option, seeds []uint64, probe ProvisionProbe) (*Provision, error) {
	if len(options) == 0 || len(seeds) == 0 {
		return nil, errors.New("plan: want at least one option and one seed")
	}
	p := &provisioning{Provision: Provision{Options: options}, seeds: seeds, probe: probe, tried: map[[2]int]*Candidate{}}
	order := make([]int, len(options))
	for i := range order {
		order[i] = i
		o := &options[i]
		if !(o.PerHour >= 0) || o.Least < 0 || o.Most < 0 {
			return nil, fmt.Errorf("plan: option %s costs %g for each of %d to %d replicas", o.Name, o.PerHour, o.Least, o.Most)
		}
		p.All += o.Most * len(seeds)
	}
	floor := func(i int) float64 { return float64(max(options[i].Least, 1)) * options[i].PerHour }
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(floor(a), floor(b)) })
	for _, i := range order {
		if err := p.option(ctx, i); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(p.Best, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(a.PerHour, b.PerHour), cmp.Compare(a.LatencyS(), b.LatencyS()))
	})
	if err := p.widen(ctx); err != nil {
		return nil, err
	}
	p.front()
	return &p.Provision, nil
}

// widen tries what a little more money would buy: a replica or two more of the cheapest
// fleets, for the front of cost against latency.
func (p *provisioning) widen(ctx context.Context) error {
	for k := range min(len(p.Best), 3) {
		c := &p.Best[k]
		for more := 1; more <= 2 && c.Replicas+more <= p.Options[c.Option].Most; more++ {
			if _, err := p.try(ctx, c.Option, c.Replicas+more); err != nil {
				return err
			}
		}
	}
	return nil
}

// provisioning is a search under way.
type provisioning struct {
	Provision
	seeds []uint64
	probe ProvisionProbe
	tried map[[2]int]*Candidate
}

// option searches the smallest fleet of an option that could still be the cheapest.
func (p *provisioning) option(ctx context.Context, i int) error {
	o := &p.Options[i]
	low, high := max(o.Least, 1), o.Most
	rule := func(format string, args ...any) error {
		p.Ruled = append(p.Ruled, RuledOut{i, fmt.Sprintf(format, args...)})
		return nil
	}
	switch {
	case o.Refused != "":
		return rule("%s", o.Refused)
	case low > high:
		return rule("needs at least %d replicas by its speed alone, of %d allowed", low, high)
	}
	best := math.Inf(1)
	for k := range p.Best {
		best = min(best, p.Best[k].PerHour)
	}
	if float64(low)*o.PerHour > best {
		return rule("costs at least %.2f an hour by its speed alone", float64(low)*o.PerHour)
	}
	if o.PerHour > 0 && float64(high)*o.PerHour > best {
		high = max(low, int(math.Floor(best/o.PerHour+1e-9)))
	}
	c, err := p.try(ctx, i, high)
	if err != nil {
		return err
	}
	if !c.Met {
		why := "misses the objective with"
		if high < o.Most {
			why = "would be dearer: misses the objective with"
		}
		return rule("%s %d: %s", why, high, c.Runs[len(c.Runs)-1].Binds)
	}
	for low < high {
		middle := (low + high) / 2
		if c, err = p.try(ctx, i, middle); err != nil {
			return err
		}
		if c.Met {
			high = middle
		} else {
			low = middle + 1
		}
	}
	if c, err = p.try(ctx, i, high); err != nil {
		return err
	}
	p.Best = append(p.Best, *c)
	return nil
}

// try runs a fleet with the first seed, and if it meets the objective with the others, which
// may run at the same time.
func (p *provisioning) try(ctx context.Context, option, replicas int) (*Candidate, error) {
	key := [2]int{option, replicas}
	if c, ok := p.tried[key]; ok {
		return c, nil
	}
	c := &Candidate{Option: option, Replicas: replicas, PerHour: float64(replicas) * p.Options[option].PerHour, Met: true}
	for _, part := range [][]uint64{p.seeds[:1], p.seeds[1:]} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(part) == 0 || !c.Met {
			break
		}
		runs, err := p.probe(ctx, option, replicas, part)
		if err != nil {
			return nil, err
		}
		p.Runs += len(runs)
		c.Runs = append(c.Runs, runs...)
		for _, r := range runs {
			c.Met = c.Met && r.Met
		}
	}
	p.tried[key] = c
	return c, nil
}

// front picks the fleets that met the objective and that no other is both cheaper and
// quicker than.
func (p *provisioning) front() {
	var met []Candidate
	for i := range p.Options { // in a fixed order
		for n := 1; n <= p.Options[i].Most; n++ {
			if c, ok := p.tried[[2]int{i, n}]; ok && c.Met {
				met = append(met, *c)
			}
		}
	}
	slices.SortStableFunc(met, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(a.PerHour, b.PerHour), cmp.Compare(a.LatencyS(), b.LatencyS()))
	})
	quickest := math.Inf(1)
	for _, c := range met {
		if l := c.LatencyS(); l < quickest {
			quickest = l
			p.Front = append(p.Front, c)
		}
	}
}
