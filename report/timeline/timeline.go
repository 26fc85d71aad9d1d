// Package timeline writes what happened when to a file that Perfetto
// (ui.perfetto.dev) or chrome://tracing opens: a group of tracks per replica with
// the iterations on each pipeline stage, counters of the queue, the running
// sequences, the KV cache and the batch, and the requests from joining the replica to
// the last token, each with an arrow to the iteration that first ran it.
//
// Protobuf is the format to prefer: a third of the size, exact nanoseconds. Chrome's
// JSON can be read by eye and by other tools.
package timeline

import (
	"fmt"
	"io"

	"orrery/cluster"
	"orrery/sim"
)

// Window bounds what is written.
type Window struct {
	From sim.Time
	To   sim.Time // 0 for the end of the run
	// MaxEvents is the number of events after which nothing new is begun, 0 for
	// DefaultMaxEvents. Viewers become slow beyond a few million.
	MaxEvents int64
}

// DefaultMaxEvents makes 45 to 75 MB of protobuf, or three times as much JSON.
const DefaultMaxEvents = 1_000_000

// maxLanes bounds the tracks of requests of one replica, since nobody looks at
// thousands. Requests beyond are left out.
const maxLanes = 256

// track is a row of the picture.
type track uint64

// encoder writes a trace in one format. Slices of one track come in order of time
// and do not overlap.
type encoder interface {
	// group begins a group of tracks with the given rank.
	group(name string, rank int) track
	// row adds a track of slices, and counter one of values, to a group.
	row(in track, name string, rank int) track
	counter(in track, name string, rank int) track
	slice(on track, s *slice)
	value(on track, at sim.Time, v int64)
	close() error
}

// slice is a stretch of time on a track.
type slice struct {
	name     string
	from, to sim.Time
	flows    []uint64 // arrows that begin or end here
	begins   bool     // they begin here
	args     []arg
}

type arg struct {
	name  string
	value int64
}

// Writer is a [cluster.Recorder] that writes a timeline. Ask [Writer.Close] for
// errors when the run has ended.
type Writer struct {
	enc      encoder
	window   Window
	replicas []lane
	events   int64
	left     int64 // events left out because of MaxEvents or maxLanes
	slice    slice // reused
	args     [8]arg
}

// lane holds the tracks and the state of one replica.
type lane struct {
	open                        bool
	group, requests             track
	stages                      []track
	queue, running, blocks, tok track
	last                        [4]int64        // values of the counters
	rows                        []track         // of requests
	free                        []int           // rows not in use, lowest last
	at                          map[int64]place // of live requests
	scheduled                   []scheduled
}

// place is the row of a request and when it got it.
type place struct {
	row   int
	since sim.Time
}

// scheduled is a request that an iteration in flight runs for the first time.
type scheduled struct {
	id int64
	at sim.Time
}

// NewPerfetto returns a writer of Perfetto's protobuf format.
func NewPerfetto(w io.Writer, window Window) *Writer { return newWriter(newPerfetto(w), window) }

// NewChrome returns a writer of Chrome's JSON format.
func NewChrome(w io.Writer, window Window) *Writer { return newWriter(newChrome(w), window) }

func newWriter(e encoder, window Window) *Writer {
	if window.To == 0 {
		window.To = sim.Forever
	}
	if window.MaxEvents == 0 {
		window.MaxEvents = DefaultMaxEvents
	}
	return &Writer{enc: e, window: window}
}

// LeftOut returns how many events inside the window were left out to keep the file
// small.
func (w *Writer) LeftOut() int64 { return w.left }

// Close completes the output and returns the first error of all.
func (w *Writer) Close() error { return w.enc.close() }

// Record writes what can be drawn of one entry of the log.
func (w *Writer) Record(r *cluster.Record) {
	if r.Replica < 0 {
		return
	}
	switch r.What {
	case cluster.Iterated:
		w.iteration(w.lane(r.Replica, len(r.Iteration.Stages)), r.Iteration)
	case cluster.Routed:
		w.lane(r.Replica, 0).enter(r.Request.ID, r.At)
	case cluster.Scheduled:
		l := w.lane(r.Replica, 0)
		l.scheduled = append(l.scheduled, scheduled{r.Request.ID, r.At})
	case cluster.Finished, cluster.Unfinished:
		w.request(w.lane(r.Replica, 0), r)
	}
}

// lane returns the tracks of a replica. Those of its stages begin with its first
// iteration.
func (w *Writer) lane(i int32, stages int) *lane {
	for int(i) >= len(w.replicas) {
		w.replicas = append(w.replicas, lane{at: make(map[int64]place)})
	}
	l := &w.replicas[i]
	if !l.open {
		l.open = true
		l.group = w.enc.group(fmt.Sprintf("replica %d", i), int(i))
	}
	for s := len(l.stages); s < stages; s++ {
		l.stages = append(l.stages, w.enc.row(l.group, fmt.Sprintf("stage %d", s), s))
		if s == stages-1 {
			l.queue = w.enc.counter(l.group, "waiting", stages)
			l.running = w.enc.counter(l.group, "running", stages+1)
			l.blocks = w.enc.counter(l.group, "KV blocks", stages+2)
			l.tok = w.enc.counter(l.group, "batch tokens", stages+3)
			l.last = [4]int64{-1, -1, -1, -1}
		}
	}
	return l
}

// inside tells whether a stretch of time overlaps the window and there is room for
// n more events.
func (w *Writer) inside(from, to sim.Time, n int64) bool {
	if to < w.window.From || from > w.window.To {
		return false
	}
	if w.events+n > w.window.MaxEvents {
		w.left += n
		return false
	}
	w.events += n
	return true
}

func (w *Writer) iteration(l *lane, it *cluster.Iteration) {
	s := &w.slice
	*s = slice{name: batchName(it), flows: s.flows[:0]}
	kept := l.scheduled[:0]
	for _, q := range l.scheduled {
		if q.at == it.Start {
			s.flows = append(s.flows, flow(q.id))
		} else if q.at > it.Start {
			kept = append(kept, q)
		}
	}
	l.scheduled = kept
	if !w.inside(it.Start, it.End, int64(len(it.Stages))) {
		return
	}
	b := &it.Batch
	w.args = [8]arg{
		{"iteration", it.Number}, {"decodes", int64(b.Decodes)}, {"decode context", b.DecodeContext}, {"chunks", int64(b.Chunks)},
		{"chunk tokens", int64(b.ChunkTokens)}, {"chunk context", b.ChunkContext}, {"host ns", int64(it.Host)}, {"KV blocks", it.KVUsed},
	}
	s.args = w.args[:]
	for i, span := range it.Stages {
		s.from, s.to = span.Start, span.End
		w.enc.slice(l.stages[i], s)
		s.flows = s.flows[:0] // arrows end at the first stage
	}
	for i, v := range [...]int64{int64(it.Waiting), int64(it.Running), it.KVUsed, int64(b.Tokens())} {
		if v != l.last[i] && w.inside(it.Start, it.Start, 1) {
			l.last[i] = v
			w.enc.value([...]track{l.queue, l.running, l.blocks, l.tok}[i], it.Start, v)
		}
	}
}

// batchName says what a batch consists of. Names recur, so that viewers colour like
// batches alike.
func batchName(it *cluster.Iteration) string {
	b := &it.Batch
	switch {
	case b.Chunks == 0:
		return "decode"
	case b.Decodes == 0:
		return "prefill"
	}
	return "prefill + decode"
}

// flow is the number of a request's arrow; 0 would mean none.
func flow(id int64) uint64 { return uint64(id) + 1 }

// enter gives a request that joins the replica a row: the first that is free.
func (l *lane) enter(id int64, now sim.Time) {
	if n := len(l.free); n > 0 {
		l.at[id] = place{l.free[n-1], now}
		l.free = l.free[:n-1]
	} else if len(l.rows) < maxLanes {
		l.at[id] = place{len(l.rows), now}
		l.rows = append(l.rows, 0)
	}
}

// leave frees a row again, keeping the free ones in order.
func (l *lane) leave(id int64, row int) {
	delete(l.at, id)
	i := len(l.free)
	l.free = append(l.free, row)
	for ; i > 0 && l.free[i-1] < row; i-- {
		l.free[i], l.free[i-1] = l.free[i-1], l.free[i]
	}
}

// request draws a request that has ended as slices queued, prefill and decode.
func (w *Writer) request(l *lane, r *cluster.Record) {
	q := r.Request
	p, ok := l.at[q.ID]
	if !ok {
		if w.inside(q.Arrived, r.At, 0) {
			w.left++
		}
		return
	}
	l.leave(q.ID, p.row)
	if !w.inside(p.since, r.At, 3) {
		return
	}
	if l.rows[p.row] == 0 {
		if l.requests == 0 {
			l.requests = w.enc.row(l.group, "requests", requestsRank)
		}
		l.rows[p.row] = w.enc.row(l.requests, fmt.Sprintf("request row %d", p.row), p.row)
	}
	until := func(t sim.Time) sim.Time {
		if t == cluster.Never {
			return r.At
		}
		return t
	}
	scheduled, first := until(q.Scheduled), until(q.First)
	w.args[0] = arg{"request", q.ID}
	w.args[1] = arg{"prompt tokens", int64(q.Prompt)}
	w.args[2] = arg{"output tokens", int64(q.Emitted)}
	w.args[3] = arg{"cached tokens", int64(q.Cached)}
	w.args[4] = arg{"pre-emptions", int64(q.Preemptions)}
	w.slice.flows = w.slice.flows[:0]
	w.part(l.rows[p.row], "queued", p.since, scheduled)
	w.slice.flows = append(w.slice.flows[:0], flow(q.ID))
	w.part(l.rows[p.row], "prefill", scheduled, first)
	w.part(l.rows[p.row], "decode", first, r.At)
}

// requestsRank puts the requests of a replica below its stages and counters.
const requestsRank = 1000

// part draws one part of a request's life with the flows and the arguments that were
// set before.
func (w *Writer) part(on track, name string, from, to sim.Time) {
	s := &w.slice
	if to > from {
		*s = slice{name: name, from: from, to: to, flows: s.flows, begins: true, args: w.args[:5]}
		w.enc.slice(on, s)
	}
	s.flows = s.flows[:0]
}
