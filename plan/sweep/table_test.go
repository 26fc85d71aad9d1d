package sweep

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"orrery/plan"
	"orrery/report"
)

// Every column has a name of its own that needs no quotes, and words about it.
func TestColumnsAreDistinct(t *testing.T) {
	var names []string
	for _, c := range columnsOf(nil) {
		if c.Name != columnName(c.Name) || c.About == "" || slices.Contains(names, c.Name) {
			t.Errorf("column %+v", c)
		}
		names = append(names, c.Name)
	}
	for _, m := range plan.Metrics() {
		if !slices.Contains(names, m.Key) {
			t.Errorf("no column of %s", m.Key)
		}
	}
}

// What a key is varied over decides the type of its column; durations become seconds.
func TestAxisColumns(t *testing.T) {
	for text, want := range map[string]Column{
		"traffic.rate=1,2":               {"traffic_rate", Whole, "traffic.rate"},
		"traffic.rate=1,2.5":             {"traffic_rate", Number, "traffic.rate"},
		"policy.prefix_cache=true,false": {"policy_prefix_cache", Truth, "policy.prefix_cache"},
		"policy.batch=vllm,sarathi":      {"policy_batch", Text, "policy.batch"},
		"policy.batch=1,sarathi":         {"policy_batch", Text, "policy.batch"},
		"slo.ttft=100ms,2s":              {"slo_ttft_s", Number, "slo.ttft, seconds"},
		"group.fast-one.replicas=1,2":    {"group_fast_one_replicas", Whole, "group.fast-one.replicas"},
	} {
		a, err := ParseAxis(text)
		if err != nil {
			t.Fatal(err)
		}
		s := Spec{Axes: []Axis{a}}
		got, err := axisColumns(s.Axes, s.settings())
		if err != nil || got[0] != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	twice := Spec{Axes: []Axis{{Key: "a.b", Values: []string{"1"}}, {Key: "a_b", Values: []string{"1"}}}}
	if _, err := axisColumns(twice.Axes, twice.settings()); err == nil {
		t.Error("two columns of one name")
	}
	if _, err := axisColumns([]Axis{{Key: "met", Values: []string{"1"}}}, [][]Setting{{{"met", "1"}}}); err == nil {
		t.Error("a column called like one of every table")
	}
}

// Parquet and CSV are the same table, and the summary has its means.
func TestTablesAgree(t *testing.T) {
	w := planned(t, 1, 2, 3)
	folder := t.TempDir()
	runIn(t, w, folder, 2)
	text := files(t, folder)
	lines, err := csv.NewReader(strings.NewReader(text[CSVFile])).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(bytes.NewReader([]byte(text[ParquetFile])), int64(len(text[ParquetFile])))
	if err != nil {
		t.Fatal(err)
	}
	for i, field := range f.Schema().Fields() {
		if field.Name() != lines[0][i] {
			t.Fatalf("column %d is %s in Parquet and %s in CSV", i, field.Name(), lines[0][i])
		}
	}
	got := readParquet(t, f)
	if len(got) != len(lines)-1 {
		t.Fatalf("%d rows in Parquet, %d in CSV", len(got), len(lines)-1)
	}
	for i, row := range got {
		if !slices.Equal(row, lines[i+1]) {
			t.Fatalf("row %d:\n%v\n%v", i, row, lines[i+1])
		}
	}

	wholeFigures(t, w, folder)
	summary, err := csv.NewReader(strings.NewReader(text[SummaryFile])).ReadAll()
	if err != nil || len(summary) != 1+len(w.Settings) {
		t.Fatalf("%d lines, %v", len(summary), err)
	}
	in, out := slices.Index(lines[0], "ttft_mean_s"), slices.Index(summary[0], "ttft_mean_s")
	sum := 0.0
	for _, line := range lines[1:4] {
		x, err := strconv.ParseFloat(line[in], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += x
	}
	mean, err := strconv.ParseFloat(summary[1][out], 64)
	if err != nil || mean < sum/3*(1-1e-12) || mean > sum/3*(1+1e-12) {
		t.Errorf("mean %v, %v; want %v", mean, err, sum/3)
	}
}

// wholeFigures checks that what a column takes for whole numbers are such.
func wholeFigures(t *testing.T, w *Sweep, folder string) {
	t.Helper()
	dir := &Dir{Path: folder}
	for i := range w.Cells {
		r, ok, err := dir.Get(w.Cells[i].Key)
		if err != nil {
			t.Fatal(err)
		}
		for k := range columns {
			v := float64(aFigure(r, ok, k))
			if columns[k].Kind == Whole && v != math.Trunc(v) || columns[k].Kind == Truth && v != 0 && v != 1 {
				t.Errorf("%s of cell %d is %v", columns[k].Name, i, v)
			}
		}
	}
}

// aFigure returns a figure of a result, 0 where there is none.
func aFigure(r Result, ok bool, k int) report.Number {
	if !ok || r.Figures == nil || !r.Figures[k].Exists() {
		return 0
	}
	return r.Figures[k]
}

// readParquet returns the cells as texts, as CSV has them.
func readParquet(t *testing.T, f *parquet.File) (table [][]string) {
	t.Helper()
	for _, group := range f.RowGroups() {
		rows := group.Rows()
		defer rows.Close()
		buffer := make([]parquet.Row, group.NumRows())
		n, _ := rows.ReadRows(buffer) // the end is in n
		for _, row := range buffer[:n] {
			line := make([]string, len(row))
			for i, v := range row {
				switch {
				case v.IsNull():
				case v.Kind() == parquet.Double:
					line[i] = strconv.FormatFloat(v.Double(), 'g', -1, 64)
				case v.Kind() == parquet.Int64:
					line[i] = strconv.FormatInt(v.Int64(), 10)
				case v.Kind() == parquet.Boolean:
					line[i] = fmt.Sprint(v.Boolean())
				default:
					line[i] = string(v.ByteArray())
				}
			}
			table = append(table, line)
		}
	}
	return table
}

// A manifest is read back as it was written, and a damaged one is refused in a line.
func TestManifest(t *testing.T) {
	w := planned(t, 1, 2)
	folder := t.TempDir()
	runIn(t, w, folder, 2)
	m, err := ReadManifest(folder)
	if err != nil {
		t.Fatal(err)
	}
	one, err := m.encode()
	if err != nil || string(one) != files(t, folder)[ManifestFile] {
		t.Errorf("read back as another one, %v", err)
	}
	file := filepath.Join(folder, ManifestFile)
	for name, change := range map[string]func(string) string{
		"torn":          func(s string) string { return s[:len(s)/2] },
		"a wrong key":   func(s string) string { return strings.Replace(s, w.Cells[0].Key, "../../etc/passwd", 1) },
		"fewer columns": func(s string) string { return strings.Replace(s, `"growing"`, `"grown"`, 1) },
		"of another":    func(s string) string { return strings.Replace(s, `"sweep"`, `"compare"`, 1) },
		"short setting": func(s string) string { return strings.Replace(s, `"1.0",`, ``, 1) },
	} {
		if err := os.WriteFile(file, []byte(change(string(one))), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadManifest(folder); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), ManifestFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Merge([]string{t.TempDir()}, t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "folder of a sweep") {
		t.Errorf("an empty folder: %v", err)
	}
}
