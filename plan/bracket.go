package plan

import (
	"context"
	"math"
	"slices"

	"orrery/report"
)

// near is how many rates of the grid are probed beyond each side of the threshold,
// after the bracket is one step wide.
const near = 2

// mostOctaves bounds how far from the start the search goes: a factor of 2^20.
const mostOctaves = 20

// mostProbes bounds the probes of a seed after its octave is known. Without noise
// they are about log2 of the steps in an octave, and twice near.
const mostProbes = 40

// bracket is the search of one seed. Rates are numbered on the grid
// Start*(1+Tolerance)^k, so that a rate is probed once and the search ends.
type bracket struct {
	search *Search
	memo   *memo
	seed   uint64
	seen   map[int]Observation
	order  []int // the keys of seen, sorted
	probed func()

	held      int // threshold: the highest rate that counts as held
	any       bool
	unbounded bool
}

func (b *bracket) at(k int) point {
	return point{rate: b.search.Start * math.Pow(1+b.search.Tolerance, float64(k)), seed: b.seed}
}

// holds probes rate k and tells whether the rule holds there.
func (b *bracket) holds(ctx context.Context, k int) (bool, error) {
	o, ok := b.seen[k]
	if !ok {
		var err error
		if o, err = b.memo.get(ctx, b.at(k)); err != nil {
			return false, err
		}
		b.seen[k] = o
		i, _ := slices.BinarySearch(b.order, k)
		b.order = slices.Insert(b.order, i, k)
		b.settle()
		b.probed()
	}
	return b.search.Rule(&o), nil
}

// find searches until the threshold is known to one step of the grid, and the rates
// around it have been probed.
func (b *bracket) find(ctx context.Context) error {
	if found, err := b.octave(ctx); err != nil || !found {
		return err
	}
	// What noise can add is bounded: the threshold moves only when contradicted.
	for range mostProbes {
		k, ok := b.next()
		if !ok {
			return nil
		}
		if lo, hi := b.around(k); hi-lo > 2 {
			b.memo.guess(ctx, b.at(lo+(k-lo)/2))
			b.memo.guess(ctx, b.at(k+(hi-k)/2))
		}
		if _, err := b.holds(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// octave doubles or halves the rate until the answer changes, and returns false if
// it never does.
func (b *bracket) octave(ctx context.Context) (found bool, err error) {
	step := b.search.octave()
	first, err := b.holds(ctx, 0)
	if err != nil {
		return false, err
	}
	if !first {
		step = -step
	}
	for n := 1; n <= mostOctaves; n++ {
		ok, err := b.holds(ctx, n*step)
		if err != nil || ok != first {
			return true, err
		}
	}
	b.unbounded = first
	return false, nil
}

// next returns the rate to probe: the middle between the threshold and the next
// probe above it, and if these are neighbours the rates beyond them, until the
// threshold that contradicts the fewest probes has been probed on both sides.
func (b *bracket) next() (int, bool) {
	if above, ok := b.above(b.held); ok && above > b.held+1 {
		return b.held + (above-b.held)/2, true
	}
	for d := 1; d <= near+1; d++ {
		for _, k := range []int{b.held + d, b.held + 1 - d} {
			if _, ok := b.seen[k]; !ok {
				return k, true
			}
		}
	}
	return 0, false
}

// above returns the lowest rate above k that has been probed.
func (b *bracket) above(k int) (int, bool) {
	i, _ := slices.BinarySearch(b.order, k+1)
	if i == len(b.order) {
		return 0, false
	}
	return b.order[i], true
}

// around returns the probed rates on either side of k, k itself where there is none.
func (b *bracket) around(k int) (lo, hi int) {
	lo, hi = k, k
	i, _ := slices.BinarySearch(b.order, k)
	if i > 0 {
		lo = b.order[i-1]
	}
	if above, ok := b.above(k); ok {
		hi = above
	}
	return lo, hi
}

// settle finds the threshold: of the rates that held the one for which the fewest
// probes lie on the wrong side, and of equals the middle one. (The lowest of equals
// would be cautious for one seed, but the median over seeds would lean that way too.)
func (b *bracket) settle() {
	wrong := 0 // with the threshold below all probes
	for _, k := range b.order {
		if b.rule(k) {
			wrong++
		}
	}
	best := math.MaxInt
	var equal []int
	for _, k := range b.order {
		if !b.rule(k) {
			wrong++ // it now lies below the threshold
			continue
		}
		wrong--
		if wrong < best {
			best, equal = wrong, equal[:0]
		}
		if wrong == best {
			equal = append(equal, k)
		}
	}
	if b.any = len(equal) > 0; b.any {
		b.held = equal[(len(equal)-1)/2]
	}
}

func (b *bracket) rule(k int) bool {
	o := b.seen[k]
	return b.search.Rule(&o)
}

// result returns what is known of the seed.
func (b *bracket) result(complete bool) SeedSearch {
	r := SeedSearch{Seed: b.seed, Failed: report.None, Probes: len(b.order), Unbounded: b.unbounded, Complete: complete}
	if b.any {
		r.Held = report.Number(b.at(b.held).rate)
		o := b.seen[b.held]
		r.Growing = o.Growing
	}
	for _, k := range b.order {
		above := !b.any || k > b.held
		if above && !b.rule(k) && !r.Failed.Exists() {
			r.Failed = report.Number(b.at(k).rate)
		}
		if above == b.rule(k) {
			r.Contradictions++
		}
	}
	return r
}

// alike tells whether seeds make no difference: at every rate that several of them
// probed, all figures agree.
func alike(brackets []*bracket) bool {
	compared := false
	first := brackets[0]
	for _, b := range brackets[1:] {
		for _, k := range b.order {
			if o, ok := first.seen[k]; ok {
				if p := b.seen[k]; !o.same(&p) {
					return false
				}
				compared = true
			}
		}
	}
	return compared
}
