package calibrate

import (
	"slices"
	"strings"

	"orrery/hwmodel"
)

// setFacts puts into p what was measured of its device apart from operators, and the
// rate of copies to the host that follows from it.
func setFacts(p *hwmodel.Profile, micro []Micro) {
	var f hwmodel.Facts
	var sources []string
	for _, x := range micro {
		into := factOf(&f, &x)
		if x.GPU != p.Device.GPU || into == nil {
			continue
		}
		v := x.Value * 1e9 // GB/s
		if x.Unit == "us" {
			v = x.Value * 1e-6
		}
		if better := v > *into; *into == 0 || better == (x.Unit == "GB/s") {
			*into = Round(v)
		}
		if !slices.Contains(sources, x.Source) {
			sources = append(sources, x.Source)
		}
	}
	slices.Sort(sources)
	f.Source = strings.Join(sources, ", ")
	p.Facts = f
	setCopy(p)
}

// factOf returns the field that a figure belongs to, nil for none.
func factOf(f *hwmodel.Facts, x *Micro) *float64 {
	switch x.Test {
	case "dram_bw":
		return &f.DRAMBytes
	case "l2_bw", "l2_resident_bw":
		return &f.L2Bytes
	case "l2_dram_read_bw":
		if x.Parameter == "working_set_4096kB" { // inside the L2 of every board so measured
			return &f.L2Bytes
		}
	case "kernel_period_floor":
		switch x.Parameter {
		case "stream_launch_min":
			return &f.Stream
		case "graph_launch_min":
			return &f.Graph
		}
	case "h2d_bw":
		return &f.ToDevice
	case "d2h_bw":
		return &f.ToHost
	case "p2p_bw":
		if !strings.HasPrefix(x.Parameter, "bidirectional") && !strings.HasSuffix(x.Parameter, "bidirectional") {
			return &f.Peer
		}
	}
	return nil
}

// setCopy sets the copies between device and host: as measured, or as a share of the
// bus as on A100-40GB.
func setCopy(p *hwmodel.Profile) {
	p.Copy = hwmodel.Send{Link: hwmodel.PCIe, Latency: 1e-5}
	if p.Facts.ToHost > 0 {
		p.Copy.Rate = min(p.Facts.ToHost, p.Device.PCIeBytes)
		p.Copy.Fit = hwmodel.Fit{Derived: true, Source: "rate measured by " + p.Facts.Source + "; latency assumed"}
		return
	}
	const share = 13.04e9 / 32e9
	p.Copy.Rate = Round(share * p.Device.PCIeBytes)
	p.Copy.Fit = hwmodel.Fit{Derived: true, Source: "13.04 GB/s from device to host over PCIe 4.0 x16 measured by clpeak on A100-40GB, as a share of the link"}
}
