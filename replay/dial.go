package replay

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"orrery/workloads"
)

// Dial finds a server and what it understands: whether it counts tokens for us, takes
// ignore_eos and prompts of token ids, and how many tokens it makes of a word. It asks
// a handful of short questions, each of which may take timeout. What it found is in
// [Server.Describe].
func Dial(ctx context.Context, t Target, timeout time.Duration) (*Server, error) {
	s, err := newServer(t)
	if err != nil {
		return nil, err
	}
	d := &dialer{Server: s, timeout: timeout}
	if s.target.Model == "" {
		modelCtx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		if s.target.Model, err = s.firstModel(modelCtx); err != nil {
			return nil, fmt.Errorf("%s %s", s.URL(), oneLine(err.Error()))
		}
	}
	if err := d.fields(ctx); err != nil {
		return nil, err
	}
	return s, d.calibrate(ctx)
}

// dialer asks a server about itself.
type dialer struct {
	*Server
	timeout time.Duration
	asked   int64
}

// attempts is how often a question that fails is asked: a server that fails now and then
// is to be measured, not refused.
const attempts = 3

// ask asks for a token or two after a prompt of the given length, and returns the answer
// that came, nil if ctx ended before one did. It fails at once if the server says that the question makes no sense.
func (d *dialer) ask(ctx context.Context, prompt int32) (*Answer, error) {
	var a *Answer
	for try := range attempts {
		if try > 0 {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(200 * time.Millisecond):
			}
		}
		d.asked++
		a = &Answer{Sent: never, begun: time.Now()}
		a.Request = workloads.Request{ID: -d.asked, Prompt: prompt, Output: 2} // two tokens: some servers end before one
		one, cancel := context.WithTimeoutCause(ctx, d.timeout, errTimedOut)
		d.Prepare(&a.Request)(one, a)
		cancel()
		if a.Failure == None || a.Failure == Refused || rejects(a.Failure) {
			break
		}
	}
	if a.Failure != None {
		return a, fmt.Errorf("%s %s (%s)", d.URL(), a.Failure, a.Detail)
	}
	return a, ctx.Err()
}

// rejects tells whether a failure says that the server does not take the question.
func rejects(f Failure) bool {
	status, ok := strings.CutPrefix(string(f), statusKind)
	return ok && status[0] == '4' && status != "408" && status != "429"
}

// fields finds out which fields the server takes, those first that are the likeliest to be
// refused.
func (d *dialer) fields(ctx context.Context) error {
	a, err := d.ask(ctx, probeShort)
	for _, give := range []*bool{&d.ignoreEOS, &d.usage} {
		if err == nil || a == nil || !rejects(a.Failure) {
			break
		}
		*give = false
		var again *Answer
		if again, err = d.ask(ctx, probeShort); err == nil {
			a = again
		}
	}
	if err != nil {
		return err
	}
	d.usage = d.usage && a.Usage
	return nil
}

// Lengths of the prompts by which tokens are counted, in words. The longer the other
// one, the better the count; servers differ in what they take.
const probeShort = 40

var probesLong = []int{640, 240, 100}

// calibrate finds out how to make prompts of a wanted length: of token ids if the server
// takes them as such, else of words, whose tokens the server counts.
func (d *dialer) calibrate(ctx context.Context) error {
	if !d.usage {
		d.prompt.perWord = tokensPerWord
		return nil
	}
	if d.target.API == Completions {
		d.prompt.ids = true
		a, err := d.ask(ctx, probeShort)
		if err == nil && a.Usage && a.PromptTokens >= probeShort && a.PromptTokens <= probeShort+2 {
			d.prompt.overhead = float64(a.PromptTokens - probeShort) // such as a mark of the beginning
			return nil
		}
		d.prompt.ids = false
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	d.prompt.perWord, d.prompt.overhead = 1, 0 // so that the probes have as many words
	short, err := d.ask(ctx, probeShort)
	if err != nil {
		return err
	}
	perWord, overhead := float64(short.PromptTokens)/probeShort, 0.0 // should the server take no longer one
	for _, words := range probesLong {
		long, err := d.ask(ctx, int32(words))
		if err != nil && long != nil && rejects(long.Failure) {
			continue // longer than this server takes
		}
		if err != nil {
			return err
		}
		perWord = float64(long.PromptTokens-short.PromptTokens) / float64(words-probeShort)
		overhead = math.Max(0, float64(short.PromptTokens)-probeShort*perWord)
		break
	}
	d.prompt.perWord, d.prompt.overhead = perWord, overhead
	if !(d.prompt.perWord > 0.2 && d.prompt.perWord < 20) {
		return fmt.Errorf("%s counts %.3g prompt tokens for a word; want a server that counts tokens, or one that says nothing of them", d.URL(), d.prompt.perWord)
	}
	return nil
}

// tokensPerWord stands for what a server does not say: about 1.1 tokens a word for
// short, common words under byte-pair vocabularies of 32,000 and more.
const tokensPerWord = 1.1

// Describe says how prompts are made and what the server did not take, for people.
func (s *Server) Describe() (prompts string, doubts []string) {
	switch {
	case s.prompt.ids:
		prompts = "token ids"
	case s.usage:
		prompts = fmt.Sprintf("words of %.3g tokens, %.3g tokens of overhead, as the server counts", s.prompt.perWord, s.prompt.overhead)
	default:
		prompts = fmt.Sprintf("words, taken for %.2g tokens each", s.prompt.perWord)
		doubts = append(doubts, "the server does not count tokens: prompts have about the wanted length, and every chunk counts as one token")
	}
	if !s.ignoreEOS {
		doubts = append(doubts, "the server refuses ignore_eos: answers may be shorter than asked for")
	}
	return prompts, doubts
}

// Model returns the model as the server calls it.
func (s *Server) Model() string { return s.target.Model }

// URL returns the base of the server's address, without a password.
func (s *Server) URL() string { return withoutUser(s.base) }

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
