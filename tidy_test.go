package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// floors is the order of the house: a package imports only from floors below its
// own, or from its own subtree. What lies in internal is small, knows nobody, and
// may be used from every floor.
var floors = map[string]int{
	"sim": 0, "hwmodel": 0,
	"workloads": 1, "infer": 1,
	"policies": 2, "calibrate": 2,
	"cluster":   3,
	"report":    4,
	"scenarios": 5, "replay": 5,
	"plan": 6,
	"cmd":  7, ".": 8,
}

func TestPackagesImportOnlyFromLowerFloors(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != "." {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
				return fs.SkipDir // a module of its own, such as sweepd
			}
		}
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		home, _, _ := strings.Cut(filepath.ToSlash(filepath.Dir(path)), "/")
		if home == "internal" {
			return nil
		}
		floor, ok := floors[home]
		if !ok {
			t.Errorf("%s: folder %q has no floor; add it to the table in this test", path, home)
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range f.Imports {
			p, _ := strconv.Unquote(imp.Path.Value)
			rest, ours := strings.CutPrefix(p, "orrery/")
			if !ours {
				continue
			}
			to, _, _ := strings.Cut(rest, "/")
			if to != home && to != "internal" && floors[to] >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d)", path, floor, p, floors[to])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
