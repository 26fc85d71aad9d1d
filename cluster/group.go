package cluster

import "orrery/sim"

// group is a set of sequences that decode together, one token each in every
// iteration of the group. What changes in every iteration changes alike for all
// members, so it is kept once, relative to the group's count of iterations, and
// an iteration costs the same whatever the number of members.
type group struct {
	n        int   // members
	count    int64 // iterations planned
	emitted  int64 // iterations whose tokens have appeared: count, or one less while in flight
	context  int64 // sum of the members' tokens with stored KV
	inFlight bool
	last     sim.Time // when members last emitted, joiners excepted
	late     int64    // iterations whose gap between tokens was late

	finish  []finishAt // heap: at which count members have emitted everything
	needs   []int32    // members by (tokens - count) mod block: those at -count mod block need a block next
	joiners []int32    // slots of members whose last emission is their own, not the group's
}

// finishAt says that the sequence in slot has emitted its last token when the
// group's count is at. Entries of sequences that left the group are stale: their
// epoch differs.
type finishAt struct {
	at    int64
	id    int64 // of the request, to order sequences that finish together
	slot  int32
	epoch uint32
}

func (a *finishAt) before(b *finishAt) bool {
	return a.at < b.at || a.at == b.at && a.id < b.id
}

func (g *group) pushFinish(e finishAt) {
	q := append(g.finish, e)
	i := len(q) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !e.before(&q[p]) {
			break
		}
		q[i] = q[p]
		i = p
	}
	q[i] = e
	g.finish = q
}

func (g *group) popFinish() {
	q := g.finish
	n := len(q) - 1
	e := q[n]
	q = q[:n]
	g.finish = q
	if n == 0 {
		return
	}
	i := 0
	for {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && q[c+1].before(&q[c]) {
			c++
		}
		if !q[c].before(&e) {
			break
		}
		q[i] = q[c]
		i = c
	}
	q[i] = e
}

// phase returns the index in needs of a member with the given tokens when the
// group's count is count.
func (g *group) phase(tokens, count int64) int64 {
	b := int64(len(g.needs))
	p := (tokens - count) % b
	if p < 0 {
		p += b
	}
	return p
}

// wanted returns how many members start a new block in the iteration that
// follows count iterations.
func (g *group) wanted(count int64) int64 { return int64(g.needs[g.phase(0, count)]) }

// reset empties the group for its next use.
func (g *group) reset() {
	clear(g.needs)
	*g = group{finish: g.finish[:0], needs: g.needs, joiners: g.joiners[:0]}
}
