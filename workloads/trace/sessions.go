package trace

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"orrery/sim"
	"orrery/workloads"
)

// Sessions are conversations. The prompt of each turn is the whole conversation
// so far - system prompt, earlier questions and answers - followed by the new
// question, and the next turn comes when the answer has been read. A prefix cache
// can serve all but the new question; see [workloads.Request.Prefix].
//
// A session's turns, lengths and think times are drawn when it begins, so they do
// not depend on how fast it is served.
type Sessions struct {
	Arrivals   Arrivals     // of new sessions
	Turns      Dist         // number of turns in a session, rounded, at least 1
	Lengths    Lengths      // new question and answer of each turn, tokens
	Think      Think        // from the end of an answer to the next question
	System     SharedPrefix // system prompts that sessions start with; zero for none
	MaxContext int          // a session ends before a turn whose prompt and output would exceed this; 0 for no limit
	N          int64        // number of sessions, 0 for no limit
	Duration   float64      // seconds after which no session begins, 0 for no limit
	Seed       uint64
}

// maxTurns bounds what one draw of [Sessions.Turns] can ask for.
const maxTurns = 1 << 16

// Open implements [Traffic]. The source is a [workloads.Responder].
func (c Sessions) Open() (workloads.Source, error) {
	if c.Arrivals == nil || c.Lengths == nil || c.Turns == nil {
		return nil, errors.New("Sessions lacks a part; want Arrivals, Turns and Lengths")
	}
	if err := firstError(
		notNegativeCount("Sessions.MaxContext", int64(c.MaxContext), "no limit"),
		notNegativeCount("Sessions.N", c.N, "no limit"),
		notNegative("Sessions.Duration", c.Duration, "seconds, 0: no limit"),
	); err != nil {
		return nil, err
	}
	if err := c.Turns.Check(); err != nil {
		return nil, fmt.Errorf("Sessions.Turns: %w", err)
	}
	think, err := c.Think.open("Sessions.Think")
	if err != nil {
		return nil, err
	}
	// A session begins as a request does: with a first question, an answer and,
	// perhaps, a system prompt.
	first, err := Synthetic{Arrivals: c.Arrivals, Lengths: c.Lengths, N: c.N, Duration: c.Duration, Seed: c.Seed}.Open()
	if err != nil {
		return nil, err
	}
	system, err := c.System.open(c.Seed)
	if err != nil {
		return nil, err
	}
	s := &sessions{
		Sessions: c, first: first.(*synthetic), system: system, think: think,
		turns: sim.Stream(c.Seed, "turns"), pauses: sim.Stream(c.Seed, "think"),
		served: map[int64]*session{},
	}
	return s, nil
}

// session is a conversation under way.
type session struct {
	id      int64
	turn    int32 // number of the next turn, or of the one being served
	context int32 // tokens said before that turn
	ahead   []utterance
	names   []uint64 // of the full blocks so far; only ever appended to
}

// utterance is one turn as it will be.
type utterance struct {
	question, answer int32
	think            sim.Time // from the end of this turn's answer to the next turn
}

// sessions is the source behind [Sessions].
type sessions struct {
	Sessions
	first   *synthetic // the first turns
	system  *groups
	think   func(*rand.Rand) sim.Time
	turns   *rand.Rand
	pauses  *rand.Rand
	waiting agenda[*session]   // sessions between two turns
	served  map[int64]*session // sessions with a turn being served, by id
	begun   int64
	id      int64
}

// Peek implements [workloads.Source].
func (s *sessions) Peek() (sim.Time, bool) {
	at, ok := s.waiting.peek()
	if first, more := s.first.Peek(); more && (!ok || first < at) {
		return first, true
	}
	return at, ok
}

// Next implements [workloads.Source].
func (s *sessions) Next() workloads.Request {
	at, ok := s.waiting.peek()
	if first, more := s.first.Peek(); more && (!ok || first < at) {
		return s.say(first, s.begin())
	}
	_, c := s.waiting.pop()
	return s.say(at, c)
}

// begin starts a session and draws the whole of it.
func (s *sessions) begin() *session {
	r := s.first.Next()
	s.begun++
	c := &session{id: s.begun}
	if s.system != nil {
		k := s.system.choose()
		names := s.system.blocks(k)
		c.names = names[:len(names):len(names)] // an append must copy
		c.context = s.system.tokens
	}
	n := int(min(tokens(s.Turns.At(s.turns.NormFloat64())), maxTurns))
	c.ahead = make([]utterance, 0, min(n, 64))
	total := int64(c.context)
	for i := range n {
		u := utterance{question: r.Prompt, answer: r.Output}
		if i > 0 {
			u.question, u.answer = s.first.lengths()
		}
		u.think = s.think(s.pauses)
		total += int64(u.question) + int64(u.answer)
		// The first turn is asked whatever its length: to refuse it is the server's part.
		if i > 0 && (total > MaxTokens || s.MaxContext > 0 && total > int64(s.MaxContext)) {
			// The draws of the turns left out are made all the same, so that MaxContext
			// does not change the sessions that follow.
			for range n - i - 1 {
				s.first.lengths()
				s.think(s.pauses)
			}
			break
		}
		c.ahead = append(c.ahead, u)
	}
	return c
}

// say returns the next turn of a session as a request.
func (s *sessions) say(at sim.Time, c *session) workloads.Request {
	u := c.ahead[0]
	r := workloads.Request{
		ID: s.id, Arrived: at, Session: c.id, Turn: c.turn,
		Prompt: min(c.context+u.question, MaxTokens), Output: u.answer, PrefixBlock: blockTokens,
	}
	// Blocks that the answer will fill are named as well: they are the next turn's
	// history. The last token of an answer is never fed back, so it has no KV yet.
	filled := int((r.Prompt + r.Output - 1) / blockTokens)
	for i := len(c.names); i < filled; i++ {
		c.names = append(c.names, blockName(sessionContent, uint64(c.id), uint64(i)))
	}
	r.Prefix = c.names[:filled:filled]
	s.id++
	s.served[c.id] = c
	return r
}

// Done implements [workloads.Responder]. A turn that was refused counts as said:
// the user goes on.
func (s *sessions) Done(r *workloads.Request, now sim.Time) {
	c := s.served[r.Session]
	if c == nil || c.turn != r.Turn {
		panic(fmt.Sprintf("trace: turn %d of session %d is done, but it was not being served", r.Turn, r.Session))
	}
	delete(s.served, c.id)
	u := c.ahead[0]
	if c.ahead = c.ahead[1:]; len(c.ahead) == 0 {
		return
	}
	c.context += u.question + u.answer
	c.turn++
	s.waiting.push(later(now, u.think), c)
}
