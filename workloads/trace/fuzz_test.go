package trace

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Whatever a file holds, reading it ends, and rows that are accepted keep the
// promises of a trace.
func FuzzReader(f *testing.F) {
	f.Add([]byte(header + "0,1,1\n0.5,20,30\n"))
	f.Add([]byte("arrived_at_s,prompt_tokens,output_tokens,tenant,hash_ids\n0,1300,1,3,0 7-8\n1,512,1,,0-999999999999\n"))
	f.Add([]byte("\xef\xbb\xbf\"prompt_tokens\",output_tokens\r\n1,1\r\n\r\n2,2"))
	f.Add([]byte(header + "1e400,1,1\n-0,1,1\n0x1p-2,1,1\nnan,1,1\n"))
	f.Add(zip(f, header+"0,1,1\n"))
	f.Add(zip(f, header+"0,1,1\n")[:20])
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, timed := range []bool{true, false} {
			r, err := newReader("f", bytes.NewReader(data), timed)
			last := 0.0
			for err == nil {
				var w row
				if w, err = r.next(); err != nil {
					break
				}
				if w.at < last || w.prompt < 1 || w.prompt > MaxTokens || w.output < 1 || w.output > MaxTokens || w.tenant < 0 {
					t.Fatalf("accepted %+v after %v s", w, last)
				}
				last = w.at
			}
			if err != io.EOF && !strings.HasPrefix(err.Error(), "f:") {
				t.Fatalf("error %q does not name the file", err)
			}
		}
		if r, err := newReader("f", bytes.NewReader(data), true); err == nil {
			if sum, err := (Replay{}).scan(r); err == nil && (sum.Kept < 1 || sum.Last < sum.First) {
				t.Fatalf("accepted %+v", sum)
			}
		}
	})
}

// Whatever a hash_ids field holds, at most the asked number of ids come out, and
// writing them out one by one and reading that gives them again.
func FuzzHashIDs(f *testing.F) {
	for _, s := range []string{"", "0", "0-13", "0 14-27", "5-3", "0-999999999999", "18446744073709551615", "18446744073709551614-18446744073709551615",
		"0-18446744073709551615", "-", "1-2-3", " 1  2 ", "+1", "99999999999999999999"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, field []byte) {
		const most = 100
		ids, err := appendIDs(nil, field, most)
		if len(ids) > most {
			t.Fatalf("%d ids, want at most %d", len(ids), most)
		}
		if err != nil {
			return
		}
		var text []byte
		for _, id := range ids {
			text = append(strconv.AppendUint(text, id, 10), ' ')
		}
		again, err := appendIDs(nil, text, most)
		if err != nil || !slices.Equal(ids, again) {
			t.Fatalf("%q gave %v, but %q gave %v (%v)", field, ids, text, again, err)
		}
	})
}
