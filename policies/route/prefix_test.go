package route

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"orrery/sim"
	"orrery/workloads"
)

var (
	_ Watcher    = (*PrefixAffinity)(nil)
	_ Watcher    = (*PrefixCost)(nil)
	_ Predicting = (*PrefixCost)(nil)
	_ Watcher    = (*SessionAffinity)(nil)
	_ Watcher    = (*Weighted)(nil)
	_ Reporting  = (*Weighted)(nil)
)

// prompt is a request whose parts of 16 tokens have these names.
func prompt(names ...uint64) *workloads.Request {
	return &workloads.Request{Prompt: int32(16*len(names) + 1), Prefix: names, PrefixBlock: 16}
}

// ready returns n idle replicas, told to a policy.
func idle(p Policy, n int) []Replica {
	replicas := make([]Replica, n)
	for i := range replicas {
		replicas[i] = Replica{Ready: true, KVBlocks: 1000}
	}
	tell(p, replicas)
	return replicas
}

// send routes a request, which stays.
func send(p Policy, replicas []Replica, r *workloads.Request) int {
	i := p.Route(0, r, replicas)
	replicas[i].Outstanding++
	replicas[i].Work += int64(r.Prompt)
	changed(p, replicas, i)
	return i
}

// The index answers as lists do that are searched from end to end.
func TestPrefixIndexAgainstLists(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const replicas = 4
		x := PrefixIndex{Parts: rapid.IntRange(0, 12).Draw(t, "parts")}
		var lists [replicas][]uint64 // most recently used last
		for range 60 {
			// Names that tell their beginning apart, as hashes of prompts do.
			var names []uint64
			name := uint64(1)
			for range rapid.IntRange(0, 5).Draw(t, "length") {
				name = name*3 + rapid.Uint64Range(0, 2).Draw(t, "turn")
				names = append(names, name)
			}
			i := rapid.IntRange(0, replicas-1).Draw(t, "replica")
			if rapid.IntRange(0, 9).Draw(t, "lost") == 0 {
				x.Forget(i)
				lists[i] = nil
			} else {
				x.Add(i, names)
				for _, name := range slices.Backward(names) {
					lists[i] = append(slices.DeleteFunc(lists[i], func(n uint64) bool { return n == name }), name)
				}
				if over := len(lists[i]) - x.Parts; x.Parts > 0 && over > 0 {
					lists[i] = lists[i][over:]
				}
			}
			want, got := map[int]int{}, map[int]int{}
			deepest := 0
			for k := range lists {
				for n := len(names); n > 0; n-- {
					if slices.Contains(lists[k], names[n-1]) {
						want[k] = n
						deepest = max(deepest, n)
						break
					}
				}
			}
			x.Matched(names, func(i, n int) {
				if _, twice := got[i]; twice {
					t.Fatalf("replica %d is named twice", i)
				}
				got[i] = n
			})
			if !maps.Equal(got, want) {
				t.Fatalf("%v is matched by %v, want %v", names, got, want)
			}
			var holders []int
			if n := x.Deepest(names, 0, func(i int) bool { holders = append(holders, i); return true }); n != deepest {
				t.Fatalf("%v is held up to part %d, want %d", names, n, deepest)
			}
			for _, i := range holders {
				if want[i] != deepest {
					t.Fatalf("replica %d holds %d parts, want %d", i, want[i], deepest)
				}
			}
		}
	})
}

// A prompt follows its beginning, if that is most of it; a new one goes to the idlest.
func TestPrefixAffinityFollowsThePrompt(t *testing.T) {
	p := &PrefixAffinity{MinMatch: 0.5, ImbalanceRequests: 3, ImbalanceRatio: 1.5}
	replicas := idle(p, 3)
	for n, c := range []struct {
		r    *workloads.Request
		want int
		why  string
	}{
		{prompt(1, 2), 0, "the first of idle ones"},
		{prompt(5, 6, 7, 8), 1, "nothing known"},
		{prompt(1, 2, 3), 0, "two of three parts are there"},
		{prompt(1, 9, 10), 2, "one of three parts is too little"},
		{prompt(5, 6, 7), 1, "all of it is there"},
		{prompt(1, 2), 0, "all of it is there"},
		{prompt(1, 2), 0, "3 requests against 1 are within 3 of each other"},
		{prompt(1, 2), 0, "so are 4"},
		{prompt(1, 2), 2, "5 against 1 are not: by load"},
		{prompt(1, 2), 2, "the copy there is with less load"},
	} {
		if got := send(p, replicas, c.r); got != c.want {
			t.Fatalf("request %d goes to %d, want %d: %s (%+v)", n, got, c.want, c.why, replicas)
		}
	}
}

// A replica that went away has lost what it held.
func TestPrefixIsForgottenWithTheReplica(t *testing.T) {
	p := &PrefixAffinity{MinMatch: 0.5, ImbalanceRequests: 100, ImbalanceRatio: 1.5}
	replicas := idle(p, 2)
	if got := send(p, replicas, prompt(1, 2)); got != 0 {
		t.Fatalf("went to %d", got)
	}
	for _, ready := range []bool{false, true} {
		replicas[0].Ready = ready
		changed(p, replicas, 0)
	}
	if got := send(p, replicas, prompt(1, 2)); got != 1 {
		t.Errorf("went to %d, want 1: replica 0 came back without its cache, and has more to do", got)
	}
}

// A cached token is worth a token of load, or what the weight says.
func TestPrefixCostWeighsCacheAgainstLoad(t *testing.T) {
	for _, c := range []struct {
		weight float64
		ahead  int64 // tokens of load on the replica with the cache
		want   int
	}{{1, 31, 0}, {1, 32, 0}, {1, 33, 1}, {2, 33, 0}, {2, 65, 1}, {0, 1, 1}} {
		p := &PrefixCost{MatchWeight: c.weight}
		replicas := idle(p, 2)
		send(p, replicas, prompt(1, 2))
		replicas[0].Work = c.ahead
		changed(p, replicas, 0)
		if got := p.Route(0, prompt(1, 2, 3), replicas); got != c.want {
			t.Errorf("32 cached tokens of weight %v against %d tokens of load: went to %d, want %d", c.weight, c.ahead, got, c.want)
		}
	}
}

// A conversation stays while its replica does, among the conversations kept.
func TestSessionAffinity(t *testing.T) {
	turn := func(session int64) *workloads.Request { return &workloads.Request{Session: session, Prompt: 1} }
	p := &SessionAffinity{Sessions: 2}
	replicas := idle(p, 3)
	var got []int
	for _, s := range []int64{7, 8, 7, 7, 9, 0, 7} {
		got = append(got, send(p, replicas, turn(s)))
	}
	if want := "[0 1 0 0 2 1 0]"; fmt.Sprint(got) != want {
		t.Errorf("7 8 7 7 9 0 7 went to %v, want %v", got, want)
	}
	replicas[0].Ready = false
	changed(p, replicas, 0)
	away := send(p, replicas, turn(7))
	replicas[0].Ready = true
	changed(p, replicas, 0)
	if back := send(p, replicas, turn(7)); away == 0 || back != away {
		t.Errorf("7 went to %d and then to %d, want one replica other than 0", away, back)
	}
}

// The hash spreads conversations evenly, and moves only those whose replica is away.
func TestSessionHash(t *testing.T) {
	const sessions, n = 100_000, 50
	replicas := idle(SessionHash{}, n)
	home := make([]int, sessions)
	count := make([]int, n)
	for s := range home {
		home[s] = SessionHash{}.Route(0, &workloads.Request{Session: int64(s + 1)}, replicas)
		count[home[s]]++
	}
	const mean = float64(sessions) / n
	for i, c := range count {
		if math.Abs(float64(c)-mean) > 5*math.Sqrt(mean) {
			t.Errorf("replica %d has %d conversations, want %v", i, c, mean)
		}
	}
	for i := range replicas {
		replicas[i].Ready = i == 7 || i == 8
	}
	var moved [n]int
	for s := range home {
		switch got := (SessionHash{}).Route(0, &workloads.Request{Session: int64(s + 1)}, replicas); {
		case got != 7 && got != 8, (home[s] == 7 || home[s] == 8) && got != home[s]:
			t.Fatalf("conversation %d of replica %d is on %d now", s, home[s], got)
		default:
			moved[got]++
		}
	}
	if d := math.Abs(float64(moved[7] - moved[8])); d > 5*math.Sqrt(sessions) {
		t.Errorf("the two that are left have %d and %d conversations, want half each", moved[7], moved[8])
	}
	replicas[7].Ready, replicas[8].Ready = false, false
	replicas[30].Ready = true
	if got := (SessionHash{}).Route(0, &workloads.Request{Session: 1}, replicas); got != 30 {
		t.Errorf("went to %d, want 30, the only one", got)
	}
}

// The scores are those of llm-d, by hand.
func TestScores(t *testing.T) {
	replicas := []Replica{
		{Ready: true, Queued: 0, KVUsed: 90, KVBlocks: 100},
		{Ready: true, Queued: 6, KVUsed: 0, KVBlocks: 100},
		{Ready: false, Queued: 100},
		{Ready: true, Queued: 12, KVUsed: 50, KVBlocks: 100},
	}
	prefix := &PrefixScore{}
	prefix.Chosen(prompt(1, 2), 1)
	prefix.Chosen(prompt(1), 3)
	r := prompt(1, 2, 3, 4)
	for _, c := range []struct {
		s    Scorer
		want [4]float64
	}{
		{QueueScore{}, [4]float64{1, 0.5, 0, 0}},
		{MemoryScore{}, [4]float64{0.1, 1, 0, 0.5}},
		{LoadScore{Limit: 8}, [4]float64{0.5, 0.125, 0, 0}},
		{prefix, [4]float64{0, 0.5, 0, 0.25}},
	} {
		got := make([]float64, 4)
		c.s.Score(r, replicas, 2, got)
		for i := range got {
			if replicas[i].Ready && math.Abs(got[i]-2*c.want[i]) > 1e-12 {
				t.Errorf("%T of weight 2 gives %v, want twice %v", c.s, got, c.want)
			}
		}
	}
	equal := make([]float64, 2)
	QueueScore{}.Score(r, replicas[:1], 1, equal)
	if equal[0] != 1 {
		t.Errorf("equal queues score %v, want 1", equal[0])
	}
}

// The heavier weight decides, and among equals chance does, evenly.
func TestWeighted(t *testing.T) {
	for _, c := range []struct {
		queue, prefix float64
		want          int
	}{{1, 3, 1}, {3, 1, 0}} {
		p := &Weighted{Rand: sim.Stream(1, "route"), Terms: []Term{{QueueScore{}, c.queue}, {&PrefixScore{}, c.prefix}}}
		replicas := idle(p, 2)
		replicas[0].Queued = 1
		if got := p.Route(0, prompt(1, 2), replicas); got != 1 {
			t.Fatalf("the first request went to %d, want 1, which has no queue", got)
		}
		replicas[0].Queued, replicas[1].Queued = 0, 1
		if got := p.Route(0, prompt(1, 2), replicas); got != c.want {
			t.Errorf("weights %v and %v: went to %d, want %d", c.queue, c.prefix, got, c.want)
		}
	}
	p := &Weighted{Rand: sim.Stream(1, "route"), Terms: []Term{{MemoryScore{}, 1}}}
	replicas := idle(p, 5)
	replicas[2].KVUsed = 1
	count := make([]int, 5)
	for range 40_000 {
		count[p.Route(0, prompt(1), replicas)]++
	}
	for i, n := range count {
		if want := 10_000; i == 2 && n != 0 || i != 2 && (n < want*95/100 || n > want*105/100) {
			t.Errorf("replica %d was chosen %d times of 40,000, want a quarter but for 2", i, n)
		}
	}
}

// The mean of the answers seen is predicted, and the prompt's length before there are any.
func TestMeanAnswer(t *testing.T) {
	m := &MeanAnswer{}
	r := &workloads.Request{Prompt: 7, Output: 1000}
	got := []int32{m.Answer(r)}
	for _, n := range []int32{3, 4, 20} {
		m.Learn(Done{Answer: n})
		got = append(got, m.Answer(r))
	}
	if want := "[7 3 4 9]"; fmt.Sprint(got) != want {
		t.Errorf("predicted %v, want %v", got, want)
	}
	if (Oracle{}).Answer(r) != 1000 {
		t.Error("the oracle does not know")
	}
}
