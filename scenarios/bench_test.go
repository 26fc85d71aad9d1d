package scenarios

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// The benchmarks of the README: whole runs as the command line does them, with
// metrics, the operator-by-operator cost model and, but for the last, the law checks
// on. Llama-2-7B on A100 under Sarathi-512, prompts and outputs normal(512, 256): what
// Vidur needs 18 CPU seconds for 10,000 requests of.
const benchScenario = `
[model]
name = "llama-2-7b"
max_len = 4096

[hardware]
device = "a100-sxm-80gb"
engine = "vllm-v0"
replicas = %d

[policy]
batch = "sarathi"
budget = 512
max_seqs = 128
route = "least-outstanding"

[traffic]
arrivals = "poisson"
rate = %v
lengths = "normal"
prompt_mean = 512
prompt_std = 256
output_mean = 512
output_std = 256
max_total = 4096
requests = %d
`

func benchmarkRun(b *testing.B, replicas, requests int, noLaws bool) {
	const perReplica = 2.45 // requests per second, some 90 % of what a replica can do
	s, err := Parse("bench.toml", fmt.Appendf(nil, benchScenario, replicas, perReplica*float64(replicas), requests))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		r, out, err := Run(context.Background(), s, 1, Options{NoLaws: noLaws})
		if err != nil || out.Finished != int64(requests) {
			b.Fatal(out, err)
		}
		if r.Load.Growing {
			b.Fatal("the benchmark overloads its replicas")
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric((cpu(b)-before).Seconds()/float64(b.N), "cpu-s")
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N)/float64(requests), "cpu-ns/request")
	b.ReportMetric(float64(m.Sys)/1e6, "sys-MB")
}

// cpu returns the processor time that this process has used, all threads.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkRun10k(b *testing.B)       { benchmarkRun(b, 1, 10_000, false) }
func BenchmarkRun100k(b *testing.B)      { benchmarkRun(b, 1, 100_000, false) }
func BenchmarkRun1M(b *testing.B)        { benchmarkRun(b, 1, 1_000_000, false) }
func BenchmarkRun10M(b *testing.B)       { benchmarkRun(b, 1, 10_000_000, false) }
func BenchmarkMillionOn100(b *testing.B) { benchmarkRun(b, 100, 1_000_000, false) }
func BenchmarkMillionOn1k(b *testing.B)  { benchmarkRun(b, 1000, 1_000_000, false) }
func BenchmarkMillionOn10k(b *testing.B) { benchmarkRun(b, 10_000, 1_000_000, false) }

// BenchmarkTenMillionOn10k takes some minutes.
func BenchmarkTenMillionOn10k(b *testing.B) { benchmarkRun(b, 10_000, 10_000_000, false) }
func BenchmarkRun10kNoLaws(b *testing.B)    { benchmarkRun(b, 1, 10_000, true) }
