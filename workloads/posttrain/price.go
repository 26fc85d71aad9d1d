package posttrain

import (
	"fmt"
	"math"

	"orrery/hwmodel"
	"orrery/workloads/diffusion"
)

func fade(x float64) float64 { return math.Exp(-x) }

// PhaseCost is what a phase takes, over all its repetitions and devices.
type PhaseCost struct {
	Name     string
	GPUHours float64
	FLOPs    float64 // a multiply-add counted as two
	Calls    []CallCost
}

// CallCost is what calls of a role take.
type CallCost struct {
	Call
	Seconds float64 // of one sample
	Share   float64 // of the device's peak
	Hours   float64
}

// Cost is what a recipe takes on a device.
type Cost struct {
	Phases   []PhaseCost
	GPUHours float64
	FLOPs    float64
	Derived  bool
}

// Price prices a recipe. Calls of one network in one phase run one after another; a training
// call takes three or four times its forward pass, as its work does.
func (r *Recipe) Price(q *diffusion.Pricer, d *hwmodel.Device) (*Cost, error) {
	out := &Cost{}
	for i := range r.Phases {
		p := &r.Phases[i]
		c := PhaseCost{Name: p.Name}
		for _, call := range p.Calls {
			seconds, flops, derived, err := r.sample(q, call)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", r.Name, call.Role, err)
			}
			work := call.Way.Forwards()
			cc := CallCost{Call: call, Seconds: work * seconds, Share: flops / seconds / d.FLOPs("fp16"), Hours: p.Repeat * call.Times * work * seconds / 3600}
			c.Calls = append(c.Calls, cc)
			c.GPUHours += cc.Hours
			c.FLOPs += p.Repeat * call.Times * work * flops
			out.Derived = out.Derived || derived
		}
		out.Phases = append(out.Phases, c)
		out.GPUHours += c.GPUHours
		out.FLOPs += c.FLOPs
	}
	return out, nil
}

// sample returns the time and the work of one sample's forward pass in a call.
func (r *Recipe) sample(q *diffusion.Pricer, c Call) (seconds, flops float64, derived bool, err error) {
	g, err := r.graph(c.Network, c.Batch)
	if err != nil {
		return 0, 0, false, err
	}
	cost, err := q.Graph(g, r.DType)
	if err != nil {
		return 0, 0, false, err
	}
	n := float64(c.Batch)
	return cost.Seconds / n, 2 * float64(g.MACs()) / n, cost.Derived, nil
}

// graph is a call of a network on so many samples. Guidance is counted as two samples.
func (r *Recipe) graph(network string, batch int) (*diffusion.Graph, error) {
	n, err := diffusion.Load(network)
	if err != nil {
		return nil, err
	}
	call := diffusion.Call{Batch: batch, Passes: 1, Frames: 1, DType: r.DType}
	if n.Scale > 0 {
		call.Width, call.Height = r.Pixels, r.Pixels
	}
	return n.Graph(call)
}

// Memory is what a device keeps, bytes.
type Memory struct {
	Weights, Gradients, Optimiser, Activations, Total float64
}

// Memory adds up what a device keeps: weights; of those that are trained gradients and two
// moments in 32 bits, and weights in 32 bits too; the activations of the largest call that
// is trained. Over several devices, with shards > 1, all but activations is split (FSDP).
func (r *Recipe) Memory(shards int) (Memory, error) {
	var m Memory
	for _, k := range r.Keeps {
		g, err := r.graph(k.Network, 1)
		if err != nil {
			return m, err
		}
		params := float64(g.Params())
		m.Weights += params * k.Width
		if k.Trained > 0 && k.Trained < 1 {
			m.Weights += 4 * params * k.Trained // adapters
		}
		m.Gradients += 4 * params * k.Trained
		m.Optimiser += 8 * params * k.Trained
	}
	for i := range r.Phases {
		for _, c := range r.Phases[i].Calls {
			g, err := r.graph(c.Network, c.Batch)
			if err != nil {
				return m, err
			}
			m.Activations = max(m.Activations, activations(g, c.Way))
		}
	}
	n := float64(max(shards, 1))
	m.Weights, m.Gradients, m.Optimiser = m.Weights/n, m.Gradients/n, m.Optimiser/n
	m.Total = m.Weights + m.Gradients + m.Optimiser + m.Activations
	return m, nil
}

// activations are the tensors that a backward pass reads again: all that operators write. Where
// they are computed again an eighth of them stands for the block that is under way and the
// borders of the others; forward passes keep the largest two.
func activations(g *diffusion.Graph, way Way) float64 {
	sum, largest := 0.0, 0.0
	for i := range g.Tensors {
		b := float64(g.Tensors[i].Bytes())
		sum += b
		largest = max(largest, b)
	}
	switch way {
	case Train:
		return sum
	case Again:
		return sum / 8
	}
	return 2 * largest
}
