package calibrate

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Table is a measured CSV file with a header, read row by row.
type Table struct {
	path   string
	header []string
	column map[string]int
	r      *csv.Reader
	line   int
	record []string
	err    error
}

// ReadTable calls row for each line of the CSV file at path, whose header must
// name all of columns.
func ReadTable(path string, columns []string, row func(t *Table) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	t := &Table{path: filepath.Base(path), r: csv.NewReader(f), column: map[string]int{}, line: 1}
	t.r.ReuseRecord = true
	head, err := t.r.Read()
	if err != nil {
		return fmt.Errorf("%s: no header: %w", t.path, err)
	}
	t.header = slices.Clone(head)
	for i, h := range t.header {
		t.column[h] = i
	}
	for _, c := range columns {
		if _, ok := t.column[c]; !ok {
			return fmt.Errorf("%s: no column %q; it has %q", t.path, c, t.header)
		}
	}
	for {
		t.record, err = t.r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t.path, err)
		}
		t.line++
		if err := row(t); err != nil {
			return fmt.Errorf("%s:%d: %w", t.path, t.line, err)
		}
		if t.err != nil {
			return t.err
		}
	}
}

// Text returns the field of the named column.
func (t *Table) Text(column string) string { return t.record[t.column[column]] }

// Number returns the field of the named column as a number, 0 if it is empty. A
// field that is no number ends the reading with an error.
func (t *Table) Number(column string) float64 {
	s := t.Text(column)
	if s == "" {
		return 0
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("%s:%d: %s is %q, not a number", t.path, t.line, column, s)
	}
	return v
}
