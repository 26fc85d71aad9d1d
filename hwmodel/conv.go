package hwmodel

import "math"

// Conv holds the fitted constants of two-dimensional convolution by one library, for
// one format and one pass. The library computes it as a matrix product over
// patches, or by Winograd's method where the filter is small and the stride 1.
type Conv struct {
	Key
	Pass string `toml:"pass"` // fwd, bwd_data or bwd_filter

	Host      float64    `toml:"host"`               // seconds from one call to the next at least
	Launch    float64    `toml:"launch"`             // seconds, start and end of the kernels
	Direct    [4]float64 `toml:"direct"`             // share of peak FLOP/s inside tiles of 128x128, 128x64, 64x32 and 32x8
	Winograd  float64    `toml:"winograd,omitzero"`  // share of peak FLOP/s of Winograd's products, 0 if it is not used
	Transform float64    `toml:"transform,omitzero"` // share of DRAM bandwidth at which patches are brought into Winograd's form and back
	Enough    float64    `toml:"enough,omitzero"`    // elements of the input from which the library takes Winograd's method as often as not
	Deep      float64    `toml:"deep,omitzero"`      // input channels from which it does
	Wave      float64    `toml:"wave"`               // how much of a last, partial wave is paid: 1 all of it, 0 its share
	Fill      float64    `toml:"fill"`               // length of a tile's pipeline fill, in inner-dimension elements
	Bandwidth float64    `toml:"bandwidth"`          // share of DRAM bandwidth while streaming
	Skip      float64    `toml:"skip,omitzero"`      // how much of the work is spared that a stride makes needless in the input's gradient: 1 all, 0 none
	Odd       float64    `toml:"odd,omitzero"`       // share of the speed that is left where tensor cores find channels that are no multiple of 8, which they pad to one

	Residual *Residual `toml:"residual,omitempty"` // over output pixels, input channels and output channels
	Fit      `toml:"fit"`
}

// ConvShape is a convolution of a batch of N images with Cin channels of H x W pixels to
// Cout channels, in groups that do not mix.
type ConvShape struct {
	N, Cin, H, W, Cout, KernelH, KernelW, StrideH, StrideW, PadH, PadW, Groups float64
}

// Out returns the height and width of the output.
func (c *ConvShape) Out() (h, w float64) {
	h = math.Floor((c.H+2*c.PadH-c.KernelH)/c.StrideH) + 1
	w = math.Floor((c.W+2*c.PadW-c.KernelW)/c.StrideW) + 1
	return max(h, 1), max(w, 1)
}

// Work returns the multiply-adds of direct convolution, counted as two each, and the
// elements of input, weights and output.
func (c *ConvShape) Work() (flops, elements float64) {
	oh, ow := c.Out()
	g := max(c.Groups, 1)
	flops = 2 * c.N * oh * ow * c.Cout * c.Cin / g * c.KernelH * c.KernelW
	return flops, c.N*c.Cin*c.H*c.W + c.Cout*c.Cin/g*c.KernelH*c.KernelW + c.N*c.Cout*oh*ow
}

// winogradGain is how many multiplications of direct convolution one of Winograd's
// replaces at best, with filters of 3x3 and output tiles of 4x4 (Lavin and Gray, 2016).
const winogradGain = 4

// winogradTile is the side of the block of output pixels that Winograd's kernels pad
// an image to: times of 3x3 convolutions dip where a side is a multiple of 4.
const winogradTile = 4

// Time returns the seconds of one pass over c on d, never less than physics allows.
func (v *Conv) Time(d *Device, c *ConvShape) float64 {
	peak := d.FLOPs(v.DType)
	width, _ := Width(v.DType)
	_, elements := c.Work()
	stream := elements * width / (d.DRAMBytes * v.Bandwidth)
	best := v.direct(d, c, peak)
	if v.Winograd > 0 && c.fast() {
		share := v.taken(c)
		best = math.Pow(best, 1-share) * math.Pow(v.winograd(d, c, peak, width), share)
	}
	t := v.Launch + Overlap(best, stream, 2)
	if v.Residual != nil {
		oh, ow := c.Out()
		t *= v.Residual.At(c.N*oh*ow, c.Cin, c.Cout)
	}
	return max(Overlap(v.Host, t, 4), ConvFloor(d, v.DType, c))
}

// taken returns how often the library computes c by Winograd's method. It decides by a
// rule of its own, not by the time: it takes products over patches for small inputs and
// for few channels, be they three times slower. In between, the time is the mean of
// both, as shares of logarithms.
func (v *Conv) taken(c *ConvShape) float64 {
	channels := c.Cin
	if v.Pass == "bwd_data" {
		channels = c.Cout
	}
	size, deep := c.N*c.H*c.W*channels/v.Enough, channels/v.Deep
	size, deep = size*size, deep*deep
	deep *= deep
	return size / (1 + size) * deep / (1 + deep)
}

// fast tells whether a method with fewer multiplications exists: Winograd's for small
// square filters that move by single pixels.
func (c *ConvShape) fast() bool {
	return c.KernelH == c.KernelW && (c.KernelH == 3 || c.KernelH == 5) && c.StrideH == 1 && c.StrideW == 1 && c.Groups <= 1
}

// ConvFloor returns the seconds that physics asks at least: the arithmetic of the best
// method known for the filter, and input, weights and output moved past what L2 holds.
func ConvFloor(d *Device, dtype string, c *ConvShape) float64 {
	flops, elements := c.Work()
	if c.KernelH*c.KernelW > 1 {
		flops /= winogradGain // methods by Fourier transform gain no more on common filters
	}
	width, _ := Width(dtype)
	return max(flops/d.FLOPs(dtype), (elements*width-float64(d.L2Size))/d.DRAMBytes)
}

// product returns the matrix product that the pass amounts to for each group:
// rows x inner times inner x cols.
func (v *Conv) product(c *ConvShape) (rows, cols, inner float64) {
	oh, ow := c.Out()
	g := max(c.Groups, 1)
	window := c.KernelH * c.KernelW
	switch v.Pass {
	case "bwd_data":
		needless := 1 - 1/(c.StrideH*c.StrideW)
		return c.N * c.H * c.W, c.Cin / g, c.Cout / g * window * (1 - float64(v.Skip*needless))
	case "bwd_filter":
		return c.Cout / g, c.Cin / g * window, c.N * oh * ow
	}
	return c.N * oh * ow, c.Cout / g, c.Cin / g * window
}

// convTiles are the blocks of output that an SM computes at a time.
var convTiles = [...]struct{ rows, cols float64 }{{128, 128}, {128, 64}, {64, 32}, {32, 8}}

// direct returns the seconds of the product over patches, by the quickest tile.
func (v *Conv) direct(d *Device, c *ConvShape, peak float64) float64 {
	if v.Odd > 0 && (math.Mod(c.Cin, 8) != 0 || math.Mod(c.Cout, 8) != 0) {
		padded := *c
		padded.Cin, padded.Cout = 8*math.Ceil(c.Cin/8), 8*math.Ceil(c.Cout/8)
		c, peak = &padded, peak*v.Odd
	}
	rows, cols, inner := v.product(c)
	best := math.Inf(1)
	for i, t := range convTiles {
		rate := peak / float64(d.SMs) * v.Direct[i]
		for _, split := range v.splits() {
			if split > 1 && split > inner/32 {
				break
			}
			blocks := max(c.Groups, 1) * math.Ceil(rows/t.rows) * math.Ceil(cols/t.cols) * split
			w := v.waves(d, blocks)
			s := w * 2 * t.rows * t.cols * (inner/split + v.Fill) / rate
			if split > 1 { // the parts are added up in 32 bits
				s += 8 * rows * cols * split / d.L2Bytes
			}
			best = min(best, s)
		}
	}
	return best
}

// splits lists into how many parts the inner dimension may be divided: often that of the
// filter's gradient, which runs over all pixels; a little on tensor cores; not otherwise.
func (v *Conv) splits() []float64 {
	switch {
	case v.Pass == "bwd_filter":
		return convSplits[:]
	case v.Odd > 0:
		return convSplits[:4]
	}
	return convSplits[:1]
}

var convSplits = [...]float64{1, 2, 4, 8, 16, 32, 64, 128}

// winograd returns the seconds of Winograd's method: products over the tiles of each
// image, and the transforms before and after.
func (v *Conv) winograd(d *Device, c *ConvShape, peak, width float64) float64 {
	oh, ow := c.Out()
	cin, cout := c.Cin, c.Cout
	if v.Pass == "bwd_data" {
		cin, cout, oh, ow = cout, cin, c.H, c.W
	}
	window := c.KernelH * c.KernelW
	pixels := c.N * math.Ceil(oh/winogradTile) * math.Ceil(ow/winogradTile) * winogradTile * winogradTile
	rate := peak / float64(d.SMs) * v.Winograd * winogradGain / window
	moved := (pixels*cin*4 + pixels*cout + 16*cin*cout) * width // each input pixel lies in up to four tiles
	transforms := moved / (d.DRAMBytes * v.Transform)
	if v.Pass == "bwd_filter" {
		// The inner dimension runs over all pixels and is divided until the device is full.
		return transforms + 2*math.Ceil(cin/32)*32*math.Ceil(cout/32)*32*pixels/(rate*float64(d.SMs))
	}
	products := math.Inf(1)
	const rows = 128                            // pixels of a block
	for _, cols := range [...]float64{64, 32} { // channels of a block
		w := v.waves(d, math.Ceil(pixels/rows)*math.Ceil(cout/cols))
		products = min(products, w*2*rows*cols*(cin+v.Fill/9)/rate)
	}
	return transforms + products
}

// waves returns how many waves of blocks are paid for.
func (v *Conv) waves(d *Device, blocks float64) float64 {
	w := blocks / float64(d.SMs)
	return w + float64(v.Wave*(math.Ceil(w)-w))
}

// Estimate returns the time of one pass with its doubt.
func (v *Conv) Estimate(d *Device, c *ConvShape) Estimate {
	return Estimate{Seconds: v.Time(d, c), Band: v.Band, Derived: v.Derived}
}

// Conv returns the constants that serve a pass by engine with operands of dtype best,
// nil if there are none.
func (p *Profile) Conv(engine, dtype, pass string) (v *Conv, exact bool) {
	best, index := 0, -1
	for i := range p.Convs {
		q := &p.Convs[i]
		match := q.Match(engine, dtype)
		if match == 0 {
			continue
		}
		if score := 2*match + bit(q.Pass == pass)*16; score > best {
			best, index = score, i
		}
	}
	if index < 0 {
		return nil, false
	}
	v = &p.Convs[index]
	return v, v.Engine == engine && v.Pass == pass
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *checker) conv(name string, v *Conv) {
	c.time(name+".host", v.Host)
	c.time(name+".launch", v.Launch)
	for _, s := range v.Direct {
		c.share(name+".direct", s)
	}
	c.within(name+".winograd", v.Winograd, 0, 1)
	if v.Winograd > 0 {
		c.share(name+".transform", v.Transform)
		c.positive(name+".enough", v.Enough)
		c.positive(name+".deep", v.Deep)
	}
	c.within(name+".wave", v.Wave, 0, 1)
	c.time(name+".fill", v.Fill)
	c.share(name+".bandwidth", v.Bandwidth)
	c.within(name+".skip", v.Skip, 0, 1)
	c.within(name+".odd", v.Odd, 0, 1)
	if err := v.Residual.check(name + ".residual"); err != nil {
		c.fail("%v", err)
	}
}
