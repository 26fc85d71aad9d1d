package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"orrery/cluster"
)

// Group is a set of like replicas that serve text: one [[group]] of a scenario. What it
// leaves out of its sections is as [model], [hardware], [policy] and [cost] have it. The
// first router stands in [policy] and routes to all groups.
type Group struct {
	Name         string  `toml:"name"`
	Role         string  `toml:"role"`           // both (default), prefill or decode
	Replicas     int     `toml:"replicas"`       // default 1
	PricePerHour float64 `toml:"price_per_hour"` // of one device, in any currency; default, 0: that of hardware
	// StartUp is the time from having its devices to serving, with loading the model;
	// default, 0: that of loading weights at 2 GB/s to each device.
	StartUp     Duration `toml:"start_up"`
	NodeDevices int      `toml:"node_devices"` // of one node, default 8
	Nodes       int      `toml:"nodes"`        // default 0: as many as it takes
	Place       string   `toml:"place"`        // of replicas on nodes, one of Places, default pack

	// The sections, as overrides of the scenario's own.
	Hardware map[string]any `toml:"hardware"`
	Policy   map[string]any `toml:"policy"`
	Cost     map[string]any `toml:"cost"`

	// Scale lets a policy decide how many replicas there are, beginning with Replicas. The
	// keys are those of Scaling and of its policy.
	Scale map[string]any `toml:"scale"`

	scenario  *Scenario // of this group's replicas alone
	scaling   Scaling
	scaler    scaler    // nil for none
	nodes     [][]int32 // by replica, numbered within the group
	nodeCount int32
}

// roles are the parts of a text's life that a group may serve.
var roles = []cluster.Role{cluster.Both, cluster.Prefill, cluster.Decode}

// gatewayKeys are the keys of [policy] that are not of a replica.
var gatewayKeys = []string{"route", "view_delay", "admit", "order"}

// groupSections are the sections that a group may override.
var groupSections = []string{"hardware", "policy", "cost"}

// defaults fills in what stands for nothing said.
func (g *Group) defaults() {
	if g.Role == "" {
		g.Role = cluster.Both.String()
	}
	if g.Replicas == 0 {
		g.Replicas = 1
	}
	if g.NodeDevices == 0 {
		g.NodeDevices = 8
	}
	if g.Place == "" {
		g.Place = places[0].Name.Name
	}
}

// groups makes a scenario of each group's replicas, and takes the first one's for what
// is said of the whole.
func (c *checker) groups(s *Scenario) {
	for i := range s.Groups {
		g := &s.Groups[i]
		at := c.in(fmt.Sprintf("group[%d]", i))
		at.named(g.Name, i, func(j int) string { return s.Groups[j].Name })
		at.between("replicas", g.Replicas, 1, maxReplicas)
		at.number("price_per_hour", g.PricePerHour, "of one device")
		if !slices.ContainsFunc(roles, func(r cluster.Role) bool { return r.String() == g.Role }) {
			at.fail("role", `is %q; want "both", "prefill" or "decode"`, g.Role)
		}
		at.between("nodes", g.Nodes, 0, maxReplicas)
		c.scale(i)
		if len(c.d.errs) == 0 {
			c.group(s, i)
		}
		if len(c.d.errs) == 0 {
			c.placeGroup(i)
		}
	}
	if len(c.d.errs) > 0 {
		return
	}
	c.together(s)
}

// group resolves the replicas of a group.
func (c *checker) group(s *Scenario, i int) {
	g := &s.Groups[i]
	path := fmt.Sprintf("group[%d]", i)
	doc := c.d.doc.clone()
	for _, section := range []string{"group", "tier", "class", "pool", "compare", "fleet", "capacity", "faults", "network", "plan"} {
		delete(doc.tree, section)
	}
	over := map[string]any{}
	for name, keys := range map[string]map[string]any{"hardware": g.Hardware, "policy": g.Policy, "cost": g.Cost} {
		if keys = maps.Clone(keys); keys == nil {
			keys = map[string]any{}
		}
		over[name] = keys
	}
	if _, ok := g.Hardware["replicas"]; ok {
		c.in(path).fail("hardware.replicas", "does not apply to one group; want replicas beside the group's name")
		return
	}
	for _, key := range gatewayKeys {
		if _, ok := g.Policy[key]; ok {
			c.in(path).fail("policy."+key, "does not apply to one group; want it in [policy]: one gateway serves all groups")
			return
		}
	}
	over["hardware"].(map[string]any)["replicas"] = int64(g.all())
	err := doc.merge(over, func(key string) place {
		p := c.d.doc.place(join(path, key))
		p.from = fromGroup
		return p
	})
	var own *Scenario
	if err == nil {
		own, err = resolve(doc)
	}
	if err != nil {
		e := *err.(*Error)
		if !strings.HasPrefix(e.Msg, "group ") {
			e.Msg = fmt.Sprintf("group %q: %s", g.Name, e.Msg)
		}
		c.d.errs = append(c.d.errs, &e)
		return
	}
	g.scenario = own
	s.files = append(s.files, own.files...)
}

// together checks what the groups must have in common, and fills in what is said of all.
func (c *checker) together(s *Scenario) {
	first := s.Groups[0].scenario
	roles := map[string]bool{}
	for i := range s.Groups {
		g := &s.Groups[i]
		roles[g.Role] = true
		if g.scenario.Model != first.Model {
			c.in(fmt.Sprintf("group[%d]", i)).fail("hardware", "brings the longest sequence to %d tokens; want that of group %s, %d, since a request may go to any", g.scenario.Model.MaxLen, s.Groups[0].Name, first.Model.MaxLen)
		}
		for _, note := range g.scenario.notes {
			c.note("group %s: %s", g.Name, note)
		}
		for _, flag := range g.scenario.flags {
			c.flag("group %s: %s", g.Name, flag)
		}
	}
	if roles["prefill"] != roles["decode"] {
		c.d.errorf("group[0]", "of the roles prefill and decode one is missing; want a group of each, or none")
	}
	s.Model, s.Hardware, s.Cost, s.Policy = first.Model, first.Hardware, first.Cost, first.Policy
	s.model, s.profile, s.engine, s.blocks = first.model, first.profile, first.engine, first.blocks
	s.Hardware.Replicas = 1
}

// resolvedKeys fills in what a group leaves to the scenario, so that a resolved scenario
// says of each group all there is.
func (g *Group) resolvedKeys() {
	sections := g.scenario.sections()
	for _, name := range groupSections {
		keys := map[string]any{}
		i := slices.IndexFunc(sections, func(x section) bool { return x.name == name })
		for _, t := range sections[i].targets {
			for _, f := range fields(t) {
				if name == "hardware" && f.key == "replicas" || name == "policy" && !g.ownPolicy(f.key) {
					continue
				}
				keys[f.key] = plainValue(f.value)
			}
		}
		switch name {
		case "hardware":
			g.Hardware = keys
		case "policy":
			g.Policy = keys
		case "cost":
			g.Cost = keys
		}
	}
}

// groupNames returns the names of the groups.
func (s *Scenario) groupNames() []string {
	out := make([]string, len(s.Groups))
	for i := range out {
		out[i] = s.Groups[i].Name
	}
	return out
}

// ownPolicy tells whether a key of [policy] is of the replica's own policy, and not of
// the router.
func (g *Group) ownPolicy(key string) bool {
	if slices.Contains(gatewayKeys, key) {
		return false
	}
	p := &g.scenario.Policy
	for _, part := range []any{p.route, p.admit, p.order} {
		if slices.ContainsFunc(fields(part), func(f field) bool { return f.key == key }) {
			return false
		}
	}
	return true
}

// resolvedScale fills in what the scaling of a group leaves out.
func (g *Group) resolvedScale() {
	if g.scaler == nil {
		return
	}
	keys := map[string]any{}
	for _, f := range append(fields(&g.scaling), fields(g.scaler)...) {
		keys[f.key] = plainValue(f.value)
	}
	g.Scale = keys
}

// plainValue returns a field as a value of TOML.
func plainValue(v reflect.Value) any {
	if d, ok := v.Interface().(Duration); ok {
		return d.String()
	}
	switch v.Kind() {
	case reflect.Int, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Uint64:
		return int64(v.Uint())
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plainValue(v.Index(i))
		}
		return list
	case reflect.Struct:
		t := map[string]any{}
		for _, f := range fieldsOf(v) {
			t[f.key] = plainValue(f.value)
		}
		return t
	}
	return v.Interface()
}

// buildGroups adds the replicas of all groups to the experiment of one run, those that
// only decode last.
func (s *Scenario) buildGroups(e *Experiment) (doubts []string, err error) {
	order := make([]int, 0, len(s.Groups))
	for _, last := range []bool{false, true} {
		for i := range s.Groups {
			if (s.Groups[i].Role == cluster.Decode.String()) == last {
				order = append(order, i)
			}
		}
	}
	node := int32(0)
	for at, i := range order {
		g := &s.Groups[i]
		replicas, own, err := g.scenario.replicas()
		if err != nil {
			return nil, err
		}
		for _, d := range own {
			doubts = append(doubts, "group "+g.Name+": "+d)
		}
		for k := range replicas {
			r := &replicas[k]
			r.Group, r.StartUp, r.Off = int32(at), g.startUp(), k >= g.Replicas
			r.Nodes = nil
			for _, n := range g.nodes[k] {
				r.Nodes = append(r.Nodes, node+n)
			}
		}
		node += g.nodeCount
		g.buildScaler(e, int32(at))
		e.Config.Replicas = append(e.Config.Replicas, replicas...)
		role := slices.IndexFunc(roles, func(r cluster.Role) bool { return r.String() == g.Role })
		e.Config.Groups = append(e.Config.Groups, cluster.Group{Name: g.Name, Role: roles[role], PricePerHour: cmp.Or(g.PricePerHour, g.scenario.Hardware.PricePerHour)})
	}
	return doubts, nil
}

// groupsText names the hardware of all groups.
func (s *Scenario) groupsText() string {
	parts := make([]string, len(s.Groups))
	for i := range s.Groups {
		g := &s.Groups[i]
		parts[i] = g.Name + ": " + g.scenario.deviceText()
		if g.Role != "both" {
			parts[i] = g.Name + " (" + g.Role + "): " + g.scenario.deviceText()
		}
	}
	return strings.Join(parts, "; ")
}

// groupPolicies names the policies of all groups, like ones once, and the router.
func (s *Scenario) groupPolicies() string {
	var parts []string
	for i := range s.Groups {
		text := s.Groups[i].scenario.policyText()
		if text, _, _ = strings.Cut(text, ", route "); !slices.Contains(parts, text) {
			parts = append(parts, text)
		}
	}
	text := strings.Join(parts, ", ") + ", route " + s.Policy.Route
	if len(s.Pools) > 0 {
		text += "; images " + s.poolPolicies()
	}
	return text
}
