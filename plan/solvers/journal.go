package solvers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"strconv"
)

// Journal keeps scores in a file, a line each, so that a search that was cut off goes on where it
// was. A line carries its check sum: what was torn or damaged is not believed, and is scored
// again. Several searches may share a file.
type Journal struct {
	Damaged int // lines that were not believed

	path   string
	file   *os.File
	prefix string
	known  map[string]float64
}

// journalVersion changes with the meaning of names and scores.
const journalVersion = 1

// journalLine is a score; null where it is no finite number.
type journalLine struct {
	Of   string   `json:"of"`
	RMSE *float64 `json:"rmse"`
}

// OpenJournal opens the journal of a search, which is made if it is not there.
func OpenJournal(path string, s *Search) (*Journal, error) {
	j := &Journal{path: path, known: map[string]float64{}, prefix: fmt.Sprintf("v%d %s seed %d rows %d nfe %d ", journalVersion, s.Bed.Name, s.Seed, trainRows, s.NFE)}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the journal: %w", err)
	}
	for line := range bytes.Lines(data) {
		l, ok := readLine(line)
		if !ok {
			j.Damaged++
			continue
		}
		j.known[l.Of] = math.Inf(1)
		if l.RMSE != nil {
			j.known[l.Of] = *l.RMSE
		}
	}
	if len(data) > 0 && j.Damaged > 0 && len(j.known) == 0 {
		return nil, fmt.Errorf("%s: not the journal of a search; want one, or a file that is not there", path)
	}
	if j.file, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		return nil, fmt.Errorf("cannot write the journal: %w", err)
	}
	if n := len(data); n > 0 && data[n-1] != '\n' { // what was torn ends here
		if _, err := j.file.WriteString("\n"); err != nil {
			j.file.Close()
			return nil, fmt.Errorf("cannot write the journal: %w", err)
		}
	}
	return j, nil
}

// readLine reads SUM JSON.
func readLine(line []byte) (l journalLine, ok bool) {
	sum, text, found := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if !found || err != nil || crc32.ChecksumIEEE(text) != uint32(want) {
		return l, false
	}
	return l, json.Unmarshal(text, &l) == nil
}

// Get implements [Store].
func (j *Journal) Get(name string) (float64, bool) {
	rmse, ok := j.known[j.prefix+name]
	return rmse, ok
}

// Put implements [Store].
func (j *Journal) Put(name string, rmse float64) error {
	l := journalLine{Of: j.prefix + name}
	if !math.IsInf(rmse, 0) {
		l.RMSE = &rmse
	}
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(j.file, "%08x %s\n", crc32.ChecksumIEEE(text), text); err != nil {
		return fmt.Errorf("cannot write the journal: %w", err)
	}
	return nil
}

// Len is the number of scores that were there when it was opened.
func (j *Journal) Len() int { return len(j.known) }

// Close ends writing.
func (j *Journal) Close() error { return j.file.Close() }
