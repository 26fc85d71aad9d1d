package scenarios

import (
	"fmt"
	"math"
	"slices"

	"orrery/hwmodel"
	"orrery/internal/names"
	"orrery/report"
)

// Planning says among what the command plan searches the cheapest fleet: replicas of one
// of the candidates, under one of the policies, as many as it takes.
type Planning struct {
	Growth     float64         `toml:"growth"` // the demand is so many times that of [traffic], default 1
	Seeds      int             `toml:"seeds"`  // with which a fleet must meet the SLO, default 3
	Candidates []PlanCandidate `toml:"candidate"`
	Policies   []Setting       `toml:"policy"` // overrides; default: the scenario's own
}

// PlanCandidate is a kind of device.
type PlanCandidate struct {
	Name         string  `toml:"name"`
	Device       string  `toml:"device"`         // one of hwmodel.Names
	PricePerHour float64 `toml:"price_per_hour"` // of one device, in any currency
	Tensor       []int   `toml:"tensor"`         // degrees to try, default 1
	Most         int     `toml:"most"`           // devices in all, default 16
}

// PlanOption is one candidate with a tensor-parallel degree and a policy.
type PlanOption struct {
	Candidate, Policy int // indexes
	Tensor            int
	Name              string
	PerHour           float64 // of one replica
	Most              int     // replicas
	Refused           string  // why it cannot serve, empty if it can
}

// planning checks [plan].
func (c *checker) planning(s *Scenario) {
	p := &s.Plan
	at := c.in("plan")
	if !(p.Growth > 0 && p.Growth <= 1e6) {
		at.fail("growth", "is %s; want how many times the demand is that of [traffic], above 0", floatText(p.Growth))
	}
	at.between("seeds", p.Seeds, 1, 1000)
	for i := range p.Candidates {
		k := &p.Candidates[i]
		at := c.in(fmt.Sprintf("plan.candidate[%d]", i))
		at.named(k.Name, i, func(j int) string { return p.Candidates[j].Name })
		if !slices.Contains(hwmodel.Names(), k.Device) {
			at.wrap("device", names.Unknown("device", k.Device, hwmodel.Names()))
		}
		if !(k.PricePerHour > 0 && k.PricePerHour <= 1e9) {
			at.fail("price_per_hour", "is %s; want what one device costs by the hour, above 0", floatText(k.PricePerHour))
		}
		if len(k.Tensor) == 0 {
			k.Tensor = []int{1}
		}
		for j, n := range k.Tensor {
			at.between(fmt.Sprintf("tensor[%d]", j), n, 1, maxDegree)
		}
		if k.Most == 0 && !at.given("most") {
			k.Most = 16
		}
		at.between("most", k.Most, 1, maxReplicas)
	}
	for i, x := range p.Policies {
		if x.Label == "" {
			c.d.errorf(fmt.Sprintf("plan.policy[%d]", i), "plan.policy[%d].label is missing; want a name for the policy", i)
		}
	}
	if len(p.Candidates) > 0 && (len(s.Groups) > 0 || len(s.Pools) > 0) {
		c.d.errorf("plan", "[plan] searches fleets of like replicas of text; want the groups, classes and pools removed")
	}
}

// PlanOptions returns all that plan may choose from. Options that the scenario itself
// refuses, as devices without the memory, say so.
func (s *Scenario) PlanOptions() []PlanOption {
	p := &s.Plan
	policies := max(len(p.Policies), 1)
	var out []PlanOption
	for i := range p.Candidates {
		k := &p.Candidates[i]
		for _, tensor := range k.Tensor {
			for policy := range policies {
				o := PlanOption{Candidate: i, Policy: policy, Tensor: tensor, PerHour: float64(tensor) * k.PricePerHour, Most: k.Most / tensor}
				o.Name = k.Name
				if len(k.Tensor) > 1 || tensor > 1 {
					o.Name += fmt.Sprintf(" TP%d", tensor)
				}
				if len(p.Policies) > 0 {
					o.Name += ", " + p.Policies[policy].Label
				}
				if _, err := s.PlanFleet(o, 1, 1); err != nil {
					o.Refused = err.(*Error).Msg
				}
				out = append(out, o)
			}
		}
	}
	return out
}

// PlanFleet returns the scenario with so many replicas of an option, and demand times a
// factor beside the growth that it states. Errors are of type [*Error].
func (s *Scenario) PlanFleet(o PlanOption, replicas int, demand float64) (*Scenario, error) {
	doc := s.doc.clone()
	for _, key := range []string{"description", "seed", "output", "compare", "capacity", "fleet", "plan", "sweep"} {
		doc.drop(key) // no matter to a run
	}
	over := map[string]any{
		"hardware": map[string]any{"device": s.Plan.Candidates[o.Candidate].Device, "tensor": int64(o.Tensor), "replicas": int64(replicas)},
		"traffic":  map[string]any{"rate": s.Rate() * s.Plan.Growth * demand},
	}
	where := func(string) place { return place{file: "plan option " + o.Name, from: fromVariant} }
	if err := doc.merge(over, where); err != nil {
		return nil, err
	}
	if len(s.Plan.Policies) > 0 {
		if err := doc.merge(s.Plan.Policies[o.Policy].Set, where); err != nil {
			return nil, err
		}
	}
	return resolve(doc)
}

// LeastReplicas returns a number of replicas below which no schedule can keep up with the
// traffic: each of its tokens costs at least what one costs in the most efficient
// iteration of prompts alone, without any context. (A token of an answer costs no less:
// it shares its iteration's weights at best with as many others.)
func (s *Scenario) LeastReplicas(seed uint64) (int, error) {
	e, err := s.Build(seed)
	if err != nil {
		return 0, err
	}
	defer e.Close()
	const sample = 2000
	tokens, n := 0.0, 0
	for ; n < sample; n++ {
		if _, ok := e.Config.Source.Peek(); !ok {
			break
		}
		r := e.Config.Source.Next()
		tokens += float64(r.Prompt) + float64(r.Output) - 1
	}
	if n == 0 {
		return 0, nil
	}
	cost := e.Config.Replicas[0].Cost
	largest := report.Specs(e.Config.Replicas[:1])[0].MaxTokens
	best := math.Inf(1)
	for size := 1; ; size = min(2*size, largest) {
		var b hwmodel.Batch
		b.AddChunk(size, 0)
		b.Logits = 1
		slowest := 0.0
		for stage := range cost.Stages() {
			slowest = max(slowest, cost.Stage(stage, &b).Seconds())
		}
		best = min(best, slowest/float64(size))
		if size >= largest {
			break
		}
	}
	// A mean over a sample is not the traffic's: three standard deviations of slack would
	// depend on its lengths, so a tenth is given.
	return int(math.Floor(0.9 * s.Rate() * tokens / float64(n) * best)), nil
}
