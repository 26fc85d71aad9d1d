package scenarios

import (
	"encoding/json"
	"reflect"
)

// MarshalJSON writes the resolved scenario with the keys of its TOML form.
func (s *Scenario) MarshalJSON() ([]byte, error) {
	out := map[string]any{"name": s.Name, "description": s.Description, "seed": s.Seed}
	for _, sec := range s.sections() {
		if sec.absent {
			continue
		}
		keys := map[string]any{}
		for _, t := range sec.targets {
			for _, f := range fields(t) {
				keys[f.key] = jsonValue(f.value)
			}
		}
		out[sec.name] = keys
	}
	for _, list := range s.lists() {
		for _, targets := range list.elements {
			keys := map[string]any{}
			for _, t := range targets {
				for _, f := range fields(t) {
					keys[f.key] = jsonValue(f.value)
				}
			}
			elements, _ := out[list.name].([]any)
			out[list.name] = append(elements, keys)
		}
	}
	return json.Marshal(out)
}

// jsonValue returns a value whose keys are those of TOML at every depth.
func jsonValue(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Struct:
		keys := map[string]any{}
		for _, f := range fieldsOf(v) {
			keys[f.key] = jsonValue(f.value)
		}
		return keys
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = jsonValue(v.Index(i))
		}
		return list
	default:
		return v.Interface()
	}
}
