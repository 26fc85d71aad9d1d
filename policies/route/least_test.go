package route

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"orrery/sim"
	"orrery/workloads"
)

var (
	_ Indexer    = LeastOutstanding{}
	_ Indexer    = Least{}
	_ Indexer    = SharedQueue{}
	_ Watcher    = (*indexedLeast)(nil)
	_ Watcher    = (*indexedQueue)(nil)
	_ Predicting = Least{}
	_ Predicting = (*indexedLeast)(nil)
)

// A router with an index chooses as the plain one does, whatever happens to the replicas.
func TestIndexedChoosesAsThePlainPolicy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		speeds := rapid.SampledFrom([][]float64{nil, {1, 2.5}, {3}}).Draw(t, "speeds")
		plain := rapid.SampledFrom([]Policy{
			LeastOutstanding{}, SharedQueue{Slots: 2},
			Least{By: Requests, Speeds: speeds}, Least{By: Tokens, Speeds: speeds}, Least{By: Work, Speeds: speeds, Guess: Oracle{}},
		}).Draw(t, "policy")
		indexed := plain.(Indexer).Indexed()
		replicas := make([]Replica, rapid.IntRange(1, 40).Draw(t, "replicas"))
		for i := range replicas {
			replicas[i] = Replica{Ready: true, Group: int32(i * 3 / len(replicas))}
		}
		for i := range replicas {
			indexed.(Watcher).Changed(replicas, i)
		}
		for step := range 200 {
			r := &workloads.Request{Prompt: rapid.Int32Range(1, 5).Draw(t, "prompt"), Output: rapid.Int32Range(1, 5).Draw(t, "output")}
			want, got := plain.Route(0, r, replicas), indexed.Route(0, r, replicas)
			if got != want {
				t.Fatalf("step %d: the index chooses %d, the policy %d of %+v", step, got, want, replicas)
			}
			i := rapid.IntRange(0, len(replicas)-1).Draw(t, "changed")
			l := &replicas[i]
			switch rapid.IntRange(0, 5).Draw(t, "how") {
			case 0:
				l.Ready = !l.Ready
			case 1:
				*l = Replica{Ready: l.Ready, Group: l.Group}
			default:
				if want >= 0 {
					i, l = want, &replicas[want]
				}
				l.Outstanding++
				l.Tokens += int64(r.Prompt)
				l.Work += int64(r.Prompt + r.Output)
			}
			indexed.(Watcher).Changed(replicas, i)
		}
	})
}

// Nobody chooses a replica that is not ready, and where none is, the request stays.
func TestOnlyReadyReplicas(t *testing.T) {
	for name, p := range everyPolicy() {
		replicas := make([]Replica, 12)
		for i := range replicas {
			replicas[i] = Replica{Ready: i%4 == 3, KVBlocks: 100}
		}
		tell(p, replicas)
		for id := range int64(300) {
			r := &workloads.Request{ID: id, Prompt: 64, Session: id % 7, Prefix: []uint64{uint64(id % 5), uint64(id)}, PrefixBlock: 32}
			i := p.Route(0, r, replicas)
			if i < 0 || !replicas[i].Ready {
				t.Fatalf("%s chooses %d, want 3, 7 or 11", name, i)
			}
			replicas[i].Outstanding++
			changed(p, replicas, i)
		}
		for i := range replicas {
			replicas[i].Ready = false
			changed(p, replicas, i)
		}
		if i := p.Route(0, &workloads.Request{Prompt: 1}, replicas); i != -1 {
			t.Errorf("%s chooses %d when none is ready, want -1", name, i)
		}
	}
}

// No router but an oracle looks at the length of the answer.
func TestNobodyLooksAtTheAnswer(t *testing.T) {
	short, long := everyPolicy(), everyPolicy()
	for name := range short {
		a, b := idle(short[name], 7), idle(long[name], 7)
		rng := sim.Stream(1, "requests")
		for id := range int64(500) {
			r := &workloads.Request{ID: id, Prompt: 32 + rng.Int32N(100), Session: rng.Int64N(9), Prefix: []uint64{rng.Uint64N(5), uint64(id)}, PrefixBlock: 16, Output: 1}
			i := send(short[name], a, r)
			r.Output = 1 + rng.Int32N(1000)
			if k := send(long[name], b, r); k != i {
				t.Fatalf("%s: request %d goes to %d with an answer of 1 token, to %d with %d", name, id, i, k, r.Output)
			}
		}
	}
}

// everyPolicy returns one of each, as the cluster would ask it.
func everyPolicy() map[string]Policy {
	return map[string]Policy{
		"round robin":         &RoundRobin{},
		"random":              &Random{Rand: sim.Stream(1, "route")},
		"least outstanding":   LeastOutstanding{},
		"least outstanding i": LeastOutstanding{}.Indexed(),
		"least tokens":        Least{By: Tokens},
		"least work":          Least{By: Work}.Indexed(),
		"power of two":        &PowerOfTwo{Rand: sim.Stream(1, "route")},
		"power of five":       &PowerOf{Choices: 5, Rand: sim.Stream(1, "route")},
		"shared queue":        SharedQueue{Slots: 1000},
		"prefix affinity":     &PrefixAffinity{MinMatch: 0.5, ImbalanceRequests: 1000, ImbalanceRatio: 2, IndexParts: 40},
		"prefix cost":         &PrefixCost{MatchWeight: 1, IndexParts: 40},
		"session affinity":    &SessionAffinity{Sessions: 3},
		"session hash":        SessionHash{},
		"weighted": &Weighted{Rand: sim.Stream(1, "route"), Terms: []Term{
			{QueueScore{}, 2}, {MemoryScore{}, 2}, {&PrefixScore{}, 3}, {LoadScore{128}, 1}}},
	}
}

// tell shows a policy the replicas as the cluster does before the first request.
func tell(p Policy, replicas []Replica) {
	for i := range replicas {
		changed(p, replicas, i)
	}
}

func changed(p Policy, replicas []Replica, i int) {
	if w, ok := p.(Watcher); ok {
		w.Changed(replicas, i)
	}
}

// The faster group gets as many more requests as it is faster, and the first request.
func TestSpeedsShareTheLoad(t *testing.T) {
	p := Least{Speeds: []float64{1, 3}}
	replicas := []Replica{{Ready: true}, {Ready: true, Group: 1}}
	first := -1
	for range 400 {
		i := p.Route(0, &workloads.Request{}, replicas)
		if first < 0 {
			first = i
		}
		replicas[i].Outstanding++
	}
	if first != 1 || replicas[1].Outstanding != 300 {
		t.Errorf("first %d, loads %d and %d; want 1, 100 and 300", first, replicas[0].Outstanding, replicas[1].Outstanding)
	}
}

// Draws are uniform over those that are ready, however few they are.
func TestDrawsAreUniform(t *testing.T) {
	for _, ready := range []int{2, 3, 100} {
		replicas := make([]Replica, 100)
		for i := range ready {
			replicas[i*100/ready].Ready = true
		}
		rng := sim.Stream(1, "route")
		const n = 200_000
		times := map[int]int{}
		for range n {
			a := draw(rng, replicas, nil)
			times[a]++
			b := draw(rng, replicas, []int{a})
			if a == b {
				t.Fatalf("drew %d twice", a)
			}
			times[b]++
		}
		want := 2 * float64(n) / float64(ready)
		for i := range replicas {
			if got := float64(times[i]); replicas[i].Ready && (got < 0.9*want || got > 1.1*want) {
				t.Errorf("of %d ready, %d was drawn %v times, want about %v", ready, i, got, want)
			}
		}
	}
}

// What a request costs the router, by the number of replicas. On a two-core cloud
// machine that did other things as well (ns for a request and its end, the least of three
// runs; 50 requests under way on each replica, of 1000 conversations with prompts of
// 20 parts):
//
//	replicas             10      100    1,000   10,000
//	scan                 81      175    1,158   13,635   <- LeastOutstanding
//	index               134      110      136      216   <- LeastOutstanding.Indexed
//	two                  67       61       73      143
//	session-hash         36       35       38       84
//	session-affinity    132      162      182      253
//	prefix-affinity   4,155    2,777    6,805   10,842   two look-ups for each part of the prompt
//	prefix-cost       4,143    4,420    6,853    4,959   likewise
//	weighted          4,362    2,537   11,797   80,710   likewise, and a look at every replica
//
// Run it with go test -bench Route ./policies/route.
func BenchmarkRoute(b *testing.B) {
	rng := sim.Stream(1, "bench")
	for _, by := range []struct {
		name string
		make func() Policy
	}{
		{"scan", func() Policy { return LeastOutstanding{} }},
		{"index", func() Policy { return LeastOutstanding{}.Indexed() }},
		{"two", func() Policy { return &PowerOfTwo{Rand: rng} }},
		{"session-hash", func() Policy { return SessionHash{} }},
		{"session-affinity", func() Policy { return &SessionAffinity{} }},
		{"prefix-affinity", func() Policy {
			return &PrefixAffinity{MinMatch: 0.5, ImbalanceRequests: 32, ImbalanceRatio: 1.0001, IndexParts: 1000}
		}},
		{"prefix-cost", func() Policy { return &PrefixCost{MatchWeight: 1, IndexParts: 1000} }},
		{"weighted", func() Policy {
			return &Weighted{Rand: rng, Terms: []Term{{QueueScore{}, 2}, {MemoryScore{}, 2}, {&PrefixScore{Index: PrefixIndex{Parts: 1000}}, 3}}}
		}},
	} {
		for _, n := range []int{10, 100, 1000, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", by.name, n), func(b *testing.B) { benchmarkRoute(b, by.make(), n) })
		}
	}
}

func benchmarkRoute(b *testing.B, p Policy, n int) {
	replicas := idle(p, n)
	rng := sim.Stream(1, "traffic")
	sessions := make([]workloads.Request, 1000)
	for s := range sessions {
		r := &sessions[s]
		*r = workloads.Request{Prompt: 20 * 16, PrefixBlock: 16, Session: int64(s + 1)}
		for k := range uint64(20) {
			r.Prefix = append(r.Prefix, uint64(s)<<8|k)
		}
	}
	under := make([]int32, 50*n) // where requests are under way; they end at random
	send := func(at int) {
		i := p.Route(0, &sessions[rng.IntN(len(sessions))], replicas)
		replicas[i].Outstanding++
		changed(p, replicas, i)
		under[at] = int32(i)
	}
	for at := range under {
		under[at] = int32(at % n)
		replicas[under[at]].Outstanding++
		changed(p, replicas, int(under[at]))
	}
	for b.Loop() {
		at := rng.IntN(len(under))
		i := int(under[at])
		replicas[i].Outstanding--
		changed(p, replicas, i)
		send(at)
	}
}
