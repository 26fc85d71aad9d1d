package cluster

import (
	"reflect"
	"testing"

	"orrery/policies/batch"
	"orrery/sim"
	"orrery/workloads"
)

// A prompt whose beginning was computed before is computed only from there on.
func TestPrefixCache(t *testing.T) {
	with := func(r workloads.Request, names ...uint64) workloads.Request { return parts(r, 32, names...) }
	for name, make := range five(8, 200) {
		rs := requests{
			with(req(0, 100, 4), 1, 2, 3, 4),
			with(req(10, 100, 4), 1, 2, 9, 8), // shares 64 tokens
			with(req(20, 64, 4), 1, 2),        // all but the last part, so that one token is left to compute
			with(req(30, 100, 4), 7, 2),       // shares nothing: the beginning differs
		}
		w, _ := toy{policy: make(), prefix: true, blocks: 4096 / 16, maxLen: 1024}.run(t, rs)
		var cached []int32
		for _, s := range w.served {
			cached = append(cached, s.Cached)
		}
		if want := []int32{0, 64, 32, 0}; !reflect.DeepEqual(cached, want) {
			t.Errorf("%s: cached tokens %v, want %v", name, cached, want)
		}
	}
}

// Under pressure the prefix cache evicts, and blocks still balance.
func TestPrefixCacheUnderPressure(t *testing.T) {
	rng := sim.Stream(11, "prefix")
	var rs requests
	for i, r := range mixed(300, 11) {
		r.PrefixBlock = 32
		group := rng.Uint64N(6)
		for k := int32(0); k*32 < r.Prompt+r.Output; k++ {
			id := group*1000 + uint64(k)
			if k > 4 {
				id = uint64(i)*1000000 + uint64(k)
			}
			r.Prefix = append(r.Prefix, id)
		}
		rs = append(rs, r)
	}
	for name, make := range five(24, 200) {
		for _, blocks := range []int64{4000, 300, 130} {
			y := toy{policy: make(), prefix: true, cost: &toyCost{price: tokens}, blocks: blocks, maxLen: 2048, swap: 100}
			w, _ := y.run(t, rs)
			hits := int32(0)
			for _, s := range w.served {
				hits += s.Cached
			}
			if hits == 0 {
				t.Errorf("%s, %d blocks: nothing was found in the prefix cache", name, blocks)
			}
		}
	}
}

// cachedOf runs requests one after the other, each after the one before it has ended,
// and returns how many tokens of each were found in the cache.
func cachedOf(t *testing.T, y toy, rs requests) (cached []int32) {
	t.Helper()
	for i := range rs {
		rs[i].Arrived = sim.Seconds(float64(1000 * i))
	}
	y.prefix = true
	if y.policy == nil {
		y.policy = &batch.VLLM{MaxSeqs: 8}
	}
	w, _ := y.run(t, rs)
	for _, s := range w.served {
		cached = append(cached, s.Cached)
	}
	return cached
}

// What was used last is evicted last, and of one prompt its end before its beginning.
func TestPrefixCacheEvictsTheLeastRecentlyUsed(t *testing.T) {
	// X and Y leave four parts of two blocks each in 24 blocks, so that 8 are empty; then
	// X is used again. Z takes the number of blocks it is given.
	x := func() workloads.Request { return parts(req(0, 129, 1), 32, 1, 2, 3, 4) }
	y := func() workloads.Request { return parts(req(0, 129, 1), 32, 11, 12, 13, 14) }
	z := func(blocks int32) workloads.Request { return req(0, 16*blocks, 1) }
	for _, c := range []struct {
		name string
		rs   requests
		want []int32
	}{
		{"no need to evict", requests{x(), y(), x(), z(8), y(), x()}, []int32{0, 0, 128, 0, 128, 128}},
		{"Y loses its end", requests{x(), y(), x(), z(9), y(), x()}, []int32{0, 0, 128, 0, 96, 128}},
		{"Y loses all but its beginning", requests{x(), y(), x(), z(14), y(), x()}, []int32{0, 0, 128, 0, 32, 128}},
		{"Y is gone and X begins to go", requests{x(), y(), x(), z(17), x(), y()}, []int32{0, 0, 128, 0, 96, 0}},
		{"X goes if it is not used again", requests{x(), y(), z(9), y(), x()}, []int32{0, 0, 0, 128, 96}},
	} {
		if got := cachedOf(t, toy{blocks: 24, maxLen: 368}, c.rs); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: cached tokens %v, want %v", c.name, got, c.want)
		}
	}
}

// The answer joins the prompt in the cache, for the next turn of the conversation. The
// last token's KV is never computed, so a part that ends with it is not complete.
func TestAnswersAreCached(t *testing.T) {
	for output, want := range map[int32]int32{24: 32, 25: 64} {
		got := cachedOf(t, toy{maxLen: 256}, requests{parts(req(0, 40, output), 32, 1, 2), parts(req(0, 100, 2), 32, 1, 2)})
		if got[1] != want {
			t.Errorf("after an answer of %d tokens to a prompt of 40, the next turn finds %d, want %d", output, got[1], want)
		}
	}
}

// Parts that are not whole blocks are not shared, and leave nothing behind.
func TestPartsOfPartialBlocksAreNotShared(t *testing.T) {
	for _, size := range []int32{8, 24, 0, -16} {
		rs := requests{parts(req(0, 64, 2), size, upTo(4)...), parts(req(100, 64, 2), size, upTo(4)...)}
		c, err := newCluster(Config{
			Replicas: []ReplicaConfig{{Policy: &batch.Orca{MaxSeqs: 1}, Cost: &toyCost{price: unit}, MaxLen: 128, Blocks: 8, BlockTokens: 16, PrefixCache: true}},
			Source:   &listSource{rs},
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.run()
		if m := &c.replicas[0].mem; err != nil || out.Finished != 2 || len(m.index) != 0 || m.cached != 0 || m.ledger.Used() != 0 {
			t.Errorf("parts of %d tokens: %+v, %v; %d parts and %d blocks cached, %d used", size, out, err, len(m.index), m.cached, m.ledger.Used())
		}
	}
}
