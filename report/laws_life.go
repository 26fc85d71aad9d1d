package report

import (
	"orrery/cluster"
	"orrery/sim"
)

// request checks that a request's life goes on in order. Pre-emption may come any
// time between being scheduled and finishing; an end may come any time.
func (l *Laws) request(r *cluster.Record) {
	s := r.Request
	if s == nil {
		l.breaks(r, "names no request")
		return
	}
	if l.live == nil {
		l.live = make(map[int64]life)
	}
	q, live := l.live[s.ID]
	if r.What == cluster.Arrived {
		if live {
			l.breaks(r, "arrived twice")
			return
		}
		if s.Arrived > r.At {
			l.breaks(r, "its own stamp says %v", s.Arrived)
		}
		l.arrived++
		l.live[s.ID] = life{stage: cluster.Arrived, replica: -1}
		l.steps(s.Arrived, 1)
		return
	}
	if !live {
		l.breaks(r, "has not arrived, or has ended already")
		return
	}
	if s.Class > 0 && r.What == cluster.Routed && q.stage == cluster.FirstToken {
		// One alternative has ended; another begins, maybe elsewhere.
		l.replica(q.replica).held--
		l.replica(r.Replica).held++
		q.replica = r.Replica
		l.live[s.ID] = q
		return
	}
	if q.replica >= 0 && q.replica != r.Replica && r.What != cluster.Failed && r.What != cluster.Received {
		l.breaks(r, "was routed to replica %d", q.replica)
	}
	want := func(stages ...cluster.What) {
		for _, w := range stages {
			if q.stage == w {
				return
			}
		}
		l.breaks(r, "comes after %v", q.stage)
	}
	switch r.What {
	case cluster.Routed:
		if !q.lost {
			want(cluster.Arrived)
		}
		if p := l.replica(r.Replica); p.state != cluster.Up {
			l.breaks(r, "the replica is %v", p.state)
		}
		q.lost, q.replica = false, r.Replica
		l.replica(r.Replica).held++
		if q.stage != cluster.Arrived {
			l.live[s.ID] = q // goes on from where it was
			return
		}
	case cluster.Lost:
		want(cluster.Routed, cluster.Scheduled, cluster.FirstToken)
		if r.N < 0 || s.Retries < 1 {
			l.breaks(r, "%d tokens lost with replica number %d", r.N, s.Retries)
		}
		l.replica(r.Replica).held--
		q.lost, q.sent, q.replica = true, false, -1
		l.live[s.ID] = q
		return
	case cluster.Sent:
		want(cluster.FirstToken)
		if r.N < 0 {
			l.breaks(r, "%d bytes", r.N)
		}
		q.sent = true // again, if the replica that it was for has failed
		l.live[s.ID] = q
		return
	case cluster.Received:
		want(cluster.FirstToken)
		if !q.sent || r.Replica == q.replica || r.At < s.Last {
			l.breaks(r, "the KV cache comes from replica %d, sent: %v, and the latest token from %v", q.replica, q.sent, s.Last)
		}
		l.replica(q.replica).held--
		l.replica(r.Replica).held++
		q.replica, q.sent = r.Replica, false
		l.live[s.ID] = q
		return
	case cluster.Failed:
		if r.Reason == "" {
			l.breaks(r, "gives no reason")
		}
		l.fail(r)
		return
	case cluster.Rejected:
		want(cluster.Arrived)
		if r.Reason == "" {
			l.breaks(r, "gives no reason")
		}
		l.rejected++
		l.end(r)
		return
	case cluster.Scheduled:
		want(cluster.Routed)
		if s.Scheduled != r.At || r.At < s.Arrived || s.Cached < 0 || s.Cached >= s.Prompt {
			l.breaks(r, "arrived at %v, is stamped %v, with %d of %d prompt tokens cached", s.Arrived, s.Scheduled, s.Cached, s.Prompt)
		}
	case cluster.FirstToken:
		want(cluster.Scheduled)
		if s.Class == 0 {
			l.prefills = s.Emitted == 1
		}
		l.emitted += int64(s.Emitted)
		if s.First != r.At || s.First < s.Scheduled || s.Emitted > 1 {
			l.breaks(r, "scheduled at %v, stamped %v, %d tokens emitted", s.Scheduled, s.First, s.Emitted)
		}
	case cluster.Preempted:
		want(cluster.Scheduled, cluster.FirstToken)
		if r.N < 0 || s.Preemptions < 1 {
			l.breaks(r, "%d tokens lost at pre-emption %d", r.N, s.Preemptions)
		}
		return // the life goes on from where it was
	case cluster.Finished:
		want(cluster.FirstToken)
		l.finish(r)
		return
	case cluster.Unfinished:
		l.cut(r)
		return
	}
	q.stage = r.What
	l.live[s.ID] = q
}

// finish checks a request that has emitted everything.
func (l *Laws) finish(r *cluster.Record) {
	s := r.Request
	switch {
	case s.Emitted != s.Output:
		l.breaks(r, "emitted %d of %d tokens", s.Emitted, s.Output)
	case s.Last != r.At || s.Last < s.First:
		l.breaks(r, "first token at %v, last stamped %v", s.First, s.Last)
	case s.LateGaps < 0 || int64(s.LateGaps) > gaps(s):
		l.breaks(r, "%d of %d gaps are late", s.LateGaps, gaps(s))
	}
	l.finished++
	l.asked += int64(s.Emitted)
	decodes := int64(s.Emitted)
	switch {
	case s.Class > 0:
		l.accounted += decodes // steps; encoding is no step
	case l.prefills:
		decodes-- // the first token came with the prefill
		fallthrough
	default:
		l.accounted += int64(s.Prompt-s.Cached) + decodes + int64(s.Recomputed)
	}
	l.replica(r.Replica).held--
	l.end(r)
}

// cut checks a request that the end of the run left under way. How much of it was
// computed is not in the log, but no more than this.
func (l *Laws) cut(r *cluster.Record) {
	s := r.Request
	if s.Emitted > s.Output {
		l.breaks(r, "emitted %d of %d tokens", s.Emitted, s.Output)
	}
	l.unfinished++
	l.asked += int64(s.Emitted)
	if s.Scheduled != cluster.Never {
		l.uncertain += int64(s.Prompt-s.Cached) + int64(s.Emitted) + max(int64(s.Recomputed), 0)
	}
	l.end(r)
}

// fail checks a request that ended without success. All that was computed of it was lost
// with its replicas, and counted then; what the prefix cache gave was not computed.
func (l *Laws) fail(r *cluster.Record) {
	s := r.Request
	if s.Emitted >= s.Output {
		l.breaks(r, "emitted %d of %d tokens", s.Emitted, s.Output)
	}
	l.failed++
	l.asked += int64(s.Emitted)
	l.accounted += int64(s.Recomputed) - int64(s.Cached)
	l.end(r)
}

// moved checks that a replica comes into a state from one that leads to it.
func (l *Laws) moved(r *cluster.Record) {
	p := l.replica(r.Replica)
	from, to := p.state, r.State
	ok := false
	switch to {
	case cluster.Up:
		ok = from == cluster.Starting
	case cluster.Starting:
		ok = from == cluster.Off || from == cluster.Down
	case cluster.Draining:
		ok = from == cluster.Up
	case cluster.Off:
		ok = from == cluster.Starting || from == cluster.Draining || r.At == 0
	case cluster.Down:
		ok = true
	}
	ok = ok || from == to && r.N > 0 // its pace has changed
	if !ok || r.At < p.moved {
		l.breaks(r, "comes to be %v from %v since %v", to, from, p.moved)
	}
	if (to == cluster.Off || to == cluster.Down) && p.held != 0 {
		l.breaks(r, "is %v with %d requests", to, p.held)
	}
	p.state, p.moved = to, r.At
}

// end takes a request out of the system.
func (l *Laws) end(r *cluster.Record) {
	l.sojourn += int64(r.At - r.Request.Arrived)
	l.steps(r.At, -1)
	delete(l.live, r.Request.ID)
}

// steps moves the number of requests in the system to time t and changes it there.
// Sums of request-nanoseconds may wrap around in very long runs; so do those they
// are compared with.
func (l *Laws) steps(t sim.Time, by int64) {
	l.area += l.level * int64(t-l.since)
	l.since = t
	l.level += by
}
