package hwmodel

import (
	"fmt"
	"math"
)

// GEMM holds the fitted constants of matrix products by one library in one
// precision. All but times are fractions of a peak, so that they carry over to a
// sibling device.
//
// The library picks, among its tiles and the ways to split the inner dimension,
// the quickest. A choice covers the output with whole tiles, a tile runs on one SM,
// and tiles run in waves. Meanwhile tiles read their operands out of L2, and what
// L2 does not hold streams from memory.
type GEMM struct {
	Key
	// Batched marks kernels that compute many small products in one launch, for
	// which libraries have tiles of their own.
	Batched bool `toml:"batched,omitzero"`

	Launch    float64    `toml:"launch"`           // seconds, start and end of a kernel
	Compute   [6]float64 `toml:"compute"`          // share of peak FLOP/s inside tiles of 256x128, 128x128, 128x64, 64x64; in tiles of few rows; of few columns
	Ragged    float64    `toml:"ragged"`           // share of that left where rows are no multiple of 16
	Wave      float64    `toml:"wave"`             // how much of a last, partial wave is paid: 1 all of it, 0 its share
	Fill      float64    `toml:"fill"`             // length of a tile's pipeline fill, in inner-dimension elements
	Latency   float64    `toml:"latency"`          // seconds a wave, whatever its tiles compute
	Step      float64    `toml:"step"`             // seconds a byte of inner dimension that a tile cannot beat
	Split     float64    `toml:"split,omitzero"`   // share of L2 bandwidth at which the parts of a split inner dimension are added up; 0 if the library does not split
	Bandwidth float64    `toml:"bandwidth"`        // share of DRAM bandwidth while streaming
	Saturate  float64    `toml:"saturate"`         // share of the SMs whose loads together reach that bandwidth
	L2        float64    `toml:"l2"`               // bytes that tiles take in a byte out of L2 at its rate: above 1 where SMs share loads
	Resident  float64    `toml:"resident"`         // share of L2 in which activations and outputs stay
	Convert   float64    `toml:"convert,omitzero"` // share of DRAM bandwidth at which 16-bit activations are converted before the product; 0 if they are not
	Droop     float64    `toml:"droop,omitzero"`   // how much longer a product takes once the board has come down to its power limit, as a share
	Settle    float64    `toml:"settle,omitzero"`  // seconds of load in which it has come down half the way
	Norm      int        `toml:"norm"`             // how compute and streaming overlap, see [Overlap]: 1, 2 or 4

	Residual *Residual `toml:"residual"` // over m, n and k
	Fit      `toml:"fit"`
}

// tile is an output block that one SM computes at a time.
type tile struct {
	rows, cols float64
	class      int // index into [GEMM].Compute
}

// tiles lists the output blocks of the common libraries.
var tiles = [...]tile{
	{256, 128, 0}, {128, 256, 0}, {128, 128, 1}, {128, 64, 2}, {64, 128, 2}, {64, 64, 3}, {32, 32, 3},
	{4, 128, 4}, {16, 128, 4}, {32, 128, 4}, {128, 4, 5}, {128, 16, 5}, {128, 32, 5},
}

// splits lists into how many parts the libraries divide the inner dimension when
// an output has too few tiles to fill the device, and shortestPart the least that
// they leave to a part.
var splits = [...]float64{1, 2, 3, 4, 6, 8, 16, 32}

const shortestPart = 64

// GEMMKernel prices matrix products on one device. Its zero value prices nothing.
type GEMMKernel struct {
	plain, batched boundGEMM
}

// boundGEMM is a set of constants with what follows from the device.
type boundGEMM struct {
	*GEMM
	exact        bool    // constants of the very library asked for, measured on the device
	act, weight  float64 // bytes of an element of [m,k] and of [k,n]
	out          float64 // bytes of an element of the result
	peak         float64 // FLOP/s of the device
	dram, l2     float64 // bytes/s of the device
	sms          float64
	l2Size       float64
	stream, feed float64 // bytes/s reached from memory and out of L2, at their best
	join         float64 // bytes/s at which the parts of a split are added up
	rate         [6]float64
}

// On returns what prices products on d.
func (g *GEMM) On(d *Device) GEMMKernel {
	b := g.bind(d, g.DType)
	return GEMMKernel{plain: b, batched: b}
}

// bind works out what the constants come to on d for operands of the given dtype.
func (g *GEMM) bind(d *Device, dtype string) boundGEMM {
	b := boundGEMM{
		GEMM: g, exact: !g.Derived, out: 2, peak: d.FLOPs(dtype), dram: d.DRAMBytes, l2: d.L2Bytes,
		sms: float64(d.SMs), l2Size: float64(d.L2Size),
	}
	b.act, b.weight = Width(dtype)
	if b.act > 2 {
		b.out = b.act
	}
	b.stream, b.feed, b.join = d.DRAMBytes*g.Bandwidth, d.L2Bytes*g.L2, d.L2Bytes*g.Split
	for i, share := range g.Compute {
		b.rate[i] = b.peak / b.sms * share
	}
	return b
}

// Products returns what prices matrix products by the given library with operands
// of dtype: by its own constants if the profile has them, else by the nearest.
func (p *Profile) Products(library, dtype string) (GEMMKernel, error) {
	plain, exact := p.product(false, library, dtype)
	if plain == nil {
		return GEMMKernel{}, fmt.Errorf("%s has no constants for matrix products in %s", p.Device.Name, dtype)
	}
	k := GEMMKernel{plain: plain.bind(&p.Device, dtype)}
	k.plain.exact = exact && !plain.Derived
	k.batched = k.plain
	if batched, exact := p.product(true, library, dtype); batched != nil {
		k.batched = batched.bind(&p.Device, dtype)
		k.batched.exact = exact && !batched.Derived
	}
	return k, nil
}

// product returns the entry that serves best, nil if none does. Where a precision has
// no entry, the shares of the peaks of the next one that runs on the same units stand
// in.
func (p *Profile) product(batched bool, library, dtype string) (g *GEMM, exact bool) {
	for d, ok := dtype, true; ok; d, ok = standIn[d] {
		i, exact := Best(len(p.GEMMs), func(i int) Key {
			if p.GEMMs[i].Batched != batched {
				return Key{}
			}
			return p.GEMMs[i].Key
		}, library, d)
		if i >= 0 {
			return &p.GEMMs[i], exact && d == dtype
		}
	}
	return nil, false
}

// standIn names, for a precision that was not measured, the one whose shares of the
// peaks are likest.
var standIn = map[string]string{
	"fp8_block": "fp8", "fp8": "int8", "int8": "fp16", "w4a16": "w8a16", "w8a16": "fp16",
	"fp32_tf32ok": "tf32", "tf32": "fp16", "fp16": "fp32", "bf16": "fp32", "fp16_io_fp32_math": "fp32", "fp64": "fp32",
}

// Time returns the seconds of one [m,k]x[k,n] product.
func (g *GEMMKernel) Time(m, n, k int) float64 {
	return g.plain.time(1, float64(m), float64(n), float64(k))
}

// Batched returns the seconds of count products of the same shape in one launch,
// each with operands of its own.
func (g *GEMMKernel) Batched(count float64, m, n, k int) float64 {
	return g.of(count).time(count, float64(m), float64(n), float64(k))
}

// Estimate returns the seconds of count products and how far they can be trusted.
func (g *GEMMKernel) Estimate(count float64, m, n, k int) Estimate {
	b := g.of(count)
	return Estimate{Seconds: b.time(count, float64(m), float64(n), float64(k)), Band: b.Band, Derived: !b.exact}
}

// Fit says how far the constants of single products can be trusted, and whether they
// stand in for another library's.
func (g *GEMMKernel) Fit() (fit *Fit, exact bool) { return &g.plain.GEMM.Fit, g.plain.exact }

// Constants returns the constants behind the prices of batched or single products.
func (g *GEMMKernel) Constants(batched bool) *GEMM {
	if batched {
		return g.batched.GEMM
	}
	return g.plain.GEMM
}

func (g *GEMMKernel) of(count float64) *boundGEMM {
	if count > 1 {
		return &g.batched
	}
	return &g.plain
}

func (g *boundGEMM) time(count, m, n, k float64) float64 {
	if m <= 0 || n <= 0 || k <= 0 || count <= 0 {
		return 0
	}
	t := g.core(count, m, n, k)
	if g.Residual != nil {
		t *= g.Residual.At(m, n, k)
	}
	return max(t, g.floor(count, m, n, k))
}

// Core returns the seconds of the formula alone, without the residual, for fits.
func (g *GEMMKernel) Core(count, m, n, k float64) float64 { return g.of(count).core(count, m, n, k) }

// Floor returns the seconds that physics allows at least: FLOPs at the peak rate,
// what L2 cannot hold at the peak of memory, everything at the rate of L2.
func (g *GEMMKernel) Floor(count, m, n, k float64) float64 { return g.of(count).floor(count, m, n, k) }

func (g *boundGEMM) floor(count, m, n, k float64) float64 {
	bytes := count * (float64(m*k*g.act) + float64(k*n*g.weight) + float64(m*n*g.out))
	return max(2*count*m*n*k/g.peak, (bytes-g.l2Size)/g.dram, bytes/g.l2)
}

// core tries every tile and split and takes the quickest.
func (g *boundGEMM) core(count, m, n, k float64) float64 {
	results := count * m * n
	bytes := float64(count*m*k*g.act) + float64(results*g.out)
	bytes -= min(bytes, g.Resident*g.l2Size)
	stream := (bytes + float64(count*k*n*g.weight)) / g.stream
	ragged := 1.0
	if m > 16 && math.Mod(m, 16) != 0 {
		ragged = 1 / g.Ragged
	}
	best := math.Inf(1)
	for i := range tiles {
		t := &tiles[i]
		blocks := count * math.Ceil(m/t.rows) * math.Ceil(n/t.cols)
		perElement := Overlap(2*t.rows*t.cols/g.rate[t.class]*ragged, g.Step*g.act, 4)
		loads := float64(blocks*k*(float64(t.rows*g.act)+float64(t.cols*g.weight))) + float64(results*g.out)
		for _, s := range splits {
			if s > 1 && (g.Split == 0 || blocks*s > 2*g.sms || k/s < shortestPart) {
				break
			}
			fill := blocks * s / g.sms // how many times over the tiles fill the device
			waves := fill + float64(g.Wave*(math.Ceil(fill)-fill))
			compute := waves * (float64((k/s+g.Fill)*perElement) + g.Latency)
			if compute >= best {
				continue
			}
			feed := loads / (g.feed * min(1, fill))
			if s > 1 {
				// The parts are written and read again in 32 bits.
				feed += 8 * results * s / g.join
			}
			memory := Overlap(stream/min(1, fill/g.Saturate), feed, g.Norm)
			best = min(best, Overlap(compute, memory, g.Norm))
		}
	}
	if g.Convert > 0 {
		// 16 bits are read and 8 written, by a kernel of its own.
		best += 3 * count * m * k / (g.dram * g.Convert)
	}
	if g.Droop > 0 {
		best += g.Droop * best * best / (best + g.Settle)
	}
	return g.Launch + best
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

func (c *checker) gemm(name string, g *GEMM) {
	c.time(name+".launch", g.Launch)
	for i, v := range g.Compute {
		c.share(fmt.Sprintf("%s.compute[%d]", name, i), v)
	}
	c.share(name+".ragged", g.Ragged)
	c.within(name+".wave", g.Wave, 0, 1)
	c.time(name+".fill", g.Fill)
	c.time(name+".latency", g.Latency)
	c.time(name+".step", g.Step)
	c.within(name+".split", g.Split, 0, 1)
	c.share(name+".bandwidth", g.Bandwidth)
	c.within(name+".saturate", g.Saturate, 0.001, 10)
	c.within(name+".l2", g.L2, 0.001, 16)
	c.within(name+".resident", g.Resident, 0, 1)
	c.within(name+".convert", g.Convert, 0, 1)
	c.within(name+".droop", g.Droop, 0, 10)
	c.time(name+".settle", g.Settle)
	if g.Norm != 1 && g.Norm != 2 && g.Norm != 4 {
		c.fail("%s.norm is %d, must be 1, 2 or 4", name, g.Norm)
	}
	if g.Residual != nil && len(g.Residual.Axes) != 3 {
		c.fail("%s.residual has %d axes, must have 3: m, n, k", name, len(g.Residual.Axes))
		return
	}
	if err := g.Residual.check(name + ".residual"); err != nil {
		c.fail("%v", err)
	}
}
