package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"orrery/policies/route"
)

// What a request costs must not grow with the number of replicas between which caches
// travel: 7 us of processor time with 20 replicas and with 2,000, set-up included.
func BenchmarkHandover(b *testing.B) {
	for _, replicas := range []int{20, 200, 2000} {
		b.Run(fmt.Sprint(replicas), func(b *testing.B) {
			const requests = 20_000
			b.ReportAllocs()
			for b.Loop() {
				cfg := benchConfig(replicas, requests, 1.0, false)
				cfg.Groups = []Group{{Role: Prefill}, {Role: Decode}}
				cfg.Router, cfg.DecodeRouter = route.LeastOutstanding{}, route.LeastOutstanding{}
				for i := range cfg.Replicas {
					r := &cfg.Replicas[i]
					r.Nodes, r.BlockBytes = []int32{int32(i)}, 2<<20
					if i >= replicas/2 {
						r.Group = 1
					}
					cfg.Nodes = append(cfg.Nodes, Node{Out: 50e9, In: 50e9, Inside: 300e9, Latency: 5 * time.Microsecond})
				}
				if out, err := Run(context.Background(), cfg); err != nil || out.Finished != requests {
					b.Fatal(out, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/requests, "ns/request")
		})
	}
}
