package scenarios

import (
	"fmt"
	"slices"
	"time"

	"orrery/cluster"
	"orrery/internal/names"
	"orrery/sim"
)

// Faults says what goes wrong. Mean times are those between two faults of one replica (or
// node) while it can fail, exponential; 0 is never. Lengths are means, exponential too; 0
// is for good. Events are besides, at times that are known.
type Faults struct {
	Retry      string `toml:"retry"`       // one of Retries, default resume
	MaxRetries int    `toml:"max_retries"` // of one request, default 0: no limit

	CrashEvery    Duration `toml:"crash_every"`
	CrashFor      Duration `toml:"crash_for"`
	NodeEvery     Duration `toml:"node_every"` // of one node, with all replicas on it
	NodeFor       Duration `toml:"node_for"`
	SlowEvery     Duration `toml:"slow_every"`
	SlowFor       Duration `toml:"slow_for"`
	SlowFactor    float64  `toml:"slow_factor"`   // everything takes so many times as long, default 2
	ReclaimEvery  Duration `toml:"reclaim_every"` // of spot replicas
	ReclaimNotice Duration `toml:"reclaim_notice"`
	ReclaimFor    Duration `toml:"reclaim_for"`

	Events []FaultEvent `toml:"event"`
}

// FaultEvent is a fault at a known time.
type FaultEvent struct {
	At      Duration `toml:"at"`
	Kind    string   `toml:"kind"`    // one of FaultKinds
	Group   string   `toml:"group"`   // of the replica or the node; empty where there are no groups
	Replica int      `toml:"replica"` // number in its group, from 0
	Node    int      `toml:"node"`    // of kinds node and link: number among those of the group, from 0
	For     Duration `toml:"for"`     // 0 (default): for good
	Factor  float64  `toml:"factor"`  // of kind slow, default slow_factor
	Notice  Duration `toml:"notice"`  // of kind reclaim, default reclaim_notice
}

// retries is the table of what becomes of requests that have lost their replica.
var retries = []struct {
	Name
	retry cluster.Retry
}{
	{Name{"resume", "another replica goes on with the answer, from the prompt and what has been answered"}, cluster.Resume},
	{Name{"unstarted", "another replica serves it, unless it had answered something: then it fails"}, cluster.Unstarted},
	{Name{"fail", "it fails"}, cluster.Fail},
}

// Retries returns what may become of requests that have lost their replica, by name.
func Retries() []Name {
	out := make([]Name, len(retries))
	for i := range retries {
		out[i] = retries[i].Name
	}
	return out
}

// FaultKinds returns the kinds of fault by name.
func FaultKinds() []Name {
	return []Name{
		{cluster.Crash.String(), "a replica fails with all it holds"},
		{cluster.NodeLoss.String(), "a node fails with all replicas on it"},
		{cluster.Slow.String(), "a replica is slow: a hot GPU, a noisy neighbour"},
		{cluster.Reclaim.String(), "a spot replica gets notice, drains, and is lost"},
		{cluster.LinkLoss.String(), "a node's network carries nothing; for good it is the loss of the node"},
	}
}

// given tells whether anything goes wrong.
func (f *Faults) given() bool {
	return f.CrashEvery+f.NodeEvery+f.SlowEvery+f.ReclaimEvery > 0 || len(f.Events) > 0
}

// faults checks what goes wrong.
func (c *checker) faults(s *Scenario) {
	f := &s.Faults
	at := c.in("faults")
	if !slices.ContainsFunc(Retries(), func(n Name) bool { return n.Name == f.Retry }) {
		at.wrap("retry", names.Unknown("retry", f.Retry, namesOf(Retries())))
	}
	at.between("max_retries", f.MaxRetries, 0, 1<<20)
	at.factor("slow_factor", f.SlowFactor)
	for _, k := range []struct {
		key          string
		every, other Duration
	}{{"crash", f.CrashEvery, f.CrashFor}, {"node", f.NodeEvery, f.NodeFor}, {"slow", f.SlowEvery, f.SlowFor}, {"reclaim", f.ReclaimEvery, f.ReclaimFor}} {
		if k.other > 0 && k.every == 0 {
			at.fail(k.key+"_for", "is %s without %s_every; want that as well", k.other, k.key)
		}
		if k.every > 0 && time.Duration(k.every) < time.Second {
			at.fail(k.key+"_every", "is %s; want at least 1s", k.every)
		}
	}
	if f.given() && !s.text {
		c.d.errorf("faults", "[faults] is about replicas of text, which this scenario does not have; want it removed")
		return
	}
	for i := range f.Events {
		c.faultEvent(s, i)
	}
}

func (c *checker) factor(key string, x float64) {
	if !(x > 0 && x <= 1e6) {
		c.fail(key, "is %s; want how many times as long everything takes, above 0", floatText(x))
	}
}

func (c *checker) faultEvent(s *Scenario, i int) {
	e := &s.Faults.Events[i]
	at := c.in(fmt.Sprintf("faults.event[%d]", i))
	if !slices.ContainsFunc(FaultKinds(), func(n Name) bool { return n.Name == e.Kind }) {
		at.wrap("kind", names.Unknown("fault", e.Kind, namesOf(FaultKinds())))
	}
	if e.Factor == 0 && !at.given("factor") {
		e.Factor = s.Faults.SlowFactor
	}
	at.factor("factor", e.Factor)
	if e.Notice == 0 && !at.given("notice") {
		e.Notice = s.Faults.ReclaimNotice
	}
	replicas := s.Hardware.Replicas
	if len(s.Groups) > 0 {
		g := slices.IndexFunc(s.Groups, func(g Group) bool { return g.Name == e.Group })
		if g < 0 {
			at.wrap("group", names.Unknown("group", e.Group, s.groupNames()))
			return
		}
		replicas = s.Groups[g].all()
	} else if e.Group != "" {
		at.fail("group", "is %q, but there are no groups; want it removed", e.Group)
	}
	at.between("replica", e.Replica, 0, replicas-1)
	at.between("node", e.Node, 0, maxReplicas)
}

// buildFaults gives the experiment of one run its faults.
func (s *Scenario) buildFaults(e *Experiment, seed uint64) {
	f := &s.Faults
	if !f.given() {
		return
	}
	for _, r := range retries {
		if r.Name.Name == f.Retry {
			e.Config.Retry = r.retry
		}
	}
	e.Config.MaxRetries = f.MaxRetries
	var script cluster.Script
	for i := range f.Events {
		script = append(script, s.fault(e, &f.Events[i]))
	}
	slices.SortStableFunc(script, func(a, b cluster.Fault) int { return int(min(max(a.At-b.At, -1), 1)) })
	all, nodes := int32(len(e.Config.Replicas)), int32(0)
	for i := range e.Config.Replicas {
		for _, n := range e.Config.Replicas[i].Nodes {
			nodes = max(nodes, n+1)
		}
	}
	var hazards []cluster.Hazard
	add := func(kind cluster.FaultKind, n int32, every, length Duration) {
		if every > 0 {
			hazards = append(hazards, cluster.Hazard{
				Kind: kind, N: n, Mean: time.Duration(every), For: time.Duration(length), Factor: f.SlowFactor,
				Notice: time.Duration(f.ReclaimNotice), Rand: sim.Stream(seed, "fault "+kind.String()),
			})
		}
	}
	add(cluster.Crash, all, f.CrashEvery, f.CrashFor)
	add(cluster.NodeLoss, nodes, f.NodeEvery, f.NodeFor)
	add(cluster.Slow, all, f.SlowEvery, f.SlowFor)
	add(cluster.Reclaim, all, f.ReclaimEvery, f.ReclaimFor)
	e.Config.Faults = &script
	if len(hazards) > 0 {
		e.Config.Faults = &cluster.Together{A: &script, B: cluster.NewChance(hazards...)}
	}
}

// fault returns an event as package cluster takes it.
func (s *Scenario) fault(e *Experiment, x *FaultEvent) cluster.Fault {
	f := cluster.Fault{At: sim.Time(x.At), For: time.Duration(x.For), Factor: x.Factor, Notice: time.Duration(x.Notice)}
	for k := range cluster.LinkLoss + 1 {
		if k.String() == x.Kind {
			f.Kind = k
		}
	}
	group := int32(0)
	for i := range e.Config.Groups {
		if e.Config.Groups[i].Name == x.Group {
			group = int32(i)
		}
	}
	first, node := -1, int32(-1)
	for i := range e.Config.Replicas {
		if r := &e.Config.Replicas[i]; r.Group == group {
			if first < 0 {
				first, node = i, slices.Min(r.Nodes)
			}
			node = min(node, slices.Min(r.Nodes))
		}
	}
	f.Target = int32(first + x.Replica)
	if f.Kind == cluster.NodeLoss || f.Kind == cluster.LinkLoss {
		f.Target = node + int32(x.Node)
	}
	return f
}
