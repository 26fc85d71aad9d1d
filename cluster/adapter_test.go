package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"orrery/policies/batch"
)

// lored runs requests through a replica with adapters, one second an iteration, and
// returns its story with the loads in it.
func lored(t *testing.T, a Adapters, rs requests) string {
	t.Helper()
	w := newWatcher(t, 1<<20, time.Hour)
	out, err := Run(context.Background(), Config{Source: &listSource{rs}, Record: []Recorder{w}, Replicas: []ReplicaConfig{{
		Policy: &batch.Orca{MaxSeqs: 8}, Cost: &toyCost{price: unit}, MaxLen: 64, Blocks: 1 << 20, BlockTokens: 16, Adapters: a,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	w.conserved(out, WithPrefill)
	story := ""
	for _, r := range w.records {
		switch r.What {
		case Loaded:
			story += fmt.Sprintf("%d@%g ", r.N, r.At.Seconds())
		case Scheduled:
			story += fmt.Sprintf("%s@%g ", name(r.Request.ID), r.At.Seconds())
		}
	}
	return story
}

// ask is a request for an adapter.
type ask struct {
	adapter int32
	at      float64
	output  int32
}

// Requests wait for their adapters, which come over the link one after the other, and
// others go on; of two places the one that was not used for longer is given up, and only
// when nobody uses it.
func TestAdapterStories(t *testing.T) {
	for _, c := range []struct {
		what string
		a    Adapters
		asks []ask
		want string
	}{
		{"a load is waited for, once; the base model is not", Adapters{Max: 2, Load: 500 * time.Millisecond},
			[]ask{{1, 0, 1}, {0, 0, 1}, {1, 0.1, 1}}, "B@0 1@0.5 A@1 C@1 "},
		{"loads share the link", Adapters{Max: 3, Load: time.Second},
			[]ask{{1, 0, 1}, {2, 0, 1}, {3, 0, 1}}, "1@1 A@1 2@2 B@2 3@3 C@3 "},
		{"the least recently used goes", Adapters{Max: 2, Load: time.Second},
			[]ask{{1, 0, 1}, {2, 5, 1}, {1, 10, 1}, {3, 20, 1}, {1, 30, 1}, {2, 40, 1}},
			"1@1 A@1 2@6 B@6 C@10 3@21 D@21 E@30 2@41 F@41 "},
		{"nobody's adapter is taken away", Adapters{Max: 1, Load: time.Second},
			[]ask{{1, 0, 5}, {2, 2, 1}, {1, 3, 1}}, "1@1 A@1 C@3 2@7 B@7 "},
		{"a batch has so many of them", Adapters{Max: 2, Batch: 1, Load: time.Second},
			[]ask{{1, 0, 3}, {2, 0.5, 2}, {1, 1.5, 1}}, "1@1 A@1 2@2 C@2 B@4 "},
	} {
		var rs requests
		for _, x := range c.asks {
			r := req(x.at, 1, x.output)
			r.Adapter = x.adapter
			rs = append(rs, r)
		}
		if got := lored(t, c.a, rs); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.what, got, c.want)
		}
	}
}
