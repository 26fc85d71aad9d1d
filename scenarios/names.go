package scenarios

import (
	"math/rand/v2"

	"orrery/policies/batch"
	"orrery/policies/route"
)

// Name is a name that a scenario may use, and what it stands for.
type Name struct{ Name, What string }

// batchPolicies is the table of batch policies. A constructor returns the policy
// with its default settings for a model whose longest sequence is maxLen tokens;
// the keys of [policy] are the toml tags of its struct.
var batchPolicies = []struct {
	Name
	make func(maxLen int) batch.Policy
}{
	{Name{"vllm-v1", "vLLM V1: one token budget, running sequences first, chunked prefills"},
		func(int) batch.Policy { return &batch.VLLMV1{MaxSeqs: 256, Budget: 2048} }},
	{Name{"vllm", "vLLM v0: whole prompts first, in iterations of their own"},
		func(int) batch.Policy { return &batch.VLLM{MaxSeqs: 256, Watermark: 0.01} }},
	{Name{"sarathi", "Sarathi-Serve: decodes first, then prompt chunks, within a token budget"},
		func(int) batch.Policy { return &batch.Sarathi{MaxSeqs: 128, Budget: 512, Watermark: 0.01} }},
	{Name{"sarathi-dynamic", "Sarathi-Serve with chunks that shrink as a prompt advances"},
		func(int) batch.Policy {
			return &dynamicSarathi{MaxSeqs: 128, Watermark: 0.01, Dynamic: batch.DefaultDynamicChunks}
		}},
	{Name{"hybrid-only", "Sarathi-Serve without chunking: whole prompts join the decodes"},
		func(maxLen int) batch.Policy {
			return &batch.Sarathi{MaxSeqs: 128, Budget: maxLen, Watermark: 0.01}
		}},
	{Name{"chunked-only", "Sarathi-Serve without hybrid batches: chunks and decodes take turns"},
		func(int) batch.Policy {
			return &batch.ChunkedOnly{Sarathi: batch.Sarathi{MaxSeqs: 128, Budget: 512, Watermark: 0.01}}
		}},
	{Name{"orca", "Orca: iteration-level batching, memory for the longest sequence reserved"},
		func(int) batch.Policy { return &batch.Orca{MaxSeqs: 16} }},
	{Name{"request-level", "FasterTransformer: a batch runs to its end before the next begins"},
		func(int) batch.Policy { return &batch.RequestLevel{MaxSeqs: 16} }},
}

// router is a router before its random numbers are known.
type router interface {
	// policy returns the router of one run, which draws from rng.
	policy(rng *rand.Rand) route.Policy
}

// routers is the table of routers. Settings are toml tags, as for batch policies.
var routers = []struct {
	Name
	make func() router
}{
	{Name{"least-outstanding", "the replica with the fewest unfinished requests"}, plain(func(*rand.Rand) route.Policy { return route.LeastOutstanding{} })},
	{Name{"round-robin", "the replicas in turn"}, plain(func(*rand.Rand) route.Policy { return &route.RoundRobin{} })},
	{Name{"random", "any replica, all alike"}, plain(func(rng *rand.Rand) route.Policy { return &route.Random{Rand: rng} })},
	{Name{"power-of-two", "the less loaded of two replicas drawn"}, plain(func(rng *rand.Rand) route.Policy { return &route.PowerOfTwo{Rand: rng} })},
	{Name{"shared-queue", "one queue at the gateway, replicas fetch when they have fewer than slots requests"},
		func() router { return &sharedQueue{route.SharedQueue{Slots: 64}} }},
}

// plain makes a router without settings.
func plain(f func(*rand.Rand) route.Policy) func() router {
	return func() router { return &plainRouter{make: f} }
}

type plainRouter struct {
	make func(*rand.Rand) route.Policy
}

func (p *plainRouter) policy(rng *rand.Rand) route.Policy { return p.make(rng) }

type sharedQueue struct{ route.SharedQueue }

func (q *sharedQueue) policy(*rand.Rand) route.Policy { return q.SharedQueue }

// Policies returns the batch policies by name.
func Policies() []Name {
	out := make([]Name, len(batchPolicies))
	for i := range batchPolicies {
		out[i] = batchPolicies[i].Name
	}
	return out
}

// Routers returns the routers by name.
func Routers() []Name {
	out := make([]Name, len(routers))
	for i := range routers {
		out[i] = routers[i].Name
	}
	return out
}

// namesOf returns the names of a table.
func namesOf(table []Name) []string {
	out := make([]string, len(table))
	for i := range table {
		out[i] = table[i].Name
	}
	return out
}
