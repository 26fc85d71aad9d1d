package timeline

import (
	"io"
	"strconv"

	"orrery/sim"
)

// chrome writes the JSON of the Trace Event Format (the "JSON Object Format" of
// Google's document of that name): a group is a process, a row a thread. Times are
// microseconds with three decimals.
type chrome struct {
	out    output
	tracks []home // by track, from 1
	pids   int
	begun  bool
}

// home is where a track's events go.
type home struct {
	pid, tid int
	name     string // of a counter
}

func newChrome(w io.Writer) *chrome { return &chrome{out: output{w: w}} }

func (c *chrome) add(h home) track {
	c.tracks = append(c.tracks, h)
	return track(len(c.tracks))
}

func (c *chrome) group(name string, rank int) track {
	c.pids++
	c.meta("process_name", c.pids, 0, "name", strconv.Quote(name))
	c.meta("process_sort_index", c.pids, 0, "sort_index", strconv.Itoa(rank))
	return c.add(home{pid: c.pids})
}

func (c *chrome) row(in track, name string, rank int) track {
	h := home{pid: c.tracks[in-1].pid, tid: len(c.tracks) + 1}
	c.meta("thread_name", h.pid, h.tid, "name", strconv.Quote(name))
	c.meta("thread_sort_index", h.pid, h.tid, "sort_index", strconv.Itoa(c.order(in)+rank))
	return c.add(h)
}

// order puts rows of rows below those of the group.
func (c *chrome) order(in track) int {
	if c.tracks[in-1].tid > 0 {
		return requestsRank + 1
	}
	return 0
}

func (c *chrome) counter(in track, name string, _ int) track {
	return c.add(home{pid: c.tracks[in-1].pid, name: name})
}

func (c *chrome) slice(on track, s *slice) {
	h := c.tracks[on-1]
	b := c.event("X", h, s.from)
	b = append(b, `,"name":`...)
	b = strconv.AppendQuote(b, s.name)
	b = appendMicros(append(b, `,"dur":`...), s.to-s.from)
	b = append(b, `,"args":{`...)
	for i, a := range s.args {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, a.name), ':')
		b = strconv.AppendInt(b, a.value, 10)
	}
	c.done(append(b, "}}"...))
	for _, f := range s.flows {
		if s.begins {
			b = c.event("s", h, s.from)
		} else {
			b = append(c.event("f", h, s.from), `,"bp":"e"`...)
		}
		b = append(b, `,"cat":"request","name":"first run","id":`...)
		c.done(append(strconv.AppendUint(b, f, 10), '}'))
	}
}

func (c *chrome) value(on track, at sim.Time, v int64) {
	h := c.tracks[on-1]
	b := append(c.event("C", h, at), `,"name":`...)
	b = append(strconv.AppendQuote(b, h.name), `,"args":{"value":`...)
	c.done(append(strconv.AppendInt(b, v, 10), "}}"...))
}

// event begins an event of the given phase.
func (c *chrome) event(phase string, h home, at sim.Time) []byte {
	b := append(c.separate(), `{"ph":"`...)
	b = append(append(b, phase...), `","pid":`...)
	b = strconv.AppendInt(b, int64(h.pid), 10)
	b = strconv.AppendInt(append(b, `,"tid":`...), int64(h.tid), 10)
	return appendMicros(append(b, `,"ts":`...), at)
}

func (c *chrome) meta(name string, pid, tid int, key, value string) {
	b := append(c.separate(), `{"ph":"M","name":"`+name+`","pid":`...)
	b = strconv.AppendInt(b, int64(pid), 10)
	b = strconv.AppendInt(append(b, `,"tid":`...), int64(tid), 10)
	c.done(append(b, `,"args":{"`+key+`":`+value+`}}`...))
}

func (c *chrome) separate() []byte {
	if c.begun {
		return append(c.out.buf, ",\n"...)
	}
	c.begun = true
	return append(c.out.buf, `{"displayTimeUnit":"ms","traceEvents":[`+"\n"...)
}

func (c *chrome) done(b []byte) {
	c.out.buf = b
	c.out.spill()
}

func (c *chrome) close() error {
	if !c.begun {
		c.out.buf = c.separate()
	}
	c.out.buf = append(c.out.buf, "\n]}\n"...)
	return c.out.close()
}

// appendMicros appends a time in microseconds with three decimals.
func appendMicros(b []byte, t sim.Time) []byte {
	b = strconv.AppendInt(b, int64(t/1000), 10)
	ns := t % 1000
	return append(b, '.', byte('0'+ns/100), byte('0'+ns/10%10), byte('0'+ns%10))
}
