package scenarios

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"orrery/internal/names"
)

// document is a scenario as a tree of TOML values, with the place that each key
// comes from: a line of the file, or an override.
type document struct {
	name string // of the file, for messages
	dir  string // relative paths in the file start here
	tree map[string]any
	at   map[string]place // by path; see linesOf

	closed bool    // it comes from elsewhere, and may name no file of this machine
	priced *priced // shared by all that is made of the document
}

// place is where a key comes from.
type place struct {
	file string // file, or the text of an override
	line int    // 0 in an override given as text
	from origin
}

// origin says who set a key. Later ones override earlier ones, and a choice made by
// a later one drops what an earlier one set for the former choice.
type origin uint8

const (
	fromFile    origin = iota // the scenario itself
	fromCaller                // an override, as --set
	fromVariant               // a variant of [compare]
	fromGroup                 // a group's own section
)

// parse reads a TOML document. The name stands in messages.
func parse(name string, data []byte) (*document, error) {
	d := &document{name: name, dir: filepath.Dir(name), tree: map[string]any{}, at: map[string]place{}, priced: &priced{done: map[pricedKey]pricedProgram{}}}
	if _, err := toml.Decode(string(data), &d.tree); err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			return nil, &Error{File: name, Line: syntax.Position.Line, Msg: "not TOML: " + oneLine(syntax.Message)}
		}
		return nil, &Error{File: name, Msg: "not TOML: " + oneLine(strings.TrimPrefix(err.Error(), "toml: "))}
	}
	for path, line := range linesOf(string(data)) {
		d.at[path] = place{file: name, line: line}
	}
	return d, nil
}

// oneLine joins the lines of a message of the toml package.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// clone returns a copy whose tree can be changed.
func (d *document) clone() *document {
	c := &document{name: d.name, dir: d.dir, tree: cloneTree(d.tree), at: make(map[string]place, len(d.at)), closed: d.closed, priced: d.priced}
	for k, v := range d.at {
		c.at[k] = v
	}
	return c
}

// cloneTree copies the tables of a tree. Other values are never changed in place.
func cloneTree(t map[string]any) map[string]any {
	c := make(map[string]any, len(t))
	for k, v := range t {
		if sub, ok := v.(map[string]any); ok {
			v = cloneTree(sub)
		}
		c[k] = v
	}
	return c
}

// set applies an override as it is given on a command line: a.b=c with c in TOML. What is
// not TOML counts as a string, so that most strings need no quotes.
func (d *document) set(text string) error {
	where := place{file: "--set " + oneLine(text), from: fromCaller}
	key, value, ok := strings.Cut(text, "=")
	if key = strings.TrimSpace(key); !ok || key == "" {
		return &Error{File: where.file, Msg: `not an override; want key=value, such as traffic.rate=2.5 or policy.batch="vllm"`}
	}
	if strings.ContainsAny(text, "\n\r") {
		return &Error{File: where.file, Msg: "an override of several lines; want one"}
	}
	var over map[string]any
	if _, err := toml.Decode(key+" = "+value, &over); err != nil {
		over = nil
		if _, err := toml.Decode(fmt.Sprintf("%s = %q", key, strings.TrimSpace(value)), &over); err != nil {
			return &Error{File: where.file, Msg: `not an override; want key=value, such as traffic.rate=2.5 or policy.batch="vllm"`}
		}
	}
	return d.merge(over, func(string) place { return where })
}

// merge lays the keys of over upon the tree. A table is merged key by key, every
// other value replaces what was there. Upon an array of tables that have names, a table
// is laid by these, as in pool.fast.count = 4.
func (d *document) merge(over map[string]any, where func(path string) place) error {
	m := merger{document: d, where: where}
	m.merge("", "", d.tree, over)
	if m.err != nil { // an interface must not hold a nil pointer
		return m.err
	}
	return nil
}

// merger is a merge under way. Of several errors it keeps the first by place.
type merger struct {
	*document
	where func(path string) place
	err   *Error
}

// merge lays over upon the table of a path, which the override calls said.
func (m *merger) merge(path, said string, into, over map[string]any) {
	for key, v := range over { // independent of each other, so the order does not matter
		p, s := join(path, key), join(said, key)
		sub, isTable := v.(map[string]any)
		have, wasTable := into[key].(map[string]any)
		if isTable && wasTable {
			m.merge(p, s, have, sub)
			continue
		}
		if list, ok := elements(into[key]); isTable && ok {
			into[key] = m.mergeNamed(p, s, list, sub)
			continue
		}
		into[key] = v
		m.forget(p)
		m.at[p] = m.where(s)
		if isTable {
			into[key] = map[string]any{}
			m.merge(p, s, into[key].(map[string]any), sub)
		}
	}
}

// mergeNamed lays tables upon those elements of a list that have their names, and
// returns the list, a new one.
func (m *merger) mergeNamed(path, said string, list []any, over map[string]any) []any {
	list = slices.Clone(list)
	for name, v := range over { // as above
		sub, isTable := v.(map[string]any)
		known := namesIn(list)
		at := slices.Index(known, name)
		switch where := m.where(join(said, name)); {
		case !isTable:
			m.fail(where, "%s.%s is %s; want a key of it as well, such as %s.%s.count", said, name, describe(v), said, name)
		case at < 0:
			m.fail(where, "%s: %w", said, names.Unknown(said, name, known))
		default:
			element := cloneTree(list[at].(map[string]any))
			m.merge(fmt.Sprintf("%s[%d]", path, at), join(said, name), element, sub)
			list[at] = element
		}
	}
	return list
}

// fail notes an error about an override.
func (m *merger) fail(p place, format string, args ...any) {
	err := fmt.Errorf(format, args...)
	e := &Error{File: p.file, Line: p.line, Msg: oneLine(err.Error()), Err: errors.Unwrap(err)}
	if m.err == nil || e.Line < m.err.Line || e.Line == m.err.Line && e.Msg < m.err.Msg {
		m.err = e
	}
}

// namesIn returns the names of the tables of a list, empty for those without.
func namesIn(list []any) []string {
	out := make([]string, len(list))
	for i, v := range list {
		t, _ := v.(map[string]any)
		out[i], _ = t["name"].(string)
	}
	return out
}

// forget drops the places of what a path held.
func (d *document) forget(path string) {
	for p := range d.at {
		if rest, ok := strings.CutPrefix(p, path); ok && rest != "" && (rest[0] == '.' || rest[0] == '[') {
			delete(d.at, p)
		}
	}
}

// drop removes the key of a path from the tree.
func (d *document) drop(path string) {
	t := d.tree
	keys := strings.Split(path, ".")
	for _, k := range keys[:len(keys)-1] {
		sub, ok := t[k].(map[string]any)
		if !ok {
			return
		}
		t = sub
	}
	delete(t, keys[len(keys)-1])
}

// place returns where the key of a path comes from; for a key that is not there,
// where its table stands.
func (d *document) place(path string) place {
	for path != "" {
		if p, ok := d.at[path]; ok {
			return p
		}
		cut := strings.LastIndexAny(path, ".[")
		path = path[:max(cut, 0)]
	}
	return place{file: d.name}
}

// errorf returns an error about the key of a path.
func (d *document) errorf(path, format string, args ...any) *Error {
	p := d.place(path)
	err := fmt.Errorf(format, args...)
	return &Error{File: p.file, Line: p.line, Msg: oneLine(err.Error()), Err: errors.Unwrap(err)}
}
