package scenarios

import (
	"strings"

	"orrery/hwmodel"
	"orrery/workloads/llm"
)

// costPart is a way to price iterations, with its own keys.
type costPart interface {
	// model returns the cost model of one run, and what its figures rest on that
	// was not measured, a sentence each.
	model(s *Scenario) (m hwmodel.CostModel, doubts []string, err error)
	// needs tells whether prices follow from the model, and from device, engine and
	// links as well.
	needs() (model, device bool)
	check(c *checker, s *Scenario)
}

// costKinds is the table of cost models.
var costKinds = []struct {
	Name
	make func() costPart
}{
	{Name{"analytic", "operator by operator, from model, device and engine"}, func() costPart { return &analytic{} }},
	{Name{"affine", "coefficients for each iteration, token, sequence and context"}, func() costPart { return &affine{} }},
	{Name{"tables", "measured times from a folder of Vidur profiles"}, func() costPart { return &tables{} }},
	{Name{"measured", "fitted to whole iterations in a file of measurements"}, func() costPart { return &measured{} }},
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

func (*analytic) needs() (model, device bool) { return true, true }
func (*analytic) check(*checker, *Scenario)   {}

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

// affine is [hwmodel.Affine] in a scenario. Its coefficients are seconds.
type affine struct{ hwmodel.Affine }

func (*affine) needs() (model, device bool) { return false, false }

func (a *affine) check(c *checker, s *Scenario) {
	if a.PipelineStages != 0 && a.PipelineStages != s.Hardware.Pipeline {
		c.fail("stages", "is %d, but hardware.pipeline is %d; want the number there, and cost.stages left out", a.PipelineStages, s.Hardware.Pipeline)
		return
	}
	a.PipelineStages = s.Hardware.Pipeline
	if err := a.Check(); err != nil {
		text := strings.TrimPrefix(err.Error(), "affine: ")
		if key, rest, ok := strings.Cut(text, " is "); ok {
			c.fail(key, "is %s", rest)
		} else {
			c.d.errorf("cost", "cost: %s", text)
		}
	}
}

func (a *affine) model(*Scenario) (hwmodel.CostModel, []string, error) {
	m := a.Affine
	return &m, nil, nil
}

// tables is [hwmodel.Tables] in a scenario.
type tables struct {
	Folder      string `toml:"folder"`      // with mlp.csv, attention.csv and, as needed, all_reduce.csv, send_recv.csv
	Host        string `toml:"host"`        // model whose rows of cpu_overheads.csv give the host time; empty (default) for none
	Extrapolate bool   `toml:"extrapolate"` // go beyond the tables and say so, rather than refuse; default false

	loaded *hwmodel.Tables
}

func (*tables) needs() (model, device bool) { return true, false }

func (t *tables) check(c *checker, s *Scenario) {
	if t.Folder == "" {
		c.fail("folder", "is missing; want the path of a folder of Vidur profiles")
		return
	}
	t.Folder = c.path("folder", t.Folder)
	if s.Hardware.Pipeline > 0 && s.model.Layers%s.Hardware.Pipeline != 0 {
		c.in("hardware").fail("pipeline", "is %d; tables want stages of equal length, so a divisor of the %d layers of %s", s.Hardware.Pipeline, s.model.Layers, s.model.Name)
		return
	}
	var err error
	t.loaded, err = hwmodel.LoadVidur(t.Folder, hwmodel.VidurShape{
		Model: t.Host, Layers: s.model.Layers, Hidden: s.model.Hidden, Intermediate: s.model.Intermediate,
		QueryHeads: s.model.Heads, KVHeads: s.model.KVHeads, Vocab: s.model.Vocab, Gated: s.model.Gated,
		PostNorm: s.model.NormsPerLayer > 1, Block: s.Hardware.BlockTokens,
		Tensor: s.Hardware.Tensor, Pipeline: s.Hardware.Pipeline,
		AcrossNodes: s.Hardware.StageLink == string(hwmodel.InterNode),
	})
	if err != nil {
		c.wrap("folder", err)
	}
}

func (t *tables) model(*Scenario) (hwmodel.CostModel, []string, error) {
	m := *t.loaded // the curves are shared, what a run notes is not
	m.Extrapolate = t.Extrapolate
	return &m, nil, nil
}
