package scenarios

import (
	"fmt"
	"strings"

	"orrery/hwmodel"
	"orrery/workloads/llm"
)

// Speculation is speculative decoding, by the share of drafted tokens that are accepted:
// policy.speculative. See [hwmodel.Speculative].
type Speculation struct {
	Tokens     int     `toml:"tokens"`     // drafted for each verification, 0 (default) for none
	Acceptance float64 `toml:"acceptance"` // chance that the target accepts a drafted token
	// Draft is the draft model, one of llm.Names or a path, on the devices of the target;
	// empty where Share says what a draft costs.
	Draft string `toml:"draft"`
	// Share is a draft pass's time over that of the target, 0 for drafts that cost nothing,
	// such as those looked up in the prompt.
	Share float64 `toml:"share"`

	draft *llm.Model
}

// model returns how the settings price a pass of the target.
func (p *Speculation) model(target hwmodel.CostModel) *hwmodel.Speculative {
	return &hwmodel.Speculative{CostModel: target, Share: p.Share, Tokens: p.Tokens, Acceptance: p.Acceptance}
}

// speculative checks policy.speculative.
func (c *checker) speculative(s *Scenario) {
	p := &s.Policy.Speculative
	at := c.in("policy.speculative")
	if p.Tokens == 0 {
		if *p != (Speculation{}) {
			at.fail("tokens", "is 0, so that nothing is drafted; want the number of tokens drafted for each verification, such as 4")
		}
		return
	}
	if err := p.model(nil).Check(); err != nil {
		key, rest, _ := strings.Cut(err.Error(), " ")
		at.fail(key, "%s", rest)
		return
	}
	cost := "drafts that cost nothing"
	switch {
	case p.Draft != "" && p.Share != 0:
		at.fail("share", "is %s, but the draft model %s says what drafts cost; want one of the two", floatText(p.Share), p.Draft)
		return
	case p.Draft != "":
		at.draft(s, p)
		cost = "drafts by " + p.Draft
	case p.Share > 0:
		cost = fmt.Sprintf("drafts that take %s of the target's time", short(p.Share))
	}
	c.flag("speculative decoding is a model of its acceptance: %d tokens drafted, each accepted with chance %s, %s tokens a verification, %s; tokens come evenly, and its gain is as good as these figures",
		p.Tokens, short(p.Acceptance), short(p.model(nil).Yield()), cost)
}

// draft looks up the draft model.
func (c *checker) draft(s *Scenario, p *Speculation) {
	if strings.HasSuffix(p.Draft, ".json") || strings.HasSuffix(p.Draft, ".toml") {
		p.Draft = c.path("draft", p.Draft)
	}
	m, err := llm.Load(p.Draft)
	switch {
	case err != nil:
		c.wrap("draft", err)
	case s.profile == nil || s.Cost.Kind != costKinds[0].Name.Name:
		c.fail("draft", "is %q, which is priced by model and device; want cost.kind = %q, or share in its place", p.Draft, costKinds[0].Name.Name)
	case s.Hardware.Pipeline > 1:
		c.fail("draft", "is %q, and hardware.pipeline %d; want one stage, or share in its place", p.Draft, s.Hardware.Pipeline)
	case m.CanSplit(s.parallel()) != nil:
		c.wrap("draft", m.CanSplit(s.parallel()))
	default:
		p.draft = m
	}
}

// speculate returns the cost model of a run with speculative decoding, or as it is.
func (s *Scenario) speculate(target hwmodel.CostModel, doubts []string) (hwmodel.CostModel, []string, error) {
	p := &s.Policy.Speculative
	if p.Tokens == 0 {
		return target, doubts, nil
	}
	m := p.model(target)
	if p.draft != nil {
		draft, err := llm.NewCost(p.draft, s.parallel(), s.profile, s.engine, llm.GroupLink(hwmodel.Link(s.Hardware.Link)))
		if err != nil {
			return nil, nil, err
		}
		m.Draft = draft
	}
	return m, doubts, nil
}

// reserved returns the bytes of each device that hold neither weights of the model nor its
// KV cache: the draft model's weights, and adapters.
func (s *Scenario) reserved() int64 {
	devices := int64(s.parallel().Devices())
	n := (s.adapterBytes()*int64(s.Policy.LoRA.MaxAdapters) + devices - 1) / devices
	if d := s.Policy.Speculative.draft; d != nil {
		n += d.Weights(s.parallel(), 0)
	}
	return n
}

// shared returns how many of n KV blocks there are if each must hold the draft model's KV
// cache as well.
func (s *Scenario) shared(n int64) int64 {
	d := s.Policy.Speculative.draft
	if d == nil {
		return n
	}
	own := s.model.BlockBytes(s.parallel(), 0, s.Hardware.BlockTokens)
	both := own + d.BlockBytes(s.parallel(), 0, s.Hardware.BlockTokens)
	return int64(float64(n) * float64(own) / float64(both))
}
