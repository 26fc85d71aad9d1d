package rows

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"orrery/cluster"
	"orrery/sim"
	"orrery/workloads"
)

// log is four ends of requests, one of each kind and a request of one token.
func log() []cluster.Record {
	request := func(id, session int64, prompt, output int32, arrived, scheduled, first, last sim.Time, emitted int32) *cluster.Served {
		return &cluster.Served{
			Request:   workloads.Request{ID: id, Session: session, Tenant: 7, Arrived: arrived, Prompt: prompt, Output: output},
			Scheduled: scheduled, First: first, Last: last, Emitted: emitted,
		}
	}
	a := request(0, 42, 100, 3, 1_000_000_001, 1_000_000_002, 1_500_000_000, 2_500_000_001, 3)
	a.Cached, a.Recomputed, a.Preemptions, a.LateGaps, a.Turn = 16, 5, 1, 2, 1
	return []cluster.Record{
		{What: cluster.Arrived, At: 1, Request: a},
		{What: cluster.Finished, At: 2_500_000_001, Replica: 1, Request: a},
		{What: cluster.Finished, At: 3e9, Request: request(1, 0, 5, 1, 0, 0, 3e9, 3e9, 1)},
		{What: cluster.Rejected, At: 4e9, Request: request(2, 0, 9999, 1, 4e9, never, never, never, 0), Reason: `too long, by "far"`},
		{What: cluster.Unfinished, At: 9e9, Replica: -1, Request: request(3, 0, 10, 8, 5e9, never, never, never, 0)},
		{What: cluster.Unfinished, At: 9e9, Replica: 2, Request: request(4, 0, 10, 8, 5e9, 6e9, 7e9, 8e9, 2)},
	}
}

func TestCSVByHand(t *testing.T) {
	var b bytes.Buffer
	w := NewCSV(&b)
	records := log()
	for i := range records {
		w.Record(&records[i])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := csvHeader + `0,1,7,42,1,finished,,1.000000001,2.500000001,0.000000001,0.499999999,0.500000000,1.500000000,100,3,3,16,5,1,2
1,0,7,0,0,finished,,0.000000000,3.000000000,0.000000000,3.000000000,,3.000000000,5,1,1,0,0,0,0
2,0,7,0,0,rejected,"too long, by ""far""",4.000000000,4.000000000,,,,,9999,1,0,0,0,0,0
3,-1,7,0,0,unfinished,,5.000000000,9.000000000,,,,,10,8,0,0,0,0,0
4,2,7,0,0,unfinished,,5.000000000,9.000000000,1.000000000,2.000000000,1.000000000,,10,8,2,0,0,0,0
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

// Both formats say the same, column by column, row by row.
func TestParquetSaysWhatCSVSays(t *testing.T) {
	var text, binary bytes.Buffer
	c, p := NewCSV(&text), NewParquet(&binary)
	records := log()
	const copies = 700 // more than a batch
	for range copies {
		for i := range records {
			c.Record(&records[i])
			p.Record(&records[i])
		}
	}
	if err := errors.Join(c.Close(), p.Close()); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&text).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	read, err := parquet.Read[Row](bytes.NewReader(binary.Bytes()), int64(binary.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if len(read) != 5*copies || len(lines) != len(read)+1 || p.Rows() != int64(len(read)) {
		t.Fatalf("%d rows of Parquet, %d lines of CSV", len(read), len(lines))
	}
	for i := range read {
		v := reflect.ValueOf(read[i])
		for j := range v.NumField() {
			tag, _, _ := strings.Cut(v.Type().Field(j).Tag.Get("parquet"), ",")
			if lines[0][j] != tag {
				t.Fatalf("column %d is %s in CSV and %s in Parquet", j, lines[0][j], tag)
			}
			if got, want := asText(v.Field(j)), lines[i+1][j]; got != want {
				t.Fatalf("row %d: %s is %q in Parquet and %q in CSV", i, tag, got, want)
			}
		}
	}
}

// asText writes a field as the CSV does.
func asText(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return asText(v.Elem())
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', 9, 64)
	case reflect.String:
		return v.String()
	}
	return strconv.FormatInt(v.Int(), 10)
}

// limited fails like a disk that is full after n bytes.
type limited struct{ n int }

var errFull = errors.New("no space left on device")

func (l *limited) Write(b []byte) (int, error) {
	if len(b) > l.n {
		return l.n, errFull
	}
	l.n -= len(b)
	return len(b), nil
}

func TestErrorsSurface(t *testing.T) {
	for name, format := range map[string]func(io.Writer) *Writer{"csv": NewCSV, "parquet": NewParquet} {
		w := format(&limited{100})
		records := log()
		for range 3000 {
			for i := range records {
				w.Record(&records[i])
			}
		}
		if err := w.Close(); !errors.Is(err, errFull) {
			t.Errorf("%s: a full disk gives %v", name, err)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := Create(filepath.Join(dir, "requests.xlsx")); err == nil || !strings.Contains(err.Error(), ".csv or .parquet") {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"requests.csv", "requests.parquet"} {
		f, err := Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		records := log()
		f.Record(&records[1])
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Error("the file is there before it is complete")
		}
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
		if s, err := os.Stat(filepath.Join(dir, name)); err != nil || s.Size() == 0 {
			t.Error(s, err)
		}
	}
}

func BenchmarkRows(b *testing.B) {
	records := log()
	for name, format := range map[string]func(io.Writer) *Writer{"csv": NewCSV, "parquet": NewParquet} {
		b.Run(name, func(b *testing.B) {
			w := format(io.Discard)
			b.ReportAllocs()
			for b.Loop() {
				w.Record(&records[1])
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
