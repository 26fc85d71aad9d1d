package hwmodel

import (
	"fmt"
	"math"
)

// MoE holds the fitted constants of a layer of gated experts, computed by grouped
// kernels: tokens are routed and sorted by expert, each expert's rows are padded to
// whole blocks, two grouped products run with the activation between them, and the
// results are summed for each token.
type MoE struct {
	Key

	Launch    float64    `toml:"launch"`    // seconds, all kernels of the layer together
	Expert    float64    `toml:"expert"`    // seconds an expert of the rank, for sorting
	Compute   [4]float64 `toml:"compute"`   // share of peak FLOP/s in blocks of 16, 32, 64 and 128 rows
	Fill      float64    `toml:"fill"`      // length of a tile's pipeline fill, in inner-dimension elements
	Wave      float64    `toml:"wave"`      // how much of a last, partial wave is paid: 1 all of it, 0 its share
	Bandwidth float64    `toml:"bandwidth"` // share of DRAM bandwidth at which weights stream
	Saturate  float64    `toml:"saturate"`  // share of the SMs whose loads together reach that bandwidth
	Move      float64    `toml:"move"`      // share of DRAM bandwidth at which rows are gathered, activated and summed
	Norm      int        `toml:"norm"`      // how compute and streaming overlap, see [Overlap]: 1, 2 or 4
	Residual  *Residual  `toml:"residual"`  // over rows an expert, elements of an expert's weights, and experts on the rank
	Fit       `toml:"fit"`
}

// ExpertLayer is a layer of experts as one device computes it.
type ExpertLayer struct {
	Tokens, Hidden, Inter int // Inter is the width of one expert on the device
	PerToken, Experts     int // experts a token is sent to, of how many in all
	Ranks                 int // devices that the experts are divided among, 0 counts as 1
	// Spread says how tokens spread over experts: "" if each token draws evenly,
	// "balanced" if loads are equal, or "power_law_A" for loads drawn from x^-A.
	Spread string
}

// quantiles is how many groups of alike experts stand for the loads of all.
const quantiles = 32

// ExpertLoad is the work of a layer: groups of experts with the same number of rows.
type ExpertLoad struct {
	layer        ExpertLayer
	n            int
	experts      [quantiles]float64 // in each group, those with rows alone
	rows         [quantiles]float64 // of each of them
	local        float64            // experts on the rank
	touched, all float64            // experts with rows, and rows of all
}

// Load works out which experts of the busiest rank have how many rows.
func (l *ExpertLayer) Load() (ExpertLoad, error) {
	ranks := float64(max(1, l.Ranks))
	tokens, experts := float64(l.Tokens), float64(l.Experts)
	routed := tokens * float64(l.PerToken)
	w := ExpertLoad{layer: *l, local: experts / ranks}
	var alpha float64
	switch n, err := fmt.Sscanf(l.Spread, "power_law_%g", &alpha); {
	case l.Spread == "":
		touched := max(experts*(1-power(1-float64(l.PerToken)/experts, l.Tokens)), float64(l.PerToken))
		w.even(touched/ranks, routed/touched)
	case l.Spread == "balanced":
		touched := min(experts, routed)
		w.even(touched/ranks, routed/touched)
	case n == 1 && err == nil && alpha > 0 && alpha != 1 && 4*l.PerToken > l.Experts:
		// An expert has at most one row of each token: where a token goes to many of
		// them there is no room for a skew.
		w.even(experts/ranks, routed/experts)
	case n == 1 && err == nil && alpha > 0 && alpha != 1:
		w.skewed(alpha, tokens, routed, ranks)
	default:
		return w, fmt.Errorf("spread %q of tokens over experts is not known; it is balanced or power_law_A with A above 0 and not 1", l.Spread)
	}
	return w, nil
}

// power returns base^n by squaring: products round alike everywhere.
func power(base float64, n int) float64 {
	p := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			p *= base
		}
		base *= base
	}
	return p
}

func (w *ExpertLoad) even(experts, rows float64) {
	w.n, w.experts[0], w.rows[0] = 1, experts, rows
	w.touched, w.all = experts, experts*rows
}

// skewed spreads rows as AIConfigurator's measurements do (collector/helper.py, Apache-
// 2.0): loads are drawn from x^-alpha between 1 and 0.8 of the tokens, or 0.01 and 2 if
// rows are fewer than experts, scaled to the rows, and rounded; the rank with most rows
// is timed. Here they are the quantiles of that law.
func (w *ExpertLoad) skewed(alpha, tokens, routed, ranks float64) {
	experts := float64(w.layer.Experts)
	low, high := 1.0, 0.8*tokens
	if routed <= experts {
		low, high = 0.01, 2
	}
	groups := min(quantiles, w.layer.Experts)
	a := math.Pow(low, 1-alpha)
	b := math.Pow(high, 1-alpha)
	var x [quantiles]float64
	var sum, squares float64
	for i := range groups {
		u := (float64(i) + 0.5) / float64(groups)
		x[i] = math.Pow(a+float64((b-a)*u), 1/(1-alpha))
		sum += x[i]
		squares += float64(x[i] * x[i])
	}
	mean := sum / float64(groups)
	scale := routed / experts / mean
	if ranks > 1 {
		// The most rows among so many ranks lie about sqrt(2 ln ranks) - 0.6 standard
		// deviations above the mean.
		sd := math.Sqrt(max(0, squares/float64(groups)-float64(mean*mean)) / w.local)
		scale *= min(1+float64(sd/mean*max(0, math.Sqrt(2*math.Log(ranks))-0.6)), ranks)
	}
	each := w.local / float64(groups)
	for i := range groups {
		rows := math.Round(min(scale*x[i], tokens))
		if rows == 0 {
			continue
		}
		w.experts[w.n], w.rows[w.n] = each, rows
		w.touched += each
		w.all += float64(each * rows)
		w.n++
	}
	if w.n == 0 {
		w.even(max(1, routed/ranks), 1)
	}
}

// MoEKernel prices layers of experts on one device.
type MoEKernel struct {
	*MoE
	exact       bool
	act, weight float64
	peak, dram  float64
	sms, l2Size float64
}

// On returns what prices layers of experts on d.
func (m *MoE) On(d *Device) MoEKernel { return m.bind(d, m.DType) }

func (m *MoE) bind(d *Device, dtype string) MoEKernel {
	k := MoEKernel{MoE: m, exact: !m.Derived, peak: d.FLOPs(dtype), dram: d.DRAMBytes, sms: float64(d.SMs), l2Size: float64(d.L2Size)}
	k.act, k.weight = Width(dtype)
	return k
}

// ExpertLayers returns what prices layers of experts by the given library with operands
// of dtype: by its own constants if the profile has them, else by the nearest.
func (p *Profile) ExpertLayers(library, dtype string) (MoEKernel, error) {
	chain := []string{dtype}
	for d, ok := standIn[dtype]; ok; d, ok = standIn[d] {
		chain = append(chain, d)
	}
	// Nobody measured experts in 32 bits.
	for _, d := range append(chain, "bf16") {
		i, exact := Best(len(p.MoEs), func(i int) Key { return p.MoEs[i].Key }, library, d)
		if i >= 0 {
			k := p.MoEs[i].bind(&p.Device, dtype)
			k.exact = exact && d == dtype && !k.Derived
			return k, nil
		}
	}
	return MoEKernel{}, fmt.Errorf("%s has no constants for layers of experts in %s", p.Device.Name, dtype)
}

// Constants says how far the constants can be trusted, and whether they stand in for
// another library's.
func (k *MoEKernel) Constants() (fit *Fit, exact bool) { return &k.MoE.Fit, k.exact }

// Time returns the seconds of the layer.
func (k *MoEKernel) Time(w *ExpertLoad) float64 {
	if w.all <= 0 {
		return 0
	}
	t := k.Core(w)
	if k.Residual != nil {
		rows, size, experts := w.Sizes()
		t *= k.Residual.At(rows, size, experts)
	}
	return max(t, k.Floor(w))
}

// Estimate returns the seconds of the layer and how far they can be trusted.
func (k *MoEKernel) Estimate(w *ExpertLoad) Estimate {
	return Estimate{Seconds: k.Time(w), Band: k.Band, Derived: !k.exact}
}

// Sizes returns what a residual depends on: the rows an expert of the rank has in the
// mean, the elements of an expert's weights, and the experts on the rank.
func (w *ExpertLoad) Sizes() (rows, size, experts float64) {
	return w.all / w.local, 3 * float64(w.layer.Hidden) * float64(w.layer.Inter), w.local
}

// Floor returns the seconds that physics allows at least.
func (k *MoEKernel) Floor(w *ExpertLoad) float64 {
	_, size, _ := w.Sizes()
	return max(2*w.all*size/k.peak, (w.touched*size*k.weight-k.l2Size)/k.dram)
}

// blockRows are the blocks that grouped kernels pad an expert's rows to.
var blockRows = [...]float64{16, 32, 64, 128}

// tileColumns is the width of the tiles of grouped kernels.
const tileColumns = 128

// Core returns the seconds of the formula alone, without the residual, for fits.
func (k *MoEKernel) Core(w *ExpertLoad) float64 {
	hidden, inter := float64(w.layer.Hidden), float64(w.layer.Inter)
	best := math.Inf(1)
	up, down := math.Ceil(2*inter/tileColumns), math.Ceil(hidden/tileColumns)
	stream := w.touched * 3 * hidden * inter * k.weight / (k.dram * k.Bandwidth)
	for c, rows := range blockRows {
		var blocks float64
		for i := range w.n {
			blocks += float64(w.experts[i] * math.Ceil(w.rows[i]/rows))
		}
		perElement := 2 * rows * tileColumns / (k.peak / k.sms * k.Compute[c])
		compute := float64(k.waves(blocks*up)*(hidden+k.Fill)*perElement) + float64(k.waves(blocks*down)*(inter+k.Fill)*perElement)
		memory := stream / min(1, blocks*min(up, down)/(k.sms*k.Saturate))
		best = min(best, Overlap(compute, memory, k.Norm))
	}
	// Rows are gathered, the gate and its product written and read, results written and
	// read once more to be summed.
	moved := w.all * (hidden*(k.act+4) + 6*inter)
	return k.Launch + float64(k.Expert*w.local) + best + moved/(k.dram*k.Move)
}

// waves returns how often tiles fill the device.
func (k *MoEKernel) waves(tiles float64) float64 {
	w := tiles / k.sms
	return w + float64(k.Wave*(math.Ceil(w)-w))
}

func (c *checker) moe(name string, m *MoE) {
	c.time(name+".launch", m.Launch)
	c.time(name+".expert", m.Expert)
	for i, v := range m.Compute {
		c.share(fmt.Sprintf("%s.compute[%d]", name, i), v)
	}
	c.time(name+".fill", m.Fill)
	c.within(name+".wave", m.Wave, 0, 1)
	c.share(name+".bandwidth", m.Bandwidth)
	c.within(name+".saturate", m.Saturate, 0.001, 10)
	c.within(name+".move", m.Move, 0.001, 10)
	if m.Norm != 1 && m.Norm != 2 && m.Norm != 4 {
		c.fail("%s.norm is %d, must be 1, 2 or 4", name, m.Norm)
	}
	if m.Residual != nil && len(m.Residual.Axes) != 3 {
		c.fail("%s.residual has %d axes, must have 3: rows, size, experts", name, len(m.Residual.Axes))
		return
	}
	if err := m.Residual.check(name + ".residual"); err != nil {
		c.fail("%v", err)
	}
}
