package cluster

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/sim"
	"orrery/workloads"
)

// Qualitative laws that every calibration must leave true, over random workloads.

// wide is a workload drawn from three numbers, so that it can be scaled.
func wide(n int, rate, prompt, output float64, seed uint64) requests {
	gaps, lengths := sim.Stream(seed, "gaps"), sim.Stream(seed, "lengths")
	var rs requests
	at := 0.0
	for range n {
		at += gaps.ExpFloat64() / rate
		p := prompt * math.Exp(0.6*lengths.NormFloat64())
		o := output * math.Exp(0.6*lengths.NormFloat64())
		rs = append(rs, req(at, int32(min(max(p, 1), 3000)), int32(min(max(o, 1), 1000))))
	}
	return rs
}

// mistral is about Mistral-7B on an A100 under a Python engine: 8 ms of weights or
// 0.09 ms a token, 6 ms of host time, KV read at 800 GB/s.
func mistral(b *hwmodel.Batch) time.Duration {
	t := 6e6 + max(8e6, 90_000*float64(b.Tokens())) + 160*float64(b.DecodeContext) + 0.05*float64(b.ChunkPairs)
	return time.Duration(t)
}

// figures are the quantities that the laws speak of.
type figures struct {
	gaps, ttft sim.Sketch
	longest    time.Duration
	largest    int // decodes in a batch
	computed   int64
	end        sim.Time
}

func (f *figures) Record(r *Record) {
	switch r.What {
	case Emitted:
		f.gaps.Add(int64(r.Gap), r.N)
	case FirstToken:
		f.ttft.Add(int64(r.At.Sub(r.Request.Arrived)), 1)
	case Iterated:
		f.longest = max(f.longest, r.Iteration.End.Sub(r.Iteration.Start))
		f.largest = max(f.largest, r.Iteration.Batch.Decodes)
		f.computed += int64(r.Iteration.Batch.Tokens())
		f.end = r.At
	}
}

func observe(t testing.TB, p batch.Policy, blocks int64, rs requests, prefix bool) *figures {
	t.Helper()
	f := &figures{}
	_, err := Run(context.Background(), Config{
		Replicas: []ReplicaConfig{{Policy: p, Cost: &toyCost{price: mistral}, MaxLen: 4096, Blocks: blocks, BlockTokens: 16, PrefixCache: prefix}},
		Source:   &listSource{slices.Clone(rs)}, Record: []Recorder{f},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The longest iteration of Sarathi is what its budget and the resident context
// allow, however long the prompts are.
func TestSarathiIterationsAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		budget := rapid.SampledFrom([]int{128, 256, 512}).Draw(t, "budget")
		rs := wide(60, 2, rapid.Float64Range(50, 2500).Draw(t, "prompt"), 60, rapid.Uint64().Draw(t, "seed"))
		const blocks = 4000
		f := &figures{}
		_, err := Run(context.Background(), Config{
			Replicas: []ReplicaConfig{{Policy: &batch.Sarathi{MaxSeqs: 64, Budget: budget}, Cost: &toyCost{price: mistral}, MaxLen: 4096, Blocks: blocks, BlockTokens: 16}},
			Source:   &listSource{rs}, Record: []Recorder{f},
		})
		if err != nil {
			t.Fatal(err)
		}
		bound := mistral(&hwmodel.Batch{ChunkTokens: budget, DecodeContext: blocks * 16, ChunkPairs: int64(budget) * 4096})
		if f.longest > bound {
			t.Fatalf("an iteration of %v, the bound is %v", f.longest, bound)
		}
	})
}

// Under prefill-first scheduling tail gaps grow with load and with prompts.
func TestPrefillFirstGapsGrow(t *testing.T) {
	for seed := range uint64(3) {
		last := 0.0
		for _, rate := range []float64{0.5, 1, 2, 4} {
			f := observe(t, &batch.VLLM{MaxSeqs: 128}, 4000, wide(400, rate, 800, 150, seed), false)
			if p99 := f.gaps.Quantile(0.99); p99 < 0.98*last {
				t.Errorf("P99 TBT falls from %v to %v as load rises to %v/s", last, p99, rate)
			} else {
				last = p99
			}
		}
		last = 0
		for _, prompt := range []float64{200, 600, 1800} {
			f := observe(t, &batch.VLLM{MaxSeqs: 128}, 4000, wide(400, 1, prompt, 150, seed), false)
			if p99 := f.gaps.Quantile(0.99); p99 < last {
				t.Errorf("P99 TBT falls from %v to %v as prompts grow to %v", last, p99, prompt)
			} else {
				last = p99
			}
		}
	}
}

// Sarathi's tail gap stays flat in load where vLLM's does not, and costs some TTFT.
func TestStallFreeTradeOff(t *testing.T) {
	for seed := range uint64(3) {
		low := observe(t, &batch.Sarathi{MaxSeqs: 128, Budget: 256}, 4000, wide(400, 1, 800, 150, seed), false)
		high := observe(t, &batch.Sarathi{MaxSeqs: 128, Budget: 256}, 4000, wide(400, 3, 800, 150, seed), false)
		if a, b := low.gaps.Quantile(0.99), high.gaps.Quantile(0.99); b > 1.25*a {
			t.Errorf("Sarathi's P99 TBT grows from %v to %v with load", a, b)
		}
		v := observe(t, &batch.VLLM{MaxSeqs: 128}, 4000, wide(400, 1, 800, 150, seed), false)
		if v.gaps.Quantile(0.99) < 1.5*low.gaps.Quantile(0.99) {
			t.Error("vLLM's P99 TBT is no worse than Sarathi's")
		}
		if v.ttft.Quantile(0.5) > low.ttft.Quantile(0.5) {
			t.Error("vLLM's TTFT is worse than Sarathi's at low load")
		}
		ft := observe(t, &batch.RequestLevel{MaxSeqs: 32}, 8200, wide(400, 1, 800, 150, seed), false)
		if ft.ttft.Quantile(0.5) < v.ttft.Quantile(0.5) {
			t.Error("request-level batching has a better TTFT than vLLM")
		}
	}
}

// A smaller budget buys shorter gaps with later first tokens and more iterations.
func TestBudgetTradesGapsForFirstTokens(t *testing.T) {
	rs := wide(300, 1.5, 1200, 150, 1)
	var last *figures
	for _, budget := range []int{2048, 1024, 512, 256} {
		f := observe(t, &batch.Sarathi{MaxSeqs: 128, Budget: budget}, 6000, rs, false)
		if last != nil && (f.gaps.Quantile(0.99) > last.gaps.Quantile(0.99) || f.ttft.Mean() < 0.99*last.ttft.Mean()) {
			t.Errorf("budget %d: P99 TBT %v after %v, mean TTFT %v after %v", budget,
				f.gaps.Quantile(0.99), last.gaps.Quantile(0.99), f.ttft.Mean(), last.ttft.Mean())
		}
		last = f
	}
}

// Without an SLO, throughput orders the policies as the papers say.
func TestThroughputOrder(t *testing.T) {
	rs := wide(400, 1e6, 500, 200, 4)
	const blocks = 6000
	ends := []struct {
		name string
		f    *figures
	}{
		{"request-level", observe(t, &batch.RequestLevel{MaxSeqs: 16}, blocks, rs, false)},
		{"orca", observe(t, &batch.Orca{MaxSeqs: 16}, blocks, rs, false)},
		{"vllm", observe(t, &batch.VLLM{MaxSeqs: 128, Watermark: 0.01}, blocks, rs, false)},
		{"sarathi", observe(t, &batch.Sarathi{MaxSeqs: 128, Budget: 2048, Watermark: 0.01}, blocks, rs, false)},
	}
	for i := 1; i < len(ends); i++ {
		if float64(ends[i].f.end) > 1.02*float64(ends[i-1].f.end) {
			t.Errorf("%s needs %v for the batch, %s %v", ends[i].name, ends[i].f.end, ends[i-1].name, ends[i-1].f.end)
		}
	}
	if o := ends[1].f; o.largest > blocks/(4096/16) {
		t.Errorf("Orca runs %d sequences with room for %d", o.largest, blocks/(4096/16))
	}
	if ends[1].f.longest < ends[2].f.longest/2 {
		t.Errorf("Orca's longest iteration is %v, vLLM's %v", ends[1].f.longest, ends[2].f.longest)
	}
}

// More memory does not slow a replica down, and a prefix cache never adds work.
func TestMemoryHelps(t *testing.T) {
	rs := wide(300, 4, 700, 200, 9)
	for i := range rs {
		rs[i].PrefixBlock = 64
		for k := range uint64(4) {
			rs[i].Prefix = append(rs[i].Prefix, uint64(i%5)*10+k)
		}
	}
	for _, p := range []func() batch.Policy{
		func() batch.Policy { return &batch.VLLM{MaxSeqs: 128, Watermark: 0.01} },
		func() batch.Policy { return &batch.Sarathi{MaxSeqs: 128, Budget: 512, Watermark: 0.01} },
		func() batch.Policy { return &batch.VLLMV1{MaxSeqs: 128, Budget: 2048} },
	} {
		last := sim.Forever
		for _, blocks := range []int64{400, 1000, 4000} {
			plain := observe(t, p(), blocks, rs, false)
			if float64(plain.end) > 1.03*float64(last) {
				t.Errorf("%T: %d blocks take until %v, fewer until %v", p(), blocks, plain.end, last)
			}
			last = plain.end
			if cached := observe(t, p(), blocks, rs, true); cached.computed > plain.computed {
				t.Errorf("%T: the prefix cache computes %d tokens, without it %d", p(), cached.computed, plain.computed)
			}
		}
	}
}

// Doubling all rates and all speeds halves every time and changes nothing else.
func TestTimeScales(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rs := wide(80, 3, 400, 60, rapid.Uint64().Draw(t, "seed"))
		policies := five(32, 256)
		names := make([]string, 0, len(policies))
		for n := range policies {
			names = append(names, n)
		}
		slices.Sort(names)
		p := policies[rapid.SampledFrom(names).Draw(t, "policy")]
		run := func(scale int64) []Served {
			k := &keeper{}
			src := slices.Clone(rs)
			for i := range src {
				src[i].Arrived = src[i].Arrived / 2 * 2 / sim.Time(scale)
			}
			_, err := Run(context.Background(), Config{
				Replicas: []ReplicaConfig{{
					Policy: p(), MaxLen: 4096, Blocks: 600, BlockTokens: 16,
					Cost: &toyCost{price: func(b *hwmodel.Batch) time.Duration { return mistral(b) / 2 * 2 / time.Duration(scale) }},
				}},
				Source: &listSource{src}, Record: []Recorder{k},
			})
			if err != nil {
				t.Fatal(err)
			}
			return k.served
		}
		slow, fast := run(1), run(2)
		for i := range slow {
			if slow[i].ID != fast[i].ID || slow[i].First != 2*fast[i].First || slow[i].Last != 2*fast[i].Last {
				t.Fatalf("request %d: first and last token at %v, %v; at double speed %v, %v", slow[i].ID, slow[i].First, slow[i].Last, fast[i].First, fast[i].Last)
			}
		}
	})
}

type keeper struct{ served []Served }

func (k *keeper) Record(r *Record) {
	if r.What == Finished {
		k.served = append(k.served, *r.Request)
	}
}

// Closed forms that need no published data.
func TestClosedForms(t *testing.T) {
	// At low load a request takes what its iterations take.
	rs := wide(40, 0.01, 700, 100, 3)
	k := &keeper{}
	if _, err := Run(context.Background(), Config{
		Replicas: []ReplicaConfig{{Policy: &batch.VLLM{MaxSeqs: 128}, Cost: &toyCost{price: mistral}, MaxLen: 4096, Blocks: 6000, BlockTokens: 16}},
		Source:   &listSource{slices.Clone(rs)}, Record: []Recorder{k},
	}); err != nil {
		t.Fatal(err)
	}
	for _, s := range k.served {
		var b hwmodel.Batch
		b.AddChunk(int(s.Prompt), 0)
		if got, want := s.First.Sub(s.Arrived), mistral(&b); got != want {
			t.Errorf("TTFT %v, a lone prompt takes %v", got, want)
		}
	}

	// The stall law: a prefill stalls every running decode once, so the share of
	// stalled gaps is rate x tbt x P(stall > SLO).
	const slo = 150 * time.Millisecond
	rs = wide(4000, 1.0, 1500, 300, 5)
	f := observe(t, &batch.VLLM{MaxSeqs: 128}, 12000, rs, false)
	tbt := f.gaps.Quantile(0.5) / 1e9
	stall := 0
	for _, r := range rs {
		var b hwmodel.Batch
		b.AddChunk(int(r.Prompt), 0)
		if mistral(&b).Seconds()+tbt > slo.Seconds() {
			stall++
		}
	}
	share := float64(f.gaps.Above(int64(slo))) / float64(f.gaps.Count())
	law := 1.0 * tbt * float64(stall) / float64(len(rs))
	if math.Abs(share/law-1) > 0.2 {
		t.Errorf("share of gaps over the SLO %.4f, the stall law says %.4f", share, law)
	}

	// The throughput bound of a token budget.
	const budget = 512
	flood := wide(1500, 1e6, 1500, 300, 6)
	f = observe(t, &batch.Sarathi{MaxSeqs: 128, Budget: budget}, 20000, flood, false)
	tokens := 0
	for _, r := range flood {
		tokens += int(r.Prompt + r.Output)
	}
	context := int64(float64(f.largest) * 1800)
	bound := float64(budget) / mistral(&hwmodel.Batch{ChunkTokens: budget, DecodeContext: context}).Seconds()
	if got := float64(tokens) / f.end.Seconds(); got > 1.2*bound || got < 0.7*bound {
		t.Errorf("%.0f tokens a second, the bound at full budget is %.0f", got, bound)
	}
}

var _ workloads.Source = (*listSource)(nil)
