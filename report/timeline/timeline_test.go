package timeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"orrery/cluster"
	"orrery/sim"
	"orrery/workloads"
)

// log is two requests on one replica: 7 is prefilled at once, 8 waits.
func log() []cluster.Record {
	request := func(id int64, scheduled, first, last sim.Time, emitted int32) *cluster.Served {
		return &cluster.Served{Request: workloads.Request{ID: id, Prompt: 30, Output: 2}, Scheduled: scheduled, First: first, Last: last, Emitted: emitted}
	}
	iteration := func(number int64, start, end sim.Time, chunk, decodes int, running, waiting int32) *cluster.Iteration {
		it := &cluster.Iteration{Number: number, Start: start, End: end, Host: 10, Running: running, Waiting: waiting, KVUsed: 2 * int64(running)}
		it.Stages = []cluster.Span{{Start: start + 10, End: end}}
		it.Batch.Decodes = decodes
		if chunk > 0 {
			it.Batch.AddChunk(chunk, 0)
		}
		return it
	}
	return []cluster.Record{
		{What: cluster.Arrived, At: 0, Replica: -1, Request: request(7, -1, -1, -1, 0)},
		{What: cluster.Routed, At: 0, Request: request(7, -1, -1, -1, 0)},
		{What: cluster.Scheduled, At: 0, Request: request(7, 0, -1, -1, 0)},
		{What: cluster.Routed, At: 50, Request: request(8, -1, -1, -1, 0)},
		{What: cluster.Iterated, At: 100, Iteration: iteration(0, 0, 100, 30, 0, 1, 0)},
		{What: cluster.Scheduled, At: 100, Request: request(8, 100, -1, -1, 0)},
		{What: cluster.Iterated, At: 250, Iteration: iteration(1, 100, 250, 30, 1, 2, 0)},
		{What: cluster.Finished, At: 250, Request: request(7, 0, 100, 250, 2)},
		{What: cluster.Iterated, At: 300, Iteration: iteration(2, 250, 300, 0, 1, 1, 0)},
		{What: cluster.Unfinished, At: 310, Request: request(8, 100, 250, 300, 2)},
	}
}

func write(t *testing.T, format func(io.Writer, Window) *Writer, window Window, records []cluster.Record) ([]byte, *Writer) {
	t.Helper()
	var b bytes.Buffer
	w := format(&b, window)
	for i := range records {
		w.Record(&records[i])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), w
}

// fields decodes one message: varints and fixed64s as numbers, others as bytes.
type fields []field

type field struct {
	number protowire.Number
	n      uint64
	b      []byte
}

func decode(t *testing.T, b []byte) fields {
	t.Helper()
	var fs fields
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		f := field{number: number}
		switch kind {
		case protowire.VarintType:
			f.n, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			f.n, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			f.b, n = protowire.ConsumeBytes(b)
		default:
			t.Fatalf("wire type %d", kind)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		fs = append(fs, f)
	}
	return fs
}

func (fs fields) num(n protowire.Number) uint64 {
	for _, f := range fs {
		if f.number == n {
			return f.n
		}
	}
	return 0
}

func (fs fields) bytes(n protowire.Number) []byte {
	for _, f := range fs {
		if f.number == n {
			return f.b
		}
	}
	return nil
}

// transcript decodes a trace as a viewer would, with the field numbers written out
// from Perfetto's .proto files, and says in lines what it contains.
func transcript(t *testing.T, trace []byte) []string {
	t.Helper()
	var lines []string
	names, args, tracks := map[uint64]string{}, map[uint64]string{}, map[uint64]string{}
	for i, p := range decode(t, trace) {
		if p.number != 1 {
			t.Fatalf("field %d in a Trace", p.number)
		}
		packet := decode(t, p.b)
		flags := uint64(2)
		if i == 0 {
			flags = 3
		}
		if packet.num(10) != 1 || packet.num(13) != flags {
			t.Fatalf("packet %d has sequence %d and flags %d", i, packet.num(10), packet.num(13))
		}
		if interned := packet.bytes(12); interned != nil {
			for _, f := range decode(t, interned) {
				entry := decode(t, f.b)
				table := map[protowire.Number]map[uint64]string{2: names, 3: args}[f.number]
				if _, twice := table[entry.num(1)]; twice || entry.num(1) == 0 {
					t.Fatalf("name %d is interned twice", entry.num(1))
				}
				table[entry.num(1)] = string(entry.bytes(2))
			}
		}
		if d := packet.bytes(60); d != nil {
			track := decode(t, d)
			name := string(track.bytes(2))
			if p := track.bytes(3); p != nil {
				process := decode(t, p)
				name = fmt.Sprintf("%s (pid %d)", process.bytes(6), process.num(1))
			} else {
				name = tracks[track.num(5)] + " / " + name
			}
			if c := track.bytes(8); c != nil {
				name += " #"
			}
			tracks[track.num(1)] = name
			continue
		}
		e := decode(t, packet.bytes(11))
		on, ok := tracks[e.num(11)]
		if !ok {
			t.Fatalf("an event on track %d, which is not described", e.num(11))
		}
		switch e.num(9) {
		case 1:
			line := fmt.Sprintf("%d %s: begin %s", packet.num(8), on, names[e.num(10)])
			for _, f := range e {
				switch f.number {
				case 4:
					a := decode(t, f.b)
					line += fmt.Sprintf(" %s=%d", args[a.num(1)], a.num(4))
				case 47:
					line += fmt.Sprintf(" ->%d", f.n)
				}
			}
			lines = append(lines, line)
		case 2:
			lines = append(lines, fmt.Sprintf("%d %s: end", packet.num(8), on))
		case 4:
			lines = append(lines, fmt.Sprintf("%d %s: %d", packet.num(8), on, e.num(30)))
		default:
			t.Fatalf("event type %d", e.num(9))
		}
	}
	return lines
}

func TestPerfettoByHand(t *testing.T) {
	b, _ := write(t, NewPerfetto, Window{}, log())
	const r = "replica 0 (pid 1) / "
	const row0, row1 = r + "requests / request row 0", r + "requests / request row 1"
	want := []string{
		"10 " + r + "stage 0: begin prefill iteration=0 decodes=0 decode context=0 chunks=1 chunk tokens=30 chunk context=0 host ns=10 KV blocks=2 ->8",
		"100 " + r + "stage 0: end",
		"0 " + r + "waiting #: 0", "0 " + r + "running #: 1", "0 " + r + "KV blocks #: 2", "0 " + r + "batch tokens #: 30",
		"110 " + r + "stage 0: begin prefill + decode iteration=1 decodes=1 decode context=0 chunks=1 chunk tokens=30 chunk context=0 host ns=10 KV blocks=4 ->9",
		"250 " + r + "stage 0: end",
		"100 " + r + "running #: 2", "100 " + r + "KV blocks #: 4", "100 " + r + "batch tokens #: 31",
		"0 " + row0 + ": begin prefill request=7 prompt tokens=30 output tokens=2 cached tokens=0 pre-emptions=0 ->8",
		"100 " + row0 + ": end",
		"100 " + row0 + ": begin decode request=7 prompt tokens=30 output tokens=2 cached tokens=0 pre-emptions=0",
		"250 " + row0 + ": end",
		"260 " + r + "stage 0: begin decode iteration=2 decodes=1 decode context=0 chunks=0 chunk tokens=0 chunk context=0 host ns=10 KV blocks=2",
		"300 " + r + "stage 0: end",
		"250 " + r + "running #: 1", "250 " + r + "KV blocks #: 2", "250 " + r + "batch tokens #: 1",
		"50 " + row1 + ": begin queued request=8 prompt tokens=30 output tokens=2 cached tokens=0 pre-emptions=0",
		"100 " + row1 + ": end",
		"100 " + row1 + ": begin prefill request=8 prompt tokens=30 output tokens=2 cached tokens=0 pre-emptions=0 ->9",
		"250 " + row1 + ": end",
		"250 " + row1 + ": begin decode request=8 prompt tokens=30 output tokens=2 cached tokens=0 pre-emptions=0",
		"310 " + row1 + ": end",
	}
	got := transcript(t, b)
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

// The first packet, byte by byte, as protoc would encode it: a track descriptor of
// process 1 with uuid 1.
func TestFirstPacketBytes(t *testing.T) {
	b, _ := write(t, NewPerfetto, Window{}, log()[1:2])
	want := []byte{
		0x0a, 0x1c, // Trace.packet, 28 bytes
		0x50, 0x01, // trusted_packet_sequence_id: 1
		0x68, 0x03, // sequence_flags: cleared and needed
		0xe2, 0x03, 0x15, // track_descriptor, 21 bytes
		0x08, 0x01, // uuid: 1
		0x1a, 0x0d, 0x08, 0x01, 0x32, 0x09, 'r', 'e', 'p', 'l', 'i', 'c', 'a', ' ', '0', // process {pid: 1, process_name}
		0x58, 0x03, // child_ordering: EXPLICIT
		0x60, 0x00, // sibling_order_rank: 0
	}
	want[1], want[8] = byte(len(want)-2), byte(len(want)-9)
	if !bytes.Equal(b, want) {
		t.Errorf("got % x\nwant % x", b, want)
	}
}

// chromeEvent is an event of the Trace Event Format.
type chromeEvent struct {
	Ph, Name string
	Pid, Tid int
	Ts, Dur  float64
	ID       uint64
	Args     map[string]any
}

func chromeEvents(t *testing.T, b []byte) []chromeEvent {
	t.Helper()
	var doc struct{ TraceEvents []chromeEvent }
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	return doc.TraceEvents
}

// Chrome's JSON has the same slices, counters and arrows as the protobuf.
func TestChromeSaysWhatPerfettoSays(t *testing.T) {
	p, _ := write(t, NewPerfetto, Window{}, log())
	c, _ := write(t, NewChrome, Window{}, log())
	var want, got []string
	var begun string
	for _, l := range transcript(t, p) {
		at, rest, _ := strings.Cut(l, " ")
		where, what, _ := strings.Cut(rest, ": ")
		where = where[strings.LastIndex(where, " / ")+3:]
		what, flow, has := strings.Cut(what, " ->")
		switch {
		case what == "end":
			want = append(want, begun+" to "+at)
			continue
		case strings.HasPrefix(what, "begin "):
			name, _, _ := strings.Cut(strings.TrimPrefix(what, "begin "), " iteration=")
			name, _, _ = strings.Cut(name, " request=")
			begun = fmt.Sprintf("%s: %s %s", where, name, at)
		default:
			want = append(want, fmt.Sprintf("%s %s at %s", strings.TrimSuffix(where, " #"), what, at))
		}
		if has {
			want = append(want, "arrow "+flow)
		}
	}
	threads := map[int]string{}
	slice := ""
	for _, e := range chromeEvents(t, c) {
		switch e.Ph {
		case "M":
			if e.Name == "thread_name" {
				threads[e.Tid] = e.Args["name"].(string)
			}
		case "X":
			got = append(got, slice)
			slice = fmt.Sprintf("%s: %s %.0f to %.0f", threads[e.Tid], e.Name, e.Ts*1000, (e.Ts+e.Dur)*1000)
		case "C":
			got = append(got, slice, fmt.Sprintf("%s %v at %.0f", e.Name, e.Args["value"], e.Ts*1000))
			slice = ""
		case "s", "f":
			got = append(got, fmt.Sprintf("arrow %d", e.ID))
		}
	}
	got = append(got, slice)
	var kept []string
	for _, g := range got {
		if g != "" {
			kept = append(kept, g)
		}
	}
	if g, w := strings.Join(kept, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("Chrome says\n%s\nPerfetto says\n%s", g, w)
	}
}

func TestWindowAndCap(t *testing.T) {
	b, w := write(t, NewPerfetto, Window{From: 255}, log())
	text := strings.Join(transcript(t, b), "\n")
	if strings.Contains(text, "iteration=1") || !strings.Contains(text, "iteration=2") || strings.Contains(text, "request=7") || w.LeftOut() != 0 {
		t.Errorf("from 255 ns on: %d left out\n%s", w.LeftOut(), text)
	}
	b, _ = write(t, NewPerfetto, Window{To: 50}, log())
	if text := strings.Join(transcript(t, b), "\n"); strings.Contains(text, "iteration=1") || !strings.Contains(text, "request=8") {
		t.Errorf("until 50 ns:\n%s", text)
	}
	b, w = write(t, NewChrome, Window{MaxEvents: 2}, log())
	slices := 0
	for _, e := range chromeEvents(t, b) {
		if e.Ph == "X" || e.Ph == "C" {
			slices++
		}
	}
	if slices > 2 || w.LeftOut() == 0 {
		t.Errorf("%d events with a cap of 2, %d left out", slices, w.LeftOut())
	}
}

// In a busy replica no two requests share a row at a time, and every slice that
// begins ends.
func TestRowsDoNotOverlap(t *testing.T) {
	var records []cluster.Record
	rng := sim.Stream(1, "timeline")
	for i := range int64(500) {
		at := sim.Time(i * 10)
		life := sim.Time(1 + rng.IntN(400))
		q := &cluster.Served{Request: workloads.Request{ID: i, Arrived: at}, Scheduled: at, First: at + life/2, Last: at + life}
		records = append(records, cluster.Record{What: cluster.Routed, At: at, Request: q}, cluster.Record{What: cluster.Finished, At: at + life, Request: q})
	}
	for i := 1; i < len(records); i++ { // in order of time, ends first
		for j := i; j > 0 && (records[j].At < records[j-1].At || records[j].At == records[j-1].At && records[j].What > records[j-1].What); j-- {
			records[j], records[j-1] = records[j-1], records[j]
		}
	}
	b, _ := write(t, NewChrome, Window{}, records)
	free := map[int]float64{}
	n := 0
	for _, e := range chromeEvents(t, b) {
		if e.Ph != "X" {
			continue
		}
		n++
		if e.Ts < free[e.Tid]-1e-9 {
			t.Fatalf("a slice at %v on row %d, which is taken until %v", e.Ts, e.Tid, free[e.Tid])
		}
		free[e.Tid] = e.Ts + e.Dur
	}
	if n < 900 || len(free) > 60 {
		t.Errorf("%d slices on %d rows", n, len(free))
	}
}

// An empty run is an empty trace, in JSON a valid one.
func TestEmpty(t *testing.T) {
	if b, _ := write(t, NewPerfetto, Window{}, nil); len(b) != 0 {
		t.Errorf("%d bytes", len(b))
	}
	b, _ := write(t, NewChrome, Window{}, nil)
	if len(chromeEvents(t, b)) != 0 {
		t.Errorf("%s", b)
	}
}

type full struct{}

func (full) Write(b []byte) (int, error) { return 0, errFull }

var errFull = errors.New("no space left on device")

func TestErrorsSurface(t *testing.T) {
	for _, format := range []func(io.Writer, Window) *Writer{NewPerfetto, NewChrome} {
		w := format(full{}, Window{})
		records := log()
		for range 3000 {
			for i := range records {
				w.Record(&records[i])
			}
		}
		if err := w.Close(); !errors.Is(err, errFull) {
			t.Errorf("a full disk gives %v", err)
		}
	}
}

func BenchmarkIteration(b *testing.B) {
	records := log()
	for _, format := range []func(io.Writer, Window) *Writer{NewPerfetto, NewChrome} {
		w := format(io.Discard, Window{MaxEvents: 1 << 40})
		b.Run(strings.TrimPrefix(fmt.Sprintf("%T", w.enc), "*timeline."), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.Record(&records[4])
			}
		})
	}
}
