package sweep

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Axis is a key of the scenario and what it is varied over: a list of values, or a [Range] to
// draw from.
type Axis struct {
	Key    string
	Values []string // in TOML, nil for a range to draw from
	Range  *Range   // nil for a list
}

// ParseAxis reads what a key is varied over:
//
//	policy.batch=vllm,sarathi    values; commas within brackets, braces and quotes belong to them
//	traffic.rate=1..8:15         15 values from 1 to 8, at equal distances
//	traffic.rate=1.0..8.0:4log   4 values at equal ratios
//	slo.ttft=100ms..2s:log       to draw from, equally likely in each octave
//	policy.budget=256..4096      to draw from
//
// The ends of a range are two numbers or two durations. Whole ends give whole values.
func ParseAxis(text string) (Axis, error) {
	key, list, ok := strings.Cut(text, "=")
	key, list = strings.TrimSpace(key), strings.TrimSpace(list)
	if !ok || key == "" || list == "" || strings.ContainsAny(text, "\n\r") {
		return Axis{}, fmt.Errorf("%q is no key with values; want policy.batch=vllm,sarathi or traffic.rate=1..8:15, say", text)
	}
	if key == "seed" {
		return Axis{}, fmt.Errorf("seed is not to be varied: every setting is run with the same seeds; want their number, and the first one, by themselves")
	}
	r, n, ok, err := parseRange(list)
	switch {
	case err != nil:
		return Axis{}, fmt.Errorf("%s: %w", key, err)
	case ok && n == 0:
		return Axis{Key: key, Range: &r}, nil
	case ok:
		values, err := r.grid(n)
		if err != nil {
			return Axis{}, fmt.Errorf("%s: %w", key, err)
		}
		return Axis{Key: key, Values: values}, nil
	}
	values := Values(list)
	for i, v := range values {
		switch {
		case v == "":
			return Axis{}, fmt.Errorf("%s: a value is missing in %q; want one between any two commas", key, list)
		case slices.Contains(values[:i], v):
			return Axis{}, fmt.Errorf("%s: %s is there twice; want each value once", key, v)
		}
	}
	return Axis{Key: key, Values: values}, nil
}

// String returns the axis as [ParseAxis] reads it.
func (a Axis) String() string {
	if a.Range != nil {
		return a.Key + "=" + a.Range.String()
	}
	return a.Key + "=" + strings.Join(a.Values, ",")
}

// Values splits a list at its commas. Commas within brackets, braces and quotes belong to a
// value.
func Values(list string) []string {
	var values []string
	depth, from := 0, 0
	var quote rune
	for i, c := range list {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		case c == ',' && depth <= 0:
			values = append(values, strings.TrimSpace(list[from:i]))
			from = i + 1
		}
	}
	return append(values, strings.TrimSpace(list[from:]))
}

// parseRange reads LOW..HIGH, LOW..HIGH:N, LOW..HIGH:log and LOW..HIGH:Nlog, and returns false
// for what is a value. N is 0 if none is given.
func parseRange(text string) (r Range, n int, ok bool, err error) {
	ends, count, counted := strings.Cut(text, ":")
	low, high, ok := strings.Cut(ends, "..")
	low, high = strings.TrimSpace(low), strings.TrimSpace(high)
	if digits := strings.TrimLeft(low, "+-."); !ok || digits == "" || digits[0] < '0' || digits[0] > '9' {
		return r, 0, false, nil // a path, say
	}
	if count = strings.TrimSpace(count); counted {
		count, r.Log = strings.CutSuffix(count, "log")
		if count = strings.TrimSpace(count); count != "" {
			if n, err = strconv.Atoi(count); err != nil || n < 2 || n > maxCells {
				return r, 0, false, fmt.Errorf("%s values of a range; want 2 to %d, as in 1..8:15 or 1..8:4log", count, maxCells)
			}
		} else if !r.Log {
			return r, 0, false, fmt.Errorf("nothing behind the colon of %q; want 1..8:15 or 1..8:4log, say", text)
		}
	}
	if err := r.ends(low, high); err != nil {
		return r, 0, false, fmt.Errorf("%q: %w", text, err)
	}
	return r, n, true, nil
}
