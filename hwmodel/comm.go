package hwmodel

// Collective holds the fitted constants of an all-reduce over one kind of link by
// one algorithm, for one number of devices. Libraries switch from a protocol that
// starts quickly to one that moves data quickly; the message takes the quicker.
type Collective struct {
	Link      Link    `toml:"link"`
	Algorithm string  `toml:"algorithm"` // nccl, or custom for the engines' own one- and two-shot kernels
	Devices   int     `toml:"devices"`
	Latency   float64 `toml:"latency"`     // seconds, of the quick start
	Quick     float64 `toml:"quick_bytes"` // bytes per second, of the quick start
	Setup     float64 `toml:"setup"`       // seconds, of the bulk protocol
	Bulk      float64 `toml:"bulk_bytes"`  // bytes of the message per second, of the bulk protocol
	Fit       `toml:"fit"`
}

// Time returns the seconds to all-reduce a message of the given bytes.
func (c *Collective) Time(bytes float64) float64 {
	return min(c.Latency+bytes/c.Quick, c.Setup+bytes/c.Bulk)
}

// Send holds the fitted constants of a transfer between two devices.
type Send struct {
	Link    Link    `toml:"link"`
	Latency float64 `toml:"latency"` // seconds
	Rate    float64 `toml:"bytes_per_second"`
	Fit     `toml:"fit"`
}

// Time returns the seconds to hand over the given bytes.
func (s *Send) Time(bytes float64) float64 { return s.Latency + bytes/s.Rate }

// AllReduce returns the collective of p for a group of n devices joined by link.
// The engine's own kernels need direct access between all devices, so that a
// larger group on paired links falls back to nccl. A group size without
// measurement uses the next larger one, or the largest there is with its time
// stretched in the measure of the ring's extra steps; measured is false then, as
// it is where the constants were derived from another device.
func (p *Profile) AllReduce(link Link, algorithm string, n int) (c Collective, measured bool, err error) {
	if n <= 1 {
		return Collective{}, true, nil
	}
	if algorithm == "custom" && (link == PCIe || link == InterNode || link == NVLinkPair && n > 2) {
		algorithm = "nccl"
	}
	best := -1
	for i := range p.Collectives {
		q := &p.Collectives[i]
		if q.Link != link || q.Algorithm != algorithm {
			continue
		}
		switch {
		case best < 0:
			best = i
		case q.Devices >= n && (p.Collectives[best].Devices < n || q.Devices < p.Collectives[best].Devices):
			best = i
		case q.Devices < n && p.Collectives[best].Devices < n && q.Devices > p.Collectives[best].Devices:
			best = i
		}
	}
	if best < 0 {
		if algorithm == "custom" {
			return p.AllReduce(link, "nccl", n)
		}
		return c, false, p.noLink("all-reduce", link)
	}
	c = p.Collectives[best]
	if c.Devices < n {
		// A ring takes 2(n-1) steps and moves 2(n-1)/n of the message per device.
		steps := float64(n-1) / float64(c.Devices-1)
		share := steps * float64(c.Devices) / float64(n)
		c.Latency, c.Setup = c.Latency*steps, c.Setup*steps
		c.Quick, c.Bulk = c.Quick/share, c.Bulk/share
	}
	return c, c.Devices == n && !c.Derived, nil
}

// SendOver returns the transfer of p over link.
func (p *Profile) SendOver(link Link) (Send, error) {
	for i := range p.Sends {
		if p.Sends[i].Link == link {
			return p.Sends[i], nil
		}
	}
	return Send{}, p.noLink("send", link)
}
