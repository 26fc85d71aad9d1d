package scenarios

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"orrery/cluster/loop"
	"orrery/hwmodel"
	"orrery/internal/names"
	"orrery/policies/control"
	"orrery/sim"
	"orrery/workloads/diffusion"
	"orrery/workloads/llm"
	"orrery/workloads/planning"
)

// Robots is a scenario of control loops: robots or agents that plan once a period on one
// device, see orrery/cluster/loop. Its file stands alone: it has none of the sections of a
// [Scenario].
type Robots struct {
	Name        string `toml:"name"`        // default: the file's name without its ending
	Description string `toml:"description"` // one sentence
	Seed        uint64 `toml:"seed"`        // of the robots' phases, default 1

	Device    string   `toml:"device"`    // one of hwmodel.Names
	Framework string   `toml:"framework"` // one of hwmodel.Frameworks, default pytorch
	Policy    string   `toml:"policy"`    // one of ControlPolicies, default edf
	Processes bool     `toml:"processes"` // every robot has a process of its own, default false
	For       Duration `toml:"for"`       // how long to run, default 60s

	Robots  []Robot     `toml:"robot"`
	Serving SharedModel `toml:"serving"` // text on the same device, default none

	doc *document
}

// Robot is one [[robot]]: a number of like robots.
type Robot struct {
	Name     string   `toml:"name"`
	Count    int      `toml:"count"`    // default 1
	Planner  string   `toml:"planner"`  // one of planning.Names
	Hz       float64  `toml:"hz"`       // plans a second
	Deadline Duration `toml:"deadline"` // default: the period
	Batch    bool     `toml:"batch"`    // all of them plan at once, in one batch
	Graphs   bool     `toml:"graphs"`   // CUDA graphs in place of launches
	KVCache  bool     `toml:"kv_cache"` // of sequence models
	// The planner's own where they are 0.
	Horizon    int `toml:"horizon"`
	Steps      int `toml:"steps"`
	Candidates int `toml:"candidates"`
	State      int `toml:"state"`  // numbers of a state and an action, default those of hopper
	Action     int `toml:"action"` // from D4RL
}

// SharedModel is a text model that answers on the robots' device whenever they do not want
// it: decodes of a full batch.
type SharedModel struct {
	Model   string `toml:"model"`   // one of llm.Names, default none
	Engine  string `toml:"engine"`  // one of hwmodel.Engines, default vllm-v1
	Batch   int    `toml:"batch"`   // sequences, default 8
	Context int    `toml:"context"` // tokens of each, default 1000
	// Yields says what robots wait for: the end of a kernel (streams of unlike priority) or of
	// an iteration. Default kernel.
	Yields string `toml:"yields"`
}

// controlPolicies are the policies of control loops.
var controlPolicies = []struct {
	Name
	policy control.Policy
}{
	{Name{"edf", "the plan with the earliest deadline first"}, control.EDF{}},
	{Name{"rate-monotonic", "the loop with the shortest period first"}, control.RateMonotonic{}},
	{Name{"fifo", "in order of arrival, each to its end"}, control.FIFO{}},
}

// ControlPolicies returns the policies of control loops.
func ControlPolicies() []Name {
	var out []Name
	for _, p := range controlPolicies {
		out = append(out, p.Name)
	}
	return out
}

const robotsFolder = "robots"

// RobotScenarios returns the names of the shipped scenarios of control loops.
func RobotScenarios() []string { return shippedIn(robotsFolder) }

// LoadRobots returns the scenario of control loops in a file, or the shipped one of a name
// such as robots/arm, with overrides. Errors are of type [*Error].
func LoadRobots(file string, sets ...string) (*Robots, error) {
	name := strings.TrimSuffix(filepath.ToSlash(file), ".toml")
	data, err := os.ReadFile(file)
	if err != nil && slices.Contains(RobotScenarios(), name) {
		file = name + ".toml"
		data, err = shipped.ReadFile(file)
	}
	if err != nil {
		return nil, &Error{File: file, Msg: fmt.Sprintf("there is no such file that can be read, nor a shipped scenario of robots of that name; shipped are %s", strings.Join(RobotScenarios(), ", ")), Err: err}
	}
	return ParseRobots(file, data, sets...)
}

// ParseRobots returns the scenario of control loops in a TOML text. The name is that of its
// file, for messages.
func ParseRobots(name string, data []byte, sets ...string) (*Robots, error) {
	doc, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	for _, set := range sets {
		if err := doc.set(set); err != nil {
			return nil, err
		}
	}
	return resolveRobots(doc)
}

// With returns the scenario with more overrides.
func (r *Robots) With(sets ...string) (*Robots, error) {
	doc := r.doc.clone()
	for _, set := range sets {
		if err := doc.set(set); err != nil {
			return nil, err
		}
	}
	return resolveRobots(doc)
}

func resolveRobots(doc *document) (*Robots, error) {
	base := filepath.Base(doc.name)
	r := &Robots{
		Name: strings.TrimSuffix(base, filepath.Ext(base)), Seed: 1, Framework: "pytorch", Policy: controlPolicies[0].Name.Name, For: Duration(time.Minute),
		Serving: SharedModel{Engine: "vllm-v1", Batch: 8, Context: 1000, Yields: yieldsKernel}, doc: doc,
	}
	d := &decoder{doc: doc}
	d.fill("", doc.tree, []any{r}, nil)
	if err := d.err(); err != nil {
		return nil, err
	}
	c := &checker{d: d}
	c.robots(r)
	if err := d.err(); err != nil {
		return nil, err
	}
	return r, nil
}

// Values of serving.yields.
const (
	yieldsKernel    = "kernel"
	yieldsIteration = "iteration"
)

// robots checks a scenario of control loops.
func (c *checker) robots(r *Robots) {
	oneOf := func(key, kind, value string, all []string) {
		if !slices.Contains(all, value) {
			c.wrap(key, names.Unknown(kind, value, all))
		}
	}
	oneOf("device", "device", r.Device, hwmodel.Names())
	oneOf("framework", "framework", r.Framework, hwmodel.Frameworks())
	var policies []string
	for _, p := range controlPolicies {
		policies = append(policies, p.Name.Name)
	}
	oneOf("policy", "policy", r.Policy, policies)
	if r.For <= 0 || time.Duration(r.For) > 24*time.Hour {
		c.fail("for", "is %v; want how long to run, up to 24h", r.For)
	}
	if len(r.Robots) == 0 {
		c.d.errorf("robot", "there is no [[robot]]; want at least one")
	}
	for i := range r.Robots {
		c.in(fmt.Sprintf("robot[%d]", i)).robot(r, i)
	}
	s := &r.Serving
	at := c.in("serving")
	if s.Model != "" && !slices.Contains(llm.Names(), s.Model) {
		at.wrap("model", names.Unknown("model", s.Model, llm.Names()))
	}
	if !slices.Contains(hwmodel.Engines(), s.Engine) {
		at.wrap("engine", names.Unknown("engine", s.Engine, hwmodel.Engines()))
	}
	at.between("batch", s.Batch, 1, 4096)
	at.between("context", s.Context, 1, 1<<20)
	if s.Yields != yieldsKernel && s.Yields != yieldsIteration {
		at.fail("yields", "is %q; want %q or %q", s.Yields, yieldsKernel, yieldsIteration)
	}
}

func (c *checker) robot(r *Robots, i int) {
	b := &r.Robots[i]
	c.named(b.Name, i, func(j int) string { return r.Robots[j].Name })
	if b.Count == 0 && !c.given("count") {
		b.Count = 1
	}
	c.between("count", b.Count, 1, 4096)
	const quickest = 1e6
	if !(b.Hz > 0 && b.Hz <= quickest) {
		c.fail("hz", "is %s; want plans a second, above 0 and at most 1e6", floatText(b.Hz))
		return
	}
	if d := time.Duration(b.Deadline); d < 0 || d > b.period() {
		c.fail("deadline", "is %v; want no more than the period, %v", b.Deadline, b.period())
	}
	p, err := planning.Load(b.Planner)
	if err != nil {
		c.wrap("planner", err)
		return
	}
	if _, err := p.Program(b.setting()); err != nil {
		c.wrap("planner", err)
	}
}

func (b *Robot) period() time.Duration { return time.Duration(math.Round(1e9 / b.Hz)) }

func (b *Robot) setting() planning.Setting {
	s := planning.Setting{Horizon: b.Horizon, Steps: b.Steps, Candidates: b.Candidates, KVCache: b.KVCache, Body: planning.Hopper}
	if b.State != 0 {
		s.Body.State = b.State
	}
	if b.Action != 0 {
		s.Body.Action = b.Action
	}
	if b.Batch {
		s.Robots = b.Count
	}
	return s
}

// RobotsRun is a scenario of control loops ready to run.
type RobotsRun struct {
	Config loop.Config
	Plans  []planning.Cost // by [[robot]], of one plan, or of one batch of all its plans
	Tokens float64         // text tokens of an iteration
	Flags  []string        // doubts
}

// Build prices the plans and returns what to run.
func (r *Robots) Build() (*RobotsRun, error) {
	p, err := hwmodel.Load(r.Device)
	if err != nil {
		return nil, err
	}
	f, err := hwmodel.LoadFramework(r.Framework)
	if err != nil {
		return nil, err
	}
	q, err := diffusion.NewPricer(p, f)
	if err != nil {
		return nil, err
	}
	out := &RobotsRun{Config: loop.Config{Processes: r.Processes, Until: sim.Time(r.For), Seed: r.Seed}}
	for _, k := range controlPolicies {
		if k.Name.Name == r.Policy {
			out.Config.Policy = k.policy
		}
	}
	for i := range r.Robots {
		b := &r.Robots[i]
		cost, err := b.price(q, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.Name, err)
		}
		if cost.Derived && len(out.Flags) == 0 {
			out.Flags = append(out.Flags, fmt.Sprintf("times of plans on %s under %s are derived from other boards", r.Device, r.Framework))
		}
		out.Plans = append(out.Plans, cost)
		l := loop.Loop{Name: b.Name, Robots: b.Count, Period: b.period(), Deadline: time.Duration(b.Deadline), Batch: b.Batch, Plan: make([]loop.Kernel, len(cost.Kernels))}
		for k, kernel := range cost.Kernels {
			l.Plan[k] = loop.Kernel{Launch: nanoseconds(kernel.Launch), Device: nanoseconds(kernel.Device)}
		}
		out.Config.Loops = append(out.Config.Loops, l)
	}
	if r.Serving.Model != "" {
		if err := r.serve(out, p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func nanoseconds(s float64) time.Duration { return time.Duration(math.Round(s * 1e9)) }

func (b *Robot) price(q *diffusion.Pricer, f *hwmodel.Framework) (planning.Cost, error) {
	p, err := planning.Load(b.Planner)
	if err != nil {
		return planning.Cost{}, err
	}
	program, err := p.Program(b.setting())
	if err != nil {
		return planning.Cost{}, err
	}
	return program.Price(q, f, b.Graphs)
}

// kernelsOfLayer is how many kernels a serving engine launches for one layer of a decode:
// two norms, query-key-value, rotary embedding, attention, output, gate and up, activation,
// down.
const kernelsOfLayer = 9

// serve adds the text model: iterations of decodes, in equal kernels.
func (r *Robots) serve(out *RobotsRun, p *hwmodel.Profile) error {
	s := &r.Serving
	m, err := llm.Load(s.Model)
	if err != nil {
		return err
	}
	e, err := hwmodel.LoadEngine(s.Engine)
	if err != nil {
		return err
	}
	c, err := llm.NewCost(m, llm.Parallel{Tensor: 1, Pipeline: 1}, p, e)
	if err != nil {
		return fmt.Errorf("serving: %w", err)
	}
	const gib = 1 << 30
	if weights := m.Weights(llm.Parallel{Tensor: 1, Pipeline: 1}, 0); weights > p.Device.Memory {
		return fmt.Errorf("serving: the weights of %s take %.1f GiB; want a model that fits the %.1f GiB of %s", s.Model, float64(weights)/gib, float64(p.Device.Memory)/gib, r.Device)
	}
	b := hwmodel.Batch{Decodes: s.Batch, DecodeContext: int64(s.Batch) * int64(s.Context), Logits: s.Batch}
	kernels := m.Layers * kernelsOfLayer
	out.Config.Server = &loop.Server{Kernel: max(c.Stage(0, &b)/time.Duration(kernels), 1), Kernels: kernels, Whole: s.Yields == yieldsIteration}
	out.Tokens = float64(s.Batch)
	return nil
}
