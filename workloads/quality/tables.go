package quality

import (
	"bytes"
	"embed"
	"path"
	"strings"

	"orrery/internal/names"
)

// shipped are the tables; tables/README.md says where they come from.
//
//go:embed tables/*.gz
var shipped embed.FS

// Tables returns the names of the tables that are shipped.
func Tables() []string {
	files, _ := shipped.ReadDir("tables") // embedded: it cannot fail
	var out []string
	for _, f := range files {
		name, _, _ := strings.Cut(f.Name(), ".")
		out = append(out, name)
	}
	return out
}

// Table reads a table that is shipped.
func Table(name string) (*Dataset, error) {
	files, err := shipped.ReadDir("tables")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if stem, _, _ := strings.Cut(f.Name(), "."); stem != name {
			continue
		}
		packed, err := shipped.ReadFile(path.Join("tables", f.Name()))
		if err != nil {
			return nil, err
		}
		d, err := ReadDataset(f.Name(), bytes.NewReader(packed))
		if err == nil {
			d.Name = name
		}
		return d, err
	}
	return nil, names.Unknown("table", name, Tables())
}
