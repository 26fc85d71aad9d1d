package scenarios

import (
	"orrery/hwmodel"
	"orrery/workloads/llm"
)

// costPart is a way to price iterations, with its own keys.
type costPart interface {
	// model returns the cost model of one run, and what its figures rest on that
	// was not measured, a sentence each.
	model(s *Scenario) (m hwmodel.CostModel, doubts []string, err error)
	// needsModel tells whether prices follow from model, device and engine.
	needsModel() bool
	check(c *checker, s *Scenario)
}

// costKinds is the table of cost models.
var costKinds = []struct {
	Name
	make func() costPart
}{
	{Name{"analytic", "operator by operator, from model, device and engine"}, func() costPart { return &analytic{} }},
}

// CostKinds returns the cost models by name.
func CostKinds() []Name {
	out := make([]Name, len(costKinds))
	for i := range costKinds {
		out[i] = costKinds[i].Name
	}
	return out
}

// cost decodes [cost].
func (d *decoder) cost(k *Cost) {
	k.Kind = d.choose("cost", "kind", costKinds[0].Name.Name)
	var others []alternative
	for _, kind := range costKinds {
		if kind.Name.Name == k.Kind {
			k.part = kind.make()
		} else {
			others = append(others, alternative{"kind", kind.Name.Name, kind.make()})
		}
	}
	if k.part == nil {
		d.unknown("cost.kind", "cost model", k.Kind, namesOf(CostKinds()))
		return
	}
	d.fill("cost", d.table("cost"), []any{k, k.part}, others)
}

// cost checks the section against the rest of the scenario.
func (c *checker) cost(s *Scenario) { s.Cost.part.check(c, s) }

// analytic is [llm.Cost]. It has no keys.
type analytic struct{}

func (*analytic) needsModel() bool          { return true }
func (*analytic) check(*checker, *Scenario) {}

func (*analytic) model(s *Scenario) (hwmodel.CostModel, []string, error) {
	options := []llm.Option{llm.GroupLink(hwmodel.Link(s.Hardware.Link))}
	if s.Hardware.StageLink != "" {
		options = append(options, llm.StageLink(hwmodel.Link(s.Hardware.StageLink)))
	}
	m, err := llm.NewCost(s.model, s.parallel(), s.profile, s.engine, options...)
	if err != nil {
		return nil, nil, err
	}
	return m, m.Doubts(), nil
}
