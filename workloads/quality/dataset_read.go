package quality

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// longestLine bounds a line of a table, in bytes.
const longestLine = 1 << 20

// OpenDataset reads a table from a file, in the format that its name ends in: .csv, .arff,
// or .libsvm, .svm and .scale for LIBSVM, each also with .gz.
func OpenDataset(path string) (*Dataset, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadDataset(path, f)
}

// ReadDataset reads a table in the format that name ends in, as [OpenDataset] says.
func ReadDataset(name string, r io.Reader) (*Dataset, error) {
	inner, packed := strings.CutSuffix(name, ".gz")
	if packed {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		r = z
	}
	switch ext := strings.ToLower(filepath.Ext(inner)); ext {
	case ".csv":
		return ReadCSV(name, r)
	case ".arff":
		return ReadARFF(name, r)
	case ".libsvm", ".svm", ".scale":
		return ReadLIBSVM(name, r)
	default:
		return nil, fmt.Errorf("%s: a table of unknown format; want a name that ends in .csv, .arff or .libsvm, or these with .gz", name)
	}
}

// ReadCSV reads a table with commas between values, numbers all but the last, which is the
// class. A first line with a feature that is no number has the names. Errors name file and
// line.
func ReadCSV(name string, in io.Reader) (*Dataset, error) {
	r := newReading(name)
	rows := csv.NewReader(in)
	rows.ReuseRecord, rows.TrimLeadingSpace = true, true
	rows.FieldsPerRecord = -1 // ours says what would be right
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return r.done()
		}
		if err != nil {
			return nil, csvError(name, err)
		}
		r.line, _ = rows.FieldPos(0)
		if r.Features == nil {
			if r.csvHeader(row) {
				continue
			}
		}
		if len(row) != len(r.Features)+1 {
			return nil, r.errorf("%d values; want %d, the class last", len(row), len(r.Features)+1)
		}
		if err := r.csvRow(row); err != nil {
			return nil, err
		}
	}
}

func csvError(name string, err error) error {
	var at *csv.ParseError
	if errors.As(err, &at) {
		return fmt.Errorf("%s:%d: %w", name, at.Line, at.Err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// csvHeader takes the names of features from the first row, or numbers them if that is a
// sample already.
func (r *reading) csvHeader(row []string) bool {
	features := row[:len(row)-1]
	named := slices.ContainsFunc(features, func(s string) bool {
		_, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		return err != nil
	})
	r.Features = make([]string, len(features))
	for j, s := range features {
		if r.Features[j] = strconv.Itoa(j + 1); named {
			r.Features[j] = strings.Clone(s)
		}
	}
	return named
}

func (r *reading) csvRow(row []string) error {
	for j, f := range r.Features {
		x, err := r.number(f, row[j])
		if err != nil {
			return err
		}
		r.X = append(r.X, x)
	}
	return r.add(strings.TrimSpace(strings.Clone(row[len(row)-1])))
}

// ReadLIBSVM reads the sparse format of LIBSVM and LIBLINEAR: a class, a number, and then
// index:value for every feature that is not zero, indices increasing from 1. What follows
// a # is a comment. Errors name file and line.
func ReadLIBSVM(name string, in io.Reader) (*Dataset, error) {
	r := newReading(name)
	type entry struct {
		sample, index int
		value         float64
	}
	var entries []entry
	wide := 0
	err := r.lines(in, func(text string) error {
		text, _, _ = strings.Cut(text, "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			return nil
		}
		class, err := parseFinite(fields[0])
		if err != nil {
			return r.errorf("the class is %.40q; want a number", fields[0])
		}
		last := 0
		for _, f := range fields[1:] {
			index, value, ok := strings.Cut(f, ":")
			i, err := strconv.Atoi(index)
			if !ok || err != nil || i <= last {
				return r.errorf("%.40q after index %d; want index:value with a larger index", f, last)
			}
			x, err := r.number("feature "+index, value)
			if err != nil {
				return err
			}
			entries = append(entries, entry{len(r.Y), i - 1, x})
			last = i
		}
		if wide = max(wide, last); wide > mostValues/(len(r.Y)+1) {
			return r.errorf("%d samples of %d features; want at most %d values", len(r.Y)+1, wide, mostValues)
		}
		return r.add(strconv.FormatFloat(class, 'g', -1, 64))
	})
	if err != nil {
		return nil, err
	}
	for j := range wide {
		r.Features = append(r.Features, strconv.Itoa(j+1))
	}
	r.X = make([]float64, len(r.Y)*wide)
	for _, e := range entries {
		r.X[e.sample*wide+e.index] = e.value
	}
	return r.done()
}

// lines calls visit for every line, without the space about it.
func (r *reading) lines(in io.Reader, visit func(text string) error) error {
	s := bufio.NewScanner(in)
	s.Buffer(nil, longestLine)
	for s.Scan() {
		r.line++
		if err := visit(strings.TrimSpace(s.Text())); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		r.line++
		return r.errorf("%v", err)
	}
	return nil
}

func parseFinite(s string) (float64, error) {
	x, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err == nil && (math.IsNaN(x) || math.IsInf(x, 0)) {
		err = strconv.ErrRange
	}
	return x, err
}
