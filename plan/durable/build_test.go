package durable

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The server is built where its sources are, replaces nothing when it does not build, and
// nothing else in the folder is taken for it.
func TestDaemonIsBuiltFromTheSourcesBeside(t *testing.T) {
	folder := t.TempDir()
	quiet := func(string) {}
	if _, err := buildDaemon(t.Context(), folder, quiet); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("built from nothing: %v", err)
	}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(folder, "sweepd", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module other\n")
	if _, err := buildDaemon(t.Context(), folder, quiet); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("built from another module: %v", err)
	}
	write("go.mod", "module orrery/sweepd\n\ngo 1.26\n")
	write("main.go", "package main\n\nfunc main() { wrong }\n")
	if _, err := buildDaemon(t.Context(), folder, quiet); err == nil || !strings.Contains(err.Error(), "does not build") {
		t.Errorf("what does not compile: %v", err)
	}
	write("main.go", "package main\n\nfunc main() { print(\"serves\") }\n")
	program, err := buildDaemon(t.Context(), folder, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program).CombinedOutput(); err != nil || string(out) != "serves" {
		t.Errorf("the program says %q, %v", out, err)
	}
	left, err := filepath.Glob(filepath.Join(folder, ".build-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
