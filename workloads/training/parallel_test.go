package training

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"orrery/hwmodel"
)

func drawGradients(t *rapid.T) (gs []Gradient, backward float64) {
	for range rapid.IntRange(1, 60).Draw(t, "gradients") {
		backward += rapid.Float64Range(0, 0.01).Draw(t, "seconds")
		gs = append(gs, Gradient{rapid.Float64Range(1, 3e7).Draw(t, "params"), backward})
	}
	return gs, backward + 1e-9
}

// An exchange cannot end before the last gradient was sent nor before all were; what hides
// behind the backward pass is no longer than that; and every byte is sent once.
func TestOverlapHidesNoMoreThanThereIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gs, backward := drawGradients(t)
		rate := rapid.Float64Range(1e8, 1e12).Draw(t, "rate")
		sent := 0.0
		total, exposed, err := overlapped(gs, 4, backward, func(bytes float64) (float64, error) {
			sent += bytes
			return bytes / rate, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, g := range gs {
			sum += 4 * g.Params
		}
		last := 4 * gs[len(gs)-1].Params / rate
		if math.Abs(sent/sum-1) > 1e-9 || math.Abs(total*rate/sum-1) > 1e-9 {
			t.Fatalf("sent %g of %g bytes in %g s", sent, sum, total)
		}
		if exposed < last-1e-8 || exposed > total*(1+1e-9) || exposed < total-backward-1e-9 {
			t.Fatalf("exposed %g of %g s, backward %g, last %g", exposed, total, backward, last)
		}
	})
}

// Weights that arrive at once delay nothing; a device that computes in no time waits for
// every exchange; between, neither the link nor the device does two things at a time.
func TestShardedPassesKeepLinkAndDeviceInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gs, backward := drawGradients(t)
		us := units(gs, backward/2, backward)
		rate := rapid.Float64Range(1e8, 1e12).Draw(t, "rate")
		again := rapid.Bool().Draw(t, "again")
		link := func(bytes float64) (float64, error) { return bytes / rate, nil }
		total, exposed, _ := sharded(us, 2, 2, again, link, link)
		if exposed < -1e-9 || exposed > total*(1+1e-9)+1e-12 {
			t.Fatalf("exposed %g of %g s", exposed, total)
		}
		if wait := total - 1.5*backward; exposed < wait-1e-9 {
			t.Fatalf("exposed %g s, but the link works %g s longer than the device", exposed, wait)
		}
		passes := map[bool]float64{true: 3, false: 2}[again]
		bytes := 0.0
		for _, g := range gs {
			bytes += passes * 2 * g.Params
		}
		if math.Abs(total*rate/bytes-1) > 1e-9 {
			t.Fatalf("moved %g bytes, want %g", total*rate, bytes)
		}
		instant := func(float64) (float64, error) { return 0, nil }
		if _, none, _ := sharded(us, 2, 2, again, instant, instant); none > 1e-9 {
			t.Fatalf("exchanges that take no time expose %g s", none)
		}
		idle := units(gs, 0, backward)
		for i := range idle {
			idle[i].forward, idle[i].backward = 0, 0
		}
		if total, exposed, _ := sharded(idle, 2, 2, again, link, link); math.Abs(exposed/total-1) > 1e-9 {
			t.Fatalf("a device that does nothing waits %g of %g s", exposed, total)
		}
	})
}

// A ring of n devices moves 2 (n-1)/n of the message over each link, so that its time tends to
// twice the message over the rate; a tree takes fewer steps, so that it wins where
// messages are small and devices many, and not where messages are large.
func TestRingsAndTrees(t *testing.T) {
	p, err := hwmodel.Load("t4-16gb")
	if err != nil {
		t.Fatal(err)
	}
	links := Links{Pair: 1e9, Path: 1e12, Network: 1e9}
	for _, n := range []int{2, 4, 64} {
		ring := newCollectives(p, links, n, 1)
		got, err := ring.allReduce(1e9)
		if err != nil {
			t.Fatal(err)
		}
		if want := 2 * float64(n-1) / float64(n); math.Abs(got/want-1) > 0.01 {
			t.Errorf("%d devices take %g s, want %g", n, got, want)
		}
		tree := *ring
		tree.tree = true
		small, _ := ring.allReduce(1e3)
		quick, _ := tree.allReduce(1e3)
		large, _ := tree.allReduce(1e9)
		if n == 64 && quick > small/4 || large < got {
			t.Errorf("%d devices: tree %g and %g s, ring %g and %g", n, quick, large, small, got)
		}
	}
}

// The whole step: exchanges are exposed at most in full, parts add up to the total, and a slower
// network is never better.
func TestStepsOfManyDevices(t *testing.T) {
	one := Setup{Network: "resnet50", Batch: 32, Precision: AMP, Optimiser: SGD}
	alone := onDevice(t, "rtx-2080-ti-11gb", "sia-rtx", one)
	for _, kind := range Shardings() {
		for _, devices := range []int{2, 8, 16} {
			s := one
			s.Devices, s.PerNode, s.Sharding = devices, 8, kind
			got := onDevice(t, "rtx-2080-ti-11gb", "sia-rtx", s)
			if got.Sync <= 0 || got.Exposed > got.Sync || got.Samples != 32*devices {
				t.Errorf("%s on %d: %+v", kind, devices, got)
			}
			if kind == None && got.Total < alone.Total {
				t.Errorf("%d devices take %v, one %v", devices, got.Total, alone.Total)
			}
			if sum := got.Forward + got.Backward + got.Optimise + got.Exposed + got.Host; sum < got.Total-5 || sum > got.Total+5 {
				t.Errorf("%s on %d: parts make %v of %v", kind, devices, sum, got.Total)
			}
		}
	}
}

// Copies in every node spare the network the weights: over a slow one hybrid sharding is quicker
// than sharding over all devices, and within one node they are the same.
func TestHybridSharding(t *testing.T) {
	s := Setup{Network: "mpt-1b", Batch: 4, Devices: 8, PerNode: 8, Sharding: FSDP}
	step := func(s Setup, network float64) Step {
		t.Helper()
		p, err := hwmodel.Load("a100-sxm-80gb")
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Step(p, &System{Links: &Links{Network: network, Ways: 8}})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	h := s
	h.Sharding = Hybrid
	if a, b := step(s, 1e9), step(h, 1e9); a.Total != b.Total {
		t.Errorf("on one node %v sharded, %v with copies", a.Total, b.Total)
	}
	s.Devices, h.Devices = 64, 64
	if a, b := step(s, 0.5e9), step(h, 0.5e9); b.Total >= a.Total {
		t.Errorf("over a slow network %v sharded, %v with copies", a.Total, b.Total)
	}
	a, _ := s.Memory()
	b, _ := h.Memory()
	if math.Abs(float64(b.Optimiser)/float64(8*a.Optimiser)-1) > 1e-6 {
		t.Errorf("copies hold %d bytes of moments, shards %d", b.Optimiser, a.Optimiser)
	}
}

func BenchmarkStep(b *testing.B) {
	p, err := hwmodel.Load("a100-sxm-80gb")
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range []Setup{
		{Network: "resnet50", Batch: 64, Devices: 16, PerNode: 8}, {Network: "bert_large", Batch: 16, Devices: 16, PerNode: 8},
		{Network: "mpt-70b", Batch: 1, Devices: 64, PerNode: 8, Sharding: FSDP},
	} {
		b.Run(s.Network, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Step(p, &systems[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
