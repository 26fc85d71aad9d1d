package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"

	"orrery/workloads"
)

// The endpoints that can be asked.
const (
	Completions = "completions"
	Chat        = "chat"
)

// APIs returns the names of the endpoints.
func APIs() []string { return []string{Completions, Chat} }

// Target says where a server is and how to speak to it.
type Target struct {
	URL   string // with or without /v1
	API   string // Completions or Chat
	Model string // as the server calls it; empty for the first that it lists
	Key   string // API key, empty for none
	Seed  uint64 // of the texts of prompts
	// Connections is how many idle connections are kept.
	Connections int
}

// Server is a [Client] of a real server. [Dial] makes one and finds out what the
// server understands.
type Server struct {
	target Target
	base   string
	client openai.Client
	prompt prompter

	// What the server takes of the fields that are not everyone's.
	usage     bool // stream_options.include_usage
	ignoreEOS bool // ignore_eos
}

// ErrBadTarget says that a target is no address of a server.
var ErrBadTarget = errors.New("target is no URL of a server")

// newServer returns a client that has not spoken to the server yet.
func newServer(t Target) (*Server, error) {
	u, err := url.Parse(t.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%w: %q; want one such as http://localhost:8000", ErrBadTarget, t.URL)
	}
	base := strings.TrimSuffix(strings.TrimRight(t.URL, "/"), "/v1") + "/v1/"
	// A client made by hand takes nothing from the environment: a key goes to the
	// server that it was meant for.
	opts := []option.RequestOption{
		option.WithBaseURL(base),
		option.WithMaxRetries(0), // a retry would hide a failure and its delay
		option.WithHTTPClient(&http.Client{Transport: watch{newTransport(t.Connections)}}),
	}
	if t.Key != "" {
		opts = append(opts, option.WithAPIKey(t.Key))
	}
	return &Server{
		target: t, base: base, client: openai.Client{Options: opts},
		prompt: prompter{seed: t.Seed, perWord: 1}, usage: true, ignoreEOS: true,
	}, nil
}

// Prepare implements [Client].
func (s *Server) Prepare(r *workloads.Request) func(context.Context, *Answer) {
	body, err := s.body(r)
	if err != nil {
		panic(err) // nothing in a body of ours cannot be encoded
	}
	return func(ctx context.Context, a *Answer) { s.ask(ctx, body, a) }
}

// body returns the request as JSON.
func (s *Server) body(r *workloads.Request) ([]byte, error) {
	usage := openai.ChatCompletionStreamOptionsParam{}
	if s.usage {
		usage.IncludeUsage = openai.Bool(true)
	}
	extra := map[string]any{"stream": true}
	if s.ignoreEOS {
		extra["ignore_eos"] = true
	}
	if s.target.API == Chat {
		p := openai.ChatCompletionNewParams{
			Model: s.target.Model, MaxTokens: openai.Int(int64(r.Output)), Temperature: openai.Float(0), StreamOptions: usage,
			Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(s.prompt.text(r))},
		}
		p.SetExtraFields(extra)
		return json.Marshal(p)
	}
	p := openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(s.target.Model), MaxTokens: openai.Int(int64(r.Output)), Temperature: openai.Float(0), StreamOptions: usage,
	}
	if s.prompt.ids {
		p.Prompt.OfArrayOfTokens = s.prompt.tokens(r)
	} else {
		p.Prompt.OfString = openai.String(s.prompt.text(r))
	}
	p.SetExtraFields(extra)
	return json.Marshal(p)
}

// ask sends a request and follows its answer.
func (s *Server) ask(ctx context.Context, body []byte, a *Answer) {
	w := &stream{sent: func() { a.Sent = a.now() }}
	var raw *http.Response
	path := "completions"
	if s.target.API == Chat {
		path = "chat/completions"
	}
	err := s.client.Post(withWatch(ctx, w), path, body, &raw, option.WithHeader("Accept", "text/event-stream"))
	if err == nil {
		if s.target.API == Chat {
			err = follow(raw, a, chatPart)
		} else {
			err = follow(raw, a, completionPart)
		}
	}
	switch {
	case err != nil || ctx.Err() != nil && !w.done:
		a.fail(ctx, w.status, err)
	case !w.done && len(a.Chunks) == 0:
		a.Failure, a.Detail = Closed, "the stream ended before the first token"
	case !w.done:
		a.Failure, a.Detail = Torn, "the stream ended without [DONE]"
	case len(a.Chunks) == 0:
		a.Failure, a.Detail = Empty, "the stream had no token"
	}
}

// part is what one event of a stream brings.
type part struct {
	text  bool // tokens of the answer
	usage *openai.CompletionUsage
}

// follow reads a stream to its end.
func follow[T any](res *http.Response, a *Answer, read func(*T) part) error {
	events := ssestream.NewStream[T](ssestream.NewDecoder(res), nil)
	defer events.Close()
	for events.Next() {
		at := a.now()
		event := events.Current()
		p := read(&event)
		if p.text {
			a.Chunks = append(a.Chunks, at)
		}
		if p.usage != nil {
			a.Usage = true
			a.PromptTokens, a.AnswerTokens = int32(p.usage.PromptTokens), int32(p.usage.CompletionTokens)
		}
	}
	return events.Err()
}

// completionPart reads an event of the completions endpoint. An event without text that
// does not end the answer stands for a token that is no whole character yet.
func completionPart(c *openai.Completion) part {
	p := part{}
	for i := range c.Choices {
		p.text = p.text || c.Choices[i].Text != "" || c.Choices[i].FinishReason == ""
	}
	if c.JSON.Usage.Valid() {
		p.usage = &c.Usage
	}
	return p
}

// chatPart reads an event of the chat endpoint, whose first one often has nothing but
// the role. Thoughts are tokens of the answer as well; servers call them
// reasoning_content or reasoning.
func chatPart(c *openai.ChatCompletionChunk) part {
	p := part{}
	for i := range c.Choices {
		d := &c.Choices[i].Delta
		p.text = p.text || d.Content != "" || len(d.ToolCalls) > 0
		for _, thoughts := range []string{"reasoning_content", "reasoning"} {
			f := d.JSON.ExtraFields[thoughts]
			p.text = p.text || f.Valid() && f.Raw() != `""`
		}
	}
	if c.JSON.Usage.Valid() {
		p.usage = &c.Usage
	}
	return p
}

// errNoModel says that the server lists no model.
var errNoModel = errors.New("lists no model; name it with --model")

// firstModel asks the server what it serves.
func (s *Server) firstModel(ctx context.Context) (string, error) {
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := s.client.Get(ctx, "models", nil, &list); err != nil {
		return "", fmt.Errorf("does not say which models it has (%w); name one with --model", err)
	}
	if len(list.Data) == 0 {
		return "", errNoModel
	}
	return list.Data[0].ID, nil
}
