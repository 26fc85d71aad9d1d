package training

// Alone is a job that has a device to itself.
type Alone struct {
	Seconds float64 // of a step
	Busy    float64 // share of the step in which the device works, 0 to 1; the rest is the host's: input, launches
	Memory  int64   // bytes of the device that it holds
}

// Alone returns what a step is to a device that it has to itself.
func (s *Step) Alone(m Memory) Alone {
	device := s.Forward + s.Backward + s.Optimise
	return Alone{s.Total.Seconds(), min(1, device.Seconds()/s.Total.Seconds()), m.Total}
}

// Together returns the speeds that two jobs keep beside each other on one device of so many
// bytes, as shares of those alone; 0 for both where they do not fit.
//
// Each job goes round between its host, which it has to itself, and the device, which serves
// both in turns of kernels. That is a closed network of two customers, a station for each
// alone and one shared in equal parts, whose states have probabilities in product form
// (Baskett, Chandy, Muntz and Palacios, 1975): with busy shares a and b both run
// at 1/(1 + ab) of their speed, half if neither ever leaves the device and all of it if
// one never visits.
func Together(a, b Alone, memory int64) (keptA, keptB float64) {
	if a.Memory+b.Memory > memory {
		return 0, 0
	}
	kept := 1 / (1 + clamp(a.Busy)*clamp(b.Busy))
	return kept, kept
}

func clamp(v float64) float64 { return min(1, max(0, v)) }

// Where a step is only known from outside, by its time at some batches, what grows with the
// batch is the device's, and so is half of the rest: launches that the device is quick with,
// the optimiser. Jobs of one batch are taken to be busy for 0.8 of their step. Both
// were chosen on the pairs that docs/training-clusters.md scores, which hardly depend on either.
const (
	fixedBusy   = 0.5
	unknownBusy = 0.8
)

// BusyFromSteps returns for how much of a step at a batch the device works, from the seconds
// of steps at some batches.
func BusyFromSteps(batches, seconds []float64, batch float64) float64 {
	fixed, slope, ok := line(batches, seconds)
	if !ok {
		return unknownBusy
	}
	fixed, grows := max(fixed, 0), max(slope, 0)*batch
	if fixed+grows == 0 {
		return unknownBusy
	}
	return (grows + fixedBusy*fixed) / (grows + fixed)
}

// line returns the least-squares line through points, if there are two.
func line(x, y []float64) (at0, slope float64, ok bool) {
	n := float64(min(len(x), len(y)))
	var sx, sy, sxx, sxy float64
	for i := range min(len(x), len(y)) {
		sx, sy = sx+x[i], sy+y[i]
		sxx, sxy = sxx+x[i]*x[i], sxy+x[i]*y[i]
	}
	d := n*sxx - sx*sx
	if n < 2 || d <= 0 {
		return 0, 0, false
	}
	slope = (n*sxy - sx*sy) / d
	return (sy - slope*sx) / n, slope, true
}
