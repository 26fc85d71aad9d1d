package cluster

import (
	"context"
	"strings"
	"testing"
	"time"

	"orrery/policies/batch"
	"orrery/policies/denoise"
	"orrery/workloads"
)

// flat is a program of which every part takes a second.
type flat struct{ steps, weights, each int }

func (f flat) Steps() int                  { return f.steps }
func (f flat) Encode(int) time.Duration    { return time.Second }
func (f flat) Step(int, int) time.Duration { return time.Second }
func (f flat) Decode(int) time.Duration    { return time.Second }
func (f flat) Memory(n int) int64          { return int64(f.weights + n*f.each) }
func (f flat) Group() int                  { return 0 }

func image(at float64, class int32) workloads.Request {
	r := req(at, 1, 20)
	r.Class = class
	return r
}

// tells writes down what happens to requests.
type tells struct{ lines []string }

func (w *tells) Record(r *Record) {
	if r.Request != nil && (r.What == Finished || r.What == Rejected) {
		w.lines = append(w.lines, strings.TrimSpace(r.What.String()+" "+r.At.String()+" "+r.Reason))
	}
}

// Text and images pass by each other: both are served in one run as if alone.
func TestTextBesideImages(t *testing.T) {
	w := &tells{}
	_, err := Run(context.Background(), Config{
		Source: &listSource{requests{req(0, 8, 3), image(0, 1), image(0, 2)}},
		Replicas: []ReplicaConfig{{
			Policy: &batch.Sarathi{MaxSeqs: 4, Budget: 64}, Cost: &toyCost{price: unit}, MaxLen: 100, Blocks: 100, BlockTokens: 16,
		}},
		Classes: []Class{{Name: "small"}, {Name: "large"}},
		Pools: []PoolConfig{{
			Devices: 1, Memory: 10, Policy: &denoise.Continuous{Batch: 4}, Programs: [][]Program{{flat{4, 2, 3}}, {flat{4, 2, 9}}},
		}},
		Record: []Recorder{w},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(w.lines, "\n")
	want := "rejected 0s no pool serves its class, or no device has the memory for one image\nfinished 3s\nfinished 6s"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPoolsRefuse(t *testing.T) {
	classes := []Class{{Name: "image"}}
	fifo := &denoise.FIFO{Batch: 1}
	for _, c := range []struct {
		pool PoolConfig
		want string
	}{
		{PoolConfig{Devices: 0, Policy: fifo}, "0 devices"},
		{PoolConfig{Devices: 1}, "needs a policy"},
		{PoolConfig{Devices: 1, Policy: &denoise.FIFO{}}, "batches of 0"},
		{PoolConfig{Devices: 1, Policy: fifo}, "serves no class"},
		{PoolConfig{Devices: 1, Policy: fifo, Programs: [][]Program{{flat{}}}}, "at least one step"},
		{PoolConfig{Devices: 1, Policy: fifo, Programs: [][]Program{{flat{1, 9, 1}}}, Memory: 8}, "do not fit"},
		{PoolConfig{Devices: 1, Policy: fifo, Programs: [][]Program{{}, {flat{1, 1, 1}}}, Memory: 8}, "but the run has 1"},
	} {
		_, err := Run(context.Background(), Config{Source: &listSource{}, Classes: classes, Pools: []PoolConfig{c.pool}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got error %v, want one with %q", err, c.want)
		}
	}
	if _, err := Live(context.Background(), Config{Source: &listSource{}, Pools: []PoolConfig{{}}}); err == nil {
		t.Error("Live takes pools")
	}
}
