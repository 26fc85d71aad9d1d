package trace

import (
	"bytes"
	"compress/gzip"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"orrery/sim"
	"orrery/workloads"
)

// drain returns at most n requests of a source and checks what every source
// promises: numbers from 0, times in order and as announced by Peek, lengths of
// at least 1.
func drain(t testing.TB, src workloads.Source, n int) []workloads.Request {
	t.Helper()
	var out []workloads.Request
	last := sim.Time(0)
	for len(out) < n {
		at, ok := src.Peek()
		if !ok {
			break
		}
		r := src.Next()
		if r.Arrived != at || at < last || r.ID != int64(len(out)) || r.Prompt < 1 || r.Output < 1 {
			t.Fatalf("request %d is %+v; Peek said %v, the one before came at %v", len(out), r, at, last)
		}
		last = at
		out = append(out, r)
	}
	return out
}

// serve runs a source against a server that answers each request after the time
// that service says, and returns at most n requests.
func serve(t testing.TB, src workloads.Source, n int, service func(r *workloads.Request) sim.Time) []workloads.Request {
	t.Helper()
	responder := src.(workloads.Responder)
	var out []workloads.Request
	var busy agenda[int]
	now := sim.Time(0)
	for {
		at, ok := src.Peek()
		if ok && at < now {
			t.Fatalf("a request for %v was announced at %v", at, now)
		}
		if end, some := busy.peek(); some && (!ok || end <= at) {
			var i int
			now, i = busy.pop()
			responder.Done(&out[i], now)
			continue
		}
		if !ok || len(out) == n {
			return out
		}
		now = at
		r := src.Next()
		if r.ID != int64(len(out)) || r.Arrived != at {
			t.Fatalf("request %d is %+v; Peek said %v", len(out), r, at)
		}
		out = append(out, r)
		busy.push(now+service(&r), len(out)-1)
	}
}

func constantService(d sim.Time) func(*workloads.Request) sim.Time {
	return func(*workloads.Request) sim.Time { return d }
}

func TestSameSeedSameRequests(t *testing.T) {
	path := write(t, "trace.csv", "arrived_at_s,prompt_tokens,output_tokens\n0,5,5\n0,6,6\n3,7,7\n3,8,8\n")
	lengths := Table{"azure-conv"}
	traffic := func(seed uint64) []Traffic {
		return []Traffic{
			Synthetic{Arrivals: Poisson{3}, Lengths: lengths, N: 500, Seed: seed, Shared: SharedPrefix{Groups: 9, Tokens: 40, Zipf: 1}},
			Synthetic{Arrivals: Gamma{3, 2}, Lengths: normal512, Duration: 100, Seed: seed},
			ClosedLoop{Clients: 10, Think: Think{Mean: 1, CV: 1}, Lengths: lengths, N: 500, Seed: seed},
			Sessions{Arrivals: Poisson{1}, Turns: Geometric{4}, Lengths: lengths, Think: Think{Mean: 2, CV: 1}, N: 100, Seed: seed},
			Replay{Path: path, Jitter: 3, Seed: seed},
		}
	}
	run := func(c Traffic) []workloads.Request {
		src := open(t, c)
		if _, ok := src.(workloads.Responder); ok {
			return serve(t, src, 1000, constantService(1e9))
		}
		return drain(t, src, 1000)
	}
	for i, c := range traffic(1) {
		first := run(c)
		if len(first) < 4 {
			t.Errorf("%T: only %d requests", c, len(first))
		}
		if !reflect.DeepEqual(first, run(c)) {
			t.Errorf("%T: opened twice, it gives different requests", c)
		}
		if reflect.DeepEqual(first, run(traffic(2)[i])) {
			t.Errorf("%T: seeds 1 and 2 give the same requests", c)
		}
	}
}

func TestSyntheticStops(t *testing.T) {
	if n := len(drain(t, open(t, Synthetic{Arrivals: Poisson{3}, Lengths: normal512, N: 10}), 100)); n != 10 {
		t.Errorf("N 10 gave %d requests", n)
	}
	// Requests come at 0.5, 1.0, 1.5; the one at 2.0 is too late.
	if n := len(drain(t, open(t, Synthetic{Arrivals: Constant{2}, Lengths: normal512, Duration: 2}), 100)); n != 3 {
		t.Errorf("2 s at 2/s gave %d requests, want 3", n)
	}
	if n := len(drain(t, open(t, Synthetic{Arrivals: Piecewise{Segments: []Segment{{10, 1}}, Base: Constant{1}}, Lengths: normal512}), 100)); n != 9 {
		t.Errorf("a piece of 10 s at 1/s gave %d requests, want 9", n)
	}
}

// Popularity follows Zipf's law, and requests share exactly the full blocks of
// their group.
func TestSharedPrefix(t *testing.T) {
	const seed, n, tokens = 29, 100_000, 100
	rs := drain(t, open(t, Synthetic{Arrivals: Poisson{1}, Lengths: Joint{Prompt: Fixed{50}, Output: Fixed{1}}, Seed: seed,
		Shared: SharedPrefix{Groups: 4, Tokens: tokens, Zipf: 1}}), n)
	counts := map[uint64]float64{}
	for _, r := range rs {
		if r.Prompt != 150 || r.PrefixBlock != 16 || len(r.Prefix) != 6 { // 100 tokens fill 6 blocks of 16
			t.Fatalf("seed %d: %+v; want 100+50 tokens and 6 full blocks", seed, r)
		}
		counts[r.Prefix[0]]++
	}
	for k := range uint64(4) {
		p := 1 / float64(k+1) / (1 + 1./2 + 1./3 + 1./4)
		got, slack := counts[blockName(groupContent, k, 0)], 4.5*math.Sqrt(n*p*(1-p))
		if math.Abs(got-n*p) > slack {
			t.Errorf("seed %d: group %d was chosen %v times, want %.0f +- %.0f", seed, k, got, n*p, slack)
		}
	}
}

// With constant think and service times every client cycles with their sum, so
// the throughput is clients / (think + service).
func TestClosedLoop(t *testing.T) {
	rs := serve(t, open(t, ClosedLoop{Clients: 7, Think: Think{Mean: 3}, Lengths: normal512}), 7*20, constantService(2e9))
	for i, r := range rs {
		if want := sim.Seconds(float64(3 + 5*(i/7))); r.Arrived != want || int(r.Tenant) != i%7+1 {
			t.Fatalf("request %d is of client %d at %v, want %d at %v", i, r.Tenant, r.Arrived, i%7+1, want)
		}
	}
	if rs := serve(t, open(t, ClosedLoop{Clients: 7, Lengths: normal512, N: 12}), 100, constantService(1)); len(rs) != 12 {
		t.Errorf("N 12 gave %d requests", len(rs))
	}
}

// A client never has two requests under way, and by Little's law throughput
// times (think + service) is the number of clients.
func TestClosedLoopObeysLittle(t *testing.T) {
	const seed, clients, n = 31, 50, 100_000
	rng := sim.Stream(seed, "service")
	ends := map[int32]sim.Time{}
	rs := serve(t, open(t, ClosedLoop{Clients: clients, Think: Think{Mean: 4, CV: 1}, Lengths: normal512, Seed: seed}), n, func(r *workloads.Request) sim.Time {
		if r.Arrived < ends[r.Tenant] {
			t.Fatalf("seed %d: client %d asks at %v, but is served until %v", seed, r.Tenant, r.Arrived, ends[r.Tenant])
		}
		d := sim.Seconds(rng.ExpFloat64()) + 1
		ends[r.Tenant] = r.Arrived + d
		return d
	})
	cycle := clients * rs[n-1].Arrived.Seconds() / n
	if math.Abs(cycle-5) > 0.1 { // standard error of the mean of 100,000 cycles: sqrt(17)/316 = 0.013
		t.Errorf("seed %d: a cycle takes %.3f s, want 4+1", seed, cycle)
	}
}

// A server that refuses everything at once must not stop the clock.
func TestRefusedClientsPause(t *testing.T) {
	rs := serve(t, open(t, ClosedLoop{Clients: 2, Lengths: normal512}), 10, constantService(0))
	if got := rs[9].Arrived; got != sim.Seconds(4) {
		t.Errorf("the tenth refused request of two clients came at %v, want 4 s", got)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	good := Synthetic{Arrivals: Poisson{1}, Lengths: normal512}
	rate := func(a Arrivals) Traffic { return Synthetic{Arrivals: a, Lengths: normal512} }
	lengths := func(l Lengths) Traffic { return Synthetic{Arrivals: Poisson{1}, Lengths: l} }
	prompt := func(d Dist) Traffic { return lengths(Joint{Prompt: d, Output: Fixed{1}}) }
	shared := good
	shared.Shared = SharedPrefix{Groups: 0, Tokens: 5}
	for _, c := range []struct {
		of   Traffic
		want string
	}{
		{rate(Poisson{0}), "Poisson.Rate is 0; want a number above 0 and at most 1e+09 (requests per second)"},
		{rate(Poisson{-1}), "Poisson.Rate is -1"},
		{rate(Poisson{math.NaN()}), "Poisson.Rate is NaN"},
		{rate(Poisson{math.Inf(1)}), "Poisson.Rate is +Inf"},
		{rate(Gamma{1, 0}), "Gamma.CV is 0; want 0.001 to 1000"},
		{rate(Gamma{0, 1}), "Gamma.Rate is 0"},
		{rate(Weibull{1, 1e-9}), "Weibull.Shape is 1e-09"},
		{rate(Piecewise{}), "Piecewise.Segments offers no requests"},
		{rate(Piecewise{Segments: []Segment{{1, 1}, {0, 1}}}), "Piecewise.Segments[1].Duration is 0"},
		{rate(Piecewise{Segments: []Segment{{1, -1}}}), "Piecewise.Segments[0].Rate is -1"},
		{rate(Piecewise{Segments: []Segment{{1, 1}}, Base: Gamma{1, -1}}), "Gamma.CV is -1"},
		{rate(nil), "want both Arrivals and Lengths"},
		{lengths(Table{"chta"}), `no table of lengths named "chta"; want one of arxiv-16k, `},
		{lengths(LengthFile{"nowhere.csv"}), "nowhere.csv"},
		{lengths(Capped{}), "Capped.Of is missing"},
		{lengths(Capped{normal512, 1}), "Capped.MaxTotal is 1; want at least 2"},
		{lengths(Joint{Prompt: Fixed{1}}), "want both Prompt and Output"},
		{lengths(Joint{Fixed{1}, Fixed{1}, 1.5}), "Joint.Correlation is 1.5; want -1 to 1"},
		{prompt(Fixed{0}), "Joint.Prompt: Fixed.Value is 0"},
		{prompt(Normal{5, -1}), "Normal.Std is -1"},
		{prompt(LogNormal{0, 1}), "LogNormal.Median is 0"},
		{prompt(Uniform{5, 4}), "Uniform is 5 to 4"},
		{prompt(Geometric{0.5}), "Geometric.Mean is 0.5"},
		{shared, "SharedPrefix.Groups is 0"},
		{Synthetic{Arrivals: Poisson{1}, Lengths: normal512, N: -1}, "Synthetic.N is -1"},
		{Synthetic{Arrivals: Poisson{1}, Lengths: normal512, Duration: math.NaN()}, "Synthetic.Duration is NaN"},
		{ClosedLoop{Clients: 0, Lengths: normal512}, "ClosedLoop.Clients is 0"},
		{ClosedLoop{Clients: 1}, "ClosedLoop.Lengths is missing"},
		{ClosedLoop{Clients: 1, Lengths: normal512, Think: Think{Mean: -1}}, "ClosedLoop.Think.Mean is -1"},
		{Sessions{Arrivals: Poisson{1}, Lengths: normal512}, "want Arrivals, Turns and Lengths"},
		{Sessions{Arrivals: Poisson{1}, Lengths: normal512, Turns: Geometric{0}}, "Sessions.Turns: Geometric.Mean is 0"},
		{Sessions{Arrivals: Poisson{1}, Lengths: normal512, Turns: Fixed{1}, Think: Think{1, -1}}, "Sessions.Think.CV is -1"},
		{Replay{Path: "x", Speed: -1}, "Replay.Speed is -1"},
		{Replay{Path: "x", Speed: 1, Rate: 1}, "want only one of them"},
		{Replay{Path: "x", Start: 5, End: 5}, "Replay.End is 5, not after Replay.Start, 5"},
		{Replay{Path: "x", Limit: -1}, "Replay.Limit is -1"},
		{Replay{Path: "x", Jitter: math.NaN()}, "Replay.Jitter is NaN"},
		{Replay{Path: "nowhere.csv"}, "nowhere.csv"},
	} {
		_, err := c.of.Open()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: error is %v; want one line with %q", c.of, err, c.want)
		}
	}
}

// zip returns text compressed by gzip.
func zip(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// writeBytes puts data into a file of the test's own folder.
func writeBytes(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
