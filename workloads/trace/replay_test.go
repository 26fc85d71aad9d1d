package trace

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"orrery/sim"
	"orrery/workloads"
)

const header = "arrived_at_s,prompt_tokens,output_tokens\n"

// The files of the shared data set, with what its README says of them: rows, and
// the length of the window in seconds.
var sharedTraces = []struct {
	name   string
	rows   int64
	window float64
}{
	{"azure_llm_2023_code.csv.gz", 8819, 3436},
	{"azure_llm_2023_conv_0000_2400s.csv.gz", 14176, 2400},
	{"mooncake_conversation_0000_2400s.csv.gz", 7851, 2400},
	{"mooncake_synthetic.csv.gz", 3993, 1022},
	{"servegen_reasoning_10h_11h.csv.gz", 47789, 3600},
	{"servegen_multimodal_10h_11h.csv.gz", 45518, 3600},
	{"servegen_language_large_d4_10h_12h_x0.05.csv.gz", 62394, 7200},
}

func TestSharedTracesReplayAsTheyAre(t *testing.T) {
	for _, c := range sharedTraces {
		t.Run(c.name, func(t *testing.T) {
			path := dataFile(t, c.name)
			sum, err := Replay{Path: path}.Check()
			if err != nil {
				t.Fatal(err)
			}
			// The last request comes within the window's last half percent, or, of the
			// two traces whose window is their last request, within its last second.
			if sum.Rows != c.rows || sum.Kept != c.rows || sum.Last > c.window+0.1 || sum.Last < 0.995*c.window {
				t.Errorf("%+v; want %d rows over %v s", sum, c.rows, c.window)
			}
			got := drain(t, open(t, Replay{Path: path}), math.MaxInt)
			want := readWithLibrary(t, path)
			if len(got) != len(want) {
				t.Fatalf("%d requests, want %d", len(got), len(want))
			}
			for i := range got {
				if !same(&got[i], &want[i]) {
					t.Fatalf("request %d is %+v, want %+v", i, got[i], want[i])
				}
			}
		})
	}
}

func same(a, b *workloads.Request) bool {
	return a.ID == b.ID && a.Arrived == b.Arrived && a.Prompt == b.Prompt && a.Output == b.Output &&
		a.Tenant == b.Tenant && a.PrefixBlock == b.PrefixBlock && slices.Equal(a.Prefix, b.Prefix)
}

// readWithLibrary reads a trace in the plainest way, with encoding/csv, as the
// oracle for the streaming reader.
func readWithLibrary(t *testing.T, path string) []workloads.Request {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []workloads.Request
	for i, row := range rows[1:] {
		cell := func(name string) string {
			if k := slices.Index(rows[0], name); k >= 0 {
				return row[k]
			}
			return "0"
		}
		number := func(s string) uint64 {
			n, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		at, err := strconv.ParseFloat(cell("arrived_at_s"), 64)
		if err != nil {
			t.Fatal(err)
		}
		r := workloads.Request{ID: int64(i), Arrived: sim.Seconds(at), Prompt: int32(number(cell("prompt_tokens"))),
			Output: int32(number(cell("output_tokens"))), Tenant: int32(number(cell("tenant")))}
		if slices.Contains(rows[0], "hash_ids") {
			r.PrefixBlock = 512
			for item := range strings.FieldsSeq(cell("hash_ids")) {
				low, high, isRun := strings.Cut(item, "-")
				if !isRun {
					high = low
				}
				for id := number(low); id <= number(high); id++ {
					r.Prefix = append(r.Prefix, id)
				}
			}
			if len(r.Prefix) != (int(r.Prompt)+511)/512 {
				t.Fatalf("row %d has %d blocks for %d tokens", i, len(r.Prefix), r.Prompt)
			}
		}
		out = append(out, r)
	}
	return out
}

func TestWindowLimitAndSpeed(t *testing.T) {
	var text strings.Builder
	text.WriteString(header)
	for i := range 100 {
		fmt.Fprintf(&text, "%d.5,%d,1\n", i, i+1)
	}
	path := write(t, "trace.csv", text.String())
	for _, c := range []struct {
		of           Replay
		n            int
		first, last  float64 // arrivals in seconds
		prompt, rest int32   // prompts of the first and the last
	}{
		{Replay{}, 100, 0.5, 99.5, 1, 100},
		{Replay{Start: 10, End: 20}, 10, 0.5, 9.5, 11, 20},
		{Replay{Start: 10.5, End: 20.5}, 10, 0, 9, 11, 20}, // the end is exclusive
		{Replay{Start: 10, Limit: 3}, 3, 0.5, 2.5, 11, 13},
		{Replay{Start: 90, Limit: 30}, 10, 0.5, 9.5, 91, 100},
		{Replay{Speed: 2}, 100, 0.25, 49.75, 1, 100},
		{Replay{Rate: 4}, 100, 0.125, 0.125 + 99./4, 1, 100},
		{Replay{Start: 50, End: 60, Rate: 0.5}, 10, 1, 19, 51, 60},
	} {
		c.of.Path = path
		rs := drain(t, open(t, c.of), math.MaxInt)
		if len(rs) != c.n || rs[0].Arrived != sim.Seconds(c.first) || rs[c.n-1].Arrived != sim.Seconds(c.last) ||
			rs[0].Prompt != c.prompt || rs[c.n-1].Prompt != c.rest {
			t.Errorf("%+v: %d requests, from %v to %v; want %d, from %v to %v s", c.of, len(rs), rs[0].Arrived, rs[len(rs)-1].Arrived, c.n, c.first, c.last)
		}
	}
}

// Jitter moves every request by its own draw, keeps them all, and leaves them in
// order.
func TestJitter(t *testing.T) {
	const seed, quantum = 37, 3.0
	var text strings.Builder
	text.WriteString(header)
	for i := range 5000 {
		fmt.Fprintf(&text, "%d,%d,1\n", 3*(i/10), i+1) // ten requests each 3 s
	}
	path := write(t, "trace.csv", text.String())
	rs := drain(t, open(t, Replay{Path: path, Jitter: quantum, Seed: seed}), math.MaxInt)
	if len(rs) != 5000 {
		t.Fatalf("%d requests, want 5000", len(rs))
	}
	seen, offsets := map[int32]bool{}, []float64(nil)
	for _, r := range rs {
		i := r.Prompt - 1
		offset := r.Arrived.Seconds() - float64(3*(i/10))
		if seen[i] || offset < 0 || offset > quantum {
			t.Fatalf("seed %d: row %d was moved by %v s; want each row once and 0 to 3 s", seed, i, offset)
		}
		seen[i] = true
		offsets = append(offsets, offset)
	}
	within(t, "mean jitter", offsets, mean, quantum/2)
	within(t, "standard deviation of the jitter", offsets, std, quantum/math.Sqrt(12))
	// The same seed jitters alike at every speed.
	for i, r := range drain(t, open(t, Replay{Path: path, Jitter: quantum, Seed: seed, Speed: 2}), math.MaxInt) {
		if d := rs[i].Arrived - 2*r.Arrived; r.Prompt != rs[i].Prompt || d < -2 || d > 2 {
			t.Fatalf("request %d is row %d at %v, want row %d at half of %v", i, r.Prompt, r.Arrived, rs[i].Prompt, rs[i].Arrived)
		}
	}
}

// The bursts of the Mooncake trace, ten requests each 3 s, are spread out.
func TestJitterSpreadsMooncake(t *testing.T) {
	path := dataFile(t, "mooncake_conversation_0000_2400s.csv.gz")
	spread := func(jitter float64) float64 {
		var x []float64
		rs := drain(t, open(t, Replay{Path: path, Jitter: jitter}), math.MaxInt)
		for i := range rs[1:] {
			x = append(x, rs[i+1].Arrived.Sub(rs[i].Arrived).Seconds())
		}
		return cv(x)
	}
	raw, spreadOut := spread(0), spread(3)
	if raw < 2.5 || spreadOut > 1.15 {
		t.Errorf("CV of the gaps is %.2f as recorded and %.2f with jitter; want bursts, then about 1", raw, spreadOut)
	}
	t.Logf("CV of the gaps: %.2f as recorded, %.2f with jitter", raw, spreadOut)
}

func TestOptionalColumnsAndCap(t *testing.T) {
	path := write(t, "trace.csv", "\xef\xbb\xbf\"tenant\", output_tokens,note,hash_ids,prompt_tokens,arrived_at_s\r\n"+
		"7,10,x,3 5-6,1300,0\r\n\r\n,600,y,,600,1.5e0")
	rs := drain(t, open(t, Replay{Path: path}), 10)
	if len(rs) != 2 || rs[0].Tenant != 7 || !slices.Equal(rs[0].Prefix, []uint64{3, 5, 6}) || rs[0].PrefixBlock != 512 ||
		rs[1].Tenant != 0 || rs[1].Prefix != nil || rs[1].Arrived != sim.Seconds(1.5) {
		t.Errorf("read %+v", rs)
	}
	rs = drain(t, open(t, Replay{Path: path, MaxTotal: 655}), 10)
	// 1310 tokens are cut by half: 650 of prompt, whose second block is no longer whole.
	if rs[0].Prompt != 650 || rs[0].Output != 5 || !slices.Equal(rs[0].Prefix, []uint64{3}) {
		t.Errorf("capped to 655 tokens: %+v; want 650+5 and one block", rs[0])
	}
}

func TestBadFilesAreRefused(t *testing.T) {
	whole := zip(t, header+strings.Repeat("1.25,100,200\n", 20000))
	damaged := slices.Clone(whole)
	damaged[len(damaged)-6] ^= 1 // in the checksum
	long := header + "1,1,1" + strings.Repeat(" ", maxLine) + "\n"
	hashed := "arrived_at_s,prompt_tokens,output_tokens,hash_ids\n"
	for _, c := range []struct {
		name, text, want string
	}{
		{"empty", "", "empty: the file is empty; want a header line such as arrived_at_s,prompt_tokens,output_tokens"},
		{"empty gzip", string(zip(t, "")), "the file is empty"},
		{"header only", header, "the file has a header but no requests"},
		{"no header", "0,1,1\n", "no header:1: the header has no column arrived_at_s"},
		{"lengths", "prompt_tokens,output_tokens\n1,1\n", "a file without arrival times can serve as lengths"},
		{"twice", "arrived_at_s,prompt_tokens,prompt_tokens,output_tokens\n", "column prompt_tokens stands twice"},
		{"unsorted", header + "2,1,1\n1,1,1\n", "unsorted:3: arrived_at_s is 1, before the row above (2); want rows sorted by time"},
		{"negative time", header + "-1,1,1\n", "negative time:2: arrived_at_s is \"-1\"; want seconds"},
		{"NaN", header + "0,1,1\nNaN,1,1\n", "NaN:3: arrived_at_s is \"NaN\""},
		{"infinite", header + "Inf,1,1\n", "arrived_at_s is \"Inf\""},
		{"late", header + "1e10,1,1\n", "arrived_at_s is \"1e10\""},
		{"words", header + "x,1,1\n", "arrived_at_s is \"x\""},
		{"no prompt", header + "0,0,1\n", "prompt_tokens is \"0\"; want a whole number, 1 to 16777216"},
		{"no output", header + "0,1,0\n", "output_tokens is \"0\"; want a whole number, 1 to"},
		{"negative tokens", header + "0,-5,1\n", "prompt_tokens is \"-5\""},
		{"too many tokens", header + "0,99999999999,1\n", "prompt_tokens is \"99999999999\""},
		{"fraction", header + "0,1.5,1\n", "prompt_tokens is \"1.5\""},
		{"torn row", header + "0,1,1\n1,5\n", "torn row:3: the line has 2 fields; want 3 as in the header"},
		{"torn gzip", string(whole[:len(whole)/2]), "the gzip stream ends too early"},
		{"torn gzip header", string(whole[:5]), "the gzip stream ends too early"},
		{"damaged gzip", string(damaged), "the gzip stream is damaged"},
		{"long line", long, "the line is longer than 1048576 bytes"},
		{"bad run", hashed + "0,100,1,5-3\n", "bad run:2: hash_ids has \"5-3\"; want an id or a run a-b with a <= b"},
		{"bad id", hashed + "0,100,1,x\n", "hash_ids has \"x\""},
		{"endless run", hashed + "0,100,1,0-999999999999\n", "hash_ids names too many blocks at \"0-999999999999\""},
		{"more blocks than prompt", hashed + "0,1024,1,1 2 3\n", "hash_ids names too many blocks at \"3\""},
	} {
		path := writeBytes(t, c.name, []byte(c.text))
		_, err := Replay{Path: path}.Open()
		if err == nil || !strings.Contains(err.Error(), filepath.Base(path)) || strings.Contains(err.Error(), "\n") ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v; want one line with %q", c.name, err, c.want)
		}
	}
	path := write(t, "trace.csv", header+"1,1,1\n2,1,1\n")
	for _, c := range []struct {
		of   Replay
		want string
	}{
		{Replay{Start: 3}, "no request between Replay.Start 3 and Replay.End 0 s; the last one of the file is at 2 s"},
		{Replay{End: 2, Rate: 1}, "Replay.Rate needs at least two requests"},
		{Replay{Speed: 1e-12}, "outlasts the clock"},
	} {
		c.of.Path = path
		if _, err := c.of.Open(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error is %v; want %q", c.of, err, c.want)
		}
	}
	if _, err := (LengthFile{write(t, "lengths.csv", "prompt_tokens,output_tokens\n")}).Draws(1); err == nil || !strings.Contains(err.Error(), "no lengths") {
		t.Errorf("lengths without rows: error is %v", err)
	}
}

// A file that changes after it was checked ends the source early, and Close says
// why.
func TestErrorsInMidStreamAreKept(t *testing.T) {
	line := "1,100,200\n"
	text := header + strings.Repeat(line, 50_000)
	for _, c := range []struct{ after, want string }{
		{"", "fewer requests than when it was checked"},
		{strings.Repeat("x", len(line)*10_000), "want"},
	} {
		path := write(t, "trace.csv", text)
		src := open(t, Replay{Path: path})
		if err := os.Truncate(path, int64(len(header)+len(line)*30_000)); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, c.after); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if n := len(drain(t, src, math.MaxInt)); n < 29_000 || n > 30_000 {
			t.Errorf("%d requests came of a file cut to 30,000", n)
		}
		if err := Close(src); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v; want %q", err, c.want)
		}
	}
	src := open(t, Replay{Path: write(t, "trace.csv", text)})
	drain(t, src, 10)
	if err := Close(src); err != nil {
		t.Errorf("closing a source in mid-stream: %v", err)
	}
	if err := Close(open(t, Synthetic{Arrivals: Poisson{1}, Lengths: normal512})); err != nil {
		t.Errorf("closing a source that holds nothing: %v", err)
	}
}
