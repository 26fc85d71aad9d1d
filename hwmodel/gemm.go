package hwmodel

import "math"

// GEMM holds the fitted constants of matrix multiplication on tensor cores. All
// but Launch are fractions of a peak, so that they carry over to a sibling device.
//
// The library picks, among its tiles and the ways to split the inner dimension,
// the quickest. A choice covers the output with whole tiles, a tile runs on one
// SM, and tiles run in waves. Weights and activations stream from memory
// meanwhile.
type GEMM struct {
	Launch    float64    `toml:"launch"`     // seconds, start and end of a kernel
	Compute   [4]float64 `toml:"compute"`    // share of peak FLOP/s inside tiles of 256x128, 128x128, 128x64, 64x64
	Bandwidth float64    `toml:"bandwidth"`  // share of DRAM bandwidth while streaming
	Wave      float64    `toml:"wave"`       // how much of a last, partial wave is paid: 1 all of it, 0 its share
	Fill      float64    `toml:"fill"`       // length of a tile's pipeline fill, in inner-dimension elements
	Norm      int        `toml:"norm"`       // how compute and streaming overlap: (c^Norm + s^Norm)^(1/Norm), 1, 2 or 4
	Split     float64    `toml:"split_cost"` // share of L2 bandwidth at which the parts of a split inner dimension are added up

	Fit `toml:"fit"`
}

// tile is an output block that one SM computes at a time.
type tile struct{ rows, cols, class int }

// tiles lists the output blocks of the common libraries for 16-bit operands.
var tiles = [...]tile{{256, 128, 0}, {128, 256, 0}, {128, 128, 1}, {128, 64, 2}, {64, 128, 2}, {64, 64, 3}}

// splits lists into how many parts the libraries divide the inner dimension when
// an output has too few tiles to fill the device.
var splits = [...]float64{1, 2, 3, 4, 6, 8}

// Time returns the seconds of one [m,k]x[k,n] product on d whose operands have the
// given bytes an element.
func (g *GEMM) Time(d *Device, m, n, k, bytes int) float64 {
	return g.Batched(d, 1, m, n, k, bytes)
}

// Batched returns the seconds of count products of the same shape in one launch,
// with separate weights, as in a layer of experts.
func (g *GEMM) Batched(d *Device, count float64, m, n, k, bytes int) float64 {
	if m <= 0 || n <= 0 || k <= 0 || count <= 0 {
		return 0
	}
	peak := d.TensorFLOPs(bytes)
	fm, fn, fk := float64(m), float64(n), float64(k)
	moved := float64(fk*fn)*float64(bytes) + float64(fm*fk)*float64(bytes) + float64(fm*fn)*2
	stream := count * moved / (d.DRAMBytes * g.Bandwidth)
	best := math.Inf(1)
	for _, t := range tiles {
		blocks := count * math.Ceil(fm/float64(t.rows)) * math.Ceil(fn/float64(t.cols))
		perTile := float64(2*t.rows*t.cols) / (peak / float64(d.SMs) * g.Compute[t.class])
		for _, s := range splits {
			if s > 1 && blocks*s > 2*float64(d.SMs) {
				break
			}
			w := blocks * s / float64(d.SMs)
			w += float64(g.Wave * (math.Ceil(w) - w))
			c := w * (fk/s + g.Fill) * perTile
			if s > 1 {
				// The parts are written and read again in 32 bits.
				c += count * 8 * fm * fn * s / (d.L2Bytes * g.Split)
			}
			best = min(best, c)
		}
	}
	return g.Launch + Overlap(best, stream, g.Norm)
}

// Overlap combines two activities that run at the same time and hinder each other:
// (a^norm + b^norm)^(1/norm) for norms 1, 2 and 4, and the longer of the two for norm
// 0. Only square roots are used, which round alike on every machine.
func Overlap(a, b float64, norm int) float64 {
	switch norm {
	case 0:
		return max(a, b)
	case 1:
		return a + b
	case 2:
		return math.Sqrt(float64(a*a) + float64(b*b))
	default:
		a, b = a*a, b*b
		return math.Sqrt(math.Sqrt(float64(a*a) + float64(b*b)))
	}
}

// gemmFloor is what physics allows at least for the product.
func gemmFloor(d *Device, m, n, k, bytes int) float64 {
	fm, fn, fk := float64(m), float64(n), float64(k)
	flops := 2 * fm * fn * fk / d.TensorFLOPs(bytes)
	moved := (float64(fk*fn)*float64(bytes) + float64(fm*fk)*float64(bytes) + float64(fm*fn)*2) / d.DRAMBytes
	return max(flops, moved)
}

// Grouped holds the fitted constants of a layer of experts computed by one grouped
// kernel, which sorts tokens by expert and runs below the speed of plain products.
type Grouped struct {
	Launch     float64 `toml:"launch"`     // seconds, routing and sorting included
	Efficiency float64 `toml:"efficiency"` // share of the speed of plain products
	Fit        `toml:"fit"`
}

// Experts returns the seconds in which tokens, each sent to perToken of experts,
// pass through gated experts of the given widths. Experts are drawn evenly: among E
// experts, n tokens with k each touch E(1-(1-k/E)^n) in the mean, whose weights
// are read once.
func (p *Profile) Experts(tokens, experts, perToken, hidden, width, bytes int) float64 {
	if tokens <= 0 || experts <= 0 {
		return 0
	}
	miss, base, n := 1.0, 1-float64(perToken)/float64(experts), tokens
	for ; n > 0; n >>= 1 { // base^tokens by squaring: products round alike everywhere
		if n&1 == 1 {
			miss *= base
		}
		base *= base
	}
	touched := max(float64(experts)*(1-miss), float64(perToken))
	each := int(math.Ceil(float64(tokens*perToken) / touched))
	d := &p.Device
	up := p.GEMM.Batched(d, touched, each, 2*width, hidden, bytes)
	down := p.GEMM.Batched(d, touched, each, hidden, width, bytes)
	return p.Grouped.Launch + (up+down)/p.Grouped.Efficiency
}
