package replay

import (
	"container/heap"
	"time"

	"orrery/cluster"
	"orrery/sim"
)

// Log writes the records of a run, in order of time, as a simulated cluster would have
// written them, but for what a client cannot see: iterations, routing and the start
// of the first iteration. There is one replica, the server.
//
// A request that was refused, or whose connection broke before the first token, is
// rejected. One that timed out, broke off later or was cut by the end is unfinished: it
// waited that long at least. Gaps between tokens longer than lateGap are counted as
// late, if it is above zero.
func (o *Outcome) Log(lateGap time.Duration, to ...cluster.Recorder) {
	var h cursors
	for _, a := range o.Answers {
		h = append(h, newCursor(a, lateGap))
	}
	heap.Init(&h)
	for len(h) > 0 {
		c := h[0]
		c.step(o.End, func(r *cluster.Record) {
			for _, rec := range to {
				rec.Record(r)
			}
		})
		if c.ended {
			heap.Pop(&h)
		} else {
			heap.Fix(&h, 0)
		}
	}
}

// cursor goes through the life of one request.
type cursor struct {
	*Answer
	at      sim.Time // of the next step
	late    time.Duration
	served  cluster.Served
	arrived bool
	next    int   // chunk
	tokens  int64 // of the answer, spread over the chunks
	ended   bool
}

func newCursor(a *Answer, late time.Duration) *cursor {
	return &cursor{
		Answer: a, at: a.Arrived, late: late, tokens: a.Tokens(),
		served: cluster.Served{Request: a.Request, Scheduled: never, First: never, Last: never},
	}
}

// Tokens returns how many tokens came: those that the server counted, else one for each
// chunk. Servers put several tokens into a chunk, and hold back tokens that are no
// whole character.
func (a *Answer) Tokens() int64 {
	if a.Usage && len(a.Chunks) > 0 {
		return max(int64(a.AnswerTokens), 1)
	}
	return int64(len(a.Chunks))
}

// through returns the tokens that had come with the first n chunks, as if they were
// spread evenly, the first chunk having one at least.
func (c *cursor) through(n int) int64 {
	all := int64(len(c.Chunks))
	return (int64(n)*c.tokens + all - 1) / all
}

// step writes the records of the next instant.
func (c *cursor) step(end sim.Time, write func(*cluster.Record)) {
	s := &c.served
	switch {
	case !c.arrived:
		c.arrived = true
		write(&cluster.Record{What: cluster.Arrived, At: c.at, Request: s})
	case c.next < len(c.Chunks):
		c.chunk(write)
	default:
		c.end(write)
		return
	}
	switch {
	case c.next < len(c.Chunks):
		c.at = max(c.at, c.Chunks[c.next])
	case c.Failure != None:
		c.at = max(c.at, min(c.Ended, end))
	}
	// An answer that is complete was over with its last token; what comes after it is the
	// protocol's.
}

// chunk writes the tokens of a chunk. The first of them comes a gap after the one
// before; the others come in the same instant, with no gap.
func (c *cursor) chunk(write func(*cluster.Record)) {
	s := &c.served
	n := c.through(c.next+1) - c.through(c.next)
	c.next++
	if n == 0 {
		return // text of a token that has been counted
	}
	if s.First == never {
		s.First, s.Last, s.Emitted = c.at, c.at, 1
		write(&cluster.Record{What: cluster.FirstToken, At: c.at, Request: s})
		n--
	}
	for n > 0 {
		gap, tokens := c.at.Sub(s.Last), int64(1)
		if gap == 0 {
			tokens = n
		}
		if c.late > 0 && gap > c.late {
			s.LateGaps++
		}
		s.Emitted += int32(tokens)
		s.Last = c.at
		write(&cluster.Record{What: cluster.Emitted, At: c.at, N: tokens, Gap: gap, Request: s})
		n -= tokens
	}
}

// end writes how the request ended.
func (c *cursor) end(write func(*cluster.Record)) {
	c.ended = true
	r := &cluster.Record{At: c.at, Request: &c.served, Reason: string(c.Failure)}
	switch {
	case c.Failure == None:
		r.What = cluster.Finished
	case c.Failure == TimedOut || c.Failure == CutByEnd || c.served.First != never:
		r.What, r.Replica = cluster.Unfinished, -1
	default:
		r.What = cluster.Rejected
	}
	write(r)
}

// cursors is a heap by time, then by the order of arrival.
type cursors []*cursor

func (h cursors) Len() int { return len(h) }
func (h cursors) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].ID < h[j].ID
}
func (h cursors) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *cursors) Push(x any)   { *h = append(*h, x.(*cursor)) }

func (h *cursors) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	*h = (*h)[:last]
	return c
}
