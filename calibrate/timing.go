package calibrate

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Timing is one request as its client, or the log of its engine, saw it. Times are
// seconds, NaN where they are not known. Arrival may have a zero of its own.
type Timing struct {
	GPU, Model     string
	Request        int64
	Arrival        float64 // when it was due at the server
	Prompt, Output int     // tokens, of the answer those that came
	Queued         float64 // reached the engine, or was sent
	Scheduled      float64 // its first iteration began
	First, Last    float64 // tokens
	File           string
	Line           int
}

// timingColumns are the columns of the section requests, in order.
var timingColumns = []string{"gpu", "model", "req", "arrival_s", "in_tok", "out_tok", "queued_s", "scheduled_s", "first_token_s", "last_token_s"}

// timings is the name of the section.
const timings = "requests"

// isTimings tells whether a table is one of requests, by its section's name, or by its
// columns if it has none.
func isTimings(name string, header []string) bool {
	return name == timings || name == "" && slices.Equal(header, timingColumns)
}

func (m *Measured) timingReader(s *sections, header []string) (func([]string) error, error) {
	if !slices.Equal(header, timingColumns) {
		return nil, s.fail("%s has columns %s, must have %s", timings, strings.Join(header, ","), strings.Join(timingColumns, ","))
	}
	return func(record []string) error {
		t, err := parseTiming(record)
		t.File, t.Line = s.file, s.line
		m.Requests = append(m.Requests, t)
		return err
	}, nil
}

// parseTiming reads a record and refuses what cannot have been measured.
func parseTiming(r []string) (Timing, error) {
	t := Timing{GPU: r[0], Model: r[1]}
	if t.GPU == "" || t.Model == "" {
		return t, fmt.Errorf("gpu and model must be named")
	}
	var err error
	if t.Request, err = strconv.ParseInt(r[2], 10, 64); err != nil {
		return t, fmt.Errorf("req is %q, must be a whole number", r[2])
	}
	for _, c := range []struct {
		column int
		to     *int
	}{{4, &t.Prompt}, {5, &t.Output}} {
		if *c.to, err = strconv.Atoi(r[c.column]); err != nil || *c.to < 1 {
			return t, fmt.Errorf("%s is %q, must be a whole number above 0", timingColumns[c.column], r[c.column])
		}
	}
	for _, c := range []struct {
		column   int
		to       *float64
		optional bool
	}{{3, &t.Arrival, false}, {6, &t.Queued, true}, {7, &t.Scheduled, true}, {8, &t.First, false}, {9, &t.Last, false}} {
		text := r[c.column]
		if text == "" && c.optional {
			*c.to = math.NaN()
			continue
		}
		if *c.to, err = strconv.ParseFloat(text, 64); err != nil || !(*c.to >= 0) || math.IsInf(*c.to, 0) {
			return t, fmt.Errorf("%s is %q, must be seconds, 0 or more", timingColumns[c.column], text)
		}
	}
	if t.Last < t.First {
		return t, fmt.Errorf("last_token_s is %s, before first_token_s, %s", r[9], r[8])
	}
	return t, nil
}

// writeTimings writes the section requests.
func writeTimings(w io.Writer, ts []Timing) {
	if len(ts) == 0 {
		return
	}
	seconds := func(v float64) string {
		if math.IsNaN(v) {
			return ""
		}
		return strconv.FormatFloat(v, 'f', 6, 64)
	}
	fmt.Fprintf(w, "\n[%s]\n%s\n", timings, strings.Join(timingColumns, ","))
	for i := range ts {
		t := &ts[i]
		fmt.Fprintf(w, "%s,%s,%d,%s,%d,%d,%s,%s,%s,%s\n", quoted(t.GPU), quoted(t.Model), t.Request, seconds(t.Arrival),
			t.Prompt, t.Output, seconds(t.Queued), seconds(t.Scheduled), seconds(t.First), seconds(t.Last))
	}
}
