// Package duckdb holds the tables of a sweep to what another program reads in them: it runs the
// queries that docs/sweeps.md has. DuckDB is half a gigabyte of libraries for five platforms, so
// it stands in a module of its own that nothing else needs.
//
//	cd tools/duckdb && go test .
package duckdb

import (
	"bufio"
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"
)

// root is the folder of the main module, from that of this test.
const root = "../.."

// study runs the sweep that the documentation's queries are of, in a folder that is then the
// current one, and returns a database.
func study(t *testing.T) *sql.DB {
	t.Helper()
	folder := t.TempDir()
	program := filepath.Join(folder, "orrery")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = root
	command(t, build)
	t.Chdir(folder)
	// A policy that is not there makes rows with errors; the exit status is then 1.
	out, err := exec.Command(program, "sweep", "quickstart", "--set", "traffic.requests=200",
		"--vary", "traffic.rate=0.5..2.0:4", "--vary", "policy.batch=vllm,sarathi,no-such", "--seeds", "5", "--out", "results/study").CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 {
		t.Fatalf("%v\n%s", err, out)
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func command(t *testing.T, c *exec.Cmd) {
	t.Helper()
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", c, err, out)
	}
}

// query returns the rows of a query as texts, the names of the columns first.
func query(t *testing.T, db *sql.DB, text string) [][]string {
	t.Helper()
	rows, err := db.Query(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	table := [][]string{names}
	for rows.Next() {
		values, at := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			at[i] = &values[i]
		}
		if err := rows.Scan(at...); err != nil {
			t.Fatal(err)
		}
		line := make([]string, len(names))
		for i, v := range values {
			line[i] = fmt.Sprint(v)
		}
		table = append(table, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return table
}

// documented returns the queries of the documentation.
func documented(t *testing.T) (queries []string) {
	t.Helper()
	data, err := os.ReadFile(root + "/docs/sweeps.md")
	if err != nil {
		t.Fatal(err)
	}
	var one strings.Builder
	within := false
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		switch line := lines.Text(); {
		case line == "```sql":
			within = true
			one.Reset()
		case line == "```" && within:
			within = false
			queries = append(queries, one.String())
		case within:
			fmt.Fprintln(&one, line)
		}
	}
	return queries
}

// The documentation's queries run, and answer what they say they do.
func TestDocumentedQueries(t *testing.T) {
	queries := documented(t) // before the folder changes
	db := study(t)
	want := []struct {
		columns string
		rows    int
		// row is what the first row begins with.
		row string
	}{
		{"traffic_rate policy_batch ttft tbt goodput seeds_that_met", 12, "0.5 no-such <nil> <nil> <nil> 0"},
		{"traffic_rate ratio change_s standard_error_s", 4, "0.5 "},
		{"traffic_rate best goodput at_least", 4, "0.5 "},
		{"cell policy_batch seed error", 20, "10 no-such 1 "},
	}
	if len(queries) != len(want) {
		t.Fatalf("%d queries; want %d", len(queries), len(want))
	}
	for i, q := range queries {
		got := query(t, db, q)
		if columns := strings.Join(got[0], " "); columns != want[i].columns {
			t.Errorf("query %d has columns %s; want %s", i+1, columns, want[i].columns)
		}
		if len(got) != 1+want[i].rows || !strings.HasPrefix(strings.Join(got[1], " ")+" ", want[i].row) {
			t.Errorf("query %d: %d rows, the first %v; want %d, the first %s", i+1, len(got)-1, got[1], want[i].rows, want[i].row)
		}
		for _, row := range got[1:] {
			t.Log(strings.Join(row, " | "))
		}
	}
}

// Both tables are the same one, and their types are those of the manifest.
func TestTablesAgree(t *testing.T) {
	db := study(t)
	for _, pair := range [][2]string{{"parquet", "csv"}, {"csv", "parquet"}} {
		// Columns without any value are texts to a reader of CSV, so all are compared as such; a
		// double is written in the same shortest form by both sides once it has been read.
		got := query(t, db, fmt.Sprintf(
			"SELECT count(*) FROM (SELECT CAST(COLUMNS(*) AS VARCHAR) FROM 'results/study/runs.%s' EXCEPT SELECT CAST(COLUMNS(*) AS VARCHAR) FROM 'results/study/runs.%s')", pair[0], pair[1]))
		if got[1][0] != "0" {
			t.Errorf("%s rows of runs.%s are not in runs.%s", got[1][0], pair[0], pair[1])
		}
	}
	if got := query(t, db, "SELECT count(*), count(DISTINCT run), sum(error IS NOT NULL) FROM 'results/study/runs.parquet'"); strings.Join(got[1], " ") != "60 40 20" {
		t.Errorf("rows, runs and errors are %v; want 60 40 20", got[1])
	}
	types := query(t, db, "SELECT c.name, c.type, d.column_type FROM (SELECT unnest(columns) AS c FROM read_json('results/study/manifest.json')) JOIN (DESCRIBE SELECT * FROM 'results/study/runs.parquet') d ON d.column_name = c.name")
	if len(types) < 40 {
		t.Errorf("%d columns", len(types)-1)
	}
	for _, row := range types[1:] {
		if row[1] != row[2] {
			t.Errorf("column %s is %s; the manifest has %s", row[0], row[2], row[1])
		}
	}
}
