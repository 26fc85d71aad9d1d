package llm

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"

	"orrery/internal/names"
)

// modelFiles holds one TOML file per model, each naming its source.
//
//go:embed models/*.toml
var modelFiles embed.FS

// Names returns the names of the models that come with the program, in
// alphabetical order.
func Names() []string {
	entries, err := modelFiles.ReadDir("models")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	list := make([]string, 0, len(entries))
	for _, e := range entries {
		list = append(list, strings.TrimSuffix(e.Name(), ".toml"))
	}
	return list
}

// Load returns the model of the given name: one of [Names], or the path of a
// file, which is read by [ParseTOML] if it ends in .toml and by [FromHF] if it
// ends in .json (a config.json takes its folder's name if it does not name its
// model).
func Load(name string) (*Model, error) {
	switch filepath.Ext(name) {
	case ".toml":
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("model file: %w", err)
		}
		m, err := ParseTOML(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return m, nil
	case ".json":
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("model file: %w", err)
		}
		m, err := FromHF(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if m.Name == "" {
			m.Name = strings.ToLower(filepath.Base(filepath.Dir(name)))
		}
		m.Source = name
		return m, nil
	}
	data, err := modelFiles.ReadFile("models/" + name + ".toml")
	if err != nil {
		return nil, fmt.Errorf("%w (or give the path of a .toml or config.json)", names.Unknown("model", name, Names()))
	}
	m, err := ParseTOML(data)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", name, err)
	}
	return m, nil
}

// ParseTOML reads a model as the files in the folder models have it. Keys that
// may be left out: kv_heads (as many as heads), head_dim (hidden/heads),
// norms_per_layer, weight_bytes and kv_bytes (2 each), and those of features that
// the model does not have.
func ParseTOML(data []byte) (*Model, error) {
	m := &Model{NormsPerLayer: 2, WeightBytes: 2, KVBytes: 2}
	md, err := toml.Decode(string(data), m)
	if err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("line %d: %s", syntax.Position.Line, syntax.Message)
		}
		return nil, errors.New(strings.TrimPrefix(err.Error(), "toml: "))
	}
	for _, key := range md.Undecoded() {
		return nil, fmt.Errorf("line %d: %w", lineOf(data, key.String()), names.Unknown("key", key.String(), tomlKeys()))
	}
	for _, key := range []string{"name", "layers", "hidden", "heads", "intermediate", "vocab", "max_len"} {
		if !md.IsDefined(key) {
			return nil, fmt.Errorf("%s is missing", key)
		}
	}
	if !md.IsDefined("kv_heads") {
		m.KVHeads = m.Heads
	}
	if !md.IsDefined("head_dim") {
		if m.HeadDim, err = evenHeads(m.Hidden, m.Heads); err != nil {
			return nil, fmt.Errorf("head_dim is missing, and %w", err)
		}
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

// evenHeads returns the width of one of the heads that share the hidden width.
func evenHeads(hidden, heads int) (int, error) {
	if hidden < 1 || heads < 1 || hidden%heads != 0 {
		return 0, fmt.Errorf("%d heads do not share the hidden width %d evenly", heads, hidden)
	}
	return hidden / heads, nil
}

// tomlKeys returns the keys of [Model] in the order of its fields.
func tomlKeys() []string {
	t := reflect.TypeFor[Model]()
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i] = t.Field(i).Tag.Get("toml")
	}
	return keys
}

// lineOf returns the number of the line that sets the dotted key or opens its
// table, from 1, or 0 if there is none. The toml package knows but does not tell.
func lineOf(data []byte, key string) int {
	key, _, _ = strings.Cut(key, ".")
	for i, line := range strings.Split(string(data), "\n") {
		head, _, _ := strings.Cut(strings.TrimLeft(line, " \t["), "=")
		head, _, _ = strings.Cut(head, ".")
		if strings.Trim(head, " \t\r]\"'") == key {
			return i + 1
		}
	}
	return 0
}
