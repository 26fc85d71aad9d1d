package hwmodel

import (
	"slices"

	"orrery/internal/names"
)

// Heads is the part of a model's attention that one device computes.
type Heads struct {
	Query   int // query heads
	KV      int // key/value heads
	Dim     int // elements a head
	KVBytes int // bytes of one element of the KV cache
}

// AttentionKey names the measurements of an attention kernel. Kernels are written for
// one size of head and run another path for a cache of another format.
type AttentionKey struct {
	Key
	KV  string `toml:"kv"`  // dtype of the cached keys and values
	Dim int    `toml:"dim"` // elements a head
}

// Match says how well constants under k serve a call that asks for want: 0 not at all,
// higher is better. The library weighs most, then the formats, then the size of heads.
func (k AttentionKey) Match(want AttentionKey) int {
	m := k.Key.Match(want.Engine, want.DType) // 1 to 4
	if m == 0 && k.Engine == want.Engine {
		m = 2 // another precision by the same library
	}
	if m == 0 {
		return 0
	}
	m *= 4
	if k.KV == want.KV || Tensor16(k.KV) && Tensor16(want.KV) {
		m += 2
	}
	if k.Dim == want.Dim {
		m++
	}
	return m
}

// exactly tells whether k stands for just what want asks for, but for the 16-bit format.
func (k AttentionKey) exactly(want AttentionKey) bool {
	same := func(a, b string) bool { return a == b || Tensor16(a) && Tensor16(b) }
	return k.Engine == want.Engine && same(k.DType, want.DType) && same(k.KV, want.KV) && k.Dim == want.Dim
}

// bestAttention returns the index of the entry that serves want best among those that
// fits allows, and whether it is exact; -1 if there is none.
func bestAttention(n int, key func(i int) AttentionKey, allowed func(i int) bool, want AttentionKey) (int, bool) {
	best, score := -1, 0
	for i := range n {
		if !allowed(i) {
			continue
		}
		k := key(i)
		// Between sizes of heads that are not the one asked for, the nearest serves.
		m := 1024*k.Match(want) - min(abs(k.Dim-want.Dim), 1000)
		if m > score {
			best, score = i, m
		}
	}
	return best, best >= 0 && key(best).exactly(want)
}

func abs(x int) int {
	if x < 0 {
		return -x
	}
	return x
}

// Prefill returns the kernel that serves prompts, and whether it was made for just
// this call; nil if none serves.
func (p *Profile) Prefill(want AttentionKey, causal bool) (*PrefillKernel, bool) {
	i, exact := bestAttention(len(p.Prefills), func(i int) AttentionKey { return p.Prefills[i].AttentionKey }, func(i int) bool { return p.Prefills[i].Causal == causal }, want)
	if i < 0 {
		return nil, false
	}
	return &p.Prefills[i], exact
}

// Decode returns the kernel that serves decodes of a model with heads h, and whether it
// was made for just this call; nil if none serves.
func (p *Profile) Decode(want AttentionKey, h Heads) (*DecodeKernel, bool) {
	if k, exact := p.decode(want, h.Query > h.KV); k == nil || k.Most == 0 || float64(h.Query) <= k.Most*float64(h.KV) {
		return k, exact
	}
	return p.decode(want, false)
}

// decode returns the kernel that serves models with grouped query heads or without. Not
// every library has one of its own for either.
func (p *Profile) decode(want AttentionKey, grouped bool) (*DecodeKernel, bool) {
	key := func(i int) AttentionKey { return p.Decodes[i].AttentionKey }
	find := func(grouped bool) (int, bool) {
		return bestAttention(len(p.Decodes), key, func(i int) bool { return p.Decodes[i].Grouped == grouped }, want)
	}
	i, exact := find(grouped)
	if i < 0 || p.Decodes[i].Engine != want.Engine {
		if j, _ := find(!grouped); j >= 0 && (i < 0 || p.Decodes[j].Engine == want.Engine) {
			i, exact = j, false
		}
	}
	if i < 0 {
		return nil, false
	}
	return &p.Decodes[i], exact
}

// Mixed returns the kernel that serves chunks and decodes in one call, and whether it was
// made for just this call; nil if none serves.
func (p *Profile) Mixed(want AttentionKey) (*MixedKernel, bool) {
	i, exact := bestAttention(len(p.Mixeds), func(i int) AttentionKey { return p.Mixeds[i].AttentionKey }, func(int) bool { return true }, want)
	if i < 0 {
		return nil, false
	}
	return &p.Mixeds[i], exact
}

// AttentionEngine refuses a library whose kernels the profile has no constants for.
func (p *Profile) AttentionEngine(name string) error {
	var have []string
	for i := range p.Decodes {
		have = append(have, p.Decodes[i].Engine)
	}
	slices.Sort(have)
	have = slices.Compact(have)
	if slices.Contains(have, name) {
		return nil
	}
	return names.Unknown("attention backend of "+p.Device.Name, name, have)
}

// Estimate returns the estimate of a call priced by the constants that f is the fit of.
func (f *Fit) Estimate(seconds float64, exact bool) Estimate {
	e := Estimate{Seconds: seconds, Band: f.Band, Derived: f.Derived || !exact}
	if !exact && !f.Derived {
		e.Band = max(e.Band, 0.4)
	}
	return e
}
