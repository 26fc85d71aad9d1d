package validate

import (
	"context"
	"slices"
	"time"

	"orrery/cluster"
	"orrery/sim"
)

// hostProbe is how long the host is watched after each stretch of measurements.
const hostProbe = 200 * time.Millisecond

// hostTimes are what the host added to iterations: from the policy's decision until
// the executor begins, and from its end until the cluster knows.
type hostTimes []time.Duration

// seconds returns the mean without what is not the host's own: where another process
// had the processor, the wait is many times the usual time.
func (h hostTimes) seconds() float64 {
	if len(h) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(h))
	usual := sorted[len(sorted)/2]
	sum, n := time.Duration(0), 0
	for _, d := range sorted {
		if d <= 5*usual {
			sum += d
			n++
		}
	}
	return sum.Seconds() / float64(n)
}

// probeHost runs other requests than those that will be judged, all waiting from the
// start, through the cluster and measures what is not the executor's.
func (v *validation) probeHost(ctx context.Context) error {
	t, err := v.subjects[0].Build(1e6, capacityRequests, v.Seed+2)
	if err != nil {
		return err
	}
	defer t.Close()
	v.machine.Reset()
	defer v.machine.Reset()
	var list iterations
	t.Config.Record = append(t.Config.Record, &list)
	t.Config.Replicas[0].Cost, t.Config.Replicas[0].Executor = nil, v.machine
	t.Config.Until = sim.Time(hostProbe)
	if _, err := cluster.Live(ctx, t.Config); err != nil {
		return err
	}
	for _, it := range list {
		v.host = append(v.host, it.host)
	}
	return ctx.Err()
}
