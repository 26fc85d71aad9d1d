package posttrain

import "orrery/internal/names"

// Way is how a network is called.
type Way int

// The ways. A backward pass is twice the work of a forward one.
const (
	Forward Way = iota
	Train       // forward and backward: three times the work
	Again       // with activations computed again in the backward pass: four times
)

// Forwards is the work of a call in forward passes.
func (w Way) Forwards() float64 { return [...]float64{1, 3, 4}[w] }

// Call is a network that is called Times in one repetition of a phase.
type Call struct {
	Role    string // what it does here: policy, reference, teacher, fake score, decode ...
	Network string // of orrery/workloads/diffusion
	Way     Way
	Times   float64 // samples that go through it; halves where only a part of the repetitions do
	Batch   int     // samples of one call
}

// Phase is a stretch of a job that every device goes through Repeat times, between barriers.
type Phase struct {
	Name    string
	Repeat  float64 // over all devices
	Calls   []Call
	Barrier bool // devices wait for each other at its end
	// Uneven is how much the work of devices differs, as a coefficient of variation of what one
	// does between two barriers; 0 for equal work.
	Uneven float64
	Rounds int // how often the phase comes round, 0 counts as 1
}

// Published is a cost that was published, with what it rests on. Figures contradict each
// other; each keeps its source.
type Published struct {
	GPUHours    float64
	Source      string
	Assumptions string
}

// Recipe is one way of post-training.
type Recipe struct {
	Name, What string
	Devices    int
	Device     string // it was published on
	DType      string
	Pixels     int // side of an image
	Phases     []Phase
	Keeps      []Kept // what a device keeps in memory
	Published  []Published
	Yields     string // pipeline of orrery/workloads/diffusion that its product is served by, if there is one
}

// Kept is a network in memory.
type Kept struct {
	Role    string
	Network string
	// Trained is the share of its weights that is trained: 1, or the rank of adapters over the
	// width of what they adapt; 0 for frozen weights.
	Trained float64
	Width   float64 // bytes of a frozen weight
}

// Forwards returns the work of one repetition of a phase in forward passes of a network.
func (p *Phase) Forwards(network string) float64 {
	sum := 0.0
	for _, c := range p.Calls {
		if c.Network == network {
			sum += c.Times * c.Way.Forwards()
		}
	}
	return sum
}

// Count returns how many samples go through calls of a role in one repetition.
func (p *Phase) Count(role string) float64 {
	sum := 0.0
	for _, c := range p.Calls {
		if c.Role == role {
			sum += c.Times
		}
	}
	return sum
}

// Recipes returns the recipes.
func Recipes() []Recipe {
	return []Recipe{
		spo(spoSD15), spo(spoSDXL), dpo("dpo-sd15", "sd15_unet", 512, 1, []Published{
			{384, "SalesforceAIResearch/DiffusionDPO launchers", "about 24 h for 2,000 steps on 16 GPUs"}, {240, "LPO (arXiv 2502.01051), its table", "as its authors ran it"}, {384, "SPO (CVPR 2025)", "its comparison"},
		}), dpo("dpo-sdxl", "sdxl_unet", 1024, 1, []Published{
			{4800, "SalesforceAIResearch/DiffusionDPO launchers", "about 30 h for 200 steps of 2,000 on 16 GPUs"}, {2560, "LPO (arXiv 2502.01051), its table", "as its authors ran it"}, {4800, "SPO (CVPR 2025)", "its comparison"},
		}),
		hyperSD(), disback(), dmd2(),
	}
}

// Names returns the names of the recipes.
func Names() []string {
	var out []string
	for _, r := range Recipes() {
		out = append(out, r.Name)
	}
	return out
}

// Load returns a recipe by name.
func Load(name string) (*Recipe, error) {
	for _, r := range Recipes() {
		if r.Name == name {
			return &r, nil
		}
	}
	return nil, names.Unknown("recipe", name, Names())
}
