package calibrate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"orrery/hwmodel"
)

// elementwise is the operator of kernels that treat each element by itself.
var elementwise = &Operator{
	Name: "elementwise", Words: []string{"fn"}, Sizes: []string{"elems", "reads", "writes"},
	Optional: []string{"elems", "reads", "writes"},
	Work:     streamWork,
	Predict:  predictStream,
	Clear:    func(p *hwmodel.Profile) { clearStreams(p, false) },
	Fit:      func(p *hwmodel.Profile, rows []Row) error { return fitStreams(p, rows, false) },
	Derive:   func(p, donor *hwmodel.Profile) error { deriveStreams(p, donor, false); return nil },
	Fits:     func(p *hwmodel.Profile) []NamedFit { return streamFits(p, false) },
	Distinct: func(p *hwmodel.Profile) []NamedFit { return distinctStreams(p, false) },
}

// rownorm is the operator of kernels that reduce along the rows of a matrix.
var rownorm = &Operator{
	Name: "rownorm", Words: []string{"fn"}, Sizes: []string{"rows", "cols"},
	Work:     streamWork,
	Predict:  predictStream,
	Clear:    func(p *hwmodel.Profile) { clearStreams(p, true) },
	Fit:      func(p *hwmodel.Profile, rows []Row) error { return fitStreams(p, rows, true) },
	Derive:   func(p, donor *hwmodel.Profile) error { deriveStreams(p, donor, true); return nil },
	Fits:     func(p *hwmodel.Profile) []NamedFit { return streamFits(p, true) },
	Distinct: func(p *hwmodel.Profile) []NamedFit { return distinctStreams(p, true) },
}

// streamWork returns the FLOPs and bytes of a row of either operator. A norm or a
// softmax takes about five FLOPs an element.
func streamWork(r *Row) (flops, bytes float64) {
	w, _ := hwmodel.Width(r.DType)
	if hwmodel.AlongRows(r.Words[0]) {
		return 5 * r.Args[0] * r.Args[1], 2 * r.Args[0] * r.Args[1] * w
	}
	return r.Args[0], r.Args[0] * (r.Args[1] + r.Args[2]) * w
}

func predictStream(p *hwmodel.Profile, r *Row) (hwmodel.Estimate, error) {
	if _, bytes := streamWork(r); bytes == 0 {
		return hwmodel.Estimate{}, fmt.Errorf("%s moves nothing", r.Words[0])
	}
	s, exact := p.Stream(EngineOf(r.Source), r.DType, r.Words[0])
	if s == nil {
		return hwmodel.Estimate{}, fmt.Errorf("%s has no constants for %s %s", p.Device.Name, r.DType, r.Words[0])
	}
	return hwmodel.Estimate{Seconds: meanTime(s, &p.Device, callsOf(r)), Band: s.Band, Derived: s.Derived || !exact}, nil
}

func clearStreams(p *hwmodel.Profile, rows bool) {
	p.Streams = slices.DeleteFunc(slices.Clone(p.Streams), func(s hwmodel.Stream) bool { return s.Rows == rows })
}

func streamFits(p *hwmodel.Profile, rows bool) []NamedFit {
	var out []NamedFit
	for i := range p.Streams {
		if s := &p.Streams[i]; s.Rows == rows {
			out = append(out, NamedFit{strings.Join([]string{s.Engine, s.DType, cmp.Or(s.Function, "any")}, " "), &s.Fit})
		}
	}
	return out
}

// distinctStreams leaves out the constants for any function where functions have
// constants of their own.
func distinctStreams(p *hwmodel.Profile, rows bool) []NamedFit {
	special := map[hwmodel.Key]bool{}
	for i := range p.Streams {
		if s := &p.Streams[i]; s.Rows == rows && s.Function != "" && !s.Derived {
			special[s.Key] = true
		}
	}
	q := &hwmodel.Profile{}
	for _, s := range p.Streams {
		if s.Function != "" || !special[s.Key] {
			q.Streams = append(q.Streams, s)
		}
	}
	return streamFits(q, rows)
}

// Fewest rows for constants of an engine and a format, for those of one function of
// their own, and for a correction on a grid.
const (
	fewestStreams   = 5
	fewestOfOne     = 8
	fewestCorrected = 150
)

// fitStreams fits the kernels of each engine and format together.
func fitStreams(p *hwmodel.Profile, rows []Row, along bool) error {
	groups := map[hwmodel.Key][]Row{}
	for _, r := range rows {
		if _, bytes := streamWork(&r); bytes > 0 {
			k := hwmodel.Key{Engine: EngineOf(r.Source), DType: r.DType}
			groups[k] = append(groups[k], r)
		}
	}
	keys := make([]hwmodel.Key, 0, len(groups))
	for k := range groups {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b hwmodel.Key) int {
		return cmp.Or(strings.Compare(a.Engine, b.Engine), strings.Compare(a.DType, b.DType))
	})
	for _, k := range keys {
		measured := slices.ContainsFunc(p.Streams, func(s hwmodel.Stream) bool { return s.Rows == along && s.Key == k && !s.Derived })
		if measured || len(groups[k]) < fewestStreams {
			continue
		}
		set, err := measuredStreams(&p.Device, k, groups[k], along)
		if err != nil {
			return err
		}
		p.Streams = slices.DeleteFunc(p.Streams, func(s hwmodel.Stream) bool { return s.Rows == along && s.Key == k })
		p.Streams = append(p.Streams, set...)
	}
	return nil
}

// measuredStreams fits the kernels of one engine and format, and scores them by
// cross-validation.
func measuredStreams(d *hwmodel.Device, k hwmodel.Key, rows []Row, along bool) ([]hwmodel.Stream, error) {
	set := streamSet(d, k, rows, along)
	whole := *d
	predict := func(train []Row) (func(r *Row) float64, error) {
		p := hwmodel.Profile{Device: whole, Streams: streamSet(d, k, train, along)}
		return func(r *Row) float64 {
			s, _ := p.Stream(k.Engine, k.DType, r.Words[0])
			return meanTime(s, d, callsOf(r))
		}, nil
	}
	logs, err := heldOutLogs(rows, 4, predict)
	if err != nil {
		return nil, err
	}
	base := heldOutBaseline(&Operator{Work: streamWork}, d, rows, 4)
	for i := range set {
		s := &set[i]
		var mine []Row
		var own, ownBase []float64
		for j := range rows {
			if s.Function == "" || rows[j].Words[0] == s.Function {
				mine, own, ownBase = append(mine, rows[j]), append(own, logs[j]), append(ownBase, base[j])
			}
		}
		s.Fit = errorsOf(own)
		s.Fit.Rows, s.Fit.Baseline = len(own), Round(mean(ownBase))
		s.Spread = spreadBy(mine, own, func(r *Row) float64 { _, bytes := streamWork(r); return bytes })
		s.Source = fmt.Sprintf("measured by %s", k.Engine)
	}
	return set, nil
}

// streamSet fits the constants for all functions in rows together and, starting from
// these, those of each function that has rows enough.
func streamSet(d *hwmodel.Device, k hwmodel.Key, rows []Row, along bool) []hwmodel.Stream {
	start := hwmodel.Stream{Rows: along, Key: k, Host: 2e-6, Launch: 3e-6, Ramp: 2e-6, DRAM: 0.8, L2: 0.6, Reach: 0.9}
	if slices.ContainsFunc(rows, func(r Row) bool { return callsOf(&r)[0].Kernels > 1 }) {
		start.Further = 5e-6
	}
	all := fitStream(d, start, rows, 0.3)
	byFunction := map[string][]Row{}
	for _, r := range rows {
		byFunction[r.Words[0]] = append(byFunction[r.Words[0]], r)
	}
	if len(byFunction) == 1 && !along {
		return []hwmodel.Stream{all}
	}
	set := []hwmodel.Stream{all}
	thin := false
	for _, f := range sortedKeys(byFunction) {
		own := byFunction[f]
		s := all
		s.Function = f
		switch {
		case len(own) >= fewestOfOne:
			set = append(set, fitFunction(d, s, own))
		case len(own) >= 2:
			set = append(set, quickened(d, s, own))
			thin = true
		}
	}
	if thin {
		shareOverheads(d, set, byFunction)
	}
	return set
}

// fitFunction fits the constants of one function, starting from those of all.
func fitFunction(d *hwmodel.Device, s hwmodel.Stream, rows []Row) hwmodel.Stream {
	if callsOf(&rows[0])[0].Cols > 0 {
		s.Walk, s.Block = 2e-10, 5e-8
	}
	if s.Rows {
		s.Blocks, s.Rereads = 8, 1
		if strings.HasSuffix(s.Function, "softmax") {
			s.Wide = 1024 // PyTorch keeps rows of up to 1024 elements in registers
		}
	}
	s = fitStream(d, s, rows, 0.1)
	if s.Rows && len(rows) >= fewestCorrected {
		s.Residual = streamResidual(d, &s, rows)
	}
	return s
}

// shareOverheads fits what functions with few rows share, the times at the start of a
// kernel and the reach of the cache, given how quickly each moves data, and then the
// latter again.
func shareOverheads(d *hwmodel.Device, set []hwmodel.Stream, byFunction map[string][]Row) {
	all := &set[0]
	for range 2 {
		params := []Parameter{
			{Name: "host", Start: all.Host, Low: 1e-8, High: 1e-3, Logarithms: true},
			{Name: "launch", Start: all.Launch, Low: 1e-8, High: 1e-3, Logarithms: true},
			{Name: "ramp", Start: all.Ramp, Low: 1e-8, High: 1e-4, Logarithms: true},
			{Name: "reach", Start: all.Reach, Low: 0.1, High: 2.5, Logarithms: true},
		}
		calls := make([][][]hwmodel.Pass, len(set))
		for i := range set {
			calls[i] = callsOfAll(byFunction[set[i].Function])
		}
		v := Search(params, func(v []float64) float64 {
			sum := 0.3 * Strayed(params, v)
			for i := range set {
				s := set[i]
				s.Host, s.Launch, s.Ramp, s.Reach = v[0], v[1], v[2], v[3]
				for j, r := range byFunction[s.Function] {
					sum += math.Abs(math.Log(meanTime(&s, d, calls[i][j]) / r.Seconds))
				}
			}
			return sum
		})
		for i := range set {
			s := &set[i]
			if own := byFunction[s.Function]; len(own) < fewestOfOne {
				s.Host, s.Launch, s.Ramp, s.Reach = v[0], v[1], v[2], v[3]
				if s.Function != "" {
					*s = quickened(d, *s, own)
				}
			}
		}
	}
}

// fitStream finds the constants that predict rows, not far from start if the rows do
// not ask for it: hold is what straying costs, in rows. The shortest times may be the
// host's or the kernel's own; both are tried.
func fitStream(d *hwmodel.Device, start hwmodel.Stream, rows []Row, hold float64) hwmodel.Stream {
	shortest := math.Inf(1)
	for i := range rows {
		shortest = min(shortest, rows[i].Seconds)
	}
	var best hwmodel.Stream
	least := math.Inf(1)
	for _, overhead := range []struct{ host, launch float64 }{{start.Host, start.Launch}, {0.9 * shortest, 0.4 * shortest}, {0.2 * shortest, 0.8 * shortest}} {
		start.Host, start.Launch = overhead.host, overhead.launch
		if s, loss := searchStream(d, start, rows, hold); loss < least {
			best, least = s, loss
		}
	}
	return best
}

func searchStream(d *hwmodel.Device, start hwmodel.Stream, rows []Row, hold float64) (hwmodel.Stream, float64) {
	params := []Parameter{
		{Name: "host", Start: start.Host, Low: 1e-8, High: 1e-3, Logarithms: true},
		{Name: "launch", Start: start.Launch, Low: 1e-8, High: 1e-3, Logarithms: true},
		{Name: "ramp", Start: start.Ramp, Low: 1e-8, High: 1e-4, Logarithms: true},
		{Name: "dram", Start: start.DRAM, Low: 0.02, High: 1},
		{Name: "l2", Start: start.L2, Low: 0.01, High: 1},
		{Name: "reach", Start: start.Reach, Low: 0.1, High: 2.5, Logarithms: true},
	}
	if start.Further > 0 {
		params = append(params, Parameter{Name: "further", Start: start.Further, Low: 1e-8, High: 1e-3, Logarithms: true})
	}
	if start.Walk > 0 {
		params = append(params,
			Parameter{Name: "walk", Start: start.Walk, Low: 1e-13, High: 1e-7, Logarithms: true},
			Parameter{Name: "block", Start: start.Block, Low: 1e-10, High: 1e-5, Logarithms: true})
	}
	if start.Rereads > 0 {
		params = append(params,
			Parameter{Name: "rereads", Start: start.Rereads, Low: 0, High: 3},
			Parameter{Name: "blocks", Start: start.Blocks, Low: 1, High: 64, Logarithms: true})
	}
	build := func(v []float64) hwmodel.Stream {
		s := start
		s.Host, s.Launch, s.Ramp, s.DRAM, s.L2, s.Reach = v[0], v[1], v[2], v[3], v[4], v[5]
		v = v[6:]
		if start.Further > 0 {
			s.Further, v = v[0], v[1:]
		}
		if start.Walk > 0 {
			s.Walk, s.Block, v = v[0], v[1], v[2:]
		}
		if start.Rereads > 0 {
			s.Rereads, s.Blocks = v[0], v[1]
		}
		return s
	}
	rows = thin(rows, 300)
	calls := callsOfAll(rows)
	loss := func(v []float64) float64 {
		s := build(v)
		sum := hold * Strayed(params, v)
		for i := range rows {
			sum += math.Abs(math.Log(meanTime(&s, d, calls[i]) / rows[i].Seconds))
		}
		return sum / float64(len(rows))
	}
	v := Search(params, loss)
	return build(v), loss(v)
}

func callsOfAll(rows []Row) [][]hwmodel.Pass {
	out := make([][]hwmodel.Pass, len(rows))
	for i := range rows {
		out[i] = callsOf(&rows[i])
	}
	return out
}

// quickened returns s with its bandwidths scaled to what few rows of a function show.
func quickened(d *hwmodel.Device, s hwmodel.Stream, rows []Row) hwmodel.Stream {
	params := []Parameter{{Name: "dram", Start: s.DRAM, Low: 0.02, High: 1}, {Name: "l2", Start: s.L2, Low: 0.01, High: 1}}
	build := func(v []float64) hwmodel.Stream {
		q := s
		q.DRAM, q.L2 = v[0], v[1]
		return q
	}
	calls := callsOfAll(rows)
	return build(Search(params, func(v []float64) float64 {
		q := build(v)
		sum := 0.1 * Strayed(params, v)
		for i := range rows {
			sum += math.Abs(math.Log(meanTime(&q, d, calls[i]) / rows[i].Seconds))
		}
		return sum
	}))
}

// streamResidual fits a correction over rows and columns on top of s.
func streamResidual(d *hwmodel.Device, s *hwmodel.Stream, rows []Row) *hwmodel.Residual {
	samples := make([]Sample, len(rows))
	for i := range rows {
		c := callsOf(&rows[i])[0]
		samples[i] = Sample{At: []float64{c.Rows, c.Cols}, Log: math.Log(rows[i].Seconds / s.Time(d, c))}
	}
	axes := []hwmodel.Axis{{Name: "rows", Nodes: logNodes(samples, 0, 8)}, {Name: "cols", Nodes: logNodes(samples, 1, 8)}}
	if s.Wide > 0 {
		axes[1].Nodes = withStep(axes[1].Nodes, float64(s.Wide))
	}
	return FitResidual(axes, samples, 1)
}

// logNodes returns n nodes evenly spaced on a logarithmic scale over what samples have
// at the given axis, rounded.
func logNodes(samples []Sample, axis, n int) []float64 {
	low, high := math.Inf(1), 0.0
	for i := range samples {
		low, high = min(low, samples[i].At[axis]), max(high, samples[i].At[axis])
	}
	var out []float64
	for i := range n {
		v := Round(low * math.Pow(high/low, float64(i)/float64(n-1)))
		if len(out) == 0 || v > out[len(out)-1] {
			out = append(out, v)
		}
	}
	return out
}

// withStep puts two nodes at a size where the kernel changes, just below and above, in
// the place of those nearby.
func withStep(nodes []float64, at float64) []float64 {
	out := slices.DeleteFunc(slices.Clone(nodes), func(v float64) bool { return v > at/1.1 && v < at*1.1 })
	out = append(out, at, at+1)
	slices.Sort(out)
	return out
}

// deriveStreams takes over the donor's measured kernels that p lacks: shares of the
// bandwidths as they are, what an SM does alone by the clocks.
func deriveStreams(p, donor *hwmodel.Profile, along bool) {
	clock := donor.Device.MaxMHz / p.Device.MaxMHz
	if !(clock > 0) || math.IsInf(clock, 0) {
		clock = 1
	}
	for _, s := range donor.Streams {
		if s.Rows != along || s.Derived {
			continue
		}
		if slices.ContainsFunc(p.Streams, func(q hwmodel.Stream) bool {
			return q.Rows == along && q.Key == s.Key && (q.Function == s.Function || !q.Derived)
		}) {
			continue
		}
		s.Walk = Round(s.Walk * clock)
		s.Fit = derivedFit(donor, s.Fit)
		p.Streams = append(p.Streams, s)
	}
}
