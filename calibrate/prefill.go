package calibrate

import (
	"fmt"
	"slices"

	"orrery/hwmodel"
)

// prefill is the operator of attention from prompts.
var prefill = &Operator{
	Name: "attention_prefill", Words: []string{"kv_dtype"},
	Sizes:    []string{"batch", "q_heads", "kv_heads", "head_dim", "q_len", "kv_len", "causal"},
	Optional: []string{"causal"},
	Work:     prefillWork,
	Predict:  predictPrefill,
	Clear:    func(p *hwmodel.Profile) { p.Prefills = nil },
	Fit:      fitPrefills,
	Derive:   derivePrefills,
	Fits:     prefillFits,
}

// prefillWork returns the FLOPs and bytes of a row.
func prefillWork(r *Row) (flops, bytes float64) {
	n, q, kv, dim, length, keys := r.Args[0], r.Args[1], r.Args[2], r.Args[3], r.Args[4], r.Args[5]
	pairs := length * keys
	if r.Args[6] > 0 {
		pairs = length*(keys-length) + length*(length+1)/2
	}
	w, _ := hwmodel.Width(r.DType)
	c, _ := hwmodel.Width(r.Words[0])
	return 4 * n * q * dim * pairs, n * dim * (2*w*q*length + 2*c*kv*keys)
}

// prefillSet returns the constants that a row belongs to.
func prefillSet(r *Row) attentionSet { return attentionSetOf(r, r.Args[6] > 0) }

// oneQuery tells whether a row is a decode by another name: libraries give prompts of one
// token to the kernel for decodes.
func oneQuery(r *Row) bool { return r.Args[4] == 1 && r.Args[6] > 0 }

// chunksOf turns a measured prefill call into a batch.
func chunksOf(r *Row) hwmodel.Batch {
	n, q, h := int64(r.Args[0]), int64(r.Args[4]), int64(r.Args[5]-r.Args[4])
	return hwmodel.Batch{
		Chunks: int(n), ChunkTokens: int(n * q), ChunkContext: n * h,
		ChunkPairs: n * (q*h + q*(q+1)/2), ChunkSquares: n * q * q,
	}
}

func predictPrefill(p *hwmodel.Profile, r *Row) (hwmodel.Estimate, error) {
	s := prefillSet(r)
	if oneQuery(r) {
		if k, exact := p.Decode(s.AttentionKey, attentionHeads(r)); k != nil && k.Engine == s.Engine {
			c := k.Again(&p.Device, attentionHeads(r))
			return k.Estimate(c.Time(int(r.Args[0]), int64(r.Args[0]*r.Args[5])), exact), nil
		}
	}
	k, exact := p.Prefill(s.AttentionKey, s.Variant)
	if k == nil {
		return hwmodel.Estimate{}, fmt.Errorf("%s has no constants for such prefill attention", p.Device.Name)
	}
	c := k.Again(&p.Device, attentionHeads(r))
	b := chunksOf(r)
	return k.Estimate(c.Time(&b), exact), nil
}

func prefillFits(p *hwmodel.Profile) []NamedFit {
	var out []NamedFit
	for i := range p.Prefills {
		k := &p.Prefills[i]
		s := attentionSet{k.AttentionKey, k.Causal}
		out = append(out, NamedFit{s.name("causal", "unmasked"), &k.Fit})
	}
	return out
}

// fitPrefills fits the kernels of every set of rows.
func fitPrefills(p *hwmodel.Profile, rows []Row) error {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return oneQuery(&r) })
	sets, groups := attentionSets(rows, prefillSet)
	for _, s := range sets {
		is := func(k hwmodel.PrefillKernel) bool { return k.AttentionKey == s.AttentionKey && k.Causal == s.Variant }
		own := possible(groups[s], func(r *Row) float64 { flops, _ := prefillWork(r); return flops / p.Device.FLOPs(r.DType) })
		if len(own) < fewestAttention || slices.ContainsFunc(p.Prefills, func(k hwmodel.PrefillKernel) bool { return is(k) && !k.Derived }) {
			continue
		}
		f := prefillKernels(&p.Device, s)
		var start hwmodel.PrefillKernel
		if len(own) >= enoughAttention {
			start = f.structure(own)
		} else if prior, _ := p.Prefill(s.AttentionKey, s.Variant); prior != nil {
			start, f.lean = *prior, true
			start.AttentionKey = s.AttentionKey
		} else {
			continue
		}
		k, fit, err := f.score(prefillWork, &p.Device, start, own, sameHeads(1, 2))
		if err != nil {
			return err
		}
		k.Fit = fit
		k.Source = "measured by " + own[0].Source
		p.Prefills = append(slices.DeleteFunc(p.Prefills, is), k)
		if s.Engine == "fa2-gqa" {
			// The kernel with a tile a query head differs in decodes alone.
			k.Engine = ownTiles
			p.Prefills = append(p.Prefills, k)
		}
	}
	return nil
}

// prefillKernels says how the kernels of a set are fitted on d: with blocks of the two
// sizes in use, which the heads of a group share or not, and with the ways in which
// walking and streaming may overlap.
func prefillKernels(d *hwmodel.Device, s attentionSet) *kernelFit[hwmodel.PrefillKernel] {
	start := hwmodel.PrefillKernel{
		AttentionKey: s.AttentionKey, Causal: s.Variant,
		Launch: 1e-5, Compute: 0.5, Own: 1.1, Alone: 1, Block: 1e-6, Tail: 0.5, Wave: 0.3, Bandwidth: 0.6, Reach: 0.7,
	}
	if s.Variant {
		start.Store = 1
	}
	f := &kernelFit[hwmodel.PrefillKernel]{tune: tunePrefill}
	for _, rows := range []float64{64, 128} {
		for _, span := range []float64{64, 128} {
			for _, norm := range []int{0, 1, 2} {
				start.Rows, start.Span, start.Norm = rows, span, norm
				start.Packed = false
				f.starts = append(f.starts, start)
				if s.Variant {
					start.Packed = true
					f.starts = append(f.starts, start)
				}
			}
		}
	}
	f.seconds = func(k *hwmodel.PrefillKernel, rows []Row) func(i int) float64 {
		heads, batches := make([]hwmodel.Heads, len(rows)), make([]hwmodel.Batch, len(rows))
		for i := range rows {
			heads[i], batches[i] = attentionHeads(&rows[i]), chunksOf(&rows[i])
		}
		return func(i int) float64 {
			c := k.Again(d, heads[i])
			return c.Time(&batches[i])
		}
	}
	f.correct = func(k *hwmodel.PrefillKernel, rows []Row) {
		axes, smooth := prefillNodes, 0.1
		if !varies(rows, 1) {
			axes, smooth = prefillFine, 0.03
		}
		k.Residual = correction(axes, smooth, rows, func(r *Row) []float64 {
			h := attentionHeads(r)
			c, b := k.On(d, h), chunksOf(r)
			length, blocks, context := c.Sizes(&b)
			return []float64{length, blocks, context + 1, float64(h.KV), float64(h.Query) / float64(h.KV)}
		}, f.seconds(k, rows))
	}
	return f
}

// varies tells whether a size is not the same in all rows.
func varies(rows []Row, size int) bool {
	return slices.ContainsFunc(rows, func(r Row) bool { return r.Args[size] != rows[0].Args[size] })
}

// prefillNodes are the nodes of corrections where heads vary, prefillFine where one model
// was measured: there a library's switches from one shape of blocks to another show.
var (
	prefillNodes = []hwmodel.Axis{
		{Name: "length", Nodes: []float64{16, 64, 128, 256, 1024, 4096, 16384}},
		{Name: "blocks", Nodes: []float64{0.1, 0.5, 1, 2, 8, 64}},
		{Name: "context", Nodes: []float64{1, 64, 512, 2048, 8192}},
		{Name: "kv_heads", Nodes: []float64{1, 8, 64}},
		{Name: "group", Nodes: []float64{1, 8}},
	}
	prefillFine = []hwmodel.Axis{
		{Name: "length", Nodes: []float64{16, 32, 64, 96, 128, 192, 256, 288, 384, 512, 544, 768, 1024, 2048, 4096}},
		{Name: "blocks", Nodes: []float64{1}},
		{Name: "context", Nodes: []float64{1, 64, 256, 1024, 4096}},
		{Name: "kv_heads", Nodes: []float64{1}},
		{Name: "group", Nodes: []float64{1}},
	}
)

// tunePrefill returns the constants of k that rows can tell.
func tunePrefill(k *hwmodel.PrefillKernel, rows []Row) ([]Parameter, []*float64) {
	params := []Parameter{
		{Name: "launch", Start: k.Launch, Low: 1e-7, High: 1e-3, Logarithms: true},
		{Name: "compute", Start: k.Compute, Low: 0.02, High: 1},
		{Name: "alone", Start: k.Alone, Low: 0.05, High: 20, Logarithms: true},
		{Name: "block", Start: k.Block, Low: 1e-9, High: 1e-4, Logarithms: true},
		{Name: "tail", Start: k.Tail, Low: 0, High: 2},
		{Name: "wave", Start: k.Wave, Low: 0, High: 1},
		{Name: "bandwidth", Start: k.Bandwidth, Low: 0.02, High: 1},
		{Name: "reach", Start: k.Reach, Low: 0.1, High: 2, Logarithms: true},
	}
	fields := []*float64{&k.Launch, &k.Compute, &k.Alone, &k.Block, &k.Tail, &k.Wave, &k.Bandwidth, &k.Reach}
	if k.Causal {
		params = append(params, Parameter{Name: "store", Start: k.Store, Low: 1e-2, High: 100, Logarithms: true})
		fields = append(fields, &k.Store)
	}
	if slices.ContainsFunc(rows, func(r Row) bool { return r.Args[5] > r.Args[4] }) {
		// Without cached tokens, it cannot be told from the rate.
		params = append(params, Parameter{Name: "own", Start: k.Own, Low: 1, High: 4})
		fields = append(fields, &k.Own)
	}
	return params, fields
}

// derivePrefills takes over kernels of libraries that were not measured on p's device.
func derivePrefills(p, donor *hwmodel.Profile) error {
	had := slices.Clone(p.Prefills)
	for _, k := range donor.Prefills {
		same := func(q hwmodel.PrefillKernel) bool { return q.Engine == k.Engine && q.Causal == k.Causal }
		if k.Derived || slices.ContainsFunc(had, same) || noUnits(&p.Device, k.AttentionKey) {
			continue
		}
		k.Compute *= powerShare(&p.Device, &donor.Device)
		k.Block *= clocks(&donor.Device, &p.Device)
		if p.Device.Arch != donor.Device.Arch {
			k.Residual = nil // corrections are of the way a kernel runs on one architecture
		}
		k.Fit = derivedAttention(&p.Device, donor, k.Fit)
		p.Prefills = append(p.Prefills, k)
	}
	return nil
}
