package training

import "orrery/internal/names"

// System is what a training program and its machine put on top of the kernels of a step.
// One set of constants holds for every network and batch.
type System struct {
	Name, What string
	// Launch is the host time from one operator to the next, seconds; the host runs ahead of
	// the device, so that it shows only where kernels are shorter.
	Launch float64
	// Tensor is the host time that every parameter tensor takes in each step, seconds, while
	// the device waits: optimisers that go through them one by one, statistics of gradients.
	Tensor float64
	// Input is the host time of every step, whatever its network, seconds, while the device
	// waits: a batch is fetched and copied, progress is counted.
	Input float64
	// Slower is how much longer kernels take in a sustained run than alone, 0 counts as 1.
	Slower float64
	// Attention is how much longer fused attention takes than by the kernels that were measured,
	// 0 counts as 1.
	Attention float64
	// Layout tells that images lie channel by channel, so that 16-bit convolutions on tensor
	// cores bring what they read and write into the order of their tiles and back.
	Layout bool
	Source string
	Links  *Links // nil for those that are known of a system of that name
}

// systems are those whose runs were measured; see docs/training-steps.md for how each
// constant was found and what it misses.
var systems = []System{
	{Name: "eager", What: "a framework that launches one operator after another, no more", Launch: 20e-6, Slower: 1.2, Source: "kernels of a sustained run: as of lambda; launches: a judgement"},
	{Name: "lambda", What: "NVIDIA's containers on Lambda's machines: fused optimisers, input on the device", Launch: 20e-6, Slower: 1.2, Source: "lambdal/deeplearning-benchmark"},
	{Name: "sia-rtx", What: "AdaptDL on PyTorch 1.9, 2080 Ti", Tensor: 0.4e-3, Input: 11e-3, Layout: true, Source: "siasosp23/artifacts"},
	{Name: "sia-dgx", What: "AdaptDL on PyTorch 1.9, DGX A100", Tensor: 0.55e-3, Input: 2e-3, Layout: true, Source: "siasosp23/artifacts"},
	{Name: "sia-aws", What: "AdaptDL on PyTorch 1.9, T4", Tensor: 0.4e-3, Input: 2e-3, Layout: true, Source: "siasosp23/artifacts"},
	{Name: "sia-quad", What: "AdaptDL on PyTorch 1.9, Quadro RTX 6000", Tensor: 0.35e-3, Input: 8e-3, Layout: true, Source: "siasosp23/artifacts"},
	{Name: "sia-azure", What: "AdaptDL on PyTorch 1.9, V100", Tensor: 0.55e-3, Input: 8e-3, Layout: true, Source: "siasosp23/artifacts"},
	{Name: "mosaicml-a100", What: "llm-foundry on 8 A100 a node", Launch: 10e-6, Attention: 2, Source: "mosaicml/llm-foundry; attention of the first FlashAttention's generation, half as fast as the second (Dao, 2023)"},
	{Name: "mosaicml-h100", What: "llm-foundry on 8 H100 a node", Launch: 10e-6, Slower: 1.25, Attention: 2, Source: "mosaicml/llm-foundry; kernels of a sustained run: fitted to mpt-1b alone; the kernels of attention measured on H100 are of the third generation, up to twice as fast as the second (Shah and others, 2024)"},
	{Name: "gavel", What: "PyTorch of 2019", Tensor: 0.2e-3, Input: 5e-3, Slower: 1.2, Source: "stanford-futuredata/gavel"},
	{Name: "gavel-v100", What: "PyTorch of 2019, V100 joined by NVLink", Tensor: 0.2e-3, Input: 5e-3, Slower: 1.2, Source: "stanford-futuredata/gavel"},
}

// Systems returns all systems.
func Systems() []System { return systems }

// LoadSystem returns a system by name.
func LoadSystem(name string) (*System, error) {
	var all []string
	for i := range systems {
		if systems[i].Name == name {
			return &systems[i], nil
		}
		all = append(all, systems[i].Name)
	}
	return nil, names.Unknown("system", name, all)
}
