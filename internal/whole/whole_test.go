package whole

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, e := range entries {
		s = append(s, e.Name())
	}
	return strings.Join(s, " ")
}

func TestAFileAppearsWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.csv")
	if err := Write(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte(strings.Repeat("new", 100_000)))
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Errorf("half a file is visible: %d bytes", len(b))
	}
	f.Abort()
	if got := names(t, dir); got != "a.csv" {
		t.Errorf("after an abort the folder has %q", got)
	}
	if err := f.Commit(); err == nil {
		t.Error("a file that was given up was committed")
	}
	g, _ := Create(path)
	g.Write([]byte("new"))
	if err := g.Commit(); err != nil {
		t.Fatal(err)
	}
	g.Abort()
	if b, _ := os.ReadFile(path); string(b) != "new" || names(t, dir) != "a.csv" {
		t.Errorf("after a commit: %q in %q", b, names(t, dir))
	}
}

// A write that fails late is reported by Commit, even if the writer did not look, and
// leaves nothing. /dev/full stands for a full disk.
func TestAFullDiskIsReported(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	dir := t.TempDir()
	f, err := Create(filepath.Join(dir, "rows.csv"))
	if err != nil {
		t.Fatal(err)
	}
	f.buf.Reset(full)
	for range 100 {
		f.Write(make([]byte, 4096))
	}
	err = f.Commit()
	if !errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), ".tmp") {
		t.Errorf("got %v, want one line about a full disk", err)
	}
	if got := names(t, dir); got != "" {
		t.Errorf("a full disk left %q", got)
	}
}

func TestAMissingFolderIsReported(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no", "such.csv")
	if err := Write(path, nil); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "cannot write "+path+": ") {
		t.Errorf("got %v", err)
	}
}
