package cluster

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"orrery/sim"
)

// sending is a transfer of a drawn network.
type sending struct {
	at       sim.Time
	from, to int32
	bytes    int64
	latency  time.Duration
}

// arrivals runs a network and returns when each transfer has arrived.
func arrivals(t *testing.T, nodes []Node, list []sending, also func(g *sim.Engine, w *network)) []sim.Time {
	t.Helper()
	var g sim.Engine
	var w network
	at := make([]sim.Time, len(list))
	index := map[int32]int{}
	if err := w.init(&g, nodes, func(now sim.Time, id int32) { at[index[id]] = now }); err != nil {
		t.Fatal(err)
	}
	start := g.On(sim.Arrive, "start", func(now sim.Time, i uint32) {
		s := &list[i]
		index[w.send(now, path(s.from, s.to), s.bytes, s.latency)] = int(i)
	})
	for i := range list {
		at[i] = Never
		g.At(list[i].at, start, uint32(i))
	}
	if also != nil {
		also(&g, &w)
	}
	g.Run(sim.Forever)
	return at
}

func alike(n int, rate float64) []Node {
	nodes := make([]Node, n)
	for i := range nodes {
		nodes[i] = Node{Out: rate, In: rate, Inside: 4 * rate}
	}
	return nodes
}

// Flows by hand: one alone takes bytes over bandwidth and the latency, to the nanosecond;
// two from one node have half each; when one ends the other has all.
func TestFlowsShareLinks(t *testing.T) {
	const ms = sim.Time(time.Millisecond)
	for _, c := range []struct {
		name string
		list []sending
		want []sim.Time
	}{
		{"alone", []sending{{0, 0, 1, 50e6, 3 * time.Microsecond}}, []sim.Time{50*ms + 3000}},
		{"inside a node", []sending{{0, 1, 1, 50e6, 0}}, []sim.Time{12*ms + 500_000}},
		{"rounded up", []sending{{0, 0, 1, 1, 0}, {ms, 1, 0, 3, 0}}, []sim.Time{1, ms + 3}},
		{"two out of one", []sending{{0, 0, 1, 50e6, 0}, {0, 0, 2, 100e6, 0}}, []sim.Time{100 * ms, 150 * ms}},
		{"two into one", []sending{{0, 0, 2, 50e6, 0}, {25 * ms, 1, 2, 50e6, 0}}, []sim.Time{75 * ms, 100 * ms}},
		{"opposite ways", []sending{{0, 0, 1, 50e6, 0}, {0, 1, 0, 50e6, 0}}, []sim.Time{50 * ms, 50 * ms}},
		// 0->2 and 1->2 have half of the way into 2 each; 0->1 has the other half out of 0.
		{"max-min", []sending{{0, 0, 2, 50e6, 0}, {0, 1, 2, 50e6, 0}, {0, 0, 1, 50e6, 0}}, []sim.Time{100 * ms, 100 * ms, 100 * ms}},
		{"the latency holds nobody up", []sending{{0, 0, 1, 50e6, time.Second}, {50 * ms, 0, 1, 50e6, 0}}, []sim.Time{1050 * ms, 100 * ms}},
	} {
		if got := arrivals(t, alike(3, 1e9), c.list, nil); !slices.Equal(got, c.want) {
			t.Errorf("%s: arrive at %v, want %v", c.name, got, c.want)
		}
	}
}

// While a link is lost nothing passes over it, and nothing is lost.
func TestALostLinkHoldsFlowsUp(t *testing.T) {
	const ms = sim.Time(time.Millisecond)
	list := []sending{{0, 0, 1, 50e6, 0}, {0, 1, 2, 50e6, 0}}
	got := arrivals(t, alike(3, 1e9), list, func(g *sim.Engine, w *network) {
		g.At(20*ms, g.On(sim.Arrive, "lose", func(now sim.Time, _ uint32) { w.lose(now, linkOut) }), 0)
		g.At(220*ms, g.On(sim.Arrive, "restore", func(now sim.Time, _ uint32) { w.restore(now, linkOut) }), 0)
	})
	if want := []sim.Time{250 * ms, 50 * ms}; !slices.Equal(got, want) {
		t.Errorf("arrive at %v, want %v", got, want)
	}
}

// fluid is the same network by brute force: rates are found by raising all flows together
// in small steps, and time goes in small steps.
func fluid(nodes []Node, list []sending, step float64) []float64 {
	left, at := make([]float64, len(list)), make([]float64, len(list))
	for i := range list {
		left[i] = float64(list[i].bytes)
	}
	for now := 0.0; ; now += step {
		rates, capacity := make([]float64, len(list)), map[int32]float64{}
		for n := range nodes {
			capacity[int32(3*n)], capacity[int32(3*n+1)], capacity[int32(3*n+2)] = nodes[n].Out, nodes[n].In, nodes[n].Inside
		}
		grows, busy := make([]bool, len(list)), false
		for i := range list {
			grows[i] = left[i] > 0 && list[i].at.Seconds() <= now
			busy = busy || left[i] > 0
		}
		if !busy {
			return at
		}
		const crumb = 1e6 // bytes per second
		for slices.Contains(grows, true) {
			for i := range list {
				if !grows[i] {
					continue
				}
				for _, k := range path(list[i].from, list[i].to) {
					if capacity[k] < crumb {
						grows[i] = false
					}
				}
				if grows[i] {
					rates[i] += crumb
					for _, k := range path(list[i].from, list[i].to) {
						capacity[k] -= crumb
					}
				}
			}
		}
		for i := range list {
			if left[i] > 0 && rates[i] > 0 {
				if left[i] -= rates[i] * step; left[i] <= 0 {
					at[i] = now + step
				}
			}
		}
	}
}

func TestFlowsAreMaxMinFair(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		nodes := make([]Node, 3)
		for i := range nodes {
			rate := func(name string) float64 { return 1e8 * float64(rapid.IntRange(1, 5).Draw(r, name)) }
			nodes[i] = Node{Out: rate("out"), In: rate("in"), Inside: rate("inside")}
		}
		var list []sending
		for range rapid.IntRange(1, 6).Draw(r, "flows") {
			node := rapid.Int32Range(0, 2)
			list = append(list, sending{sim.Time(rapid.Int64Range(0, 50).Draw(r, "at")) * sim.Time(time.Millisecond), node.Draw(r, "from"), node.Draw(r, "to"), rapid.Int64Range(1e5, 2e7).Draw(r, "bytes"), 0})
		}
		got, want := arrivals(t, nodes, list, nil), fluid(nodes, list, 1e-4)
		for i := range list {
			alone := float64(list[i].bytes) / min(nodes[list[i].from].Out, nodes[list[i].to].In)
			if list[i].from == list[i].to {
				alone = float64(list[i].bytes) / nodes[list[i].from].Inside
			}
			if took := (got[i] - list[i].at).Seconds(); took < alone-1e-9 {
				r.Fatalf("flow %d takes %v s, alone it would take %v", i, took, alone)
			}
			if math.Abs(got[i].Seconds()-want[i]) > 0.003+0.03*want[i] {
				r.Fatalf("flow %d arrives at %v, by brute force at %v s; %+v", i, got[i], want[i], list)
			}
		}
	})
}
