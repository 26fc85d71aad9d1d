package scenarios

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Resolved returns the scenario as it was understood: canonical TOML with every
// default written out. Loading it gives the same scenario, and the same bytes.
func (s *Scenario) Resolved() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "name = %s\n", quote(s.Name))
	fmt.Fprintf(&b, "description = %s\n", quote(s.Description))
	fmt.Fprintf(&b, "seed = %d\n", s.Seed)
	for _, sec := range s.sections() {
		if sec.absent {
			continue
		}
		fmt.Fprintf(&b, "\n[%s]\n", sec.name)
		for _, t := range sec.targets {
			for _, f := range fields(t) {
				fmt.Fprintf(&b, "%s = %s\n", f.key, valueText(f.value, "\n"))
			}
		}
	}
	for _, list := range s.lists() {
		for _, targets := range list.elements {
			fmt.Fprintf(&b, "\n[[%s]]\n", list.name)
			for _, t := range targets {
				for _, f := range fields(t) {
					fmt.Fprintf(&b, "%s = %s\n", f.key, valueText(f.value, "\n"))
				}
			}
		}
	}
	return []byte(b.String())
}

// list is an array of tables of a scenario, with the structs that take the keys of each.
type list struct {
	name     string
	elements [][]any
}

// lists returns the arrays of tables in the order in which they are written.
func (s *Scenario) lists() []list {
	groups, tiers, classes, pools := list{name: "group"}, list{name: "tier"}, list{name: "class"}, list{name: "pool"}
	for i := range s.Groups {
		g := s.Groups[i]
		g.resolvedKeys()
		g.resolvedScale()
		groups.elements = append(groups.elements, []any{&g})
	}
	for i := range s.Tiers {
		tiers.elements = append(tiers.elements, []any{&s.Tiers[i]})
	}
	for i := range s.Classes {
		classes.elements = append(classes.elements, []any{&s.Classes[i]})
	}
	for i := range s.Pools {
		pools.elements = append(pools.elements, []any{&s.Pools[i], s.Pools[i].policy})
	}
	return []list{groups, tiers, classes, pools}
}

// valueText returns a value in TOML. Elements of an array of tables are separated
// by sep and a comma, since an inline table must stand on one line.
func valueText(v reflect.Value, sep string) string {
	if v.Type() == reflect.TypeFor[Duration]() {
		return quote(v.Interface().(Duration).String())
	}
	switch v.Kind() {
	case reflect.String:
		return quote(v.String())
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10)
	case reflect.Float64:
		return floatText(v.Float())
	case reflect.Slice:
		return arrayText(v, sep)
	case reflect.Struct:
		return tableText(fieldsOf(v))
	case reflect.Map:
		return mapText(v)
	case reflect.Interface:
		return valueText(v.Elem(), " ")
	}
	panic(fmt.Sprintf("scenarios: a field of type %v cannot be written as TOML", v.Type()))
}

func arrayText(v reflect.Value, sep string) string {
	parts := make([]string, v.Len())
	for i := range parts {
		parts[i] = valueText(v.Index(i), " ")
	}
	kind := v.Type().Elem().Kind()
	if sep == "\n" && len(parts) > 0 && (kind == reflect.Struct || kind == reflect.Map) {
		return "[\n\t" + strings.Join(parts, ",\n\t") + ",\n]"
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func tableText(fs []field) string {
	parts := make([]string, len(fs))
	for i, f := range fs {
		parts[i] = f.key + " = " + valueText(f.value, " ")
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

// mapText writes a tree of overrides, keys in order.
func mapText(v reflect.Value) string {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = quoteKey(k.String()) + " = " + valueText(v.MapIndex(k), " ")
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

// floatText writes a float so that TOML reads the same one, and as a float.
func floatText(x float64) string {
	switch {
	case math.IsNaN(x):
		return "nan"
	case math.IsInf(x, 1):
		return "inf"
	case math.IsInf(x, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(x, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// quoteKey writes a key, in quotes if it needs them.
func quoteKey(k string) string {
	bare := k != "" && strings.Trim(k, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
	if bare {
		return k
	}
	return quote(k)
}

// quote writes a string as TOML's basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
