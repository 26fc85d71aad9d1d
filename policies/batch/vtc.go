package batch

import (
	"cmp"
	"fmt"
	"slices"
)

// VTC is the virtual token counter (Sheng et al., "Fairness in Serving Large Language
// Models", OSDI 2024, Algorithm 2): every tenant has a counter of the service it got, and
// the request of the tenant with the least counter goes first. A tenant that comes back
// is lifted to the least of those that wait, so that credit is not saved up.
//
// Two tenants that both have requests waiting all the time differ in service by at most
// 2 max(PromptWeight x longest prompt, TokenWeight x tokens of a full batch) (Theorem 4.4).
//
// As there, a prompt counts when its request is admitted, whether it is cached or not, and
// once, however often it is pre-empted. Counters are brought up to date when a sequence
// is to be chosen: time in proportion to the batch, and to the tenants that wait.
type VTC struct {
	PromptWeight float64 // of a prompt token, w_p; the paper has 1
	TokenWeight  float64 // of a token of the answer, w_q; the paper has 2

	tenants map[int32]*tenant
	waiting []*tenant // those with waiting requests that are not newcomers
	coming  []*tenant // those that began to wait since the last decision, in order
	last    *tenant   // that left the queue last
	seqs    []served  // by slot
}

// tenant is a client of a VTC.
type tenant struct {
	id      int32
	counter float64
	queue   []queued // its waiting requests, first to arrive first
}

type queued struct {
	id   int64
	slot int32
}

// served is what a VTC knows of a sequence.
type served struct {
	tenant    *tenant
	id        int64
	generated int32 // tokens counted
	charged   bool  // its prompt has been counted
	running   bool
}

// Counter returns the service counted for a tenant.
func (v *VTC) Counter(tenant int32) float64 {
	if t := v.tenants[tenant]; t != nil {
		return t.counter
	}
	return 0
}

func (v *VTC) tenant(id int32) *tenant {
	if v.tenants == nil {
		v.tenants = map[int32]*tenant{}
	}
	t := v.tenants[id]
	if t == nil {
		t = &tenant{id: id}
		v.tenants[id] = t
	}
	return t
}

// Queued implements [Order].
func (v *VTC) Queued(s *Seq) {
	q, _ := v.known(s)
	t := q.tenant
	v.count(s)
	q.running = false
	if len(t.queue) == 0 {
		v.coming = append(v.coming, t)
	}
	i, _ := slices.BinarySearchFunc(t.queue, s.ID, func(e queued, id int64) int { return cmp.Compare(e.id, id) })
	t.queue = slices.Insert(t.queue, i, queued{s.ID, s.Slot})
}

// known returns what is known of a sequence, and whether it was known before.
func (v *VTC) known(s *Seq) (q *served, is bool) {
	for int(s.Slot) >= len(v.seqs) {
		v.seqs = append(v.seqs, served{})
	}
	q = &v.seqs[s.Slot]
	if is = q.tenant != nil && q.id == s.ID; !is {
		*q = served{tenant: v.tenant(s.Tenant), id: s.ID, generated: s.Generated}
	}
	return q, is
}

// Admitted implements [Order]. The prompts of those that never waited here were computed
// on another replica.
func (v *VTC) Admitted(s *Seq) {
	q, waited := v.known(s)
	if waited {
		v.unqueue(q.tenant, s.ID)
		v.last = q.tenant
	}
	if waited && !q.charged {
		q.tenant.counter += v.PromptWeight * float64(s.Prompt)
	}
	q.charged = true
	q.running = true
}

// Left implements [Order].
func (v *VTC) Left(s *Seq) {
	if int(s.Slot) >= len(v.seqs) || v.seqs[s.Slot].tenant == nil || v.seqs[s.Slot].id != s.ID {
		return
	}
	q := &v.seqs[s.Slot]
	if q.running {
		v.count(s)
	} else {
		v.unqueue(q.tenant, s.ID)
	}
	q.running = false
}

// unqueue takes a request out of its tenant's queue.
func (v *VTC) unqueue(t *tenant, id int64) {
	i, ok := slices.BinarySearchFunc(t.queue, id, func(e queued, id int64) int { return cmp.Compare(e.id, id) })
	if !ok {
		return
	}
	t.queue = slices.Delete(t.queue, i, i+1)
	if len(t.queue) > 0 {
		return
	}
	is := func(u *tenant) bool { return u == t }
	v.waiting = slices.DeleteFunc(v.waiting, is)
	v.coming = slices.DeleteFunc(v.coming, is)
}

// count adds the tokens that a running sequence has emitted since the last time.
func (v *VTC) count(s *Seq) {
	q := &v.seqs[s.Slot]
	if !q.running || q.id != s.ID {
		return
	}
	q.tenant.counter += v.TokenWeight * float64(s.Generated-q.generated)
	q.generated = s.Generated
}

// First implements [Order].
func (v *VTC) First(p Plan) int32 {
	if len(v.waiting)+len(v.coming) == 0 {
		return -1
	}
	if len(v.waiting)+len(v.coming) > 1 || len(v.coming) > 0 {
		for _, s := range p.Running() {
			v.count(s)
		}
		v.lift()
	}
	return v.least().queue[0].slot
}

// lift lets tenants that have begun to wait take part: with no less than the least of
// those that wait, or, if there is none, than the last to leave the queue.
func (v *VTC) lift() {
	for _, t := range v.coming {
		if l := v.least(); l != nil {
			t.counter = max(t.counter, l.counter)
		} else if v.last != nil {
			t.counter = max(t.counter, v.last.counter)
		}
		v.waiting = append(v.waiting, t)
	}
	v.coming = v.coming[:0]
}

// least returns the waiting tenant with the least counter, nil for none.
func (v *VTC) least() *tenant {
	var l *tenant
	for _, t := range v.waiting {
		if l == nil || v.before(t, l) {
			l = t
		}
	}
	return l
}

// before orders tenants by their counters, then by the arrival of their first requests.
func (v *VTC) before(t, u *tenant) bool {
	return t.counter < u.counter || t.counter == u.counter && t.queue[0].id < u.queue[0].id
}

// Fixed implements [Order]. Counters go up with every token.
func (v *VTC) Fixed() bool { return len(v.waiting)+len(v.coming) < 2 }

// Compare implements [Order], by the counters as they are.
func (v *VTC) Compare(a, b *Seq) int {
	t, u := v.seqs[a.Slot].tenant, v.seqs[b.Slot].tenant
	switch {
	case t == u:
		return cmp.Compare(a.ID, b.ID)
	case v.before(t, u):
		return -1
	}
	return 1
}

// Check returns an error unless the order can be kept.
func (v *VTC) Check() error {
	for _, w := range []struct {
		key string
		x   float64
	}{{"prompt_weight", v.PromptWeight}, {"token_weight", v.TokenWeight}} {
		if !(w.x >= 0 && w.x <= 1e6) {
			return fmt.Errorf("%s is %v; want 0 to 1e6, the paper has 1 and 2", w.key, w.x)
		}
	}
	return nil
}
