package training

import (
	"slices"

	"orrery/hwmodel"
	"orrery/workloads/net"
)

// exchange returns what the devices of a setup take to exchange gradients, and weights where
// these are sharded, in a step whose parts on the device are known, and how much of that
// no computing hides.
func (s *Setup) exchange(p *hwmodel.Profile, sys *System, n Network, t *parts, slower float64) (total, exposed float64, err error) {
	if s.Devices < 2 {
		return 0, 0, nil
	}
	c := newCollectives(p, sys.Wires(), s.Devices, s.PerNode)
	c.tree = s.Tree
	passes := float64(s.Accumulate)
	forward, backward := slower*t.forward/passes, slower*t.backward/passes
	for i := range t.took {
		t.took[i] *= slower
	}
	gs := gradients(n, t.took)
	width := 4.0 // PyTorch's autocast keeps gradients in 32 bits
	switch s.Sharding {
	case FSDP, ZeRO2, Hybrid:
		if s.Precision == AMP {
			width = 2 // weights are gathered, and gradients scattered, as computed
		}
		us := units(gs, forward, backward)
		frozen := float64(n.Params()) / float64(trained(n)) // weights beside those that change are gathered as well
		gather, scatter := c.gather, c.gather
		if s.Sharding == Hybrid {
			gather, scatter = c.hybrid()
		}
		total, exposed, err = sharded(us, width*frozen, width, s.Sharding != ZeRO2, gather, scatter)
		return total * passes, exposed * passes, err
	case ZeRO1:
		// Gradients are summed as without sharding; then each device's share of new weights is gathered.
		weights, err := c.gather(float64(trained(n)) * width)
		if err != nil {
			return 0, 0, err
		}
		total, exposed, err = overlapped(gs, width, backward, c.gather)
		return total + weights, exposed + weights, err
	}
	return overlapped(gs, width, backward, c.allReduce)
}

// each returns the seconds of operators one by one, with so many seconds more spread over
// all of them.
func (q *pricer) each(ops []net.Op, more float64) ([]float64, error) {
	out := make([]float64, len(ops))
	sum := 0.0
	for i := range ops {
		t, err := q.seconds(&ops[i])
		if err != nil {
			return nil, err
		}
		out[i] = t * float64(max(ops[i].Count, 1))
		sum += out[i]
	}
	for i := range out {
		out[i] *= 1 + more/sum
	}
	return out, nil
}

// Gradient is a tensor's gradient in the backward pass of one device.
type Gradient struct {
	Params float64 // numbers in it
	Ready  float64 // seconds since the pass began
}

// Buckets in which PyTorch's DistributedDataParallel exchanges gradients: a small one
// first, so that the exchange begins early, then of bucket_cap_mb (Li and others, "PyTorch
// Distributed", 2020).
const (
	firstBucket = 1 << 20
	bucketBytes = 25 << 20
)

// ordered is a network that knows when its gradients are complete.
type ordered interface{ Gradients() []net.Gradient }

// gradients returns when the backward pass completes which gradients. took holds the seconds of its operators.
func gradients(n Network, took []float64) []Gradient {
	o, ok := n.(ordered)
	if !ok { // all of them at the end
		sum := 0.0
		for _, t := range took {
			sum += t
		}
		return []Gradient{{float64(trained(n)), sum}}
	}
	var out []Gradient
	at, now := 0, 0.0
	for _, g := range o.Gradients() {
		for ; at < g.After && at < len(took); at++ {
			now += took[at]
		}
		out = append(out, Gradient{float64(g.Params), now})
	}
	return out
}

// trained returns the parameters that the optimiser changes.
func trained(n Network) int64 {
	if t, ok := n.(interface{ Trained() int64 }); ok {
		return t.Trained()
	}
	return n.Params()
}

// overlapped returns how long the exchange of gradients lasts in all, and how far it outlasts
// a backward pass of so many seconds. Buckets are exchanged one after another, each
// once all of its gradients are ready, while the pass goes on.
func overlapped(gradients []Gradient, width, backward float64, cost func(bytes float64) (float64, error)) (total, exposed float64, err error) {
	end, bytes, limit := 0.0, 0.0, float64(firstBucket)
	for i, g := range gradients {
		bytes += g.Params * width
		if bytes < limit && i < len(gradients)-1 {
			continue
		}
		t, err := cost(bytes)
		if err != nil {
			return 0, 0, err
		}
		end = max(end, g.Ready) + t
		total += t
		bytes, limit = 0, bucketBytes
	}
	return total, max(0, end-backward), nil
}

// unit is a part of a network whose weights are gathered at once.
type unit struct {
	params            float64
	forward, backward float64 // seconds
}

// unitParams is what a unit has at least, so that small layers share one.
const unitParams = 1e6

// units cuts a network where its gradients are complete, in the order of the backward pass.
// Forward passes are taken to spread over layers as backward passes do.
func units(gradients []Gradient, forward, backward float64) []unit {
	var out []unit
	var u unit
	began := 0.0
	for i, g := range gradients {
		u.params += g.Params
		if u.params < unitParams && i < len(gradients)-1 {
			continue
		}
		u.backward = g.Ready - began
		if i == len(gradients)-1 {
			u.backward = backward - began
		}
		began = g.Ready
		u.forward = u.backward / backward * forward
		out = append(out, u)
		u = unit{}
	}
	return out
}

// sharded walks through a forward and a backward pass with weights that are gathered unit by
// unit, the next one while one computes, and gradients that are scattered once
// each unit is done (Zhao and others, "PyTorch FSDP", 2023). One exchange runs at a
// time. A parameter has so many bytes of weight and of gradient to move; again tells that
// weights are dropped after the forward pass and gathered once more. It returns the seconds of all exchanges, and how far the passes outlast what they
// compute.
func sharded(us []unit, weight, gradient float64, again bool, gather, scatter func(bytes float64) (float64, error)) (total, exposed float64, err error) {
	var w walk
	forward := slices.Clone(us)
	slices.Reverse(forward)
	for _, u := range forward {
		t, err := gather(u.params * weight)
		if err != nil {
			return 0, 0, err
		}
		w.gather(t)
		w.compute(u.forward, 0)
	}
	for _, u := range us {
		if again {
			t, err := gather(u.params * weight)
			if err != nil {
				return 0, 0, err
			}
			w.gather(t)
		}
		t, err := scatter(u.params * gradient)
		if err != nil {
			return 0, 0, err
		}
		w.compute(u.backward, t)
	}
	w.scatter()
	return w.total, max(w.link, w.device) - w.busy, nil
}

// walk follows the device and the link of sharded passes.
type walk struct {
	device, link float64 // when each is done with what it has so far
	began        float64 // when the unit under way began
	weights      float64 // when the next unit's weights are there
	after        float64 // seconds to scatter the gradients of the unit before
	total, busy  float64 // seconds of exchange, and of computing
}

// gather fetches the next unit's weights while the unit under way computes.
func (w *walk) gather(t float64) {
	w.link = max(w.link, w.began) + t
	w.weights = w.link
	w.total += t
}

// compute runs the next unit, whose gradients then take so long to scatter.
func (w *walk) compute(t, scatter float64) {
	done := w.device
	w.scatterAt(done)
	w.began = max(w.device, w.weights)
	w.device = w.began + t
	w.busy += t
	w.after = scatter
}

func (w *walk) scatterAt(ready float64) {
	if w.after == 0 {
		return
	}
	w.link = max(w.link, ready) + w.after
	w.total += w.after
	w.after = 0
}

// scatter ends with the gradients of the last unit.
func (w *walk) scatter() { w.scatterAt(w.device) }
