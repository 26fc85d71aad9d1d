package planning

import (
	"fmt"

	"orrery/hwmodel"
	"orrery/workloads/diffusion"
)

// GraphLaunch is the time from one kernel to the next when a recorded CUDA graph is
// replayed, seconds: no host is in the way, but the device fetches each node. NVIDIA's
// "Constant time launch for straight-line CUDA graphs" (2024) measured 1.1 to 1.6 us from
// kernel to kernel on Ampere boards.
const GraphLaunch = 1.4e-6

// Kernel is one launch: host time since the one before, and time on the device, seconds.
type Kernel struct{ Launch, Device float64 }

// Cost is how long one action takes on a device of its own.
type Cost struct {
	Seconds float64 // from the first launch to the end of the last kernel
	Device  float64 // sum over its kernels
	Launch  float64 // host time of all launches
	Longest float64 // the longest kernel
	Kernels []Kernel
	Phases  []PhaseCost
	Band    float64 // half-width of the 90 % band of the logarithm of Seconds
	Derived bool    // no run of the framework was measured on such a device
}

// PhaseCost is the part of a phase.
type PhaseCost struct {
	Name            string
	Seconds, Device float64
	Kernels         int
	FLOPs           float64
	before          float64
}

// LaunchBound tells whether the device waits for the host for most of the action.
func (c *Cost) LaunchBound() bool { return c.Launch > c.Device }

// Price returns the cost of an action in 32 bits, as one framework runs its kernels on the
// device of q. With graphs its launches are replayed from recorded CUDA graphs: the host does
// nothing, and kernels that were timed one by one start in [GraphLaunch].
func (p *Program) Price(q *diffusion.Pricer, f *hwmodel.Framework, graphs bool) (Cost, error) {
	const dtype = "fp32"
	board := q.Board(dtype)
	c := Cost{Band: board.Band, Derived: board.Derived}
	kernel := f.Kernel
	if graphs {
		kernel = 0
	}
	var host, device float64
	for i := range p.Calls {
		call := &p.Calls[i]
		w, err := q.Work(call.Graph, dtype)
		if err != nil {
			return Cost{}, fmt.Errorf("%s: %w", p.Planner, err)
		}
		if n := len(c.Phases); n == 0 || c.Phases[n-1].Name != call.Phase {
			c.Phases = append(c.Phases, PhaseCost{Name: call.Phase, before: max(host, device)})
		}
		phase := &c.Phases[len(c.Phases)-1]
		for range call.Times * call.Work {
			w.Each(kernel, board, func(launch, s, start float64) {
				if graphs {
					s += max(GraphLaunch-start, -s) // in the place of a launch of its own
				}
				host += launch
				device = max(device, host) + s
				c.Launch += launch
				c.Device += s
				c.Longest = max(c.Longest, s)
				c.Kernels = append(c.Kernels, Kernel{launch, s})
				phase.Device += s
				phase.Kernels++
			})
		}
		phase.FLOPs += 2 * float64(call.Graph.MACs()) * float64(call.Times*call.Work)
		phase.Seconds = max(host, device) - phase.before
	}
	c.Seconds = max(host, device)
	return c, nil
}
