package cluster

import (
	"fmt"
	"time"

	"orrery/policies/route"
	"orrery/sim"
	"orrery/workloads"
)

// view is what the router knows of the replicas. What it has sent it knows at once.
// What happens on a replica it hears of by messages, which take the same delay all:
// the view at any time is what had happened on the replicas one delay ago, and all
// that has been sent to them up to now.
//
// Messages say what has changed, so nothing is copied while they travel. They arrive
// in the order in which they were sent, wherefore one event of the engine stands for
// all: that of the oldest.
type view struct {
	c       *Cluster
	first   int32 // replica that seen begins with
	router  route.Policy
	watcher route.Watcher // the router, if it wants to know of changes
	predict route.Predictor
	reports route.Reports
	seen    []route.Replica
	delay   time.Duration
	mail    mailbag
	hear    sim.Action
}

// message is what a replica tells the router, as changes of its [route.Replica].
type message struct {
	at      sim.Time // when the router hears it
	replica int32
	ended   int32 // requests
	queued  int32
	answer  int32 // length of the answer of a request that finished, else 0
	prompt  int32 // of the request that ended
	tenant  int32 // likewise
	work    int64 // tokens done
	kv      int64 // KV blocks held more, or fewer if negative
}

// init makes it the view of n replicas from first on.
func (v *view) init(c *Cluster, router route.Policy, first, n int32) {
	*v = view{c: c, first: first, router: router, delay: c.cfg.ViewDelay, seen: make([]route.Replica, n)}
	if x, ok := v.router.(route.Indexer); ok {
		v.router = x.Indexed()
	}
	v.watcher, _ = v.router.(route.Watcher)
	v.predict = &route.MeanAnswer{}
	if p, ok := v.router.(route.Predicting); ok {
		v.predict = p.Predictor()
	}
	if r, ok := v.router.(route.Reporting); ok {
		v.reports = r.Reports()
	}
	v.hear = c.engine.On(sim.Finish, "hear", v.onHear)
	for i := range v.seen {
		cfg := &c.cfg.Replicas[first+int32(i)]
		v.seen[i] = route.Replica{Ready: true, Group: cfg.Group, KVBlocks: cfg.Blocks}
	}
	if v.watcher == nil {
		return
	}
	for i := range v.seen {
		v.watcher.Changed(v.seen, i)
	}
}

// choose asks the router for a replica, -1 for none at present.
func (v *view) choose(now sim.Time, r *workloads.Request) int32 {
	i := v.router.Route(now, r, v.seen)
	if i < 0 {
		return none
	}
	if !v.seen[i].Ready {
		panic(fmt.Sprintf("cluster: at %v the router %T sends request %d to replica %d, which is not ready", now, v.router, r.ID, v.first+int32(i)))
	}
	return v.first + int32(i)
}

// of returns what is seen of replica i.
func (v *view) of(i int32) *route.Replica { return &v.seen[i-v.first] }

func (v *view) changed(i int32) {
	if v.watcher != nil {
		v.watcher.Changed(v.seen, int(i-v.first))
	}
}

// sent notes that a request has been given to replica i.
func (v *view) sent(i int32, s *Served) {
	s.work = int64(s.Request.Prompt) + int64(v.predict.Answer(&s.Request))
	l := v.of(i)
	l.Outstanding++
	if v.reports&route.Queue != 0 {
		l.Queued++
		v.c.replicas[i].toldQueue++
	}
	l.Tokens += int64(s.Request.Prompt)
	l.Work += s.work
	v.changed(i)
}

// prefilled tells the router that replica i has computed the prompt of a request.
func (v *view) prefilled(now sim.Time, i int32, s *Served) {
	done := min(s.work, int64(s.Request.Prompt))
	s.work -= done
	v.tell(now, message{replica: i, work: done})
}

// ended tells the router that a request has ended on replica i, one way or other.
// Replicas that report their queue must have counted it out of there.
func (v *view) ended(now sim.Time, i int32, s *Served, finished bool) {
	m := message{replica: i, ended: 1, work: s.work, prompt: s.Request.Prompt, tenant: s.Tenant}
	if finished {
		m.answer = s.Output
	}
	s.work = 0
	v.tell(now, m)
}

// report tells the router of the queue and the memory of a replica, if it wants to
// know and they are not what it was told last.
func (v *view) report(now sim.Time, r *replica) {
	if v.reports == 0 {
		return
	}
	var m message
	if v.reports&route.Queue != 0 {
		m.queued = int32(r.queue.n+r.parked()) - r.toldQueue
	}
	if v.reports&route.Memory != 0 {
		m.kv = r.mem.ledger.Used() - r.toldKV
	}
	if m == (message{}) {
		return
	}
	r.toldQueue += m.queued
	r.toldKV += m.kv
	m.replica = r.index
	v.tell(now, m)
}

// ready says from now on whether a replica takes new requests. The gateway itself
// decides that, so there is no delay.
func (v *view) ready(i int32, yes bool) {
	if v.of(i).Ready == yes {
		return
	}
	v.of(i).Ready = yes
	v.changed(i)
	if yes {
		v.c.askAgain()
	}
}

// tell sends a message to the router.
func (v *view) tell(now sim.Time, m message) {
	if v.delay == 0 {
		v.heed(&m)
		return
	}
	m.at = now.Add(v.delay)
	if v.mail.n == 0 {
		v.c.engine.At(m.at, v.hear, 0)
	}
	v.mail.push(m)
}

// onHear delivers the messages that arrive now.
func (v *view) onHear(now sim.Time, _ uint32) {
	for v.mail.n > 0 && v.mail.front().at <= now {
		m := v.mail.pop()
		v.heed(&m)
	}
	if v.mail.n > 0 {
		v.c.engine.At(v.mail.front().at, v.hear, 0)
	}
}

func (v *view) heed(m *message) {
	l := v.of(m.replica)
	l.Outstanding -= m.ended
	l.Queued += m.queued
	l.Work -= m.work
	l.KVUsed += m.kv
	if m.ended > 0 {
		l.Tokens -= int64(m.prompt)
	}
	if m.answer > 0 {
		v.predict.Learn(route.Done{Tenant: m.tenant, Prompt: m.prompt, Answer: m.answer})
	}
	v.changed(m.replica)
	if m.ended > 0 {
		v.c.askAgain()
	}
}

// mailbag is a queue of messages in a ring that grows as needed.
type mailbag struct {
	ring  []message // a power of two of them
	first int
	n     int
}

func (b *mailbag) front() *message { return &b.ring[b.first] }

func (b *mailbag) push(m message) {
	if b.n == len(b.ring) {
		ring := make([]message, max(16, 2*b.n))
		copy(ring[copy(ring, b.ring[b.first:]):], b.ring[:b.first])
		b.ring, b.first = ring, 0
	}
	b.ring[(b.first+b.n)&(len(b.ring)-1)] = m
	b.n++
}

func (b *mailbag) pop() message {
	m := b.ring[b.first]
	b.first = (b.first + 1) & (len(b.ring) - 1)
	b.n--
	return m
}

// stepping tells whether replicas must not cross iterations in jumps: because they were
// told not to, or because the router wants to know of each.
func (c *Cluster) stepping() bool {
	return c.cfg.Step || (c.view.reports|c.decoders.reports)&route.Memory != 0
}
