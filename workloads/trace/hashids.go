package trace

import (
	"bytes"
	"fmt"
	"strconv"
)

// appendIDs appends to dst the block ids of a hash_ids field and returns the
// extended slice: items separated by spaces, each an id or an inclusive run
// "a-b". It appends at most most ids and refuses a field with more, so that a
// run such as 0-999999999999 costs nothing.
func appendIDs(dst []uint64, field []byte, most int) ([]uint64, error) {
	for len(field) > 0 {
		item := field
		if i := bytes.IndexByte(field, ' '); i >= 0 {
			item, field = field[:i], field[i+1:]
		} else {
			field = nil
		}
		if len(item) == 0 {
			continue
		}
		low, high, isRun := bytes.Cut(item, []byte{'-'})
		a, err := parseID(low)
		b := a
		if err == nil && isRun {
			b, err = parseID(high)
		}
		if err != nil || b < a {
			return dst, fmt.Errorf("hash_ids has %q; want an id or a run a-b with a <= b", shorten(item))
		}
		if b-a >= uint64(most) {
			return dst, fmt.Errorf("hash_ids names too many blocks at %q; want at most one for each block of the prompt", shorten(item))
		}
		for id := a; ; id++ {
			dst = append(dst, id)
			most--
			if id == b { // not a loop condition, since b may be the largest uint64
				break
			}
		}
	}
	return dst, nil
}

func parseID(b []byte) (uint64, error) { return strconv.ParseUint(string(b), 10, 64) }

// shorten cuts what a message quotes from a file.
func shorten(b []byte) []byte {
	const most = 40
	if len(b) <= most {
		return b
	}
	return append(append([]byte(nil), b[:most]...), "..."...)
}
