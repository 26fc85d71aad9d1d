package diffusion

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"orrery/internal/names"
)

// Sampler turns noise into a latent in a number of steps: for what a run costs, it is
// the list of its steps.
type Sampler struct {
	Name   string
	What   string
	Family string // of models that it samples: diffusion (noise or velocity, in discrete time), flow (rectified flow), shift (residual shifting)
	// StepsOf are the step counts that it knows; none: any.
	StepsOf []int
	// Distilled says that it samples models, or adapters merged into them, that were made for it.
	Distilled bool
	// Alone says that guidance was distilled into the model: one pass.
	Alone bool

	steps func(n int) []SolverStep
}

// SolverStep is one step of a sampler.
type SolverStep struct {
	Time        float64 // of the model's schedule: 999 is noise and 0 the image where it is discrete; sigma for EDM's
	Evaluations int     // of the network
	Order       int     // of the update: how many of the network's answers it combines, of this step and stored ones
	Corrector   bool    // the step before is corrected with this step's answer (UniPC): no evaluation more
	Unguided    bool    // one pass, even where the job has guidance
	Cached      float64 // share of the network that is not run, its result being kept from the step before
}

// Families of models, by what their denoiser was trained to predict and on what schedule.
const (
	FamilyDiffusion = "diffusion"
	FamilyFlow      = "flow"
	FamilyShift     = "shift"
)

// maxOrder is the highest order of an update: three stored answers and the new one.
const maxOrder = 4

// trained is the number of noise levels of a discrete schedule.
const trained = 1000

// samplers is what a job's sampler may be, schedule files aside.
//
// Timesteps follow the schedulers of diffusers, each in the spacing that its models'
// configurations name; those of distilled models follow their papers and model cards.
var samplers = []Sampler{
	{Name: "ddim", What: "DDIM, first order", Family: FamilyDiffusion, steps: first(leading)},
	{Name: "pndm", What: "PNDM without Runge-Kutta steps (PLMS), fourth order: one evaluation more than steps", Family: FamilyDiffusion, steps: plms},
	{Name: "euler", What: "Euler, first order", Family: FamilyDiffusion, steps: first(leading)},
	{Name: "euler-karras", What: "Euler on Karras's noise levels, as Stable Video Diffusion", Family: FamilyDiffusion, steps: first(karras(0.002, 700))},
	{Name: "heun", What: "Heun, second order: 2N-1 evaluations", Family: FamilyDiffusion, steps: heun(leading)},
	{Name: "edm", What: "EDM's Heun on its own noise levels: 2N-1 evaluations", Family: FamilyDiffusion, steps: heun(karras(0.002, 80))},
	{Name: "dpm-solver++", What: "DPM-Solver++, multistep, second order (2M)", Family: FamilyDiffusion, steps: multistep(linspace, 2, false)},
	{Name: "dpm-solver++3m", What: "DPM-Solver++, multistep, third order", Family: FamilyDiffusion, steps: multistep(linspace, 3, false)},
	{Name: "unipc", What: "UniPC, second order, predictor and corrector", Family: FamilyDiffusion, steps: multistep(linspace, 2, true)},
	{Name: "usf", What: "a searched schedule of USF: third order and correctors stand for its mixture; for published qualities", Family: FamilyDiffusion, StepsOf: []int{3, 4, 5, 6, 7, 8, 9, 10}, steps: multistep(linspace, 3, true)},
	{Name: "flow-euler", What: "Euler along a rectified flow", Family: FamilyFlow, steps: first(flow)},
	{Name: "flow-unipc", What: "UniPC along a rectified flow, second order", Family: FamilyFlow, steps: multistep(flow, 2, true)},
	{Name: "lcm", Distilled: true, What: "latent consistency model, full or LoRA", Family: FamilyDiffusion, steps: first(consistency)},
	{Name: "tcd", Distilled: true, What: "trajectory consistency distillation", Family: FamilyDiffusion, steps: first(consistency)},
	{Name: "turbo", What: "SDXL-Turbo, adversarial distillation", Family: FamilyDiffusion, StepsOf: []int{1, 2, 3, 4}, Distilled: true, Alone: true, steps: first(trailing)},
	{Name: "lightning", What: "SDXL-Lightning", Family: FamilyDiffusion, StepsOf: []int{1, 2, 4, 8}, Distilled: true, Alone: true, steps: first(trailing)},
	{Name: "hyper-sd", What: "Hyper-SD's unified LoRA: equal segments from 999", Family: FamilyDiffusion, StepsOf: []int{1, 2, 4, 8}, Distilled: true, Alone: true, steps: first(trailing)},
	{Name: "hyper-sd-unet", What: "Hyper-SDXL's one-step UNet, from 800", Family: FamilyDiffusion, StepsOf: []int{1}, Distilled: true, Alone: true, steps: first(at(800))},
	{Name: "dmd2", What: "DMD2: 999, 749, 499, 249, or one step from 399", Family: FamilyDiffusion, StepsOf: []int{1, 4}, Distilled: true, Alone: true, steps: dmd2},
	{Name: "disback", What: "DisBack's one-step student, from 399", Family: FamilyDiffusion, StepsOf: []int{1}, Distilled: true, Alone: true, steps: first(at(399))},
	{Name: "one-step", What: "a one-step student that starts from noise", Family: FamilyDiffusion, StepsOf: []int{1}, Distilled: true, Alone: true, steps: first(at(999))},
	{Name: "resshift", What: "ResShift's chain of residual shifts", Family: FamilyShift, StepsOf: []int{4, 15}, Alone: true, steps: first(chain)},
	{Name: "sinsr", What: "SinSR, one step of ResShift's network", Family: FamilyShift, StepsOf: []int{1}, Distilled: true, Alone: true, steps: first(chain)},
}

// Samplers returns the samplers that have a name.
func Samplers() []Sampler { return slices.Clone(samplers) }

func samplerNames() []string {
	list := make([]string, len(samplers))
	for i := range samplers {
		list[i] = samplers[i].Name
	}
	return list
}

// LoadSampler returns the sampler of the given name: one of [Samplers], or the path of a
// .toml or .csv file, which [ParseSchedule] reads.
func LoadSampler(name string) (*Sampler, error) {
	if ext := filepath.Ext(name); ext == ".toml" || ext == ".csv" {
		return loadSchedule(name)
	}
	for i := range samplers {
		if samplers[i].Name == name {
			return &samplers[i], nil
		}
	}
	return nil, fmt.Errorf("%w (or give the path of a schedule, .toml or .csv)", names.Unknown("sampler", name, samplerNames()))
}

// Steps returns the list of n steps, from noise to image.
func (s *Sampler) Steps(n int) ([]SolverStep, error) {
	switch {
	case n < 1 || n > maxSteps:
		return nil, fmt.Errorf("%d steps: want from 1 to %d", n, maxSteps)
	case len(s.StepsOf) > 0 && !slices.Contains(s.StepsOf, n):
		return nil, fmt.Errorf("%d steps: %s knows %s", n, s.Name, oneOf(s.StepsOf))
	case s.Family != FamilyFlow && n > trained:
		return nil, fmt.Errorf("%d steps: %s has %d noise levels, want as many or fewer", n, s.Name, trained)
	}
	return s.steps(n), nil
}

// Evaluations returns the number of the network's evaluations (NFE) of n steps, guidance
// counted once.
func Evaluations(steps []SolverStep) int {
	sum := 0
	for _, s := range steps {
		sum += s.Evaluations
	}
	return sum
}

// spacing returns the times of n steps, from noise on.
type spacing func(n int) []float64

// times fills n times with what at says of each.
func times(n int, at func(i int) float64) []float64 {
	list := make([]float64, n)
	for i := range list {
		list[i] = at(i)
	}
	return list
}

// leading spaces n times evenly from 1 on, so that the last is 1 (diffusers
// timestep_spacing "leading", steps_offset 1: Stable Diffusion's own).
func leading(n int) []float64 {
	ratio := trained / n
	return times(n, func(i int) float64 { return min(float64((n-1-i)*ratio+1), trained-1) })
}

// linspace spaces n times evenly from 999, with 0 as the one that would follow.
func linspace(n int) []float64 {
	return times(n, func(i int) float64 { return math.RoundToEven((trained - 1) * float64(n-i) / float64(n)) })
}

// trailing spaces n times evenly from 999 on: the ends of n equal segments.
func trailing(n int) []float64 {
	return times(n, func(i int) float64 { return math.RoundToEven(trained-float64(i*trained)/float64(n)) - 1 })
}

// consistency takes n of the 50 times at which consistency models were distilled
// (diffusers LCMScheduler and TCDScheduler, original_inference_steps 50); beyond 50 there
// are as many as steps.
func consistency(n int) []float64 {
	origin := max(n, 50)
	gap := trained / origin
	return times(n, func(i int) float64 { return float64((origin-i*origin/n)*gap - 1) })
}

// karras returns noise levels from hi to lo with their seventh roots evenly spaced
// (Karras and others 2022, equation 5).
func karras(lo, hi float64) spacing {
	const rho = 7
	a, b := math.Pow(hi, 1./rho), math.Pow(lo, 1./rho)
	return func(n int) []float64 {
		return times(n, func(i int) float64 { return math.Pow(a+float64(float64(i)/float64(max(n-1, 1)))*(b-a), rho) })
	}
}

// flow spaces n times evenly along a straight path, before the shift towards noise that a
// pipeline makes for large images.
func flow(n int) []float64 {
	return times(n, func(i int) float64 { return trained * float64(n-i) / float64(n) })
}

// chain numbers the states of a chain of n shifts.
func chain(n int) []float64 { return times(n, func(i int) float64 { return float64(n - 1 - i) }) }

// at is the spacing of a student of one step.
func at(time float64) spacing {
	return func(n int) []float64 { return times(n, func(int) float64 { return time }) }
}

// first returns steps of first order, an evaluation each.
func first(s spacing) func(int) []SolverStep { return multistep(s, 1, false) }

// multistep returns steps of the given order, which the first steps work up to; an
// evaluation each. Below 15 steps the last ones go down again, as diffusers'
// lower_order_final has it.
func multistep(s spacing, order int, corrector bool) func(int) []SolverStep {
	return func(n int) []SolverStep {
		steps := make([]SolverStep, n)
		for i, t := range s(n) {
			k := min(order, i+1)
			if n < 15 {
				k = min(k, n-i)
			}
			steps[i] = SolverStep{Time: t, Evaluations: 1, Order: k, Corrector: corrector && i > 0}
		}
		return steps
	}
}

// plms returns the steps of PNDM as Stable Diffusion runs it: the second one evaluates the
// network at two times, to start the multistep formula; its order grows to four.
func plms(n int) []SolverStep {
	steps := multistep(leading, maxOrder, false)(n)
	for i := range steps {
		steps[i].Order = min(i+1, maxOrder)
	}
	steps[0].Evaluations = 2
	return steps
}

// heun returns steps of two evaluations, but for the last: one there, since it ends at no
// noise, where the network cannot be asked.
func heun(s spacing) func(int) []SolverStep {
	return func(n int) []SolverStep {
		steps := make([]SolverStep, n)
		for i, t := range s(n) {
			steps[i] = SolverStep{Time: t, Evaluations: 2, Order: 2}
		}
		steps[n-1].Evaluations, steps[n-1].Order = 1, 1
		return steps
	}
}

// dmd2 returns the steps of either model that was released.
func dmd2(n int) []SolverStep {
	if n == 1 {
		return first(at(399))(1)
	}
	return first(trailing)(n)
}
