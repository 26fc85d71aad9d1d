package calibrate

import (
	"fmt"
	"slices"
	"strings"

	"orrery/hwmodel"
)

// mixed is the operator of attention from a chunk of a prompt and from decodes in one
// call.
var mixed = &Operator{
	Name:     "attention_mixed",
	Sizes:    []string{"q_heads", "kv_heads", "head_dim", "prefill_chunk", "prefill_kv", "n_decode", "decode_kv"},
	Optional: []string{"prefill_chunk", "prefill_kv", "n_decode", "decode_kv"},
	Work:     mixedWork,
	Predict:  predictMixed,
	Clear:    func(p *hwmodel.Profile) { p.Mixeds = nil },
	Fit:      fitMixeds,
	Derive:   deriveMixeds,
	Fits:     mixedFits,
}

// mixedWork returns the FLOPs and bytes of a row.
func mixedWork(r *Row) (flops, bytes float64) {
	q, kv, dim := r.Args[0], r.Args[1], r.Args[2]
	b := mixedBatch(r)
	w, _ := hwmodel.Width(r.DType)
	keys := float64(b.ChunkTokens) + float64(b.ChunkContext+b.DecodeContext)
	return 4 * q * dim * float64(b.ChunkPairs+b.DecodeContext), dim * w * (2*q*float64(b.Tokens()) + 2*kv*keys)
}

// mixedSet returns the constants that a row belongs to. The cache is of the same dtype as
// the operands.
func mixedSet(r *Row) attentionSet {
	key := hwmodel.Key{Engine: attentionEngine(r.Source), DType: r.DType}
	return attentionSet{hwmodel.AttentionKey{Key: key, KV: r.DType, Dim: int(r.Args[2])}, true}
}

// mixedHeads returns the heads of a row.
func mixedHeads(r *Row) hwmodel.Heads {
	return hwmodel.Heads{Query: int(r.Args[0]), KV: int(r.Args[1]), Dim: int(r.Args[2]), KVBytes: cacheBytes(r.DType)}
}

// mixedBatch turns a measured call into a batch. The new token of a decode attends to
// itself besides those cached.
func mixedBatch(r *Row) hwmodel.Batch {
	var b hwmodel.Batch
	if c := int(r.Args[3]); c > 0 {
		b.AddChunk(c, int64(r.Args[4]))
	}
	b.Decodes = int(r.Args[5])
	b.DecodeContext = int64(r.Args[5] * (r.Args[6] + 1))
	return b
}

// onlyDecodes tells whether a row has no chunk: such a call goes to the kernel for decodes.
func onlyDecodes(r *Row) bool { return r.Args[3] == 0 }

func predictMixed(p *hwmodel.Profile, r *Row) (hwmodel.Estimate, error) {
	want, h, b := mixedSet(r).AttentionKey, mixedHeads(r), mixedBatch(r)
	if b.Tokens() == 0 {
		return hwmodel.Estimate{}, fmt.Errorf("a batch of no tokens")
	}
	if onlyDecodes(r) {
		if k, exact := p.Decode(want, h); k != nil {
			c := k.On(&p.Device, h)
			return k.Estimate(c.Time(b.Decodes, b.DecodeContext), exact), nil
		}
	} else if k, exact := p.Mixed(want); k != nil {
		c := k.On(&p.Device, h)
		return k.Estimate(c.Time(&b, b.DecodeContext), exact), nil
	}
	return hwmodel.Estimate{}, fmt.Errorf("%s has no constants for such mixed attention", p.Device.Name)
}

func mixedFits(p *hwmodel.Profile) []NamedFit {
	var out []NamedFit
	for i := range p.Mixeds {
		k := &p.Mixeds[i]
		s := attentionSet{k.AttentionKey, true}
		out = append(out, NamedFit{s.name("mixed", ""), &k.Fit})
	}
	return out
}

// fitMixeds fits the kernels of every set of rows.
func fitMixeds(p *hwmodel.Profile, rows []Row) error {
	sets, groups := attentionSets(rows, mixedSet)
	for _, s := range sets {
		is := func(k hwmodel.MixedKernel) bool { return k.AttentionKey == s.AttentionKey }
		own := slices.DeleteFunc(slices.Clone(groups[s]), func(r Row) bool { return onlyDecodes(&r) })
		if len(own) < fewestAttention || slices.ContainsFunc(p.Mixeds, func(k hwmodel.MixedKernel) bool { return is(k) && !k.Derived }) {
			continue
		}
		f := mixedKernels(&p.Device, s)
		var start hwmodel.MixedKernel
		if len(own) >= enoughAttention {
			start = f.structure(own)
		} else if prior, _ := p.Mixed(s.AttentionKey); prior != nil {
			start, f.lean = *prior, true
			start.AttentionKey = s.AttentionKey
		} else {
			continue
		}
		k, fit, err := f.score(mixedWork, &p.Device, start, own, sameHeads(0, 1))
		if err != nil {
			return err
		}
		k.Fit = fit
		k.Source = "measured by " + own[0].Source
		p.Mixeds = append(slices.DeleteFunc(p.Mixeds, is), k)
	}
	return nil
}

// mixedKernels says how the kernels of a set are fitted on d.
func mixedKernels(d *hwmodel.Device, s attentionSet) *kernelFit[hwmodel.MixedKernel] {
	f := &kernelFit[hwmodel.MixedKernel]{}
	for _, k := range prefillKernels(d, s).starts {
		f.starts = append(f.starts, hwmodel.MixedKernel{PrefillKernel: k})
	}
	f.tune = func(k *hwmodel.MixedKernel, rows []Row) ([]Parameter, []*float64) {
		k.Reach = 0.7 // nothing stays in L2 between calls of a model
		params, fields := tunePrefill(&k.PrefillKernel, nil)
		i := slices.Index(fields, &k.Reach)
		params, fields = slices.Delete(params, i, i+1), slices.Delete(fields, i, i+1)
		return append(params, Parameter{Name: "own", Start: k.Own, Low: 1, High: 4}), append(fields, &k.Own)
	}
	f.seconds = func(k *hwmodel.MixedKernel, rows []Row) func(i int) float64 {
		heads, batches := make([]hwmodel.Heads, len(rows)), make([]hwmodel.Batch, len(rows))
		for i := range rows {
			heads[i], batches[i] = mixedHeads(&rows[i]), mixedBatch(&rows[i])
		}
		return func(i int) float64 {
			c := k.On(d, heads[i])
			return c.Time(&batches[i], batches[i].DecodeContext)
		}
	}
	f.correct = func(k *hwmodel.MixedKernel, rows []Row) {
		rows = slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Args[5] == 0 })
		k.Decodes = correction(mixedNodes, 0.1, rows, func(r *Row) []float64 {
			return []float64{r.Args[3], r.Args[4] + 1, r.Args[5], r.Args[6] + 1}
		}, f.seconds(k, rows))
	}
	return f
}

// mixedNodes are the nodes of corrections.
var mixedNodes = []hwmodel.Axis{
	{Name: "length", Nodes: []float64{16, 64, 256, 1024, 2048}},
	{Name: "context", Nodes: []float64{1, 256, 2048, 16384}},
	{Name: "decodes", Nodes: []float64{1, 8, 32, 128}},
	{Name: "reach", Nodes: []float64{16, 256, 2048, 16384}},
}

// deriveMixeds makes the kernel of a device that was never measured with mixed batches:
// that which runs its prompts, which is the same one, or that of a sibling that was
// measured, where its prompts were not either.
func deriveMixeds(p, donor *hwmodel.Profile) error {
	const ofPrefill = "constants of prefill, a decode being a chunk of one token"
	if len(p.Mixeds) > 0 && !strings.HasPrefix(p.Mixeds[0].Source, ofPrefill) {
		return nil
	}
	own, _ := p.Prefill(hwmodel.AttentionKey{Key: hwmodel.Key{Engine: "vllm", DType: "bf16"}, KV: "bf16", Dim: 128}, true)
	if len(p.Mixeds) == 0 && own != nil && own.Engine == "vllm" {
		k := hwmodel.MixedKernel{PrefillKernel: *own}
		k.Fit = hwmodel.Fit{Derived: true, Band: strangeBand, Source: ofPrefill + " (" + own.Source + ")"}
		p.Mixeds = append(p.Mixeds, k)
	}
	if own != nil && !own.Derived || p.Device.Arch != donor.Device.Arch {
		return nil
	}
	for _, k := range donor.Mixeds {
		if !k.Derived {
			k.Compute *= powerShare(&p.Device, &donor.Device)
			k.Block *= clocks(&donor.Device, &p.Device)
			k.Fit = derivedAttention(&p.Device, donor, k.Fit)
			p.Mixeds = []hwmodel.MixedKernel{k}
			break
		}
	}
	return nil
}
