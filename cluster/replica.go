package cluster

import (
	"fmt"
	"time"

	"orrery/hwmodel"
	"orrery/policies/batch"
	"orrery/sim"
	"orrery/workloads"
)

// replica is one copy of a model: a queue, the sequences it has admitted, their
// memory, and the micro-batches in flight. It is told the time and never asks.
type replica struct {
	c        *Cluster
	index    int32
	policy   batch.Policy
	observer batch.Observer // the policy, if it wants to know who comes and goes
	limits   batch.Limits
	cost     hwmodel.CostModel
	maxLen   int
	mem      memory
	host     sim.Ledger // blocks swapped out to host memory
	kvBytes  int64      // of one block
	reserve  int64      // blocks that an admission must leave free
	freeSlot []int32
	lora     *lora // nil if it serves no adapters

	seqs     []sequence
	queue    list    // waiting, oldest first, pre-empted ones before others
	held     list    // admitted, oldest first
	swapped  list    // swapped out, first out first
	partials []int32 // held sequences with prompt left to finish, oldest first
	groups   []*group
	spare    []*group

	plan      plan
	flights   []microBatch // ring of unfinished micro-batches, in order
	first     int          // index of the oldest in flights
	flying    int          // how many
	stageFree []sim.Time   // when each stage has done all it was given
	deciding  bool         // a decision is scheduled
	iteration int64
	ahead     hwmodel.Batch // scratch for pricing stretches
	worker    *worker       // runs the iterations, nil if they are priced
	view      *view         // in which a router sees it
	role      Role
	leaving   int     // sequences that are ready to go, or on their way, to a replica that decodes
	inbox     []int32 // handovers to this one whose blocks did not fit yet, oldest first
	freed     bool    // memory has been given back since the inbox was looked at
	looked    bool    // the inbox will be looked at with the next handovers
	coming    []int32 // handovers whose blocks are on their way here
	state     State
	upAt      sim.Time      // when it serves, if it starts, or starts, if it is down
	paceAt    sim.Time      // when its slow time ends
	lostAt    sim.Time      // when it will be reclaimed,
	lostFor   time.Duration // and for how long
	gone      bool          // down for good
	startUp   time.Duration
	slowness  float64 // all takes so many times as long
	toldQueue int32   // length of the queue as the router will know it
	toldKV    int64   // KV blocks held, likewise
}

// microBatch is one planned iteration, or a stretch of equal ones, on its way
// through the pipeline.
type microBatch struct {
	it     Iteration
	chunks []plannedChunk
	group  *group // what decodes, nil for nobody
	steps  []step // the iterations of the stretch; one, unless only decodes were planned
}

type plannedChunk struct {
	slot int32
	from int32 // tokens computed before it
	upTo int32 // and when it has ended
	last bool  // completes the prompt
}

// step is one iteration of a stretch on a replica without pipeline.
type step struct {
	end    sim.Time
	host   time.Duration
	device sim.Time // start of the device work
	done   sim.Time // its end
}

// maxJump bounds the iterations priced ahead, since an arrival voids those after
// it.
const maxJump = 64

func (r *replica) init(c *Cluster, index int32, cfg *ReplicaConfig) error {
	switch {
	case cfg.Policy == nil || cfg.Cost == nil && cfg.Executor == nil:
		return fmt.Errorf("needs a policy and a cost model, or an executor")
	case cfg.MaxLen < 1 || cfg.BlockTokens < 1:
		return fmt.Errorf("longest sequence of %d tokens, blocks of %d: both must be at least 1", cfg.MaxLen, cfg.BlockTokens)
	case cfg.Blocks < 1:
		return fmt.Errorf("no memory is left for the KV cache")
	case cfg.stages() < 1:
		return fmt.Errorf("the cost model has %d pipeline stages, must have at least 1", cfg.stages())
	case cfg.HostBlocks < 0:
		return fmt.Errorf("room for %d swapped-out blocks, must be at least 0", cfg.HostBlocks)
	case cfg.OffloadBlocks < 0:
		return fmt.Errorf("room for %d blocks of the prefix cache on the host, must be at least 0", cfg.OffloadBlocks)
	case cfg.OffloadBlocks > 0 && !cfg.PrefixCache:
		return fmt.Errorf("room for %d blocks of a prefix cache on the host, but there is no prefix cache", cfg.OffloadBlocks)
	}
	*r = replica{
		c: c, index: index, policy: cfg.Policy, limits: cfg.Policy.Limits(cfg.MaxLen), cost: cfg.Cost, maxLen: cfg.MaxLen,
		mem: newMemory(cfg.Blocks, cfg.BlockTokens, cfg.PrefixCache, cfg.OffloadBlocks), host: sim.NewLedger(cfg.HostBlocks), kvBytes: cfg.BlockBytes,
		queue: newList(), held: newList(), swapped: newList(),
		flights:   make([]microBatch, cfg.stages()),
		stageFree: make([]sim.Time, cfg.stages()),
		startUp:   cfg.StartUp, role: c.cfg.role(int(index)), slowness: 1, upAt: Never, paceAt: Never, lostAt: Never,
	}
	r.plan.r = r
	r.observer, _ = cfg.Policy.(batch.Observer)
	r.lora = newLora(&cfg.Adapters)
	if err := cfg.Adapters.check(r.role); err != nil {
		return err
	}
	if cfg.Executor != nil {
		r.worker = &worker{executor: cfg.Executor}
		if err := r.worker.check(cfg, cfg.stages(), r.limits.Swap); err != nil {
			return err
		}
	}
	r.reserve = int64(r.limits.Watermark * float64(cfg.Blocks))
	if need := r.mem.blocks(int64(cfg.MaxLen)); r.limits.Reserve == batch.ReserveMax && need > cfg.Blocks {
		return fmt.Errorf("the policy reserves blocks for the longest sequence (%d tokens, %d blocks), but the KV cache has %d; lower the longest sequence or add memory", cfg.MaxLen, need, cfg.Blocks)
	}
	return nil
}

// stages returns the number of pipeline stages.
func (cfg *ReplicaConfig) stages() int {
	if cfg.Cost == nil {
		return 1
	}
	return cfg.Cost.Stages()
}

// refuse returns why the replica can never serve a request, or nothing.
func (r *replica) refuse(q *workloads.Request) string {
	total := int64(q.Prompt) + int64(q.Output)
	switch {
	case q.Adapter != 0 && r.lora == nil:
		return "wants a LoRA adapter, and the replica serves none"
	case q.Prompt < 1 || q.Output < 1:
		return "needs at least one prompt token and one output token"
	case total > int64(r.maxLen):
		return "longer than the longest sequence served"
	case r.limits.Reserve != batch.ReserveMax && r.mem.blocks(total) > r.mem.ledger.Capacity()-r.margin():
		return "needs more KV memory than the replica has"
	}
	return ""
}

// margin returns the blocks that a lone sequence can never have.
func (r *replica) margin() int64 {
	if r.limits.StrictAppend {
		return max(r.reserve, 1)
	}
	return r.reserve
}

// submit puts a request at the end of the queue.
func (r *replica) submit(now sim.Time, s *Served) {
	i := r.slot()
	q := &r.seqs[i]
	epoch, names := q.epoch, q.names
	*q = sequence{out: *s, epoch: epoch, names: names[:0], Seq: r.c.seq(s), lost: s.lost}
	q.Slot = i
	r.enqueue(now, i)
	if r.flying > 0 && len(r.flights) == 1 {
		r.cut(now)
	}
	r.wake(now)
}

// seq returns what policies may know of a request that is not on a replica yet.
func (c *Cluster) seq(s *Served) batch.Seq {
	q := batch.Seq{
		ID: s.ID, Arrived: s.Arrived, Tenant: s.Tenant, Turn: s.Turn, Tier: s.Tier,
		Prompt: s.Request.Prompt + s.Emitted, Generated: s.Emitted, Restarts: s.Retries,
	}
	q.Priority, q.Deadline = c.urgency(s)
	if c.cfg.Predict != nil {
		q.Predicted = c.cfg.Predict.Answer(&s.Request)
	}
	return q
}

// wake schedules a decision for the next instant at which one can be taken.
func (r *replica) wake(now sim.Time) {
	if !r.deciding && r.flying < len(r.flights) {
		r.deciding = true
		r.c.engine.At(max(now, r.stageFree[0]), r.c.decide, uint32(r.index))
	}
}

// next asks the policy for an iteration and starts it.
func (r *replica) next(now sim.Time) {
	r.deciding = false
	if r.flying == len(r.flights) || now < r.stageFree[0] {
		return
	}
	if r.lora != nil && r.lora.stirred {
		r.unpark(now)
	}
	m := &r.flights[(r.first+r.flying)%len(r.flights)]
	r.plan.begin(now, m)
	r.policy.Plan(&r.plan)
	if m.it.Batch.Tokens() == 0 && r.plan.preempted > 0 {
		// Everything that ran was pre-empted; the memory it gave up serves the head
		// of the queue at once.
		r.plan.begin(now, m)
		r.policy.Plan(&r.plan)
	}
	r.view.report(now, r)
	r.makeRoom(now)
	if m.it.Batch.Tokens() == 0 {
		return
	}
	r.plan.end()
	r.flying++
	switch {
	case r.worker != nil:
		r.execute(m)
	case len(r.flights) == 1:
		r.launch(m)
	default:
		r.launchPipelined(m)
	}
}

// launch starts m on a replica without pipeline and, if the policy promised to
// decide the same again, the iterations that must follow it: those before the next
// sequence finishes or memory runs short.
func (r *replica) launch(m *microBatch) {
	b := &r.ahead
	*b = m.it.Batch
	m.steps = append(m.steps[:0], r.price(m.it.Start, b))
	if r.plan.steady && len(m.chunks) == 0 && r.plan.preempted == 0 && b.SwapBytes == 0 && !r.c.stepping() {
		g := m.group
		count, free, last := g.count, r.mem.free(), r.nextFinish(g)
		for count < last && len(m.steps) < maxJump {
			wanted := r.wanted(g, count)
			// Evicting cached parts may change what the head of the queue needs.
			if r.short(wanted, free) || r.queue.n > 0 && free-wanted < r.mem.cached {
				break
			}
			free -= wanted
			count++
			b.DecodeContext += int64(g.n)
			m.steps = append(m.steps, r.price(m.steps[len(m.steps)-1].end, b))
		}
	}
	end := m.steps[len(m.steps)-1].end
	r.stageFree[0] = end
	r.c.engine.At(end, r.c.finish, uint32(r.index))
}

// price returns when an iteration that starts at start does what.
func (r *replica) price(start sim.Time, b *hwmodel.Batch) step {
	host, overlapped := r.cost.Host(b)
	device := r.paced(r.cost.Stage(0, b))
	if overlapped {
		return step{end: start.Add(max(host, device)), host: host, device: start, done: start.Add(device)}
	}
	begin := start.Add(host)
	end := begin.Add(device)
	return step{end: end, host: host, device: begin, done: end}
}

// cut shortens the stretch in flight to the iteration that is running at now,
// since a request has arrived that may change what follows.
func (r *replica) cut(now sim.Time) {
	m := &r.flights[r.first]
	n := len(m.steps)
	if n == 1 || m.steps[n-2].end < now {
		return
	}
	// Arrivals come early in the stretches of a busy replica: search from the front.
	k := 0
	for m.steps[k].end < now {
		k++
	}
	m.steps = m.steps[:k+1]
	end := m.steps[k].end
	r.stageFree[0] = end
	r.c.engine.At(end, r.c.finish, uint32(r.index))
}

// launchPipelined sends m through the stages of the pipeline.
func (r *replica) launchPipelined(m *microBatch) {
	it := &m.it
	host, overlapped := r.cost.Host(&it.Batch)
	send := r.cost.Send(&it.Batch)
	it.Host = host
	it.Stages = it.Stages[:0]
	ready := it.Start
	if !overlapped {
		ready = ready.Add(host)
	}
	for s := range r.stageFree {
		start := max(ready, r.stageFree[s])
		end := start.Add(r.paced(r.cost.Stage(s, &it.Batch)))
		it.Stages = append(it.Stages, Span{start, end})
		r.stageFree[s] = end
		ready = end.Add(send)
	}
	end := it.Stages[len(it.Stages)-1].End
	if overlapped {
		end = max(end, it.Start.Add(host))
		r.stageFree[0] = max(r.stageFree[0], it.Start.Add(host))
	}
	m.steps = append(m.steps[:0], step{end: end})
	r.c.engine.At(end, r.c.finish, uint32(r.index))
	r.wake(it.Start)
}

// complete applies the oldest micro-batch if now is its end. Ends of stretches
// that were cut fire too, and find that it is not.
func (r *replica) complete(now sim.Time) {
	if r.flying == 0 || r.worker != nil && !r.ran(now) {
		return
	}
	m := &r.flights[r.first]
	if m.steps[len(m.steps)-1].end != now {
		return
	}
	for i := range m.steps {
		r.apply(m, i)
	}
	r.land(m, now)
	r.first = (r.first + 1) % len(r.flights)
	r.flying--
	r.wake(now)
	r.rest(now)
	r.makeRoom(now)
}

// settle applies the iterations of an unfinished stretch that had ended at now.
func (r *replica) settle(now sim.Time) {
	if r.flying == 0 || len(r.flights) > 1 {
		return
	}
	m := &r.flights[r.first]
	for i := range m.steps {
		if m.steps[i].end > now {
			break
		}
		r.apply(m, i)
	}
}

// abandon records what the end of the run leaves unfinished.
func (r *replica) abandon(now sim.Time) {
	r.unparkAll()
	for _, l := range []list{r.held, r.swapped, r.queue} {
		for i := l.head; i != none; i = r.seqs[i].next {
			s := &r.seqs[i]
			r.sync(s)
			if g := s.group; g != nil {
				s.out.Emitted -= int32(g.count - g.emitted) // planned, but not there yet
			}
			r.c.out.Unfinished++
			r.c.record(Record{What: Unfinished, At: now, Replica: r.index, Request: &s.out})
		}
	}
}
