package calibrate

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"orrery/hwmodel"
)

// gemmOperator is the matrix product: b times [m,k] x [k,n].
var gemmOperator = &Operator{
	Name:  "gemm",
	Sizes: []string{"b", "m", "n", "k"},
	Work:  gemmWork,
	Predict: func(p *hwmodel.Profile, r *Row) (hwmodel.Estimate, error) {
		k, err := p.Products(libraryOf(r.Source), r.DType)
		if err != nil {
			return hwmodel.Estimate{}, err
		}
		return k.Estimate(r.Args[0], int(r.Args[1]), int(r.Args[2]), int(r.Args[3])), nil
	},
	Clear:  func(p *hwmodel.Profile) { p.GEMMs = nil },
	Fit:    fitGEMMs,
	Derive: deriveGEMMs,
	Fits: func(p *hwmodel.Profile) []NamedFit {
		var out []NamedFit
		for i := range p.GEMMs {
			g := &p.GEMMs[i]
			out = append(out, NamedFit{gemmName(g.Key, g.Batched), &g.Fit})
		}
		return out
	},
}

func gemmWork(r *Row) (flops, bytes float64) {
	b, m, n, k := r.Args[0], r.Args[1], r.Args[2], r.Args[3]
	act, weight := hwmodel.Width(r.DType)
	return 2 * b * m * n * k, b * (m*k*act + k*n*weight + m*n*max(act, 2))
}

func gemmName(k hwmodel.Key, batched bool) string {
	if batched {
		return k.Engine + " " + k.DType + " batched"
	}
	return k.Engine + " " + k.DType
}

// libraryOf returns the library that a source of products timed. A few rows each were
// taken with PyTorch by different people; together they make a set.
func libraryOf(source string) string {
	switch {
	case strings.HasPrefix(source, "tptd-"), source == "ptbench2018", source == "kernelbench", source == "llmcompass", source == "kperf":
		return "pytorch"
	}
	return EngineOf(source)
}

// The fewest rows of a set of constants with a residual, without being held to other
// constants; of one that needs no derived set to lean on; and of any.
const (
	denseRows   = 150
	ownRows     = 60
	leaningRows = 4
)

// gemmKey names the set of constants that a row belongs to.
type gemmKey struct {
	hwmodel.Key
	batched bool
}

func (k gemmKey) order() string { return fmt.Sprintf("%s|%v|%s", k.DType, k.batched, k.Engine) }

// fitGEMMs fits a set of constants to the rows of each library and precision.
func fitGEMMs(p *hwmodel.Profile, rows []Row) error {
	groups := map[gemmKey][]Row{}
	for _, r := range rows {
		k := gemmKey{hwmodel.Key{Engine: libraryOf(r.Source), DType: r.DType}, r.Args[0] > 1}
		groups[k] = append(groups[k], r)
	}
	var keys []gemmKey
	for k := range groups {
		keys = append(keys, k)
	}
	// Many rows first, so that few can lean on them.
	slices.SortFunc(keys, func(a, b gemmKey) int {
		if d := len(groups[b]) - len(groups[a]); d != 0 {
			return d
		}
		return strings.Compare(a.order(), b.order())
	})
	for _, k := range keys {
		if err := fitGEMM(p, k, groups[k]); err != nil {
			return err
		}
	}
	return nil
}

func fitGEMM(p *hwmodel.Profile, key gemmKey, rows []Row) error {
	at := slices.IndexFunc(p.GEMMs, func(g hwmodel.GEMM) bool { return g.Key == key.Key && g.Batched == key.batched })
	if at >= 0 && !p.GEMMs[at].Derived {
		return nil
	}
	f := newGEMMFit(p, key)
	given := len(rows)
	rows = possible(rows, f.floor)
	if len(rows) < leaningRows || len(rows) < ownRows && at < 0 && !leanable(p) {
		return nil
	}
	g, err := f.fit(rows)
	if err != nil {
		return err
	}
	g.Source = fmt.Sprintf("measured by %s", sourcesOf(rows))
	if n := given - len(rows); n > 0 {
		g.Source += fmt.Sprintf(", %d quicker than physics allows left out", n)
	}
	if len(rows) < denseRows && f.prior.Source != "" {
		g.Source += fmt.Sprintf("; few rows, held to the constants of %s (%s)", gemmName(f.prior.Key, f.prior.Batched), f.prior.Source)
	}
	if at >= 0 {
		p.GEMMs = slices.Delete(p.GEMMs, at, at+1)
	}
	p.GEMMs = append(p.GEMMs, *g)
	slices.SortStableFunc(p.GEMMs, func(a, b hwmodel.GEMM) int { return gemmRank(&a) - gemmRank(&b) })
	return nil
}

// sourcesOf lists who measured the rows.
func sourcesOf(rows []Row) string {
	var out []string
	for i := range rows {
		if !slices.Contains(out, rows[i].Source) {
			out = append(out, rows[i].Source)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// libraryRank orders sets of constants: one that is asked for by no name gets the first,
// which is a serving engine's, or else that of a harness that times kernels alone.
func libraryRank(library string, derived bool) int {
	order := []string{"vllm", "trtllm", "sglang", "llmservingsim", "llmservingsim-v0", "vidur", "vidur-a30", "pytorch", "deepbench", "neusight"}
	i := slices.Index(order, library)
	if i < 0 {
		i = len(order)
	}
	if derived {
		i += 100
	}
	return i
}

func gemmRank(g *hwmodel.GEMM) int { return libraryRank(g.Engine, g.Derived) }

// gemmFit is the fit of one set of constants.
type gemmFit struct {
	device *hwmodel.Device
	key    gemmKey
	prior  *hwmodel.GEMM // constants that few rows are held to
}

func newGEMMFit(p *hwmodel.Profile, key gemmKey) *gemmFit {
	f := &gemmFit{device: &p.Device, key: key, prior: &typicalGEMM}
	if k, err := p.Products(key.Engine, key.DType); err == nil {
		f.prior = k.Constants(key.batched)
	}
	return f
}

// leanable tells whether p holds derived constants that a fit of few rows can lean on.
func leanable(p *hwmodel.Profile) bool {
	return slices.ContainsFunc(p.GEMMs, func(g hwmodel.GEMM) bool { return g.Derived })
}

func (f *gemmFit) floor(r *Row) float64 {
	g := hwmodel.GEMM{Key: f.key.Key, Norm: 1}
	k := g.On(f.device)
	return k.Floor(r.Args[0], r.Args[1], r.Args[2], r.Args[3])
}

// parameters lists the constants in the order of build, starting from where the
// prior stands.
func (f *gemmFit) parameters(start *hwmodel.GEMM) []Parameter {
	ps := []Parameter{
		{Name: "launch", Start: start.Launch, Low: 1e-7, High: 3e-4, Logarithms: true},
		{Name: "ragged", Start: start.Ragged, Low: 0.3, High: 1},
		{Name: "wave", Start: start.Wave, Low: 0, High: 1},
		{Name: "fill", Start: start.Fill, Low: 1, High: 5000, Logarithms: true},
		{Name: "latency", Start: start.Latency, Low: 1e-8, High: 1e-4, Logarithms: true},
		{Name: "step", Start: start.Step, Low: 1e-12, High: 1e-8, Logarithms: true},
		{Name: "bandwidth", Start: start.Bandwidth, Low: 0.2, High: 1},
		{Name: "saturate", Start: start.Saturate, Low: 0.02, High: 3, Logarithms: true},
		{Name: "l2", Start: start.L2, Low: 0.05, High: 8, Logarithms: true},
		{Name: "resident", Start: start.Resident, Low: 0, High: 1},
	}
	for i := range start.Compute {
		ps = append(ps, Parameter{Name: fmt.Sprintf("compute[%d]", i), Start: start.Compute[i], Low: 0.03, High: 1})
	}
	if start.Split > 0 {
		ps = append(ps, Parameter{Name: "split", Start: start.Split, Low: 0.01, High: 1, Logarithms: true})
	}
	if start.Convert > 0 {
		ps = append(ps, Parameter{Name: "convert", Start: start.Convert, Low: 0.02, High: 1})
	}
	if start.Droop > 0 {
		ps = append(ps,
			Parameter{Name: "droop", Start: start.Droop, Low: 1e-3, High: 9, Logarithms: true},
			Parameter{Name: "settle", Start: start.Settle, Low: 1e-4, High: 10, Logarithms: true})
	}
	inside(ps)
	return ps
}

// build makes constants of the parameters' values.
func (f *gemmFit) build(start *hwmodel.GEMM, v []float64) *hwmodel.GEMM {
	g := &hwmodel.GEMM{
		Key: f.key.Key, Batched: f.key.batched, Norm: start.Norm,
		Launch: v[0], Ragged: v[1], Wave: v[2], Fill: v[3], Latency: v[4], Step: v[5],
		Bandwidth: v[6], Saturate: v[7], L2: v[8], Resident: v[9],
	}
	v = v[10+copy(g.Compute[:], v[10:]):]
	if start.Split > 0 {
		g.Split, v = v[0], v[1:]
	}
	if start.Convert > 0 {
		g.Convert, v = v[0], v[1:]
	}
	if start.Droop > 0 {
		g.Droop, g.Settle = v[0], v[1]
	}
	return g
}

// typicalGEMM is where a fit without a prior starts.
var typicalGEMM = hwmodel.GEMM{
	Launch: 3e-6, Compute: [6]float64{0.85, 0.8, 0.7, 0.5, 0.4, 0.4}, Ragged: 0.95, Wave: 0.5, Fill: 100,
	Latency: 3e-7, Step: 2e-10, Bandwidth: 0.85, Saturate: 0.5, L2: 1.5, Resident: 0.3, Split: 0.2, Convert: 0.4, Norm: 4,
}

// Evaluations of all rows that the search for constants may take from afar and from
// near, the rows it looks at, and what straying from the prior costs.
const (
	gemmSearch = 1500
	gemmRefine = 400
	gemmLooks  = 600
	gemmHold   = 0.1
)

// fit finds the constants, says how far they miss shapes not fitted, and adds a
// residual where that makes them miss less.
func (f *gemmFit) fit(rows []Row) (*hwmodel.GEMM, error) {
	g := f.core(rows)
	folds := 4
	if len(rows) < denseRows {
		folds = 10
	}
	var cores []*hwmodel.GEMM
	logs, err := heldOutLogs(rows, folds, func(train []Row) (func(r *Row) float64, error) {
		c := f.search(g, train, gemmRefine)
		cores = append(cores, c)
		return f.predict(c), nil
	})
	if err != nil {
		return nil, err
	}
	g.Fit = errorsOf(logs)
	if len(rows) >= denseRows {
		fold := 0
		corrected, err := heldOutLogs(rows, folds, func(train []Row) (func(r *Row) float64, error) {
			c := *cores[fold]
			fold++
			c.Residual = f.residual(&c, train)
			return f.predict(&c), nil
		})
		if err != nil {
			return nil, err
		}
		if e := errorsOf(corrected); e.HeldOutMean < g.HeldOutMean {
			g.Fit, g.Residual, logs = e, f.residual(g, rows), corrected
		}
	}
	g.Rows, g.Spread = len(rows), Round(spread(gemmGroups(rows, logs)))
	g.Baseline = Round(mean(heldOutBaseline(&Operator{Work: gemmWork}, f.device, rows, folds)))
	return g, nil
}

// gemmGroups puts the errors of products with the same weights together: the layers
// of a model repeat the same few, whose errors are the same in each.
func gemmGroups(rows []Row, logs []float64) map[string][]float64 {
	out := map[string][]float64{}
	for i := range rows {
		k := fmt.Sprint(rows[i].Args[2:4])
		out[k] = append(out[k], logs[i])
	}
	return out
}

// core searches for constants from every start: from the prior if the rows are few, else for each way to overlap, with splits and without.
func (f *gemmFit) core(rows []Row) *hwmodel.GEMM {
	starts := f.starts(len(rows))
	var best *hwmodel.GEMM
	least := math.Inf(1)
	for i := range starts {
		g := f.search(&starts[i], rows, gemmSearch)
		if l := f.loss(g, rows); l < least {
			best, least = g, l
		}
	}
	if len(rows) >= denseRows {
		// Boards that are short of power slow down under load. Where it explains little,
		// it is left out.
		s := *best
		s.Droop, s.Settle = 0.5, 0.03
		if g := f.search(&s, rows, gemmSearch); f.loss(g, rows) < 0.97*least {
			best = g
		}
	}
	return best
}

// search improves the constants from start on, held to the prior if the rows are
// few: to move a constant e-fold must pay as much as gemmHold of one row's error.
func (f *gemmFit) search(start *hwmodel.GEMM, rows []Row, evaluations int) *hwmodel.GEMM {
	looks := sampled(rows, gemmLooks)
	held := f.parameters(priorOf(f.prior, start))
	v := SearchWithin(evaluations, f.parameters(start), func(v []float64) float64 {
		loss := f.loss(f.build(start, v), looks)
		if len(rows) < denseRows {
			loss += gemmHold * Strayed(held, v) / float64(len(rows))
		}
		return loss
	})
	return f.build(start, v)
}

// starts returns where the search starts from: from the prior if the rows are few, else
// for each way to overlap, with splits and without. Operands of 8 bits may come ready
// or be converted first.
func (f *gemmFit) starts(rows int) []hwmodel.GEMM {
	var starts []hwmodel.GEMM
	if rows < denseRows {
		starts = append(starts, *f.prior)
		if rows >= ownRows {
			starts = append(starts, typicalGEMM)
		}
	} else {
		for _, norm := range []int{2, 4} {
			for _, split := range []float64{typicalGEMM.Split, 0} {
				s := typicalGEMM
				s.Norm, s.Split = norm, split
				starts = append(starts, s)
			}
		}
	}
	act, _ := hwmodel.Width(f.key.DType)
	for i := range starts {
		s := &starts[i]
		converted := *s
		s.Convert = 0
		if act == 1 {
			if converted.Convert == 0 {
				converted.Convert = typicalGEMM.Convert
			}
			starts = append(starts, converted)
		}
	}
	return starts
}

// priorOf returns prior with the very parameters that start has.
func priorOf(prior, start *hwmodel.GEMM) *hwmodel.GEMM {
	g := *prior
	if start.Split == 0 || g.Split == 0 {
		g.Split = start.Split
	}
	if start.Convert == 0 || g.Convert == 0 {
		g.Convert = start.Convert
	}
	if start.Droop == 0 || g.Droop == 0 {
		g.Droop, g.Settle = start.Droop, start.Settle
	}
	return &g
}

// loss is the mean absolute logarithm of predicted over measured of the formula.
func (f *gemmFit) loss(g *hwmodel.GEMM, rows []Row) float64 {
	k := g.On(f.device)
	var sum float64
	for i := range rows {
		r := &rows[i]
		sum += math.Abs(math.Log(k.Core(r.Args[0], r.Args[1], r.Args[2], r.Args[3]) / r.Seconds))
	}
	return sum / float64(len(rows))
}

func (f *gemmFit) predict(g *hwmodel.GEMM) func(r *Row) float64 {
	k := g.On(f.device)
	return func(r *Row) float64 {
		return k.Batched(r.Args[0], int(r.Args[1]), int(r.Args[2]), int(r.Args[3]))
	}
}

// gemmNodes are the sizes at which a residual has nodes, where the rows reach.
var gemmNodes = [3][]float64{
	{1, 16, 64, 128, 256, 1024, 4096, 16384},
	{64, 256, 1024, 4096, 16384, 65536},
	{64, 256, 1024, 4096, 16384, 65536},
}

func (f *gemmFit) residual(g *hwmodel.GEMM, rows []Row) *hwmodel.Residual {
	samples := make([]Sample, len(rows))
	k := g.On(f.device)
	for i := range rows {
		a := rows[i].Args
		samples[i] = Sample{At: a[1:4:4], Log: math.Log(rows[i].Seconds / k.Core(a[0], a[1], a[2], a[3]))}
	}
	axes := make([]hwmodel.Axis, 3)
	for i, name := range []string{"m", "n", "k"} {
		axes[i] = hwmodel.Axis{Name: name, Nodes: reached(gemmNodes[i], samples, i)}
	}
	return FitResidual(axes, samples, 1)
}

// reached returns the nodes that lie among the samples' sizes, and the first beyond
// on either side.
func reached(nodes []float64, samples []Sample, axis int) []float64 {
	low, high := math.Inf(1), 0.0
	for i := range samples {
		low, high = min(low, samples[i].At[axis]), max(high, samples[i].At[axis])
	}
	first, last := 0, len(nodes)-1
	for first < last && nodes[first+1] <= low {
		first++
	}
	for last > first && nodes[last-1] >= high {
		last--
	}
	return nodes[first : last+1]
}
