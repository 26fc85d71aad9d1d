package trace

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"

	"orrery/sim"
	"orrery/workloads"
)

// blockTokens is the size of the parts in which generated traffic names its
// prefixes: the default KV block of vLLM.
const blockTokens = 16

// SharedPrefix puts one of several system prompts in front of every prompt (or
// every conversation). Requests of one group share its KV cache where there is a
// prefix cache. The zero value shares nothing.
type SharedPrefix struct {
	Groups int     // number of different system prompts
	Tokens int     // length of each, added to the drawn prompt
	Zipf   float64 // popularity: the k-th group is chosen in proportion to k^-Zipf; 0 for all alike
}

// open returns the drawn-from form, or nil if nothing is shared. Choices come
// from the stream "groups".
func (p SharedPrefix) open(seed uint64) (*groups, error) {
	if p == (SharedPrefix{}) {
		return nil, nil
	}
	if p.Groups < 1 || p.Groups > 1<<20 {
		return nil, fmt.Errorf("SharedPrefix.Groups is %d; want 1 to %d", p.Groups, 1<<20)
	}
	if p.Tokens < 1 || p.Tokens > MaxTokens/2 {
		return nil, fmt.Errorf("SharedPrefix.Tokens is %d; want 1 to %d", p.Tokens, MaxTokens/2)
	}
	if err := notNegative("SharedPrefix.Zipf", p.Zipf, "exponent of the popularity"); err != nil {
		return nil, err
	}
	g := &groups{rng: sim.Stream(seed, "groups"), tokens: int32(p.Tokens), upTo: make([]float64, p.Groups), names: make([][]uint64, p.Groups)}
	sum := 0.0
	for k := range g.upTo {
		sum += math.Pow(float64(k+1), -p.Zipf)
		g.upTo[k] = sum
	}
	return g, nil
}

// groups chooses among system prompts and knows the names of their blocks.
type groups struct {
	rng    *rand.Rand
	tokens int32
	upTo   []float64  // cumulative popularity
	names  [][]uint64 // full blocks of each group, made when it is first chosen
}

// choose draws a group.
func (g *groups) choose() int {
	u := g.rng.Float64() * g.upTo[len(g.upTo)-1]
	return min(sort.Search(len(g.upTo), func(k int) bool { return g.upTo[k] > u }), len(g.upTo)-1)
}

// blocks returns the names of the full blocks of group k. A block that the
// system prompt fills only in part also holds what follows and is not shared.
// Callers must not append to the slice in place.
func (g *groups) blocks(k int) []uint64 {
	if g.names[k] == nil {
		g.names[k] = make([]uint64, g.tokens/blockTokens)
		for i := range g.names[k] {
			g.names[k][i] = blockName(groupContent, uint64(k), uint64(i))
		}
	}
	return g.names[k]
}

// prepend puts a system prompt in front of r's prompt.
func (g *groups) prepend(r *workloads.Request) {
	r.Prompt = min(r.Prompt+g.tokens, MaxTokens)
	r.Prefix, r.PrefixBlock = g.blocks(g.choose()), blockTokens
}

// What a named block holds, so that the names of different kinds differ.
const (
	groupContent   = 1
	sessionContent = 2
)

// blockName returns the name of the i-th block of content number n of a kind. It
// mixes with the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), a
// bijection of 64 bits, so that names look like hashes and two of them are equal
// only by a chance of 2^-64.
func blockName(kind, n, i uint64) uint64 {
	return mix(mix(mix(kind)+n) + i)
}

func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
