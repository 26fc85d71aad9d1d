package calibrate

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"orrery/hwmodel"
)

// comm is the operator of transfers among devices. Its sizes are the number of
// devices, those of them on one node, and the bytes of the message as nccl-tests
// counts them.
var comm = &Operator{
	Name: "comm", Words: []string{"coll", "link"}, Sizes: []string{"n_gpus", "gpus_per_node", "bytes"},
	Work: messageWork,
	Predict: func(p *hwmodel.Profile, r *Row) (hwmodel.Estimate, error) {
		c, exact, ok := p.Collective(r.Words[0], EngineOf(r.Source), groupOf(r))
		if !ok {
			return hwmodel.Estimate{}, fmt.Errorf("%s has no constants for %s over %s", p.Device.Name, r.Words[0], r.Words[1])
		}
		return hwmodel.Estimate{Seconds: c.Time(r.Args[2]), Band: c.Band, Derived: c.Derived || !exact}, nil
	},
	Clear:  func(p *hwmodel.Profile) { p.Collectives = nil },
	Fit:    fitCollectives,
	Derive: deriveCollectives,
	Fits: func(p *hwmodel.Profile) []NamedFit {
		var out []NamedFit
		for i := range p.Collectives {
			c := &p.Collectives[i]
			out = append(out, NamedFit{fmt.Sprintf("%s %s %s %d", c.Engine, c.Collective, c.Link, c.Devices), &c.Fit})
		}
		return out
	},
}

func messageWork(r *Row) (flops, bytes float64) { return 0, r.Args[2] }

// linkOf returns the link that measurement files name. The one whose rate no NVLink
// explains is taken for PCIe.
func linkOf(name string) hwmodel.Link {
	switch name {
	case "pcie3_x16_no_p2p", "unverified_no_nvlink_rate":
		return hwmodel.PCIe
	}
	return hwmodel.Link(strings.ReplaceAll(name, "_", "-"))
}

// groupOf returns the devices that a row's transfer ran among. Within a node, how many
// it has says nothing.
func groupOf(r *Row) hwmodel.Group {
	g := hwmodel.Group{Link: linkOf(r.Words[1]), Devices: int(r.Args[0])}
	if g.Link == hwmodel.InterNode {
		g.PerNode = int(r.Args[1])
	}
	return g
}

// commKey names the rows that one set of constants is fitted to.
type commKey struct {
	collective, engine string
	group              hwmodel.Group
}

func (k commKey) compare(o commKey) int {
	return cmp.Or(strings.Compare(k.engine, o.engine), strings.Compare(string(k.group.Link), string(o.group.Link)),
		strings.Compare(k.collective, o.collective), cmp.Compare(k.group.Devices, o.group.Devices), cmp.Compare(k.group.PerNode, o.group.PerNode))
}

func keyOf(c *hwmodel.Collective) commKey {
	return commKey{c.Collective, c.Engine, hwmodel.Group{Link: c.Link, Devices: c.Devices, PerNode: c.PerNode}}
}

// fitCollectives fits every collective among every number of devices by itself.
func fitCollectives(p *hwmodel.Profile, rows []Row) error {
	sets := map[commKey][]Row{}
	for _, r := range rows {
		k := commKey{r.Words[0], EngineOf(r.Source), groupOf(&r)}
		sets[k] = append(sets[k], r)
	}
	keys := make([]commKey, 0, len(sets))
	for k := range sets {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, commKey.compare)
	for _, k := range keys {
		if len(sets[k]) < leastRows || slices.ContainsFunc(p.Collectives, func(c hwmodel.Collective) bool { return keyOf(&c) == k && !c.Derived }) {
			continue
		}
		c, err := measuredCollective(&p.Device, k, sets[k])
		if err != nil {
			return err
		}
		replaceCollective(p, *c)
	}
	return withoutLaunches(p, sets)
}

func replaceCollective(p *hwmodel.Profile, c hwmodel.Collective) {
	p.Collectives = slices.DeleteFunc(slices.Clone(p.Collectives), func(q hwmodel.Collective) bool { return keyOf(&q) == keyOf(&c) })
	p.Collectives = append(p.Collectives, c)
}

// measuredCollective fits one collective and scores it by cross-validation.
func measuredCollective(d *hwmodel.Device, k commKey, rows []Row) (*hwmodel.Collective, error) {
	c := fitCollective(d, k, rows)
	on := hwmodel.Profile{Device: *d}
	logs, err := heldOutLogs(rows, 4, func(train []Row) (func(r *Row) float64, error) {
		on.Collectives = []hwmodel.Collective{fitCollective(d, k, train)}
		q, _, _ := on.Collective(k.collective, k.engine, k.group)
		return func(r *Row) float64 { return q.Time(r.Args[2]) }, nil
	})
	if err != nil {
		return nil, err
	}
	c.Fit = errorsOf(logs)
	c.Fit.Rows = len(rows)
	c.Baseline = Round(mean(heldOutBaseline(&Operator{Work: messageWork}, d, rows, 4)))
	c.Spread = spreadBy(rows, logs, func(r *Row) float64 { return r.Args[2] })
	c.Source = "measured by " + rows[0].Source
	return &c, nil
}

// fitCollective finds the two protocols that explain the times best and a correction
// over the size of the message, which is finer the more rows there are.
func fitCollective(d *hwmodel.Device, k commKey, rows []Row) hwmodel.Collective {
	base := hwmodel.Collective{Collective: k.collective, Engine: k.engine, Link: k.group.Link, Devices: k.group.Devices, PerNode: k.group.PerNode}
	shortest, rate := math.Inf(1), 0.0
	for i := range rows {
		shortest = min(shortest, rows[i].Seconds)
		rate = max(rate, rows[i].Args[2]/rows[i].Seconds)
	}
	peak := linkPeak(d, base)
	rate = min(rate, 0.999*peak)
	params := []Parameter{
		{Name: "latency", Start: shortest, Low: 1e-7, High: 1e-2, Logarithms: true},
		{Name: "quick", Start: rate / 5, Low: 1e6, High: peak, Logarithms: true},
		{Name: "setup", Start: 3 * shortest, Low: 1e-7, High: 1e-2, Logarithms: true},
		{Name: "bulk", Start: rate, Low: 1e6, High: peak, Logarithms: true},
		{Name: "host", Start: shortest, Low: 1e-8, High: 1e-3, Logarithms: true},
	}
	build := func(v []float64) hwmodel.Collective {
		c := base
		c.Latency, c.Quick, c.Setup, c.Bulk, c.Host = v[0], v[1], v[2], v[3], v[4]
		return c
	}
	few := thin(rows, 200)
	c := build(Search(params, func(v []float64) float64 {
		c := build(v)
		sum := 0.05 * Strayed(params, v)
		for i := range few {
			sum += math.Abs(math.Log(c.Time(few[i].Args[2]) / few[i].Seconds))
		}
		return sum / float64(len(few))
	}))
	if c.Latency > c.Setup { // the search may find the protocols in either order
		c.Latency, c.Quick, c.Setup, c.Bulk = c.Setup, c.Bulk, c.Latency, c.Quick
	}
	c.Residual = messageResidual(&c, rows)
	return c
}

// linkPeak returns the bytes of a message per second that the links of d allow.
func linkPeak(d *hwmodel.Device, c hwmodel.Collective) float64 {
	c.Quick, c.Bulk = math.Inf(1), math.Inf(1)
	p := hwmodel.Profile{Device: *d, Collectives: []hwmodel.Collective{c}}
	q, _, _ := p.Collective(c.Collective, c.Engine, hwmodel.Group{Link: c.Link, Devices: c.Devices, PerNode: c.PerNode})
	const large = 1e12
	return large / q.Time(large)
}

// messageResidual fits the correction over the size of the message: a node for every
// doubling, or for every fifth of an octave where rows lie that close.
func messageResidual(c *hwmodel.Collective, rows []Row) *hwmodel.Residual {
	samples := make([]Sample, len(rows))
	low, high := math.Inf(1), 0.0
	for i := range rows {
		b := rows[i].Args[2]
		low, high = min(low, b), max(high, b)
		samples[i] = Sample{At: []float64{b}, Log: math.Log(rows[i].Seconds / c.Time(b))}
	}
	octaves := math.Log2(high / low)
	nodes := int(math.Round(octaves)) + 1
	if len(rows) > 100 {
		nodes = min(3*nodes, 60)
	}
	if nodes < 2 {
		return nil
	}
	return FitResidual([]hwmodel.Axis{{Name: "bytes", Nodes: logNodes(samples, 0, nodes)}}, samples, 0.3)
}

// withoutLaunches adds, beside what Vidur measured between boards bridged in pairs, the
// same without the host's launches, as the engine nccl: an engine's own launches are
// priced by itself. Up to some MB Vidur's times are flat, the host's launches; the
// device's own time there is that of the same protocol over NVSwitch, which another
// source measured without launches on a donor. Boards without bridges are the two
// pairs of four, which PCIe holds up; between two of them a ring takes a third of the
// steps and moves two thirds of the bytes a device.
func withoutLaunches(p *hwmodel.Profile, sets map[commKey][]Row) error {
	pair := commKey{"all_reduce", "vidur", hwmodel.Group{Link: hwmodel.NVLinkPair, Devices: 2}}
	quick, exact, ok := p.Collective("all_reduce", "nccl", pair.group)
	if len(sets[pair]) == 0 || !ok || !exact || !quick.Derived {
		return nil
	}
	const bulk, small = 8 << 20, 1 << 18 // bytes
	var rows []Row
	for _, r := range sets[pair] {
		if r.Args[2] >= bulk {
			rows = append(rows, r)
		}
	}
	each := max(len(rows)/16, 1) // both ends weigh about the same
	for b := 512.0; b <= small; b *= 2 {
		for range each {
			r := Row{Shape: fmt.Sprint("small ", b), Source: "vidur", Seconds: quick.Time(b)}
			r.Args[2] = b
			rows = append(rows, r)
		}
	}
	k := commKey{"all_reduce", "nccl", pair.group}
	c, err := measuredCollective(&p.Device, k, rows)
	if err != nil {
		return err
	}
	c.Source = "between two bridged boards measured by vidur from 8 MiB, over NVSwitch up to 256 KiB (" + quick.Source + ")"
	replaceCollective(p, *c)
	four, exact, ok := p.Collective("all_reduce", "vidur", hwmodel.Group{Link: hwmodel.NVLinkPair, Devices: 4})
	if !ok || !exact {
		return nil
	}
	four.Engine = "nccl"
	replaceCollective(p, four)
	four.Link = hwmodel.PCIe
	four.Fit = hwmodel.Fit{Derived: true, Band: derivedBand, Source: "as among two bridged pairs, which cross PCIe (" + four.Source + ")"}
	two := four
	two.Devices = 2
	two.Host, two.Latency, two.Setup = Round(four.Host/3), Round(four.Latency/3), Round(four.Setup/3)
	two.Quick, two.Bulk = Round(1.5*four.Quick), Round(1.5*four.Bulk)
	for _, c := range []hwmodel.Collective{two, four} {
		c.Quick, c.Bulk = min(c.Quick, linkPeak(&p.Device, c)), min(c.Bulk, linkPeak(&p.Device, c))
		replaceCollective(p, c)
	}
	return nil
}

// serving tells whether a serving engine's iteration needs the collective: all that is
// derived for devices of another architecture.
func serving(c *hwmodel.Collective) bool {
	switch c.Collective {
	case "all_reduce":
		return c.Engine == "nccl" || c.Link == hwmodel.InterNode || c.Link == hwmodel.NVLinkMesh
	case "all_reduce_custom_graph":
		return c.Engine == "vllm"
	}
	return c.Collective == "send_recv"
}

// deriveCollectives takes over the donor's measured collectives that p lacks, rates
// scaled by those of the links.
func deriveCollectives(p, donor *hwmodel.Profile) error {
	for _, c := range donor.Collectives {
		sibling := donor.Device.Arch == p.Device.Arch
		if sibling && p.Device.Group == hwmodel.NVLinkPair && c.Link == hwmodel.NVSwitch && c.Devices == 2 && c.Collective == "all_reduce" {
			c.Link = hwmodel.NVLinkPair // two boards on a bridge run the protocol of two behind a switch
		}
		if c.Link != p.Device.Group && c.Link != hwmodel.PCIe && c.Link != hwmodel.InterNode {
			continue
		}
		bridged := c.Link == hwmodel.PCIe && donor.Device.Group == hwmodel.NVLinkPair // see withoutLaunches
		if c.Derived && !bridged || slices.ContainsFunc(p.Collectives, func(q hwmodel.Collective) bool { return keyOf(&q) == keyOf(&c) }) {
			continue
		}
		if !serving(&c) && !sibling {
			continue
		}
		from, to := donor.Device.PCIeBytes, p.Device.PCIeBytes
		switch c.Link {
		case hwmodel.PCIe:
		case hwmodel.InterNode: // the network is not the board's
			from, to = 1, 1
		default:
			from, to = donor.Device.LinkBytes, p.Device.LinkBytes
		}
		c.Quick, c.Bulk = Round(c.Quick*to/from), Round(c.Bulk*to/from)
		peak := linkPeak(&p.Device, c)
		c.Quick, c.Bulk = min(c.Quick, peak), min(c.Bulk, peak)
		if !sibling {
			c.Residual = nil // where a library switches is a matter of the machine
		}
		c.Fit = derivedFit(donor, c.Fit)
		p.Collectives = append(p.Collectives, c)
	}
	return nil
}

// CommRows reads the transfers of one GPU by collective, link, number of devices
// and sources.
func CommRows(data, gpu, collective, link string, devices int, sources []string) ([]Row, error) {
	var rows []Row
	err := ReadTable(filepath.Join(data, "ops", "comm.csv"), []string{"gpu", "coll", "n_gpus", "bytes", "link", "time_us", "src"}, func(t *Table) error {
		if t.Text("gpu") != gpu || t.Text("coll") != collective || t.Text("link") != link || int(t.Number("n_gpus")) != devices || !slices.Contains(sources, t.Text("src")) {
			return nil
		}
		rows = append(rows, Row{
			Shape: fmt.Sprintf("%s %d %v", collective, devices, t.Number("bytes")), Source: t.Text("src"),
			Seconds: t.Number("time_us") * 1e-6, Args: [13]float64{t.Number("bytes")},
		})
		return nil
	})
	return balance(rows), err
}
