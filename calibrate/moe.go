package calibrate

import (
	"fmt"
	"math"
	"slices"

	"orrery/hwmodel"
)

// moeOperator is the layer of gated experts on one rank, routing included.
var moeOperator = &Operator{
	Name:  "moe",
	Words: []string{"dist"},
	Sizes: []string{"tokens", "hidden", "inter", "topk", "experts", "moe_tp", "moe_ep"},
	Work:  moeWork,
	Predict: func(p *hwmodel.Profile, r *Row) (hwmodel.Estimate, error) {
		k, err := p.ExpertLayers(EngineOf(r.Source), r.DType)
		if err != nil {
			return hwmodel.Estimate{}, err
		}
		l := expertLayer(r)
		w, err := l.Load()
		if err != nil {
			return hwmodel.Estimate{}, err
		}
		return k.Estimate(&w), nil
	},
	Clear:  func(p *hwmodel.Profile) { p.MoEs = nil },
	Fit:    fitMoEs,
	Derive: deriveMoEs,
	Fits: func(p *hwmodel.Profile) []NamedFit {
		var out []NamedFit
		for i := range p.MoEs {
			m := &p.MoEs[i]
			out = append(out, NamedFit{m.Engine + " " + m.DType, &m.Fit})
		}
		return out
	},
}

// expertLayer returns the layer of a row.
func expertLayer(r *Row) hwmodel.ExpertLayer {
	a := r.Args
	return hwmodel.ExpertLayer{
		Tokens: int(a[0]), Hidden: int(a[1]), Inter: int(math.Ceil(a[2] / a[5])), PerToken: int(a[3]), Experts: int(a[4]),
		Ranks: int(a[6]), Spread: r.Words[0],
	}
}

// moeWork counts what every token's experts compute, and the weights that an even draw
// touches.
func moeWork(r *Row) (flops, bytes float64) {
	a := r.Args
	tokens, hidden, inter, each, experts, ranks := a[0], a[1], a[2]/a[5], a[3], a[4], a[6]
	act, weight := hwmodel.Width(r.DType)
	touched := experts / ranks * (1 - math.Pow(1-each/experts, tokens))
	rows := tokens * each / ranks
	return 6 * rows * hidden * inter, touched*3*hidden*inter*weight + 2*rows*hidden*act
}

// fitMoEs fits a set of constants to the rows of each library and precision.
func fitMoEs(p *hwmodel.Profile, rows []Row) error {
	groups := map[string][]Row{}
	for _, r := range rows {
		k := EngineOf(r.Source) + " " + r.DType
		groups[k] = append(groups[k], r)
	}
	for _, name := range sortedKeys(groups) {
		own := groups[name]
		key := hwmodel.Key{Engine: EngineOf(own[0].Source), DType: own[0].DType}
		at := slices.IndexFunc(p.MoEs, func(m hwmodel.MoE) bool { return m.Key == key })
		if at >= 0 && !p.MoEs[at].Derived || len(own) < ownRows {
			continue
		}
		f := moeFit{device: &p.Device, key: key}
		m, err := f.fit(own)
		if err != nil {
			return err
		}
		m.Source = "measured by " + sourcesOf(own)
		if at >= 0 {
			p.MoEs = slices.Delete(p.MoEs, at, at+1)
		}
		p.MoEs = append(p.MoEs, *m)
	}
	slices.SortStableFunc(p.MoEs, func(a, b hwmodel.MoE) int { return libraryRank(a.Engine, a.Derived) - libraryRank(b.Engine, b.Derived) })
	return nil
}

// moeFit is the fit of one set of constants.
type moeFit struct {
	device *hwmodel.Device
	key    hwmodel.Key
}

// loaded is a row with its load worked out.
type loaded struct {
	load    hwmodel.ExpertLoad
	seconds float64
}

func loadedOf(rows []Row) ([]loaded, error) {
	out := make([]loaded, len(rows))
	for i := range rows {
		l := expertLayer(&rows[i])
		w, err := l.Load()
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", rows[i].File, rows[i].Line, err)
		}
		out[i] = loaded{w, rows[i].Seconds}
	}
	return out, nil
}

// typicalMoE is where a fit starts.
var typicalMoE = hwmodel.MoE{
	Launch: 3e-5, Expert: 1e-8, Compute: [4]float64{0.25, 0.35, 0.5, 0.6}, Fill: 100, Wave: 0.5,
	Bandwidth: 0.8, Saturate: 0.5, Move: 0.5, Norm: 2,
}

func (f *moeFit) parameters(start *hwmodel.MoE) []Parameter {
	ps := []Parameter{
		{Name: "launch", Start: start.Launch, Low: 1e-6, High: 1e-3, Logarithms: true},
		{Name: "expert", Start: start.Expert, Low: 1e-11, High: 1e-5, Logarithms: true},
		{Name: "fill", Start: start.Fill, Low: 1, High: 5000, Logarithms: true},
		{Name: "wave", Start: start.Wave, Low: 0, High: 1},
		{Name: "bandwidth", Start: start.Bandwidth, Low: 0.1, High: 1},
		{Name: "saturate", Start: start.Saturate, Low: 0.02, High: 5, Logarithms: true},
		{Name: "move", Start: start.Move, Low: 0.02, High: 5, Logarithms: true},
	}
	for i := range start.Compute {
		ps = append(ps, Parameter{Name: fmt.Sprintf("compute[%d]", i), Start: start.Compute[i], Low: 0.01, High: 1})
	}
	inside(ps)
	return ps
}

func (f *moeFit) build(start *hwmodel.MoE, v []float64) *hwmodel.MoE {
	m := &hwmodel.MoE{Key: f.key, Norm: start.Norm, Launch: v[0], Expert: v[1], Fill: v[2], Wave: v[3], Bandwidth: v[4], Saturate: v[5], Move: v[6]}
	copy(m.Compute[:], v[7:])
	return m
}

func (f *moeFit) fit(rows []Row) (*hwmodel.MoE, error) {
	all, err := loadedOf(rows)
	if err != nil {
		return nil, err
	}
	m := f.core(all)
	const folds = 4
	var cores []*hwmodel.MoE
	logs, err := heldOutLogs(rows, folds, func(train []Row) (func(r *Row) float64, error) {
		own, err := loadedOf(train)
		if err != nil {
			return nil, err
		}
		c := f.search(m, own, gemmRefine)
		cores = append(cores, c)
		return f.predict(c), nil
	})
	if err != nil {
		return nil, err
	}
	m.Fit = errorsOf(logs)
	fold := 0
	corrected, err := heldOutLogs(rows, folds, func(train []Row) (func(r *Row) float64, error) {
		own, err := loadedOf(train)
		if err != nil {
			return nil, err
		}
		c := *cores[fold]
		fold++
		c.Residual = f.residual(&c, own)
		return f.predict(&c), nil
	})
	if err != nil {
		return nil, err
	}
	if e := errorsOf(corrected); e.HeldOutMean < m.HeldOutMean {
		m.Fit, m.Residual, logs = e, f.residual(m, all), corrected
	}
	m.Rows, m.Spread = len(rows), Round(spread(moeGroups(rows, logs)))
	m.Baseline = Round(mean(heldOutBaseline(&Operator{Work: moeWork}, f.device, rows, folds)))
	return m, nil
}

// moeGroups puts the errors of one model's layers together: they are all alike.
func moeGroups(rows []Row, logs []float64) map[string][]float64 {
	out := map[string][]float64{}
	for i := range rows {
		k := fmt.Sprint(rows[i].Words[0], rows[i].Args[1:7])
		out[k] = append(out[k], logs[i])
	}
	return out
}

func (f *moeFit) core(rows []loaded) *hwmodel.MoE {
	var best *hwmodel.MoE
	least := math.Inf(1)
	for _, norm := range []int{1, 2, 4} {
		s := typicalMoE
		s.Norm = norm
		m := f.search(&s, rows, gemmSearch)
		if l := f.loss(m, rows); l < least {
			best, least = m, l
		}
	}
	return best
}

func (f *moeFit) search(start *hwmodel.MoE, rows []loaded, evaluations int) *hwmodel.MoE {
	looks := rows
	if len(rows) > gemmLooks {
		looks = make([]loaded, gemmLooks)
		for i := range looks {
			looks[i] = rows[i*len(rows)/gemmLooks]
		}
	}
	v := SearchWithin(evaluations, f.parameters(start), func(v []float64) float64 { return f.loss(f.build(start, v), looks) })
	return f.build(start, v)
}

// loss is the mean absolute logarithm of predicted over measured of the formula.
func (f *moeFit) loss(m *hwmodel.MoE, rows []loaded) float64 {
	k := m.On(f.device)
	var sum float64
	for i := range rows {
		sum += math.Abs(math.Log(k.Core(&rows[i].load) / rows[i].seconds))
	}
	return sum / float64(len(rows))
}

func (f *moeFit) predict(m *hwmodel.MoE) func(r *Row) float64 {
	k := m.On(f.device)
	return func(r *Row) float64 {
		l := expertLayer(r)
		w, err := l.Load()
		if err != nil {
			return math.NaN() // refused before
		}
		return k.Time(&w)
	}
}

// moeNodes are the rows an expert, weights of an expert and experts on the rank at which
// a residual has nodes, where the rows reach.
var moeNodes = [3][]float64{
	{0.125, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 512, 2048},
	{1 << 19, 1 << 21, 1 << 23, 1 << 25, 1 << 27},
	{1, 4, 16, 64, 256},
}

func (f *moeFit) residual(m *hwmodel.MoE, rows []loaded) *hwmodel.Residual {
	samples := make([]Sample, len(rows))
	k := m.On(f.device)
	for i := range rows {
		a, b, c := rows[i].load.Sizes()
		samples[i] = Sample{At: []float64{a, b, c}, Log: math.Log(rows[i].seconds / k.Core(&rows[i].load))}
	}
	axes := make([]hwmodel.Axis, 3)
	for i, name := range []string{"rows", "size", "experts"} {
		axes[i] = hwmodel.Axis{Name: name, Nodes: reached(moeNodes[i], samples, i)}
	}
	return FitResidual(axes, samples, 1)
}

// deriveMoEs gives p the constants of precisions that were not measured on it, as
// [deriveGEMMs] does.
func deriveMoEs(p, donor *hwmodel.Profile) error {
	d, from := &p.Device, &donor.Device
	for i := range donor.MoEs {
		m := donor.MoEs[i]
		if m.Derived || !supports(d, m.DType) {
			continue
		}
		same := twins(d, from)
		if slices.ContainsFunc(p.MoEs, func(h hwmodel.MoE) bool {
			return h.Key == m.Key || !same && h.Key.Match("", m.DType) > 0
		}) {
			continue
		}
		scale := 1.0
		if !same {
			scale = powerScale(d, from)
			m.Engine, m.Residual = AnyLibrary, nil
		}
		for j, v := range m.Compute {
			m.Compute[j] = Round(min(max(v*scale, 0.01), 1))
		}
		m.Fit = hwmodel.Fit{
			Derived: true, Band: derivedProductBand(d, from, m.Band), Spread: m.Spread,
			Source: fmt.Sprintf("shares of the peaks as on %s (%s), compute scaled by %.2f for the power limit", from.Name, m.Source, scale),
		}
		p.MoEs = append(p.MoEs, m)
	}
	slices.SortStableFunc(p.MoEs, func(a, b hwmodel.MoE) int { return libraryRank(a.Engine, a.Derived) - libraryRank(b.Engine, b.Derived) })
	return nil
}
