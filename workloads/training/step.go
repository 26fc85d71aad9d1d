package training

import (
	"math"
	"time"

	"orrery/hwmodel"
	"orrery/workloads/net"
)

// Step prices one step of the optimiser on the device of p, in the hands of a system.
func (s Setup) Step(p *hwmodel.Profile, sys *System) (Step, error) {
	s = s.normal()
	if err := s.check(); err != nil {
		return Step{}, err
	}
	n, err := s.network()
	if err != nil {
		return Step{}, err
	}
	q := newPricer(p, s.Precision)
	q.layout, q.fused = sys.Layout, max(sys.Attention, 1)
	forward, backward := n.Train(s.Batch)
	var t parts
	passes := float64(s.Accumulate)
	if err := t.add(q, forward, passes, &t.forward); err != nil {
		return Step{}, err
	}
	if s.Checkpoint {
		if err := t.add(q, forward, passes, &t.backward); err != nil {
			return Step{}, err
		}
	}
	again := t.backward / passes
	if err := t.add(q, backward, passes, &t.backward); err != nil {
		return Step{}, err
	}
	if s.Devices > 1 {
		if t.took, err = q.each(backward, again); err != nil {
			return Step{}, err
		}
	}
	if err := t.add(q, s.update(n), 1, &t.optimise); err != nil {
		return Step{}, err
	}
	slower := sys.Slower
	if slower == 0 {
		slower = 1
	}
	device := slower * (t.forward + t.backward + t.optimise)
	sync, exposed, err := s.exchange(p, sys, n, &t, slower)
	if err != nil {
		return Step{}, err
	}
	// A host that cannot launch as fast as the device computes leaves gaps in which exchanges go on.
	host := sys.Input + sys.Tensor*float64(n.Tensors())
	total := max(device+exposed, sys.Launch*float64(t.kernels)) + host
	exposed = max(0, min(exposed, total-device-host))
	return Step{
		Forward: seconds(slower * t.forward), Backward: seconds(slower * t.backward), Optimise: seconds(slower * t.optimise),
		Sync: seconds(sync), Exposed: seconds(exposed), Host: seconds(total - device - exposed), Total: seconds(total),
		Samples: s.Batch * s.Accumulate * s.Devices, Kernels: t.kernels, FLOPs: t.flops, Derived: q.derived,
	}, nil
}

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }

// parts are the seconds of a step on the device.
type parts struct {
	forward, backward, optimise, flops float64
	kernels                            int
	took                               []float64 // of the operators of one backward pass, and what they compute again
}

// add prices operators, so many times over, into one of the parts.
func (t *parts) add(q *pricer, ops []net.Op, times float64, to *float64) error {
	for i := range ops {
		op := &ops[i]
		s, err := q.seconds(op)
		if err != nil {
			return err
		}
		n := times * float64(max(op.Count, 1))
		*to += n * s
		t.flops += n * op.FLOPs()
		t.kernels += int(times)
	}
	return nil
}

// update returns what the optimiser does to all weights, or to the adapters alone.
func (s *Setup) update(n Network) []net.Op {
	reads, writes := s.Optimiser.traffic()
	if s.Precision == AMP {
		writes += 0.5 // the copy in 16 bits
	}
	op := net.Op{Table: "elementwise", Word: "add", Float32: true}
	changed := float64(trained(n))
	if s.Sharding != None { // each device updates its share
		changed /= float64(s.shards())
	}
	op.Sizes[0], op.Sizes[1], op.Sizes[2] = changed, reads, writes
	return []net.Op{op}
}
