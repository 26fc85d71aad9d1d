package training

import (
	"fmt"
	"math"
)

// Memory is what a device holds in a step at its peak, bytes by part.
type Memory struct {
	Weights     int64 // as the passes read them
	Gradients   int64
	Optimiser   int64 // moments, and weights in 32 bits where passes read 16
	Activations int64 // kept for the backward pass
	Workspace   int64 // context and libraries, buffers of exchanges, and what fragmentation wastes
	Total       int64
}

// What is not arithmetic: the context with loaded kernels of a CUDA process and the
// workspaces of its libraries, and the share of what is allocated that a caching allocator
// holds beyond it. Judgements, within what PyTorch's users report.
const (
	contextBytes  = 800 << 20
	fragmentation = 0.04
)

// state is how many bytes an optimiser keeps for each weight, beside it: a momentum, or two
// moments, in 32 bits or in 8.
func (o Optimiser) state() float64 {
	switch o {
	case SGD:
		return 4
	case Adam8:
		return 2
	}
	return 8
}

// Memory returns what each device holds. State is that of Rajbhandari and others ("ZeRO",
// 2020): in mixed precision 2 bytes a parameter for the weights, 2 for gradients, and 4 with the optimiser's
// own for the update, of which a kind of sharding splits some among all devices.
func (s Setup) Memory() (Memory, error) {
	s = s.normal()
	if err := s.check(); err != nil {
		return Memory{}, err
	}
	n, err := s.network()
	if err != nil {
		return Memory{}, err
	}
	width := 4.0
	state := s.Optimiser.state()
	if s.Precision == AMP {
		width = 2
		state += 4
	}
	all, changed := float64(n.Params()), float64(trained(n))
	weights, gradients, optimiser := all*width, changed*width, changed*state
	shards := float64(s.shards())
	buffers := 0.0
	if s.Devices > 1 {
		buffers = min(gradients, 2*bucketBytes)
	}
	switch s.Sharding {
	case FSDP, Hybrid:
		weights /= shards
		buffers = 2 * s.largestUnit(n) * width * (1 - 1/shards) // one computes, the next arrives
		fallthrough
	case ZeRO2:
		gradients /= shards
		fallthrough
	case ZeRO1:
		optimiser /= shards
	}
	activations := float64(s.Batch) * s.kept(n, width)
	m := Memory{
		Weights: round(weights), Gradients: round(gradients), Optimiser: round(optimiser), Activations: round(activations),
		Workspace: round(contextBytes + buffers + fragmentation*(weights+gradients+optimiser+activations)),
	}
	m.Total = m.Weights + m.Gradients + m.Optimiser + m.Activations + m.Workspace
	return m, nil
}

func round(v float64) int64 { return int64(math.Round(v)) }

// kept returns the bytes of activations that a sample leaves for the backward pass. Networks
// that do not say where they are cut for checkpoints are cut into the root of as many
// parts as they have tensors (Chen and others, "Sublinear memory", 2016), of which the
// inputs are kept, and one is computed again.
func (s *Setup) kept(n Network, width float64) float64 {
	all := n.Kept(width)
	if !s.Checkpoint {
		return all
	}
	if c, ok := n.(interface{ Checkpointed(width float64) float64 }); ok {
		return c.Checkpointed(width)
	}
	return min(all, 2*all/math.Sqrt(float64(max(n.Tensors(), 1))))
}

// largestUnit returns the parameters that are gathered at once, at most.
func (s *Setup) largestUnit(n Network) float64 {
	o, ok := n.(ordered)
	if !ok {
		return float64(n.Params())
	}
	var gs []Gradient
	for _, g := range o.Gradients() {
		gs = append(gs, Gradient{float64(g.Params), float64(g.After)})
	}
	most := 0.0
	for _, u := range units(gs, 1, gs[len(gs)-1].Ready) {
		most = max(most, u.params)
	}
	return most * float64(n.Params()) / float64(trained(n)) // frozen weights are gathered as well
}

// Fits returns an error that says what is missing unless each device has memory for the step.
func (s Setup) Fits(memory int64) error {
	m, err := s.Memory()
	if err != nil || m.Total <= memory {
		return err
	}
	return fmt.Errorf("%s does not fit: %.1f GB, %.1f of them activations of a batch of %d, and a device has %.1f", s.Network, float64(m.Total)/1e9, float64(m.Activations)/1e9, s.Batch, float64(memory)/1e9)
}

// Fewest returns the smallest number of devices, up to most, on each of which the step fits
// into so many bytes.
func (s Setup) Fewest(memory int64, most int) (int, error) {
	need := func(devices int) (int64, error) {
		t := s
		t.Devices = devices
		if s.PerNode > 0 {
			t.PerNode = min(s.PerNode, devices)
		}
		m, err := t.Memory()
		return m.Total, err
	}
	if most < 1 {
		return 0, fmt.Errorf("up to %d devices; want 1 or more", most)
	}
	least, err := need(most)
	if err != nil {
		return 0, err
	}
	one, err := need(1)
	if err != nil || one <= memory {
		return 1, err
	}
	if least > memory {
		return 0, fmt.Errorf("%s does not fit: %d devices need %.1f GB each of %.1f; shard more, checkpoint activations or take a smaller batch", s.Network, most, float64(least)/1e9, float64(memory)/1e9)
	}
	low, high := 1, most // more devices never hold more each, but for buffers that a lone one has not
	for high-low > 1 {
		mid := (low + high) / 2
		m, err := need(mid)
		if err != nil {
			return 0, err
		}
		if m <= memory {
			high = mid
		} else {
			low = mid
		}
	}
	return high, nil
}
