package replay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"time"
)

// newTransport returns a transport that never makes a request wait for a connection:
// there is no limit on connections, and enough idle ones are kept that an open loop does
// not open a new one for each request.
func newTransport(connections int) *http.Transport {
	dial := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dial.DialContext,
		MaxIdleConns:        connections,
		MaxIdleConnsPerHost: connections,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 30 * time.Second,
		DisableCompression:  true, // a compressor on the way would hold tokens back
	}
}

// watch is a round-tripper that notes when a request is sent and whether its stream
// came to its proper end, neither of which openai-go tells.
type watch struct{ http.RoundTripper }

// watched is the key of a request's [stream] in its context.
type watched struct{}

// stream is what is noted of one request's connection.
type stream struct {
	sent   func()
	status int  // of the answer, 0 before it
	done   bool // the end of the stream was seen
	tail   []byte
	line   int // bytes since the last end of a line
	body   io.ReadCloser
}

// errNotAStream is the error of an answer that is of another kind.
var errNotAStream = errors.New("not a stream")

func withWatch(ctx context.Context, s *stream) context.Context {
	return context.WithValue(ctx, watched{}, s)
}

// RoundTrip implements [http.RoundTripper].
func (w watch) RoundTrip(r *http.Request) (*http.Response, error) {
	s, ok := r.Context().Value(watched{}).(*stream)
	if !ok {
		return w.RoundTripper.RoundTrip(r)
	}
	s.sent()
	res, err := w.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if s.status = res.StatusCode; s.status/100 != 2 {
		return res, nil
	}
	if t, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); t != "text/event-stream" {
		res.Body.Close()
		return nil, fmt.Errorf("%w: the answer is %q, want text/event-stream", errNotAStream, t)
	}
	s.body, s.tail = res.Body, []byte{'\n'}
	res.Body = s
	return res, nil
}

// The ends of a stream, with and without the space that the format allows.
var doneLines = [][]byte{[]byte("\ndata: [DONE]"), []byte("\ndata:[DONE]")}

// longestDone is the length of the longer one.
const longestDone = 13

// longestEvent is the most bytes of a line of a stream, far beyond what tokens need: what
// a server sends without ends of lines is kept in memory until one comes.
const longestEvent = 1 << 20

// Read passes the body on, looking for the end of the stream, which may be cut anywhere.
// JSON has no line breaks within strings, so no token can be taken for it.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	s.tail = append(s.tail, p[:n]...)
	for _, line := range doneLines {
		s.done = s.done || bytes.Contains(s.tail, line)
	}
	if at := bytes.LastIndexByte(p[:n], '\n'); at >= 0 {
		s.line = n - 1 - at
	} else if s.line += n; s.line > longestEvent {
		return 0, bufio.ErrTooLong
	}
	if over := len(s.tail) - (longestDone - 1); over > 0 {
		s.tail = append(s.tail[:0], s.tail[over:]...)
	}
	return n, err
}

// Close closes the body.
func (s *stream) Close() error { return s.body.Close() }
