package cluster

import (
	"context"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/policies/route"
	"orrery/sim"
	"orrery/workloads"
)

// benchCost is about a 7B model on an A100: weights streamed in 8 ms, 0.08 ms a
// token beyond what that hides, KV read at 1.5 TB/s.
func benchCost(b *hwmodel.Batch) time.Duration {
	compute := 80_000 * float64(b.Tokens())
	t := max(8e6, compute) + float64(b.DecodeContext+b.ChunkContext)*350 + float64(b.ChunkPairs)*0.06
	return time.Duration(t)
}

// normalSource draws prompts and outputs from normal(512, 256), at least 1.
type normalSource struct {
	rng  *rand.Rand
	rate float64
	at   float64
	next workloads.Request
}

func newNormal(rate float64, seed uint64) *normalSource {
	s := &normalSource{rng: sim.Stream(seed, "bench"), rate: rate}
	s.draw()
	return s
}

func (s *normalSource) draw() {
	s.at += s.rng.ExpFloat64() / s.rate
	length := func() int32 { return int32(max(1, 512+256*s.rng.NormFloat64())) }
	s.next = workloads.Request{Arrived: sim.Seconds(s.at), Prompt: length(), Output: length()}
}

func (s *normalSource) Peek() (sim.Time, bool) { return s.next.Arrived, true }

func (s *normalSource) Next() workloads.Request {
	r := s.next
	s.draw()
	return r
}

func benchConfig(replicas int, requests int64, perReplica float64, step bool) Config {
	cfg := Config{Source: newNormal(perReplica*float64(replicas), 1), Requests: requests, Router: route.LeastOutstanding{}, Step: step}
	for range replicas {
		cfg.Replicas = append(cfg.Replicas, ReplicaConfig{
			Policy: &batch.Sarathi{MaxSeqs: 128, Budget: 512, Watermark: 0.01},
			Cost:   &toyCost{price: benchCost}, MaxLen: 4096, Blocks: 6000, BlockTokens: 16,
		})
	}
	return cfg
}

func benchmark(b *testing.B, replicas int, requests int64, step bool) {
	b.ReportAllocs()
	var m runtime.MemStats
	for b.Loop() {
		out, err := Run(context.Background(), benchConfig(replicas, requests, 4.0, step))
		if err != nil || out.Finished != requests {
			b.Fatal(out, err)
		}
		b.ReportMetric(float64(requests)/out.End.Seconds()/float64(replicas), "served/s")
		b.ReportMetric(float64(out.Events)/float64(requests), "events/request")
	}
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(requests), "ns/request")
	b.ReportMetric(float64(m.HeapSys)/1e6, "heap-MB")
}

func BenchmarkReplica10k(b *testing.B)         { benchmark(b, 1, 10_000, false) }
func BenchmarkReplica10kStepping(b *testing.B) { benchmark(b, 1, 10_000, true) }
func BenchmarkReplica100k(b *testing.B)        { benchmark(b, 1, 100_000, false) }
func BenchmarkHundredReplicas(b *testing.B)    { benchmark(b, 100, 100_000, false) }

// The cost of a request must not depend on the length of the run, nor memory.
func BenchmarkReplica1M(b *testing.B) { benchmark(b, 1, 1_000_000, false) }

// BenchmarkReplica10M takes about ten seconds.
func BenchmarkReplica10M(b *testing.B) { benchmark(b, 1, 10_000_000, false) }

// BenchmarkMillionOnHundred is a cluster of 100 replicas under a million requests.
func BenchmarkMillionOnHundred(b *testing.B) { benchmark(b, 100, 1_000_000, false) }
