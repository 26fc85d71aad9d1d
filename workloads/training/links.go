package training

import (
	"math"

	"orrery/hwmodel"
)

// Links are the ways between the devices of a system as its collectives see them. Rates are
// bytes a second that a ring moves from one device to the next (the bus bandwidth of
// nccl-tests); where they are 0, the constants of the device's own profile hold.
type Links struct {
	Pair    float64 // between two devices of one node, at most
	Path    float64 // of all transfers within a node together: through memory or sockets of its host
	Network float64 // out of a node by one adapter or stream
	Ways    int     // adapters of a node that work side by side, 0 counts as 1
	Fitted  bool    // rates were fitted to measured exchanges; else they are stated ones
	Source  string
}

// hop is the time from one step of a ring to the next, beside moving bytes: tens of
// microseconds through a host, less between adapters that reach device memory.
const hop = 15e-6

// lineShare is the share of the line rate that collectives reach over network adapters with
// direct access to the device's memory, a judgement.
const lineShare = 0.8

// wires are those of the systems that have their own. The replicas of Sia ran in containers,
// between which NCCL has neither peer access nor shared memory, so that rates within a
// node are those of sockets and adapters.
var wires = map[string]Links{
	"sia-rtx":       {Pair: 1.7e9, Path: 10e9, Network: 1.23e9, Fitted: true, Source: "fitted to steps of BERT; the network is Ethernet of 50 Gb/s"},
	"sia-quad":      {Pair: 1.71e9, Path: 10e9, Network: 1.23e9, Fitted: true, Source: "fitted to steps of BERT on its one node; the network as sia-rtx"},
	"sia-dgx":       {Network: lineShare * 25e9, Ways: 8, Source: "8 adapters of 200 Gb/s a node"},
	"sia-aws":       {Pair: 5.2e9, Path: 12.8e9, Network: 0.625e9, Fitted: true, Source: "fitted to steps of BERT; between nodes that comes to the 5 Gb/s that one stream may have there"},
	"sia-azure":     {Pair: 2.11e9, Path: 7.15e9, Network: 6.13e9, Fitted: true, Source: "fitted to steps of BERT"},
	"gavel":         {Pair: 2.65e9, Path: 16e9, Network: 1e9, Fitted: true, Source: "fitted to steps of ResNet-18 on P100"},
	"gavel-v100":    {Network: 1e9, Source: "the network as gavel"},
	"mosaicml-a100": {Network: lineShare * 25e9, Ways: 8, Source: "8 adapters of 200 Gb/s a node"},
	"mosaicml-h100": {Network: lineShare * 50e9, Ways: 8, Source: "8 adapters of 400 Gb/s a node"},
}

// Wires returns the links of the system: its own, else those known by its name, else none.
func (s *System) Wires() Links {
	if s.Links != nil {
		return *s.Links
	}
	return wires[s.Name]
}

// collectives prices exchanges among devices, so many of them in a node.
type collectives struct {
	p              *hwmodel.Profile
	links          Links
	count, perNode int
	tree           bool
}

func newCollectives(p *hwmodel.Profile, links Links, count, perNode int) *collectives {
	c := &collectives{p: p, links: links, count: count, perNode: min(perNode, count)}
	if c.links.Network == 0 {
		// What measured collectives between nodes reach, where nothing is known of the network.
		if r, _, ok := p.Collective("all_reduce", "nccl", hwmodel.Group{Link: hwmodel.InterNode, Devices: 16, PerNode: 8}); ok {
			const probe = 1 << 28
			c.links.Network = 2 * 15 / 16.0 * probe / r.Time(probe)
		}
	}
	return c
}

// gather returns the seconds of an all-gather, or of a reduce-scatter, of so many bytes in
// all: every device passes on all but one share of the message. A ring goes through all
// devices of a node before it leaves it, so that each of the node's adapters
// carries its part of the message once.
func (c *collectives) gather(bytes float64) (float64, error) {
	n := float64(c.count)
	if c.count < 2 || bytes == 0 {
		return 0, nil
	}
	within, err := c.within(bytes)
	if err != nil || c.perNode == c.count {
		return within, err
	}
	across := (n - 1) / n * bytes / (c.links.Network * float64(max(c.links.Ways, 1)))
	return max(across, within) + hop*(n-float64(c.perNode)), nil
}

// within returns the seconds of the steps of a gather inside a node.
func (c *collectives) within(bytes float64) (float64, error) {
	n := c.perNode
	if n < 2 {
		return 0, nil
	}
	if c.links.Pair > 0 {
		rate := min(c.links.Pair, c.links.Path/float64(n))
		return float64(c.count-1)/float64(c.count)*bytes/rate + hop*float64(n-1), nil
	}
	g := hwmodel.Group{Link: c.p.Device.Group, Devices: n}
	if r, _, ok := c.p.Collective("all_gather", "nccl", g); ok {
		return r.Time(bytes), nil
	}
	r, _, err := c.p.AllReduce(g.Link, "nccl", n)
	return r.Time(bytes) / 2, err
}

// allReduce returns the seconds to sum so many bytes over all devices and leave the sum with
// each. A ring is a reduce-scatter and an all-gather. A tree passes the whole message up
// and down in pieces, with two steps for each of its levels rather than for each device
// (Sanders and others, "Two-tree algorithms", 2009).
func (c *collectives) allReduce(bytes float64) (float64, error) {
	if c.count < 2 || bytes == 0 {
		return 0, nil
	}
	if c.perNode == c.count && c.links.Pair == 0 {
		r, _, err := c.p.AllReduce(c.p.Device.Group, "nccl", c.count)
		return r.Time(bytes), err
	}
	ring, err := c.gather(bytes)
	if err != nil {
		return 0, err
	}
	ring *= 2
	if !c.tree {
		return ring, nil
	}
	n := float64(c.count)
	moved := (ring - 2*hop*(n-1)) * n / (n - 1)
	return max(0, moved) + 2*hop*math.Ceil(math.Log2(n)), nil
}

// hybrid returns the exchanges of weights and of gradients where each node holds a copy:
// weights are gathered within the node; gradients are scattered there, and each device sums
// its share with its fellows of other nodes, all at once over the node's adapters.
func (c *collectives) hybrid() (gather, scatter func(bytes float64) (float64, error)) {
	node := *c
	node.count = c.perNode
	across := *c
	across.count, across.perNode = (c.count+c.perNode-1)/c.perNode, 1
	across.links.Network *= float64(max(c.links.Ways, 1)) / float64(c.perNode)
	across.links.Ways = 1
	return node.gather, func(bytes float64) (float64, error) {
		within, err := node.gather(bytes)
		if err != nil {
			return 0, err
		}
		between, err := across.allReduce(bytes / float64(c.perNode))
		return within + between, err
	}
}
