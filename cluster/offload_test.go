package cluster

import (
	"reflect"
	"testing"

	"orrery/policies/batch"
	"orrery/sim"
	"orrery/workloads"
)

// What is evicted from the device comes back from the host, in the time that its bytes
// take, as far as there was room for it.
func TestEvictedPartsComeBackFromTheHost(t *testing.T) {
	// X and Y leave four parts of two blocks each in 24 blocks, of which Z takes the number
	// it is given; swapCost takes a second for every block.
	x := func() workloads.Request { return parts(req(0, 129, 1), 32, 1, 2, 3, 4) }
	y := func() workloads.Request { return parts(req(1000, 129, 1), 32, 11, 12, 13, 14) }
	z := func(blocks int32) workloads.Request { return req(2000, 16*blocks, 1) }
	again := func(r workloads.Request, at float64) workloads.Request {
		r.Arrived = sim.Seconds(at)
		return r
	}
	for _, c := range []struct {
		name   string
		room   int64 // on the host
		rs     requests
		cached []int32
		loaded []int32
	}{
		{"no host", 0, requests{x(), y(), z(11), again(x(), 3000)}, []int32{0, 0, 0, 64}, []int32{0, 0, 0, 0}},
		{"the end of X", 24, requests{x(), y(), z(11), again(x(), 3000)}, []int32{0, 0, 0, 128}, []int32{0, 0, 0, 64}},
		{"X, and Y as far as it is gone", 24, requests{x(), y(), z(18), again(x(), 3000), again(y(), 4000)}, []int32{0, 0, 0, 128, 128}, []int32{0, 0, 0, 128, 32}},
		// X goes part 4 first, so that room for one part is part 1's in the end.
		{"room for one part", 2, requests{x(), y(), z(16), again(x(), 3000)}, []int32{0, 0, 0, 32}, []int32{0, 0, 0, 32}},
		{"room for less than a part", 1, requests{x(), y(), z(16), again(x(), 3000)}, []int32{0, 0, 0, 0}, []int32{0, 0, 0, 0}},
	} {
		w, _ := toy{policy: &batch.VLLM{MaxSeqs: 8}, cost: &toyCost{price: swapCost}, blocks: 24, maxLen: 368, prefix: true, offload: c.room}.run(t, c.rs)
		var cached, loaded []int32
		for _, s := range w.served {
			cached, loaded = append(cached, s.Cached), append(loaded, s.Loaded)
			if want := sim.Seconds(float64(1 + s.Loaded/16)); s.First-s.Arrived != want {
				t.Errorf("%s: request %d has its first token after %v, want %v", c.name, s.ID, s.First-s.Arrived, want)
			}
		}
		if !reflect.DeepEqual(cached, c.cached) || !reflect.DeepEqual(loaded, c.loaded) {
			t.Errorf("%s: cached %v, of which loaded %v; want %v and %v", c.name, cached, loaded, c.cached, c.loaded)
		}
	}
}

// More host memory never finds less, and as much as there is to keep finds what a device
// of that size would.
func TestHostMemoryIsLikeMoreDeviceMemory(t *testing.T) {
	rng := sim.Stream(3, "offload")
	var rs requests
	for i := range 400 {
		family := rng.Uint64N(20)
		r := parts(req(float64(1000*i), 129, 1), 32)
		for k := range uint64(4) {
			r.Prefix = append(r.Prefix, family*10+k)
		}
		rs = append(rs, r)
	}
	hits := func(blocks, host int64) (n int64) {
		w, _ := toy{policy: &batch.VLLM{MaxSeqs: 1}, blocks: blocks, maxLen: 144, prefix: true, offload: host}.run(t, rs)
		for _, s := range w.served {
			n += int64(s.Cached)
		}
		return n
	}
	before := int64(0)
	for _, host := range []int64{0, 20, 40, 80, 160} {
		n := hits(24, host)
		if n < before {
			t.Errorf("%d blocks on the host: %d tokens found, fewer than %d with less room", host, n, before)
		}
		before = n
	}
	if all := hits(24+160, 0); before != all || all != 380*128 {
		t.Errorf("device and host find %d tokens, a device as large as both %d; want %d, all but of the first of 20 families", before, all, 380*128)
	}
}

// A replica that has failed has lost its host memory too.
func TestHostMemoryIsLostWithTheReplica(t *testing.T) {
	m := newMemory(4, 16, true, 4)
	m.take(2)
	m.publish(7, 2)
	m.drop(7)
	m.take(4)
	if !m.host.has(7) {
		t.Fatal("the evicted part is not on the host")
	}
	if m = m.empty(); m.host.has(7) || m.host.room != 4 || m.host.used != 0 || m.ledger.Capacity() != 4 || !m.enabled {
		t.Errorf("after the loss %+v", m)
	}
}

// A replica that was stopped begins with an empty cache.
func TestAStoppedReplicaForgets(t *testing.T) {
	c, err := newCluster(Config{
		Replicas: []ReplicaConfig{{Policy: &batch.Orca{MaxSeqs: 1}, Cost: &toyCost{price: unit}, MaxLen: 64, Blocks: 4, BlockTokens: 16, PrefixCache: true, OffloadBlocks: 4}},
		Source:   &listSource{},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &c.replicas[0]
	r.mem.take(2)
	r.mem.publish(7, 2)
	r.mem.drop(7)
	c.drain(0, r)
	if r.state != Off {
		t.Fatalf("an idle replica that is drained is %v", r.state)
	}
	if c.start(0, r); len(r.mem.index) != 0 || r.mem.cached != 0 || r.mem.host.room != 4 {
		t.Errorf("it starts with %d parts cached, %d blocks", len(r.mem.index), r.mem.cached)
	}
}
