package hwmodel

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// Law 2, test C6: on every device, no operator takes less time than its bytes need
// at the peak bandwidth or its FLOPs at the peak rate.
func TestNoOperatorBeatsPhysics(t *testing.T) {
	for _, name := range Names() {
		p, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				checkProducts(t, p)
				checkAttention(t, p)
				checkStreams(t, p)
				checkConvs(t, p)
				checkLinks(t, p)
			})
		})
	}
}

func atLeast(t *rapid.T, what string, got, floor float64) {
	// Time and floor are sums in different orders: allow for rounding.
	if got < floor*(1-1e-12) {
		t.Fatalf("%s takes %g s, physics allows no less than %g s", what, got, floor)
	}
}

func checkProducts(t *rapid.T, p *Profile) {
	m := rapid.IntRange(1, 20000).Draw(t, "m")
	n := rapid.IntRange(1, 60000).Draw(t, "n")
	k := rapid.IntRange(1, 30000).Draw(t, "k")
	count := rapid.SampledFrom([]float64{1, 1, 2, 500}).Draw(t, "products")
	d := &p.Device
	for i := range p.GEMMs {
		g := &p.GEMMs[i]
		kernel := g.On(d)
		// A product that was computed just before may have left its operands in L2.
		act, weight := Width(g.DType)
		moved := count * (float64(m)*float64(k)*act + float64(k)*float64(n)*weight + float64(m)*float64(n)*max(act, 2))
		flops := 2 * count * float64(m) * float64(n) * float64(k)
		atLeast(t, "matrix product of "+g.Engine+" in "+g.DType, kernel.Batched(count, m, n, k),
			max(flops/d.FLOPs(g.DType), (moved-float64(d.L2Size))/d.DRAMBytes, moved/d.L2Bytes))
	}

	experts := rapid.IntRange(1, 128).Draw(t, "experts")
	each := rapid.IntRange(1, experts).Draw(t, "experts a token")
	// Whatever the routing, the device computes tokens x experts a token rows, and
	// reads at least the experts of one token.
	rows := m * each
	layer := ExpertLayer{Tokens: m, Hidden: n, Inter: k, PerToken: each, Experts: experts, Spread: rapid.SampledFrom([]string{"", "balanced", "power_law_1.2"}).Draw(t, "spread")}
	load, err := layer.Load()
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.MoEs {
		kernel := p.MoEs[i].On(d)
		_, weight := Width(kernel.DType)
		flops := 6 * float64(rows) * float64(n) * float64(k) / d.FLOPs(kernel.DType)
		if layer.Spread == "power_law_1.2" {
			flops *= 0.5 // the quantiles of a skewed law add up to the rows in the main only
		}
		weights := (3*float64(each)*float64(n)*float64(k)*weight - float64(d.L2Size)) / d.DRAMBytes
		if layer.Spread != "" {
			weights = 0
		}
		atLeast(t, "layer of experts", kernel.Time(&load), max(flops, weights))
	}
}

func checkAttention(t *rapid.T, p *Profile) {
	d := &p.Device
	kv := rapid.IntRange(1, 64).Draw(t, "key/value heads")
	h := Heads{
		Query: kv * rapid.IntRange(1, 16).Draw(t, "group"), KV: kv,
		Dim: rapid.SampledFrom([]int{64, 128, 256}).Draw(t, "head dim"), KVBytes: rapid.SampledFrom([]int{1, 2}).Draw(t, "KV bytes"),
	}
	var b Batch
	for range rapid.IntRange(1, 8).Draw(t, "chunks") {
		b.AddChunk(rapid.IntRange(1, 8192).Draw(t, "chunk"), rapid.Int64Range(0, 100000).Draw(t, "cached"))
	}
	b.Decodes = rapid.IntRange(1, 512).Draw(t, "decodes")
	b.DecodeContext = int64(b.Decodes) * rapid.Int64Range(1, 100000).Draw(t, "context")
	perToken := float64(2 * h.KV * h.Dim * h.KVBytes)
	perPair := float64(4 * h.Query * h.Dim)
	tokens, attended := float64(b.ChunkTokens), float64(b.DecodeContext)
	for i := range p.Prefills {
		k := &p.Prefills[i]
		pairs := float64(b.ChunkPairs)
		if !k.Causal {
			pairs += (float64(b.ChunkSquares) - tokens) / 2
		}
		wide, _ := Width(k.DType)
		read := perToken*(float64(b.ChunkContext)+tokens) + (wide+2)*tokens*float64(h.Query*h.Dim)
		compute := perPair * pairs / d.FLOPs(k.DType)
		cold, warm := k.On(d, h), k.Again(d, h)
		atLeast(t, k.Engine+" prefill", cold.Time(&b), max(read/d.DRAMBytes, compute))
		atLeast(t, k.Engine+" prefill again", warm.Time(&b), max(read/d.L2Bytes, compute))
	}
	for i := range p.Decodes {
		k := &p.Decodes[i]
		compute := perPair * attended / d.FLOPs(k.DType)
		cold, warm := k.On(d, h), k.Again(d, h)
		atLeast(t, k.Engine+" decode", cold.Time(b.Decodes, b.DecodeContext), max(perToken*attended/d.DRAMBytes, compute))
		atLeast(t, k.Engine+" decode again", warm.Time(b.Decodes, b.DecodeContext), max(perToken*attended/d.L2Bytes, compute))
	}
	for i := range p.Mixeds {
		k := &p.Mixeds[i]
		cost := k.On(d, h)
		read := perToken * (float64(b.ChunkContext) + tokens + attended)
		compute := perPair * (float64(b.ChunkPairs) + attended) / d.FLOPs(k.DType)
		atLeast(t, k.Engine+" mixed", cost.Time(&b, b.DecodeContext), max(read/d.DRAMBytes, compute))
	}
}

func checkStreams(t *rapid.T, p *Profile) {
	d := &p.Device
	rows := rapid.IntRange(1, 1<<20).Draw(t, "rows")
	cols := rapid.IntRange(1, 1<<16).Draw(t, "columns")
	bytes := rapid.Float64Range(1, 1e10).Draw(t, "bytes")
	for i := range p.Streams {
		s := &p.Streams[i]
		c := Pass{Bytes: bytes, Width: 2}
		if s.Rows {
			c = RowPass(rows, cols)
		}
		// What L2 kept from the call before need not cross the DRAM bus again.
		atLeast(t, "data-moving kernel "+s.Function, s.Time(d, c), max(c.Bytes/d.L2Bytes, (c.Bytes-float64(d.L2Size))/d.DRAMBytes))
	}
}

func checkConvs(t *rapid.T, p *Profile) {
	d := &p.Device
	side := rapid.IntRange(1, 256)
	kernel := rapid.SampledFrom([]float64{1, 3, 5, 7}).Draw(t, "kernel")
	stride := rapid.SampledFrom([]float64{1, 2}).Draw(t, "stride")
	c := ConvShape{
		N: float64(rapid.IntRange(1, 256).Draw(t, "images")), Cin: float64(rapid.IntRange(1, 2048).Draw(t, "channels in")), Cout: float64(rapid.IntRange(1, 2048).Draw(t, "channels out")),
		H: float64(side.Draw(t, "height")), W: float64(side.Draw(t, "width")), KernelH: kernel, KernelW: kernel, StrideH: stride, StrideW: stride,
		PadH: math.Floor(kernel / 2), PadW: math.Floor(kernel / 2), Groups: 1,
	}
	if rapid.Bool().Draw(t, "depthwise") {
		c.Groups, c.Cout = c.Cin, c.Cin
	}
	flops, elements := c.Work()
	for i := range p.Convs {
		v := &p.Convs[i]
		width, _ := Width(v.DType)
		got := v.Time(d, &c)
		// The quickest method known for 3x3 filters needs a quarter of the multiplications.
		atLeast(t, "convolution "+v.Pass, got, max(flops/4/d.FLOPs(v.DType), (elements*width-float64(d.L2Size))/d.DRAMBytes))
		if math.IsNaN(got) || math.IsInf(got, 0) {
			t.Fatalf("convolution %s of %+v takes %g s", v.Pass, c, got)
		}
	}
}

func checkLinks(t *rapid.T, p *Profile) {
	d := &p.Device
	bytes := rapid.Float64Range(1, 1e10).Draw(t, "message")
	peak := max(d.LinkBytes, d.PCIeBytes)
	n := rapid.IntRange(2, 16).Draw(t, "devices")
	for _, algorithm := range []string{"nccl", "custom"} {
		c, _, err := p.AllReduce(d.Group, algorithm, n)
		if err != nil {
			t.Fatal(err)
		}
		// A switch that adds up takes each summand once and gives the sum once.
		times := 2.0
		if d.Group == NVSwitch {
			times = 1
		}
		atLeast(t, "all-reduce by "+algorithm, c.Time(bytes), bytes*times*float64(n-1)/float64(n)/peak)
	}
	for i := range p.Collectives {
		q := p.Collectives[i].on(d)
		share := 1.0
		if q.Collective != "send_recv" && q.Collective != "broadcast" {
			share = 1 / float64(q.Devices)
		}
		atLeast(t, q.Collective+" over "+string(q.Link), q.Time(bytes), bytes*share/peak)
	}
	for _, link := range []Link{d.Group, PCIe, InterNode} {
		if s, err := p.SendOver(link); err == nil {
			atLeast(t, "send over "+string(link), s.Time(bytes), bytes/peak)
		}
	}
	atLeast(t, "copy to host", p.Copy.Time(bytes), bytes/d.PCIeBytes)
}
