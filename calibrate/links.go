package calibrate

import (
	"fmt"
	"slices"

	"orrery/hwmodel"
)

// fitLinks fits the collectives and transfers of p, by device, since hardly two
// devices were measured over the same links.
func (r *Recipe) fitLinks(data string, p *hwmodel.Profile) error {
	l := linker{data: data, gpu: r.GPU, p: p}
	// Copies between device and host: the one measurement at hand is of an A100.
	const copyShare = 13.04e9 / 32e9
	p.Copy = hwmodel.Send{Link: hwmodel.PCIe, Latency: 1e-5, Rate: Round(copyShare * p.Device.PCIeBytes), Fit: hwmodel.Fit{
		Derived: true, Source: "13.04 GB/s from device to host over PCIe 4.0 x16 measured by clpeak on A100-40GB, as a share of the link",
	}}
	switch r.Device {
	case "a100-sxm-80gb", "h100-sxm-80gb":
		for _, n := range []int{2, 4, 8} {
			l.reduce(hwmodel.NVSwitch, "nccl", n, "all_reduce", []string{"aic-nccl", "vidur"}, []string{"aic-nccl"})
			l.reduce(hwmodel.NVSwitch, "custom", n, "all_reduce_custom_graph", []string{"aic-vllm", "aic-trtllm"}, []string{"aic-vllm", "aic-trtllm"})
		}
		l.send(hwmodel.NVSwitch, "nvswitch", p.Device.LinkBytes)
		l.send(hwmodel.InterNode, "internode", 50e9)
	case "a100-pcie-80gb":
		l.pairs()
		l.acrossPCIe()
		l.send(hwmodel.NVLinkPair, "nvlink_pair", p.Device.LinkBytes)
		l.gpu = "a40"
		l.send(hwmodel.PCIe, "unverified_no_nvlink_rate", p.Device.PCIeBytes)
		l.lastSendDerived()
		l.gpu = r.GPU
		l.send(hwmodel.InterNode, "internode", 12.5e9)
	case "a40-48gb":
		l.gpu = "a100_pcie_80g"
		l.pairs()
		l.derive()
		l.acrossPCIe()
		l.gpu = "a40"
		// The pair's transfers run at a rate that only PCIe explains.
		l.send(hwmodel.PCIe, "unverified_no_nvlink_rate", p.Device.PCIeBytes)
		l.send(hwmodel.NVLinkPair, "unverified_no_nvlink_rate", p.Device.PCIeBytes)
		l.send(hwmodel.InterNode, "internode", 12.5e9)
	default:
		return fmt.Errorf("calibrate: %s: nobody said how it is linked", r.Device)
	}
	return l.err
}

// borrowLinks takes over the links of the A100 boards, within what those of p's device
// allow.
func borrowLinks(p *hwmodel.Profile, donors []*hwmodel.Profile) {
	peak := max(p.Device.LinkBytes, p.Device.PCIeBytes)
	for _, q := range donors {
		if q.Device.Name != "a100-sxm-80gb" && q.Device.Name != "a100-pcie-80gb" {
			continue
		}
		for _, c := range q.Collectives {
			limit := peak * float64(c.Devices) / float64(2*(c.Devices-1))
			c.Quick, c.Bulk = min(c.Quick, limit), min(c.Bulk, limit)
			c.Fit = derived(q.Device.Name, c.Fit)
			p.Collectives = append(p.Collectives, c)
		}
		for _, s := range q.Sends {
			if slices.ContainsFunc(p.Sends, func(have hwmodel.Send) bool { return have.Link == s.Link }) {
				continue
			}
			s.Rate = min(s.Rate, peak)
			s.Fit = derived(q.Device.Name, s.Fit)
			p.Sends = append(p.Sends, s)
		}
		p.Copy = q.Copy
	}
	p.Copy.Rate = Round(p.Copy.Rate * p.Device.PCIeBytes / 32e9)
}

// linker collects the links of a profile and keeps the first error.
type linker struct {
	data, gpu string
	p         *hwmodel.Profile
	err       error
}

func (l *linker) reduce(link hwmodel.Link, algorithm string, n int, collective string, sources, clean []string) {
	if l.err != nil {
		return
	}
	name := map[hwmodel.Link]string{hwmodel.NVSwitch: "nvswitch", hwmodel.NVLinkPair: "nvlink_pair"}[link]
	rows, err := CommRows(l.data, l.gpu, collective, name, n, sources)
	if err != nil {
		l.err = err
		return
	}
	c, err := FitCollective(&l.p.Device, link, algorithm, n, rows, clean)
	if err != nil {
		l.err = err
		return
	}
	c.Source = fmt.Sprintf("%s on %s measured by %v", collective, l.gpu, sources)
	l.p.Collectives = append(l.p.Collectives, *c)
}

// pairs fits the all-reduce between bridged boards. Up to some MB the measured
// times are flat, the host's launches; the device's own time there is that of the
// same protocol over NVSwitch, which was measured without launches.
func (l *linker) pairs() {
	if l.err != nil {
		return
	}
	rows, err := CommRows(l.data, l.gpu, "all_reduce", "nvlink_pair", 2, []string{"vidur"})
	if err != nil {
		l.err = err
		return
	}
	large := rows[:0:0]
	for _, r := range rows {
		if r.Args[0] >= 8<<20 {
			large = append(large, r)
		}
	}
	quick, err := CommRows(l.data, "a100_sxm_80g", "all_reduce", "nvswitch", 2, []string{"aic-nccl"})
	if err != nil {
		l.err = err
		return
	}
	for _, r := range quick {
		if r.Args[0] <= 1<<18 {
			large = append(large, r)
		}
	}
	c, err := FitCollective(&l.p.Device, hwmodel.NVLinkPair, "nccl", 2, balance(large), []string{"vidur", "aic-nccl"})
	if err != nil {
		l.err = err
		return
	}
	c.Source = "all_reduce between two bridged A100 measured by vidur from 8 MiB, over NVSwitch measured by aic-nccl up to 256 KiB"
	l.p.Collectives = append(l.p.Collectives, *c)
	l.reduce(hwmodel.NVLinkPair, "nccl", 4, "all_reduce", []string{"vidur"}, []string{"vidur"})
}

func (l *linker) send(link hwmodel.Link, name string, limit float64) {
	if l.err != nil {
		return
	}
	rows, err := CommRows(l.data, l.gpu, "send_recv", name, 2, []string{"vidur"})
	if err != nil {
		l.err = err
		return
	}
	s, err := FitSend(link, limit, rows)
	if err != nil {
		l.err = err
		return
	}
	s.Source = fmt.Sprintf("send and receive over %s on %s measured by vidur on the sender", name, l.gpu)
	l.p.Sends = append(l.p.Sends, *s)
}

// acrossPCIe adds the all-reduce of devices without bridges: among four it is that
// of two pairs, which PCIe holds up; between two a ring takes a third of its steps and
// moves two thirds of the bytes a device.
func (l *linker) acrossPCIe() {
	if l.err != nil {
		return
	}
	four := l.p.Collectives[len(l.p.Collectives)-1]
	four.Link = hwmodel.PCIe
	four.Fit = hwmodel.Fit{Derived: true, Source: "as among two bridged pairs, which cross PCIe (" + four.Source + ")"}
	two := four
	two.Devices = 2
	two.Latency, two.Setup = Round(four.Latency/3), Round(four.Setup/3)
	two.Quick, two.Bulk = Round(1.5*four.Quick), Round(1.5*four.Bulk)
	l.p.Collectives = append(l.p.Collectives, two, four)
}

// lastSendDerived marks the last transfer as taken over from another device.
func (l *linker) lastSendDerived() {
	if l.err != nil {
		return
	}
	s := &l.p.Sends[len(l.p.Sends)-1]
	s.Fit = hwmodel.Fit{Derived: true, Source: "as on another board with the same PCIe (" + s.Source + ")"}
}

// derive marks the collectives so far as taken over from A100 boards joined in
// pairs: beyond a pair they run over PCIe, which is the same. Within a pair the
// bandwidth cannot exceed that of the device's own bridge, which the fit was
// bounded by.
func (l *linker) derive() {
	for i := range l.p.Collectives {
		c := &l.p.Collectives[i]
		c.Fit = hwmodel.Fit{Derived: true, Source: "as on A100 boards joined in pairs, within the bandwidth of this board's bridge (" + c.Source + ")"}
	}
}
