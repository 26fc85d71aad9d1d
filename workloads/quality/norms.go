package quality

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

// ReadNorms reads the norms of gradients of a run of so many steps from CSV with a column
// norm, and step if not every step was logged. They must be evenly spaced over the whole run, for
// their places are what a schedule is refined from. steps is 0 where any length will do. Errors
// name the file and the line.
func ReadNorms(name string, r io.Reader, steps int) ([]float64, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = -1 // ours says what would be right
	head, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("%s:1: no header; want a column norm, and step if not every step was logged", name)
	}
	at, stepAt := slices.Index(head, "norm"), slices.Index(head, "step")
	if at < 0 {
		return nil, fmt.Errorf("%s:1: no column \"norm\"", name)
	}
	var norms []float64
	var logged []int
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, csvError(name, err)
		}
		line, _ := in.FieldPos(0)
		if len(row) != len(head) {
			return nil, fmt.Errorf("%s:%d: %d fields where the header has %d", name, line, len(row), len(head))
		}
		g, err := strconv.ParseFloat(row[at], 64)
		if err != nil || !(g > 0 && g <= math.MaxFloat64) {
			return nil, fmt.Errorf("%s:%d: norm is %q; want a positive number", name, line, row[at])
		}
		step := len(norms)
		if stepAt >= 0 {
			if step, err = strconv.Atoi(row[stepAt]); err != nil || step < 0 {
				return nil, fmt.Errorf("%s:%d: step is %q; want a whole number, from 0 on", name, line, row[stepAt])
			}
		}
		norms, logged = append(norms, g), append(logged, step)
		if n := len(logged); n > 2 && step-logged[n-2] != logged[1]-logged[0] || n == 2 && step <= logged[0] {
			return nil, fmt.Errorf("%s:%d: step %d follows %d; want steps at equal distances", name, line, step, logged[n-2])
		}
	}
	return norms, covers(name, logged, steps)
}

// covers returns an error unless evenly logged steps span a run of so many.
func covers(name string, logged []int, steps int) error {
	if len(logged) < 2 {
		return fmt.Errorf("%s: %d norms; want those of a run", name, len(logged))
	}
	every := logged[1] - logged[0]
	length := logged[len(logged)-1] - logged[0] + every
	if steps > 0 && (length-every >= steps || length+every <= steps) {
		return fmt.Errorf("%s: norms of %d steps for a run of %d; want those of a run of the same length", name, length, steps)
	}
	return nil
}
