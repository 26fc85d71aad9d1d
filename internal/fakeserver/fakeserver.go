// Package fakeserver is a server for tests that speaks the streaming API of OpenAI, on a
// schedule instead of a model, and misbehaves on request.
package fakeserver

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Trouble is a way to misbehave.
type Trouble string

// The ways to misbehave. Those in mid-stream follow half of the tokens.
const (
	Fine        Trouble = ""
	TooMany     Trouble = "429"
	Broken      Trouble = "500"
	BrokenPlain Trouble = "500-plain" // a status with a text that is no JSON
	ResetFirst  Trouble = "reset-first"
	ResetMiddle Trouble = "reset-middle"
	TornEnd     Trouble = "torn"     // the stream ends cleanly, but before its end
	CutChunk    Trouble = "cut"      // the connection closes in the middle of a chunk
	BadJSON     Trouble = "bad-json" // in mid-stream
	ErrorEvent  Trouble = "error-event"
	Page        Trouble = "page" // HTML instead of a stream
	NoTokens    Trouble = "no-tokens"
	Hang        Trouble = "hang"       // no answer, ever
	HangMiddle  Trouble = "hang-mid"   // no more of it, ever
	SlowLoris   Trouble = "slow-loris" // byte by byte
	EndlessLine Trouble = "endless"    // a line without an end, as fast as it is read
)

// Server is the handler. The zero server answers at once.
type Server struct {
	FirstToken time.Duration // from the request to the first token
	Gap        time.Duration // between tokens
	PerChunk   int           // tokens in a chunk, 0 for 1
	PerWord    float64       // prompt tokens counted for a word, 0 for 1
	Overhead   int           // prompt tokens counted beside those of the words

	LongestPrompt int // tokens of the longest prompt taken, 0 for any

	NoUsage     bool // counts no tokens
	NoIDs       bool // refuses prompts of token ids
	NoIgnoreEOS bool // refuses ignore_eos
	Short       int  // tokens that every answer lacks

	// Trouble says how the n-th question misbehaves, from 0. Questions for a token or two
	// are not counted and always answered, since clients get to know a server by them.
	Trouble func(n int) Trouble

	// Loads is the number of questions counted.
	Loads atomic.Int64
	// LastPrompt is the latest prompt of them, as it came.
	LastPrompt atomic.Value
}

// question is what is read of a request.
type question struct {
	Prompt   json.RawMessage `json:"prompt"`
	Messages []struct {
		Content string `json:"content"`
	} `json:"messages"`
	MaxTokens     int   `json:"max_tokens"`
	Stream        bool  `json:"stream"`
	IgnoreEOS     *bool `json:"ignore_eos"`
	StreamOptions *struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

// ServeHTTP answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch strings.TrimPrefix(r.URL.Path, "/v1/") {
	case "models":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"object":"list","data":[{"id":"fake-7b","object":"model"}]}`)
	case "completions", "chat/completions":
		s.answer(w, r, strings.HasSuffix(r.URL.Path, "chat/completions"))
	default:
		refuse(w, http.StatusNotFound, "no such endpoint")
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"message":%q,"type":"fake","param":"","code":""}}`, message)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, chat bool) {
	began := time.Now()
	var q question
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || !q.Stream {
		refuse(w, http.StatusBadRequest, "want a question to be streamed")
		return
	}
	if s.NoIgnoreEOS && q.IgnoreEOS != nil {
		refuse(w, http.StatusBadRequest, "unknown field ignore_eos")
		return
	}
	prompt, ok := s.count(&q)
	if !ok {
		refuse(w, http.StatusUnprocessableEntity, "want a prompt of text")
		return
	}
	if s.LongestPrompt > 0 && prompt > s.LongestPrompt {
		refuse(w, http.StatusBadRequest, "the prompt is too long")
		return
	}
	trouble := Fine
	if q.MaxTokens > 2 {
		n := s.Loads.Add(1) - 1
		s.LastPrompt.Store(string(q.Prompt))
		if s.Trouble != nil {
			trouble = s.Trouble(int(n))
		}
	}
	usage := q.StreamOptions != nil && q.StreamOptions.IncludeUsage && !s.NoUsage
	a := &answer{Server: s, w: w, r: r, chat: chat, began: began, trouble: trouble, usage: usage, prompt: prompt, tokens: max(1, q.MaxTokens-s.Short)}
	a.give()
}

// count returns the tokens of a prompt.
func (s *Server) count(q *question) (int, bool) {
	var ids []int64
	if json.Unmarshal(q.Prompt, &ids) == nil && len(ids) > 0 {
		return len(ids) + s.Overhead, !s.NoIDs
	}
	var text string
	if len(q.Messages) > 0 {
		text = q.Messages[0].Content
	} else if json.Unmarshal(q.Prompt, &text) != nil {
		return 0, false
	}
	per := s.PerWord
	if per == 0 {
		per = 1
	}
	return int(per*float64(len(strings.Fields(text)))) + s.Overhead, true
}

// answer is one answer under way.
type answer struct {
	*Server
	w       http.ResponseWriter
	r       *http.Request
	chat    bool
	began   time.Time
	trouble Trouble
	usage   bool
	prompt  int
	tokens  int
}

// give gives the answer, or does not.
func (a *answer) give() {
	switch a.trouble {
	case TooMany:
		refuse(a.w, http.StatusTooManyRequests, "come back later")
		return
	case Broken:
		refuse(a.w, http.StatusInternalServerError, "out of memory")
		return
	case BrokenPlain:
		http.Error(a.w, "upstream is gone", http.StatusInternalServerError)
		return
	case Page:
		a.w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(a.w, "<html>Welcome</html>")
		return
	case ResetFirst:
		a.reset()
		return
	case Hang:
		<-a.r.Context().Done()
		return
	}
	a.w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	if a.trouble != NoTokens && !a.stream() {
		return
	}
	if a.usage {
		a.send(fmt.Sprintf(`{"choices":[],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}`, a.prompt, a.tokens, a.prompt+a.tokens))
	}
	a.send("[DONE]")
}

// stream sends the tokens, each when it is due, and tells whether it got through.
func (a *answer) stream() bool {
	per := max(a.PerChunk, 1)
	if a.chat {
		a.send(`{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`)
	}
	for n := 0; n < a.tokens; n += per {
		if n >= a.tokens/2 && !a.middle() {
			return false
		}
		last := min(n+per, a.tokens) - 1
		if !a.wait(a.FirstToken + time.Duration(last)*a.Gap) {
			return false
		}
		text := strings.Repeat(" a", last-n+1)
		reason := "null"
		if last == a.tokens-1 {
			reason = `"length"`
		}
		if a.chat {
			a.send(fmt.Sprintf(`{"choices":[{"index":0,"delta":{"content":%q},"finish_reason":%s}]}`, text, reason))
		} else {
			a.send(fmt.Sprintf(`{"choices":[{"index":0,"text":%q,"finish_reason":%s}]}`, text, reason))
		}
	}
	return true
}

// middle does what goes wrong in mid-stream, and tells whether the stream goes on.
func (a *answer) middle() bool {
	switch a.trouble {
	case TornEnd:
		return false
	case CutChunk:
		a.raw("data: {\"choices\":[{\"ind")
		panic(http.ErrAbortHandler)
	case ResetMiddle:
		a.reset()
		return false
	case BadJSON:
		a.send(`{"choices":[{"index":0,"text":" a"`)
	case ErrorEvent:
		a.send(`{"error":{"message":"the engine died","type":"fake"}}`)
		return false
	case HangMiddle:
		<-a.r.Context().Done()
		return false
	case EndlessLine:
		a.raw("data: ")
		for piece := strings.Repeat("x", 1<<16); a.r.Context().Err() == nil; {
			a.raw(piece)
		}
		return false
	case SlowLoris:
		for _, b := range []byte(strings.Repeat("x", 1<<20)) {
			if !a.wait(time.Since(a.began) + 5*time.Millisecond) {
				return false
			}
			a.raw(string(b))
		}
	}
	return true
}

// wait waits until the given time after the question, or until the client has gone.
func (a *answer) wait(until time.Duration) bool {
	t := time.NewTimer(time.Until(a.began.Add(until)))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-a.r.Context().Done():
		return false
	}
}

func (a *answer) send(data string) { a.raw("data: " + data + "\n\n") }

func (a *answer) raw(text string) {
	fmt.Fprint(a.w, text)
	if f, ok := a.w.(http.Flusher); ok {
		f.Flush()
	}
}

// reset closes the connection so that the client's side reports a reset.
func (a *answer) reset() {
	h, ok := a.w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	c, _, err := h.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}
