package calibrate

import (
	"fmt"
	"slices"

	"orrery/hwmodel"
)

// decodes is the operator of attention from one query a sequence.
var decodes = &Operator{
	Name: "attention_decode", Words: []string{"kv_dtype"},
	Sizes:   []string{"batch", "q_heads", "kv_heads", "head_dim", "kv_len"},
	Work:    decodeWork,
	Predict: predictDecode,
	Clear:   func(p *hwmodel.Profile) { p.Decodes = nil },
	Fit:     fitDecodes,
	Derive:  deriveDecodes,
	Scarce:  true,
	Fits:    decodeFits,
}

// decodeWork returns the FLOPs and bytes of a row.
func decodeWork(r *Row) (flops, bytes float64) {
	n, q, kv, dim, keys := r.Args[0], r.Args[1], r.Args[2], r.Args[3], r.Args[4]
	w, _ := hwmodel.Width(r.DType)
	c, _ := hwmodel.Width(r.Words[0])
	return 4 * n * q * dim * keys, n * dim * (2*w*q + 2*c*kv*keys)
}

// decodeSet returns the constants that a row belongs to. TensorRT-LLM shares blocks among
// up to 32 query heads; its times for larger groups are those of its kernel for heads
// without groups.
func decodeSet(r *Row) attentionSet {
	group := r.Args[1] / r.Args[2]
	return attentionSetOf(r, group > 1 && !(r.Source == "aic-trtllm" && group > trtllmGroup))
}

const trtllmGroup = 32

func predictDecode(p *hwmodel.Profile, r *Row) (hwmodel.Estimate, error) {
	h := attentionHeads(r)
	k, exact := p.Decode(attentionSetOf(r, false).AttentionKey, h)
	if k == nil {
		return hwmodel.Estimate{}, fmt.Errorf("%s has no constants for such decode attention", p.Device.Name)
	}
	c := k.Again(&p.Device, h)
	return k.Estimate(c.Time(int(r.Args[0]), int64(r.Args[0]*r.Args[4])), exact), nil
}

func decodeFits(p *hwmodel.Profile) []NamedFit {
	var out []NamedFit
	for i := range p.Decodes {
		k := &p.Decodes[i]
		s := attentionSet{k.AttentionKey, k.Grouped}
		out = append(out, NamedFit{s.name("grouped", "ungrouped"), &k.Fit})
	}
	return out
}

// fitDecodes fits the kernels of every set of rows.
func fitDecodes(p *hwmodel.Profile, rows []Row) error {
	sets, groups := attentionSets(rows, decodeSet)
	for _, s := range sets {
		is := func(k hwmodel.DecodeKernel) bool { return k.AttentionKey == s.AttentionKey && k.Grouped == s.Variant }
		own := groups[s]
		if len(own) < fewestAttention || slices.ContainsFunc(p.Decodes, func(k hwmodel.DecodeKernel) bool { return is(k) && !k.Derived }) {
			continue
		}
		f := decodeKernels(&p.Device, s)
		var start hwmodel.DecodeKernel
		if len(own) >= enoughAttention {
			start = f.structure(own)
		} else if prior, _ := p.Decode(s.AttentionKey, attentionHeads(&own[0])); prior != nil && prior.Grouped == s.Variant {
			start, f.lean = *prior, true
			start.AttentionKey = s.AttentionKey
		} else {
			continue
		}
		k, fit, err := f.score(decodeWork, &p.Device, start, own, sameHeads(1, 2))
		if err != nil {
			return err
		}
		k.Fit = fit
		k.Source = "measured by " + own[0].Source
		p.Decodes = append(slices.DeleteFunc(p.Decodes, is), k)
		if s.Engine == "fa2-gqa" {
			if own, ok := OwnTiles(p, k); ok {
				p.Decodes = append(p.Decodes, own)
			}
		}
	}
	return nil
}

// ownTiles names the kernel that gives each query head a tile of its own.
const ownTiles = "fa2"

// OwnTiles derives the decode kernel of a backend that runs its prefill kernel on
// one query at a time: each query head pads its single row to a tile, so that the
// arithmetic on padding, at the rate measured for prefill, takes longer than
// reading the KV cache. FlashAttention-2 worked so before it put the heads of a
// group into one tile; the measured prefill times step every 64 rows, which is its
// tile.
//
// That the experiments of 2024 ran such a kernel is inferred, not documented: their
// decode iterations grow with query heads times context, at 13 to 37 % of the memory
// bandwidth that keys and values alone would need, where the kernel that Vidur
// measured in May 2024 reaches 60 to 85 %. The constants come from operators alone.
func OwnTiles(p *hwmodel.Profile, k hwmodel.DecodeKernel) (hwmodel.DecodeKernel, bool) {
	prompts, _ := p.Prefill(k.AttentionKey, true)
	if prompts == nil || prompts.Engine != k.Engine {
		return k, false
	}
	k.Engine, k.Residual = ownTiles, nil
	k.Rows, k.Compute = prompts.Rows, prompts.Compute
	k.Fit = hwmodel.Fit{
		Derived: true, Band: strangeBand,
		Source: fmt.Sprintf("launch and memory as fa2-gqa; each query head padded to %g rows, computed at the rate of its prefill kernel", k.Rows),
	}
	return k, true
}

// decodeKernels says how the kernels of a set are fitted on d: with contexts split or
// not, and with the ways in which memory and blocks may overlap.
func decodeKernels(d *hwmodel.Device, s attentionSet) *kernelFit[hwmodel.DecodeKernel] {
	start := hwmodel.DecodeKernel{
		AttentionKey: s.AttentionKey, Grouped: s.Variant,
		Launch: 1e-5, Bandwidth: 0.8, Reach: 0.7, Stream: 2e10, Block: 1e-6, Span: 256, Combine: 3e-6,
	}
	if s.Variant {
		start.Copy = 3e-6
		if s.Engine == "trtllm" {
			start.Most = trtllmGroup
		}
	}
	f := &kernelFit[hwmodel.DecodeKernel]{tune: tuneDecode}
	for _, parts := range []float64{0, 1} {
		for _, norm := range []int{0, 1, 2} {
			start.Parts, start.Norm = parts, norm
			f.starts = append(f.starts, start)
		}
	}
	f.seconds = func(k *hwmodel.DecodeKernel, rows []Row) func(i int) float64 {
		heads := make([]hwmodel.Heads, len(rows))
		for i := range rows {
			heads[i] = attentionHeads(&rows[i])
		}
		return func(i int) float64 {
			c := k.Again(d, heads[i])
			return c.Time(int(rows[i].Args[0]), int64(rows[i].Args[0]*rows[i].Args[4]))
		}
	}
	f.correct = func(k *hwmodel.DecodeKernel, rows []Row) {
		k.Residual = correction(decodeNodes, 0.1, rows, func(r *Row) []float64 {
			c := k.On(d, attentionHeads(r))
			context, blocks := c.Sizes(int(r.Args[0]), int64(r.Args[0]*r.Args[4]))
			return []float64{context, blocks, r.Args[2], r.Args[1] / r.Args[2]}
		}, f.seconds(k, rows))
	}
	return f
}

// decodeNodes are the nodes of corrections.
var decodeNodes = []hwmodel.Axis{
	{Name: "context", Nodes: []float64{16, 128, 256, 1024, 4096, 16384, 65536}},
	{Name: "blocks", Nodes: []float64{0.03, 0.3, 1, 2, 8, 64}},
	{Name: "kv_heads", Nodes: []float64{1, 2, 8, 64}},
	{Name: "group", Nodes: []float64{1, 8}},
}

// tuneDecode returns the constants of k that rows can tell.
func tuneDecode(k *hwmodel.DecodeKernel, rows []Row) ([]Parameter, []*float64) {
	params := []Parameter{
		{Name: "launch", Start: k.Launch, Low: 1e-7, High: 1e-3, Logarithms: true},
		{Name: "bandwidth", Start: k.Bandwidth, Low: 0.02, High: 1},
		{Name: "stream", Start: k.Stream, Low: 1e9, High: 1e12, Logarithms: true},
		{Name: "block", Start: k.Block, Low: 1e-9, High: 1e-4, Logarithms: true},
		{Name: "reach", Start: k.Reach, Low: 0.1, High: 2, Logarithms: true},
	}
	fields := []*float64{&k.Launch, &k.Bandwidth, &k.Stream, &k.Block, &k.Reach}
	if k.Parts > 0 {
		params = append(params,
			Parameter{Name: "parts", Start: k.Parts, Low: 0.1, High: 16, Logarithms: true},
			Parameter{Name: "span", Start: k.Span, Low: 16, High: 4096, Logarithms: true},
			Parameter{Name: "combine", Start: k.Combine, Low: 1e-9, High: 1e-4, Logarithms: true})
		fields = append(fields, &k.Parts, &k.Span, &k.Combine)
	}
	if k.Grouped {
		params = append(params, Parameter{Name: "copy", Start: k.Copy, Low: 1e-9, High: 1e-4, Logarithms: true})
		fields = append(fields, &k.Copy)
	}
	return params, fields
}

// deriveDecodes takes over kernels of libraries that were not measured on p's device.
func deriveDecodes(p, donor *hwmodel.Profile) error {
	had := slices.Clone(p.Decodes)
	for _, k := range donor.Decodes {
		same := func(q hwmodel.DecodeKernel) bool { return q.Engine == k.Engine }
		// The kernel with own tiles is derived wherever it is.
		if k.Derived && k.Engine != ownTiles || slices.ContainsFunc(had, same) || noUnits(&p.Device, k.AttentionKey) {
			continue
		}
		if k.Engine == ownTiles {
			k.Compute *= powerShare(&p.Device, &donor.Device)
		}
		k.Block *= clocks(&donor.Device, &p.Device)
		k.Stream *= clocks(&p.Device, &donor.Device)
		if p.Device.Arch != donor.Device.Arch {
			k.Residual = nil
		}
		k.Fit = derivedAttention(&p.Device, donor, k.Fit)
		p.Decodes = append(p.Decodes, k)
	}
	return nil
}
