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

// routers is the table of routers. Settings are toml tags, as for batch policies.
var routers = []struct {
	Name
	make func() router
}{
	{Name{"least-outstanding", "the replica with the fewest unfinished requests"}, least(route.Requests)},
	{Name{"least-tokens", "the replica with the fewest prompt tokens in unfinished requests"}, least(route.Tokens)},
	{Name{"shortest-queue", "the replica with the least work to do, answers predicted by the mean of those seen"}, least(route.Work)},
	{Name{"oracle-shortest-queue", "the same, with the true lengths of answers, which no router can know"}, oracleLeast},
	{Name{"round-robin", "the replicas in turn"}, plain(func(*rand.Rand) route.Policy { return &route.RoundRobin{} })},
	{Name{"random", "any replica, all alike"}, plain(func(rng *rand.Rand) route.Policy { return &route.Random{Rand: rng} })},
	{Name{"power-of-two", "the less loaded of two replicas drawn"}, plain(func(rng *rand.Rand) route.Policy { return &route.PowerOfTwo{Rand: rng} })},
	{Name{"power-of-d", "the least loaded of so many replicas drawn, choices of them"}, func() router { return &powerOf{Choices: 3} }},
	{Name{"shared-queue", "one queue at the gateway, replicas fetch when they have fewer than slots requests"},
		func() router { return &sharedQueue{route.SharedQueue{Slots: 64}} }},
	{Name{"prefix-affinity", "where the beginning of the prompt is cached, by load when loads differ too much (SGLang)"}, newPrefixAffinity},
	{Name{"prefix-cost", "the least work, cached tokens taken off (Dynamo)"},
		func() router { return &prefixCost{route.PrefixCost{MatchWeight: 1, IndexParts: indexParts}} }},
	{Name{"session-affinity", "where the conversation began, which is by load"}, func() router { return &sessionAffinity{} }},
	{Name{"session-hash", "where a hash of the conversation says"}, plain(func(*rand.Rand) route.Policy { return route.SessionHash{} })},
	{Name{"weighted", "the highest sum of weighted scores: queue, KV cache, prefix, load (llm-d)"}, newWeighted},
}

// orders is the table of orders of queues. Settings are toml tags, as for batch policies.
var orders = []struct {
	Name
	make func() order
}{
	{Name{"fifo", "first come, first served; those pre-empted before others"}, func() order { return &arrivalOrder{} }},
	{Name{"priority", "the highest priority of tiers first, with aging if wanted"}, func() order { return &priorityOrder{} }},
	{Name{"edf", "the earliest deadline first: ttft of the tier, counted from the arrival"},
		func() order { return &ranked{ranking: batch.EDF{}} }},
	{Name{"shortest-prompt", "the shortest prompt first"},
		func() order { return &ranked{ranking: batch.ShortestJob{PromptOnly: true}} }},
	{Name{"shortest-job", "the shortest prompt and answer first, answers predicted by the mean of the tenant and tier"},
		func() order { return &ranked{ranking: batch.ShortestJob{}, predict: meanAnswers} }},
	{Name{"oracle-shortest-job", "the same, with the true lengths of answers, which no scheduler can know"},
		func() order { return &ranked{ranking: batch.ShortestJob{}, predict: oracle} }},
	{Name{"vtc", "the tenant that was served least first (virtual token counter)"},
		func() order { return &vtcOrder{PromptWeight: 1, TokenWeight: 2} }},
}

// admissions is the table of policies of admission. Settings are toml tags likewise.
var admissions = []struct {
	Name
	make func() admission
}{
	{Name{"all", "every request is let in"}, func() admission { return &open{} }},
	{Name{"token-bucket", "a rate on average, of requests or tokens, for all or for each tenant"}, newTokenBucket},
	{Name{"queue-cap", "so many requests under way at most"}, func() admission { return &queueCap{} }},
	{Name{"shed", "the same, with less room for lower priorities of tiers"}, newShedding},
	{Name{"early-rejection", "what would probably miss its first token's deadline is refused at once (Mooncake)"}, newEarlyRejection},
}

// Orders returns the orders of queues by name.
func Orders() []Name {
	out := make([]Name, len(orders))
	for i := range orders {
		out[i] = orders[i].Name
	}
	return out
}

// Admissions returns the policies of admission by name.
func Admissions() []Name {
	out := make([]Name, len(admissions))
	for i := range admissions {
		out[i] = admissions[i].Name
	}
	return out
}

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
