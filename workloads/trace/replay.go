package trace

import (
	"fmt"
	"io"
	"math/rand/v2"

	"orrery/sim"
	"orrery/workloads"
)

// Replay is a recorded trace: a CSV file, plain or gzip-compressed, with a header
// line and one request a line in order of arrival. Columns are found by name;
// others are ignored:
//
//	arrived_at_s   seconds since the start of the trace
//	prompt_tokens  input tokens, at least 1
//	output_tokens  generated tokens, at least 1
//	tenant         number of the client (optional)
//	hash_ids       names of the prompt's blocks, runs as a-b, separated by
//	               spaces; equal leading names mean a reusable prefix (optional)
//
// The requests from Start to End are kept, at most Limit of them, and Start
// becomes time 0. Then stamps are jittered, and at last time is compressed.
type Replay struct {
	Path  string
	Start float64 // seconds in the file
	End   float64 // seconds in the file, exclusive; 0 for the end of the file
	Limit int64   // number of requests, 0 for all

	// Jitter adds a uniform draw from [0, Jitter) seconds to each arrival. Some
	// traces round their stamps (Mooncake's to 3 s), which would replay as
	// synchronised bursts; jitter by the rounding step spreads them again.
	Jitter float64

	Speed float64 // time is divided by this; 0 for 1
	Rate  float64 // instead of Speed: mean requests per second to reach, 0 for the trace's own

	HashBlock int    // prompt tokens of one block of hash_ids; 0 for 512
	MaxTotal  int    // cut requests longer than this as [Capped] does; 0 for none
	Seed      uint64 // of the jitter
}

// Summary is what a look at a whole trace found. Times are those of the file,
// before jitter and compression.
type Summary struct {
	Rows         int64   // requests in the file
	Kept         int64   // requests in the window and within the limit
	First, Last  float64 // arrivals of the first and the last request kept, seconds
	PromptTokens int64   // sum over the requests kept
	OutputTokens int64
	MaxTotal     int64 // longest prompt plus output among them
}

// Rate returns the mean rate of the requests kept: the inverse of the mean gap
// between them, 0 if there is none.
func (s *Summary) Rate() float64 {
	if s.Kept < 2 || s.Last <= s.First {
		return 0
	}
	return float64(s.Kept-1) / (s.Last - s.First)
}

// Open implements [Traffic]. It reads the whole file once, so that a bad line is
// refused before anything is simulated, and then streams it.
func (c Replay) Open() (workloads.Source, error) {
	sum, err := c.Check()
	if err != nil {
		return nil, err
	}
	speed := c.Speed
	if speed == 0 {
		speed = 1
	}
	if c.Rate > 0 {
		if sum.Rate() == 0 {
			return nil, fmt.Errorf("%s: Replay.Rate needs at least two requests at different times in the window; there are %d", c.Path, sum.Kept)
		}
		speed = c.Rate / sum.Rate()
	}
	if sim.Seconds((sum.Last-c.Start+c.Jitter)/speed) == sim.Forever {
		return nil, fmt.Errorf("%s: slowed down by %v the trace outlasts the clock (292 years); want a higher Replay.Speed or Rate", c.Path, 1/speed)
	}
	r, err := openFile(c.Path, true)
	if err != nil {
		return nil, err
	}
	s := &replay{Replay: c, in: r, speed: speed, left: sum.Kept, jitter: sim.Stream(c.Seed, "jitter")}
	s.fill()
	return s, nil
}

// Check reads the whole file and returns what is in it, or the first error with
// file and line. Memory use does not depend on the file's size.
func (c Replay) Check() (Summary, error) {
	var sum Summary
	if err := c.checkFields(); err != nil {
		return sum, err
	}
	in, err := openFile(c.Path, true)
	if err != nil {
		return sum, err
	}
	defer in.close()
	return c.scan(in)
}

// scan checks every row of in.
func (c Replay) scan(in *reader) (sum Summary, err error) {
	var ids []uint64
	for {
		w, err := in.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return sum, err
		}
		if ids, err = appendIDs(ids[:0], w.hashIDs, c.blocks(w.prompt)); err != nil {
			return sum, in.errorf("%w", err)
		}
		sum.Rows++
		if w.at < c.Start || c.End > 0 && w.at >= c.End || c.Limit > 0 && sum.Kept == c.Limit {
			continue
		}
		if sum.Kept == 0 {
			sum.First = w.at
		}
		sum.Last = w.at
		sum.Kept++
		sum.PromptTokens += int64(w.prompt)
		sum.OutputTokens += int64(w.output)
		sum.MaxTotal = max(sum.MaxTotal, int64(w.prompt)+int64(w.output))
	}
	switch {
	case sum.Rows == 0:
		return sum, in.errorf("the file has a header but no requests; want at least one line after it")
	case sum.Kept == 0:
		return sum, fmt.Errorf("%s: no request between Replay.Start %v and Replay.End %v s; the last one of the file is at %v s", c.Path, c.Start, c.End, in.last)
	}
	return sum, nil
}

func (c Replay) checkFields() error {
	if err := firstError(
		notNegative("Replay.Start", c.Start, "seconds"),
		notNegative("Replay.End", c.End, "seconds, 0: the end of the file"),
		notNegativeCount("Replay.Limit", c.Limit, "all"),
		notNegative("Replay.Jitter", c.Jitter, "seconds"),
		notNegative("Replay.Speed", c.Speed, "times as fast, 0: as recorded"),
		notNegative("Replay.Rate", c.Rate, "requests per second, 0: as recorded"),
		notNegativeCount("Replay.HashBlock", int64(c.HashBlock), "512 tokens"),
		notNegativeCount("Replay.MaxTotal", int64(c.MaxTotal), "no cap"),
	); err != nil {
		return err
	}
	switch {
	case c.End > 0 && c.End <= c.Start:
		return fmt.Errorf("Replay.End is %v, not after Replay.Start, %v; want a later time, or 0 for the end of the file", c.End, c.Start)
	case c.Speed > 0 && c.Rate > 0:
		return fmt.Errorf("Replay.Speed is %v and Replay.Rate is %v; want only one of them", c.Speed, c.Rate)
	case c.MaxTotal == 1:
		return fmt.Errorf("Replay.MaxTotal is 1; want at least 2 tokens, one of prompt and one of output")
	}
	return nil
}

// hashBlock returns the tokens of one block of hash_ids.
func (c Replay) hashBlock() int32 {
	if c.HashBlock == 0 {
		return 512
	}
	return int32(min(c.HashBlock, MaxTokens))
}

// blocks returns how many blocks a prompt has, the last one perhaps partial.
func (c Replay) blocks(prompt int32) int {
	b := c.hashBlock()
	return int((prompt + b - 1) / b)
}

// replay is the source behind [Replay].
type replay struct {
	Replay
	in      *reader
	speed   float64
	left    int64 // requests still to be read
	jitter  *rand.Rand
	pending agenda[workloads.Request]
	slab    []uint64 // memory for block names that is not yet handed out
	id      int64
	err     error
}

// fill reads until the earliest pending request cannot be overtaken. A row's
// jitter is never negative, so that is so when the next row of the file, still
// without jitter, is not earlier.
func (s *replay) fill() {
	for s.left > 0 {
		if at, ok := s.pending.peek(); ok && at <= s.stamp(s.in.last) {
			return
		}
		w, err := s.in.next()
		if err != nil {
			s.fail(err)
			return
		}
		if w.at < s.Start {
			continue
		}
		s.left--
		at := w.at
		if s.Jitter > 0 {
			at += s.jitter.Float64() * s.Jitter
		}
		r, err := s.request(&w)
		if err != nil {
			s.fail(err)
			return
		}
		s.pending.push(s.stamp(at), r)
	}
	s.in.close()
}

// stamp converts seconds in the file to simulated time.
func (s *replay) stamp(at float64) sim.Time { return sim.Seconds((at - s.Start) / s.speed) }

// request converts a row, but for its time and number.
func (s *replay) request(w *row) (workloads.Request, error) {
	r := workloads.Request{Prompt: w.prompt, Output: w.output, Tenant: w.tenant}
	if len(w.hashIDs) > 0 {
		ids, err := s.names(w)
		if err != nil {
			return r, s.in.errorf("%w", err)
		}
		r.Prefix, r.PrefixBlock = ids, s.hashBlock()
	}
	if most := int64(s.MaxTotal); most > 0 && int64(r.Prompt)+int64(r.Output) > most {
		r.Prompt, r.Output = capTotal(r.Prompt, r.Output, most)
		if whole := int(r.Prompt / s.hashBlock()); len(r.Prefix) > whole {
			r.Prefix = r.Prefix[:whole] // the block that was cut holds something else now
		}
	}
	return r, nil
}

// names parses the block names of a row. They are cut from slabs, since a trace
// has many short lists of them.
func (s *replay) names(w *row) ([]uint64, error) {
	most := s.blocks(w.prompt)
	if cap(s.slab) < most {
		s.slab = make([]uint64, 0, max(4096, most))
	}
	ids, err := appendIDs(s.slab[:0], w.hashIDs, most)
	s.slab = s.slab[:cap(s.slab)][len(ids):][:0]
	return ids[:len(ids):len(ids)], err
}

// fail ends the source early and keeps the reason.
func (s *replay) fail(err error) {
	if err == io.EOF {
		err = fmt.Errorf("%s: the file has fewer requests than when it was checked; it must not change during a run", s.Path)
	}
	s.err, s.left = err, 0
	s.in.close()
}

// Peek implements [workloads.Source].
func (s *replay) Peek() (sim.Time, bool) { return s.pending.peek() }

// Next implements [workloads.Source].
func (s *replay) Next() workloads.Request {
	at, r := s.pending.pop()
	r.Arrived, r.ID = at, s.id
	s.id++
	if s.left > 0 {
		s.fill()
	}
	return r
}

// Err returns why the source ended early, or nil.
func (s *replay) Err() error { return s.err }

// Close closes the file and returns Err.
func (s *replay) Close() error {
	s.in.close()
	return s.err
}
