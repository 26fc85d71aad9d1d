package scenarios

import (
	"fmt"
	"slices"
	"time"

	"orrery/cluster"
	placement "orrery/policies/place"
	"orrery/policies/scale"
)

// Scaling says how many replicas of a group there are, and when. The keys of its policy
// stand beside its own.
type Scaling struct {
	Policy string   `toml:"policy"` // one of Scalers
	Every  Duration `toml:"every"`  // between two decisions, default 15s
	Least  int      `toml:"least"`  // default 1
	Most   int      `toml:"most"`
}

// scaler is a policy of scaling in a scenario.
type scaler interface {
	check(c *checker)
	policy() scale.Policy
}

// scalers is the table of policies of scaling.
var scalers = []struct {
	Name
	make func() scaler
}{
	{Name{"target", "as many as keep the requests of each, or the KV memory held, near a target (Kubernetes)"},
		func() scaler { return &targetScaler{Tolerance: 0.1, Hold: Duration(5 * time.Minute)} }},
	{Name{"reactive", "more when requests wait or KV memory runs short, fewer when there is little to do"},
		func() scaler { return &reactiveScaler{High: 4, Low: 8, Step: 1} }},
	{Name{"predictive", "as many as the rate of arrivals will need when a start would be over"},
		func() scaler {
			return &predictiveScaler{Ahead: Duration(time.Minute), Smooth: 0.5, Trend: 0.3, Hold: Duration(5 * time.Minute)}
		}},
}

// Scalers returns the policies of scaling by name.
func Scalers() []Name {
	out := make([]Name, len(scalers))
	for i := range scalers {
		out[i] = scalers[i].Name
	}
	return out
}

type targetScaler struct {
	Requests  float64  `toml:"requests"` // waiting and running on each replica
	KV        float64  `toml:"kv"`       // share of the KV memory held
	Tolerance float64  `toml:"tolerance"`
	Hold      Duration `toml:"hold"` // going down waits so long
}

func (p *targetScaler) check(c *checker) {
	c.number("requests", p.Requests, "requests of each replica")
	c.number("tolerance", p.Tolerance, "relative")
	if !(p.KV >= 0 && p.KV <= 1) {
		c.fail("kv", "is %s; want a share of the KV memory, 0 to 1", floatText(p.KV))
	}
	if p.Requests == 0 && p.KV == 0 {
		c.fail("requests", "is missing; want the requests that each replica should have, or kv, the share of its memory")
	}
}

func (p *targetScaler) policy() scale.Policy {
	return &scale.Target{Requests: p.Requests, KV: p.KV, Tolerance: p.Tolerance, Hold: time.Duration(p.Hold)}
}

type reactiveScaler struct {
	High   float64 `toml:"high"`    // requests waiting for each replica above which there are more
	HighKV float64 `toml:"high_kv"` // share of the KV memory held above which there are more; 0 (default): no matter
	Low    float64 `toml:"low"`     // requests of each of the others below which there is one fewer
	Step   int     `toml:"step"`    // so many more at a time
}

func (p *reactiveScaler) check(c *checker) {
	c.number("high", p.High, "requests waiting for each replica")
	c.number("high_kv", p.HighKV, "share of the KV memory")
	c.number("low", p.Low, "requests of each replica")
	c.between("step", p.Step, 1, maxReplicas)
}

func (p *reactiveScaler) policy() scale.Policy {
	return &scale.Reactive{High: p.High, HighKV: p.HighKV, Low: p.Low, Step: p.Step}
}

type predictiveScaler struct {
	PerReplica float64  `toml:"per_replica"` // requests per second that one replica bears
	Ahead      Duration `toml:"ahead"`
	Smooth     float64  `toml:"smooth"`
	Trend      float64  `toml:"trend"`
	Hold       Duration `toml:"hold"` // going down waits so long
}

func (p *predictiveScaler) check(c *checker) {
	c.rate("per_replica", p.PerReplica)
	if !(p.Smooth > 0 && p.Smooth <= 1) {
		c.fail("smooth", "is %s; want the weight of the newest rate, above 0 to 1", floatText(p.Smooth))
	}
	if !(p.Trend >= 0 && p.Trend <= 1) {
		c.fail("trend", "is %s; want the weight of the newest change, 0 to 1", floatText(p.Trend))
	}
}

func (p *predictiveScaler) policy() scale.Policy {
	return &scale.Predictive{PerReplica: p.PerReplica, Ahead: time.Duration(p.Ahead), Smooth: p.Smooth, Trend: p.Trend, Hold: time.Duration(p.Hold)}
}

// places is the table of policies of placement.
var places = []struct {
	Name
	policy placement.Policy
}{
	{Name{"pack", "on the fullest node that has room"}, placement.Pack{}},
	{Name{"spread", "on the emptiest node"}, placement.Spread{}},
}

// Places returns the policies of placement by name.
func Places() []Name {
	out := make([]Name, len(places))
	for i := range places {
		out[i] = places[i].Name
	}
	return out
}

// scale decodes the scaling of a group.
func (c *checker) scale(i int) {
	g := &c.s.Groups[i]
	if len(g.Scale) == 0 {
		return
	}
	path := fmt.Sprintf("group[%d].scale", i)
	g.scaling = Scaling{Policy: scalers[0].Name.Name, Every: Duration(15 * time.Second), Least: 1}
	if name, ok := g.Scale["policy"].(string); ok {
		g.scaling.Policy = name
	}
	var others []alternative
	for _, k := range scalers {
		if made := k.make(); k.Name.Name == g.scaling.Policy {
			g.scaler = made
		} else {
			others = append(others, alternative{"policy", k.Name.Name, made})
		}
	}
	if g.scaler == nil {
		c.d.unknown(path+".policy", "policy of scaling", g.scaling.Policy, namesOf(Scalers()))
		return
	}
	c.d.fill(path, g.Scale, []any{&g.scaling, g.scaler}, others)
	at := c.in(path)
	at.between("least", g.scaling.Least, 0, maxReplicas)
	at.between("most", g.scaling.Most, max(g.scaling.Least, 1), maxReplicas)
	if g.scaling.Every < Duration(time.Millisecond) {
		at.fail("every", "is %s; want at least 1ms", g.scaling.Every)
	}
	g.scaler.check(at)
	if g.Replicas > g.scaling.Most {
		c.in(fmt.Sprintf("group[%d]", i)).fail("replicas", "is %d, above scale.most, %d; want at most that many", g.Replicas, g.scaling.Most)
	}
}

// all returns the number of replicas that a group may have.
func (g *Group) all() int { return max(g.Replicas, g.scaling.Most) }

// startUp returns how long a replica of the group takes to start. Unless it is said, it
// is that of reading the weights at loadRate, and no more.
func (g *Group) startUp() time.Duration {
	if g.StartUp > 0 || g.scenario.model == nil {
		return time.Duration(g.StartUp)
	}
	most := int64(0)
	p := g.scenario.parallel()
	for stage := range p.Pipeline {
		most = max(most, g.scenario.model.Weights(p, stage))
	}
	return time.Duration(float64(most) / loadRate * 1e9)
}

// loadRate is the bytes per second at which a device gets its weights where start_up does
// not say how long a start takes. It is an assumption, of the order of what a disk of a
// node or a share of its network gives: say start_up where you have measured it.
const loadRate = 2e9

// placeGroup gives the replicas of a group their nodes.
func (c *checker) placeGroup(i int) {
	g := &c.s.Groups[i]
	at := c.in(fmt.Sprintf("group[%d]", i))
	k := slices.IndexFunc(Places(), func(n Name) bool { return n.Name == g.Place })
	if k < 0 {
		at.fail("place", "is %q; want one of %v", g.Place, namesOf(Places()))
		return
	}
	p := g.scenario.parallel()
	at.between("node_devices", g.NodeDevices, 1, 1024)
	if p.Tensor > g.NodeDevices {
		at.fail("node_devices", "is %d, but a replica has %d devices that must share a node; want at least that many", g.NodeDevices, p.Tensor)
		return
	}
	if len(c.d.errs) > 0 {
		return
	}
	nodes := make([]placement.Node, g.Nodes)
	for n := range nodes {
		nodes[n] = placement.Node{Devices: g.NodeDevices, Free: g.NodeDevices}
	}
	g.nodes = make([][]int32, g.all())
	for r := range g.nodes {
		where := places[k].policy.Place(p.Tensor, p.Pipeline, nodes)
		for where == nil && g.Nodes == 0 { // as many as it takes
			nodes = append(nodes, placement.Node{Devices: g.NodeDevices, Free: g.NodeDevices})
			where = places[k].policy.Place(p.Tensor, p.Pipeline, nodes)
		}
		if where == nil {
			at.fail("nodes", "is %d, on which %d of %d replicas find room; want more, or 0 for as many as it takes", g.Nodes, r, g.all())
			return
		}
		for _, n := range where {
			nodes[n].Free -= p.Tensor
			if !slices.Contains(g.nodes[r], int32(n)) {
				g.nodes[r] = append(g.nodes[r], int32(n))
			}
		}
	}
	g.nodeCount = int32(len(nodes))
}

// buildScaler adds the scaler of a group, if it has one.
func (g *Group) buildScaler(e *Experiment, group int32) {
	if g.scaler == nil {
		return
	}
	e.Config.Scalers = append(e.Config.Scalers, cluster.Scaler{
		Group: group, Policy: g.scaler.policy(), Every: time.Duration(g.scaling.Every), Least: g.scaling.Least, Most: g.scaling.Most,
	})
}
