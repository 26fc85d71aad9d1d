package cpu

import (
	"fmt"
	"runtime"
	"strconv"

	"orrery/calibrate"
)

// host is what the operating system says about the machine; 0 or the bare architecture
// where it does not.
type host struct {
	name              string // of the processor
	cache             int64  // bytes of its last cache
	memory, available int64  // bytes
}

// usualCache stands in for the size of a last cache that is not known.
const usualCache = 32 << 20

func readHost() host {
	h := host{name: runtime.GOARCH, cache: usualCache}
	h.read()
	return h
}

// fits returns an error if so many bytes are not to be had, as far as is known.
func (h *host) fits(bytes int64) error {
	if h.available > 0 && bytes > h.available {
		return fmt.Errorf("takes %d MiB of memory, %d MiB are free", bytes>>20, h.available>>20)
	}
	return nil
}

// peaks writes down the fastest that points have shown of the machine, as rows of
// microbenchmarks and as the data sheet that a processor in its place does not have.
// Fastest samples count rather than medians, since nothing measured may beat a peak.
func (b *bench) peaks(m *calibrate.Measured, points []*point) {
	cold := int64(4*len(b.weights.data)) > 2*b.host.cache
	var flops, stream, cached float64
	for _, p := range points {
		fastest := p.samples[0]
		for _, s := range p.samples {
			fastest = min(fastest, s)
		}
		flops = max(flops, p.flops/fastest)
		switch {
		case p.dram || p.flops > 0 && cold && p.flops < p.bytes: // a copy, or a matrix times few vectors
			stream = max(stream, p.bytes/fastest)
		case p.flops == 0:
			cached = max(cached, p.bytes/fastest)
		}
	}
	m.Micro = append(m.Micro, micro("fp32_gemm", "fastest shape", flops/1e12, "TFLOP/s"), micro("dram_bw", "fastest stream", stream/1e9, "GB/s"))
	number := func(v float64) string { return strconv.FormatFloat(calibrate.Round(v), 'g', -1, 64) }
	m.Device = []calibrate.Fact{
		{Key: "name", Value: GPU},
		{Key: "gpu", Value: GPU},
		{Key: "arch", Value: runtime.GOARCH},
		{Key: "source", Value: b.host.name + ", rates are the fastest that orrery calibrate cpu measured"},
		{Key: "sms", Value: strconv.Itoa(b.k.Threads())},
		{Key: "fp32_tflops", Value: number(flops / 1e12)},
		{Key: "mem_gbps", Value: number(stream / 1e9)},
		{Key: "l2_mb", Value: number(float64(b.host.cache) / (1 << 20))},
		{Key: "l2_gbps", Value: number(max(cached, stream) / 1e9)},
	}
	if b.host.memory > 0 {
		m.Device = append(m.Device, calibrate.Fact{Key: "mem_gb", Value: number(float64(b.host.memory) / 1e9)})
	}
}
