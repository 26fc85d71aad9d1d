// Package names helps with names that a user typed and nothing answers to.
package names

import (
	"fmt"
	"slices"
	"strings"
)

// Unknown returns the one-line error for a name that is not among the known ones:
// it suggests those that look most like it, or lists them all if none does. The
// kind says what was looked for, as in "model".
func Unknown(kind, name string, known []string) error {
	if near := Nearest(name, known); len(near) > 0 {
		return fmt.Errorf("there is no %s named %q; did you mean %s?", kind, name, strings.Join(near, " or "))
	}
	return fmt.Errorf("there is no %s named %q; want one of %s", kind, name, strings.Join(known, ", "))
}

// Nearest returns at most three of the known names that look like name, the most
// alike first and equally alike ones in the order given. Case and punctuation do
// not count. A name looks like another if one contains the other or if at most a
// third of the longer one has to be edited to get the other.
func Nearest(name string, known []string) []string {
	type candidate struct {
		name  string
		edits int
	}
	var near []candidate
	a := plain(name)
	if a == "" {
		return nil
	}
	for _, k := range known {
		b := plain(k)
		edits := distance(a, b)
		if 3*edits <= max(len(a), len(b)) || strings.Contains(b, a) || b != "" && strings.Contains(a, b) {
			near = append(near, candidate{k, edits})
		}
	}
	slices.SortStableFunc(near, func(x, y candidate) int { return x.edits - y.edits })
	var out []string
	for _, c := range near[:min(3, len(near))] {
		out = append(out, c.name)
	}
	return out
}

// plain reduces a name to its lower-case letters and digits.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(name))
}

// distance is the number of bytes to insert, delete or replace to turn a into b
// (Levenshtein), by the usual dynamic programme over one row.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
