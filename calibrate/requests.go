package calibrate

import (
	"fmt"
	"math"
	"slices"

	"orrery/hwmodel"
)

// Rules are what is known of the engine whose requests were timed.
type Rules struct {
	// Budget is the most tokens of an iteration, MaxSeqs the most sequences; 0 if unknown.
	Budget, MaxSeqs int
}

// RequestFit is a cost model fitted to the times of requests, with its errors on
// requests that had no part in the fit.
type RequestFit struct {
	Cost hwmodel.Affine
	// HeldOutCost is the same without the requests held out, for scores on them by
	// simulation.
	HeldOutCost hwmodel.Affine
	// Decode has the errors of the time from first to last token, Prefill those of the
	// time from the first iteration to the first token.
	Decode, Prefill hwmodel.Fit
}

// minRequests is the least that FitRequests takes: a quarter is held out, and five
// coefficients want some ten equations each.
const minRequests = 60

// FitRequests fits the coefficients of an iteration to the times of the requests of one
// run, without simulating it. It rests on what iteration-level batching means: every
// sequence that decodes gets one token from every iteration, so between the first and
// the last token of a request lie as many iterations as it has further tokens, and
// the time between them is the sum over those iterations of what each computed:
//
//	last - first = Iteration*(tokens - 1) + PrefillToken*(prompt tokens of others in between)
//	             + Sequence*(tokens of all) + ContextToken*(their contexts) + ChunkContext*(query-key pairs)
//
// Prompts are computed between the start of their first iteration and the first token;
// where the start is not known, it is taken for when the request had arrived and found
// a place. That stretch gives a second equation. How the tokens of the others are spread
// over time depends on the coefficients, so both are improved in turn.
//
// Requests that were pre-empted have more iterations between their tokens than this
// counts; reweighting by the size of the error keeps them from deciding, as long as
// they are the minority.
func FitRequests(ts []Timing, rules Rules) (*RequestFit, error) {
	run, err := newTimedRun(ts, rules)
	if err != nil {
		return nil, err
	}
	all := func(int) bool { return true }
	fitted := func(i int) bool { return i%heldOutEvery != heldOutEvery-1 }
	f := &RequestFit{HeldOutCost: run.fit(fitted)}
	f.Decode, f.Prefill = run.score(&f.HeldOutCost, fitted)
	f.Cost = run.fit(all)
	if err := f.Cost.Check(); err != nil {
		return nil, fmt.Errorf("calibrate: these requests do not tell what an iteration takes (%w); want a longer run on a machine with less else to do", err)
	}
	return f, nil
}

// heldOutEvery: one request in four has no part in the fit that is scored.
const heldOutEvery = 4

// timed is a request of the run.
type timed struct {
	start, first, last float64 // of the prefill, tokens
	prompt, further    float64 // tokens; further ones after the first
	from, to           int     // stretches from first to last
	begin              int     // stretch of start
	chunks             float64 // prompt chunks
	alone              float64 // of their iterations, those that it does not share
}

// stretch is a time between two instants at which something began or ended, within
// which the batch has the same sequences.
type stretch struct {
	length     float64 // seconds
	iterations float64 // as many as fit, by the coefficients known so far
	sums               // over them
}

// sums are what iterations compute, in the terms of [hwmodel.Affine].
type sums struct{ prompt, sequences, context, pairs, prefills float64 }

func (s *sums) add(o sums, share float64) {
	s.prompt += share * o.prompt
	s.sequences += share * o.sequences
	s.context += share * o.context
	s.pairs += share * o.pairs
	s.prefills += share * o.prefills
}

// timedRun is a run cut into stretches.
type timedRun struct {
	rules     Rules
	requests  []timed
	stretches []stretch
}

func newTimedRun(ts []Timing, rules Rules) (*timedRun, error) {
	if len(ts) < minRequests {
		return nil, fmt.Errorf("calibrate: %d timed requests are too few to fit iterations; want %d or more", len(ts), minRequests)
	}
	for i := range ts {
		if ts[i].GPU != ts[0].GPU || ts[i].Model != ts[0].Model {
			return nil, fmt.Errorf("%s:%d: is of %s on %s, the first request of %s on %s; want requests of one run",
				ts[i].File, ts[i].Line, ts[i].Model, ts[i].GPU, ts[0].Model, ts[0].GPU)
		}
	}
	r := &timedRun{rules: rules}
	decoding := 0
	for _, t := range ts {
		switch {
		case t.Scheduled > t.First:
			return nil, fmt.Errorf("%s:%d: scheduled_s is %g, after first_token_s, %g", t.File, t.Line, t.Scheduled, t.First)
		case t.Output > 1 && t.Last > t.First:
			decoding++
		}
		r.requests = append(r.requests, timed{start: t.Scheduled, first: t.First, last: t.Last, prompt: float64(t.Prompt), further: float64(t.Output - 1)})
	}
	if decoding < minRequests {
		return nil, fmt.Errorf("calibrate: %d requests have a second token after the first, which is too few to fit iterations; want %d or more", decoding, minRequests)
	}
	r.starts(ts)
	r.share()
	r.cut()
	return r, nil
}

// starts fills in when prefills began where nobody saw it: when the request had
// arrived and a sequence had left for it to take its place, in the order of arrival.
func (r *timedRun) starts(ts []Timing) {
	order := make([]int, len(ts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return compareFloats(ts[a].Arrival, ts[b].Arrival) })
	var ends []float64 // of those in place, sorted
	for _, i := range order {
		q := &r.requests[i]
		if math.IsNaN(q.start) {
			q.start = ts[i].Arrival
			if !math.IsNaN(ts[i].Queued) {
				q.start = max(q.start, ts[i].Queued)
			}
			if n := len(ends) - r.rules.MaxSeqs; r.rules.MaxSeqs > 0 && n >= 0 {
				q.start = max(q.start, ends[n])
			}
			q.start = min(q.start, q.first)
		}
		at, _ := slices.BinarySearch(ends, q.last)
		ends = slices.Insert(ends, at, q.last)
	}
}

func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// share counts the iterations with prompt chunks: prompts whose first tokens appear in
// the same instant ended in the same one. Instants are the same if they are closer
// together than iterations can be.
func (r *timedRun) share() {
	order := make([]int, len(r.requests))
	var gaps []float64
	for i := range order {
		order[i] = i
		if q := &r.requests[i]; q.further > 0 {
			gaps = append(gaps, (q.last-q.first)/q.further)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return compareFloats(r.requests[a].first, r.requests[b].first) })
	close := 0.2 * median(gaps)
	for i := 0; i < len(order); {
		j := i + 1
		for j < len(order) && r.requests[order[j]].first-r.requests[order[j-1]].first < close {
			j++
		}
		for _, k := range order[i:j] {
			q := &r.requests[k]
			q.chunks = 1
			if r.rules.Budget > 0 {
				q.chunks = math.Ceil(q.prompt / float64(r.rules.Budget))
			}
			q.alone = q.chunks - 1 + 1/float64(j-i)
		}
		i = j
	}
}

// cut divides the run at every instant at which a request begins, has its first token,
// or ends.
func (r *timedRun) cut() {
	var at []float64
	for i := range r.requests {
		q := &r.requests[i]
		at = append(at, q.start, q.first, q.last)
	}
	slices.Sort(at)
	at = slices.Compact(at)
	for i := 1; i < len(at); i++ {
		r.stretches = append(r.stretches, stretch{length: at[i] - at[i-1]})
	}
	index := func(t float64) int {
		i, _ := slices.BinarySearch(at, t)
		return i
	}
	for i := range r.requests {
		q := &r.requests[i]
		q.begin, q.from, q.to = index(q.start), index(q.first), index(q.last)
	}
}

// rounds is how often the counts of iterations and the coefficients improve each other.
const rounds = 8

// fit returns the coefficients of the requests that use chooses.
func (r *timedRun) fit(use func(i int) bool) hwmodel.Affine {
	for k := range r.stretches { // as if all iterations took the same time
		r.stretches[k].iterations = 30 * r.stretches[k].length
	}
	var c hwmodel.Affine
	for range rounds {
		for range 5 {
			r.count(use)
		}
		r.spread()
		c = r.solve(use)
		r.expect(&c)
	}
	return c
}

// count improves the iterations of every stretch by what the requests say that run
// through it: each had as many as it has further tokens. Of those that disagree the
// median is believed, for those that were pre-empted had fewer tokens than iterations.
func (r *timedRun) count(use func(i int) bool) {
	says := make([][]float64, len(r.stretches))
	for i := range r.requests {
		q := &r.requests[i]
		if !use(i) || q.further < 4 {
			continue
		}
		n := 0.0
		for k := q.from; k < q.to; k++ {
			n += r.stretches[k].iterations
		}
		for k := q.from; k < q.to; k++ {
			says[k] = append(says[k], q.further/n)
		}
	}
	for k, s := range says {
		if len(s) > 0 {
			r.stretches[k].iterations *= math.Sqrt(median(s))
		}
	}
}

// spread puts the work of every request into the stretches in which it was done: its
// tokens in proportion to the iterations, its prompt in proportion to the time.
func (r *timedRun) spread() {
	for k := range r.stretches {
		r.stretches[k].sums = sums{}
	}
	for i := range r.requests {
		q := &r.requests[i]
		pairs := q.prompt * (q.prompt + 1) / 2
		window := q.first - q.start
		for k := q.begin; k < q.from; k++ {
			r.stretches[k].add(sums{prompt: q.prompt, sequences: q.chunks, pairs: pairs, prefills: q.alone}, r.stretches[k].length/window)
		}
		iterations := 0.0
		for k := q.from; k < q.to; k++ {
			iterations += r.stretches[k].iterations
		}
		done := 0.0
		for k := q.from; k < q.to && iterations > 0; k++ {
			n := q.further * r.stretches[k].iterations / iterations
			r.stretches[k].add(sums{sequences: 1, context: q.prompt + 1 + done + n/2}, n)
			done += n
		}
	}
}

// expect sets the iterations of every stretch to what it had room for by the
// coefficients. The requests then correct them, but they cannot say how iterations are
// spread within a stretch that all of them share.
func (r *timedRun) expect(c *hwmodel.Affine) {
	for k := range r.stretches {
		s := &r.stretches[k]
		said := c.Iteration*s.iterations + c.PrefillToken*s.prompt + c.Sequence*s.sequences + c.ContextToken*s.context + c.ChunkContext*s.pairs + c.PrefillIteration*s.prefills
		if said > 0 {
			s.iterations *= min(max(s.length/said, 0.5), 2)
		}
	}
}

// columns of the equations, in the order of coefficients.
const requestColumns = 6

// decode returns the equation of a request's tokens after the first.
func (r *timedRun) decode(q *timed) (row [requestColumns]float64, took float64) {
	var all sums
	for k := q.from; k < q.to; k++ {
		all.add(r.stretches[k].sums, 1)
	}
	return [...]float64{q.further, all.prompt, all.sequences, all.context, all.pairs, all.prefills}, q.last - q.first
}

// prefill returns the equation of a request's first token. The iterations before it are
// as many as the prompts in between need under the budget, one at least.
func (r *timedRun) prefill(q *timed) (row [requestColumns]float64, took float64) {
	var all sums
	for k := q.begin; k < q.from; k++ {
		all.add(r.stretches[k].sums, 1)
	}
	iterations := 1.0
	if r.rules.Budget > 0 {
		iterations = max(math.Ceil(q.prompt/float64(r.rules.Budget)), (all.prompt+all.sequences)/float64(r.rules.Budget))
	}
	return [...]float64{iterations, all.prompt, all.sequences, all.context, all.pairs, all.prefills}, q.first - q.start
}

// equation is one of the system, over its time.
type equation struct {
	row  [requestColumns]float64
	took float64
}

// solve finds the coefficients by least squares of relative errors, none below 0.
func (r *timedRun) solve(use func(i int) bool) hwmodel.Affine {
	eqs := r.windows()
	for i := range r.requests {
		if !use(i) {
			continue
		}
		for _, of := range []func(*timed) ([requestColumns]float64, float64){r.decode, r.prefill} {
			if row, took := of(&r.requests[i]); took > 0 && row[0] > 0 {
				eqs = append(eqs, equation{row, took})
			}
		}
	}
	x := robust(eqs)
	// What took longer than usual has little weight above, but will be met again: the run as
	// a whole must come out right.
	var said, took float64
	for _, e := range r.windows() {
		said += dot(e.row[:], x)
		took += e.took
	}
	if said > 0 {
		for i := range x {
			x[i] *= took / said
		}
	}
	return hwmodel.Affine{Iteration: x[0], PrefillToken: x[1], Sequence: x[2], ContextToken: x[3], ChunkContext: x[4], PrefillIteration: x[5]}
}

// windowIterations is how many iterations a window has.
const windowIterations = 20

// windows returns an equation for each piece of the run.
func (r *timedRun) windows() []equation {
	var eqs []equation
	var w stretch
	for k := range r.stretches {
		s := &r.stretches[k]
		w.length += s.length
		w.iterations += s.iterations
		w.add(s.sums, 1)
		if w.iterations >= windowIterations {
			if w.sequences > 0 {
				eqs = append(eqs, equation{[...]float64{w.iterations, w.prompt, w.sequences, w.context, w.pairs, w.prefills}, w.length})
			}
			w = stretch{}
		}
	}
	return eqs
}

// robust solves the system, giving equations beyond twice the usual error the weight of
// their size rather than of its square.
func robust(eqs []equation) []float64 {
	p := newNonNegative(requestColumns)
	weight := make([]float64, len(eqs))
	for i := range weight {
		weight[i] = 1
	}
	var x []float64
	for range 10 {
		p.clear()
		for i := range eqs {
			row := eqs[i].row
			for j := range row {
				row[j] /= eqs[i].took
			}
			p.add(row[:], 1, weight[i])
		}
		x = p.solve()
		errs := make([]float64, len(eqs))
		for i := range eqs {
			errs[i] = math.Abs(dot(eqs[i].row[:], x)/eqs[i].took - 1)
		}
		usual := max(median(slices.Clone(errs)), 0.002)
		for i, e := range errs {
			weight[i] = min(1, 2*usual/max(e, 1e-9))
		}
	}
	return x
}

// score returns the errors on the requests that were not used.
func (r *timedRun) score(c *hwmodel.Affine, used func(i int) bool) (decode, prefill hwmodel.Fit) {
	x := [requestColumns]float64{c.Iteration, c.PrefillToken, c.Sequence, c.ContextToken, c.ChunkContext, c.PrefillIteration}
	one := func(of func(*timed) ([requestColumns]float64, float64)) hwmodel.Fit {
		f := hwmodel.Fit{Source: "times of requests"}
		var errs []float64
		for i := range r.requests {
			row, took := of(&r.requests[i])
			if took <= 0 || row[0] == 0 {
				continue
			}
			if used(i) {
				f.Rows++
				continue
			}
			errs = append(errs, math.Abs(dot(row[:], x[:])/took-1))
		}
		slices.Sort(errs)
		if n := len(errs); n > 0 {
			f.HeldOutRows, f.HeldOutMean, f.HeldOutMedian, f.HeldOutP90 = n, mean(errs), errs[n/2], errs[n*9/10]
		}
		return f
	}
	return one(r.decode), one(r.prefill)
}
