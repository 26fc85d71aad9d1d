package calibrate

import (
	"bufio"
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

	"orrery/internal/names"
	"orrery/internal/whole"
)

// Measured is what measurement files hold.
//
// A file is either one CSV table of one operator, recognised by its columns, or a
// measurement file of Orrery, which holds several: it begins with the line
// "# orrery measurements 1", goes on with facts ("# key: value"), and then has a
// section for each table, headed by the operator's name in brackets. A section
// "device" holds the data sheet of the device as rows of key and value.
type Measured struct {
	Facts  []Fact
	Device []Fact           // data sheet, keys as in the section device
	Rows   map[string][]Row // by operator
	Micro  []Micro
	// Requests are those of whole runs of an engine, section requests.
	Requests []Timing
	// Iterations are whole iterations, section iteration.
	Iterations []IterationSample
}

// Fact is a named thing that a measurement file says about itself.
type Fact struct{ Key, Value string }

// Micro is one figure of a device that is no operator: a bandwidth, a latency.
type Micro struct {
	GPU, Test, Parameter string
	Value                float64
	Unit, Source         string
}

// measurementsLine begins a measurement file of Orrery; the number is the version of
// its format.
const measurementsLine = "# orrery measurements 1"

// microColumns are the columns of the table microbench.
var microColumns = []string{"gpu", "test", "param", "value", "unit", "src"}

// ReadMeasurements reads the files one after another. What is torn, foreign or
// impossible ends the reading with an error that names file and line.
func ReadMeasurements(paths ...string) (*Measured, error) {
	m := &Measured{Rows: map[string][]Row{}}
	for _, path := range paths {
		if err := m.read(path); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Measured) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	s := &sections{file: filepath.Base(path), r: bufio.NewReader(f)}
	first, err := s.r.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(first) == 0 {
		return fmt.Errorf("%s: is empty; a measurement file has a CSV header or %q on its first line", path, measurementsLine)
	}
	if mark, _ := s.r.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		s.r.Discard(len(byteOrderMark))
		first, _ = s.r.Peek(1)
	}
	if len(first) == 0 || first[0] != '#' {
		return m.table(s, "")
	}
	return m.file(s)
}

// byteOrderMark is what some editors put before the first line.
const byteOrderMark = "\ufeff"

// longestLine is the most bytes of a line. A row has some hundred; what has no line ends
// is another kind of file, which must not be held in memory to find out.
const longestLine = 1 << 20

// sections reads a measurement file line by line.
type sections struct {
	file string
	r    *bufio.Reader
	line int
	next string // a line read ahead
	held bool
	torn bool // the last line had no end
}

func (s *sections) fail(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", s.file, s.line, fmt.Sprintf(format, args...))
}

// read returns the next line without its end.
func (s *sections) read() (string, error) {
	if s.held {
		s.held = false
		s.line++
		return s.next, nil
	}
	var line []byte
	for {
		piece, err := s.r.ReadSlice('\n')
		line = append(line, piece...)
		if len(line) > longestLine {
			s.line++
			return "", fmt.Errorf("line %d has more than %d bytes; this is no file of measurements", s.line, longestLine)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && (len(line) == 0 || !errors.Is(err, io.EOF)) {
			return "", err
		}
		s.torn = err != nil
		break
	}
	s.line++
	return strings.TrimRight(string(line), "\r\n"), nil
}

func (s *sections) unread(line string) { s.next, s.held, s.line = line, true, s.line-1 }

// file reads a measurement file of Orrery.
func (m *Measured) file(s *sections) error {
	line, err := s.read()
	if err != nil {
		return err
	}
	if line != measurementsLine {
		return s.fail("first line is %q, must be %q", line, measurementsLine)
	}
	for {
		line, err := s.read()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", s.file, err)
		case line == "":
		case strings.HasPrefix(line, "#"):
			key, value, ok := strings.Cut(strings.TrimPrefix(line, "#"), ":")
			if !ok {
				return s.fail("%q is no fact; a fact is \"# key: value\"", line)
			}
			m.Facts = append(m.Facts, Fact{strings.TrimSpace(key), strings.TrimSpace(value)})
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			if err := m.table(s, line[1:len(line)-1]); err != nil {
				return err
			}
		default:
			return s.fail("%q stands outside a section; a section begins with its operator in brackets", line)
		}
	}
}

// table reads one CSV table to the end of its section. The operator is known by the
// section's name, or by the columns if there is none.
func (m *Measured) table(s *sections, name string) error {
	line, err := s.read()
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("%s: %w", s.file, err)
	case err != nil:
		return s.fail("section %s has no header", name)
	}
	header := strings.Split(line, ",")
	for i := range header {
		header[i] = strings.TrimSpace(header[i])
		if slices.Contains(header[:i], header[i]) {
			return s.fail("the column %q is there twice", header[i])
		}
	}
	add, err := m.reader(s, name, header)
	if err != nil {
		return err
	}
	for {
		line, err := s.read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.file, err)
		}
		if name != "" && (line == "" || line[0] == '[' || line[0] == '#') {
			s.unread(line)
			return nil
		}
		if line == "" {
			continue
		}
		record, err := fields(line)
		if err != nil {
			return s.fail("a quotation mark is not closed, or stands within a field that has none around it")
		}
		if len(record) != len(header) {
			hint := ""
			if s.torn {
				hint = "; the file seems to be cut off here"
			}
			return s.fail("has %d fields, the header %d%s", len(record), len(header), hint)
		}
		if s.torn && name != "" { // files of ours end with a line's end; tables by hand may not
			return s.fail("the line has no end; the file seems to be cut off here")
		}
		if err := add(record); err != nil {
			return s.fail("%v", err)
		}
	}
}

func fields(line string) ([]string, error) {
	if !strings.Contains(line, `"`) {
		return strings.Split(line, ","), nil
	}
	return csv.NewReader(strings.NewReader(line)).Read()
}

// reader returns what takes in the records of a table.
func (m *Measured) reader(s *sections, name string, header []string) (func([]string) error, error) {
	switch {
	case name == "device":
		return func(r []string) error {
			if len(r) != 2 {
				return fmt.Errorf("a line of section device is key,value")
			}
			if slices.ContainsFunc(m.Device, func(f Fact) bool { return f.Key == r[0] && f.Value != r[1] }) {
				return fmt.Errorf("section device gives %q twice, with different values", r[0])
			}
			m.Device = append(m.Device, Fact{r[0], r[1]})
			return nil
		}, nil
	case name == "microbench" || name == "" && slices.Equal(header, microColumns):
		return m.microReader(s, header)
	case isTimings(name, header):
		return m.timingReader(s, header)
	case isIterations(name, header):
		return m.iterationReader(s, header)
	}
	o, err := operatorFor(name, header)
	if err != nil {
		return nil, s.fail("%v", err)
	}
	column := map[string]int{}
	for i, h := range header {
		column[h] = i
	}
	for _, c := range o.columns() {
		if _, ok := column[c]; !ok {
			return nil, s.fail("%s has no column %q; it needs %s", o.Name, c, strings.Join(o.columns(), ","))
		}
	}
	for _, h := range header {
		if !slices.Contains(o.columns(), h) {
			return nil, s.fail("%s knows no column %q; it has %s", o.Name, h, strings.Join(o.columns(), ","))
		}
	}
	return func(record []string) error {
		r, err := o.row(column, record)
		if err != nil {
			return err
		}
		r.File, r.Line = s.file, s.line
		m.Rows[o.Name] = append(m.Rows[o.Name], r)
		return nil
	}, nil
}

func (m *Measured) microReader(s *sections, header []string) (func([]string) error, error) {
	if !slices.Equal(header, microColumns) {
		return nil, s.fail("microbench has columns %s, must have %s", strings.Join(header, ","), strings.Join(microColumns, ","))
	}
	return func(r []string) error {
		v, err := strconv.ParseFloat(r[3], 64)
		if err != nil || !(v > 0) || math.IsInf(v, 0) {
			return fmt.Errorf("value is %q, must be a number above 0", r[3])
		}
		m.Micro = append(m.Micro, Micro{r[0], r[1], r[2], v, r[4], r[5]})
		return nil
	}, nil
}

// operatorFor finds the operator of a table by its name, or by its columns if it has
// none.
func operatorFor(name string, header []string) (*Operator, error) {
	if name != "" {
		if o, ok := FindOperator(name); ok {
			return o, nil
		}
		known := []string{"device", "microbench", "iteration", "requests"}
		for _, o := range operators {
			known = append(known, o.Name)
		}
		return nil, names.Unknown("section", name, known)
	}
	for _, o := range operators {
		have := 0
		for _, c := range o.columns() {
			if slices.Contains(header, c) {
				have++
			}
		}
		if have == len(o.columns()) && len(header) == have {
			return o, nil
		}
	}
	return nil, fmt.Errorf("the columns %s are those of no operator; see the formats in calibrate/doc.go", strings.Join(header, ","))
}

// columns returns the columns of the operator's table, in no particular order.
func (o *Operator) columns() []string {
	return slices.Concat([]string{"gpu", "dtype"}, o.Words, o.Sizes, []string{"time_us", "src"})
}

// Times of operators outside of these were measured in another unit, or not at all: less
// than a cycle of a clock, more than a day.
const leastMicros, mostMicros = 1e-4, 1e11

// row makes a row of a record and refuses what cannot have been measured.
func (o *Operator) row(column map[string]int, record []string) (Row, error) {
	r := Row{GPU: record[column["gpu"]], DType: record[column["dtype"]], Source: record[column["src"]]}
	if r.GPU == "" || r.Source == "" {
		return r, fmt.Errorf("gpu and src must be named")
	}
	var shape strings.Builder
	shape.WriteString(o.Name)
	for i, c := range o.Words {
		r.Words[i] = record[column[c]]
		shape.WriteString(" " + r.Words[i])
	}
	for i, c := range o.Sizes {
		s := record[column[c]]
		optional := slices.Contains(o.Optional, c)
		if s == "" && optional {
			s = "0"
		}
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 || v == 0 && !optional {
			return r, fmt.Errorf("%s is %q, must be a number above 0", c, s)
		}
		r.Args[i] = v
		shape.WriteString(" " + strconv.FormatFloat(v, 'g', -1, 64))
	}
	s := record[column["time_us"]]
	us, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil || !(us > 0):
		return r, fmt.Errorf("time_us is %q, must be a number above 0", s)
	case us < leastMicros || us > mostMicros:
		return r, fmt.Errorf("time_us is %q, must be microseconds from %g to %g", s, leastMicros, mostMicros)
	}
	r.Seconds = us * 1e-6
	r.Shape = shape.String()
	return r, nil
}

// Write writes m as a measurement file of Orrery, whole or not at all.
func (m *Measured) Write(path string) error {
	f, err := whole.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	fmt.Fprintln(f, measurementsLine)
	for _, x := range m.Facts {
		fmt.Fprintf(f, "# %s: %s\n", oneLine(x.Key), oneLine(x.Value))
	}
	if len(m.Device) > 0 {
		fmt.Fprint(f, "\n[device]\nkey,value\n")
		for _, x := range m.Device {
			fmt.Fprintf(f, "%s,%s\n", quoted(x.Key), quoted(x.Value))
		}
	}
	if len(m.Micro) > 0 {
		fmt.Fprintf(f, "\n[microbench]\n%s\n", strings.Join(microColumns, ","))
		for _, x := range m.Micro {
			fmt.Fprintf(f, "%s,%s,%s,%s,%s,%s\n", quoted(x.GPU), quoted(x.Test), quoted(x.Parameter), number(x.Value), quoted(x.Unit), quoted(x.Source))
		}
	}
	for _, o := range operators {
		o.write(f, m.Rows[o.Name])
	}
	writeTimings(f, m.Requests)
	writeIterations(f, m.Iterations)
	return f.Commit()
}

func (o *Operator) write(w io.Writer, rows []Row) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n[%s]\n%s\n", o.Name, strings.Join(o.columns(), ","))
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(w, "%s,%s", quoted(r.GPU), quoted(r.DType))
		for i := range o.Words {
			fmt.Fprintf(w, ",%s", quoted(r.Words[i]))
		}
		for i := range o.Sizes {
			fmt.Fprintf(w, ",%s", number(r.Args[i]))
		}
		fmt.Fprintf(w, ",%s,%s\n", number(Round(r.Seconds*1e6)), quoted(r.Source))
	}
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// quoted returns s as a CSV field. A line break in a word would tear the file, and a line
// that begins like a fact or a section would be taken for one.
func quoted(s string) string {
	s = oneLine(s)
	if strings.ContainsAny(s, `,"`) || strings.HasPrefix(s, "#") || strings.HasPrefix(s, "[") {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}

func oneLine(s string) string { return strings.NewReplacer("\n", " ", "\r", " ").Replace(s) }
