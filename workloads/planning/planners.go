package planning

import "orrery/workloads/diffusion"

var planners = []Planner{
	{"trajectory-diffuser", "RenMing-Huang/TrajectoryDiffuser @214039d, configs of hopper", Setting{Horizon: 16, Steps: 5, Candidates: 32}, trajectoryDiffuser},
	{"diffuser", "jannerm/diffuser, config/locomotion.py", Setting{Horizon: 32, Steps: 20, Candidates: 64}, diffuser},
	{"decision-diffuser", "anuragajay/decision-diffuser, locomotion_config.py", Setting{Horizon: 100, Steps: 100, Candidates: 1}, decisionDiffuser},
	{"trajectory-transformer", "jannerm/trajectory-transformer, config/offline.py", Setting{Horizon: 15, Candidates: 128}, trajectoryTransformer},
	{"decision-transformer", "kzl/decision-transformer, gym/experiment.py", Setting{Horizon: 20, Candidates: 1}, decisionTransformer},
}

// trajectoryDiffuser writes a rough plan state by state with a transformer, refines it in a
// few denoising steps without added noise, and takes the action that leads to its second
// state, of the candidate that a critic likes.
func trajectoryDiffuser(s Setting) *Program {
	p := &Program{}
	n := s.Candidates * s.Robots
	for have := 1; have < s.Horizon; have++ {
		// One pass over all there is, or with a cache over the latest token alone.
		tokens := have
		if s.KVCache {
			tokens = 1
		}
		p.call("generate", 1, feasible(n, tokens, have, s.Body))
		p.call("generate", 1, appended(n, s.Body))
	}
	net := temporalUNet{width: 64, levels: []int{1, 2, 4, 8}, kernel: 5, returns: true}
	p.call("refine", 2*s.Steps, net.graph("refiner", n, s.Body.State, s.Horizon))
	p.call("refine", s.Steps, guidedStep(n, s.Body.State, s.Horizon))
	p.call("act", 1, chosenAction(n, s.Body))
	return p
}

// feasible is the generator: states and returns to go, embedded and laid side by side, a
// transformer over them, the next of both.
func feasible(n, tokens, keys int, b Body) *diffusion.Graph {
	const half = 256
	m := newModule("generator")
	state := m.linear("embed_state", m.input("states", n, b.State, tokens), half)
	wanted := m.linear("embed_return", m.input("returns", n, 1, tokens), half)
	x := m.join("cat", state, wanted)
	x = m.elementwise("position", x)
	mask := m.elementwise("causal_mask", m.input("mask", 1, 1, keys))
	x = m.stack(&block{width: 2 * half, heads: 4, hidden: 512, activation: "relu"}, 4, x, keys)
	x = m.LayerNorm("norm", x, 4*half)
	return m.Done(mask, m.linear("next_state", x, b.State), m.linear("next_return", x, 1))
}

// appended puts the next state and the next return behind those there are.
func appended(n int, b Body) *diffusion.Graph {
	m := newModule("append")
	return m.Done(m.elementwise("cat", m.input("states", n, b.State, 1)), m.elementwise("cat", m.input("returns", n, 1, 1)))
}

// guidedStep is what a denoising step does around the two calls of its network: the
// guidance, the clean trajectory that follows, and the step towards it, with the known first
// state put back.
func guidedStep(n, numbers, horizon int) *diffusion.Graph {
	m := newModule("step")
	x := m.input("trajectory", n, numbers, horizon)
	x = m.each(x, "difference", "weigh", "guide") // of the passes with and without condition
	x = m.each(x, "scale_x", "scale_noise", "clean", "clamp")
	x = m.each(x, "mean_clean", "mean_x", "mean")
	return m.Done(m.each(x, "noise", "condition"))
}

// chosenAction is the inverse dynamics of a plan's first two states, the critic's score of
// each candidate, and a draw among them.
func chosenAction(n int, b Body) *diffusion.Graph {
	m := newModule("action")
	pair := m.elementwise("cat", m.input("states", n, 2*b.State, 1))
	x := m.elementwise("relu", m.linear("inverse1", pair, 256))
	x = m.elementwise("relu", m.linear("inverse2", x, 256))
	action := m.linear("inverse3", x, b.Action)
	v := m.join("cat_action", pair, action)
	v = m.elementwise("mish", m.linear("critic1", v, 256))
	v = m.elementwise("mish", m.linear("critic2", v, 256))
	v = m.each(m.linear("critic3", v, 1), "softmax", "draw")
	return m.Done(v)
}

// diffuser denoises states and actions together, and after every step follows the gradient
// of a value network twice.
func diffuser(s Setting) *Program {
	p := &Program{}
	n, numbers := s.Candidates*s.Robots, s.Body.State+s.Body.Action
	net := temporalUNet{width: 32, levels: []int{1, 2, 4, 8}, kernel: 5}
	const guides = 2
	p.call("plan", s.Steps, net.graph("unet", n, numbers, s.Horizon))
	p.gradient("plan", guides*s.Steps, valueNet(n, numbers, s.Horizon, 32, []int{1, 4, 8}, 5))
	p.call("plan", guides*s.Steps, guide(n, numbers, s.Horizon))
	p.call("plan", s.Steps, posteriorStep(n, numbers, s.Horizon))
	return p
}

// guide moves a trajectory along a gradient.
func guide(n, numbers, horizon int) *diffusion.Graph {
	m := newModule("guide")
	x := m.input("trajectory", n, numbers, horizon)
	return m.Done(m.each(x, "variance", "scale", "late_steps", "weigh", "add", "condition"))
}

// posteriorStep is a step of DDPM with coefficients gathered on the device.
func posteriorStep(n, numbers, horizon int) *diffusion.Graph {
	m := newModule("step")
	x := m.input("trajectory", n, numbers, horizon)
	x = m.each(x, "gather_x", "gather_noise", "scale_x", "scale_noise", "clean", "clamp")
	x = m.each(x, "gather_mean_clean", "gather_mean_x", "mean_clean", "mean_x", "mean")
	return m.Done(m.each(x, "normal", "noise", "condition"))
}

// decisionDiffuser denoises states with guidance towards a return.
func decisionDiffuser(s Setting) *Program {
	p := &Program{}
	n := s.Candidates * s.Robots
	net := temporalUNet{width: 128, levels: []int{1, 4, 8}, kernel: 5, returns: true}
	p.call("plan", 2*s.Steps, net.graph("unet", n, s.Body.State, s.Horizon))
	p.call("plan", s.Steps, guidedStep(n, s.Body.State, s.Horizon))
	return p
}

// trajectoryTransformer searches with beams: every number of every transition of the plan
// is a token, and every token a pass over the context and the plan so far.
func trajectoryTransformer(s Setting) *Program {
	p := &Program{}
	const context = 5 // transitions
	transition := s.Body.State + s.Body.Action + 2
	n := s.Candidates * s.Robots
	for k := range s.Horizon * transition {
		keys := context*transition + k
		tokens := keys
		if s.KVCache {
			tokens = 1
		}
		p.call("plan", 1, gpt(n, tokens, keys))
		p.call("plan", 1, beam(n))
	}
	return p
}

const (
	gptWidth = 128 // 4 heads of 32
	bins     = 100 // values of a token
)

// gpt is the network of Trajectory Transformer.
func gpt(n, tokens, keys int) *diffusion.Graph {
	m := newModule("gpt")
	x := m.elementwise("offset", m.input("tokens", n, 1, tokens))
	x = m.shape("embedding", x, n, gptWidth, tokens)
	x = m.elementwise("position", x)
	x = m.stack(&block{width: gptWidth, heads: 4, hidden: 4 * gptWidth, preNorm: true, activation: "gelu"}, 4, x, keys)
	x = m.LayerNorm("norm", x, 2*gptWidth)
	x = m.elementwise("pad", x) // to whole transitions: the head has weights of its own for every number
	return m.Done(m.linear("head", x, bins+1))
}

// beam draws the next token of every beam and keeps the likely ones.
func beam(n int) *diffusion.Graph {
	m := newModule("beam")
	x := m.shape("last", m.input("logits", n, bins, 1), n, bins, 1)
	x = m.each(x, "temperature", "threshold", "top", "softmax", "sort", "cumulate", "cut", "renormalise")
	x = m.shape("draw", x, n, 1, 1)
	x = m.each(x, "log", "gather", "add_value", "append")
	return m.Done(x)
}

// decisionTransformer is one pass over the latest transitions: return, state and action of
// each are three tokens.
func decisionTransformer(s Setting) *Program {
	const width = 128
	n, tokens := s.Candidates*s.Robots, 3*s.Horizon
	m := newModule("gpt")
	time := m.shape("embed_time", m.input("times", n, 1, s.Horizon), n, width, s.Horizon)
	part := func(name string, numbers int) diffusion.TensorID {
		x := m.linear("embed_"+name, m.input(name, n, numbers, s.Horizon), width)
		return m.elementwise("add_time", x, time)
	}
	part("return", 1)
	part("state", s.Body.State)
	x := part("action", s.Body.Action)
	x = m.shape("interleave", x, n, width, tokens)
	x = m.LayerNorm("norm_in", x, 2*width)
	x = m.stack(&block{width: width, heads: 1, hidden: 4 * width, preNorm: true, activation: "relu"}, 3, x, tokens)
	m.LayerNorm("norm", x, 2*width)
	x = m.linear("action", m.input("last", n, width, 1), s.Body.Action) // a view of the last state
	x = m.elementwise("tanh", x)
	p := &Program{}
	p.call("act", 1, m.Done(x))
	return p
}
