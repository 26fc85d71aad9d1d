package replay

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"orrery/calibrate"
	"orrery/internal/fakeserver"
	"orrery/report"
	"orrery/workloads"
	"orrery/workloads/trace"
)

// serve starts a fake server and gets to know it.
func serve(t *testing.T, f *fakeserver.Server, api string) *Server {
	t.Helper()
	h := httptest.NewServer(f)
	t.Cleanup(func() {
		h.CloseClientConnections()
		h.Close()
	})
	s, err := Dial(t.Context(), Target{URL: h.URL, API: api, Seed: 3, Connections: 100}, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func source(t *testing.T, n int64, rate, prompt, output float64) workloads.Source {
	t.Helper()
	src, err := trace.Synthetic{Arrivals: trace.Poisson{Rate: rate}, Lengths: fixed(prompt, output), N: n, Seed: 5}.Open()
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// Every trouble is counted by its kind, and the other requests are measured as if
// nothing had been.
func TestTroublesAreCountedByKind(t *testing.T) {
	for _, x := range []struct {
		trouble fakeserver.Trouble
		want    Failure
	}{
		{fakeserver.TooMany, "HTTP 429"}, {fakeserver.Broken, "HTTP 500"}, {fakeserver.BrokenPlain, "HTTP 500"},
		{fakeserver.ResetFirst, Reset}, {fakeserver.ResetMiddle, Reset}, {fakeserver.TornEnd, Torn}, {fakeserver.CutChunk, Torn},
		{fakeserver.BadJSON, BadStream}, {fakeserver.ErrorEvent, StreamError}, {fakeserver.Page, NotAStream}, {fakeserver.NoTokens, Empty},
		{fakeserver.Hang, TimedOut}, {fakeserver.HangMiddle, TimedOut}, {fakeserver.SlowLoris, TimedOut},
		{fakeserver.EndlessLine, BadStream},
	} {
		t.Run(string(x.trouble), func(t *testing.T) {
			t.Parallel()
			f := &fakeserver.Server{FirstToken: 2 * time.Millisecond, Gap: time.Millisecond, Trouble: func(n int) fakeserver.Trouble {
				if n%3 == 1 {
					return x.trouble
				}
				return fakeserver.Fine
			}}
			c := load(source(t, 30, 200, 20, 8), serve(t, f, Completions))
			c.Timeout = 10 * time.Second // more than a busy machine needs
			if x.want == TimedOut {
				c.Timeout = 2 * time.Second
			}
			r := Run(t.Context(), c).Result(Frame{})
			if fs := r.Measurement.Failures; len(fs) != 1 || fs[0].Kind != string(x.want) || fs[0].Count != 10 || fs[0].Example == "" {
				t.Fatalf("failures %+v, want 10 of kind %q", fs, x.want)
			}
			if r.Requests.Finished != 20 || r.Requests.Rejected+r.Requests.Unfinished != 10 {
				t.Errorf("%+v", r.Requests)
			}
			if x.want == TimedOut && float64(r.Latency.E2E.WithUnfinished.P90S) < 1.99 {
				t.Errorf("time-outs do not count with their wait: %+v", r.Latency.E2E.WithUnfinished)
			}
		})
	}
}

// A server that goes away under the load is refused connections, not a crash.
func TestAServerThatGoesAway(t *testing.T) {
	h := httptest.NewServer(&fakeserver.Server{})
	s, err := Dial(t.Context(), Target{URL: h.URL, API: Completions, Connections: 10}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	r := Run(t.Context(), load(source(t, 10, 1000, 20, 8), s)).Result(Frame{})
	if r.Requests.Rejected != 10 || r.Measurement.Failures[0].Kind != string(Refused) {
		t.Errorf("%+v %+v", r.Requests, r.Measurement.Failures)
	}
	if _, err := Dial(t.Context(), Target{URL: h.URL, API: Completions, Model: "x", Connections: 10}, time.Second); err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "\n") {
		t.Errorf("dialling it again: %v", err)
	}
	if _, err := Dial(t.Context(), Target{URL: "localhost:8000", API: Completions}, time.Second); !errors.Is(err, ErrBadTarget) {
		t.Errorf("an address without scheme: %v", err)
	}
}

// What is measured is what the server did, later by no more than a client on a busy
// machine needs, and never earlier.
func TestTimesAreTheServers(t *testing.T) {
	for _, api := range APIs() {
		t.Run(api, func(t *testing.T) {
			f := &fakeserver.Server{FirstToken: 200 * time.Millisecond, Gap: 50 * time.Millisecond}
			r := Run(t.Context(), load(source(t, 40, 40, 50, 10), serve(t, f, api))).Result(Frame{})
			if r.Requests.Finished != 40 || r.Tokens.Output != 400 || r.Measurement.Counted != 40 || r.Measurement.Chunks != 400 {
				t.Fatalf("%+v %+v", r.Requests, r.Measurement)
			}
			for _, x := range []struct {
				name      string
				got, want float64
			}{
				{"TTFT", float64(r.Latency.TTFT.P50S), 0.200}, {"TPOT", float64(r.Latency.TPOT.P50S), 0.050}, {"E2E", float64(r.Latency.E2E.P50S), 0.650},
			} {
				if x.got < 0.97*x.want || x.got > 1.5*x.want+0.050 {
					t.Errorf("median %s is %g s, the server's %g", x.name, x.got, x.want)
				}
			}
		})
	}
}

// Prompts have the wanted number of tokens, as the server counts: exactly as token ids,
// and within a few per cent as words.
func TestPromptsHaveTheWantedLength(t *testing.T) {
	for _, x := range []struct {
		name string
		api  string
		f    *fakeserver.Server
		by   float64
	}{
		{"ids", Completions, &fakeserver.Server{Overhead: 1}, 0},
		{"words", Completions, &fakeserver.Server{NoIDs: true, PerWord: 1.3}, 0.02},
		{"template", Chat, &fakeserver.Server{PerWord: 0.9, Overhead: 25}, 0.02},
	} {
		t.Run(x.name, func(t *testing.T) {
			out := Run(t.Context(), load(source(t, 10, 1000, 700, 3), serve(t, x.f, x.api)))
			for _, a := range out.Answers {
				if off := math.Abs(float64(a.PromptTokens)/700 - 1); !a.Usage || off > x.by {
					t.Errorf("a prompt of %d tokens, want 700", a.PromptTokens)
				}
			}
		})
	}
}

// Requests that share a prefix share the text of its whole blocks, and no others do.
func TestSharedPrefixesAreShared(t *testing.T) {
	p := prompter{seed: 1, perWord: 1.25}
	request := func(id int64, names ...uint64) *workloads.Request {
		return &workloads.Request{ID: id, Prompt: 500, Prefix: names, PrefixBlock: 100}
	}
	common := func(a, b []string) int {
		for i := range a {
			if i >= len(b) || a[i] != b[i] {
				return i
			}
		}
		return len(a)
	}
	text := func(r *workloads.Request) []string { return strings.Fields(p.text(r)) }
	if n := common(text(request(1, 7, 8, 9)), text(request(2, 7, 8, 5))); n < 160 || n > 165 {
		t.Errorf("two blocks of 100 tokens are shared, which are 160 words; %d words are alike", n)
	}
	if n := common(text(request(1)), text(request(2))); n > 5 {
		t.Errorf("nothing is shared, and %d words are alike", n)
	}
	ids := func(r *workloads.Request) []int64 { return p.tokens(r) }
	if a, b := ids(request(1, 7, 8, 9)), ids(request(2, 7, 8, 5)); !slices.Equal(a[:200], b[:200]) || slices.Equal(a[200:300], b[200:300]) || len(a) != 500 {
		t.Error("token ids of shared blocks differ, or those of others do not")
	}
}

// Chunks are not tokens: where a chunk carries several, the server's count is used, and
// the result says so.
func TestChunksAreNotTokens(t *testing.T) {
	f := &fakeserver.Server{FirstToken: time.Millisecond, Gap: 10 * time.Millisecond, PerChunk: 4}
	out := Run(t.Context(), load(source(t, 20, 100, 30, 16), serve(t, f, Completions)))
	r := out.Result(Frame{})
	if m := r.Measurement; m.Chunks != 80 || m.Tokens != 320 || r.Tokens.Output != 320 {
		t.Errorf("%+v", m)
	}
	if !slices.ContainsFunc(r.Flags, func(s string) bool { return strings.Contains(s, "320 tokens came in 80 chunks") }) {
		t.Errorf("flags %q", r.Flags)
	}
	if got := float64(r.Latency.TPOT.P50S); got < 0.004 || got > 0.020 {
		t.Errorf("TPOT %g s, want 8 ms: the last of 16 tokens comes 120 ms after the first chunk", got)
	}
	if r.Latency.TBT.Count != 300 {
		t.Errorf("%d gaps, want 15 of each request", r.Latency.TBT.Count)
	}
}

// Servers that know less are measured all the same, and the result says what it lacks.
func TestServersThatKnowLess(t *testing.T) {
	f := &fakeserver.Server{NoUsage: true, NoIgnoreEOS: true, Short: 2}
	s := serve(t, f, Completions)
	r := Run(t.Context(), load(source(t, 5, 100, 30, 6), s)).Result(Frame{})
	if r.Requests.Finished != 5 || r.Tokens.Output != 20 || r.Measurement.Counted != 0 || r.Measurement.Short != 5 {
		t.Errorf("%+v", r.Measurement)
	}
	_, doubts := s.Describe()
	if len(doubts) != 2 || !strings.Contains(doubts[0], "does not count tokens") || !strings.Contains(doubts[1], "ignore_eos") {
		t.Errorf("%q", doubts)
	}
}

// A measurement is read back as it was written, and has the requests that were answered.
func TestAMeasurementIsStored(t *testing.T) {
	f := &fakeserver.Server{FirstToken: time.Millisecond, Trouble: func(n int) fakeserver.Trouble {
		if n == 2 {
			return fakeserver.Broken
		}
		return fakeserver.Fine
	}}
	out := Run(t.Context(), load(source(t, 12, 300, 30, 6), serve(t, f, Completions)))
	r := out.Result(Frame{Identity: report.Identity{Device: "http://me:secret@host/v1/"}})
	path := t.TempDir() + "/" + MeasurementFile
	if err := out.Measured("a100-pcie-80gb", "m", "vllm-v1 (budget 512)", r).Write(path); err != nil {
		t.Fatal(err)
	}
	m, err := calibrate.ReadMeasurements(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Requests) != 11 {
		t.Fatalf("%d requests, want the 11 that were answered", len(m.Requests))
	}
	a, b := out.Answers[0], m.Requests[0]
	if b.Prompt != 30 || b.Output != 6 || math.Abs(b.Arrival-a.Arrived.Seconds()) > 1e-6 || math.Abs(b.Last-a.Chunks[5].Seconds()) > 1e-6 || !math.IsNaN(b.Scheduled) {
		t.Errorf("%+v of %+v", b, a)
	}
	for _, x := range m.Facts {
		if strings.Contains(x.Value, "secret") {
			t.Errorf("a password is kept: %s", x.Value)
		}
	}
}

// The result of a measurement is JSON like any other.
func TestResultIsJSON(t *testing.T) {
	out := Run(t.Context(), load(source(t, 3, 300, 30, 6), serve(t, &fakeserver.Server{}, Chat)))
	r := out.Result(Frame{SLO: report.SLO{TTFT: time.Second, SchedulingDelayMedian: time.Second}})
	b, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var back report.Result
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if back.Measurement == nil || back.Measurement.Tokens != 18 || len(back.SLO.Bounds) != 1 || len(back.Notes) != 1 {
		t.Errorf("%s", b)
	}
	if v := r.Verdict(); !strings.Contains(v, "wall clock") || strings.Contains(v, "GPU") || strings.Contains(v, "KV") {
		t.Errorf("the verdict speaks of what nobody saw:\n%s", v)
	}
}

// BenchmarkOpenLoop sends 400 requests a second of ten tokens each to a server on the
// same machine, and reports how late the generator was.
func BenchmarkOpenLoop(b *testing.B) {
	h := httptest.NewServer(&fakeserver.Server{FirstToken: 5 * time.Millisecond, Gap: time.Millisecond})
	defer h.Close()
	s, err := Dial(b.Context(), Target{URL: h.URL, API: Completions, Connections: 100}, time.Second)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		src, err := trace.Synthetic{Arrivals: trace.Poisson{Rate: 400}, Lengths: fixed(100, 10), N: 1200, Seed: 5}.Open()
		if err != nil {
			b.Fatal(err)
		}
		r := Run(context.Background(), load(src, s)).Result(Frame{})
		b.ReportMetric(1e6*float64(r.Measurement.Lateness.MeanS), "us-late/request")
		b.ReportMetric(1e6*(float64(r.Latency.TTFT.P50S)-0.005), "us-TTFT-error")
		if r.Requests.Finished != 1200 {
			b.Fatalf("%+v", r.Measurement.Failures)
		}
	}
}

// A key goes where it was meant to go and nowhere else: one in the environment is not
// picked up.
func TestKeysStayAtHome(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "secret")
	var got []string
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		(&fakeserver.Server{}).ServeHTTP(w, r)
	}))
	defer h.Close()
	for _, key := range []string{"", "mine"} {
		got = nil
		if _, err := Dial(t.Context(), Target{URL: h.URL, API: Completions, Key: key, Connections: 1}, time.Second); err != nil {
			t.Fatal(err)
		}
		want := ""
		if key != "" {
			want = "Bearer " + key
		}
		for _, g := range got {
			if g != want {
				t.Errorf("sent %q, want %q", g, want)
			}
		}
	}
}

// Whoever gives up while a server is being asked about itself gets an end, not a crash.
func TestDialCanBeInterruptedBetweenQuestions(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := &fakeserver.Server{NoIDs: true}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 1500 { // the longer prompt
			time.AfterFunc(20*time.Millisecond, cancel) // while the next attempt is awaited
			http.Error(w, "down", http.StatusInternalServerError)
			return
		}
		f.ServeHTTP(w, r)
	}))
	defer h.Close()
	if _, err := Dial(ctx, Target{URL: h.URL, API: Completions, Connections: 1}, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("said %v", err)
	}
}

// A server that takes short prompts only has its tokens counted by them.
func TestShortPromptsCountTokens(t *testing.T) {
	s := serve(t, &fakeserver.Server{NoIDs: true, PerWord: 1.5, LongestPrompt: 70}, Completions)
	if p, _ := s.Describe(); !strings.HasPrefix(p, "words of 1.5 tokens") {
		t.Errorf("prompts of %s", p)
	}
}

// A password in the server's address is sent and not shown.
func TestPasswordsAreNotShown(t *testing.T) {
	h := httptest.NewServer(&fakeserver.Server{})
	defer h.Close()
	address := strings.Replace(h.URL, "http://", "http://me:secret@", 1)
	s, err := Dial(t.Context(), Target{URL: address, API: Completions, Connections: 1}, time.Minute)
	if err != nil || strings.Contains(s.URL(), "secret") {
		t.Errorf("at %s (%v)", s.URL(), err)
	}
	h.Close()
	for _, model := range []string{"", "m"} {
		if _, err := Dial(t.Context(), Target{URL: address, API: Completions, Model: model, Connections: 1}, time.Minute); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("model %q: said %v", model, err)
		}
	}
}
