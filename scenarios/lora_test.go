package scenarios

import (
	"context"
	"math"
	"testing"
	"time"

	"orrery/workloads"
	"orrery/workloads/llm"
)

// An adapter of rank 16 on Llama-2-7B has 39,976,960 parameters: in each of 32 layers four
// projections of 4,096 by 4,096, and three of 4,096 by 11,008.
func TestAdapterBytes(t *testing.T) {
	m, err := llm.Load("llama-2-7b")
	if err != nil {
		t.Fatal(err)
	}
	s := &Scenario{model: m, Policy: Policy{LoRA: LoRA{MaxAdapters: 1, Rank: 16}}}
	if got, want := s.adapterBytes(), int64(2*16*32*(4*2*4096+3*(4096+11008))); got != want || got != 2*39_976_960 {
		t.Errorf("%d bytes, want %d", got, want)
	}
}

// Adapters take memory from the KV cache, and time on the host link.
func TestAdaptersTakeMemoryAndTime(t *testing.T) {
	plain := mustParse(t, loraText, "policy.lora.max_adapters=0", "traffic.adapters=0", "policy.lora.rank=0")
	with := mustParse(t, loraText)
	taken := (plain.KVBlocks() - with.KVBlocks()) * plain.blockBytes()
	if want := 8 * with.adapterBytes(); max(taken-want, want-taken) > plain.blockBytes() {
		t.Errorf("%d bytes less for the KV cache, want %d for 8 adapters", taken, want)
	}
	bytes := float64(with.adapterBytes())
	if got, least := with.loadTime(), time.Duration(1e9*bytes/with.profile.Device.PCIeBytes); got < least || got > 3*least {
		t.Errorf("%v to load an adapter, want at least the %v of its bytes, and not much more", got, least)
	}
	r, _, err := Run(context.Background(), with, 1, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Requests.AdapterLoads; n < 16 || n > 200 || r.Requests.Finished != 200 {
		t.Errorf("%d loads for 200 requests, of which %d finished; want at least one for each of the popular adapters", n, r.Requests.Finished)
	}
}

const loraText = `
[model]
name = "llama-2-7b"
[hardware]
device = "a100-sxm-80gb"
[policy]
prefix_cache = true
lora = { max_adapters = 8, rank = 16 }
[traffic]
rate = 2.0
requests = 200
max_total = 2000
adapters = 32
adapter_zipf = 1.0
system_prompts = 2
system_tokens = 64
`

func mustParse(t *testing.T, text string, sets ...string) *Scenario {
	t.Helper()
	s, err := Parse("lora.toml", []byte(text), sets...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Popularity is Zipf's; arrivals are what they are without adapters; and prompts share
// names with those of the same adapter only.
func TestAdapterTraffic(t *testing.T) {
	const n = 20_000
	with := drawn(t, mustParse(t, loraText, "traffic.requests=20000"))
	plain := drawn(t, mustParse(t, loraText, "traffic.requests=20000", "traffic.adapters=0"))
	count, owner := map[int32]float64{}, map[uint64]int32{}
	for i := range with {
		r := &with[i]
		if r.Arrived != plain[i].Arrived || r.Prompt != plain[i].Prompt {
			t.Fatalf("request %d differs from that without adapters", i)
		}
		count[r.Adapter]++
		for _, name := range r.Prefix {
			if o, ok := owner[name]; ok && o != r.Adapter {
				t.Fatalf("adapters %d and %d share a part of the prefix cache", o, r.Adapter)
			}
			owner[name] = r.Adapter
		}
	}
	if len(plain[0].Prefix) == 0 || len(with[0].Prefix) != len(plain[0].Prefix) {
		t.Errorf("%d names, %d without adapters", len(with[0].Prefix), len(plain[0].Prefix))
	}
	harmonic := 0.0
	for k := 1; k <= 32; k++ {
		harmonic += 1 / float64(k)
	}
	for k := int32(1); k <= 4; k++ {
		if want := n / harmonic / float64(k); math.Abs(count[k]-want) > 5*math.Sqrt(want) {
			t.Errorf("adapter %d is wanted %g times, want about %.0f", k, count[k], want)
		}
	}
}

// drawn returns all requests of a scenario's source.
func drawn(t *testing.T, s *Scenario) (list []workloads.Request) {
	t.Helper()
	e, err := s.Build(1)
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, ok := e.Config.Source.Peek(); !ok {
			return list
		}
		list = append(list, e.Config.Source.Next())
	}
}

// What is wrong with speculation and adapters is said in a line of the scenario.
func TestSpeculationAndAdaptersRefused(t *testing.T) {
	for set, want := range map[string]string{
		`policy.speculative={tokens=4,acceptance=1.5}`:                       "--set policy.speculative={tokens=4,acceptance=1.5}: policy.speculative.acceptance is 1.5; want a share, 0 to 1",
		`policy.speculative={acceptance=0.5}`:                                "--set policy.speculative={acceptance=0.5}: policy.speculative.tokens is 0, so that nothing is drafted; want the number of tokens drafted for each verification, such as 4",
		`policy.lora.max_loras=9`:                                            "--set policy.lora.max_loras=9: policy.lora.max_loras is 9; want 0 to 8",
		`policy.order="sjf"`:                                                 `--set policy.order="sjf": policy.order: there is no order of queues named "sjf"; want one of fifo, priority, edf, shortest-prompt, shortest-job, oracle-shortest-job, vtc`,
		`policy.admit="queue-cap"`:                                           "lora.toml:6: policy.admit_max is 0; want at least 1 request",
		`policy.speculative={tokens=4,acceptance=0.5,draft="m",share=0.125}`: `--set policy.speculative={tokens=4,acceptance=0.5,draft="m",share=0.125}: policy.speculative.share is 0.125, but the draft model m says what drafts cost; want one of the two`,
	} {
		_, err := Parse("lora.toml", []byte(loraText), set)
		if err == nil || err.Error() != want {
			t.Errorf("--set %s said\n\t%v\nwant\n\t%s", set, err, want)
		}
	}
}
