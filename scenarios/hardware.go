package scenarios

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"orrery/hwmodel"
	"orrery/internal/names"
	"orrery/policies/batch"
	"orrery/workloads/llm"
)

// The bounds of what is simulated, so that a slip of the keyboard does not ask for
// all the memory there is.
const (
	maxReplicas = 100000
	maxDegree   = 1024
	maxSequence = 1 << 24 // tokens
)

// links are the kinds of link that a scenario may name.
var links = []string{string(hwmodel.NVSwitch), string(hwmodel.NVLinkPair), string(hwmodel.NVLinkMesh), string(hwmodel.PCIe), string(hwmodel.InterNode)}

// machine looks up model, device and engine, and fills in the defaults that follow
// from them.
func (c *checker) machine(s *Scenario) {
	h, m := c.in("hardware"), c.in("model")
	needModel, needDevice := s.Cost.part.needs()
	if s.Model.Name != "" {
		m.model(s)
	} else if needModel {
		m.fail("name", "is missing; want one of %s, or the path of a config.json", strings.Join(llm.Names(), ", "))
	}
	var err error
	switch name := s.Hardware.Device; {
	case name != "" && !needDevice && s.Model.Name == "":
		h.fail("device", "has no use without [model]: cost.kind = %q says how long iterations take, hardware.kv_blocks how many KV blocks there are; want it removed", s.Cost.Kind)
	case s.Device != Sheet{}:
		c.in("device").sheet(s)
	case strings.HasSuffix(name, ".toml"):
		h.profileFile(s)
	case name != "":
		if s.profile, err = loadProfile(name); err != nil {
			h.wrapName("device", "device", name, hwmodel.Names(), err)
		}
	case needDevice:
		h.fail("device", "is missing; want one of %s", strings.Join(hwmodel.Names(), ", "))
	}
	if s.engine, err = hwmodel.LoadEngine(s.Hardware.Engine); err != nil {
		h.wrapName("engine", "engine", s.Hardware.Engine, hwmodel.Engines(), err)
	}
	if s.engine != nil && s.Hardware.MemoryFraction == 0 && !h.given("memory_fraction") {
		s.Hardware.MemoryFraction = s.engine.MemoryFraction
	}
	switch {
	case needDevice && s.profile != nil && s.Hardware.Link == "":
		s.Hardware.Link = string(s.profile.Device.Group)
	case !needDevice && s.Hardware.Link != "":
		h.fail("link", "does not apply with cost.kind = %q, which has its own times of all-reduces; want it removed", s.Cost.Kind)
	}
	h.hardware(s)
}

// wrapName notes that nothing answers to a name, or what is wrong with what does.
func (c *checker) wrapName(key, kind, name string, known []string, err error) {
	if slices.Contains(known, name) {
		c.wrap(key, err)
		return
	}
	c.wrap(key, names.Unknown(kind, name, known))
}

func (c *checker) model(s *Scenario) {
	name := s.Model.Name
	if strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".toml") {
		name = c.path("name", name)
		s.Model.Name = name
	}
	m, err := llm.Load(name)
	if err != nil {
		c.wrap("name", err)
		return
	}
	s.model = m
	if s.Model.MaxLen == 0 && !c.given("max_len") {
		s.Model.MaxLen = m.MaxLen
	}
	if s.Model.MaxLen > m.MaxLen {
		c.note("max_len is %d tokens; %s was made for %d, so that its answers beyond would be poor", s.Model.MaxLen, m.Name, m.MaxLen)
	}
}

func (c *checker) hardware(s *Scenario) {
	h := &s.Hardware
	c.between("replicas", h.Replicas, 1, maxReplicas)
	c.between("tensor", h.Tensor, 1, maxDegree)
	c.between("pipeline", h.Pipeline, 1, maxDegree)
	c.between("block_tokens", h.BlockTokens, 1, 4096)
	c.count("kv_blocks", h.KVBlocks, 0)
	c.number("swap_gib", h.SwapGiB, "GiB of host memory")
	c.number("price_per_hour", h.PricePerHour, "of one device")
	if h.SwapGiB > 1<<20 {
		c.fail("swap_gib", "is %s; want at most %d GiB", floatText(h.SwapGiB), 1<<20)
	}
	c.number("offload_gib", h.OffloadGiB, "GiB of host memory")
	if h.OffloadGiB > 1<<20 {
		c.fail("offload_gib", "is %s; want at most %d GiB", floatText(h.OffloadGiB), 1<<20)
	}
	if s.engine != nil && !(h.MemoryFraction > 0 && h.MemoryFraction <= 1) {
		c.fail("memory_fraction", "is %s; want a share above 0, at most 1", floatText(h.MemoryFraction))
	}
	for _, l := range []struct{ key, name string }{{"link", h.Link}, {"stage_link", h.StageLink}} {
		if l.name != "" && !slices.Contains(links, l.name) {
			c.wrap(l.key, names.Unknown("link", l.name, links))
		}
	}
	if s.Hardware.StageLink != "" && h.Pipeline == 1 {
		c.fail("stage_link", "is %q, but there is one pipeline stage; want it removed, or hardware.pipeline above 1", h.StageLink)
	}
	if s.model != nil && h.Tensor >= 1 && h.Pipeline >= 1 {
		if err := s.model.CanSplit(s.parallel()); err != nil {
			key := "tensor"
			if h.Pipeline > s.model.Layers {
				key = "pipeline"
			}
			c.wrap(key, fmt.Errorf("%w; want a degree that does, such as %s", err, splits(s.model, key)))
		}
	}
	m := c.in("model")
	if s.Model.MaxLen < 1 || s.Model.MaxLen > maxSequence {
		if s.model != nil || m.given("max_len") {
			m.fail("max_len", "is %d; want 1 to %d tokens", s.Model.MaxLen, maxSequence)
		} else if len(c.d.errs) == 0 {
			m.fail("max_len", "is missing; want the longest sequence served, in tokens, or a model that says it")
		}
	}
}

// splits lists a few degrees that a model can be split by.
func splits(m *llm.Model, key string) string {
	if key == "pipeline" {
		return fmt.Sprintf("1 to %d", m.Layers)
	}
	var list []string
	for t := 1; t <= m.Heads && len(list) < 5; t++ {
		if m.CanSplit(llm.Parallel{Tensor: t, Pipeline: 1}) == nil {
			list = append(list, fmt.Sprint(t))
		}
	}
	return strings.Join(list, ", ")
}

func (s *Scenario) parallel() llm.Parallel {
	return llm.Parallel{Tensor: s.Hardware.Tensor, Pipeline: s.Hardware.Pipeline}
}

// policy decodes [policy]: the section's own keys and those of the chosen batch
// policy and router.
func (d *decoder) policy(s *Scenario) {
	p := &s.Policy
	p.Batch = d.choose("policy", "batch", batchPolicies[0].Name.Name)
	p.Route = d.choose("policy", "route", routers[0].Name.Name)
	p.Admit = d.choose("policy", "admit", admissions[0].Name.Name)
	p.Order = d.choose("policy", "order", orders[0].Name.Name)
	maxLen := max(1, s.Model.MaxLen)
	var others []alternative
	for _, b := range batchPolicies {
		others = take(others, &p.batch, "batch", b.Name, p.Batch, b.make(maxLen))
	}
	for _, r := range routers {
		others = take(others, &p.route, "route", r.Name, p.Route, r.make())
	}
	for _, a := range admissions {
		others = take(others, &p.admit, "admit", a.Name, p.Admit, a.make())
	}
	for _, o := range orders {
		others = take(others, &p.order, "order", o.Name, p.Order, o.make())
	}
	switch {
	case p.batch == nil:
		d.unknown("policy.batch", "batch policy", p.Batch, namesOf(Policies()))
	case p.route == nil:
		d.unknown("policy.route", "router", p.Route, namesOf(Routers()))
	case p.admit == nil:
		d.unknown("policy.admit", "policy of admission", p.Admit, namesOf(Admissions()))
	case p.order == nil:
		d.unknown("policy.order", "order of queues", p.Order, namesOf(Orders()))
	default:
		d.fill("policy", d.table("policy"), append([]any{p}, p.parts()...), others)
	}
}

// take sets to to the part that a name chooses; the others it adds to the alternatives.
func take[T any](others []alternative, to *T, chooser string, name Name, chosen string, made T) []alternative {
	if name.Name == chosen {
		*to = made
		return others
	}
	return append(others, alternative{chooser, name.Name, made})
}

// parts returns the parts of the section, whose keys it takes.
func (p *Policy) parts() []any { return []any{p.batch, p.route, p.admit, p.order} }

// memory checks the policy's settings and counts the KV blocks of a replica.
func (c *checker) memory(s *Scenario) {
	p := c.in("policy")
	if check, ok := s.Policy.batch.(interface{ Check(maxLen int) error }); ok {
		if err := check.Check(s.Model.MaxLen); err != nil {
			key, rest, _ := strings.Cut(err.Error(), " ")
			p.fail(key, "%s", rest)
			return
		}
	}
	for _, part := range s.Policy.parts() {
		check, ok := part.(interface{ Check() error })
		if !ok {
			continue
		}
		if err := check.Check(); err != nil {
			key, rest, _ := strings.Cut(err.Error(), " ")
			p.fail(key, "%s", rest)
			return
		}
	}
	if d := s.Policy.ViewDelay; d > maxViewDelay {
		p.fail("view_delay", "is %q; want at most %q", d, maxViewDelay)
		return
	}
	c.speculative(s)
	c.lora(s)
	limits := s.Policy.batch.Limits(s.Model.MaxLen)
	h := c.in("hardware")
	switch {
	case s.Hardware.SwapGiB > 0 && !limits.Swap:
		h.fail("swap_gib", "is %s, but the batch policy %s does not swap; want 0, or policy.swap = true with vllm", floatText(s.Hardware.SwapGiB), s.Policy.Batch)
	case s.Hardware.SwapGiB == 0 && limits.Swap:
		h.fail("swap_gib", "is 0, but the batch policy swaps; want the host memory of a replica, such as 4.0")
	case limits.Swap && s.model == nil:
		h.fail("swap_gib", "needs [model]: without it the size of a KV block is not known; want model.name")
	}
	switch {
	case s.Hardware.OffloadGiB > 0 && !s.Policy.PrefixCache:
		h.fail("offload_gib", "is %s, but there is no prefix cache to keep parts of; want 0, or policy.prefix_cache = true", floatText(s.Hardware.OffloadGiB))
	case s.Hardware.OffloadGiB > 0 && s.model == nil:
		h.fail("offload_gib", "needs [model]: without it the size of a KV block is not known; want model.name")
	}
	if len(c.d.errs) > 0 {
		return
	}
	s.blocks = s.Hardware.KVBlocks
	if s.blocks == 0 {
		h.countBlocks(s, limits)
	}
	longest := int64((s.Model.MaxLen + s.Hardware.BlockTokens - 1) / s.Hardware.BlockTokens)
	switch {
	case len(c.d.errs) > 0 || s.blocks >= longest:
	case limits.Reserve == batch.ReserveMax:
		p.fail("batch", "is %q, which reserves %d KV blocks for each sequence, but a replica has %d; want a lower model.max_len or policy.max_seqs, or more memory", s.Policy.Batch, longest, s.blocks)
	default:
		c.note("a replica has %d KV blocks; a sequence of max_len needs %d, so that the longest requests are rejected", s.blocks, longest)
	}
}

// countBlocks counts the KV blocks that the memory of the devices leaves.
func (c *checker) countBlocks(s *Scenario, limits batch.Limits) {
	if s.model == nil || s.profile == nil {
		c.fail("kv_blocks", "is missing; want the KV blocks of a replica, or [model] and hardware.device to count them by")
		return
	}
	budget := llm.Budget{Device: s.profile.Device.Name, Bytes: s.profile.Device.Memory, Fraction: s.Hardware.MemoryFraction, Reserved: s.reserved()}
	// Engines sample for every sequence at the end of the run that measures memory.
	run := llm.ProfileRun{Tokens: limits.MaxTokens, Logits: limits.MaxSeqs}
	n, err := s.model.Blocks(s.parallel(), budget, run, s.Hardware.BlockTokens)
	var fit *llm.FitError
	switch {
	case errors.As(err, &fit) && s.Policy.Batch == "orca" || errors.As(err, &fit) && s.Policy.Batch == "request-level":
		c.wrap("device", fmt.Errorf("%w (%s computes up to policy.max_seqs prompts of max_len at once: fewer need less)", err, s.Policy.Batch))
	case err != nil:
		c.wrap("device", err)
	}
	s.blocks = s.shared(n)
}

// blockBytes returns the bytes of one KV block over all devices of a replica, 0 if
// there is no model.
func (s *Scenario) blockBytes() int64 {
	if s.model == nil {
		return 0
	}
	var sum int64
	for stage := range s.Hardware.Pipeline {
		sum += s.model.BlockBytes(s.parallel(), stage, s.Hardware.BlockTokens)
	}
	return sum * int64(s.Hardware.Tensor)
}
