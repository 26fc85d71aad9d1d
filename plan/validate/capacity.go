package validate

import (
	"context"
	"fmt"
	"slices"

	"orrery/cluster"
	"orrery/sim"
)

// plan turns shares into rates: of the capacity of the subject that has the least.
func (v *validation) plan(ctx context.Context) error {
	least := 0.0
	for _, s := range v.subjects {
		c, err := v.capacity(ctx, s)
		if err != nil {
			return err
		}
		if least == 0 || c < least {
			least = c
		}
	}
	for _, share := range v.Loads {
		rate := share * least
		n := int64(max(rate*v.Length.Seconds(), 10))
		v.loads = append(v.loads, load{share: share, rate: rate, requests: n, real: make([][]*outcome, len(v.subjects))})
	}
	return nil
}

// capacityRequests is the number of requests that measure a capacity.
const capacityRequests = 400

// capacity returns the requests per second that a subject serves when there are
// always more waiting, as simulated with what was measured: the rate at which the
// middle half of many requests ends that have all arrived at once.
func (v *validation) capacity(ctx context.Context, s Subject) (float64, error) {
	t, err := s.Build(1e6, capacityRequests, v.Seed+1)
	if err != nil {
		return 0, err
	}
	defer t.Close()
	var ends endings
	t.Config.Record = append(t.Config.Record, &ends)
	t.Config.Replicas[0].Cost = v.cost
	if _, err := cluster.Run(ctx, t.Config); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n := len(ends)
	if n < 8 {
		return 0, fmt.Errorf("validate: %s: %d of %d requests are served; want a scenario whose requests fit", s.Name, n, capacityRequests)
	}
	slices.Sort(ends)
	d := ends[n*3/4].Sub(ends[n/4]).Seconds()
	if d <= 0 {
		return 0, fmt.Errorf("validate: %s: requests end at one instant", s.Name)
	}
	return float64(n*3/4-n/4) / d, nil
}

// endings are the times at which requests ended.
type endings []sim.Time

// Record notes when a request ends.
func (e *endings) Record(r *cluster.Record) {
	if r.What == cluster.Finished {
		*e = append(*e, r.At)
	}
}
