package scenarios

import (
	"slices"
	"time"

	"orrery/cluster"
)

// Network is what the KV cache travels over between groups that compute prompts and
// groups that decode. Flows share it max-min fairly.
type Network struct {
	// Gbps is what the network interfaces of a node carry together, in each direction, Gbit/s.
	// 0 (default): the cache is there at once.
	Gbps       float64  `toml:"gbps"`
	InsideGbps float64  `toml:"inside_gbps"` // between replicas of one node, default 2400, NVLink of an A100
	Latency    Duration `toml:"latency"`     // from node to node, default 10us
	// Overlap is the share of a prompt's cache that is sent while the prompt is still being
	// computed, layer by layer; default 0: all of it after the prompt.
	Overlap float64 `toml:"overlap"`
}

// network checks what the KV cache travels over.
func (c *checker) network(s *Scenario) {
	n := &s.Network
	at := c.in("network")
	at.number("gbps", n.Gbps, "Gbit/s of a node")
	if !(n.InsideGbps > 0 && n.InsideGbps < 1e12) {
		at.fail("inside_gbps", "is %s; want Gbit/s, above 0", floatText(n.InsideGbps))
	}
	if !(n.Overlap >= 0 && n.Overlap <= 1) {
		at.fail("overlap", "is %s; want a share of the KV cache, 0 to 1", floatText(n.Overlap))
	}
	if n.Gbps > 0 && !slices.ContainsFunc(s.Groups, func(g Group) bool { return g.Role == cluster.Prefill.String() }) {
		at.fail("gbps", "has no use: no KV cache travels without groups of the roles prefill and decode; want [network] removed")
	}
	if s.Run.FirstToken == "decode" && slices.ContainsFunc(s.Groups, func(g Group) bool { return g.Role != "both" }) {
		c.in("run").fail("first_token", `is "decode", but with groups that only decode the first token comes with the prompt; want "prefill"`)
	}
	for i := range s.Groups {
		if g := &s.Groups[i]; g.Role == "prefill" && len(c.d.errs) == 0 && g.scenario.blockBytes() == 0 && n.Gbps > 0 {
			at.fail("gbps", "needs [model]: without it the size of the KV cache is not known; want model.name")
		}
	}
}

// buildNetwork gives the experiment of one run its network.
func (s *Scenario) buildNetwork(e *Experiment) {
	n := &s.Network
	e.Config.Overlap = n.Overlap
	if n.Gbps == 0 {
		return
	}
	const bytes = 1e9 / 8 // of a Gbit
	count := int32(0)
	for i := range e.Config.Replicas {
		count = max(count, slices.Max(e.Config.Replicas[i].Nodes)+1)
	}
	for range count {
		e.Config.Nodes = append(e.Config.Nodes, cluster.Node{
			Out: n.Gbps * bytes, In: n.Gbps * bytes, Inside: n.InsideGbps * bytes, Latency: time.Duration(n.Latency) / 2,
		})
	}
}
