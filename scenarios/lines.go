package scenarios

import (
	"fmt"
	"strings"
)

// linesOf returns the line of every key of a TOML document, by its path: dotted,
// with the index of an element of an array in brackets, as in
// "compare.variant[1].label". The toml package knows these lines but keeps them to
// itself. The document must have been accepted by that package; of another, some
// lines may be missing or wrong.
func linesOf(data string) map[string]int {
	s := &scanner{data: data, line: 1, at: map[string]int{}, elements: map[string]int{}}
	table := ""
	for s.skipBlank(); s.i < len(s.data); s.skipBlank() {
		if s.data[s.i] != '[' {
			s.pair(table, 0)
			continue
		}
		array := strings.HasPrefix(s.data[s.i:], "[[")
		for s.i < len(s.data) && s.data[s.i] == '[' {
			s.i++
		}
		table = s.header(array)
		for s.i < len(s.data) && s.data[s.i] == ']' {
			s.i++
		}
	}
	return s.at
}

// scanner walks over a document. It moves forward only.
type scanner struct {
	data     string
	i        int
	line     int
	at       map[string]int
	elements map[string]int // of arrays of tables, by path
}

// note records the line of a path, unless it was seen before.
func (s *scanner) note(path string) {
	if _, ok := s.at[path]; !ok {
		s.at[path] = s.line
	}
}

// header reads the key of a [table] or an [[array of tables]] and returns its path.
func (s *scanner) header(array bool) string {
	path, keys := "", s.key("]")
	for i, k := range keys {
		path = join(path, k)
		switch n, isArray := s.elements[path]; {
		case array && i == len(keys)-1:
			s.note(path)
			s.elements[path] = n + 1
			path = fmt.Sprintf("%s[%d]", path, n)
		case isArray:
			path = fmt.Sprintf("%s[%d]", path, n-1)
		}
		s.note(path)
	}
	return path
}

// pair reads a key and its value within a table.
func (s *scanner) pair(table string, depth int) {
	path := table
	for _, k := range s.key("=") {
		path = join(path, k)
		s.note(path)
	}
	if s.i < len(s.data) && s.data[s.i] == '=' {
		s.i++
	}
	s.value(path, depth)
}

// key reads the parts of a dotted key up to one of the bytes of end or the line's
// end.
func (s *scanner) key(end string) []string {
	var parts []string
	var part strings.Builder
	for s.i < len(s.data) {
		c := s.data[s.i]
		if c == '\n' || strings.IndexByte(end, c) >= 0 {
			break
		}
		switch c {
		case '"', '\'':
			part.WriteString(s.text())
			continue
		case '.':
			parts = append(parts, part.String())
			part.Reset()
		case ' ', '\t', '\r':
		default:
			part.WriteByte(c)
		}
		s.i++
	}
	return append(parts, part.String())
}

// maxDepth bounds the nesting that is followed.
const maxDepth = 64

// value reads a value and notes the keys in it.
func (s *scanner) value(path string, depth int) {
	s.skipSpace()
	if s.i == len(s.data) {
		return
	}
	switch c := s.data[s.i]; {
	case c == '"' || c == '\'':
		s.text()
	case c == '[' && depth < maxDepth:
		s.i++
		for n := 0; s.next(']'); n++ {
			element := fmt.Sprintf("%s[%d]", path, n)
			s.note(element)
			s.value(element, depth+1)
		}
	case c == '{' && depth < maxDepth:
		s.i++
		for s.next('}') {
			s.pair(path, depth+1)
		}
	default:
		for s.i < len(s.data) && strings.IndexByte(",]}#\n", s.data[s.i]) < 0 {
			s.i++
		}
		if s.i < len(s.data) && depth == 0 && s.data[s.i] != '\n' && s.data[s.i] != '#' {
			s.i++ // not TOML; go on all the same
		}
	}
}

// next moves to the next element of an array or an inline table and reports false
// behind the last one.
func (s *scanner) next(end byte) bool {
	for s.skipBlank(); s.i < len(s.data); s.skipBlank() {
		switch s.data[s.i] {
		case ',':
			s.i++
		case end:
			s.i++
			return false
		case ']', '}': // not TOML
			return false
		default:
			return true
		}
	}
	return false
}

// text reads a string of any of the four kinds and returns what is between its
// quotes, escapes as they stand.
func (s *scanner) text() string {
	quote := s.data[s.i]
	end := string(quote)
	if strings.HasPrefix(s.data[s.i:], strings.Repeat(end, 3)) {
		end = strings.Repeat(end, 3)
	}
	s.i += len(end)
	start := s.i
	for s.i < len(s.data) && !strings.HasPrefix(s.data[s.i:], end) {
		switch {
		case s.data[s.i] == '\n' && len(end) == 1: // not TOML
			return s.data[start:s.i]
		case s.data[s.i] == '\n':
			s.line++
		case s.data[s.i] == '\\' && quote == '"' && s.i+1 < len(s.data) && s.data[s.i+1] != '\n':
			s.i++
		}
		s.i++
	}
	found := s.data[start:s.i]
	s.i = min(s.i+len(end), len(s.data))
	for len(end) == 3 && s.i < len(s.data) && s.data[s.i] == quote { // up to two more belong to the text
		s.i++
	}
	return found
}

// skipSpace moves over spaces within a line.
func (s *scanner) skipSpace() {
	for s.i < len(s.data) && (s.data[s.i] == ' ' || s.data[s.i] == '\t' || s.data[s.i] == '\r') {
		s.i++
	}
}

// skipBlank moves over spaces, line ends and comments.
func (s *scanner) skipBlank() {
	for s.i < len(s.data) {
		switch s.data[s.i] {
		case ' ', '\t', '\r':
		case '\n':
			s.line++
		case '#':
			for s.i < len(s.data) && s.data[s.i] != '\n' {
				s.i++
			}
			continue
		default:
			return
		}
		s.i++
	}
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
