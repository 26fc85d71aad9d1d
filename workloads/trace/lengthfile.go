package trace

import (
	"io"

	"orrery/sim"
)

// LengthFile takes lengths from the rows of a CSV file (plain or
// gzip-compressed) with the columns prompt_tokens and output_tokens. Rows are
// shuffled once and consumed in order, each prompt with its own output, and
// shuffled anew when all have been used: draws without replacement, as the
// published experiments make them. The file is held in memory, 8 bytes a row.
type LengthFile struct{ Path string }

// Draws implements [Lengths], from the stream "lengths".
func (l LengthFile) Draws(seed uint64) (func() (prompt, output int32), error) {
	in, err := openFile(l.Path, false)
	if err != nil {
		return nil, err
	}
	defer in.close()
	type pair struct{ prompt, output int32 }
	var rows []pair
	for {
		w, err := in.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, pair{w.prompt, w.output})
	}
	if len(rows) == 0 {
		return nil, in.errorf("the file has a header but no lengths; want at least one line after it")
	}
	rng, next := sim.Stream(seed, "lengths"), len(rows)
	return func() (prompt, output int32) {
		if next == len(rows) {
			rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
			next = 0
		}
		p := rows[next]
		next++
		return p.prompt, p.output
	}, nil
}
