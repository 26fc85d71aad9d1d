package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"orrery/hwmodel"
	"orrery/policies/admit"
	"orrery/policies/batch"
	"orrery/policies/route"
	"orrery/sim"
	"orrery/workloads"
)

// Config is everything that decides a run. Values in it are used by one run only:
// policies, cost models and sources have state.
type Config struct {
	Replicas []ReplicaConfig
	Groups   []Group      // of replicas; none stands for one of them all
	Tiers    []Tier       // of texts; none stands for one of them all
	Router   route.Policy // nil for round robin
	// ViewDelay is how much later the router hears of what happens on the replicas. What
	// it has sent it knows at once.
	ViewDelay time.Duration
	Pools     []PoolConfig // of devices that make images, beside the replicas
	Classes   []Class      // of requests that pools serve
	Spread    Spread       // over pools that serve the same class
	// Predict guesses answers for policies that want to know; nil if none does.
	Predict route.Predictor
	Admit   admit.Policy  // of texts at the gateway, nil for all
	Order   batch.Ranking // of texts at the gateway, nil for that of arrival
	Source  workloads.Source
	Record  []Recorder

	Faults     Faults // nil for none
	Retry      Retry  // what becomes of requests that have lost their replica
	MaxRetries int    // after which such a request fails, 0 for no limit
	Scalers    []Scaler

	// DecodeRouter picks among the replicas that only decode, nil for the one with the
	// fewest requests. It is shown those alone.
	DecodeRouter route.Policy
	Nodes        []Node // that the KV cache travels between; none for a network without delay
	// Overlap is the share of a prompt's KV cache that is sent while the prompt is still
	// being computed, layer by layer (0.9 in Splitwise's own simulator).
	Overlap float64

	Requests int64    // stop accepting after this many requests, 0 for no limit
	Until    sim.Time // cut the run at this time, 0 for when all requests have ended
	// LateGap is the gap between two tokens of a request above which the gap is
	// counted in Served.LateGaps, 0 to count none.
	LateGap time.Duration
	// FirstToken says which iteration emits a request's first token.
	FirstToken Emission
	// Step forbids crossing stretches of equal iterations in one jump. Results are
	// the same either way; tests use it to prove that.
	Step bool
	// Progress, if set, is told now and then, and at the end, how far the run is.
	Progress func(now sim.Time, arrived, ended int64)
}

// Emission says when a request's first token appears.
type Emission uint8

const (
	// WithPrefill emits the first token with the last chunk of the prompt, as
	// engines do.
	WithPrefill Emission = iota
	// WithDecode emits it with the first decode, as the OSDI 2024 artefact of
	// Sarathi-Serve does: a request of n tokens decodes n times, TTFT is taken at the
	// end of the prefill, and the gap from there to the first decode counts as zero.
	WithDecode
)

// ReplicaConfig describes one replica.
type ReplicaConfig struct {
	Policy batch.Policy
	Cost   hwmodel.CostModel
	// Executor, if set, really runs the iterations that Cost would price; see Live.
	Executor    Executor
	MaxLen      int   // longest sequence served, prompt and output, tokens
	Blocks      int64 // KV blocks of one replica
	BlockTokens int   // tokens of one block
	PrefixCache bool
	// HostBlocks is the room for swapped-out blocks in host memory, and BlockBytes
	// the bytes of one block over all devices of the replica.
	HostBlocks int64
	BlockBytes int64
	// OffloadBlocks is the room in host memory, beside HostBlocks, for what is evicted from
	// the prefix cache; see offload.go.
	OffloadBlocks int64

	Adapters Adapters // of LoRA that it serves
	Group    int32    // index in Config.Groups
	// Devices is the number of devices that one replica takes, tensor by pipeline degree;
	// 0 counts as 1.
	Devices int
	Nodes   []int32       // on which it has devices, each once
	StartUp time.Duration // from having its devices to serving
	Off     bool          // has no devices when the run begins
}

// Group is a set of like replicas.
type Group struct {
	Name string
	Role Role
	// PricePerHour is what one device of the group costs by the hour, in any currency; 0 if
	// it is not known.
	PricePerHour float64
}

// Role says which part of a text's life a group of replicas serves.
type Role uint8

const (
	Both    Role = iota // prompts and answers
	Prefill             // prompts and first tokens, whose KV cache then goes to a group that decodes
	Decode              // the tokens after the first
)

// String returns the role as it stands in scenarios.
func (r Role) String() string { return [...]string{"both", "prefill", "decode"}[r] }

// Tier is a service class of texts: [workloads.Request.Tier] is its index in
// [Config.Tiers].
type Tier struct {
	Name     string
	Priority int32         // higher goes first where a policy heeds it
	Deadline time.Duration // to the first token, counted from the arrival; 0 for whenever
}

// Outcome is what a run says about itself; all else is in the log.
type Outcome struct {
	End      sim.Time // time of the last event, or of the cut
	Arrived  int64
	Finished int64
	Rejected int64
	Failed   int64
	// Unfinished counts requests under way when the run ended.
	Unfinished int64
	// Stopped tells that the context ended the run while requests were under way or
	// still to come.
	Stopped bool
	Events  uint64
}

// ErrStalled says that a policy stopped planning with work left to do.
var ErrStalled = errors.New("cluster: the batch policy plans nothing although requests wait and no work is in flight")

// Cluster is a gateway and its replicas during one run.
type Cluster struct {
	cfg      Config
	engine   sim.Engine
	replicas []replica
	pools    []pool
	devices  []*device           // of all pools
	view     view                // of the replicas that take requests, for the router
	decoders view                // of those that take over from them, see handover.go
	respond  workloads.Responder // the source, if it wants to know of completions

	arrive, finish, decide, release sim.Action
	rouse, made                     sim.Action // of pools and their devices
	hand                            sim.Action // of handovers
	loaded                          sim.Action // of adapters
	serve, repair, strike           sim.Action // of the life of replicas, see life.go
	recover, reclaim, relink, scale sim.Action

	nextArrival sim.Time
	gate        gate
	gateway     []Served // requests that the router keeps back, in order
	strays      []Served // requests that have just lost their replicas
	coming      Fault    // the next one
	net         network
	handovers   []handover // from replicas that compute prompts to others that decode
	freeHand    []int32
	unplaced    []int32         // handovers for which no replica has been found, oldest first
	flowing     map[int32]int32 // handovers by flow
	samples     []int32         // a replica of each group that only decodes
	handing     bool            // handovers will be looked at in this instant
	looking     []int32         // replicas whose inboxes will be looked at then
	releasing   bool            // the router is about to be asked again
	out         Outcome
	rec         Record      // reused for every record
	served      Served      // likewise for every arrival
	stop        atomic.Bool // the context is done
	halted      bool        // and the run has heeded it
	told        int64       // arrivals when Progress was last told
	fault       error       // what the source or an executor did wrong
	live        *liveRun    // nil in simulated time
}

// Run simulates cfg from time zero. The error is ErrStalled, or says what is wrong
// with cfg, or what went wrong in the source or a cost model; a cancelled context
// is not an error (see Outcome.Stopped).
func Run(ctx context.Context, cfg Config) (Outcome, error) {
	c, err := newCluster(cfg)
	if err != nil {
		return Outcome{}, err
	}
	defer context.AfterFunc(ctx, func() { c.stop.Store(true) })()
	return c.run()
}

func (c *Cluster) run() (Outcome, error) {
	for i := range c.replicas {
		if c.replicas[i].worker != nil {
			return Outcome{}, fmt.Errorf("replica %d: an executor works on the wall clock; want Live, not Run", i)
		}
	}
	c.initLife()
	c.scheduleArrival()
	c.engine.Run(c.until())
	return c.close(c.until())
}

// until returns when the run is cut.
func (c *Cluster) until() sim.Time {
	if c.cfg.Until == 0 {
		return sim.Forever
	}
	return c.cfg.Until
}

func newCluster(cfg Config) (*Cluster, error) {
	if len(cfg.Replicas)+len(cfg.Pools) == 0 {
		return nil, errors.New("cluster: no replicas and no pools")
	}
	if cfg.Source == nil {
		return nil, errors.New("cluster: no source of requests")
	}
	if cfg.ViewDelay < 0 {
		return nil, fmt.Errorf("cluster: the router's view is %v old, must be at least 0", cfg.ViewDelay)
	}
	if cfg.Router == nil {
		cfg.Router = &route.RoundRobin{}
	}
	c := &Cluster{cfg: cfg, nextArrival: sim.Forever}
	c.respond, _ = cfg.Source.(workloads.Responder)
	c.finish = c.engine.On(sim.Finish, "finish", c.onFinish)
	c.arrive = c.engine.On(sim.Arrive, "arrive", c.onArrive)
	c.release = c.engine.On(sim.Arrive, "release", c.onRelease)
	c.decide = c.engine.On(sim.Decide, "decide", c.onDecide)
	c.replicas = make([]replica, len(cfg.Replicas))
	for i := range cfg.Replicas {
		if err := c.replicas[i].init(c, int32(i), &cfg.Replicas[i]); err != nil {
			return nil, fmt.Errorf("replica %d: %w", i, err)
		}
	}
	if err := c.initHandover(); err != nil {
		return nil, err
	}
	front, err := c.cfg.front()
	if err != nil {
		return nil, err
	}
	c.view.init(c, c.cfg.Router, 0, front)
	c.decoders.init(c, c.cfg.DecodeRouter, front, int32(len(c.replicas))-front)
	for i := range c.replicas {
		c.replicas[i].view = &c.view
		if int32(i) >= front {
			c.replicas[i].view = &c.decoders
		}
	}
	c.initGate()
	c.loaded = c.engine.On(sim.Arrive, "loaded", c.onLoaded)
	c.serve = c.engine.On(sim.Arrive, "serve", c.onServe)
	c.repair = c.engine.On(sim.Arrive, "repair", c.onRepair)
	c.strike = c.engine.On(sim.Arrive, "strike", c.onStrike)
	c.recover = c.engine.On(sim.Arrive, "recover", c.onRecover)
	c.reclaim = c.engine.On(sim.Arrive, "reclaim", c.onReclaim)
	c.relink = c.engine.On(sim.Arrive, "relink", c.onRelink)
	c.scale = c.engine.On(sim.Decide, "scale", c.onScale)
	if err := c.checkLife(); err != nil {
		return nil, err
	}
	c.made = c.engine.On(sim.Finish, "made", c.onMade)
	c.rouse = c.engine.On(sim.Decide, "rouse", c.onRouse)
	if err := c.initPools(); err != nil {
		return nil, err
	}
	return c, nil
}

// The handlers below are the whole life of a run: requests arrive (and may be kept
// at the gateway and released), replicas decide, iterations finish.

func (c *Cluster) onArrive(now sim.Time, _ uint32) {
	if now != c.nextArrival {
		return // the source has since named an earlier time
	}
	c.out.End = now
	for {
		at, ok := c.cfg.Source.Peek()
		if !ok || at > now || c.full() {
			break
		}
		if at < now && c.respond == nil {
			c.fault = fmt.Errorf("cluster: the source names an arrival at %v when it is %v; arrivals must come in order", at, now)
			c.engine.Stop()
			return
		}
		c.served = Served{Request: c.cfg.Source.Next(), Scheduled: Never, First: Never, Last: Never, Replica: none}
		c.served.ID = c.out.Arrived
		c.out.Arrived++
		c.admit(now, &c.served)
	}
	c.halt()
	if c.out.Arrived >= c.told+512 {
		c.told = c.out.Arrived
		c.tell(now)
	}
	c.nextArrival = sim.Forever
	c.scheduleArrival()
}

// onRelease asks the router again about the requests it kept back.
func (c *Cluster) onRelease(now sim.Time, _ uint32) {
	c.releasing = false
	n := 0
	for n < len(c.gateway) && c.route(now, &c.gateway[n]) {
		n++
	}
	clear(c.gateway[:n]) // lets go of their prefixes
	c.gateway = c.gateway[n:]
}

func (c *Cluster) onDecide(now sim.Time, i uint32) {
	c.halt()
	c.replicas[i].next(now)
}

func (c *Cluster) onFinish(now sim.Time, i uint32) { c.replicas[i].complete(now) }

// halt ends the run if the context has.
func (c *Cluster) halt() {
	if c.stop.Load() {
		c.halted = true
		c.engine.Stop()
	}
}

func (c *Cluster) tell(now sim.Time) {
	if c.cfg.Progress != nil {
		c.cfg.Progress(now, c.out.Arrived, c.out.Finished+c.out.Rejected+c.out.Failed)
	}
}

// admit takes in a request that has just arrived.
func (c *Cluster) admit(now sim.Time, served *Served) {
	c.record(Record{What: Arrived, At: now, Replica: none, Request: served})
	if served.Class > 0 {
		c.place(now, served)
		return
	}
	if len(c.replicas) == 0 {
		c.reject(now, served, "no replica serves text")
		return
	}
	c.rank(served)
	if c.enter(now, served, false) {
		c.take(now, served)
	}
}

// route gives a request to a replica, unless the router wants to keep it.
func (c *Cluster) route(now sim.Time, served *Served) bool {
	req := &served.Request
	i := c.view.choose(now, req)
	if i < 0 {
		return false
	}
	r := &c.replicas[i]
	served.Replica, served.Routed = i, now
	reason := r.refuse(req)
	if r.role == Prefill && reason == "" {
		reason = c.refuseAnswer(req)
	}
	if reason != "" {
		if served.Retries > 0 {
			c.fail(now, served, reason)
			return true
		}
		c.out.Rejected++
		c.record(Record{What: Rejected, At: now, Replica: i, Request: served, Reason: reason})
		c.gate.ended(now, served)
		c.ended(req, now)
		return true
	}
	c.record(Record{What: Routed, At: now, Replica: i, Request: served})
	c.view.sent(i, served)
	c.gate.routed(now, served, i)
	r.submit(now, served)
	return true
}

func (c *Cluster) full() bool { return c.cfg.Requests > 0 && c.out.Arrived >= c.cfg.Requests }

// more tells whether the source has a request to give before the cut.
func (c *Cluster) more(until sim.Time) bool {
	at, ok := c.cfg.Source.Peek()
	return ok && at <= until && !c.full()
}

func (c *Cluster) scheduleArrival() {
	at, ok := c.cfg.Source.Peek()
	if !ok || at >= c.nextArrival || c.full() {
		return
	}
	c.nextArrival = max(at, c.engine.Now())
	c.engine.At(c.nextArrival, c.arrive, 0)
}

// ended tells a source that waits for completions about one.
func (c *Cluster) ended(req *workloads.Request, now sim.Time) {
	if c.respond != nil {
		c.respond.Done(req, now)
		c.scheduleArrival()
	}
}

func (c *Cluster) finished(s *Served, now sim.Time) {
	c.out.Finished++
	if c.cfg.Predict != nil {
		c.cfg.Predict.Learn(route.Done{Tenant: s.Tenant, Tier: s.Tier, Prompt: s.Request.Prompt, Answer: s.Output})
	}
	c.record(Record{What: Finished, At: now, Replica: s.Replica, Request: s})
	c.gate.ended(now, s)
	c.ended(&s.Request, now)
	c.replicas[s.Replica].view.ended(now, s.Replica, s, true)
}

// askAgain has the router asked about the requests it kept back, later in this instant.
func (c *Cluster) askAgain() {
	if len(c.unplaced) > 0 {
		c.handSoon(c.engine.Now())
	}
	if len(c.gateway) > 0 && !c.releasing {
		c.releasing = true
		c.engine.At(c.engine.Now(), c.release, 0)
	}
}

func (c *Cluster) record(r Record) {
	if len(c.cfg.Record) == 0 {
		return
	}
	c.rec = r
	for _, w := range c.cfg.Record {
		w.Record(&c.rec)
	}
}

// close ends the run at its last event or its cut.
func (c *Cluster) close(until sim.Time) (Outcome, error) {
	if _, more := c.cfg.Source.Peek(); !c.halted && c.fault == nil && c.engine.Pending() > 0 && (c.inSystem() > 0 || more && !c.full()) {
		c.out.End = until
	}
	stalled := false
	for i := range c.replicas {
		r := &c.replicas[i]
		r.settle(c.out.End)
		stalled = stalled || r.flying == 0 && r.queue.n+r.parked()+r.held.n+r.swapped.n > 0
		r.abandon(c.out.End)
	}
	stalled = c.abandonHandovers(c.out.End) || stalled
	for i := range c.pools {
		stalled = c.pools[i].close(c.out.End) || stalled
	}
	for i := range c.gateway {
		c.out.Unfinished++
		c.record(Record{What: Unfinished, At: c.out.End, Replica: none, Request: &c.gateway[i]})
	}
	for i := range c.gate.held {
		c.out.Unfinished++
		c.record(Record{What: Unfinished, At: c.out.End, Replica: none, Request: &c.gate.held[i].served})
	}
	stalled = stalled || len(c.gateway) > 0
	c.out.Stopped = c.halted && (c.out.Unfinished > 0 || c.more(until))
	c.out.Events = c.engine.Fired()
	c.tell(c.out.End)
	if c.fault != nil {
		return c.out, c.fault
	}
	type failing interface{ Err() error }
	if f, ok := c.cfg.Source.(failing); ok && f.Err() != nil {
		return c.out, f.Err()
	}
	for i := range c.cfg.Replicas {
		if f, ok := c.cfg.Replicas[i].Cost.(failing); ok && f.Err() != nil {
			return c.out, f.Err()
		}
	}
	if stalled && !c.halted && c.engine.Pending() == 0 {
		return c.out, ErrStalled
	}
	return c.out, nil
}
