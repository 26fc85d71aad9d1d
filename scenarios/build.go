package scenarios

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"orrery/cluster"
	"orrery/policies/batch"
	"orrery/report"
	"orrery/sim"
	"orrery/workloads/llm"
	"orrery/workloads/trace"
)

// Experiment is a scenario wired for one run. It has state and serves that run only.
type Experiment struct {
	Config cluster.Config
	Specs  []report.ReplicaSpec // of the replicas, for recorders
	SLO    report.SLO
	WarmUp sim.Time
	// Identity says what is run. Run id and version are left to [Run].
	Identity report.Identity
}

// Close releases what the source of traffic holds and returns the error that cut it
// short, if any.
func (e *Experiment) Close() error { return trace.Close(e.Config.Source) }

// Build wires the scenario for one run with the given seed, which takes the place of
// the scenario's own. An error is not the scenario's fault: a file that was
// there when it was loaded has changed.
func (s *Scenario) Build(seed uint64) (*Experiment, error) {
	source, err := s.Traffic.part.traffic(seed, s.Model.MaxLen).Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	e := &Experiment{
		Config: cluster.Config{
			Source:  s.mix(s.adapt(s.tier(source, seed), seed), seed),
			Tiers:   s.clusterTiers(),
			Until:   sim.Time(s.Run.Until),
			LateGap: time.Duration(s.SLO.TBT),
		},
		SLO:    s.ReportSLO(),
		WarmUp: sim.Time(s.Run.WarmUp),
	}
	if s.Run.FirstToken == "decode" {
		e.Config.FirstToken = cluster.WithDecode
	}
	var doubts []string
	if s.text {
		e.Config.Router = s.Policy.route.policy(sim.Stream(seed, "route"))
		e.Config.Admit = s.Policy.admit.policy(s)
		e.Config.Order = s.Policy.order.gateway()
		e.Config.Predict = s.Policy.order.predictor()
		e.Config.ViewDelay = time.Duration(s.Policy.ViewDelay)
	}
	switch {
	case len(s.Groups) > 0:
		doubts, err = s.buildGroups(e)
	case s.text:
		e.Config.Replicas, doubts, err = s.replicas()
	}
	if err != nil {
		return nil, err
	}
	s.buildFaults(e, seed)
	s.buildNetwork(e)
	if err := s.buildPools(e, seed); err != nil {
		return nil, err
	}
	e.Specs = append(report.Specs(e.Config.Replicas), report.PoolSpecs(e.Config.Pools)...)
	s.supply(e)
	e.Identity = s.identity(seed, doubts)
	return e, nil
}

// replicas returns the replicas that serve text, for one run.
func (s *Scenario) replicas() (list []cluster.ReplicaConfig, doubts []string, err error) {
	cost, doubts, err := s.Cost.part.model(s)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	if cost, doubts, err = s.speculate(cost, doubts); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	replica := cluster.ReplicaConfig{
		Cost: cost, MaxLen: s.Model.MaxLen, Blocks: s.blocks, BlockTokens: s.Hardware.BlockTokens,
		Adapters: s.adapters(), PrefixCache: s.Policy.PrefixCache, BlockBytes: s.blockBytes(), Devices: s.Hardware.Tensor * s.Hardware.Pipeline,
	}
	if replica.BlockBytes > 0 {
		replica.HostBlocks = int64(s.Hardware.SwapGiB*(1<<30)) / replica.BlockBytes
		replica.OffloadBlocks = int64(s.Hardware.OffloadGiB*(1<<30)) / replica.BlockBytes
	}
	if replica.OffloadBlocks > 0 && s.profile != nil && s.profile.Copy.Fit.Derived {
		doubts = append(doubts, fmt.Sprintf("derived on %s, not measured: copies between host and device (its profile says from what)", s.profile.Device.Name))
	}
	list = make([]cluster.ReplicaConfig, s.Hardware.Replicas)
	for i := range list {
		replica.Policy, replica.Nodes = s.newPolicy(), []int32{int32(i)}
		list[i] = replica // one cost model for all: a run is one goroutine
	}
	return list, doubts, nil
}

// newPolicy returns a fresh batch policy with the scenario's settings.
func (s *Scenario) newPolicy() batch.Policy {
	from := reflect.ValueOf(s.Policy.batch).Elem()
	p := reflect.New(from.Type())
	p.Elem().Set(from) // the scenario's own never decides, so it has no state yet
	policy := p.Interface().(batch.Policy)
	if order := s.Policy.order.queue(); order != nil {
		return &batch.Ordered{Policy: policy, Order: order}
	}
	return policy
}

// KVBlocks returns the number of KV blocks of a replica.
func (s *Scenario) KVBlocks() int64 { return s.blocks }

// ReportSLO returns the objective as package report takes it.
func (s *Scenario) ReportSLO() report.SLO {
	return report.SLO{
		TTFT: time.Duration(s.SLO.TTFT), TBT: time.Duration(s.SLO.TBT), TPOT: time.Duration(s.SLO.TPOT), E2E: time.Duration(s.SLO.E2E),
		SchedulingDelayMedian: time.Duration(s.SLO.SchedDelayP50), Quantile: s.SLO.Quantile, IgnoreUnfinished: s.SLO.IgnoreUnfinished,
	}
}

// trial builds the experiment once, so that what only the packages below can tell is
// found when the scenario is loaded.
func (c *checker) trial(s *Scenario) {
	if s.text && len(s.Groups) == 0 {
		if _, _, err := s.Cost.part.model(s); err != nil {
			c.in("hardware").wrap("link", err)
			return
		}
	}
	if _, ok := s.Traffic.part.(*replayPart); ok {
		return // the file has been read from end to end
	}
	source, err := s.Traffic.part.traffic(s.Seed, s.Model.MaxLen).Open()
	if err != nil {
		c.d.errorf("traffic", "traffic: %w", err)
		return
	}
	trace.Close(source)
}

// identity says in words what is run.
func (s *Scenario) identity(seed uint64, doubts []string) report.Identity {
	id := report.Identity{
		Scenario: s.Name, Seed: seed, Device: s.deviceText(), Policy: s.policyText(), Traffic: s.Traffic.part.describe(),
		Flags: append(append([]string{}, s.flags...), doubts...), Notes: append([]string{}, s.notes...),
	}
	if s.model != nil {
		id.Model = s.model.Name
	}
	if !s.text {
		id.Model = s.asked()
	}
	return id
}

// asked names the pipelines of images and clips, and classes without one, each once.
func (s *Scenario) asked() string {
	var list []string
	for i := range s.Classes {
		name := s.Classes[i].Pipeline
		if name == "" {
			name = s.Classes[i].Name
		}
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return strings.Join(list, ", ")
}

// deviceText names the hardware as people say it: "4 x 2 a100-pcie-80gb (TP2)".
func (s *Scenario) deviceText() string {
	h := &s.Hardware
	if !s.text {
		return s.poolsText()
	}
	if len(s.Groups) > 0 {
		return s.groupsText() + s.poolsBeside()
	}
	if h.Device == "" {
		return plural(h.Replicas, "replica") + s.poolsBeside()
	}
	text := fmt.Sprintf("%d x %s", h.Tensor*h.Pipeline, h.Device)
	var split []string
	if h.Tensor > 1 {
		split = append(split, fmt.Sprintf("TP%d", h.Tensor))
	}
	if h.Pipeline > 1 {
		split = append(split, fmt.Sprintf("PP%d", h.Pipeline))
	}
	if len(split) > 0 {
		text += " " + strings.Join(split, " ")
	}
	if h.Replicas > 1 {
		text = plural(h.Replicas, "replica") + " of " + text
	}
	return text + ", engine " + h.Engine + s.poolsBeside()
}

// poolsText names the devices of pools: "4 x a100-sxm-80gb (diffusers)".
func (s *Scenario) poolsText() string {
	var parts []string
	for i := range s.Pools {
		switch p := &s.Pools[i]; {
		case p.Count == 0:
		case p.Device == "":
			parts = append(parts, plural(p.Count, "device"))
		default:
			parts = append(parts, fmt.Sprintf("%d x %s (%s)", p.Count, p.Device, p.Framework))
		}
	}
	return strings.Join(parts, ", ")
}

func (s *Scenario) poolsBeside() string {
	if len(s.Pools) == 0 {
		return ""
	}
	return "; images on " + s.poolsText()
}

// poolPolicies names the policies of pools with their settings, each once.
func (s *Scenario) poolPolicies() string {
	var parts []string
	for i := range s.Pools {
		p := &s.Pools[i]
		text := fmt.Sprintf("%s (%s)", p.Policy, settingsText(p.policy))
		if p.Count > 0 && !slices.Contains(parts, text) {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, ", ")
}

// settingsText lists the settings of a policy that are not zero.
func settingsText(policy any) string {
	var settings []string
	for _, f := range fields(policy) {
		if !f.value.IsZero() {
			settings = append(settings, f.key+" "+valueText(f.value, " "))
		}
	}
	return strings.Join(settings, ", ")
}

// withSettings names a part with its settings, if it has any.
func withSettings(name string, part any) string {
	if text := settingsText(part); text != "" {
		return name + " (" + text + ")"
	}
	return name
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// policyText names the policies with their settings.
func (s *Scenario) policyText() string {
	switch {
	case !s.text:
		return s.poolPolicies()
	case len(s.Groups) > 0:
		return s.groupPolicies()
	}
	text := fmt.Sprintf("%s (%s)", s.Policy.Batch, settingsText(s.Policy.batch))
	if s.Policy.PrefixCache {
		text += ", prefix cache"
		if gib := s.Hardware.OffloadGiB; gib > 0 {
			text += fmt.Sprintf(" with %s GiB on the host", floatText(gib))
		}
	}
	if s.Policy.Order != orders[0].Name.Name {
		text += ", order " + withSettings(s.Policy.Order, s.Policy.order)
	}
	text += s.loraText()
	if k := s.Policy.Speculative.Tokens; k > 0 {
		text += fmt.Sprintf(", speculative (%d tokens, acceptance %s)", k, short(s.Policy.Speculative.Acceptance))
	}
	if s.Policy.Admit != admissions[0].Name.Name {
		text += ", admit " + withSettings(s.Policy.Admit, s.Policy.admit)
	}
	if s.Hardware.Replicas > 1 {
		text += ", route " + s.Policy.Route
		if s.Policy.ViewDelay > 0 {
			text += " by a view " + s.Policy.ViewDelay.String() + " old"
		}
	}
	if len(s.Pools) > 0 {
		text += "; images " + s.poolPolicies()
	}
	return text
}

// Replica returns what a replica of the scenario is, for who builds a real one: the
// model it serves, nil if the scenario names none, and its KV memory.
func (s *Scenario) Replica() (model *llm.Model, kvBlocks int64, blockTokens int) {
	return s.model, s.blocks, s.Hardware.BlockTokens
}
