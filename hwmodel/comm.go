package hwmodel

// Collective holds the fitted constants of one collective operation, or of a send,
// among a number of devices over one kind of link by one library. Libraries switch
// from a protocol that starts quickly to one that moves data quickly.
type Collective struct {
	Collective string `toml:"collective"` // all_reduce, all_gather, reduce_scatter, alltoall, broadcast, reduce, send_recv, ...
	Link       Link   `toml:"link"`
	Engine     string `toml:"engine"` // library that moves the data: nccl, or an engine's own one- and two-shot kernels
	Devices    int    `toml:"devices"`
	PerNode    int    `toml:"per_node,omitzero"` // of them, those of one node, where the link is between nodes

	Host    float64 `toml:"host,omitzero"` // seconds that launching takes at least
	Latency float64 `toml:"latency"`       // seconds, of the quick start
	Quick   float64 `toml:"quick_bytes"`   // bytes of the message per second, of the quick start
	Setup   float64 `toml:"setup"`         // seconds, of the bulk protocol
	Bulk    float64 `toml:"bulk_bytes"`    // bytes of the message per second, of the bulk protocol

	// Residual corrects over the bytes of the message: libraries change their
	// algorithm and the number of their channels where no formula says.
	Residual *Residual `toml:"residual,omitempty"`
	Fit      `toml:"fit"`

	least float64 // seconds a byte that the device's links allow at least
}

// Time returns the seconds to pass on a message of the given bytes, counted as
// nccl-tests does: the whole output of an all-gather, the whole input of a
// reduce-scatter, what one device holds otherwise.
func (c *Collective) Time(bytes float64) float64 {
	t := max(c.Host, min(c.Latency+bytes/c.Quick, c.Setup+bytes/c.Bulk))
	if c.Residual != nil {
		t *= c.Residual.At(max(bytes, 1))
	}
	return max(t, float64(c.least*bytes))
}

// share is how much of a message every device must at least send or take in over its
// own links. A switch that adds up needs each summand and the sum once; elsewhere an
// all-reduce takes as much twice. The time of a reduce is a mean over the devices,
// of which all but one only send.
func (c *Collective) share() float64 {
	n := float64(c.Devices)
	switch {
	case c.Collective == "send_recv" || c.Collective == "broadcast":
		return 1
	case c.Collective == "reduce":
		return 1 / n
	case c.isAllReduce() && c.Link != NVSwitch:
		return 2 * (n - 1) / n
	}
	return (n - 1) / n
}

func (c *Collective) isAllReduce() bool {
	return len(c.Collective) >= 10 && c.Collective[:10] == "all_reduce"
}

// peak returns the bytes per second that the links of d allow a message. Between
// nodes, every device has one network adapter of its own, no quicker than its bus.
func (c *Collective) peak(d *Device) float64 {
	rate := d.PCIeBytes
	if c.Link == NVSwitch || c.Link == NVLinkPair || c.Link == NVLinkMesh || c.Link == InterNode {
		rate = max(rate, d.LinkBytes)
	}
	return rate / c.share()
}

// on returns c bounded by what the links of d allow.
func (c Collective) on(d *Device) Collective {
	c.least = 1 / c.peak(d)
	return c
}

// Send holds the constants of a transfer between device and host.
type Send struct {
	Link    Link    `toml:"link"`
	Latency float64 `toml:"latency"` // seconds
	Rate    float64 `toml:"bytes_per_second"`
	Fit     `toml:"fit"`
}

// Time returns the seconds to hand over the given bytes.
func (s *Send) Time(bytes float64) float64 { return s.Latency + bytes/s.Rate }

// Group names the devices that a collective runs among.
type Group struct {
	Link    Link
	Devices int
	PerNode int // devices of a node, 0 if that does not matter
}

// Collective returns the constants that serve a collective by engine among g best.
// A number of devices that was not measured takes those of the next larger number, or
// the largest there is with its time stretched in the measure of the steps that are
// added; exact is false then, as it is for another engine or another spread over nodes.
func (p *Profile) Collective(collective, engine string, g Group) (c Collective, exact bool, ok bool) {
	best, index := 0, -1
	for i := range p.Collectives {
		q := &p.Collectives[i]
		if q.Collective != collective || q.Link != g.Link {
			continue
		}
		score := 1 << 12
		if q.Engine == engine {
			score += 1 << 20
		}
		if g.PerNode == 0 || q.PerNode == 0 || q.PerNode == g.PerNode {
			score += 1 << 18
		}
		if q.Devices >= g.Devices {
			score += 1<<11 - min(q.Devices-g.Devices, 1000)
		} else {
			score -= min(g.Devices-q.Devices, 1000)
		}
		if score > best {
			best, index = score, i
		}
	}
	if index < 0 {
		return c, false, false
	}
	c = p.Collectives[index]
	exact = c.Engine == engine && c.Devices == g.Devices && (g.PerNode == 0 || c.PerNode == 0 || c.PerNode == g.PerNode)
	if c.Devices < g.Devices {
		// A ring takes steps in the number of its devices less one and moves that
		// share of the message per device.
		steps := float64(g.Devices-1) / float64(c.Devices-1)
		share := steps * float64(c.Devices) / float64(g.Devices)
		c.Latency, c.Setup = c.Latency*steps, c.Setup*steps
		c.Quick, c.Bulk = c.Quick/share, c.Bulk/share
		c.Devices = g.Devices
	}
	return c.on(&p.Device), exact, true
}

// AllReduce returns the all-reduce of p for a group of n devices joined by link:
// algorithm nccl, or custom for the serving engines' own kernels in a CUDA graph.
// These need direct access between all devices, so that a larger group on paired
// links falls back to nccl. measured tells whether this was measured on the device.
func (p *Profile) AllReduce(link Link, algorithm string, n int) (c Collective, measured bool, err error) {
	if n <= 1 {
		return Collective{}, true, nil
	}
	if algorithm == "custom" && (link == PCIe || link == InterNode || link == NVLinkPair && n > 2) {
		algorithm = "nccl"
	}
	collective, engine := "all_reduce", "nccl"
	if algorithm == "custom" {
		collective, engine = "all_reduce_custom_graph", "vllm"
	}
	c, exact, ok := p.Collective(collective, engine, Group{Link: link, Devices: n})
	if !ok {
		if algorithm == "custom" {
			return p.AllReduce(link, "nccl", n)
		}
		return c, false, p.noLink("all-reduce", link)
	}
	return c, exact && !c.Derived, nil
}

// SendOver returns the transfer from device to device of p over link.
func (p *Profile) SendOver(link Link) (Collective, error) {
	c, _, ok := p.Collective("send_recv", "vidur", Group{Link: link, Devices: 2})
	if !ok {
		return c, p.noLink("send", link)
	}
	return c, nil
}
