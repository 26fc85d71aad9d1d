package planning

import (
	"fmt"
	"slices"

	"orrery/internal/names"
	"orrery/workloads/diffusion"
)

// Body is what a planner acts on, as numbers of a state and an action.
type Body struct{ State, Action int }

// Hopper is the task of the papers that has the middle size: 11 numbers of state, 3 of
// action (D4RL).
var Hopper = Body{State: 11, Action: 3}

// Planner is one method with the sizes of its networks.
type Planner struct {
	Name   string
	Source string  // where the sizes were published
	Usual  Setting // as it was published
	write  func(s Setting) *Program
}

// Setting is what may be varied. Zeros stand for the planner's own.
type Setting struct {
	Horizon    int  // steps of a plan
	Steps      int  // denoising steps, none for planners without
	Candidates int  // plans that are made side by side
	Robots     int  // whose plans are made in one batch
	KVCache    bool // sequence models keep what they have computed of earlier tokens
	Body       Body
}

// with fills in what s leaves open.
func (s Setting) with(usual Setting) Setting {
	fill := func(to *int, from int) {
		if *to == 0 {
			*to = from
		}
	}
	fill(&s.Horizon, usual.Horizon)
	fill(&s.Steps, usual.Steps)
	fill(&s.Candidates, usual.Candidates)
	fill(&s.Robots, max(usual.Robots, 1))
	if s.Body == (Body{}) {
		s.Body = Hopper
	}
	return s
}

// check refuses settings that no network can run.
func (s *Setting) check(p *Planner) error {
	switch {
	case s.Horizon < 2 || s.Horizon > 4096:
		return fmt.Errorf("%s with a horizon of %d; want 2 to 4096 steps", p.Name, s.Horizon)
	case s.Steps < 0 || s.Steps > 10000 || s.Steps > 0 && p.Usual.Steps == 0:
		return fmt.Errorf("%s with %d denoising steps; want %s", p.Name, s.Steps, map[bool]string{true: "0, it has none", false: "1 to 10000"}[p.Usual.Steps == 0])
	case s.Candidates < 1 || s.Candidates > 65536:
		return fmt.Errorf("%s with %d candidates; want 1 to 65536", p.Name, s.Candidates)
	case s.Robots < 1 || s.Robots > 4096:
		return fmt.Errorf("%s for %d robots; want 1 to 4096", p.Name, s.Robots)
	case s.Body.State < 1 || s.Body.Action < 1 || s.Body.State > 4096 || s.Body.Action > 4096:
		return fmt.Errorf("%s with %d numbers of state and %d of action; want 1 to 4096 of each", p.Name, s.Body.State, s.Body.Action)
	case s.KVCache && !p.sequence():
		return fmt.Errorf("%s keeps no KV cache; want one of the sequence models", p.Name)
	}
	return nil
}

// sequence tells whether the planner computes tokens one after the other.
func (p *Planner) sequence() bool { return Sequence(p.Name) }

// Sequence tells whether the planner of a name computes tokens one after the other, so that
// a KV cache would save work.
func Sequence(name string) bool {
	return name == "trajectory-diffuser" || name == "trajectory-transformer"
}

// Program is what one action takes.
type Program struct {
	Planner string
	Setting Setting
	Calls   []Call
}

// Call is a module that is called Times in a row.
type Call struct {
	Phase string // of the method: generate, refine, plan, act
	Graph *diffusion.Graph
	Times int
	// Work is how often the module's own work is done in a call: 3 where a gradient is
	// taken through it, for a backward pass does about twice the work of a forward one.
	Work int
}

// Kernels returns the kernels that are launched for one action.
func (p *Program) Kernels() int { return p.kernels("") }

// PhaseKernels returns those of one phase.
func (p *Program) PhaseKernels(phase string) int { return p.kernels(phase) }

func (p *Program) kernels(phase string) int {
	sum := 0
	for i := range p.Calls {
		if c := &p.Calls[i]; phase == "" || c.Phase == phase {
			sum += c.Times * c.Work * c.Graph.Kernels()
		}
	}
	return sum
}

// MACs returns the multiply-adds of one action.
func (p *Program) MACs() int64 {
	var sum int64
	for i := range p.Calls {
		c := &p.Calls[i]
		sum += int64(c.Times) * int64(c.Work) * c.Graph.MACs()
	}
	return sum
}

// Phases returns the phases in their order.
func (p *Program) Phases() []string {
	var out []string
	for i := range p.Calls {
		if !slices.Contains(out, p.Calls[i].Phase) {
			out = append(out, p.Calls[i].Phase)
		}
	}
	return out
}

func (p *Program) call(phase string, times int, g *diffusion.Graph) {
	p.Calls = append(p.Calls, Call{phase, g, times, 1})
}

// gradient is a call forward and backward.
func (p *Program) gradient(phase string, times int, g *diffusion.Graph) {
	p.Calls = append(p.Calls, Call{phase, g, times, 3})
}

// Program returns what one action of the planner takes.
func (p *Planner) Program(s Setting) (*Program, error) {
	s = s.with(p.Usual)
	if err := s.check(p); err != nil {
		return nil, err
	}
	out := p.write(s)
	out.Planner, out.Setting = p.Name, s
	return out, nil
}

// Planners returns all planners.
func Planners() []Planner { return planners }

// Names returns their names.
func Names() []string {
	out := make([]string, len(planners))
	for i := range planners {
		out[i] = planners[i].Name
	}
	return out
}

// Load returns a planner by name.
func Load(name string) (*Planner, error) {
	for i := range planners {
		if planners[i].Name == name {
			return &planners[i], nil
		}
	}
	return nil, names.Unknown("planner", name, Names())
}
