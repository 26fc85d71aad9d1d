package replay

import (
	"context"
	"fmt"
	"time"

	"orrery/cluster"
	"orrery/sim"
	"orrery/workloads"
)

// never is the time of what has not happened.
const never = cluster.Never

// Client asks a server. Prepare readies the request before it is due, so that
// building a prompt costs no lateness; the function it returns is called once, when the
// request is due, and follows the answer to its end. It notes in a what it sees, and
// returns soon after ctx has ended.
type Client interface {
	Prepare(r *workloads.Request) (send func(ctx context.Context, a *Answer))
}

// Answer is what became of a request. Times are since the start of the run, read
// from the monotonic clock.
type Answer struct {
	workloads.Request
	Sent   sim.Time   // handed to the connection, or cluster.Never
	Chunks []sim.Time // arrivals of the parts of the answer that carry text
	Ended  sim.Time   // when the answer, or the wait for it, was over

	// Usage tells that the server has counted the tokens, as follows.
	Usage                      bool
	PromptTokens, AnswerTokens int32

	Failure Failure // None if the answer is complete
	Detail  string  // what the failure said

	begun time.Time
}

// now returns the time since the start of the run.
func (a *Answer) now() sim.Time { return sim.Time(time.Since(a.begun)) }

// Config is the load and its limits.
type Config struct {
	Source workloads.Source
	Client Client
	// Timeout is how long after it was due a request may take.
	Timeout time.Duration
	// MaxInFlight is how many requests may be unanswered. One more ends the run, since
	// to hold requests back would turn the load into another, closed-loop one.
	MaxInFlight int
	// Until cuts the run, 0 for never. What is unanswered then is unfinished.
	Until sim.Time
	// Drain is how long unanswered requests may go on when the run is stopped.
	Drain time.Duration
	// Progress, if set, is told how many requests have been sent and have ended.
	Progress func(sent, ended int64)
}

// Outcome is how a run went.
type Outcome struct {
	Answers      []*Answer // in the order of arrival
	Began        time.Time
	End          sim.Time
	InFlightPeak int
	Stopped      bool  // the context ended before the traffic did
	Aborted      error // why the run could not go on, nil if it could
}

// lead is how long before it is due a request is readied. Prompts of some ten thousand
// tokens are made in a millisecond.
const lead = 20 * time.Millisecond

// Run sends the traffic and returns when the last answer has ended. If ctx ends it
// sends no more, gives the unanswered requests [Config.Drain] to end, and cuts those
// that do not.
func Run(ctx context.Context, c Config) *Outcome {
	serving, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	r := &runner{Config: c, ctx: serving, out: &Outcome{Began: time.Now()}, ended: make(chan *Answer, 64)}
	if c.Until > 0 {
		atEnd := time.AfterFunc(time.Duration(c.Until), cut)
		defer atEnd.Stop()
	}
	r.send(ctx)
	r.drain(ctx, cut)
	r.out.End = max(r.out.End, r.now())
	if c.Until > 0 && !r.out.Stopped && r.out.Aborted == nil {
		r.out.End = min(r.out.End, c.Until)
	}
	return r.out
}

// runner is a run under way. All but [runner.serve] happens on one goroutine.
type runner struct {
	Config
	ctx      context.Context // of the requests
	out      *Outcome
	ended    chan *Answer
	inFlight int
	done     int64
}

func (r *runner) now() sim.Time { return sim.Time(time.Since(r.out.Began)) }

// next returns when the next request is due, and whether there is one.
func (r *runner) next() (sim.Time, bool) {
	at, ok := r.Source.Peek()
	return at, ok && (r.Until == 0 || at < r.Until)
}

// send sends requests until there are no more, or none may be sent.
func (r *runner) send(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, more := r.next()
		if !more && r.inFlight == 0 {
			return
		}
		var wake <-chan time.Time
		if more {
			timer.Reset(max(0, time.Duration(due-r.now())-lead))
			wake = timer.C
		}
		select {
		case <-ctx.Done():
			r.out.Stopped = true
			return
		case a := <-r.ended: // before the next request, so that those in flight are not overcounted
			r.end(a)
			continue
		default:
		}
		select {
		case <-ctx.Done():
			r.out.Stopped = true
			return
		case a := <-r.ended:
			r.end(a)
		case <-wake:
			if r.inFlight >= r.MaxInFlight {
				r.out.Aborted = fmt.Errorf("%d requests are unanswered after %v, as many as --max-in-flight allows; the server does not keep up with this rate", r.inFlight, time.Duration(r.now()).Round(time.Millisecond))
				return
			}
			r.launch()
		}
	}
}

// launch starts the next request on its way.
func (r *runner) launch() {
	a := &Answer{Request: r.Source.Next(), Sent: never, begun: r.out.Began}
	r.out.Answers = append(r.out.Answers, a)
	r.inFlight++
	r.out.InFlightPeak = max(r.out.InFlightPeak, r.inFlight)
	r.progress()
	go r.serve(a)
}

// serve readies a request, waits until it is due, and follows it to its end.
func (r *runner) serve(a *Answer) {
	send := r.Client.Prepare(&a.Request)
	due := r.out.Began.Add(time.Duration(a.Arrived))
	ctx, cancel := context.WithDeadlineCause(r.ctx, due.Add(r.Timeout), errTimedOut)
	defer cancel()
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		send(ctx, a)
	case <-ctx.Done():
		a.fail(ctx, 0, ctx.Err())
	}
	a.Ended = max(a.now(), a.Arrived)
	r.ended <- a
}

// end takes in a request that has ended, which may make a client of a closed loop send
// its next one.
func (r *runner) end(a *Answer) {
	r.inFlight--
	r.done++
	r.out.End = max(r.out.End, a.Ended)
	if s, ok := r.Source.(workloads.Responder); ok {
		s.Done(&a.Request, a.Ended)
	}
	r.progress()
}

func (r *runner) progress() {
	if r.Progress != nil {
		r.Progress(int64(len(r.out.Answers)), r.done)
	}
}

// drain waits for the requests in flight, briefly if the run was stopped.
func (r *runner) drain(ctx context.Context, cut func()) {
	patience := time.NewTimer(r.Drain)
	defer patience.Stop()
	for r.inFlight > 0 {
		select {
		case a := <-r.ended:
			r.end(a)
		case <-patience.C:
			cut()
		}
	}
}
