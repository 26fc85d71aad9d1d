package posttrain

// spoConfig is step-aware preference optimisation as its authors run it
// (RockeyCoss/SPO, multi_sample_pipeline.py and configs).
type spoConfig struct {
	name, network string
	pixels        int
	steps         int // of DDIM
	plain         int // steps before candidates diverge
	candidates    int // k
	inner         int // steps that a pool's pairs are used again for
	prompts       int
	epochs        int
	batch         int // prompts a device samples at once
	pairs         int // pairs a device trains on at once
	valid         float64
	rank          float64 // of the adapters over the width of what they adapt
	judged        float64 // pairs that the preference model is trained on
	published     []Published
}

// The preference model is trained for 8,000 and 7,000 steps; its batch is not stated, that of
// PickScore, which it starts from, is 128 pairs.
const judgedBatch = 128

// Half of the pairs pass the threshold on their preference, by a prototype; the published
// procedure does not say.
const validPairs = 0.5

var (
	spoSD15 = spoConfig{
		name: "spo-sd15", network: "sd15_unet", pixels: 512, steps: 20, plain: 4, candidates: 4, prompts: 4000, epochs: 10, batch: 10, pairs: 10, valid: validPairs, rank: 4.0 / 768, judged: 8000 * judgedBatch,
		published: []Published{
			{80, "SPO (CVPR 2025); LPO (arXiv 2502.01051), its table", "48 of fine-tuning and 32 of the preference model, by the first"},
		},
	}
	spoSDXL = spoConfig{
		name: "spo-sdxl", network: "sdxl_unet", pixels: 1024, steps: 20, plain: 4, candidates: 2, inner: 3, prompts: 4000, epochs: 10, batch: 2, pairs: 2, valid: validPairs, rank: 64.0 / 1280, judged: 7000 * judgedBatch,
		published: []Published{
			{234, "SPO (CVPR 2025); LPO (arXiv 2502.01051), its table", "118 of fine-tuning and 116 of the preference model, by the first"},
		},
	}
)

// Evaluations returns the network's evaluations of one prompt's sampling: two for each plain
// step and the one from which candidates diverge, then two for every candidate of every step.
func (c *spoConfig) evaluations() float64 {
	return float64(2*c.plain + 2 + 2*c.candidates*(c.steps-c.plain-1))
}

// pools returns how often candidates are drawn: at every step that diverges, or at one of
// every inner+1 of them and at the end.
func (c *spoConfig) pools() float64 {
	diverging := c.steps - c.plain
	if c.inner == 0 {
		return float64(diverging)
	}
	return float64(diverging/(c.inner+1) + 1)
}

// pairsOf returns the pairs of one prompt.
func (c *spoConfig) pairsOf() float64 { return c.pools() * float64(c.inner+1) }

// spo is sampling of pools, decoding and scoring of every candidate, a barrier at which all
// pairs are gathered and dealt out anew, and the update of the adapters on them.
func spo(c spoConfig) Recipe {
	prompts := float64(c.prompts * c.epochs)
	decodes := float64(c.candidates) * c.pools()
	return Recipe{
		Name: c.name, What: "step-aware preference optimisation of " + c.network, Devices: 4, Device: "a100-sxm-80gb", DType: "fp16", Pixels: c.pixels, Published: c.published,
		Phases: []Phase{
			// Both images of a pair are noised, their clean images predicted and decoded, and judged.
			{Name: "preference model", Repeat: c.judged, Rounds: int(c.judged / judgedBatch), Barrier: true, Calls: []Call{
				{"encode", "vae_kl_f8_encoder", Forward, 2, 2 * c.batch}, {"predict", c.network, Forward, 2, 2 * c.batch}, {"decode", "vae_kl_f8_decoder", Forward, 2, c.batch}, {"judge", "clip_vision_h", Train, 2, 2 * c.batch},
			}},
			{Name: "sample", Repeat: prompts, Rounds: c.epochs, Calls: []Call{{"sample", c.network, Forward, c.evaluations(), 2 * c.batch}}},
			{Name: "score", Repeat: prompts, Rounds: c.epochs, Barrier: true, Uneven: 0.1, Calls: []Call{
				{"decode", "vae_kl_f8_decoder", Forward, decodes, c.batch}, {"score", "clip_vision_h", Forward, decodes, c.batch * c.candidates},
			}},
			{Name: "train", Repeat: prompts * c.pairsOf() * c.valid, Rounds: c.epochs, Barrier: true, Calls: []Call{
				{"policy", c.network, Train, 4, 2 * c.pairs}, {"reference", c.network, Forward, 4, 2 * c.pairs},
			}},
		},
		Keeps: []Kept{
			{"policy and reference", c.network, c.rank, 2}, {"decoder", "vae_kl_f8_decoder", 0, 2}, {"preference model", "clip_vision_h", 0, 2}, {"text", "clip_text_l", 0, 2},
		},
	}
}

// dpoPairs is a batch of 2,048 for 2,000 steps.
const dpoPairs = 2048 * 2000

// dpo is Diffusion-DPO (SalesforceAIResearch/DiffusionDPO): both images of a pair are
// encoded and noised; the policy is trained on both, the reference evaluates both. Its
// launchers run a micro-batch of one without mixed precision.
func dpo(name, network string, pixels, micro int, published []Published) Recipe {
	return Recipe{
		Name: name, What: "Diffusion-DPO of " + network, Devices: 16, Device: "a100-sxm-80gb", DType: "fp32", Pixels: pixels, Published: published,
		Phases: []Phase{{Name: "train", Repeat: dpoPairs, Barrier: true, Rounds: 2000, Calls: []Call{
			{"encode", "vae_kl_f8_encoder", Forward, 2, 2 * micro},
			{"policy", network, Again, 2, 2 * micro}, {"reference", network, Forward, 2, 2 * micro},
		}}},
		Keeps: []Kept{{"policy", network, 1, 4}, {"reference", network, 0, 4}, {"encoder", "vae_kl_f8_encoder", 0, 4}, {"text", "clip_text_l", 0, 4}},
	}
}
