package replay

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strconv"
	"syscall"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/ssestream"
)

// Failure is the kind of a failure, in words, so that reports can count them. Answers
// with a bad HTTP status are "HTTP " and the status.
type Failure string

// The kinds of failure.
const (
	None            Failure = ""
	TimedOut        Failure = "timed out"
	Refused         Failure = "connection refused"
	Reset           Failure = "connection reset"
	Closed          Failure = "connection closed without an answer"
	Torn            Failure = "torn stream"
	BadStream       Failure = "unreadable stream"
	StreamError     Failure = "error in the stream"
	NotAStream      Failure = "answer is no stream"
	Empty           Failure = "empty answer"
	Unreachable     Failure = "server not reachable"
	CutByEnd        Failure = "cut by the end of the run" // no fault of the server's
	statusKind              = "HTTP "
	longestFailText         = 200 // characters kept of what a failure says
)

// errTimedOut is the cause of a context that ended because a request took too long.
var errTimedOut = errors.New("timed out")

// fail notes a failure by what ended the request: its context, the status of the
// answer (0 if there was none), or err.
func (a *Answer) fail(ctx context.Context, status int, err error) {
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), errTimedOut):
		a.Failure = TimedOut
	case ctx.Err() != nil:
		a.Failure = CutByEnd
	case status >= 300:
		a.Failure = Failure(statusKind + strconv.Itoa(status))
	default:
		a.Failure = kindOf(err, len(a.Chunks) > 0)
	}
	if err == nil {
		return
	}
	a.Detail = oneLine(err.Error())
	var api *openai.Error
	if errors.As(err, &api) && api.Message != "" {
		a.Detail = oneLine(api.Message)
	}
	if r := []rune(a.Detail); len(r) > longestFailText {
		a.Detail = string(r[:longestFailText]) + "..."
	}
}

// kindOf sorts an error. Begun tells whether a part of the answer had come.
func kindOf(err error, begun bool) Failure {
	var inStream *ssestream.StreamError
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	var network net.Error
	switch {
	case errors.As(err, &inStream):
		return StreamError
	case errors.Is(err, errNotAStream):
		return NotAStream
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Reset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		if begun {
			return Torn
		}
		return Closed
	case errors.As(err, &syntax), errors.As(err, &wrongType), errors.Is(err, bufio.ErrTooLong):
		return BadStream
	case errors.As(err, &network):
		return Unreachable
	}
	return BadStream // openai-go has no type for text that is not what it expects
}
