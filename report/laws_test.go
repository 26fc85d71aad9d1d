package report

import (
	"slices"
	"strings"
	"testing"
	"time"

	"orrery/cluster"
	"orrery/sim"
)

// lawsOf returns the error after a whole log.
func lawsOf(log []cluster.Record, end sim.Time) error {
	l := &Laws{Replicas: storySpec}
	for i := range log {
		l.Record(&log[i])
	}
	return l.Close(end, -1)
}

func TestStoryIsLawful(t *testing.T) {
	if err := lawsOf(story(), 100*ms); err != nil {
		t.Fatal(err)
	}
}

// Every broken law is found, and said in words that name the place.
func TestBrokenLawsAreFound(t *testing.T) {
	find := func(log []cluster.Record, w cluster.What, n int) *cluster.Record {
		for i := range log {
			if log[i].What == w {
				if n == 0 {
					return &log[i]
				}
				n--
			}
		}
		panic("no such record")
	}
	drop := func(log []cluster.Record, r *cluster.Record) []cluster.Record {
		var out []cluster.Record
		for i := range log {
			if &log[i] != r {
				out = append(out, log[i])
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		breaks func(log []cluster.Record) []cluster.Record
		want   string
	}{
		"time goes back": {func(l []cluster.Record) []cluster.Record {
			find(l, cluster.Emitted, 2).At = 45 * ms
			return l
		}, "time goes back from 60ms"},
		"iterations overlap": {func(l []cluster.Record) []cluster.Record {
			find(l, cluster.Iterated, 1).Iteration.Start = 15 * ms
			return l
		}, "before its predecessor"},
		"a stage is busy twice": {func(l []cluster.Record) []cluster.Record {
			find(l, cluster.Iterated, 1).Iteration.Stages[0].Start = 12 * ms
			return l
		}, "stage 0"},
		"too many tokens": {func(l []cluster.Record) []cluster.Record {
			find(l, cluster.Iterated, 0).Iteration.Batch.AddChunk(400, 0)
			return l
		}, "the limit is 128"},
		"memory overdrawn": {func(l []cluster.Record) []cluster.Record {
			find(l, cluster.Iterated, 2).Iteration.KVUsed = 21
			return l
		}, "21 KV blocks in use of 20"},
		"a token is lost": {func(l []cluster.Record) []cluster.Record {
			return drop(l, find(l, cluster.Emitted, 0))
		}, "5 tokens were emitted, requests got 6"},
		"an answer is short": {func(l []cluster.Record) []cluster.Record {
			find(l, cluster.Finished, 0).Request.Emitted = 1
			return l
		}, "emitted 1 of 2 tokens"},
		"work appears from nowhere": {func(l []cluster.Record) []cluster.Record {
			find(l, cluster.Iterated, 4).Iteration.Batch.AddChunk(5, 0)
			return l
		}, "tokens were computed"},
		"work is lost": {func(l []cluster.Record) []cluster.Record {
			r := find(l, cluster.Iterated, 0)
			r.Iteration = iteration(0, 0, 20, 10, 0, 1, 0, 7)
			return l
		}, "tokens were computed"},
		"finished twice": {func(l []cluster.Record) []cluster.Record {
			return append(l, *find(l, cluster.Finished, 0))
		}, "has ended already"},
		"never ended": {func(l []cluster.Record) []cluster.Record {
			return drop(l, find(l, cluster.Unfinished, 0))
		}, "1 are still live"},
		"first token before scheduled": {func(l []cluster.Record) []cluster.Record {
			return drop(l, find(l, cluster.Scheduled, 1))
		}, "first-token at 40ms, replica 0, request 1): comes after routed"},
		"two replicas": {func(l []cluster.Record) []cluster.Record {
			find(l, cluster.Finished, 1).Replica = 1
			return l
		}, "was routed to replica 0"},
		"a cache from nowhere": {func(l []cluster.Record) []cluster.Record {
			end := find(l, cluster.Finished, 1)
			got := *end
			got.What, got.Replica = cluster.Received, 1
			at := slices.IndexFunc(l, func(r cluster.Record) bool { return r.What == cluster.Finished && r.Request.ID == end.Request.ID })
			return slices.Insert(l, at, got)
		}, "sent: false"},
		"more running than are here": {func(l []cluster.Record) []cluster.Record {
			find(l, cluster.Iterated, 3).Iteration.Waiting = 1
			return l
		}, "only 1 requests are here"},
		"a false stamp": {func(l []cluster.Record) []cluster.Record {
			find(l, cluster.Finished, 1).Request.Arrived = 1 * ms
			return l
		}, "Little's law"},
	} {
		err := lawsOf(c.breaks(story()), 100*ms)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// The laws hold on real runs of all policies, cut or not, and jumps leave the same
// fingerprint as steps.
func TestRunsAreLawfulAndJumpsLikeSteps(t *testing.T) {
	for name, policy := range policies() {
		for _, y := range []toy{
			{blocks: 5000}, {blocks: 300, replicas: 3}, {blocks: 300, stages: 3}, {blocks: 300, until: sim.Seconds(2)},
			{blocks: 400, mode: cluster.WithDecode},
		} {
			y.policy, y.late = policy, 20*time.Millisecond
			var sums []string
			for _, y.step = range []bool{false, true} {
				l := &Laws{Replicas: Specs(y.config(nil).Replicas)}
				f := &Fingerprint{}
				out := y.run(t, traffic(300, 50, 11), l, f)
				if err := l.Close(out.End, -1); err != nil {
					t.Fatalf("%s %+v: %v", name, y, err)
				}
				sums = append(sums, f.String())
			}
			if sums[0] != sums[1] {
				t.Errorf("%s with %d blocks, %d stages: jumps give %s, steps %s", name, y.blocks, y.stages, sums[0], sums[1])
			}
		}
	}
}

// Any change of any field changes the fingerprint; another interleaving of door
// and floor does not.
func TestFingerprint(t *testing.T) {
	sum := func(change func(log []cluster.Record)) string {
		log := story()
		change(log)
		f := &Fingerprint{}
		for i := range log {
			f.Record(&log[i])
		}
		return f.String()
	}
	same := sum(func([]cluster.Record) {})
	if same != sum(func([]cluster.Record) {}) {
		t.Fatal("one log has two fingerprints")
	}
	if same != sum(func(l []cluster.Record) { l[4], l[5] = l[5], l[4] }) {
		t.Error("the fingerprint depends on when a routing is logged among iterations")
	}
	for i, change := range []func(l []cluster.Record){
		func(l []cluster.Record) { l[0].At++ },
		func(l []cluster.Record) { l[11].N++ },
		func(l []cluster.Record) { l[11].Gap++ },
		func(l []cluster.Record) { l[11], l[12] = l[12], l[11] },
		func(l []cluster.Record) { l[13].Swap = true },
		func(l []cluster.Record) { l[13].Request.LateGaps++ },
		func(l []cluster.Record) { l[21].Reason += "." },
		func(l []cluster.Record) { l[5].Iteration.Batch.ChunkPairs++ },
		func(l []cluster.Record) { l[5].Iteration.Stages[0].End-- },
		func(l []cluster.Record) { l[4].Replica = 1 },
	} {
		if same == sum(change) {
			t.Errorf("change %d does not show in the fingerprint", i)
		}
	}
}

func BenchmarkFingerprint(b *testing.B) {
	log := syntheticLog(40_000)
	for b.Loop() {
		f := &Fingerprint{}
		for i := range log {
			f.Record(&log[i])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(log)), "ns/record")
}
