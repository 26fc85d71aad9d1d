package report

import (
	"orrery/sim"
)

// numBins is the largest number of bins of a series. Plots are some 800 pixels
// wide, so more would not be seen.
const numBins = 512

// firstShift sets the first bin width, 2^firstShift ns = 16.8 ms.
const firstShift = 24

// bins is a time series of bounded size. When it is full, neighbours are merged
// and the width doubles. Widths are powers of two, so that a bin's index is a
// shift and bins of any two widths nest.
type bins struct {
	shift uint
	bin   []bin
}

// bin holds integrals over one stretch of time: areas in unit-nanoseconds, and
// counts.
type bin struct {
	system   float64 // requests in the system
	running  float64 // requests admitted to a replica
	kv       float64 // KV blocks held
	busy     float64 // pipeline stages at work
	tokens   float64 // output tokens
	arrivals float64
	away     float64 // replicas without devices
}

func (b *bin) add(c *bin) {
	b.system += c.system
	b.running += c.running
	b.kv += c.kv
	b.busy += c.busy
	b.tokens += c.tokens
	b.arrivals += c.arrivals
	b.away += c.away
}

func newBins() bins { return bins{shift: firstShift, bin: make([]bin, numBins)} }

// at returns the bin that holds time t, after making room for it.
func (s *bins) at(t sim.Time) *bin {
	i := int(t >> s.shift)
	for i >= numBins {
		s.fold()
		i = int(t >> s.shift)
	}
	return &s.bin[i]
}

// fold doubles the width.
func (s *bins) fold() {
	half := numBins / 2
	for i := range half {
		b := s.bin[2*i]
		b.add(&s.bin[2*i+1])
		s.bin[i] = b
	}
	clear(s.bin[half:])
	s.shift++
}

// width returns the width of a bin.
func (s *bins) width() sim.Time { return 1 << s.shift }

// edge returns the end of the bin that holds t.
func (s *bins) edge(t sim.Time) sim.Time { return (t>>s.shift + 1) << s.shift }

// merge adds the bins of o, which stays as it is.
func (s *bins) merge(o *bins) {
	for s.shift < o.shift {
		s.fold()
	}
	for i := range o.bin {
		s.bin[i>>(s.shift-o.shift)].add(&o.bin[i])
	}
}
