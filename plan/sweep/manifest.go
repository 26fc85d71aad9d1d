package sweep

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Files of a sweep, in its folder.
const (
	ManifestFile = "manifest.json"
	CSVFile      = "runs.csv"
	ParquetFile  = "runs.parquet"
	SummaryFile  = "summary.csv"
)

// Manifest says what a sweep consists of. Every shard of a sweep writes the same one.
type Manifest struct {
	Schema   int      `json:"schema"`
	Command  string   `json:"command"`
	ID       string   `json:"id"` // a hash of all that the tables depend on
	Scenario string   `json:"scenario"`
	Build    string   `json:"build"` // of the program; see [Build]
	Vary     []string `json:"vary"`  // as [ParseAxis] reads it
	Sample   int      `json:"sample"`
	Method   Method   `json:"method"` // empty if nothing was drawn
	Seeds    []uint64 `json:"seeds"`
	Columns  []Column `json:"columns"`
	Base     string   `json:"base"` // the scenario that is varied, in TOML
	// Settings has what is run of each setting, in the order of the table.
	Settings []Planned `json:"settings"`
}

// Planned is a setting: the values in the order of the axes, and the key of the run with each
// seed, or why there is none.
type Planned struct {
	Values  []string `json:"values"`
	Keys    []string `json:"keys,omitempty"`
	Refused string   `json:"refused,omitempty"`
}

// MarshalText implements encoding.TextMarshaler, with DuckDB's names of types.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Kind) UnmarshalText(text []byte) error {
	for *k = Number; *k <= Text; *k++ {
		if k.String() == string(text) {
			return nil
		}
	}
	return fmt.Errorf("%q is no type of a column", text)
}

// ReadManifest reads the manifest of a folder.
func ReadManifest(folder string) (*Manifest, error) {
	file := filepath.Join(folder, ManifestFile)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no %s; want the folder of a sweep", folder, ManifestFile)
	}
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", file, err)
	}
	return m, m.check(file)
}

// check refuses a manifest that this program did not write.
func (m *Manifest) check(file string) error {
	n := len(leading())
	if m.Schema != 1 || m.Command != "sweep" || len(m.Columns) < n+len(m.Vary) {
		return fmt.Errorf("%s is not that of a sweep, or of a newer program", file)
	}
	if !slices.Equal(m.Columns, columnsOf(m.axes())) {
		return fmt.Errorf("%s was written by another build of this program, whose tables have other columns; want the same build", file)
	}
	for i, p := range m.Settings {
		if len(p.Values) != len(m.Vary) || p.Refused == "" && len(p.Keys) != len(m.Seeds) {
			return fmt.Errorf("%s is damaged: setting %d is not whole", file, i)
		}
		for _, key := range p.Keys {
			if len(key) != 2*sha256.Size || strings.Trim(key, "0123456789abcdef") != "" {
				return fmt.Errorf("%s is damaged: setting %d has a run %q", file, i, key)
			}
		}
	}
	return nil
}

// axes returns the columns of the settings.
func (m *Manifest) axes() []Column {
	n := len(leading())
	return slices.Clone(m.Columns[n : n+len(m.Vary)])
}

// encode returns the manifest as JSON, a setting a line.
func (m *Manifest) encode() ([]byte, error) {
	head := *m
	head.Settings = nil
	data, err := json.MarshalIndent(head, "", " ")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Write(bytes.TrimSuffix(data, []byte("null\n}"))) // Settings is the last field
	for i, p := range m.Settings {
		line, err := json.Marshal(p)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%c\n  %s", "[,"[min(i, 1)], line)
	}
	b.WriteString("\n ]\n}\n")
	return b.Bytes(), nil
}

// cells returns the cells without their scenarios, of which tables have no need.
func (m *Manifest) cells() []Cell {
	cells := make([]Cell, 0, len(m.Settings)*len(m.Seeds))
	for _, p := range m.Settings {
		settings := make([]Setting, len(m.Vary))
		for i, text := range m.Vary {
			key, _, _ := strings.Cut(text, "=")
			settings[i] = Setting{key, p.Values[i]}
		}
		for k, seed := range m.Seeds {
			c := Cell{Index: len(cells), Settings: settings, Seed: seed, Refused: p.Refused}
			if p.Refused == "" {
				c.Key = p.Keys[k]
			}
			cells = append(cells, c)
		}
	}
	return cells
}
