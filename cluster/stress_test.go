package cluster

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"orrery/hwmodel"
	"orrery/policies/admit"
	"orrery/policies/batch"
	"orrery/policies/route"
	"orrery/sim"
	"orrery/workloads"
	"orrery/workloads/trace"
)

// The stress test draws small clusters with little memory, in every combination of
// policy, pipeline, prefix cache, swap, source and router, and audits the books after
// every iteration. Flags repeat a failing case alone, or hunt further.
var (
	stressSeed  = flag.Uint64("stress.seed", 0, "first case of the stress test")
	stressCases = flag.Uint64("stress.cases", 0, "number of cases of the stress test; 0 for 400, or 50 of the short one")
)

// auditor compares the ledgers and sums of a replica with its sequences.
type auditor struct {
	c     *Cluster
	limit func(b *hwmodel.Batch) bool // the policy's, on one iteration
	iters int
	fault string
}

func (a *auditor) Record(r *Record) {
	if r.Request != nil && (r.Request.Recomputed < 0 || r.Request.Cached < 0) {
		a.note("request %d: %d tokens recomputed, %d cached", r.Request.ID, r.Request.Recomputed, r.Request.Cached)
	}
	if r.What != Iterated {
		return
	}
	if a.iters++; a.iters > 60_000 {
		a.note("no end after %d iterations", a.iters)
	}
	if b := &r.Iteration.Batch; !a.limit(b) {
		a.note("an iteration of %+v", *b)
	}
	if a.fault != "" {
		a.c.stop.Store(true)
		return
	}
	a.audit(&a.c.replicas[r.Replica])
}

func (a *auditor) note(format string, args ...any) {
	if a.fault == "" {
		a.fault = fmt.Sprintf(format, args...)
	}
}

func (a *auditor) audit(r *replica) {
	members, context := map[*group]int{}, map[*group]int64{}
	var held, cached int64
	for i := r.held.head; i != none; i = r.seqs[i].next {
		s := &r.seqs[i]
		blocks := s.blocks
		if g := s.group; g != nil {
			tokens := int64(s.Computed) + g.count - s.joined
			members[g]++
			context[g] += tokens
			if r.limits.Reserve != batch.ReserveMax {
				blocks = r.mem.blocks(tokens) - s.shared
			}
		}
		if blocks < 0 {
			a.note("a sequence holds %d blocks", blocks)
		}
		held += blocks
	}
	for i := range a.c.handovers {
		h := &a.c.handovers[i]
		switch {
		case !h.active:
		case h.from == r.index:
			held += r.seqs[h.slot].blocks
		case h.to == r.index:
			held += h.blocks
		}
	}
	for _, i := range r.mem.index {
		if p := &r.mem.all[i]; p.refs > 0 {
			held += p.blocks
		} else {
			cached += p.blocks
		}
	}
	a.host(&r.mem)
	if held != r.mem.ledger.Used() || cached != r.mem.cached || cached > r.mem.free() {
		a.note("sequences hold %d blocks and the cache %d; the books say %d and %d, with %d free", held, cached, r.mem.ledger.Used(), r.mem.cached, r.mem.free())
	}
	a.adapters(r)
	for _, g := range r.groups {
		if g.n != members[g] || g.context != context[g] {
			a.note("a group of %d with context %d has %d members with %d", g.n, g.context, members[g], context[g])
		}
	}
}

// host checks that host memory for parts has in it what it says, and nothing that the
// device has.
func (a *auditor) host(m *memory) {
	used, ordered := int64(0), 0
	for i := m.host.head; m.enabled && m.host.room > 0 && i != none; i = m.host.all[i].next {
		p := &m.host.all[i]
		used += p.blocks
		ordered++
		if _, both := m.index[p.name]; both {
			a.note("part %d is on the device and on the host", p.name)
		}
	}
	if used != m.host.used || used > m.host.room || ordered != len(m.host.index) {
		a.note("%d blocks of %d parts are on the host; the books say %d of %d, in %d parts", used, ordered, m.host.used, m.host.room, len(m.host.index))
	}
}

// adapters compares the counts of adapters with the sequences that use them.
func (a *auditor) adapters(r *replica) {
	if r.lora == nil {
		return
	}
	held, queued := map[int32]int32{}, map[int32]int32{}
	for _, l := range []list{r.held, r.swapped} {
		for i := l.head; i != none; i = r.seqs[i].next {
			held[r.seqs[i].out.Adapter]++
		}
	}
	for i := r.queue.head; i != none; i = r.seqs[i].next {
		queued[r.seqs[i].out.Adapter]++
	}
	delete(held, 0)
	delete(queued, 0)
	if len(held) > r.lora.batch || len(held) != r.lora.active || len(r.lora.slots) > r.lora.max {
		a.note("%d adapters in use, %d in memory; the books say %d, of %d and %d", len(held), len(r.lora.slots), r.lora.active, r.lora.batch, r.lora.max)
	}
	for _, x := range r.lora.slots {
		if x.held != held[x.number] || x.queued != queued[x.number] || !x.ready && x.held+x.queued > 0 {
			a.note("adapter %d, ready %v: %d requests held and %d queued, the books say %d and %d", x.number, x.ready, held[x.number], queued[x.number], x.held, x.queued)
		}
		delete(held, x.number)
		delete(queued, x.number)
	}
	if len(held)+len(queued) > 0 {
		a.note("requests run with adapters that are not there: %v, %v", held, queued)
	}
}

// stressCase is one drawn cluster.
type stressCase struct {
	Seed      uint64
	Policy    string
	Seqs      int
	Budget    int
	Long      int
	Partial   bool
	Watermark float64
	Blocks    int64
	Block     int
	Part      int32 // tokens of a part of the prefix cache, 0 for no cache
	Swap      int64
	Stages    int
	Replicas  int
	Source    int
	MaxLen    int
	Mode      Emission
	Overlap   int // 0 no host time, 1 added, 2 overlapped
	Until     float64
	Step      bool
	Order     string // of the queue, empty for that of arrival
	Tiers     int
	Admit     int // policy of the gateway, 0 for none
	Offload   int64
	Adapters  Adapters
}

func drawCase(seed uint64) stressCase {
	rng := sim.Stream(seed, "case")
	policies := []string{"request-level", "orca", "vllm", "vllm-swap", "sarathi", "dynamic", "chunked-only", "v1", "v1"}
	c := stressCase{
		Seed: seed, Policy: policies[rng.IntN(len(policies))], Seqs: 1 + rng.IntN(20), Budget: 1 + rng.IntN(100),
		Partial: rng.IntN(2) == 0, Watermark: []float64{0, 0.01, 0.05}[rng.IntN(3)], Block: []int{1, 4, 16, 16}[rng.IntN(4)],
		Swap: []int64{0, 10, 1000}[rng.IntN(3)], Stages: []int{1, 1, 2, 3}[rng.IntN(4)], Replicas: 1 + rng.IntN(2)*rng.IntN(3),
		Source: rng.IntN(3), MaxLen: 40 + rng.IntN(400), Mode: Emission(rng.IntN(2)), Overlap: rng.IntN(3),
	}
	if rng.IntN(2) == 0 {
		c.Long = 1 + rng.IntN(c.Budget)
	}
	need := int64((c.MaxLen + c.Block - 1) / c.Block)
	c.Blocks = need + rng.Int64N(4*need+1)
	if rng.IntN(2) == 0 {
		c.Part = int32(c.Block) * int32(1+rng.IntN(3))
		if rng.IntN(6) == 0 {
			c.Part = 7 // not whole blocks: nothing may be shared
		}
	}
	if rng.IntN(5) == 0 {
		c.Until = 0.02 + rng.Float64()*0.5
	}
	if rng.IntN(2) == 0 {
		c.Order = []string{"priority", "aging", "edf", "sjf", "prompt", "vtc"}[rng.IntN(6)]
		c.Tiers = 1 + rng.IntN(3)
	}
	if rng.IntN(3) == 0 {
		c.Admit = 1 + rng.IntN(5)
	}
	if c.Part > 0 && rng.IntN(2) == 0 {
		c.Offload = 1 + rng.Int64N(2*c.Blocks)
	}
	if rng.IntN(3) == 0 {
		most := 1 + rng.IntN(4)
		c.Adapters = Adapters{Max: most, Batch: rng.IntN(most + 1), Load: time.Duration(rng.IntN(3)) * 7 * time.Millisecond}
	}
	return c
}

// orders returns a fresh order of a queue.
func orders(name string) batch.Order {
	switch name {
	case "priority":
		return &batch.ByKey{Ranking: batch.Priority{}}
	case "aging":
		return &batch.ByKey{Ranking: batch.Priority{Aging: 20 * time.Millisecond}}
	case "edf":
		return &batch.ByKey{Ranking: batch.EDF{}}
	case "sjf":
		return &batch.ByKey{Ranking: batch.ShortestJob{}}
	case "prompt":
		return &batch.ByKey{Ranking: batch.ShortestJob{PromptOnly: true}}
	}
	return &batch.VTC{PromptWeight: 1, TokenWeight: 2}
}

// admits returns a fresh policy of the gateway.
func (c *stressCase) admits() admit.Policy {
	switch c.Admit {
	case 1:
		return &admit.TokenBucket{Rate: 60, Burst: 5, PerTenant: true}
	case 2:
		return &admit.TokenBucket{Rate: 5000, Burst: 1000, Tokens: true, Wait: time.Second}
	case 3:
		return &admit.QueueCap{Max: 15}
	case 4:
		return &admit.Shed{QueueCap: admit.QueueCap{Max: 30}, Share: 0.5, Top: 1}
	case 5:
		return &admit.Early{Target: 50 * time.Millisecond, Slack: 1}
	}
	return nil
}

// tiers returns the service classes of a case.
func (c *stressCase) tiers() []Tier {
	return []Tier{{Priority: 1, Deadline: 50 * time.Millisecond}, {Deadline: 200 * time.Millisecond}, {Priority: -1}}[:c.Tiers]
}

// policy returns a fresh policy of a replica.
func (c *stressCase) policy() batch.Policy {
	if c.Order == "" {
		return c.batch()
	}
	return &batch.Ordered{Policy: c.batch(), Order: orders(c.Order)}
}

func (c *stressCase) batch() batch.Policy {
	sarathi := batch.Sarathi{MaxSeqs: c.Seqs, Budget: c.Budget, Watermark: c.Watermark}
	switch c.Policy {
	case "request-level":
		return &batch.RequestLevel{MaxSeqs: c.Seqs}
	case "orca":
		return &batch.Orca{MaxSeqs: c.Seqs}
	case "vllm", "vllm-swap":
		return &batch.VLLM{MaxSeqs: c.Seqs, Watermark: c.Watermark, Swap: c.Policy == "vllm-swap"}
	case "dynamic":
		sarathi.Dynamic = &batch.DynamicChunks{Low: 32, High: 256, Stages: 4, MaxTokens: 512}
	case "chunked-only":
		return &batch.ChunkedOnly{Sarathi: sarathi}
	case "v1":
		return &batch.VLLMV1{MaxSeqs: c.Seqs, Budget: c.Budget, LongPrefill: c.Long, AdmitPartial: c.Partial}
	}
	return &sarathi
}

// limit tells whether the policy may compute b in one iteration.
func (c *stressCase) limit(b *hwmodel.Batch) bool {
	switch c.Policy {
	case "vllm", "vllm-swap":
		return (b.Chunks == 0 || b.Decodes == 0) && b.Tokens() <= max(c.MaxLen, c.Seqs)
	case "sarathi":
		return b.Chunks == 0 || b.Tokens() <= c.Budget
	case "chunked-only":
		return b.Chunks == 0 || b.Decodes == 0 && b.Tokens() <= c.Budget
	case "v1":
		return b.Tokens() <= c.Budget
	}
	return b.Decodes <= c.Seqs
}

func (c *stressCase) cost() hwmodel.CostModel {
	toy := toyCost{stages: c.Stages, price: tokens, send: 50 * time.Microsecond}
	if c.Overlap == 0 {
		return &toy
	}
	return &hostCost{toyCost: toy, overlapped: c.Overlap == 2, host: func(b *hwmodel.Batch) time.Duration {
		return 500*time.Microsecond + time.Duration(b.Tokens())*3*time.Microsecond
	}}
}

// someLengths draws prompts and outputs that leave room for a conversation.
type someLengths struct{ max int32 }

func (l someLengths) Draws(seed uint64) (func() (int32, int32), error) {
	rng := sim.Stream(seed, "lengths")
	return func() (int32, int32) { return 1 + rng.Int32N(l.max/3), 1 + rng.Int32N(l.max/4) }, nil
}

func (c *stressCase) source(t *testing.T) workloads.Source {
	t.Helper()
	var traffic trace.Traffic
	switch c.Source {
	case 1:
		traffic = trace.ClosedLoop{Clients: 12, Lengths: someLengths{int32(c.MaxLen)}, N: 60, Seed: c.Seed, Think: trace.Think{Mean: 0.01, CV: 1}}
	case 2:
		traffic = trace.Sessions{Arrivals: trace.Gamma{Rate: 20, CV: 1}, Turns: trace.Fixed{Value: 3}, Lengths: someLengths{int32(c.MaxLen)}, N: 20, Seed: c.Seed, MaxContext: c.MaxLen, Think: trace.Think{Mean: 0.02}}
	default:
		return &listSource{c.requests()}
	}
	src, err := traffic.Open()
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func (c *stressCase) requests() requests {
	rng := sim.Stream(c.Seed, "requests")
	var rs requests
	at, longest := 0.0, int32(c.MaxLen)
	for i := range 60 {
		if rng.IntN(3) > 0 {
			at += rng.ExpFloat64() * 0.02
		}
		r := req(at, 1+rng.Int32N(longest/4), 1+rng.Int32N(longest/4))
		if rng.IntN(6) == 0 {
			r.Prompt = 1 + rng.Int32N(longest)
		}
		if c.Tiers > 0 {
			r.Tier, r.Tenant = int32(i)%int32(c.Tiers), int32(i*i%5)
		}
		if c.Adapters.Max > 0 {
			r.Adapter = rng.Int32N(6)
		}
		if c.Part > 0 {
			r.PrefixBlock = c.Part
			family := rng.Uint64N(4)
			for k := int32(0); k*c.Part < r.Prompt+r.Output; k++ {
				name := family*1000 + uint64(k)
				if k > 3 {
					name = uint64(i+1) * 1_000_000 // nobody else's
					name += uint64(k)
				}
				r.Prefix = append(r.Prefix, name)
			}
		}
		rs = append(rs, r)
	}
	return rs
}

const stressLate = 5 * time.Millisecond

// run carries the case out and returns its log and what is wrong with it.
func (c *stressCase) run(t *testing.T) (w *watcher, out Outcome, fault string) {
	w = newWatcher(t, c.Blocks, stressLate)
	a := &auditor{limit: c.limit}
	cfg := Config{
		Source: c.source(t), Record: []Recorder{a, w}, FirstToken: c.Mode, Step: c.Step, LateGap: stressLate, Until: sim.Seconds(c.Until),
		Router: anyRouter(c.Seed),
		Tiers:  c.tiers(), Admit: c.admits(),
	}
	if c.Order == "sjf" {
		cfg.Predict = &route.MeanByClient{}
	}
	if o, ok := orders(c.Order).(*batch.ByKey); ok && c.Order != "" {
		cfg.Order = o.Ranking
	}
	for range c.Replicas {
		cfg.Replicas = append(cfg.Replicas, ReplicaConfig{
			Policy: c.policy(), Cost: c.cost(), MaxLen: c.MaxLen, Blocks: c.Blocks, BlockTokens: c.Block,
			HostBlocks: c.Swap, BlockBytes: 1, PrefixCache: c.Part > 0, OffloadBlocks: c.Offload, Adapters: c.Adapters,
		})
	}
	cl, err := newCluster(cfg)
	if err != nil {
		return w, out, err.Error()
	}
	a.c = cl
	out, err = cl.run()
	if a.fault == "" && err != nil {
		a.note("%v", err)
	}
	if a.fault == "" && c.Until == 0 {
		a.balanced(w, c)
	}
	return w, out, a.fault
}

// balanced checks the end of a run that was not cut: everything is given back, and
// every token is accounted for.
func (a *auditor) balanced(w *watcher, c *stressCase) {
	for i := range a.c.replicas {
		r := &a.c.replicas[i]
		if r.mem.ledger.Used() != 0 || r.host.Used() != 0 || len(r.partials) != 0 || len(r.groups) != 0 || a.c.view.seen[i].Outstanding != 0 || a.c.view.seen[i].Tokens != 0 {
			a.note("left at the end: %d blocks, %d on the host, %d prompts, %d groups, load %+v", r.mem.ledger.Used(), r.host.Used(), len(r.partials), len(r.groups), a.c.view.seen[i])
		}
	}
	if fault := w.account(c.Mode); fault != "" {
		a.note("%s", fault)
	}
	var swapped, charged int64
	last := int64(-1)
	for _, r := range w.records {
		switch {
		case r.What == Preempted && r.Swap:
			swapped += 2 * ((r.N + int64(c.Block) - 1) / int64(c.Block))
		case r.What == Iterated:
			charged += r.Iteration.Batch.SwapBytes
		case r.What == Scheduled && c.Replicas == 1 && c.Order == "" && c.Adapters.Max == 0:
			if r.Request.ID < last {
				a.note("request %d is scheduled after %d", r.Request.ID, last)
			}
			last = r.Request.ID
		}
	}
	for _, s := range w.served {
		swapped += int64(s.Loaded) / int64(c.Block)
	}
	if swapped != charged {
		a.note("charged for %d swapped blocks, want %d", charged, swapped)
	}
}

func TestStress(t *testing.T) {
	n := *stressCases
	switch {
	case n == 0 && testing.Short():
		n = 50
	case n == 0:
		n = 400
	}
	for seed := *stressSeed; seed < *stressSeed+n; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := drawCase(seed)
			if fault := c.jumpAndStep(t); fault != "" {
				t.Errorf("%s\nin %+v\nrepeat with: go test ./cluster -run TestStress -stress.seed %d -stress.cases 1", fault, c, seed)
			}
		})
	}
}

// jumpAndStep runs the case both ways and returns what is wrong with either, or how
// they differ.
func (c stressCase) jumpAndStep(t *testing.T) string {
	a, jumped, fault := c.run(t)
	if fault != "" {
		return fault
	}
	c.Step = true
	b, stepped, fault := c.run(t)
	if fault != "" {
		return "stepping: " + fault
	}
	jumped.Events, stepped.Events = 0, 0
	if jumped != stepped {
		return fmt.Sprintf("jumping gives %+v, stepping %+v", jumped, stepped)
	}
	if c.Replicas == 1 {
		return differ(a.records, b.records)
	}
	return ""
}
