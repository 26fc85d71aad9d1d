package trace

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"

	"orrery/sim"
)

// The columns that are read. Others are allowed and ignored.
const (
	colTime = iota
	colPrompt
	colOutput
	colTenant
	colHashIDs
	numCols
)

var colNames = [numCols]string{"arrived_at_s", "prompt_tokens", "output_tokens", "tenant", "hash_ids"}

// row is one request as it stands in a file.
type row struct {
	at             float64 // seconds since the start of the file's window; 0 without the column
	prompt, output int32
	tenant         int32
	hashIDs        []byte // unparsed; valid until the next row is read
}

// maxLine bounds the memory that a damaged file can ask for. The longest honest
// line lists one block id for each block of a prompt of [MaxTokens].
const maxLine = 1 << 20

// reader streams the rows of one CSV file, plain or gzip-compressed, and checks
// each of them. Its errors begin with the file and the line.
type reader struct {
	name   string
	closer io.Closer
	in     *bufio.Reader
	long   []byte // holds a line that does not fit into in's buffer
	line   int
	fields int          // number of fields of the header
	col    [numCols]int // position of each column in a line, or -1
	cell   [numCols][]byte
	last   float64 // time of the row before
}

// openFile opens the named trace. With timed, rows must have arrival times in
// ascending order.
func openFile(name string, timed bool) (*reader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err // os names the file and the reason
	}
	r, err := newReader(name, f, timed)
	if err != nil {
		f.Close()
		return nil, err
	}
	r.closer = f
	return r, nil
}

// newReader reads the header of in. Compressed input is told by its first bytes.
func newReader(name string, in io.Reader, timed bool) (*reader, error) {
	r := &reader{name: name, in: bufio.NewReaderSize(in, 64<<10)}
	if magic, _ := r.in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(r.in)
		if err != nil {
			return nil, r.broken(err)
		}
		r.in = bufio.NewReaderSize(z, 64<<10)
	}
	header, err := r.readLine()
	if err == io.EOF {
		return nil, fmt.Errorf("%s: the file is empty; want a header line such as %s,%s,%s", name,
			colNames[colTime], colNames[colPrompt], colNames[colOutput])
	}
	if err != nil {
		return nil, err
	}
	return r, r.readHeader(bytes.TrimPrefix(header, []byte("\xef\xbb\xbf")), timed)
}

func (r *reader) readHeader(header []byte, timed bool) error {
	for c := range r.col {
		r.col[c] = -1
	}
	for name := range bytes.SplitSeq(header, []byte{','}) {
		for c := range r.col {
			if string(unquote(name)) != colNames[c] {
				continue
			}
			if r.col[c] >= 0 {
				return r.errorf("column %s stands twice in the header; want it once", colNames[c])
			}
			r.col[c] = r.fields
		}
		r.fields++
	}
	for c := colTime; c <= colOutput; c++ {
		if r.col[c] >= 0 || c == colTime && !timed {
			continue
		}
		hint := ""
		if c == colTime && r.col[colPrompt] >= 0 {
			hint = "; a file without arrival times can serve as lengths, with arrivals drawn"
		}
		return r.errorf("the header has no column %s: %q%s", colNames[c], shorten(header), hint)
	}
	if !timed {
		r.col[colTime] = -1
	}
	return nil
}

// next returns the next row, or io.EOF after the last one.
func (r *reader) next() (row, error) {
	line, err := r.readLine()
	for err == nil && len(line) == 0 {
		line, err = r.readLine()
	}
	if err != nil {
		return row{}, err
	}
	if err := r.split(line); err != nil {
		return row{}, err
	}
	var w row
	if r.col[colTime] >= 0 {
		if w.at, err = r.seconds(r.cell[colTime]); err != nil {
			return row{}, err
		}
	}
	if w.prompt, err = r.number(colPrompt, 1, MaxTokens); err != nil {
		return row{}, err
	}
	if w.output, err = r.number(colOutput, 1, MaxTokens); err != nil {
		return row{}, err
	}
	if len(r.cell[colTenant]) > 0 {
		if w.tenant, err = r.number(colTenant, 0, math.MaxInt32); err != nil {
			return row{}, err
		}
	}
	w.hashIDs = r.cell[colHashIDs]
	return w, nil
}

// split finds the cells of the columns in line.
func (r *reader) split(line []byte) error {
	if n := bytes.Count(line, []byte{','}) + 1; n != r.fields {
		return r.errorf("the line has %d fields; want %d as in the header", n, r.fields)
	}
	field := 0
	for rest := line; ; field++ {
		cell, after, more := bytes.Cut(rest, []byte{','})
		for c, at := range r.col {
			if at == field {
				r.cell[c] = unquote(cell)
			}
		}
		if rest = after; !more {
			return nil
		}
	}
}

// seconds parses an arrival time, which must not come before the previous one.
func (r *reader) seconds(cell []byte) (float64, error) {
	s, err := strconv.ParseFloat(string(cell), 64)
	if err != nil || !(s >= 0) || sim.Seconds(s) == sim.Forever {
		return 0, r.errorf("%s is %q; want seconds since the start of the trace, at least 0", colNames[colTime], shorten(cell))
	}
	if s < r.last {
		return 0, r.errorf("%s is %v, before the row above (%v); want rows sorted by time", colNames[colTime], s, r.last)
	}
	r.last = s
	return s, nil
}

// number parses the cell of column c as a whole number between low and high.
func (r *reader) number(c int, low, high int32) (int32, error) {
	n, err := strconv.ParseInt(string(r.cell[c]), 10, 32)
	if err != nil || int32(n) < low || int32(n) > high {
		return 0, r.errorf("%s is %q; want a whole number, %d to %d", colNames[c], shorten(r.cell[c]), low, high)
	}
	return int32(n), nil
}

// readLine returns the next line without its end, or io.EOF. The line is valid
// until the next call.
func (r *reader) readLine() ([]byte, error) {
	r.line++
	line, err := r.in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		r.long = r.long[:0]
		for err == bufio.ErrBufferFull && len(r.long) <= maxLine {
			r.long = append(r.long, line...)
			line, err = r.in.ReadSlice('\n')
		}
		if r.long = append(r.long, line...); len(r.long) > maxLine {
			return nil, r.errorf("the line is longer than %d bytes; want one request a line", maxLine)
		}
		line = r.long
	}
	if err == io.EOF && len(line) > 0 {
		err = nil // the last line may lack its end
	}
	if err == io.EOF {
		return nil, err
	}
	if err != nil {
		return nil, r.broken(err)
	}
	line = bytes.TrimSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'}), nil
}

// broken explains an error of the stream itself.
func (r *reader) broken(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return r.errorf("the gzip stream ends too early; the file was cut, copy it again")
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		return r.errorf("the gzip stream is damaged; copy the file again")
	}
	return r.errorf("%w", err)
}

func (r *reader) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", r.name, r.line, fmt.Errorf(format, args...))
}

func (r *reader) close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// unquote trims spaces and one pair of double quotes. Cells hold numbers, so
// there is nothing inside quotes to care for.
func unquote(cell []byte) []byte {
	cell = bytes.TrimSpace(cell)
	if n := len(cell); n >= 2 && cell[0] == '"' && cell[n-1] == '"' {
		return cell[1 : n-1]
	}
	return cell
}
