package posttrain

import "fmt"

// hyperIterations are of each stage; the paper does not say how many there are, so that
// hours of it are not a prediction.
const hyperIterations = 1000

// hyperSD is Hyper-SD: trajectory-segmented consistency distillation over 8, 4, 2 and 1
// segments, then human feedback, then score distillation to one step. Each iteration of a
// stage calls the teacher with guidance for one step of its solver, the student at the
// start of that step, its moving average at the end, and a discriminator.
func hyperSD() Recipe {
	const unet = "sdxl_unet"
	r := Recipe{
		Name: "hyper-sd", What: "Hyper-SD's distillation of SDXL, unified low-rank adapters", Devices: 32, Device: "a100-sxm-80gb", DType: "fp16", Pixels: 1024, Yields: "sdxl-hyper-sd",
		Published: []Published{{200, "Hyper-SD (NeurIPS 2024)", "around 200 GPU-hours a stage, batch 512; iterations are not stated"}},
		Keeps:     []Kept{{"teacher, student and target", unet, 64.0 / 1280, 2}, {"encoder", "vae_kl_f8_encoder", 0, 2}, {"discriminator", unet, 0.05, 2}},
	}
	for _, segments := range []int{8, 4, 2, 1} {
		r.Phases = append(r.Phases, Phase{Name: fmt.Sprintf("consistency over %d segments", segments), Repeat: hyperIterations, Barrier: true, Rounds: hyperIterations, Calls: []Call{
			{"encode", "vae_kl_f8_encoder", Forward, 1, 1}, {"teacher", unet, Forward, 2, 2}, {"student", unet, Again, 1, 1}, {"target", unet, Forward, 1, 1}, {"discriminator", unet, Train, 0.5, 1},
		}})
	}
	r.Phases = append(r.Phases,
		Phase{Name: "human feedback", Repeat: hyperIterations, Barrier: true, Rounds: hyperIterations, Calls: []Call{
			{"student", unet, Again, 1, 1}, {"decode", "vae_kl_f8_decoder", Train, 1, 1}, {"reward", "clip_vision_h", Train, 3, 1},
		}},
		Phase{Name: "score distillation", Repeat: hyperIterations, Barrier: true, Rounds: hyperIterations, Calls: []Call{
			{"student", unet, Again, 1, 1}, {"real score", unet, Forward, 2, 2}, {"fake score", unet, Train, 1, 1},
		}})
	return r
}

// Sizes of DisBack's released scripts for SDXL: the fake score follows the student for 1,000
// iterations, kept every 100; then 100,000 iterations go back along that path, 1,000 to each
// node, the generator being updated in every fifth.
const (
	degradation = 1000
	backtrack   = 100000
	fakeRatio   = 5
)

// distillation is one iteration of distribution-matching distillation: the generator makes a
// sample, the fake score is trained on it, and in every fifth the teacher with guidance, the
// fake score and the generator's backward pass make its update.
func distillation(unet string) []Call {
	return []Call{
		{"generator", unet, Forward, 1, 1}, {"fake score", unet, Train, 1, 1},
		{"teacher", unet, Forward, 2.0 / fakeRatio, 2}, {"fake score, evaluated", unet, Forward, 1.0 / fakeRatio, 1},
		{"generator's backward", unet, Forward, 2.0 / fakeRatio, 1}, // twice the work of a forward pass
	}
}

func distilled(name, what, yields string) Recipe {
	const unet = "sdxl_unet"
	return Recipe{
		Name: name, What: what, Devices: 1, Device: "a100-sxm-80gb", DType: "fp16", Pixels: 1024, Yields: yields,
		Keeps: []Kept{{"generator", unet, 1, 4}, {"fake score", unet, 1, 4}, {"teacher", unet, 0, 2}},
	}
}

// disback is DisBack (arXiv 2408.15991): degradation is recorded, then gone back along.
func disback() Recipe {
	r := distilled("disback-sdxl", "DisBack's one-step student of SDXL, from DMD2's", "sdxl-disback")
	const unet = "sdxl_unet"
	r.Phases = []Phase{
		{Name: "degradation", Repeat: degradation, Barrier: true, Rounds: degradation / 100, Calls: []Call{{"generator", unet, Forward, 1, 1}, {"fake score", unet, Train, 1, 1}}},
		{Name: "backtracking", Repeat: backtrack, Barrier: true, Rounds: backtrack / 1000, Calls: distillation(unet)},
	}
	return r
}

// dmd2 is the same length of distribution-matching distillation without the path.
func dmd2() Recipe {
	r := distilled("dmd2-sdxl", "distribution-matching distillation of SDXL, as long as DisBack's", "sdxl-dmd2")
	r.Phases = []Phase{{Name: "distillation", Repeat: backtrack, Barrier: true, Rounds: backtrack / 1000, Calls: distillation("sdxl_unet")}}
	return r
}

// Backtracking is the toy of DisBack's argument in closed form: a one-step generator N(m, I)
// in d dimensions, a teacher N(mu, I) whose learned score fades off its data over a radius R:
// the gradient is (m-mu) exp(-|m-mu|^2 / (2 R^2 d)).
type Backtracking struct {
	Dim    int
	Start  float64 // of each coordinate of mu, m beginning at 0
	Radius float64
	Rate   float64 // of learning
	Stop   float64 // KL divergence at which it ends
}

// Iterations returns how many gradient steps it takes to come within Stop of the teacher by
// way of so many nodes on the way there, each pursued for interval steps; 0 nodes go straight.
// It returns false after most of them.
func (b *Backtracking) Iterations(nodes, interval, most int) (int, bool) {
	m, d := 0.0, float64(b.Dim)
	for t := range most {
		if d*(m-b.Start)*(m-b.Start)/2 < b.Stop {
			return t, true
		}
		// The node that is pursued: intermediate teachers stand evenly on the way.
		target := b.Start
		if nodes > 0 {
			target *= float64(min(t/interval+1, nodes+1)) / float64(nodes+1)
		}
		gap := m - target
		m -= b.Rate * gap * fade(d*gap*gap/(2*b.Radius*b.Radius*d))
	}
	return most, false
}

// Best returns the fewest iterations over nodes up to 16 and intervals up to 200.
func (b *Backtracking) Best(most int) (iterations, nodes, interval int) {
	iterations = most
	for n := 1; n <= 16; n++ {
		for i := 1; i <= 200; i++ {
			if t, ok := b.Iterations(n, i, most); ok && t < iterations {
				iterations, nodes, interval = t, n, i
			}
		}
	}
	return iterations, nodes, interval
}
