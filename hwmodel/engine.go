package hwmodel

import (
	"embed"
	"fmt"
	"path"

	"orrery/internal/names"
)

//go:embed engines/*.toml
var engineFiles embed.FS

// Engine is what a serving engine, rather than the hardware, puts into the time of
// an iteration: its attention backend, how kernels reach the device, and what the
// host does between iterations. An engine is one TOML file.
type Engine struct {
	Name      string `toml:"name"`
	Note      string `toml:"note"`       // what it stands for
	Attention string `toml:"attention"`  // library of its attention kernels, see [AttentionKey]
	Together  bool   `toml:"together"`   // chunks and decodes of an iteration attend in one call
	GEMM      string `toml:"gemm"`       // library of its matrix products and layers of experts, see [Profile.Products]
	AllReduce string `toml:"all_reduce"` // nccl or custom

	// MemoryFraction is the share of device memory that the engine may fill with
	// weights, activations and KV cache.
	MemoryFraction float64 `toml:"memory_fraction"`

	// PadTokens is the multiple to which an iteration's tokens are padded, 0 or 1
	// for none.
	PadTokens int `toml:"pad_tokens"`

	// Fused says that the engine computes residual additions and norms within the all-
	// reduce before them, or with each other on one device, and rotary embedding and the copy
	// into the KV cache within attention.
	Fused bool `toml:"fused,omitempty"`

	Launch   Launch    `toml:"launch"`
	Overlap  bool      `toml:"overlap"` // the host prepares the next iteration while the devices compute
	Hosts    []Host    `toml:"host"`
	Machines []Machine `toml:"machine,omitempty"`
}

// Launch says how kernels reach the device. Launched one by one from the host
// (eagerly), a layer cannot take less than its launches, and where both take
// similarly long neither hides the other entirely; replayed from a recorded graph
// a layer costs the host nothing. Graphs is one of
//
//	none    every iteration is launched eagerly
//	decode  iterations without prompt tokens are replayed
//	all     every iteration is replayed, piece by piece around attention
type Launch struct {
	Graphs     string  `toml:"graphs"`
	Operator   float64 `toml:"operator"`   // host seconds to launch one operator of a layer eagerly
	Collective float64 `toml:"collective"` // host seconds to launch one collective eagerly
	Norm       int     `toml:"norm"`       // how launches and kernels overlap, see [Overlap]
	// Gap is the time in seconds for which the devices idle between one operator and the
	// next, beyond what the operators were measured with: the nodes of a graph, or the
	// small kernels that an engine runs between the operators that are priced.
	Gap float64 `toml:"gap,omitzero"`
	Fit `toml:"fit"`
}

// Host is what the host does for one iteration while the devices wait: schedule,
// prepare inputs, sample, process outputs, talk to the workers.
type Host struct {
	Device      string  `toml:"device"` // of the machine it was measured on; empty for any other
	Tensor      int     `toml:"tensor"` // tensor-parallel degree from which it holds
	Fixed       float64 `toml:"fixed"`  // seconds an iteration
	PerSequence float64 `toml:"per_sequence"`
	// Prompt is what an iteration with prompt tokens costs the host in seconds beyond
	// that: building the inputs of prompts, and kernels that decodes do without.
	Prompt float64 `toml:"prompt,omitzero"`
	Fit    `toml:"fit"`
}

// Machine says how the host beside a device compares with those that the engine's launches
// and host times were measured on, where it has no times of its own: the same Python runs
// quicker on a newer processor.
type Machine struct {
	Device string  `toml:"device"`
	Slower float64 `toml:"slower"` // times as long for launches and host work alike
	Fit    `toml:"fit"`
}

// LoadEngine returns the named engine, one of those that come with the program.
func LoadEngine(name string) (*Engine, error) {
	data, err := engineFiles.ReadFile("engines/" + name + ".toml")
	if err != nil {
		return nil, names.Unknown("engine", name, Engines())
	}
	return ParseEngine(data, name+".toml")
}

// Engines returns the engines that come with the program, in order.
func Engines() []string { return tomlNames(engineFiles, "engines") }

// ParseEngine reads an engine from TOML. The name of the file stands in errors.
func ParseEngine(data []byte, file string) (*Engine, error) {
	e := new(Engine)
	if err := decodeTOML(data, path.Base(file), e); err != nil {
		return nil, err
	}
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path.Base(file), err)
	}
	return e, nil
}

func (e *Engine) check() error {
	c := checker{}
	if e.Attention == "" {
		c.fail("attention is missing; it names the attention backend")
	}
	if e.GEMM == "" {
		c.fail("gemm is missing; it names the library of matrix products")
	}
	if e.AllReduce != "nccl" && e.AllReduce != "custom" {
		c.fail("all_reduce is %q, must be nccl or custom", e.AllReduce)
	}
	c.share("memory_fraction", e.MemoryFraction)
	c.within("pad_tokens", float64(e.PadTokens), 0, 4096)
	switch e.Launch.Graphs {
	case "none", "decode", "all":
	default:
		c.fail("launch.graphs is %q, must be none, decode or all", e.Launch.Graphs)
	}
	switch e.Launch.Norm {
	case 0, 1, 2, 4:
	default:
		c.fail("launch.norm is %d, must be 0, 1, 2 or 4", e.Launch.Norm)
	}
	c.time("launch.operator", e.Launch.Operator)
	c.time("launch.collective", e.Launch.Collective)
	c.time("launch.gap", e.Launch.Gap)
	for i := range e.Hosts {
		h := &e.Hosts[i]
		if h.Tensor < 1 {
			c.fail("host[%d].tensor is %d, must be 1 or more", i, h.Tensor)
		}
		c.time(fmt.Sprintf("host[%d].fixed", i), h.Fixed)
		c.time(fmt.Sprintf("host[%d].per_sequence", i), h.PerSequence)
		c.time(fmt.Sprintf("host[%d].prompt", i), h.Prompt)
	}
	for i := range e.Machines {
		if e.Machines[i].Device == "" {
			c.fail("machine[%d].device is missing", i)
		}
		c.within(fmt.Sprintf("machine[%d].slower", i), e.Machines[i].Slower, 0.05, 20)
	}
	return c.err
}

// Kernels says in a word which kernels the engine runs: engines of the same word differ
// in their hosts alone.
func (e *Engine) Kernels() string {
	return fmt.Sprintf("%s %s %s %d %t", e.Attention, e.GEMM, e.AllReduce, e.PadTokens, e.Fused)
}

// HostFor returns the host work beside the given device at a tensor-parallel
// degree: the entry measured on that device's machines, else the general one, of
// the largest degree that is not above. An engine without entries has none.
func (e *Engine) HostFor(device string, tensor int) Host {
	var best Host
	rank := -1
	for _, h := range e.Hosts {
		if h.Tensor > tensor || h.Device != "" && h.Device != device {
			continue
		}
		r := h.Tensor
		if h.Device != "" {
			r += 1 << 20
		}
		if r > rank {
			best, rank = h, r
		}
	}
	if best.Device == "" {
		f := e.Slower(device)
		best.Fixed, best.PerSequence, best.Prompt = best.Fixed*f, best.PerSequence*f, best.Prompt*f
	}
	return best
}

// Slower returns how many times as long the host beside the given device takes as those
// that the engine was measured on.
func (e *Engine) Slower(device string) float64 {
	for i := range e.Machines {
		if e.Machines[i].Device == device {
			return e.Machines[i].Slower
		}
	}
	return 1
}
