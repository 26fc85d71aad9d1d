package scenarios

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"orrery/internal/names"
)

// decoder fills structs from a document and gathers what is wrong with it.
type decoder struct {
	doc  *document
	errs []*Error
}

// errorf notes what is wrong with the key of a path.
func (d *decoder) errorf(path, format string, args ...any) {
	d.errs = append(d.errs, d.doc.errorf(path, format, args...))
}

// err returns the error that stands first in the file, those of overrides behind
// those of the file.
func (d *decoder) err() error {
	if len(d.errs) == 0 {
		return nil
	}
	rank := func(e *Error) int {
		if e.Line == 0 {
			return math.MaxInt
		}
		return e.Line
	}
	return slices.MinFunc(d.errs, func(a, b *Error) int {
		if a, b := rank(a), rank(b); a != b {
			return a - b
		}
		return strings.Compare(a.Error(), b.Error())
	})
}

// alternative is a part that a section could have had: the one that the chooser key
// names name. Its struct is asked for its keys only.
type alternative struct {
	chooser, name string
	part          any
}

// field is a field of a struct that a key sets.
type field struct {
	key   string
	value reflect.Value
}

// fields returns the fields of the struct that p points to, those of embedded
// structs included. Fields without a toml tag are none of a file's business.
func fields(p any) []field { return fieldsOf(reflect.ValueOf(p).Elem()) }

func fieldsOf(v reflect.Value) []field {
	var out []field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key := f.Tag.Get("toml")
		switch {
		case key != "" && key != "-":
			out = append(out, field{key, v.Field(i)})
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			out = append(out, fieldsOf(v.Field(i))...)
		}
	}
	return out
}

// table returns the table at a path of the document, empty if there is none.
func (d *decoder) table(path string) map[string]any {
	t := d.doc.tree
	for key := range strings.SplitSeq(path, ".") {
		switch v := t[key].(type) {
		case nil:
			return nil
		case map[string]any:
			t = v
		default:
			d.errorf(path, "%s is %s; want a section [%s] with keys of its own", path, describe(v), path)
			return nil
		}
	}
	return t
}

// choose returns the value of a key that chooses a part, def if it is not set. A
// value of a wrong type is left to [decoder.fill] to refuse.
func (d *decoder) choose(section, key, def string) string {
	if s, ok := d.table(section)[key].(string); ok && s != "" {
		return s
	}
	return def
}

// fill sets the fields of the targets from the table of a path. Every key of the
// table must belong to a target; the others help to say where a stray key belongs.
func (d *decoder) fill(path string, tree map[string]any, targets []any, others []alternative) {
	var known []field
	for _, t := range targets {
		known = append(known, fields(t)...)
	}
	for key, value := range tree { // in any order: d.err sorts
		i := slices.IndexFunc(known, func(f field) bool { return f.key == key })
		if i >= 0 {
			d.assign(join(path, key), known[i].value, value)
		} else {
			d.stray(path, key, known, others)
		}
	}
}

// stray deals with a key that no target has. It is dropped if an override that came
// after it has replaced the part that it belonged to.
func (d *decoder) stray(path, key string, known []field, others []alternative) {
	full := join(path, key)
	var belongs []string
	chosen := fromFile
	for _, o := range others {
		chosen = max(chosen, d.doc.place(join(path, o.chooser)).from)
		if slices.ContainsFunc(fields(o.part), func(f field) bool { return f.key == key }) {
			belongs = append(belongs, fmt.Sprintf("%s = %q", o.chooser, o.name))
		}
	}
	if len(belongs) > 0 {
		if d.doc.place(full).from >= chosen {
			d.errorf(full, "%s does not apply here; it belongs to %s; want it removed, or that chosen", full, strings.Join(belongs, " or "))
		}
		return
	}
	var keys []string
	for _, f := range known {
		keys = append(keys, f.key)
	}
	what, where := "key "+full, "keys of the top level"
	if path != "" {
		where = "keys of [" + path + "]"
	} else if _, isTable := d.doc.tree[key].(map[string]any); isTable {
		what, where = "section ["+key+"]", "sections and keys of the top level"
	}
	if near := names.Nearest(key, keys); len(near) > 0 {
		d.errorf(full, "there is no %s; did you mean %s?", what, strings.Join(near, " or "))
		return
	}
	slices.Sort(keys)
	d.errorf(full, "there is no %s; %s are %s", what, where, strings.Join(slices.Compact(keys), ", "))
}

// assign sets one field. Numbers are not converted but for whole ones to floats.
func (d *decoder) assign(path string, to reflect.Value, value any) {
	if to.Type() == reflect.TypeFor[Duration]() {
		d.duration(path, to, value)
		return
	}
	switch to.Kind() {
	case reflect.String:
		if s, ok := value.(string); ok {
			to.SetString(s)
			return
		}
	case reflect.Bool:
		if b, ok := value.(bool); ok {
			to.SetBool(b)
			return
		}
	case reflect.Int, reflect.Int32, reflect.Int64:
		if n, ok := value.(int64); ok && !to.OverflowInt(n) {
			to.SetInt(n)
			return
		}
	case reflect.Uint64:
		if n, ok := value.(int64); ok && n >= 0 {
			to.SetUint(uint64(n))
			return
		}
	case reflect.Float64:
		switch x := value.(type) {
		case float64:
			to.SetFloat(x)
			return
		case int64:
			to.SetFloat(float64(x))
			return
		}
	case reflect.Map, reflect.Struct:
		if t, ok := value.(map[string]any); ok {
			d.nested(path, to, t)
			return
		}
	case reflect.Slice:
		if list, ok := elements(value); ok {
			to.Set(reflect.MakeSlice(to.Type(), len(list), len(list)))
			for i, v := range list {
				d.assign(fmt.Sprintf("%s[%d]", path, i), to.Index(i), v)
			}
			return
		}
	}
	d.errorf(path, "%s is %s; want %s", path, describe(value), wanted(to.Type()))
}

func (d *decoder) nested(path string, to reflect.Value, t map[string]any) {
	if to.Kind() == reflect.Map {
		to.Set(reflect.ValueOf(t))
		return
	}
	d.fill(path, t, []any{to.Addr().Interface()}, nil)
}

func (d *decoder) duration(path string, to reflect.Value, value any) {
	s, ok := value.(string)
	if !ok {
		d.errorf(path, "%s is %s; want %s", path, describe(value), wanted(to.Type()))
		return
	}
	x, err := time.ParseDuration(s)
	if err != nil {
		d.errorf(path, "%s is %q; want %s", path, s, wanted(to.Type()))
		return
	}
	if x < 0 {
		d.errorf(path, "%s is %s; want a duration of at least 0", path, s)
		return
	}
	to.SetInt(int64(x))
}

// elements returns the elements of an array of either kind of TOML.
func elements(value any) ([]any, bool) {
	switch list := value.(type) {
	case []any:
		return list, true
	case []map[string]any:
		out := make([]any, len(list))
		for i := range list {
			out[i] = list[i]
		}
		return out, true
	}
	return nil, false
}

// describe says what a TOML value is.
func describe(value any) string {
	switch v := value.(type) {
	case string:
		return fmt.Sprintf("the string %q", v)
	case int64, bool:
		return fmt.Sprint(v)
	case float64:
		return floatText(v)
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "an array"
	default:
		return "a date or time"
	}
}

// wanted says what a field of a type takes.
func wanted(t reflect.Type) string {
	if t == reflect.TypeFor[Duration]() {
		return `a duration in quotes, such as "200ms" or "1m30s"`
	}
	switch t.Kind() {
	case reflect.String:
		return "a string in quotes"
	case reflect.Bool:
		return "true or false"
	case reflect.Uint64:
		return "a whole number, at least 0"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "an array [...]"
	default:
		return "a table"
	}
}
